//! What can be asked of the machine: the domain form of every replicated request, and of reads.
//!
//! The wire's types stop above this; `codec` turns commands to bytes and back.

use std::sync::Arc;

use bytes::Bytes;

use crate::machine::auth::change::AuthChange;
use crate::machine::downgrade::DowngradeChange;
use crate::types::{ApiLevel, Incarnation, KeyRange, LeaseId, MemberId, Revision, TtlSecs};

/// One log entry's worth of requests, all taken by one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The member whose clients sent these requests.
    pub member: MemberId,
    /// That member's incarnation.
    pub incarnation: Incarnation,
    /// Every request of this incarnation below this sequence has been answered: its id may be forgotten.
    pub lowest_unanswered: u64,
    /// The sender's wall clock, Unix milliseconds. For ids and display only.
    pub wall_ms: u64,
    /// The requests, applied in this order.
    pub requests: Vec<Request>,
}

/// One request and its place in its sender's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Counts the requests of one incarnation, from 1.
    pub sequence: u64,
    /// Who asks.
    pub caller: Caller,
    /// What to do.
    pub command: Command,
}

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The member itself, which needs no permission.
    Member,
    /// A client that did not say who it is: enough for as long as nobody has to.
    Anonymous,
    /// A client that has proved to be a user.
    User(ProvenUser),
}

/// A user, as a member has found it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenUser {
    /// The user's name.
    pub user: Arc<str>,
    /// The revision of the auth state in which that held. Any change of it asks for new proof.
    pub auth_revision: u64,
}

/// Everything that changes replicated state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write one key.
    Put(Put),
    /// Delete the keys of a range.
    DeleteRange(DeleteRange),
    /// Compare, then one of two lists of operations, atomically.
    Txn(Txn),
    /// Forget history below a revision.
    Compact(Compact),
    /// Create a lease. The id is chosen by the sender (never 0).
    LeaseGrant {
        /// The new lease's id.
        id: LeaseId,
        /// Seconds it lives without a keep-alive.
        ttl: TtlSecs,
    },
    /// End a lease and delete its keys in one revision.
    LeaseRevoke {
        /// The lease to end.
        id: LeaseId,
    },
    /// The leader found a lease expired: as revoke, but only for the leader of `term`, and silent when the
    /// lease is gone.
    LeaseExpire {
        /// The leases to end, each in a revision of its own.
        ids: Vec<LeaseId>,
    },
    /// Remember how long leases have left, so that a new leader goes on from there.
    LeaseCheckpoint {
        /// Lease and remaining seconds; a remainder of 0 clears the checkpoint (the full TTL counts again).
        remaining: Vec<(LeaseId, TtlSecs)>,
    },
    /// Raise or clear an alarm.
    Alarm {
        /// True raises, false clears.
        raise: bool,
        /// The member concerned; 0 with `raise` false clears the kind on every member.
        member: MemberId,
        /// Which alarm.
        kind: AlarmKind,
    },
    /// Announce a member's name and client addresses (sent by the member itself when it starts).
    MemberAttributes {
        /// The member.
        member: MemberId,
        /// Its name.
        name: String,
        /// Where its clients reach it.
        client_urls: Vec<String>,
    },
    /// The initial member list; proposed by the first leader, applied once, ignored afterwards.
    Bootstrap {
        /// Every initial member.
        members: Vec<Member>,
    },
    /// Change the member list. Who votes follows it, in the consensus core's own entries.
    ChangeMembers(MemberChange),
    /// Change who may do what.
    ChangeAuth(AuthChange),
    /// Open a session for a user whose password was found to be right.
    Authenticate {
        /// The user.
        user: String,
        /// The revision of the auth state that held the password.
        auth_revision: u64,
        /// What the session's token begins with: random, chosen by the sender.
        token: String,
    },
    /// Prepare the cluster for members of a lower level of the API, or no longer.
    Downgrade(DowngradeChange),
    /// Does nothing: used to learn that the log moves.
    Noop,
}

