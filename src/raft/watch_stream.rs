//! One client's stream of watches on this member.
//!
//! A stream has two sides that may live in different tasks: requests go in by [`WatchStream::create`] and its
//! siblings, while one other task takes the responses out by [`WatchStream::next`]. It closes when it is
//! dropped. It does not check permissions: refuse with [`WatchStream::refuse`] what is not allowed.

use std::sync::Arc;

use crate::machine::watch::{Creation, Refusal, Response, StreamId, WatchSpec};
use crate::raft::replica::Replica;
use crate::types::{Revision, WatchId};

/// An open stream.
pub struct WatchStream {
    replica: Arc<Replica>,
    stream: StreamId,
}

impl WatchStream {
    /// Opens a stream on `replica`.
    pub fn open(replica: Arc<Replica>) -> WatchStream {
        let stream = replica.watches().open();
        WatchStream { replica, stream }
    }

    /// Creates a watch; what the client must be told is queued.
    pub fn create(&self, spec: WatchSpec) -> Creation {
        let (current, compacted) = {
            let state = self.replica.state();
            (state.revision(), state.compacted())
        };
        self.replica.watches().with(|hub| hub.create(self.stream, spec, current, compacted))
    }

    /// Tells the client that its watch was not created, for a reason found above the hub.
    pub fn refuse(&self, refusal: Refusal) {
        let current = self.revision();
        self.replica.watches().with(|hub| hub.refuse(self.stream, refusal, current));
    }

    /// Ends a watch and says so; silent when there is no such watch.
    pub fn cancel(&self, id: WatchId) {
        self.replica.watches().with(|hub| hub.cancel(self.stream, id));
    }

    /// Asks for a progress response for the stream itself.
    pub fn request_progress(&self) {
        self.replica.watches().with(|hub| hub.request_progress(self.stream));
    }

    /// Waits for responses and takes up to `max`, oldest first. An empty answer means that the member stops.
    /// One caller at a time.
    pub async fn next(&self, max: usize) -> Vec<Response> {
        self.replica.watches().next(self.stream, max).await
    }

    /// Waits until the stream takes more requests: call it before reading each of the client's. False when the
    /// member stops. One caller at a time.
    pub async fn room(&self) -> bool {
        self.replica.watches().room(self.stream).await
    }

    /// The member's revision now.
    pub fn revision(&self) -> Revision {
        self.replica.state().revision()
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.replica.watches().close(self.stream);
    }
}
