//! What members answer: the wire's own fields, headers included.

use crate::bytes::Bytes;
use crate::history::upkeep::{AlarmResponse, DowngradeResponse};
use crate::types::{ClusterId, LeaseId, MemberId, Revision, Term, is_default};
use serde::{Deserialize, Serialize};

/// The header of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// The cluster that answered.
    pub cluster_id: ClusterId,
    /// The member that answered.
    pub member_id: MemberId,
    /// The store's revision, as the call defines it.
    pub revision: Revision,
    /// The member's Raft term.
    pub raft_term: Term,
}

/// A key with all that the store keeps about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// When this life of the key began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub create_revision: Revision,
    /// When it was last written.
    pub mod_revision: Revision,
    /// How often it was written in this life.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: i64,
    /// The value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Bytes,
    /// The lease it hangs on; 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: LeaseId,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted; the pair then holds only key and mod revision.
    Delete,
}

/// One change of one key, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The pair after the change.
    pub kv: KeyValue,
    /// The pair before it, if asked for and there was one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// What a watch shows as the previous pair of this event, if it is one of `of_revision`, the changes of a whole
    /// revision in order: the pair before the revision. A transaction can change a key twice, and then both events
    /// carry what the first change found. A put that creates its key shows none.
    pub fn previous<'e>(&self, of_revision: &'e [Event]) -> Option<&'e KeyValue> {
        let creates = self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision;
        let first = of_revision.iter().find(|other| other.kv.key == self.kv.key)?;
        first.prev_kv.as_ref().filter(|_| !creates)
    }
}

/// A successful answer, without its header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a range.
    Range(RangeResponse),
    /// To a delete.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction.
    Compact,
    /// To a lease grant.
    LeaseGrant(LeaseGrantResponse),
    /// To a lease revoke.
    LeaseRevoke,
    /// To a keep-alive.
    LeaseKeepAlive(LeaseKeepAliveResponse),
    /// To a time-to-live question.
    LeaseTimeToLive(LeaseTimeToLiveResponse),
    /// To a list of leases.
    LeaseLeases(LeaseLeasesResponse),
    /// To a status question.
    Status(StatusResponse),
    /// To a hash question.
    HashKv(HashKvResponse),
    /// To a call about alarms.
    Alarm(AlarmResponse),
    /// To a call about a lower version.
    Downgrade(DowngradeResponse),
}

/// Answer to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PutResponse {
    /// The pair before, if asked for and there was one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: Option<KeyValue>,
}

/// Answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RangeResponse {
    /// The pairs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some.
    #[serde(default, skip_serializing_if = "is_default")]
    pub more: bool,
    /// How many keys the range holds, whatever the limit and filters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub count: i64,
}

/// Answer to a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeleteRangeResponse {
    /// How many keys went.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deleted: i64,
    /// The pairs that went, if asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kvs: Vec<KeyValue>,
}

/// Answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxnResponse {
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// One answer for each operation of the branch taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub responses: Vec<InnerResponse>,
}

/// Answer to one operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InnerResponse {
    /// The revision of the inner header, if the recorder kept it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revision: Option<Revision>,
    /// The answer itself.
    #[serde(flatten)]
    pub response: Response,
}

/// Answer to a lease grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseGrantResponse {
    /// The lease.
    pub id: LeaseId,
    /// The time to live the server settled on, in seconds.
    pub ttl_secs: i64,
}

/// Answer to a keep-alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseKeepAliveResponse {
    /// The lease.
    pub id: LeaseId,
    /// The full time to live, in seconds; 0 says that the lease is gone.
    pub ttl_secs: i64,
}

/// Answer to a time-to-live question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseTimeToLiveResponse {
    /// The lease.
    pub id: LeaseId,
    /// What remains, in seconds; -1 says that the lease is gone.
    pub ttl_secs: i64,
    /// What was granted, in seconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub granted_ttl_secs: i64,
    /// The attached keys, if asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys: Vec<Bytes>,
}

/// Answer to a list of leases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseLeasesResponse {
    /// The leases there are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leases: Vec<LeaseId>,
}

/// Answer to a status question; only what the oracles use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusResponse {
    /// The log index the member has applied.
    pub raft_applied_index: u64,
    /// The last log index the member holds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub raft_index: u64,
    /// The leader the member knows; 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leader: MemberId,
}

/// Answer to a hash question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HashKvResponse {
    /// The hash.
    pub hash: u32,
    /// What the member had compacted.
    pub compact_revision: Revision,
    /// The revision hashed up to.
    pub hash_revision: Revision,
}

impl Response {
    /// Whether this answer says that the key space changed; `None` if the answer does not tell (a lease revoke).
    pub fn tells_change(&self) -> Option<bool> {
        match self {
            Response::Put(_) => Some(true),
            Response::DeleteRange(answer) => Some(answer.deleted > 0),
            Response::Txn(answer) => {
                Some(answer.responses.iter().any(|inner| inner.response.tells_change() == Some(true)))
            }
            Response::LeaseRevoke => None,
            _ => Some(false),
        }
    }

    /// Every key-value pair in the answer, previous ones included.
    pub fn pairs<'a>(&'a self, visit: &mut dyn FnMut(&'a KeyValue)) {
        match self {
            Response::Put(answer) => answer.prev_kv.iter().for_each(visit),
            Response::Range(answer) => answer.kvs.iter().for_each(visit),
            Response::DeleteRange(answer) => answer.prev_kvs.iter().for_each(visit),
            Response::Txn(answer) => {
                answer.responses.iter().for_each(|inner| inner.response.pairs(visit));
            }
            _ => {}
        }
    }
}
