//! What goes out on a stream, and the splitting of a response that is too large for one message.

use std::sync::Arc;

use crate::machine::watch::event_set::EventSet;
use crate::types::{Revision, WatchId};

/// What a response takes besides events and text, in bytes, at most.
const RESPONSE_OVERHEAD_BYTES: usize = 96;

/// The id that names the stream itself, not a watch.
pub(super) const STREAM_ITSELF: WatchId = WatchId(-1);

/// Why a watch was not created. The texts are those that clients know as `cancel_reason`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The start revision is below zero.
    #[error("mvcc: required revision has been compacted")]
    NegativeStart,
    /// The id is in use on the stream.
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    /// The range holds no key whatever is stored.
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    /// The layer above refused, for instance because permissions are missing.
    #[error("{0}")]
    Denied(String),
}

/// One message to a client about one watch, or about its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// The watch; -1 is the stream itself, or a watch that was never created.
    pub watch_id: WatchId,
    /// The store revision when the response was queued; the header carries it.
    pub revision: Revision,
    /// What there is to say.
    pub body: Body,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// The watch exists now. Always its first response.
    Created,
    /// The watch was not created: on the wire created and canceled at once.
    Refused(Refusal),
    /// The watch ended because the client asked.
    Canceled,
    /// The watch ended because it needs revisions that are gone; this is the oldest that is readable.
    Compacted(Revision),
    /// Everything relevant up to the header's revision was sent.
    Progress,
    /// Events.
    Events {
        /// The events; shared with other watchers.
        set: Arc<EventSet>,
        /// The client takes this response in pieces if it is too large.
        may_fragment: bool,
        /// More pieces of this response follow.
        more: bool,
    },
}

impl Response {
    /// Whether the next response to this watch is another piece of this one.
    pub fn has_more(&self) -> bool {
        matches!(self.body, Body::Events { more: true, .. })
    }

    /// Upper bound of the response's size on the wire.
    pub fn size_bytes(&self) -> usize {
        let body = match &self.body {
            Body::Created | Body::Canceled | Body::Compacted(_) | Body::Progress => 0,
            Body::Refused(refusal) => refusal.to_string().len(),
            Body::Events { set, .. } => set.size_bytes(),
        };
        body.saturating_add(RESPONSE_OVERHEAD_BYTES)
    }
}

/// Splits a response into pieces of at most `max_bytes` each, if its watcher allows and it is larger. A piece
/// holds at least one event, so an event larger than the limit makes a piece that is larger too. All pieces but
/// the last say that more follow; their events, joined, are the response's.
pub fn fragment(response: Response, max_bytes: usize) -> Vec<Response> {
    let Body::Events { set, may_fragment: true, .. } = &response.body else { return vec![response] };
    if response.size_bytes() <= max_bytes || set.events().len() < 2 {
        return vec![response];
    }
    let mut pieces: Vec<Vec<_>> = Vec::new();
    let mut room = 0;
    for event in set.events() {
        let size = event.size_bytes();
        match pieces.last_mut() {
            Some(piece) if size <= room => {
                room -= size;
                piece.push(event.clone());
            }
            _ => {
                pieces.push(vec![event.clone()]);
                room = max_bytes.saturating_sub(RESPONSE_OVERHEAD_BYTES).saturating_sub(size);
            }
        }
    }
    crate::sometimes!("a response to a watch went in pieces");
    let count = pieces.len();
    // The planted bug takes each piece for the whole.
    let tells = !crate::mutant!("watch-pieces-taken-for-wholes");
    let sets = pieces.into_iter().filter_map(EventSet::new);
    sets.zip(1..)
        .map(|(set, number)| {
            // The planted bug promises another after the last.
            let more = number < count || crate::mutant!("watch-last-piece-promises-more");
            Response {
                body: Body::Events { set: Arc::new(set), may_fragment: true, more: tells && more },
                ..response
            }
        })
        .collect()
}
