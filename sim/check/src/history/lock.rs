//! Locks and elections, by the client's own recipe or by a service: what a contender and an observer know.
//!
//! The recipe: a contender writes a key of its own, below the lock's prefix and on a lease, if it is not there yet
//! (compare: create revision 0); the live key with the smallest create revision holds. Who does not hold waits for the
//! key before its own to be deleted, then reads again, and is granted when nobody stands before it and its own key is
//! still there. What it does under the lock is a transaction that compares its key's create revision. An election is
//! the same, the key's value being what the leader proclaims.

use crate::bytes::Bytes;
use crate::history::operation::MemberAsked;
use crate::types::{ClientId, Nanos, OpId, Revision, is_default};
use serde::{Deserialize, Serialize};

/// The moment a contender was told, or told itself, that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// When it knew.
    pub at: Nanos,
    /// The revision of the answer that showed it: of the last read, or of its own write when nobody stood before it.
    pub revision: Revision,
}

/// The moment a contender was told that its place is no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// When it knew.
    pub at: Nanos,
    /// The revision of the answer: the place is gone as of it.
    pub revision: Revision,
}

/// One attempt to hold a lock or to lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// Who.
    pub client: ClientId,
    /// The lock: every contender's key begins with it.
    pub prefix: Bytes,
    /// The contender's own key.
    pub key: Bytes,
    /// Its create revision, which fences what is done under the lock; 0 when nobody could tell the contender.
    pub created: Revision,
    /// When it came to hold, if it did.
    #[serde(default, skip_serializing_if = "is_default")]
    pub granted: Option<Granted>,
    /// The transactions sent under the lock.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guarded: Vec<OpId>,
    /// When a service told it that it has let go, if it asked one and was told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub released: Option<Released>,
}

/// One sight of a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderSeen {
    /// When.
    pub at: Nanos,
    /// When the question was put, if its answer must know everything that was acknowledged before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub asked: Option<Nanos>,
    /// The revision at which it leads: of the read, or of the event.
    pub revision: Revision,
    /// The leader's key.
    pub key: Bytes,
    /// Its create revision.
    pub created: Revision,
    /// The revision at which it began to proclaim that.
    pub modified: Revision,
    /// What it proclaims.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Bytes,
    /// Which of the observer's streams told it, from 1 on; 0 where it was asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stream: u64,
}

/// One answer that nobody leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NobodySeen {
    /// When the question was put: its answer must know everything that was acknowledged before.
    pub asked: Nanos,
    /// When it was answered.
    pub at: Nanos,
}

/// What one observer of an election saw, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observer {
    /// Who observed.
    pub client: ClientId,
    /// Which member was asked.
    pub member: MemberAsked,
    /// The election.
    pub prefix: Bytes,
    /// The leaders.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seen: Vec<LeaderSeen>,
    /// The answers that there was none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nobody: Vec<NobodySeen>,
}
