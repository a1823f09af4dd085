//! The consensus core's types, as Quorate fills them in, and the way between them and our own.

use std::fmt;
use std::sync::Arc;

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

/// A batch of requests as the log carries it: encoded once, decoded once, both shared.
#[derive(Clone)]
pub struct LogBatch {
    /// The bytes of the entry's payload, in the WAL and on the wire.
    pub bytes: Bytes,
    /// The same batch, decoded.
    pub batch: Arc<Batch>,
}

impl fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} from {}", self.batch.requests.len(), self.batch.member)
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
