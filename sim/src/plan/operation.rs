//! What clients will ask, in symbols: nothing here depends on what a run has answered so far.

use quorate_check::history::{AlarmKind, CompareResult, DowngradeAction, SortOrder, SortTarget};
use quorate_check::types::{ClientId, OpId};
use serde::{Deserialize, Serialize};

use super::MemberIndex;

/// One client: it sends its operations one after the other, none before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// Its name.
    pub id: ClientId,
    /// Its operations, by time.
    pub operations: Vec<PlannedOp>,
}

/// One operation to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOp {
    /// Its name, unique in the plan and never renumbered.
    pub id: OpId,
    /// Not before this simulated time, milliseconds.
    pub at_ms: u64,
    /// The member asked first; others follow when it cannot be reached.
    #[serde(default)]
    pub member: MemberIndex,
    /// How long the client waits for the answer.
    #[serde(default = "patience")]
    pub timeout_ms: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked, with symbols for leases, revisions and values.
// Who has no fields has braces all the same: only then is a field that nobody knows refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Write a key; the value is the operation's name.
    Put(PutAsk),
    /// Read.
    Range(RangeAsk),
    /// Delete.
    Delete(DeleteAsk),
    /// Compare, then one of two branches.
    Txn(TxnAsk),
    /// Compact below a revision.
    Compact {
        /// Which.
        at: RevisionAt,
    },
    /// Make a lease; its id follows from the operation's.
    LeaseGrant {
        /// Seconds it lives.
        ttl_secs: i64,
    },
    /// End a lease.
    LeaseRevoke {
        /// The operation that granted it.
        grant: OpId,
    },
    /// Renew a lease.
    LeaseKeepAlive {
        /// The operation that granted it.
        grant: OpId,
    },
    /// Ask what a lease has left.
    LeaseTimeToLive {
        /// The operation that granted it.
        grant: OpId,
        /// Whether its keys are wanted.
        keys: bool,
    },
    /// Ask for all leases.
    LeaseList {},
    /// Read a range piece by piece, and slowly; only in key order and without filters on revisions.
    Stream {
        /// What is read.
        range: RangeAsk,
        /// How long the client takes over a piece, milliseconds.
        pause_ms: u64,
    },
    /// Ask one member for the hash of its history.
    HashKv {
        /// Up to when.
        at: RevisionAt,
    },
    /// Ask one member how it is.
    Status {},
    /// Compact to the newest revision and clear the alarm about space.
    MakeRoom {},
    /// Take an image of one member's state.
    Image {},
    /// Have one member write its state anew.
    Defragment {},
    /// Ask which alarms are raised.
    ListAlarms {
        /// Of this kind, or of every.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<AlarmKind>,
    },
    /// Raise an alarm.
    RaiseAlarm {
        /// Which.
        alarm: AlarmAsk,
    },
    /// Clear an alarm.
    ClearAlarm {
        /// Which.
        alarm: AlarmAsk,
    },
    /// Clear every alarm of a kind.
    ClearAlarms {
        /// Which.
        kind: AlarmKind,
    },
    /// Ask about a lower version, or prepare for it.
    Downgrade {
        /// What is asked.
        action: DowngradeAction,
        /// How many levels below the members' own it is: only the next one down is possible.
        levels: u32,
    },
    /// Hold a lock, or lead.
    Hold(HoldAsk),
    /// Look who leads.
    Lead {
        /// The number of the election.
        lock: u16,
        /// The election service is asked, rather than the keys.
        #[serde(default, skip_serializing_if = "is_false")]
        served: bool,
    },
    /// Observe an election by the service.
    Observe {
        /// The number of the election.
        lock: u16,
        /// For how long, milliseconds.
        for_ms: u64,
    },
}

/// An alarm that an operator raises or clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AlarmAsk {
    /// This member has no space left.
    NoSpace(MemberIndex),
    /// Members differ. It is of no member: an alarm that says so of one is false unless it was made to.
    Corrupt,
}

/// Who keeps the line that somebody stands in. All stand in the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// The client, by recipe.
    #[default]
    Recipe,
    /// The lock service.
    LockService,
    /// The election service.
    ElectionService,
}

/// One attempt to hold a lock, by recipe or by a service: a lease, a key of one's own if it is not there yet, a wait for the
/// key before it to be deleted, writes guarded by the key's create revision, and an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldAsk {
    /// The number of the lock.
    pub lock: u16,
    /// Who keeps the line.
    #[serde(default, skip_serializing_if = "is_recipe")]
    pub keeper: Keeper,
    /// Seconds that the lease lives; renewed while waiting by recipe, and not otherwise.
    pub ttl_secs: i64,
    /// The service that keeps the line makes the lease, one of a minute; nothing where the client does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub served_lease: bool,
    /// Guarded writes.
    #[serde(default, skip_serializing_if = "is_zero_number")]
    pub guarded: u64,
    /// The pause before each, milliseconds.
    #[serde(default, skip_serializing_if = "is_zero_number")]
    pub pause_ms: u64,
    /// How it ends.
    #[serde(default)]
    pub release: Release,
}

