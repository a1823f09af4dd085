//! Equality of state: all members have the same state after the same log entry, and a process that comes back from its
//! disk has the state that it had.
//!
//! Both are one table from entry to hash, whoever showed it: a member's own past, another member, or a snapshot. The
//! hash is the product's own over its logical state; that it misses nothing is not judged here. Told entry by entry,
//! so that a difference is found at the entry that made it.

use crate::types::{LogId, LogIndex, MemberId};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// The state's hash after each entry, and who showed it first.
#[derive(Debug, Default)]
pub struct Equality {
    hashes: BTreeMap<LogIndex, (LogId, u128, MemberId)>,
    compared: u64,
}

impl Equality {
    /// A member stands behind this entry with this hash.
    pub fn note(&mut self, member: MemberId, at: LogId, hash: u128) -> Option<Violation> {
        let (entry, first, by) = *self.hashes.entry(at.index).or_insert((at, hash, member));
        self.compared = self.compared.saturating_add(1);
        if entry != at {
            let sentence =
                format!("member {member} applied entry {at} where member {by} applied entry {entry}");
            return Some(Violation::safety(Oracle::Equality, sentence));
        }
        (first != hash).then(|| {
            let sentence = match by == member {
                true => {
                    format!("member {member} had another state at entry {at} before it was started again")
                }
                false => format!("members {by} and {member} have applied the same entry {at} and differ"),
            };
            Violation::safety(Oracle::Equality, sentence).detail(format!("{first:032x} and {hash:032x}"))
        })
    }

    /// How many states were shown.
    pub fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    #[test]
    fn members_and_their_own_past_agree_at_each_entry() {
        let mut equality = Equality::default();
        for (member, at, hash) in [(A, id(1, 1), 5), (B, id(1, 1), 5), (A, id(1, 2), 6), (A, id(1, 2), 6)] {
            assert_eq!(equality.note(member, at, hash), None);
        }
        assert_eq!(equality.compared(), 4);
        let differs = equality.note(B, id(1, 2), 7).map(|violation| violation.sentence);
        assert!(differs.is_some_and(|sentence| sentence.contains("differ")));
        let restarted = equality.note(A, id(1, 2), 9).map(|violation| violation.sentence);
        assert!(restarted.is_some_and(|sentence| sentence.contains("started again")));
        assert!(equality.note(B, id(2, 1), 5).is_some(), "another entry at the same index");
    }
}
