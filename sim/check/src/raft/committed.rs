//! Which entries are known to be committed, and by which term at the latest they were.
//!
//! An entry counts as committed as soon as any member knows it to be, or applies it. The term in which it was
//! committed is not observed; the term of whoever first knows of it is no smaller, and only makes the checks that
//! use it (leader completeness) see less, never too much.

use crate::raft::ground::Ground;
use crate::raft::observation::Observation;
use crate::types::{Digest, LogId, LogIndex, MemberId, Term};
use std::collections::BTreeMap;

/// What is known of a committed index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The entry's term.
    pub term: Term,
    /// Its bytes' digest, if any member that held it was seen.
    pub digest: Option<Digest>,
    /// The term by which it was committed.
    pub by: Term,
    /// Who first knew.
    pub told: MemberId,
}

/// The committed entries.
#[derive(Debug, Default)]
pub struct Committed {
    entries: BTreeMap<LogIndex, Known>,
}

impl Committed {
    /// What is known of an index.
    pub fn at(&self, index: LogIndex) -> Option<&Known> {
        self.entries.get(&index)
    }

    /// The committed entries up to an index, the newest first.
    pub fn newest_first_until(&self, last: LogIndex) -> impl Iterator<Item = (LogIndex, &Known)> {
        self.entries.range(..=last).rev().map(|(index, known)| (*index, known))
    }

    /// All committed entries, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (LogIndex, &Known)> {
        self.entries.iter().rev().map(|(index, known)| (*index, known))
    }

    /// What an observation says to be committed, beyond what was known; contradictions included.
    pub fn news(&self, ground: &Ground, member: MemberId, seen: &Observation) -> Vec<(LogIndex, Known)> {
        let log = ground.log(member);
        let by = log.and_then(|log| log.vote).map(|vote| vote.term).unwrap_or_default();
        let known = |term: Term, digest| Known { term, digest, by: by.max(term), told: member };
        let upto = match seen {
            Observation::Applied { entry, digest } => {
                let same = self
                    .at(entry.index)
                    .is_some_and(|old| old.term == entry.term && old.digest == Some(*digest));
                return if same { Vec::new() } else { vec![(entry.index, known(entry.term, Some(*digest)))] };
            }
            Observation::Committed { upto } => *upto,
            Observation::Loaded { applied: Some(upto) } | Observation::Installed { upto: Some(upto) } => {
                let new = self.at(upto.index).is_none_or(|old| old.term != upto.term);
                return if new { vec![(upto.index, known(upto.term, None))] } else { Vec::new() };
            }
            _ => return Vec::new(),
        };
        // By log matching, one entry that is known already vouches for all before it in the same log.
        let mut news = Vec::new();
        if self.at(upto.index).is_none_or(|old| old.term != upto.term) {
            let held = log.and_then(|log| log.entries.get(&upto.index)).filter(|held| held.term == upto.term);
            news.push((upto.index, known(upto.term, held.map(|held| held.digest))));
            for (index, held) in log.into_iter().flat_map(|log| log.entries.range(..upto.index).rev()) {
                if self.at(*index).is_some_and(|old| old.term == held.term) {
                    break;
                }
                news.push((*index, known(held.term, Some(held.digest))));
            }
        }
        news
    }

    /// Takes news in; the first word on an index stands.
    pub fn take(&mut self, news: Vec<(LogIndex, Known)>) {
        for (index, new) in news {
            let known = self.entries.entry(index).or_insert(new);
            if known.term == new.term {
                known.digest = known.digest.or(new.digest);
                known.by = known.by.min(new.by);
            }
        }
    }
}

/// Names a committed entry.
pub fn id(index: LogIndex, known: &Known) -> LogId {
    LogId { term: known.term, index }
}
