//! Who holds a lock at each revision: the live key below its prefix that was created first.

use crate::bytes::Bytes;
use crate::history::EventKind;
use crate::revision_order::Replayed;
use crate::types::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// Who holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The key's create revision.
    pub created: Revision,
    /// The key.
    pub key: Bytes,
}

/// Who holds from which revision on; nobody where it is `None`.
#[derive(Debug, Default)]
pub struct Tenures {
    from: BTreeMap<Revision, Option<Holder>>,
}

impl Tenures {
    /// The tenures of the lock with this prefix.
    pub fn new(prefix: &Bytes, replayed: &Replayed<'_>) -> Tenures {
        let mut live: BTreeSet<Holder> = BTreeSet::new();
        let mut tenures = Tenures::default();
        let mut last: Option<Holder> = None;
        for (revision, events) in &replayed.events {
            for event in events.iter().filter(|event| event.kv.key.as_slice().starts_with(prefix.as_slice()))
            {
                let key = event.kv.key.clone();
                if let Some(before) = &event.prev_kv {
                    live.remove(&Holder { created: before.create_revision, key: key.clone() });
                }
                if event.kind == EventKind::Put {
                    live.insert(Holder { created: event.kv.create_revision, key });
                }
            }
            if live.first() != last.as_ref() {
                last = live.first().cloned();
                tenures.from.insert(*revision, last.clone());
            }
        }
        tenures
    }

    /// Who holds at a revision.
    pub fn holder(&self, at: Revision) -> Option<&Holder> {
        self.from.range(..=at).next_back().and_then(|(_, holder)| holder.as_ref())
    }

    /// Whether somebody, one or the other, holds at every revision from one on and before another.
    pub fn always_held(&self, from: Revision, end: Revision) -> bool {
        self.holder(from).is_some()
            && (from.next() >= end || self.from.range(from.next()..end).all(|(_, holder)| holder.is_some()))
    }

    /// Since which revision whoever holds at `at` does.
    pub fn since(&self, at: Revision) -> Revision {
        self.from.range(..=at).next_back().map(|(revision, _)| *revision).unwrap_or_default()
    }
}
