//! What clients ask: one struct per call, with the wire's own fields.

use crate::bytes::Bytes;
use crate::history::upkeep::{Alarm, Downgrade};
use crate::types::{LeaseId, Revision, is_default};
use serde::{Deserialize, Serialize};

/// One call's arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Request {
    /// Writes one key.
    Put(Put),
    /// Reads keys.
    Range(Range),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// Compares, then runs one of two branches.
    Txn(Txn),
    /// Forgets history below a revision.
    Compact(Compact),
    /// Makes a lease.
    LeaseGrant(LeaseGrant),
    /// Ends a lease, and its keys.
    LeaseRevoke(LeaseRef),
    /// Renews a lease.
    LeaseKeepAlive(LeaseRef),
    /// Asks for a lease's remaining time, and perhaps its keys.
    LeaseTimeToLive(LeaseTimeToLive),
    /// Lists leases.
    LeaseLeases,
    /// Asks a member about itself.
    Status,
    /// Asks a member for the hash of its key space.
    HashKv(HashKv),
    /// Lists, raises or clears alarms.
    Alarm(Alarm),
    /// Asks about a lower version, or prepares for one.
    Downgrade(Downgrade),
}

/// Arguments of a put.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// The value; the harness makes it unique within a history.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Bytes,
    /// The lease to attach; 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: LeaseId,
    /// Whether the previous pair is wanted in the answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// Keep the present value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_value: bool,
    /// Keep the present lease.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_lease: bool,
}

/// In which order a range is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// As the store has it.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// By what a range is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The key's version.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value.
    Value,
}

/// Arguments of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first key.
    pub key: Bytes,
    /// The end, in the API's convention.
    #[serde(default, skip_serializing_if = "is_default")]
    pub range_end: Bytes,
    /// The most pairs wanted; 0 is no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limit: i64,
    /// The revision to read at; 0 is the present.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revision: Revision,
    /// The order wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sort_order: SortOrder,
    /// What is sorted by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sort_target: SortTarget,
    /// Whether the member may answer from what it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub serializable: bool,
    /// No values wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys_only: bool,
    /// Only the count wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub count_only: bool,
    /// Smallest mod revision wanted; 0 is no bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_mod_revision: Revision,
    /// Largest mod revision wanted; 0 is no bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_mod_revision: Revision,
    /// Smallest create revision wanted; 0 is no bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_create_revision: Revision,
    /// Largest create revision wanted; 0 is no bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_create_revision: Revision,
}

/// Arguments of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeleteRange {
    /// The first key.
    pub key: Bytes,
    /// The end, in the API's convention.
    #[serde(default, skip_serializing_if = "is_default")]
    pub range_end: Bytes,
    /// Whether the deleted pairs are wanted in the answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: bool,
}

/// How a comparison relates the store's side to the given side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareResult {
    /// They are equal.
    #[default]
    Equal,
    /// The store's side is greater.
    Greater,
    /// The store's side is less.
    Less,
    /// They differ.
    NotEqual,
}

/// What a comparison looks at, and the value it is held against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareTarget {
    /// The key's version.
    Version(i64),
    /// The create revision.
    Create(Revision),
    /// The mod revision.
    Mod(Revision),
    /// The value.
    Value(Bytes),
    /// The lease.
    Lease(LeaseId),
}

/// One comparison of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Compare {
    /// The first key.
    pub key: Bytes,
    /// The end, in the API's convention; the comparison must hold for every key of the range.
    #[serde(default, skip_serializing_if = "is_default")]
    pub range_end: Bytes,
    /// The relation.
    pub result: CompareResult,
    /// What is compared.
    pub target: CompareTarget,
}

/// One operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum TxnOp {
    /// Writes one key.
    Put(Put),
    /// Reads keys, earlier writes of the same transaction included.
    Range(Range),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// A transaction within.
    Txn(Txn),
}

/// Arguments of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Txn {
    /// All must hold for the success branch.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compare: Vec<Compare>,
    /// What runs if all comparisons hold.
    #[serde(default, skip_serializing_if = "is_default")]
    pub success: Vec<TxnOp>,
    /// What runs otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failure: Vec<TxnOp>,
}

/// Arguments of a compaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Compact {
    /// Everything below is forgotten; the revision itself stays readable.
    pub revision: Revision,
    /// Whether the answer waits for the deletion itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub physical: bool,
}

/// Arguments of a lease grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseGrant {
    /// The id wanted; 0 lets the server pick one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub id: LeaseId,
    /// The time to live wanted, in seconds.
    pub ttl_secs: i64,
}

/// Names a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseRef {
    /// The lease.
    pub id: LeaseId,
}

/// Arguments of a time-to-live question.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseTimeToLive {
    /// The lease.
    pub id: LeaseId,
    /// Whether its keys are wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys: bool,
}

/// Arguments of a hash question.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HashKv {
    /// The revision to hash up to; 0 is the present.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revision: Revision,
}

impl Txn {
    /// Every operation of every branch, at every depth.
    pub fn every_op(&self) -> Vec<&TxnOp> {
        let mut found = Vec::new();
        let mut open: Vec<&Txn> = vec![self];
        while let Some(txn) = open.pop() {
            for op in txn.success.iter().chain(&txn.failure) {
                found.push(op);
                if let TxnOp::Txn(inner) = op {
                    open.push(inner);
                }
            }
        }
        found
    }

    /// Whether it takes the read path: only ranges, at the top level, in both branches.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| matches!(op, TxnOp::Range(_)))
    }

    /// Whether a member may answer it from what it has: a read of serializable ranges alone.
    pub fn is_serializable(&self) -> bool {
        self.success
            .iter()
            .chain(&self.failure)
            .all(|op| matches!(op, TxnOp::Range(range) if range.serializable))
    }
}

impl Request {
    /// The call's name in sentences for people.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Put(_) => "put",
            Request::Range(_) => "read",
            Request::DeleteRange(_) => "delete",
            Request::Txn(_) => "transaction",
            Request::Compact(_) => "compaction",
            Request::LeaseGrant(_) => "lease grant",
            Request::LeaseRevoke(_) => "lease revoke",
            Request::LeaseKeepAlive(_) => "keep-alive",
            Request::LeaseTimeToLive(_) => "time-to-live",
            Request::LeaseLeases => "lease list",
            Request::Status => "status",
            Request::HashKv(_) => "hash",
            Request::Alarm(_) => "alarm",
            Request::Downgrade(_) => "downgrade",
        }
    }

    /// Whether it may change the key space.
    pub fn may_change(&self) -> bool {
        match self {
            Request::Put(_) | Request::DeleteRange(_) | Request::LeaseRevoke(_) => true,
            Request::Txn(txn) => {
                txn.every_op().iter().any(|op| matches!(op, TxnOp::Put(_) | TxnOp::DeleteRange(_)))
            }
            _ => false,
        }
    }

    /// Whether the answer must reflect everything acknowledged before it was asked.
    ///
    /// Keep-alives, lease questions, status and hash carry the header of the member that answers, which may lag.
    pub fn is_linearizable(&self) -> bool {
        match self {
            Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::Alarm(_)
            | Request::Downgrade(_) => true,
            Request::Range(range) => !range.serializable,
            Request::Txn(txn) => !txn.is_serializable(),
            _ => false,
        }
    }
}
