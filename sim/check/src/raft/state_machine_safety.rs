//! State-machine safety: if a member has applied an entry at an index, no other member ever applies a different entry
//! at that index.
//!
//! Source: the paper, figure 3 ("State Machine Safety", section 5.4.3); the dissertation, section 3.6. Beside it:
//! entries are applied one after the other, without a gap and without a repeat within one life of the machine
//! (figure 2, "lastApplied increases monotonically").
//!
//! It sees entries as they are handed to the machine; that equal entries lead to equal states is the state hash's
//! matter.

use crate::raft::observation::Observation;
use crate::types::{Digest, LogId, LogIndex, MemberId, Term};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// Everything that was applied anywhere.
#[derive(Debug, Default)]
pub struct StateMachineSafety {
    applied: BTreeMap<LogIndex, (Term, Digest, MemberId)>,
    last: BTreeMap<MemberId, Option<LogId>>,
}

impl StateMachineSafety {
    /// Judges an observation.
    pub fn check(&mut self, member: MemberId, seen: &Observation) -> Option<Violation> {
        match seen {
            Observation::Loaded { applied } => {
                self.last.insert(member, *applied);
                self.contained(member, *applied)
            }
            Observation::Installed { upto } => {
                let before = self.last.insert(member, *upto).flatten();
                if *upto < before {
                    let text = |id: Option<LogId>| id.map_or("nothing".to_owned(), |id| id.to_string());
                    let (old, new) = (text(before), text(*upto));
                    return Some(broken(format!(
                        "member {member} went back from entry {old} to a snapshot of {new}"
                    )));
                }
                self.contained(member, *upto)
            }
            Observation::Applied { entry, digest } => self.apply(member, *entry, *digest),
            _ => None,
        }
    }

    /// The member comes back as a stranger.
    pub fn forget(&mut self, member: MemberId) {
        self.last.remove(&member);
    }

    fn apply(&mut self, member: MemberId, entry: LogId, digest: Digest) -> Option<Violation> {
        let last = self.last.insert(member, Some(entry)).flatten();
        let expected = last.map_or(LogIndex(0), |last| last.index.next());
        if entry.index != expected {
            return Some(broken(format!(
                "member {member} applied entry {entry} where entry {expected} was due"
            )));
        }
        let (term, first, by) = *self.applied.entry(entry.index).or_insert((entry.term, digest, member));
        ((term, first) != (entry.term, digest)).then(|| {
            broken(format!(
                "members {by} and {member} applied different entries at index {}: {first} of term {term} and {digest} \
                 of term {}",
                entry.index, entry.term
            ))
        })
    }

    /// A state that came from disk or from a snapshot ends with an entry that others applied too.
    fn contained(&self, member: MemberId, upto: Option<LogId>) -> Option<Violation> {
        let upto = upto?;
        let (term, _, by) = self.applied.get(&upto.index)?;
        (*term != upto.term).then(|| {
            broken(format!(
                "the state of member {member} ends with entry {upto}, but member {by} applied one of term {term} there"
            ))
        })
    }
}

fn broken(sentence: String) -> Violation {
    Violation::safety(Oracle::StateMachineSafety, sentence)
}
