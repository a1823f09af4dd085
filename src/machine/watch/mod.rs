//! Watches: every change to a range of keys, in order, once, from any revision that is still stored.
//!
//! # Parts
//! - [`Hub`]: all streams and watchers of one member, fed by whoever applies batches.
//! - [`Scan`] and [`CaughtUp`]: one bounded step of catch-up, read apart from the hub.
//! - [`RangeIndex`]: which watched ranges hold a key.
//! - [`EventSet`]: events shared by all watchers that receive the same ones.
//! - [`Response`]: what goes out on a stream, and [`fragment`], which splits one that is too large.
//!
//! # Invariants
//! - A watcher's `next` is the lowest revision whose matching events it may still lack: everything matching
//!   below it was queued for its stream once, nothing at or above it was. Only queueing moves it, only upward.
//! - A watcher is *synced* when live events reach it. Then every stored event below `published + 1` that
//!   matches it was queued. The others are *unsynced* and live events pass them by.
//! - One response holds whole revisions; only [`fragment`] splits one, at send time.
//! - A stream's queue is first in, first out: progress never overtakes an event.
//!
//! # What is absent
//! No async, I/O, clock or encoding: the caller says when to publish, step, tick and drain. The caller opens and
//! closes streams, checks permissions at creation, and ends streams that lost their leader.

mod catch_up;
mod event_set;
mod hub;
mod limits;
mod publish;
mod range_index;
mod response;
mod spec;
mod stream;

#[cfg(test)]
mod tests;

pub use catch_up::{CaughtUp, Scan};
pub use event_set::{EventSet, WatchEvent};
pub use hub::{Creation, Hub, HubStats};
pub use limits::{CatchUpBudget, WatchLimits};
pub use range_index::{GroupId, RangeIndex};
pub use response::{Body, Refusal, Response, fragment};
pub use spec::{EventOptions, Filters, StreamId, WatchSpec};

use crate::machine::command::KeyValue;
use crate::machine::effects::RecordsError;
use crate::types::Revision;

/// Key-values as they were: where previous values of events come from.
pub trait Previous {
    /// The key-value of `key` as of the end of revision `at`; `None` when the key did not exist then, or when
    /// `at` can no longer be read because it was compacted.
    ///
    /// # Errors
    /// [`RecordsError`] when stored history cannot be read: the caller must stop.
    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, RecordsError>;
}