/// One change of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Add a member, under an id that no member has or had.
    Add(Member),
    /// Remove a member. Its id never comes back.
    Remove(MemberId),
    /// Let a member be reached elsewhere by its peers.
    Update {
        /// The member.
        member: MemberId,
        /// Where its peers reach it from now on.
        peer_urls: Vec<String>,
    },
    /// Give a learner its vote.
    Promote(MemberId),
    /// Take a member back that has lost its log: what it was goes for good, and another that has not started yet stands
    /// in its place, at one moment.
    Replace {
        /// The member that goes. Its id never comes back.
        member: MemberId,
        /// Who comes, under an id that no member has or had.
        by: MemberId,
        /// Where both are reached: the change is refused when the list has another place for the first.
        peer_urls: Vec<String>,
    },
}

/// Write one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The key; never empty.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease to attach; `LeaseId::NONE` detaches.
    pub lease: LeaseId,
    /// Answer the previous key-value.
    pub prev_kv: bool,
    /// Keep the current value; the key must exist.
    pub ignore_value: bool,
    /// Keep the current lease; the key must exist.
    pub ignore_lease: bool,
}

/// Delete the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// Which keys.
    pub range: KeyRange,
    /// Answer the deleted key-values.
    pub prev_kv: bool,
}

/// Read the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Which keys.
    pub range: KeyRange,
    /// At most this many key-values; 0 is no limit.
    pub limit: i64,
    /// Read as of this revision; 0 or below is now.
    pub revision: Revision,
    /// Ascending, descending or as stored.
    pub sort_order: SortOrder,
    /// What to sort by.
    pub sort_target: SortTarget,
    /// Leave values empty.
    pub keys_only: bool,
    /// Answer the count alone.
    pub count_only: bool,
    /// Leave out keys modified below this revision; 0 is off.
    pub min_mod_revision: Revision,
    /// Leave out keys modified above this revision; 0 is off.
    pub max_mod_revision: Revision,
    /// Leave out keys created below this revision; 0 is off.
    pub min_create_revision: Revision,
    /// Leave out keys created above this revision; 0 is off.
    pub max_create_revision: Revision,
}

impl Range {
    /// All keys of `range` as they are now, whole and in key order.
    pub fn of(range: KeyRange) -> Range {
        Range {
            range,
            limit: 0,
            revision: Revision(0),
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            min_mod_revision: Revision(0),
            max_mod_revision: Revision(0),
            min_create_revision: Revision(0),
            max_create_revision: Revision(0),
        }
    }
}

/// Order of a range's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// As stored: by key, unless a target says otherwise.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What a range's answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The modification revision.
    Mod,
    /// The value.
    Value,
}

/// Compare, then one of two lists of operations, atomically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for the success branch.
    pub compares: Vec<Compare>,
    /// Done when all compares hold.
    pub success: Vec<TxnOp>,
    /// Done otherwise.
    pub failure: Vec<TxnOp>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Read.
    Range(Range),
    /// Write.
    Put(Put),
    /// Delete.
    DeleteRange(DeleteRange),
    /// Nested transaction.
    Txn(Txn),
}

/// One condition of a transaction; over a range it must hold for every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// How to compare.
    pub result: CompareResult,
    /// What to compare with what.
    pub target: CompareTarget,
}

/// How a condition compares: the stored side stands left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// Stored is equal.
    Equal,
    /// Stored is greater.
    Greater,
    /// Stored is less.
    Less,
    /// Stored differs.
    NotEqual,
}

/// What a condition looks at, with the value it is compared to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// The key's version; 0 for a missing key.
    Version(i64),
    /// The key's create revision; 0 for a missing key.
    Create(Revision),
    /// The key's modification revision; 0 for a missing key.
    Mod(Revision),
    /// The key's value; never holds for a missing key.
    Value(Bytes),
    /// The key's lease; 0 for a missing key or none.
    Lease(LeaseId),
}

/// Forget history below a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    /// The oldest revision that stays readable.
    pub revision: Revision,
}

/// Why the cluster is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The quota is used up: writes that need space are refused.
    NoSpace,
    /// Members disagree, or a member found rot: writes are refused.
    Corrupt,
}

/// A member as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The member's id.
    pub id: MemberId,
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where its clients reach it; empty until it has started once.
    pub client_urls: Vec<String>,
    /// Whether it only follows, without a vote.
    pub is_learner: bool,
}

/// A key with its value and history, as answered to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision that created the key (its current life).
    pub create_revision: Revision,
    /// The revision that wrote this value.
    pub mod_revision: Revision,
    /// Writes since creation, from 1.
    pub version: i64,
    /// The value.
    pub value: Bytes,
    /// The attached lease, or `LeaseId::NONE`.
    pub lease: LeaseId,
}

