//! The consensus core's types, as Quorate fills them in, and the way between them and our own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::{EntryPayload, type_config::alias};

use crate::machine::command::Batch;
use crate::raft::runtime::Runtime;
use crate::types::{LogId, LogIndex, Term};

openraft::declare_raft_types!(
    /// Ties the consensus core to our types.
    pub TypeConfig:
        D = LogBatch,
        R = (),
        NodeId = u64,
        Node = PeerNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

/// A log id as the consensus core knows it.
pub type RaftLogId = alias::LogIdOf<TypeConfig>;
/// A vote as the consensus core knows it.
pub type RaftVote = alias::VoteOf<TypeConfig>;
/// A log entry as the consensus core knows it.
pub type RaftEntry = alias::EntryOf<TypeConfig>;
/// The payload of a log entry.
pub type RaftPayload = EntryPayload<LogBatch, u64, PeerNode>;
/// A membership with the log id that set it.
pub type RaftMembership = alias::StoredMembershipOf<TypeConfig>;

/// Where a member is reached by its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNode {
    /// Peer URLs, tried in order.
    pub urls: Vec<String>,
}

/// A batch of requests as the log carries it: its bytes, for as long as the entry is kept, and its decoded form until
/// somebody applies it. Clones share both.
#[derive(Clone)]
pub struct LogBatch {
    /// The bytes of the entry's payload, in the WAL and on the wire.
    pub bytes: Bytes,
    /// How many requests it holds.
    requests: usize,
    /// The decoded form would keep every client's receive buffer alive, many times the size of the batch.
    decoded: Arc<Mutex<Option<Arc<Batch>>>>,
}

impl LogBatch {
    /// A batch and its bytes.
    pub fn new(bytes: Bytes, batch: Batch) -> LogBatch {
        LogBatch {
            bytes,
            requests: batch.requests.len(),
            decoded: Arc::new(Mutex::new(Some(Arc::new(batch)))),
        }
    }

    /// Takes the decoded form out. It is there once, for the one who applies the entry.
    pub fn take(&self) -> Option<Arc<Batch>> {
        self.decoded.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {}", self.requests)
    }
}

impl PartialEq for LogBatch {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

/// Our log id for the core's.
pub fn log_id(id: &RaftLogId) -> LogId {
    LogId { term: Term(id.leader_id.term), index: LogIndex(id.index) }
}

/// The core's log id for ours.
pub fn raft_log_id(id: LogId) -> RaftLogId {
    RaftLogId::new_term_index(id.term.0, id.index.0)
}
