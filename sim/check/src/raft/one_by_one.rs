//! One by one: a member is put in the place of one that is gone only when whoever came that way before, and is to vote, does.
//!
//! Source: `docs/repair.md`, "what the leader asks first". Two at once would lose nothing, for those who are left decide all
//! the same; but the voters would grow fewer by as many as lose their logs, and an outage that the cluster is to outlive
//! would stop it.
//!
//! The configuration in force is the last one before the entry. Judged when that is first told of: whoever tells of it has
//! applied all before it. It does not see members that operators let go or add: they are no promise of the cluster's.

use crate::raft::observation::Observation;
use crate::types::{LogId, MemberId};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeSet;

/// Who votes, and who has come in a voter's place.
#[derive(Debug, Default)]
pub struct OneByOne {
    /// The last configuration that was told of, and who votes by it.
    voters: Option<(LogId, BTreeSet<MemberId>)>,
    /// Those who came in the place of a voter.
    heirs: BTreeSet<MemberId>,
    /// Those who are gone.
    gone: BTreeSet<MemberId>,
}

impl OneByOne {
    /// Judges an observation.
    pub fn check(&mut self, seen: &Observation) -> Option<Violation> {
        match seen {
            Observation::Configured { entry, voters } => {
                if self.voters.as_ref().is_none_or(|(last, _)| last < entry) {
                    self.voters = Some((*entry, voters.iter().flatten().copied().collect()));
                }
                None
            }
            Observation::Replaced { entry, gone, by, to_vote } => self.replaced(*entry, *gone, *by, to_vote),
            _ => None,
        }
    }

    fn replaced(
        &mut self,
        at: LogId,
        gone: MemberId,
        by: MemberId,
        to_vote: &BTreeSet<MemberId>,
    ) -> Option<Violation> {
        let (_, voters) = self.voters.as_ref().filter(|_| self.gone.insert(gone))?;
        let mut owed = self.heirs.intersection(to_vote).filter(|heir| !voters.contains(heir));
        let broken = owed.next().map(|heir| {
            Violation::safety(
                Oracle::OneByOne,
                format!(
                    "member {gone} was replaced in entry {at} by member {by}, while member {heir}, which was put in \
                     another's place before, had no vote yet"
                ),
            )
        });
        if voters.contains(&gone) {
            self.heirs.insert(by);
        }
        broken
    }
}
