//! The watch hub of one member, shared: who feeds it, who drains it, and who is woken when.
//!
//! The hub itself ([`Hub`]) is pure; this is its lock and its wake-ups. One call to the hub wakes each stream
//! at most once, however many responses it was given, and only after the lock is let go.
//!
//! Lock order: the hub may be held while the machine's state is read, never the other way round.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::machine::effects::{Event, RecordsError};
use crate::machine::watch::{Hub, HubStats, Previous, Response, StreamId, WatchLimits};
use crate::types::Revision;

/// The member's watchers and those who wait for them.
pub struct WatchHub {
    inner: Mutex<Inner>,
    /// Told when there is history to be read for somebody, and at the end.
    work: Notify,
    stopped: AtomicBool,
}

struct Inner {
    hub: Hub,
    streams: BTreeMap<StreamId, Arc<Signals>>,
    opened: u64,
}

/// What the two sides of one client stream wait for.
#[derive(Default)]
struct Signals {
    responses: Notify,
    room: Notify,
}

impl WatchHub {
    /// A hub without streams over a store at revision `published`.
    pub fn new(limits: WatchLimits, published: Revision) -> WatchHub {
        let inner = Inner { hub: Hub::new(limits, published), streams: BTreeMap::new(), opened: 0 };
        WatchHub { inner: Mutex::new(inner), work: Notify::new(), stopped: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the hub, then wakes whoever has something to do because of it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Hub) -> T) -> T {
        let (outcome, woken, behind) = {
            let mut inner = self.lock();
            let outcome = act(&mut inner.hub);
            let woken = inner.hub.take_woken();
            let woken: Vec<_> =
                woken.iter().filter_map(|stream| inner.streams.get(stream)).cloned().collect();
            (outcome, woken, inner.hub.needs_catch_up())
        };
        // The planted bug wakes one of them alone.
        let most = if crate::mutant!("watch-only-one-stream-woken") { 1 } else { usize::MAX };
        for signals in woken.into_iter().take(most) {
            signals.responses.notify_one();
        }
        if behind {
            self.work.notify_one();
        }
        outcome
    }

    /// Delivers the events of what was just applied; see [`Hub::publish`].
    ///
    /// # Errors
    /// When history cannot be read: the member must stop.
    pub fn publish(
        &self,
        events: &[Event],
        revision: Revision,
        previous: &dyn Previous,
    ) -> Result<(), RecordsError> {
        self.with(|hub| hub.publish(events, revision, previous))
    }

    /// Opens a stream and names it.
    pub fn open(&self) -> StreamId {
        let mut inner = self.lock();
        inner.opened += 1;
        let stream = StreamId(inner.opened);
        inner.hub.open(stream);
        inner.streams.insert(stream, Arc::default());
        stream
    }

    /// Closes a stream with all its watches.
    pub fn close(&self, stream: StreamId) {
        self.with(|hub| hub.close(stream));
        self.lock().streams.remove(&stream);
    }

    /// Waits for responses of a stream and takes up to `max`, oldest first; none when the member stops. One
    /// caller a stream at a time.
    pub async fn next(&self, stream: StreamId, max: usize) -> Vec<Response> {
        let Some(signals) = self.signals(stream) else { return Vec::new() };
        loop {
            if self.is_stopped() {
                return Vec::new();
            }
            let (taken, room) = self.with(|hub| {
                let full = !hub.has_room(stream);
                let taken = hub.drain(stream, max.max(1));
                (taken, full && hub.has_room(stream))
            });
            if room {
                signals.room.notify_one();
            }
            if !taken.is_empty() {
                return taken;
            }
            signals.responses.notified().await;
        }
    }

    /// Waits until a stream takes requests; false when the member stops. One caller a stream at a time.
    pub async fn room(&self, stream: StreamId) -> bool {
        let Some(signals) = self.signals(stream) else { return false };
        loop {
            if self.is_stopped() {
                return false;
            }
            if self.lock().hub.has_room(stream) {
                return true;
            }
            crate::sometimes!("watch stream without room");
            signals.room.notified().await;
        }
    }

    fn signals(&self, stream: StreamId) -> Option<Arc<Signals>> {
        self.lock().streams.get(&stream).cloned()
    }

    /// Waits until somebody needs history (or may need it); false when the member stops.
    pub async fn work(&self) -> bool {
        if !self.is_stopped() {
            self.work.notified().await;
        }
        !self.is_stopped()
    }

    /// Ends all waiting, for good: the member stops.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for signals in self.lock().streams.values() {
            signals.responses.notify_one();
            signals.room.notify_one();
        }
        self.work.notify_one();
    }

    /// Whether the member stops.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Figures for the operator.
    pub fn stats(&self) -> HubStats {
        self.lock().hub.stats()
    }
}
