//! What a client asks of a watch.

use crate::machine::effects::Event;
use crate::types::{KeyRange, Revision, WatchId};

/// Names one client stream within this member. The caller chooses it and never uses one twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Which events a watcher does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filters {
    /// Leave out writes.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
}

impl Filters {
    /// Whether `event` is wanted.
    pub fn pass(self, event: &Event) -> bool {
        match event {
            Event::Put(_) => !self.no_put,
            Event::Delete { .. } => !self.no_delete,
        }
    }
}

/// What decides, besides the range, which events a watcher receives and what they carry. Watchers of one range
/// with equal options share one event set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventOptions {
    /// Which events are left out.
    pub filters: Filters,
    /// Each event carries the key-value before it.
    pub prev_kv: bool,
}

/// A request to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// Which keys.
    pub range: KeyRange,
    /// From which revision on; 0 is the revision after the current one.
    pub start: Revision,
    /// Which events, and what they carry.
    pub options: EventOptions,
    /// Tell the client now and then that nothing happened.
    pub progress_notify: bool,
    /// A response that is too large may be split.
    pub fragment: bool,
    /// The watch's id; `None` or 0 lets the stream choose: 0, 1, 2 and so on, passing over ids in use.
    pub id: Option<WatchId>,
}

impl WatchSpec {
    /// A watch of `range` from the next revision on, without options.
    pub fn new(range: KeyRange) -> WatchSpec {
        WatchSpec {
            range,
            start: Revision(0),
            options: EventOptions::default(),
            progress_notify: false,
            fragment: false,
            id: None,
        }
    }
}
