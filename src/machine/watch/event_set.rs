//! Events that several watchers receive alike, held once.
//!
//! Invariant: a set is never empty, and its events stand in revision order.
//! It does not know the wire: whoever encodes a set may leave the bytes here for the next watcher.

use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use bytes::Bytes;

use crate::machine::command::KeyValue;
use crate::machine::effects::Event;
use crate::types::Revision;

/// What an event or key-value takes on the wire besides key and value, in bytes, at most: tags, lengths and
/// five ten-byte integers.
const KEY_VALUE_OVERHEAD_BYTES: usize = 72;

/// One event, as a watcher receives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// What happened.
    pub event: Event,
    /// The key-value before it, if asked for, there was one, and it is still stored.
    pub prev_kv: Option<KeyValue>,
}

impl WatchEvent {
    /// Upper bound of the event's size on the wire.
    pub fn size_bytes(&self) -> usize {
        let previous = self.prev_kv.as_ref().map_or(0, key_value_bytes);
        event_bytes(&self.event).saturating_add(previous)
    }
}

/// Upper bound of an event's size on the wire, without a previous key-value.
pub(super) fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Put(kv) => key_value_bytes(kv),
        Event::Delete { key, .. } => key.len().saturating_add(KEY_VALUE_OVERHEAD_BYTES),
    }
}

fn key_value_bytes(kv: &KeyValue) -> usize {
    kv.key.len().saturating_add(kv.value.len()).saturating_add(KEY_VALUE_OVERHEAD_BYTES)
}

/// Events in revision order, at least one.
#[derive(Debug)]
pub struct EventSet {
    events: Vec<WatchEvent>,
    first: Revision,
    last: Revision,
    size_bytes: usize,
    encoded: OnceLock<Bytes>,
}

impl EventSet {
    /// A set of `events`, or `None` when there are none.
    pub fn new(events: Vec<WatchEvent>) -> Option<EventSet> {
        let first = events.first()?.event.revision();
        let mut last = first;
        let mut size_bytes = 0_usize;
        for event in &events {
            let revision = event.event.revision();
            assert!(revision >= last, "event of revision {revision} after one of {last}");
            last = revision;
            size_bytes = size_bytes.saturating_add(event.size_bytes());
        }
        Some(EventSet { events, first, last, size_bytes, encoded: OnceLock::new() })
    }

    /// The events, in revision order.
    pub fn events(&self) -> &[WatchEvent] {
        &self.events
    }

    /// The revision of the first event.
    pub fn first(&self) -> Revision {
        self.first
    }

    /// The revision of the last event.
    pub fn last(&self) -> Revision {
        self.last
    }

    /// Upper bound of the events' size on the wire.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The events of revision `from` and later, or `None` when there are none.
    pub fn since(&self, from: Revision) -> Option<EventSet> {
        EventSet::new(self.events.iter().filter(|event| event.event.revision() >= from).cloned().collect())
    }

    /// The encoded events: what an earlier call left here, else what `encode` makes of them now.
    pub fn encoded(&self, encode: impl FnOnce(&[WatchEvent]) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(&self.events))
    }
}

impl PartialEq for EventSet {
    fn eq(&self, other: &EventSet) -> bool {
        self.events == other.events
    }
}

impl Eq for EventSet {}

impl Hash for EventSet {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.events.hash(hasher);
    }
}
