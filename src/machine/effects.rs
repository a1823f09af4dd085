//! What applying a batch asks of the world around the machine, and what the machine may read back.

use std::sync::Arc;

use bytes::Bytes;

use crate::machine::command::{Answer, KeyValue};
use crate::machine::persist::Write;
use crate::types::{RequestId, RevPair, Revision};

/// The outcome of applying one batch (or several, appended in order).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What to persist, atomically with the applied log id; later writes to one key win.
    pub writes: Vec<Write>,
    /// What happened to keys, in revision order; all events of one revision stand together.
    pub events: Vec<Event>,
    /// One answer per request applied for the first time, in order. A request recognised as a repetition has
    /// none: its sender was, or will be, answered by the first application.
    pub answers: Vec<(RequestId, Answer)>,
    /// What happened to the sessions of signed-in users, in order.
    pub sessions: Vec<SessionChange>,
}

/// What happened to sessions. They are no part of the state: each member knows those that were opened while it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// A user signed in.
    Opened {
        /// What its clients show from now on.
        token: String,
        /// Who it is.
        user: Arc<str>,
    },
    /// All sessions of a user ended.
    Ended {
        /// Who it was.
        user: Arc<str>,
    },
    /// All sessions ended.
    AllEnded,
}

impl SessionChange {
    /// All sessions of a user ended.
    pub(crate) fn ended(user: &str) -> SessionChange {
        SessionChange::Ended { user: Arc::from(user) }
    }
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The key was written; the key-value is the new one.
    Put(KeyValue),
    /// The key was deleted.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision of the deletion.
        mod_revision: Revision,
    },
}

impl Event {
    /// The key the event is about.
    pub fn key(&self) -> &Bytes {
        match self {
            Event::Put(kv) => &kv.key,
            Event::Delete { key, .. } => key,
        }
    }

    /// The revision the event belongs to.
    pub fn revision(&self) -> Revision {
        match self {
            Event::Put(kv) => kv.mod_revision,
            Event::Delete { mod_revision, .. } => *mod_revision,
        }
    }
}

/// One stored change, as history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The change.
    pub event: Event,
    /// In a revision's first record: the running sum over all records superseded up to and including this
    /// revision (see `hash.rs`). `None` in later records of the revision.
    pub superseded_sum: Option<Tally>,
}

/// Hash and size of a set of records, added up record by record; arithmetic wraps.
///
/// The sizes ride along with the hashes because a compaction gives space back to the quota by the same one
/// subtraction that takes records out of the state hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sum of the records' 128-bit hashes.
    pub hash: u128,
    /// Sum of the records' logical sizes, bytes.
    pub bytes: u64,
}

impl Tally {
    /// The tally of both sets together.
    #[must_use]
    pub fn plus(self, other: Tally) -> Tally {
        Tally { hash: self.hash.wrapping_add(other.hash), bytes: self.bytes.wrapping_add(other.bytes) }
    }

    /// The tally of this set without `other`, which must be a part of it.
    #[must_use]
    pub fn minus(self, other: Tally) -> Tally {
        Tally { hash: self.hash.wrapping_sub(other.hash), bytes: self.bytes.wrapping_sub(other.bytes) }
    }
}

/// Read access to stored history. A member answers from write buffer, cache and engine; models and tests from
/// a BTreeMap.
pub trait Records {
    /// The record of one change.
    ///
    /// # Errors
    /// [`RecordsError`] when the store cannot answer or holds no such record: the caller must stop, because
    /// the index said that it exists.
    fn record(&self, at: RevPair) -> Result<Record, RecordsError>;

    /// Up to `limit` records from `from` on, in order, with their places; fewer only at the end of history.
    ///
    /// # Errors
    /// As [`Records::record`].
    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError>;
}

/// History could not be read, or contradicts the index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored history: {0}")]
pub struct RecordsError(pub String);