/// How a lock is let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// The key is deleted.
    #[default]
    Delete,
    /// The lease is revoked.
    Revoke,
    /// Not at all: the lease runs out.
    Abandon,
    /// By the service: unlocked, or resigned from.
    Served,
    /// By the service, which is asked before to give up a place that this one is not, as who comes late would.
    ServedLate,
}

/// A set of keys, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Keys {
    /// One key.
    One(u16),
    /// From a key to before another.
    Between(u16, u16),
    /// All keys that begin as this ten does: 1 stands for keys 10 to 19.
    Ten(u16),
    /// From a key on.
    From(u16),
    /// Every key.
    All,
}

/// A revision as a client would name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RevisionAt {
    /// The present.
    #[default]
    Now,
    /// This many below the newest that this client has seen.
    Back(i64),
    /// This many above the newest that this client has seen.
    Ahead(i64),
    /// The newest that this client has seen, rounded down to a multiple: several askers mean the same one.
    Round(i64),
}

/// A put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutAsk {
    /// The key's number.
    pub key: u16,
    /// The operation that granted the lease to attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<OpId>,
    /// Whether the previous pair is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
    /// Keep the present value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_value: bool,
    /// Keep the present lease.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_lease: bool,
    /// Bytes that the value has beyond its name: large ones span sectors, which a power loss can tear apart.
    #[serde(default, skip_serializing_if = "is_none")]
    pub pad: u16,
}

/// A read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeAsk {
    /// Which keys.
    pub keys: Keys,
    /// The most pairs wanted; 0 is no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: i64,
    /// As of when.
    #[serde(default)]
    pub at: RevisionAt,
    /// The member may answer from what it has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub serializable: bool,
    /// Only the count is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub count_only: bool,
    /// No values are wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keys_only: bool,
    /// In which order.
    #[serde(default)]
    pub sort_order: SortOrder,
    /// By what.
    #[serde(default)]
    pub sort_target: SortTarget,
    /// Only keys modified since, if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_since: Option<RevisionAt>,
}

/// A delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteAsk {
    /// Which keys.
    pub keys: Keys,
    /// Whether the deleted pairs are wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxnAsk {
    /// All must hold for the success branch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<CompareAsk>,
    /// What runs if they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<StepAsk>,
    /// What runs otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<StepAsk>,
}

/// One operation within a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepAsk {
    /// Write.
    Put(PutAsk),
    /// Read.
    Range(RangeAsk),
    /// Delete.
    Delete(DeleteAsk),
    /// A transaction within.
    Txn(TxnAsk),
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareAsk {
    /// Which keys; it must hold for each.
    pub keys: Keys,
    /// How the stored side relates to the other.
    pub result: CompareResult,
    /// What is compared with what.
    pub against: Against,
}

/// What a condition is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Against {
    /// The version with a number.
    Version(i64),
    /// The version with what this client last saw of the key; 0 when it saw none.
    VersionSeen(u16),
    /// The mod revision with what this client last saw of the key; 0 when it saw none.
    ModSeen(u16),
    /// The mod revision with a revision.
    Mod(RevisionAt),
    /// The create revision with a revision.
    Create(RevisionAt),
    /// The value with what this operation of this client wrote.
    ValueOf(OpId),
    /// The lease with the one that this operation granted.
    LeaseOf(OpId),
}

/// How far apart two clients' operation names are.
pub const OPS_PER_CLIENT: u64 = 100_000;

/// The name of a client's `nth` operation.
pub fn op_id(client: ClientId, nth: u64) -> OpId {
    assert!(nth < OPS_PER_CLIENT, "a client has fewer operations than names");
    OpId(client.0 * OPS_PER_CLIENT + nth)
}

/// Names for what a `nth` operation of a client asks one after the other: a hundred each.
const PART_NAMES: u64 = 10_000;
/// How many operations of a client may have parts.
pub const OPS_WITH_PARTS: u64 = 600;

/// The name of a part of an operation.
pub fn part_id(id: OpId, part: u64) -> OpId {
    let (client, nth) = op_parts(id);
    assert!(nth < OPS_WITH_PARTS && part < 100, "a part has a name of its own");
    op_id(client, PART_NAMES + nth * 100 + part)
}

/// The client that an operation's name belongs to, and its number there.
pub fn op_parts(id: OpId) -> (ClientId, u64) {
    (ClientId(id.0 / OPS_PER_CLIENT), id.0 % OPS_PER_CLIENT)
}

/// What a client's patience is where a plan says nothing, milliseconds.
pub const PATIENCE_MS: u64 = 5_000;

fn patience() -> u64 {
    PATIENCE_MS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero_number(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_recipe(value: &Keeper) -> bool {
    *value == Keeper::Recipe
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_none(value: &u16) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
