//! How a run ends: which members stay broken for good while a quorum of the others is healed.
//!
//! A cluster that lives while everything is healed may still die of one member that is half alive. So before all is
//! healed, only a quorum is, and what is wrong with the others lasts: the quorum must make progress all the same.

use serde::{Deserialize, Serialize};

use super::Target;
use super::fault::{DamageArea, Direction};

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ending {
    /// Members that stay broken, fewer than half; none is a run that heals everything at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<Broken>,
    /// Writes that each client tries while they are, beyond the one that it must be granted.
    #[serde(skip_serializing_if = "is_zero")]
    pub writes: u64,
    /// Once all is healed, the rest lasts until every lease that nobody renews has ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outlives_leases: bool,
    /// What ends all members at once before the last start is a power loss, rather than the end of their processes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub power: bool,
    /// After the last start operators must be able to seat one more member, where there is a place, and to remove one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub changes: bool,
    /// At the very end what one member has stored is changed behind its back, and the others must find it out; where
    /// members are compared at all, and three or more vote.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parts: bool,
}

/// A member that stays broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// Which; settled when the end begins. Whom that makes broken twice is broken once.
    pub target: Target,
    /// What is wrong with it.
    pub how: Breakage,
}

/// What is wrong with a member for good.
// Who has no fields has braces all the same: only then is a field that nobody knows refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Breakage {
    /// It does not run.
    Down {
        /// The power went, rather than the process alone.
        power: bool,
    },
    /// It stands still.
    Paused {},
    /// Its links to some members, or to all, are cut, one way or both.
    Cut {
        /// Which way, seen from it.
        direction: Direction,
        /// A bit for each member at the other ends.
        from: u8,
    },
    /// Its links take long.
    Slow {
        /// The quickest, microseconds.
        least_us: u64,
        /// The slowest, microseconds.
        most_us: u64,
    },
    /// Its links lose messages.
    Lossy {
        /// Of a thousand.
        permille: u64,
    },
    /// Its disk refuses some writes and syncs: it may end over each, and is started again.
    FailingDisk {
        /// Of a thousand.
        permille: u32,
    },
    /// Its disk takes long over every sync.
    SlowDisk {
        /// How long, milliseconds.
        sync_ms: u64,
    },
    /// Its disk is full, and it is started again on it.
    FullDisk {
        /// What is free when that begins, bytes.
        free_bytes: u64,
    },
    /// Something on its disk rots, it is started again on it, and nobody rescues what it refuses to start over.
    RottenDisk {
        /// Where.
        area: DamageArea,
        /// Keys the place.
        key: u64,
        /// The place cannot be read, rather than that it says something else.
        unreadable: bool,
    },
}

impl Breakage {
    /// Its name, for histories and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Breakage::Down { .. } => "ending/down",
            Breakage::Paused {} => "ending/paused",
            Breakage::Cut { .. } => "ending/cut",
            Breakage::Slow { .. } => "ending/slow",
            Breakage::Lossy { .. } => "ending/lossy",
            Breakage::FailingDisk { .. } => "ending/failing-disk",
            Breakage::SlowDisk { .. } => "ending/slow-disk",
            Breakage::FullDisk { .. } => "ending/full-disk",
            Breakage::RottenDisk { .. } => "ending/rotten-disk",
        }
    }
}

impl Breakage {
    /// Whether it parts its member from some of the others and not from all. Such a member may lead: those who hear it
    /// deny an election to those who do not, and Raft knows no remedy for these.
    pub fn is_partial(&self, members: usize) -> bool {
        let Breakage::Cut { from, .. } = self else { return false };
        let all =
            1_u16.checked_shl(u32::try_from(members).unwrap_or(u32::MAX)).map_or(u16::MAX, |bit| bit - 1);
        u16::from(*from) & all != all
    }
}

impl std::fmt::Display for Breakage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Breakage::Down { .. } => "down",
            Breakage::Paused {} => "paused",
            Breakage::Cut { direction: Direction::Both, .. } => "cut off",
            Breakage::Cut { direction: Direction::In, .. } => "deaf",
            Breakage::Cut { direction: Direction::Out, .. } => "mute",
            Breakage::Slow { .. } => "slow",
            Breakage::Lossy { .. } => "lossy",
            Breakage::FailingDisk { .. } => "on a failing disk",
            Breakage::SlowDisk { .. } => "on a slow disk",
            Breakage::FullDisk { .. } => "on a full disk",
            Breakage::RottenDisk { .. } => "on a rotten disk",
        })
    }
}

impl Ending {
    /// Says what in this ending cannot be run with so many members, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self, members: usize) -> Result<(), String> {
        let broken = self.broken.len();
        for Broken { target, .. } in &self.broken {
            if let Target::Member(index) = target
                && usize::from(index.0) >= members
            {
                return Err(format!("{index} stays broken and is not there"));
            }
        }
        if broken * 2 >= members && broken > 0 {
            return Err(format!("{broken} of {members} members stay broken, which leaves no quorum"));
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(targets: &[Target]) -> Ending {
        let broken = targets.iter().map(|target| Broken { target: *target, how: Breakage::Paused {} });
        Ending { broken: broken.collect(), ..Ending::default() }
    }

    #[test]
    fn a_quorum_must_be_left() {
        let member = |index| Target::Member(crate::plan::MemberIndex(index));
        assert_eq!(ending(&[]).check(1), Ok(()));
        assert_eq!(ending(&[member(2)]).check(3), Ok(()));
        assert_eq!(ending(&[member(0), Target::Leader]).check(5), Ok(()));
        for (targets, of) in [
            (&[Target::Leader][..], 1),
            (&[Target::Leader][..], 2),
            (&[member(0), member(1)][..], 3),
            (&[member(0), Target::Leader][..], 4),
            (&[member(7)][..], 5),
        ] {
            assert!(ending(targets).check(of).is_err(), "{targets:?} of {of}");
        }
    }
}
