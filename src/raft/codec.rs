//! The bytes of log entries and of memberships: in the WAL, on the wire, in snapshots.
//!
//! An entry's payload is one tag byte and what the tag says. Batches carry the tag from the moment they are
//! encoded, so that their bytes are shared by everything that stores or sends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::{EntryPayload, Membership, StoredMembership};
use prost::Message;

use crate::machine::codec;
use crate::machine::command::Batch;
use crate::raft::membership::Configuration;
use crate::raft::types::{LogBatch, PeerNode, RaftEntry, RaftMembership, RaftPayload, raft_log_id};
use crate::storage::wal;
use crate::types::LogId;

/// The payload is empty: a new leader's first entry.
const TAG_BLANK: u8 = 0;
/// The payload is a batch of requests.
const TAG_BATCH: u8 = 1;
/// The payload is a membership.
const TAG_MEMBERSHIP: u8 = 2;

/// An entry or membership that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log entry {at}: {what}")]
pub struct EntryError {
    /// Which entry.
    pub at: LogId,
    /// What is wrong with it.
    pub what: String,
}

/// One set of voters; a joint configuration has two.
#[derive(Clone, PartialEq, Eq, Message)]
struct VotersRecord {
    #[prost(uint64, repeated, tag = "1")]
    members: Vec<u64>,
}

/// One member and where it is reached.
#[derive(Clone, PartialEq, Eq, Message)]
struct NodeRecord {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(string, repeated, tag = "2")]
    urls: Vec<String>,
}

/// Who votes and who is known.
#[derive(Clone, PartialEq, Eq, Message)]
struct MembershipRecord {
    #[prost(message, repeated, tag = "1")]
    voters: Vec<VotersRecord>,
    #[prost(message, repeated, tag = "2")]
    nodes: Vec<NodeRecord>,
}

/// The bytes of a membership.
pub fn encode_membership(membership: &Membership<u64, PeerNode>) -> Bytes {
    let voters = membership.get_joint_config();
    let record = MembershipRecord {
        voters: voters.iter().map(|set| VotersRecord { members: set.iter().copied().collect() }).collect(),
        nodes: membership
            .nodes()
            .map(|(member, node)| NodeRecord { member: *member, urls: node.urls.clone() })
            .collect(),
    };
    Bytes::from(record.encode_to_vec())
}

/// Reads a membership.
///
/// # Errors
/// When the bytes are not one, or its voters and members contradict each other.
pub fn decode_membership(bytes: &[u8]) -> Result<Membership<u64, PeerNode>, String> {
    let record = MembershipRecord::decode(bytes).map_err(|error| error.to_string())?;
    let voters: Vec<BTreeSet<u64>> =
        record.voters.into_iter().map(|set| set.members.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, PeerNode> =
        record.nodes.into_iter().map(|node| (node.member, PeerNode { urls: node.urls })).collect();
    if voters.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(voters, nodes).map_err(|error| error.to_string())
}

/// A membership with the id of its entry, from both parts as stored.
///
/// # Errors
/// As [`decode_membership`].
pub fn decode_stored_membership(id: Option<LogId>, bytes: &[u8]) -> Result<RaftMembership, String> {
    Ok(StoredMembership::new(id.map(raft_log_id), decode_membership(bytes)?))
}

/// A batch as the log carries it.
pub fn encode_batch(batch: Batch) -> LogBatch {
    let encoded = codec::encode_batch(&batch);
    let mut bytes = BytesMut::with_capacity(encoded.len() + 1);
    bytes.put_u8(TAG_BATCH);
    bytes.put_slice(&encoded);
    LogBatch::new(bytes.freeze(), batch)
}

/// Reads a batch as the log carries it.
///
/// # Errors
/// When the bytes are no batch, or one of a newer version.
pub fn decode_batch(bytes: Bytes) -> Result<LogBatch, String> {
    match bytes.split_first() {
        Some((&TAG_BATCH, rest)) => {
            let batch = codec::decode_batch(bytes.slice_ref(rest)).map_err(|error| error.to_string())?;
            Ok(LogBatch::new(bytes, batch))
        }
        _ => Err("not a batch".to_owned()),
    }
}

/// The decoded form of a batch that is to be applied.
///
/// # Errors
/// As [`decode_batch`], when somebody has taken the decoded form before.
pub fn batch_to_apply(batch: &LogBatch) -> Result<Arc<Batch>, String> {
    if let Some(decoded) = batch.take() {
        return Ok(decoded);
    }
    crate::sometimes!("a batch was decoded again");
    let again = decode_batch(batch.bytes.clone())?.take();
    again.ok_or_else(|| "a batch just decoded is there".to_owned())
}

/// The bytes of an entry's payload.
pub fn encode_payload(payload: &RaftPayload) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[TAG_BLANK]),
        EntryPayload::Normal(batch) => batch.bytes.clone(),
        EntryPayload::Membership(membership) => {
            let mut bytes = vec![TAG_MEMBERSHIP];
            bytes.extend_from_slice(&encode_membership(membership));
            Bytes::from(bytes)
        }
    }
}

/// What an entry holds, for who only looks at a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: a new leader's first entry.
    Blank,
    /// Requests.
    Batch(Batch),
    /// Who votes from there on, and who is known.
    Membership(Configuration),
}

/// Reads what an entry holds.
///
/// # Errors
/// As [`from_wal`].
pub fn content(at: LogId, payload: Bytes) -> Result<Content, EntryError> {
    let failed = |what: String| EntryError { at, what };
    Ok(match from_wal(at, payload)?.payload {
        EntryPayload::Blank => Content::Blank,
        EntryPayload::Membership(membership) => {
            Content::Membership(Configuration::from(&RaftMembership::new(Some(raft_log_id(at)), membership)))
        }
        EntryPayload::Normal(batch) => {
            let batch = batch_to_apply(&batch).map_err(failed)?;
            Content::Batch(Arc::unwrap_or_clone(batch))
        }
    })
}

/// An entry as the WAL stores it.
pub fn to_wal(entry: &RaftEntry) -> wal::Entry {
    wal::Entry { log_id: crate::raft::types::log_id(&entry.log_id), payload: encode_payload(&entry.payload) }
}

/// Reads an entry.
///
/// # Errors
/// [`EntryError`] when the payload is not one this version knows.
pub fn from_wal(at: LogId, payload: Bytes) -> Result<RaftEntry, EntryError> {
    let failed = |what: String| EntryError { at, what };
    let decoded = match payload.split_first() {
        Some((&TAG_BLANK, [])) => EntryPayload::Blank,
        Some((&TAG_MEMBERSHIP, rest)) => EntryPayload::Membership(decode_membership(rest).map_err(failed)?),
        Some((&TAG_BATCH, _)) => EntryPayload::Normal(decode_batch(payload).map_err(failed)?),
        Some((tag, _)) => return Err(failed(format!("unknown kind {tag}"))),
        None => return Err(failed("empty payload".to_owned())),
    };
    Ok(RaftEntry { log_id: raft_log_id(at), payload: decoded })
}
