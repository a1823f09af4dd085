//! One watch: what was asked, every response as it came, and how it ended.
//!
//! A progress response for the whole stream (watch id -1) is recorded in every watch of that stream.

use crate::bytes::Bytes;
use crate::history::Settled;
use crate::history::operation::MemberAsked;
use crate::history::response::{Event, EventKind, Header};
use crate::types::{ClientId, Nanos, Revision, WatchNo, is_default};
use serde::{Deserialize, Serialize};

/// What a watch asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WatchCreate {
    /// The first key.
    pub key: Bytes,
    /// The end, in the API's convention.
    #[serde(default, skip_serializing_if = "is_default")]
    pub range_end: Bytes,
    /// The first revision wanted; 0 is "from now on".
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_revision: Revision,
    /// Whether idle progress is wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress_notify: bool,
    /// Puts are not wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_put: bool,
    /// Deletes are not wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_delete: bool,
    /// Whether previous pairs are wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// Whether large responses may be split.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fragment: bool,
}

/// One response of a watch stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WatchReceived {
    /// When it came.
    pub at: Nanos,
    /// Its header.
    pub header: Header,
    /// The wire's watch id; -1 speaks for the stream.
    #[serde(default, skip_serializing_if = "is_default")]
    pub watch_id: i64,
    /// The watch exists from here on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub created: bool,
    /// The watch has ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub canceled: bool,
    /// With a cancel: the revision that is compacted; 0 otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compact_revision: Revision,
    /// With a cancel: why.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancel_reason: String,
    /// More of the same response follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fragment: bool,
    /// The events.
    #[serde(default, skip_serializing_if = "is_default")]
    pub events: Vec<Event>,
}

impl WatchReceived {
    /// Whether this is a bookmark: it says only how far the watch has come.
    pub fn is_progress(&self) -> bool {
        !self.created && !self.canceled && !self.fragment && self.events.is_empty()
    }
}

/// How a watch ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum WatchEnd {
    /// It was live when the history ended.
    #[default]
    Open,
    /// The client cancelled it.
    ClientCancel {
        /// When it asked for that.
        at: Nanos,
    },
    /// The server cancelled it; the last response says why.
    ServerCancel {
        /// When that came.
        at: Nanos,
    },
    /// The stream broke.
    Broken {
        /// When.
        at: Nanos,
        /// The error.
        error: String,
    },
}

/// One watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watch {
    /// Its name in the history.
    pub id: WatchNo,
    /// Who watched.
    pub client: ClientId,
    /// Which of the client's streams carried it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stream: u64,
    /// Who was asked.
    pub member: MemberAsked,
    /// When it was asked for.
    pub invoked: Nanos,
    /// What was asked.
    pub create: WatchCreate,
    /// When the client asked the stream for progress.
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress_requests: Vec<Nanos>,
    /// What came.
    #[serde(default, skip_serializing_if = "is_default")]
    pub received: Vec<WatchReceived>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: WatchEnd,
}

impl Watch {
    /// Whether the watch wants this event.
    pub fn wants(&self, event: &Event) -> bool {
        let filtered = match event.kind {
            EventKind::Put => self.create.no_put,
            EventKind::Delete => self.create.no_delete,
        };
        !filtered && crate::span::covers(&self.create.key, &self.create.range_end, &event.kv.key)
    }

    /// Whether it sees every change there is.
    pub fn is_full(&self) -> bool {
        !self.create.no_put
            && !self.create.no_delete
            && crate::span::is_everything(&self.create.key, &self.create.range_end)
    }

    /// The last revision that came whole.
    pub fn reached(&self) -> Revision {
        let whole = |response: &WatchReceived| {
            let last = response.events.last()?.kv.mod_revision;
            // What follows a piece may be of the same revision.
            Some(if response.fragment { last.previous() } else { last })
        };
        self.received.iter().filter_map(whole).max().unwrap_or_default()
    }

    /// Whether it was asked for before this moment and had not ended by then.
    fn lives_at(&self, moment: Nanos) -> bool {
        let ended = match &self.end {
            WatchEnd::Open => false,
            WatchEnd::ClientCancel { at } | WatchEnd::ServerCancel { at } | WatchEnd::Broken { at, .. } => {
                *at <= moment
            }
        };
        let canceled = self.received.iter().any(|response| response.canceled && response.at <= moment);
        self.invoked < moment && !ended && !canceled
    }

    /// Whether it lived from the beginning of a rest to its end.
    pub fn lived_through(&self, rest: &Settled) -> bool {
        self.lives_at(rest.still.max(rest.healed)) && self.lives_at(rest.at)
    }

    /// The response that created it, if one came and did not refuse.
    pub fn created(&self) -> Option<&WatchReceived> {
        self.received.iter().find(|response| response.created && !response.canceled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::KeyValue;

    fn response(revisions: &[i64], fragment: bool) -> WatchReceived {
        let event = |revision: &i64| Event {
            kind: EventKind::Put,
            kv: KeyValue { mod_revision: Revision(*revision), ..KeyValue::default() },
            prev_kv: None,
        };
        WatchReceived { events: revisions.iter().map(event).collect(), fragment, ..WatchReceived::default() }
    }

    #[test]
    fn a_revision_is_reached_when_it_came_whole() {
        let progress = || response(&[], false);
        for (received, want) in [
            (vec![], 0),
            (vec![response(&[2], false), progress()], 2),
            // More of revision 4 may follow.
            (vec![response(&[2], false), response(&[3, 4, 4], true)], 3),
            (vec![response(&[4], true), response(&[4], true)], 3),
            (vec![response(&[3, 4], true), response(&[4], false), progress()], 4),
        ] {
            let watch = Watch { received, ..Watch::default() };
            assert_eq!(watch.reached(), Revision(want), "{:?}", watch.received);
        }
    }
}