/// The answer to a command. Every answer carries the store revision after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The store's revision when the command had been applied.
    pub revision: Revision,
    /// What the command returned.
    pub result: Result<Reply, CommandError>,
}

/// What a command returns when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of Put: the previous key-value if asked for and there was one.
    Put {
        /// The previous key-value.
        prev_kv: Option<KeyValue>,
    },
    /// Of DeleteRange.
    DeleteRange {
        /// How many keys went.
        deleted: i64,
        /// They themselves, in key order, if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// Of Range.
    Range(RangeReply),
    /// Of Txn.
    Txn(TxnReply),
    /// Of LeaseGrant.
    LeaseGrant {
        /// The lease's id.
        id: LeaseId,
        /// The TTL granted.
        ttl: TtlSecs,
    },
    /// Of LeaseRevoke: how many keys went with the lease.
    LeaseRevoke {
        /// Number of keys deleted.
        deleted: i64,
    },
    /// Of ChangeMembers: the list after it, by id.
    Members(Vec<Member>),
    /// Of Authenticate: what the session's clients show from now on.
    Token(String),
    /// Of every command that answers nothing else.
    Done,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The key-values, ordered as asked.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut the answer.
    pub more: bool,
    /// Keys in the range, whatever limit and revision filters left out.
    pub count: i64,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// Whether all compares held.
    pub succeeded: bool,
    /// One per operation of the branch taken: its reply, and the revision its header carries.
    pub replies: Vec<(Revision, Reply)>,
}

/// Why a command (or a read) was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An ignore_value or ignore_lease put named a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// The revision lies below the compacted one (it rides along).
    #[error("required revision has been compacted at {0}")]
    Compacted(Revision),
    /// The revision lies above the current one.
    #[error("required revision is a future revision")]
    FutureRevision,
    /// No such lease.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// A lease of this id exists.
    #[error("lease already exists")]
    LeaseExists,
    /// The TTL is above the API's maximum of 9,000,000,000 s.
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    /// The quota is used up.
    #[error("database space exceeded")]
    NoSpace,
    /// The cluster is marked corrupt.
    #[error("corrupt cluster")]
    Corrupt,
    /// No such member.
    #[error("member not found")]
    MemberNotFound,
    /// The id belongs to a member, or to one that was removed.
    #[error("member ID already exist")]
    MemberExists,
    /// A member has one of these peer URLs.
    #[error("Peer URLs already exists")]
    PeerUrlExists,
    /// The member votes already.
    #[error("can only promote a learner member")]
    MemberNotLearner,
    /// Nobody would be left to vote.
    #[error("re-configuration failed due to not enough started members")]
    NoVoterLeft,
    /// The cluster does not ask who its clients are.
    #[error("authentication is not enabled")]
    AuthNotEnabled,
    /// A cluster that asks would have no user `root`.
    #[error("root user does not exist")]
    RootUserNotFound,
    /// Its user `root` would not have the role `root`.
    #[error("root user does not have root role")]
    RootRoleNotGranted,
    /// A user without a name; and the client did not say who it is.
    #[error("user name is empty")]
    UserEmpty,
    /// A user of this name exists.
    #[error("user name already exists")]
    UserExists,
    /// No such user.
    #[error("user name not found")]
    UserNotFound,
    /// A role without a name.
    #[error("role name is empty")]
    RoleEmpty,
    /// A role of this name exists.
    #[error("role name already exists")]
    RoleExists,
    /// No such role.
    #[error("role name not found")]
    RoleNotFound,
    /// The user does not have the role.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have this permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// What would lock everybody out, or a range of keys that is none.
    #[error("invalid auth management")]
    InvalidAuthManagement,
    /// The caller may not do this.
    #[error("permission denied")]
    PermissionDenied,
    /// The token that the caller shows belongs to no session.
    #[error("invalid auth token")]
    InvalidAuthToken,
    /// What is known of the caller comes from an auth state that has changed since.
    #[error("revision of auth store is old")]
    AuthRevisionOld,
    /// More operations than `max_txn_ops` at one level.
    #[error("too many operations in txn request")]
    TooManyOps,
    /// One key is written twice in a branch.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// The cluster is prepared for a downgrade already.
    #[error("cluster has a downgrade job in progress")]
    DowngradeInProgress,
    /// It is prepared for none.
    #[error("no inflight downgrade job")]
    NoDowngrade,
}

