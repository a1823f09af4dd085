//! What watches and reads show of the revisions that nobody was answered for.

use crate::bytes::Bytes;
use crate::history::{Event, EventKind, History, KeyValue, Watch};
use crate::types::{Revision, WatchNo};
use std::collections::BTreeMap;

/// What is known of one revision.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Keys that were written, with the pair as seen; the flag says whether the value was visible.
    pub puts: BTreeMap<Bytes, (KeyValue, bool)>,
    /// Keys that were deleted.
    pub deletes: BTreeMap<Bytes, WatchNo>,
    /// How many keys changed in all, if a watch of everything saw the revision whole.
    pub total: Option<usize>,
}

impl Evidence {
    /// Whether nothing at all was seen.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.total.is_none()
    }

    /// Whether these changes are what was seen.
    pub fn fits(&self, events: &[Event]) -> bool {
        let find = |kind: EventKind, key: &Bytes| {
            events.iter().find(|event| event.kind == kind && event.kv.key == *key)
        };
        let puts_fit = self.puts.iter().all(|(key, (seen, with_value))| {
            find(EventKind::Put, key).is_some_and(|event| !with_value || event.kv.value == seen.value)
        });
        let deletes_fit = self.deletes.keys().all(|key| find(EventKind::Delete, key).is_some());
        puts_fit && deletes_fit && self.total.is_none_or(|total| total == events.len())
    }

    /// The changes as they were seen, for a replay that has to go on without an explanation.
    pub fn as_events(&self) -> Vec<Event> {
        let put = |(kv, _): &(KeyValue, bool)| Event { kind: EventKind::Put, kv: kv.clone(), prev_kv: None };
        let delete = |key: &Bytes| Event {
            kind: EventKind::Delete,
            kv: KeyValue { key: key.clone(), ..KeyValue::default() },
            prev_kv: None,
        };
        self.puts.values().map(put).chain(self.deletes.keys().map(delete)).collect()
    }

    /// What was seen, in one line.
    pub fn describe(&self) -> String {
        if self.is_empty() {
            return "nothing of it was seen but its number".into();
        }
        let puts = self.puts.iter().map(|(key, (kv, with_value))| {
            if *with_value { format!("{key}={} was written", kv.value) } else { format!("{key} was written") }
        });
        let deletes = self.deletes.keys().map(|key| format!("{key} was deleted"));
        puts.chain(deletes).collect::<Vec<_>>().join(", ")
    }
}

/// Collects the evidence for every revision that `is_open` names.
pub fn collect(history: &History, is_open: impl Fn(Revision) -> bool) -> BTreeMap<Revision, Evidence> {
    let mut found: BTreeMap<Revision, Evidence> = BTreeMap::new();
    let mut saw = |kv: &KeyValue, with_value: bool| {
        if kv.mod_revision > Revision(0) && is_open(kv.mod_revision) {
            let puts = &mut found.entry(kv.mod_revision).or_default().puts;
            let known = puts.entry(kv.key.clone()).or_insert_with(|| (kv.clone(), with_value));
            if with_value && !known.1 {
                *known = (kv.clone(), true);
            }
        }
    };
    for operation in &history.operations {
        if let Some((_, response)) = operation.answer() {
            let with_value = !crate::revision_order::slots::hides_values(&operation.request);
            response.pairs(&mut |kv| saw(kv, with_value));
        }
    }
    for watch in &history.watches {
        for event in watch.received.iter().flat_map(|response| &response.events) {
            if let Some(before) = &event.prev_kv {
                saw(before, true);
            }
            if event.kind == EventKind::Put {
                saw(&event.kv, true);
            }
        }
    }
    for watch in &history.watches {
        note_deletes_and_totals(watch, &is_open, &mut found);
    }
    found
}

fn note_deletes_and_totals(
    watch: &Watch,
    is_open: &impl Fn(Revision) -> bool,
    found: &mut BTreeMap<Revision, Evidence>,
) {
    let mut totals: BTreeMap<Revision, usize> = BTreeMap::new();
    let mut unfinished = None;
    for response in &watch.received {
        for event in &response.events {
            let revision = event.kv.mod_revision;
            if !is_open(revision) {
                continue;
            }
            *totals.entry(revision).or_default() += 1;
            if event.kind == EventKind::Delete {
                let deletes = &mut found.entry(revision).or_default().deletes;
                deletes.entry(event.kv.key.clone()).or_insert(watch.id);
            }
        }
        unfinished = response.events.last().filter(|_| response.fragment).map(|event| event.kv.mod_revision);
    }
    if watch.is_full() {
        for (revision, total) in totals {
            if Some(revision) != unfinished {
                found.entry(revision).or_default().total.get_or_insert(total);
            }
        }
    }
}
