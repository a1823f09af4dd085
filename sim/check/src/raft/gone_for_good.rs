//! Gone for good: a member that was replaced never acts again once its successor has started, never votes in a
//! configuration that comes after one without it, and its successor's id is one that nobody ever had.
//!
//! Source: the dissertation, section 3.8, by its contraposition: a server that has lost what it must have on stable storage
//! may vote twice and acknowledge what it has forgotten, so it must not take part any more under its identity. What a
//! member says itself of how it gives an identity up stands in `docs/repair.md`.
//!
//! Until the successor starts, the log of the one before may still be put right by its owner, and then acts rightly; whether
//! it is whole is held by other invariants. A successor has its predecessor's place, so both are never there at once.

use crate::raft::observation::Observation;
use crate::types::{LogId, MemberId};
use crate::verdict::{Oracle, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a member that was replaced.
#[derive(Debug)]
struct Gone {
    /// The entry that says so.
    at: LogId,
    by: MemberId,
    /// The first configuration behind that in which it has no vote.
    voteless: Option<LogId>,
}

/// Who was replaced, and every id that was ever seen.
#[derive(Debug, Default)]
pub struct GoneForGood {
    gone: BTreeMap<MemberId, Gone>,
    seen: BTreeSet<MemberId>,
    /// Those who have started.
    started: BTreeSet<MemberId>,
}

impl GoneForGood {
    /// Judges an observation.
    pub fn check(&mut self, member: MemberId, seen: &Observation) -> Option<Violation> {
        self.seen.insert(member);
        match seen {
            Observation::Recovered { .. } => {
                self.started.insert(member);
                self.acts(member, "started")
            }
            Observation::Voted(_) => self.acts(member, "voted"),
            Observation::Appended { .. } => self.acts(member, "wrote to its log"),
            Observation::Acknowledged { .. } => self.acts(member, "acknowledged entries"),
            Observation::Replaced { entry, gone, by, .. } => self.replaced(*entry, *gone, *by),
            Observation::Configured { entry, voters } => self.configured(*entry, voters),
            _ => None,
        }
    }

    /// Whoever acts must not have a successor that has started.
    fn acts(&self, member: MemberId, what: &str) -> Option<Violation> {
        let gone = self.gone.get(&member).filter(|gone| self.started.contains(&gone.by))?;
        let Gone { at, by, .. } = gone;
        Some(broken(format!(
            "member {member} was replaced by member {by} in entry {at}, and {what} after that one started"
        )))
    }

    fn replaced(&mut self, at: LogId, member: MemberId, by: MemberId) -> Option<Violation> {
        if let Some(gone) = self.gone.get(&member) {
            let same = (gone.at, gone.by) == (at, by);
            let Gone { at: before, by: other, .. } = gone;
            return (!same).then(|| {
                broken(format!(
                    "member {member} was replaced by member {other} in entry {before}, and by member {by} in entry {at}"
                ))
            });
        }
        self.gone.insert(member, Gone { at, by, voteless: None });
        (!self.seen.insert(by)).then(|| {
            broken(format!("member {member} was replaced in entry {at} by member {by}, which is no new one"))
        })
    }

    fn configured(&mut self, entry: LogId, voters: &[BTreeSet<MemberId>]) -> Option<Violation> {
        self.seen.extend(voters.iter().flatten());
        let mut back = None;
        for (member, gone) in self.gone.iter_mut().filter(|(_, gone)| gone.at < entry) {
            let votes = voters.iter().any(|set| set.contains(member));
            match gone.voteless {
                Some(since) if votes && since < entry => {
                    let sentence = format!(
                        "member {member} was replaced in entry {}, lost its vote in entry {since}, and has one again in \
                         entry {entry}",
                        gone.at
                    );
                    back = Some(broken(sentence));
                }
                Some(_) => {}
                None => gone.voteless = (!votes).then_some(entry),
            }
        }
        back
    }
}

fn broken(sentence: String) -> Violation {
    Violation::safety(Oracle::GoneForGood, sentence)
}