impl Caller {
    /// Bytes of the name that rides along.
    pub fn size_bytes(&self) -> usize {
        match self {
            Caller::Member | Caller::Anonymous => 0,
            Caller::User(proven) => proven.user.len(),
        }
    }
}

impl CommandError {
    /// Whether it is the caller that is refused, and not what it asks for.
    pub fn is_denial(&self) -> bool {
        use CommandError::{AuthRevisionOld, InvalidAuthToken, PermissionDenied, UserEmpty};
        matches!(self, PermissionDenied | UserEmpty | InvalidAuthToken | AuthRevisionOld)
    }
}

impl Request {
    /// A request whose caller did not say who he is.
    pub fn new(sequence: u64, command: Command) -> Request {
        Request { sequence, caller: command.usual_caller(), command }
    }
}

impl Command {
    /// Whether only a client asks for it; the others are a member's own.
    pub fn is_a_clients(&self) -> bool {
        matches!(
            self,
            Command::Put(_)
                | Command::DeleteRange(_)
                | Command::Txn(_)
                | Command::Compact(_)
                | Command::LeaseGrant { .. }
                | Command::LeaseRevoke { .. }
                | Command::ChangeMembers(_)
                | Command::ChangeAuth(_)
                | Command::Downgrade(_)
        )
    }

    /// Who asks for it where nobody says who he is.
    pub fn usual_caller(&self) -> Caller {
        if self.is_a_clients() { Caller::Anonymous } else { Caller::Member }
    }

    /// Bytes of the keys and values that the command carries: what the limit on a request's size counts.
    pub fn size_bytes(&self) -> usize {
        match self {
            Command::Put(put) => put.key.len() + put.value.len(),
            Command::DeleteRange(delete) => delete.range.start.len() + delete.range.wire_end().len(),
            Command::Txn(txn) => txn.size_bytes(),
            Command::LeaseExpire { ids } => ids.len() * size_of::<LeaseId>(),
            Command::LeaseCheckpoint { remaining } => remaining.len() * size_of::<(LeaseId, TtlSecs)>(),
            Command::MemberAttributes { name, client_urls, .. } => {
                name.len() + client_urls.iter().map(String::len).sum::<usize>()
            }
            Command::Bootstrap { members } => members.iter().map(Member::size_bytes).sum(),
            Command::ChangeMembers(change) => change.size_bytes(),
            Command::ChangeAuth(change) => change.size_bytes(),
            Command::Authenticate { user, token, .. } => user.len() + token.len(),
            Command::Downgrade(_) => size_of::<ApiLevel>(),
            Command::Compact(_)
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::Alarm { .. }
            | Command::Noop => 0,
        }
    }
}

impl Member {
    fn size_bytes(&self) -> usize {
        let urls = self.peer_urls.iter().chain(&self.client_urls).map(String::len).sum::<usize>();
        size_of::<MemberId>() + self.name.len() + urls
    }
}

impl MemberChange {
    fn size_bytes(&self) -> usize {
        match self {
            MemberChange::Add(member) => member.size_bytes(),
            MemberChange::Update { peer_urls, .. } => {
                size_of::<MemberId>() + peer_urls.iter().map(String::len).sum::<usize>()
            }
            MemberChange::Remove(_) | MemberChange::Promote(_) => size_of::<MemberId>(),
            MemberChange::Replace { peer_urls, .. } => {
                2 * size_of::<MemberId>() + peer_urls.iter().map(String::len).sum::<usize>()
            }
        }
    }
}

impl Txn {
    fn size_bytes(&self) -> usize {
        let compared = |compare: &Compare| {
            let value = if let CompareTarget::Value(value) = &compare.target { value.len() } else { 0 };
            compare.range.start.len() + compare.range.wire_end().len() + value
        };
        let done = |op: &TxnOp| match op {
            TxnOp::Range(range) => range.range.start.len() + range.range.wire_end().len(),
            TxnOp::Put(put) => put.key.len() + put.value.len(),
            TxnOp::DeleteRange(delete) => delete.range.start.len() + delete.range.wire_end().len(),
            TxnOp::Txn(txn) => txn.size_bytes(),
        };
        let branches = self.success.iter().chain(&self.failure).map(done).sum::<usize>();
        self.compares.iter().map(compared).sum::<usize>() + branches
    }
}
