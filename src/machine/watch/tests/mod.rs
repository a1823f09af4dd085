//! Tests of the hub: stories of single situations, and random runs against a naive history.

mod model;
mod stories;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::machine::effects::{Event, Record, Records};
use crate::types::{KeyRange, LeaseId, RevPair, WatchId};

/// A hub and its scans may be shared and sent between threads: fails to compile otherwise.
const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Hub>();
    shareable::<Scan>();
    shareable::<CaughtUp>();
    shareable::<Response>();
};

/// A store that never forgets what was true, and physically deletes what compaction allows.
struct Store {
    /// Every change ever made: the truth.
    truth: BTreeMap<RevPair, Event>,
    /// What is still stored.
    stored: BTreeMap<RevPair, Record>,
    current: Revision,
    compacted: Revision,
}

impl Store {
    fn new() -> Store {
        Store {
            truth: BTreeMap::new(),
            stored: BTreeMap::new(),
            current: Revision::FIRST,
            compacted: Revision(-1),
        }
    }

    /// The last event of `key` at or below `at`, whatever was compacted.
    fn truth_at(&self, key: &[u8], at: Revision) -> Option<KeyValue> {
        let until = RevPair { main: at, sub: u32::MAX };
        match self.truth.range(..=until).rev().find(|(_, event)| event.key() == key)?.1 {
            Event::Put(kv) => Some(kv.clone()),
            Event::Delete { .. } => None,
        }
    }

    /// One transaction; `None` deletes. Each key is taken once. Nothing happens when nothing would change.
    fn txn(&mut self, changes: &[(&str, Option<&str>)]) -> Vec<Event> {
        let at = self.current.next();
        let mut events: Vec<Event> = Vec::new();
        for (key, value) in changes {
            if events.iter().any(|event| event.key() == key.as_bytes()) {
                continue;
            }
            let old = self.truth_at(key.as_bytes(), self.current);
            let key = Bytes::copy_from_slice(key.as_bytes());
            match value {
                Some(value) => events.push(Event::Put(KeyValue {
                    key,
                    create_revision: old.as_ref().map_or(at, |old| old.create_revision),
                    mod_revision: at,
                    version: old.as_ref().map_or(1, |old| old.version + 1),
                    value: Bytes::copy_from_slice(value.as_bytes()),
                    lease: LeaseId::NONE,
                })),
                None if old.is_some() => events.push(Event::Delete { key, mod_revision: at }),
                None => {}
            }
        }
        for (sub, event) in (0..).zip(&events) {
            self.truth.insert(RevPair { main: at, sub }, event.clone());
            let record = Record { event: event.clone(), superseded_sum: None };
            self.stored.insert(RevPair { main: at, sub }, record);
        }
        if !events.is_empty() {
            self.current = at;
        }
        events
    }

    fn put(&mut self, key: &str, value: &str) -> Vec<Event> {
        self.txn(&[(key, Some(value))])
    }

    fn compact(&mut self, at: Revision) {
        assert!(at > self.compacted && at <= self.current);
        self.compacted = at;
    }

    /// Physically deletes up to `max` records that compaction made superfluous.
    fn purge(&mut self, max: usize) {
        let mut newest: BTreeMap<Bytes, RevPair> = BTreeMap::new();
        let below = ..RevPair { main: self.compacted.next(), sub: 0 };
        let mut gone = Vec::new();
        for (at, record) in self.stored.range(below) {
            if let Some(older) = newest.insert(record.event.key().clone(), *at) {
                gone.push(older);
            }
        }
        for at in newest.into_values() {
            if at.main < self.compacted && matches!(self.stored[&at].event, Event::Delete { .. }) {
                gone.push(at);
            }
        }
        for at in gone.into_iter().take(max) {
            self.stored.remove(&at);
        }
    }
}

impl Records for Store {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        self.stored.get(&at).cloned().ok_or_else(|| RecordsError(format!("no record {at:?}")))
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        Ok(self.stored.range(from..).take(limit).map(|(at, record)| (*at, record.clone())).collect())
    }
}

impl Previous for Store {
    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, RecordsError> {
        Ok(if at < self.compacted { None } else { self.truth_at(key, at) })
    }
}

/// The hub's sets agree with each other and with the watchers.
fn check(hub: &Hub) {
    let mut in_groups = 0;
    for (stream, open) in &hub.streams {
        for (id, watcher) in &open.watchers {
            let ready = hub.ready.contains(&(watcher.next, *stream, *id));
            match watcher.state {
                stream::WatcherState::Synced(group) => {
                    let group = &hub.groups[&group];
                    assert!(group.watchers.contains(&(*stream, *id)));
                    assert_eq!((&group.range, group.options), (&watcher.range, watcher.options));
                    assert!(!open.unsynced.contains(id) && !ready);
                    in_groups += 1;
                }
                stream::WatcherState::Unsynced => {
                    assert!(open.unsynced.contains(id));
                    assert_eq!(ready, !open.blocked, "ready exactly when there is room");
                    assert!(watcher.next <= hub.published);
                }
            }
        }
        assert!(open.unsynced.iter().all(|id| open.watchers.contains_key(id)));
        assert!(!open.blocked || open.queued() > 0, "blocked with nothing to drain");
    }
    assert_eq!(in_groups, hub.groups.values().map(|group| group.watchers.len()).sum::<usize>());
    assert!(hub.groups.values().all(|group| !group.watchers.is_empty()));
    assert_eq!(hub.index.is_empty(), hub.groups.is_empty());
    let known = |&(_, stream, id): &(Revision, StreamId, WatchId)| {
        hub.streams.get(&stream).is_some_and(|open| open.unsynced.contains(&id))
    };
    assert!(hub.ready.iter().all(known));
}

fn key(key: &'static str) -> KeyRange {
    KeyRange::single(key)
}

fn from(start: &'static str) -> KeyRange {
    KeyRange::from_wire(Bytes::from_static(start.as_bytes()), Bytes::from_static(b"\0"))
}

fn between(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::from_wire(Bytes::from_static(start.as_bytes()), Bytes::from_static(end.as_bytes()))
}
