//! Log matching: if two logs contain an entry with the same index and term, then they are identical in all entries
//! up through that index.
//!
//! Source: the paper, figure 3 ("Log Matching", section 5.3); the dissertation, section 3.5.
//!
//! Checked by the induction of its own proof: whoever holds (index, term) must hold the same bytes there and the same
//! term before it. If that is so for every entry of every log, the whole prefixes agree. So one look at a table per
//! entry is enough, and logs need not be compared.
//!
//! What stood before an entry whose predecessor is purged and of unknown term is not compared.

use crate::raft::ground::{Ground, Log};
use crate::raft::observation::Observation;
use crate::types::{Digest, LogId, LogIndex, MemberId, Term};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct First {
    digest: Digest,
    /// The term of the entry before; `None` when there is none, or when it is not known.
    before: Option<Term>,
    by: MemberId,
}

/// Every entry that any log ever held.
#[derive(Debug, Default)]
pub struct LogMatching {
    entries: BTreeMap<(LogIndex, Term), First>,
}

impl LogMatching {
    /// Judges an observation.
    pub fn check(&mut self, ground: &Ground, member: MemberId, seen: &Observation) -> Option<Violation> {
        match seen {
            Observation::Appended { entry, digest } => {
                let last = ground.log(member).and_then(Log::last);
                self.enter(member, last, *entry, *digest)
            }
            Observation::Recovered { purged, entries, .. } => {
                let mut before = *purged;
                for (entry, digest) in entries {
                    let found = self.enter(member, before, *entry, *digest);
                    if found.is_some() {
                        return found;
                    }
                    before = Some(*entry);
                }
                None
            }
            _ => None,
        }
    }

    fn enter(
        &mut self,
        member: MemberId,
        before: Option<LogId>,
        entry: LogId,
        digest: Digest,
    ) -> Option<Violation> {
        let broken = |what: String| {
            let sentence = format!("entry {entry} of member {member} {what}");
            Some(Violation::safety(Oracle::LogMatching, sentence))
        };
        let expected = before.map_or(LogIndex(0), |before| before.index.next());
        if entry.index != expected {
            return broken(format!("stands where entry {expected} must"));
        }
        if let Some(before) = before.filter(|before| before.term > entry.term) {
            return broken(format!("follows one of term {}", before.term));
        }
        let own = First { digest, before: before.map(|before| before.term), by: member };
        let first = self.entries.entry((entry.index, entry.term)).or_insert(own);
        if first.digest != digest {
            return broken(format!("has the digest {digest}, and {} at member {}", first.digest, first.by));
        }
        match (first.before, own.before) {
            (Some(there), Some(here)) if there != here => {
                broken(format!("follows one of term {here}, and of term {there} at member {}", first.by))
            }
            (None, Some(_)) => {
                first.before = own.before;
                None
            }
            _ => None,
        }
    }
}
