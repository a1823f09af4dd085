//! What happens to keys that somebody waits for: one watch, and its events one at a time.

use std::collections::VecDeque;

use crate::machine::effects::Event;
use crate::machine::watch::{Body, EventOptions, Filters, WatchSpec};
use crate::member::Member;
use crate::raft::watch_stream::WatchStream;
use crate::types::{KeyRange, Revision};

/// Responses taken from the hub at a time; what they say is all that is kept here.
const RESPONSES_TAKEN_MAX: usize = 1;

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A key changed.
    Event(Event),
    /// The watch ended: what it needs is compacted. Whoever waits looks anew.
    Ended,
    /// The member stops.
    Stopped,
}

/// A watch.
pub(super) struct Watched {
    stream: WatchStream,
    said: VecDeque<Said>,
}

impl Member {
    /// What happens to `range` from `start` on.
    pub(super) fn watched(&self, range: KeyRange, start: Revision, filters: Filters) -> Watched {
        let stream = self.watch();
        let options = EventOptions { filters, prev_kv: false };
        // The first response is what it comes to.
        stream.create(WatchSpec { start, options, ..WatchSpec::new(range) });
        Watched { stream, said: VecDeque::new() }
    }
}

impl Watched {
    /// Waits for what happens next.
    pub(super) async fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            let responses = self.stream.next(RESPONSES_TAKEN_MAX).await;
            if responses.is_empty() {
                return Said::Stopped;
            }
            for response in responses {
                match response.body {
                    Body::Created | Body::Progress => {}
                    Body::Refused(_) | Body::Canceled | Body::Compacted(_) => {
                        self.said.push_back(Said::Ended)
                    }
                    Body::Events { set, .. } => {
                        self.said.extend(set.events().iter().map(|event| Said::Event(event.event.clone())));
                    }
                }
            }
        }
    }
}
