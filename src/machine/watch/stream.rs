//! One client stream: its watchers and the responses that wait to be sent.
//!
//! Invariant: `queued_bytes` is the sum over the queue; a blocked stream has a response queued. Only control
//! responses (created, canceled, compacted, refused) enter the queue of a blocked stream, at most a few per
//! request or watcher; events and progress wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::machine::watch::limits::WatchLimits;
use crate::machine::watch::range_index::GroupId;
use crate::machine::watch::response::{Response, STREAM_ITSELF};
use crate::machine::watch::spec::EventOptions;
use crate::types::{KeyRange, Revision, WatchId};

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watcher {
    /// Tells this watcher from an earlier one of the same stream and id.
    pub serial: u64,
    pub range: KeyRange,
    pub options: EventOptions,
    pub progress_notify: bool,
    pub fragment: bool,
    /// Everything matching below this revision was queued, nothing at or above it. For a synced watcher it may
    /// lag behind `published + 1`: between the two nothing matched.
    pub next: Revision,
    pub state: WatcherState,
    /// No event was queued since the last progress tick.
    pub quiet: bool,
}

/// How a watcher gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WatcherState {
    /// Live, as one of a group.
    Synced(GroupId),
    /// From history.
    Unsynced,
}

/// One stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub watchers: BTreeMap<WatchId, Watcher>,
    /// The watchers that are not synced.
    pub unsynced: BTreeSet<WatchId>,
    /// The queue reached its limit and has not yet been drained to half of it.
    pub blocked: bool,
    /// The client waits for progress; there is no use in looking before the store reaches this revision.
    pub progress_asked: Option<Revision>,
    queue: VecDeque<Response>,
    queued_bytes: usize,
    next_id: i64,
}

impl Stream {
    /// The id for a new watch, or `None` when the one wished for is taken.
    pub fn pick_id(&mut self, wished: Option<WatchId>) -> Option<WatchId> {
        match wished {
            None | Some(WatchId(0)) => {
                while self.watchers.contains_key(&WatchId(self.next_id)) {
                    self.next_id = self.next_id.saturating_add(1);
                }
                let id = WatchId(self.next_id);
                self.next_id = self.next_id.saturating_add(1);
                Some(id)
            }
            Some(id) if id == STREAM_ITSELF || self.watchers.contains_key(&id) => None,
            Some(id) => Some(id),
        }
    }

    pub fn push(&mut self, response: Response) {
        self.queued_bytes = self.queued_bytes.saturating_add(response.size_bytes());
        self.queue.push_back(response);
    }

    /// Takes up to `max` responses, oldest first.
    pub fn pop(&mut self, max: usize) -> Vec<Response> {
        let taken: Vec<Response> = self.queue.drain(..max.min(self.queue.len())).collect();
        let bytes: usize = taken.iter().map(Response::size_bytes).sum();
        assert!(bytes <= self.queued_bytes, "queue counted {} bytes, held {bytes}", self.queued_bytes);
        self.queued_bytes -= bytes;
        assert!(!self.queue.is_empty() || self.queued_bytes == 0, "bytes without responses");
        taken
    }

    /// The queue is at or above its limit.
    pub fn is_full(&self, limits: &WatchLimits) -> bool {
        self.queue.len() >= limits.queue_responses_max || self.queued_bytes >= limits.queue_bytes_max
    }

    /// The queue is down to half its limit: far enough that filling up again takes a while.
    pub fn is_half_empty(&self, limits: &WatchLimits) -> bool {
        self.queue.len() <= limits.queue_responses_max / 2 && self.queued_bytes <= limits.queue_bytes_max / 2
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }
}
