//! Everything persisted as bytes, and here: batches, the payload of log entries, on disk and between members.
//!
//! Equal batches give equal bytes. Keys and values of a decoded batch share the buffer it came in. Reading is
//! strict: a format number above [`BATCH_FORMAT`], a command or an enum value unknown here is an error, because
//! skipping it would let this member's state part from the others'. So any addition raises the format number. A batch
//! carries the lowest one that holds its commands: members of an older version read it for as long as nobody asks
//! for what they do not know.

pub mod auth;
pub mod items;
pub mod record;
pub mod snapshot;

use bytes::Bytes;
use prost::Message;

use crate::machine::codec::auth::{auth_change_from_pb, auth_change_to_pb};
use crate::machine::codec::items::{member_from_pb, member_to_pb};
use crate::machine::command::{
    AlarmKind, Batch, Caller, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange,
    MemberChange, ProvenUser, Put, Range, Request, SortOrder, SortTarget, Txn, TxnOp,
};
use crate::machine::downgrade::{DowngradeChange, level_from_pb, level_to_pb};
use crate::pb::record as pb;
use crate::types::{Incarnation, KeyRange, LeaseId, MemberId, Revision, TtlSecs};

/// The newest format this version reads.
pub const BATCH_FORMAT: u32 = 4;
/// The first format that holds changes of the member list.
const MEMBER_CHANGES_FORMAT: u32 = 2;
/// The first format that holds users and roles, and who asks.
const AUTH_FORMAT: u32 = 3;
/// The first format that holds downgrades.
const DOWNGRADE_FORMAT: u32 = 4;
/// The first format that holds the replacement of a member.
const REPLACEMENT_FORMAT: u32 = 4;

/// Transactions nest at most this deep: deeper ones could be written, but not read back, because the decoder
/// bounds its recursion. [`crate::machine::check::check_txn`] refuses them before they are proposed.
pub const TXN_DEPTH_MAX: usize = 32;

/// Why bytes are no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not this encoding at all.
    #[error("batch is unreadable: {0}")]
    Unreadable(#[from] prost::DecodeError),
    /// Written by a newer version.
    #[error("batch has format {found}, this version reads up to {BATCH_FORMAT}: upgrade this member")]
    NewerFormat {
        /// The format number found.
        found: u32,
    },
    /// A part is missing or unknown.
    #[error("batch holds an unknown or missing {what}: upgrade this member")]
    Unknown {
        /// Which part.
        what: &'static str,
    },
    /// Transactions nest too deep.
    #[error("batch holds a transaction nested deeper than {TXN_DEPTH_MAX}")]
    TooDeep,
}

/// A batch as bytes.
pub fn encode_batch(batch: &Batch) -> Bytes {
    let encoded = pb::Batch {
        format: format_of(batch),
        member: batch.member.0,
        incarnation: batch.incarnation.0,
        lowest_unanswered: batch.lowest_unanswered,
        wall_ms: batch.wall_ms,
        requests: batch.requests.iter().map(request_to_pb).collect(),
    };
    encoded.encode_to_vec().into()
}

/// The lowest format that holds the batch.
fn format_of(batch: &Batch) -> u32 {
    let needed = |request: &Request| match request.command {
        Command::Downgrade(_) => DOWNGRADE_FORMAT,
        Command::ChangeMembers(MemberChange::Replace { .. }) => REPLACEMENT_FORMAT,
        Command::ChangeAuth(_) | Command::Authenticate { .. } => AUTH_FORMAT,
        _ if request.caller != request.command.usual_caller() => AUTH_FORMAT,
        Command::ChangeMembers(_) => MEMBER_CHANGES_FORMAT,
        _ => 1,
    };
    batch.requests.iter().map(needed).max().unwrap_or(1)
}

/// A batch from bytes.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_batch(bytes: Bytes) -> Result<Batch, CodecError> {
    let stored = pb::Batch::decode(bytes)?;
    if stored.format > BATCH_FORMAT {
        return Err(CodecError::NewerFormat { found: stored.format });
    }
    if stored.format == 0 {
        return Err(CodecError::Unknown { what: "format" });
    }
    Ok(Batch {
        member: MemberId(stored.member),
        incarnation: Incarnation(stored.incarnation),
        lowest_unanswered: stored.lowest_unanswered,
        wall_ms: stored.wall_ms,
        requests: stored.requests.into_iter().map(request_from_pb).collect::<Result<_, _>>()?,
    })
}

fn request_to_pb(request: &Request) -> pb::Request {
    use pb::request::Command as Pb;
    let command = match &request.command {
        Command::Put(put) => Pb::Put(put_to_pb(put)),
        Command::DeleteRange(delete) => Pb::DeleteRange(delete_to_pb(delete)),
        Command::Txn(txn) => Pb::Txn(txn_to_pb(txn)),
        Command::Compact(compact) => Pb::Compact(pb::Compact { revision: compact.revision.0 }),
        Command::LeaseGrant { id, ttl } => Pb::LeaseGrant(pb::LeaseGrant { id: id.0, ttl_secs: ttl.0 }),
        Command::LeaseRevoke { id } => Pb::LeaseRevoke(pb::LeaseRevoke { id: id.0 }),
        Command::LeaseExpire { ids } => {
            Pb::LeaseExpire(pb::LeaseExpire { ids: ids.iter().map(|id| id.0).collect() })
        }
        Command::LeaseCheckpoint { remaining } => Pb::LeaseCheckpoint(pb::LeaseCheckpoint {
            remaining: remaining
                .iter()
                .map(|(id, left)| pb::LeaseRemaining { id: id.0, remaining_secs: left.0 })
                .collect(),
        }),
        Command::Alarm { raise, member, kind } => {
            let kind = match kind {
                AlarmKind::NoSpace => pb::AlarmKind::NoSpace,
                AlarmKind::Corrupt => pb::AlarmKind::Corrupt,
            };
            Pb::Alarm(pb::Alarm { raise: *raise, member: member.0, kind: kind.into() })
        }
        Command::MemberAttributes { member, name, client_urls } => {
            Pb::MemberAttributes(pb::MemberAttributes {
                member: member.0,
                name: name.clone(),
                client_urls: client_urls.clone(),
            })
        }
        Command::Bootstrap { members } => {
            Pb::Bootstrap(pb::Bootstrap { members: members.iter().map(member_to_pb).collect() })
        }
        Command::ChangeMembers(change) => Pb::MemberChange(change_to_pb(change)),
        Command::ChangeAuth(change) => Pb::AuthChange(auth_change_to_pb(change)),
        Command::Authenticate { user, auth_revision, token } => Pb::Authenticate(pb::Authenticate {
            user: user.clone(),
            auth_revision: *auth_revision,
            token: token.clone(),
        }),
        Command::Downgrade(change) => Pb::Downgrade(pb::Downgrade {
            target: match change {
                DowngradeChange::Enable(target) => Some(level_to_pb(*target)),
                DowngradeChange::Cancel => None,
            },
        }),
        Command::Noop => Pb::Noop(pb::Noop {}),
    };
    let caller = (request.caller != request.command.usual_caller()).then(|| caller_to_pb(&request.caller));
    pb::Request { sequence: request.sequence, command: Some(command), caller }
}

fn caller_to_pb(caller: &Caller) -> pb::Caller {
    match caller {
        Caller::Member => pb::Caller { member: true, ..pb::Caller::default() },
        Caller::Anonymous => pb::Caller::default(),
        Caller::User(ProvenUser { user, auth_revision }) => {
            pb::Caller { member: false, user: user.to_string(), auth_revision: *auth_revision }
        }
    }
}

fn caller_from_pb(caller: pb::Caller) -> Caller {
    if caller.member {
        Caller::Member
    } else if caller.user.is_empty() {
        Caller::Anonymous
    } else {
        Caller::User(ProvenUser { user: caller.user.into(), auth_revision: caller.auth_revision })
    }
}

fn request_from_pb(request: pb::Request) -> Result<Request, CodecError> {
    use pb::request::Command as Pb;
    let command = match request.command.ok_or(CodecError::Unknown { what: "command" })? {
        Pb::Put(put) => Command::Put(put_from_pb(put)),
        Pb::DeleteRange(delete) => Command::DeleteRange(delete_from_pb(delete)),
        Pb::Txn(txn) => Command::Txn(txn_from_pb(txn, TXN_DEPTH_MAX)?),
        Pb::Compact(compact) => Command::Compact(Compact { revision: Revision(compact.revision) }),
        Pb::LeaseGrant(grant) => Command::LeaseGrant { id: LeaseId(grant.id), ttl: TtlSecs(grant.ttl_secs) },
        Pb::LeaseRevoke(revoke) => Command::LeaseRevoke { id: LeaseId(revoke.id) },
        Pb::LeaseExpire(expire) => {
            Command::LeaseExpire { ids: expire.ids.into_iter().map(LeaseId).collect() }
        }
        Pb::LeaseCheckpoint(checkpoint) => Command::LeaseCheckpoint {
            remaining: checkpoint
                .remaining
                .into_iter()
                .map(|left| (LeaseId(left.id), TtlSecs(left.remaining_secs)))
                .collect(),
        },
        Pb::Alarm(alarm) => {
            let kind = match pb::AlarmKind::try_from(alarm.kind) {
                Ok(pb::AlarmKind::NoSpace) => AlarmKind::NoSpace,
                Ok(pb::AlarmKind::Corrupt) => AlarmKind::Corrupt,
                Ok(pb::AlarmKind::None) | Err(_) => return Err(CodecError::Unknown { what: "alarm" }),
            };
            Command::Alarm { raise: alarm.raise, member: MemberId(alarm.member), kind }
        }
        Pb::MemberAttributes(attributes) => Command::MemberAttributes {
            member: MemberId(attributes.member),
            name: attributes.name,
            client_urls: attributes.client_urls,
        },
        Pb::Bootstrap(bootstrap) => {
            Command::Bootstrap { members: bootstrap.members.into_iter().map(member_from_pb).collect() }
        }
        Pb::MemberChange(change) => Command::ChangeMembers(change_from_pb(change)?),
        Pb::AuthChange(change) => Command::ChangeAuth(auth_change_from_pb(change)?),
        Pb::Authenticate(pb::Authenticate { user, auth_revision, token }) => {
            Command::Authenticate { user, auth_revision, token }
        }
        Pb::Downgrade(pb::Downgrade { target }) => Command::Downgrade(match target {
            Some(target) => DowngradeChange::Enable(level_from_pb(&target)),
            None => DowngradeChange::Cancel,
        }),
        Pb::Noop(pb::Noop {}) => Command::Noop,
    };
    let caller = request.caller.map_or_else(|| command.usual_caller(), caller_from_pb);
    Ok(Request { sequence: request.sequence, caller, command })
}

fn change_to_pb(change: &MemberChange) -> pb::MemberChange {
    use pb::member_change::Change as Pb;
    let change = match change {
        MemberChange::Add(member) => Pb::Add(member_to_pb(member)),
        MemberChange::Remove(member) => Pb::Remove(member.0),
        MemberChange::Update { member, peer_urls } => {
            Pb::Update(pb::MemberUpdate { member: member.0, peer_urls: peer_urls.clone() })
        }
        MemberChange::Promote(member) => Pb::Promote(member.0),
        MemberChange::Replace { member, by, peer_urls } => {
            Pb::Replace(pb::MemberReplace { member: member.0, by: by.0, peer_urls: peer_urls.clone() })
        }
    };
    pb::MemberChange { change: Some(change) }
}

fn change_from_pb(change: pb::MemberChange) -> Result<MemberChange, CodecError> {
    use pb::member_change::Change as Pb;
    Ok(match change.change.ok_or(CodecError::Unknown { what: "change of the member list" })? {
        Pb::Add(member) => MemberChange::Add(member_from_pb(member)),
        Pb::Remove(member) => MemberChange::Remove(MemberId(member)),
        Pb::Update(update) => {
            MemberChange::Update { member: MemberId(update.member), peer_urls: update.peer_urls }
        }
        Pb::Promote(member) => MemberChange::Promote(MemberId(member)),
        Pb::Replace(pb::MemberReplace { member, by, peer_urls }) => {
            MemberChange::Replace { member: MemberId(member), by: MemberId(by), peer_urls }
        }
    })
}

fn put_to_pb(put: &Put) -> pb::Put {
    pb::Put {
        key: put.key.clone(),
        value: put.value.clone(),
        lease: put.lease.0,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

fn put_from_pb(put: pb::Put) -> Put {
    Put {
        key: put.key,
        value: put.value,
        lease: LeaseId(put.lease),
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

fn delete_to_pb(delete: &DeleteRange) -> pb::DeleteRange {
    pb::DeleteRange {
        key: delete.range.start.clone(),
        range_end: delete.range.wire_end(),
        prev_kv: delete.prev_kv,
    }
}

fn delete_from_pb(delete: pb::DeleteRange) -> DeleteRange {
    DeleteRange { range: KeyRange::from_wire(delete.key, delete.range_end), prev_kv: delete.prev_kv }
}

fn txn_to_pb(txn: &Txn) -> pb::Txn {
    let ops = |ops: &[TxnOp]| ops.iter().map(op_to_pb).collect();
    pb::Txn {
        compares: txn.compares.iter().map(compare_to_pb).collect(),
        success: ops(&txn.success),
        failure: ops(&txn.failure),
    }
}

fn txn_from_pb(txn: pb::Txn, depth: usize) -> Result<Txn, CodecError> {
    let below = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
    let ops = |ops: Vec<pb::TxnOp>| ops.into_iter().map(|op| op_from_pb(op, below)).collect::<Result<_, _>>();
    Ok(Txn {
        compares: txn.compares.into_iter().map(compare_from_pb).collect::<Result<_, _>>()?,
        success: ops(txn.success)?,
        failure: ops(txn.failure)?,
    })
}

fn op_to_pb(op: &TxnOp) -> pb::TxnOp {
    use pb::txn_op::Op;
    let op = match op {
        TxnOp::Range(range) => Op::Range(range_to_pb(range)),
        TxnOp::Put(put) => Op::Put(put_to_pb(put)),
        TxnOp::DeleteRange(delete) => Op::DeleteRange(delete_to_pb(delete)),
        TxnOp::Txn(txn) => Op::Txn(txn_to_pb(txn)),
    };
    pb::TxnOp { op: Some(op) }
}

fn op_from_pb(op: pb::TxnOp, depth: usize) -> Result<TxnOp, CodecError> {
    use pb::txn_op::Op;
    Ok(match op.op.ok_or(CodecError::Unknown { what: "transaction operation" })? {
        Op::Range(range) => TxnOp::Range(range_from_pb(range)?),
        Op::Put(put) => TxnOp::Put(put_from_pb(put)),
        Op::DeleteRange(delete) => TxnOp::DeleteRange(delete_from_pb(delete)),
        Op::Txn(txn) => TxnOp::Txn(txn_from_pb(txn, depth)?),
    })
}

fn range_to_pb(range: &Range) -> pb::Range {
    let order = match range.sort_order {
        SortOrder::None => pb::SortOrder::None,
        SortOrder::Ascend => pb::SortOrder::Ascend,
        SortOrder::Descend => pb::SortOrder::Descend,
    };
    let target = match range.sort_target {
        SortTarget::Key => pb::SortTarget::Key,
        SortTarget::Version => pb::SortTarget::Version,
        SortTarget::Create => pb::SortTarget::Create,
        SortTarget::Mod => pb::SortTarget::Mod,
        SortTarget::Value => pb::SortTarget::Value,
    };
    pb::Range {
        key: range.range.start.clone(),
        range_end: range.range.wire_end(),
        limit: range.limit,
        revision: range.revision.0,
        sort_order: order.into(),
        sort_target: target.into(),
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: range.min_mod_revision.0,
        max_mod_revision: range.max_mod_revision.0,
        min_create_revision: range.min_create_revision.0,
        max_create_revision: range.max_create_revision.0,
    }
}

fn range_from_pb(range: pb::Range) -> Result<Range, CodecError> {
    let sort_order = match pb::SortOrder::try_from(range.sort_order) {
        Ok(pb::SortOrder::None) => SortOrder::None,
        Ok(pb::SortOrder::Ascend) => SortOrder::Ascend,
        Ok(pb::SortOrder::Descend) => SortOrder::Descend,
        Err(_) => return Err(CodecError::Unknown { what: "sort order" }),
    };
    let sort_target = match pb::SortTarget::try_from(range.sort_target) {
        Ok(pb::SortTarget::Key) => SortTarget::Key,
        Ok(pb::SortTarget::Version) => SortTarget::Version,
        Ok(pb::SortTarget::Create) => SortTarget::Create,
        Ok(pb::SortTarget::Mod) => SortTarget::Mod,
        Ok(pb::SortTarget::Value) => SortTarget::Value,
        Err(_) => return Err(CodecError::Unknown { what: "sort target" }),
    };
    Ok(Range {
        range: KeyRange::from_wire(range.key, range.range_end),
        limit: range.limit,
        revision: Revision(range.revision),
        sort_order,
        sort_target,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: Revision(range.min_mod_revision),
        max_mod_revision: Revision(range.max_mod_revision),
        min_create_revision: Revision(range.min_create_revision),
        max_create_revision: Revision(range.max_create_revision),
    })
}

fn compare_to_pb(compare: &Compare) -> pb::Compare {
    use pb::compare::Target;
    let result = match compare.result {
        CompareResult::Equal => pb::CompareResult::Equal,
        CompareResult::Greater => pb::CompareResult::Greater,
        CompareResult::Less => pb::CompareResult::Less,
        CompareResult::NotEqual => pb::CompareResult::NotEqual,
    };
    let target = match &compare.target {
        CompareTarget::Version(version) => Target::Version(*version),
        CompareTarget::Create(revision) => Target::CreateRevision(revision.0),
        CompareTarget::Mod(revision) => Target::ModRevision(revision.0),
        CompareTarget::Value(value) => Target::Value(value.clone()),
        CompareTarget::Lease(lease) => Target::Lease(lease.0),
    };
    pb::Compare {
        key: compare.range.start.clone(),
        range_end: compare.range.wire_end(),
        result: result.into(),
        target: Some(target),
    }
}

fn compare_from_pb(compare: pb::Compare) -> Result<Compare, CodecError> {
    use pb::compare::Target;
    let result = match pb::CompareResult::try_from(compare.result) {
        Ok(pb::CompareResult::Equal) => CompareResult::Equal,
        Ok(pb::CompareResult::Greater) => CompareResult::Greater,
        Ok(pb::CompareResult::Less) => CompareResult::Less,
        Ok(pb::CompareResult::NotEqual) => CompareResult::NotEqual,
        Err(_) => return Err(CodecError::Unknown { what: "comparison" }),
    };
    let target = match compare.target.ok_or(CodecError::Unknown { what: "comparison target" })? {
        Target::Version(version) => CompareTarget::Version(version),
        Target::CreateRevision(revision) => CompareTarget::Create(Revision(revision)),
        Target::ModRevision(revision) => CompareTarget::Mod(Revision(revision)),
        Target::Value(value) => CompareTarget::Value(value),
        Target::Lease(lease) => CompareTarget::Lease(LeaseId(lease)),
    };
    Ok(Compare { range: KeyRange::from_wire(compare.key, compare.range_end), result, target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::check::check_txn;
    use crate::machine::command::{CommandError, Member};
    use crate::types::ApiLevel;

    fn nested(depth: usize) -> Txn {
        let leaf = Txn { success: vec![TxnOp::Put(Put::default())], ..Txn::default() };
        (1..depth).fold(leaf, |inner, _| Txn { failure: vec![TxnOp::Txn(inner)], ..Txn::default() })
    }

    fn batch(command: Command) -> Batch {
        let (member, incarnation) = (MemberId(1), Incarnation(1));
        let requests = vec![Request::new(1, command)];
        Batch { member, incarnation, lowest_unanswered: 1, wall_ms: 0, requests }
    }

    fn stored(command: Option<pb::request::Command>, format: u32) -> Bytes {
        let requests = vec![pb::Request { sequence: 1, command, caller: None }];
        pb::Batch { format, requests, ..pb::Batch::default() }.encode_to_vec().into()
    }

    #[test]
    fn whatever_the_check_lets_through_can_be_read_back() {
        let deepest = nested(TXN_DEPTH_MAX);
        assert_eq!(check_txn(&deepest, 128), Ok(()));
        let entry = batch(Command::Txn(deepest));
        assert_eq!(decode_batch(encode_batch(&entry)).unwrap(), entry);
        let too_deep = nested(TXN_DEPTH_MAX + 1);
        assert_eq!(check_txn(&too_deep, 128), Err(CommandError::TooManyOps));
        let entry = encode_batch(&batch(Command::Txn(too_deep)));
        assert_eq!(decode_batch(entry), Err(CodecError::TooDeep));
    }

    #[test]
    fn what_a_newer_version_wrote_is_refused_and_not_misread() {
        let noop = || Some(pb::request::Command::Noop(pb::Noop {}));
        assert!(decode_batch(stored(noop(), BATCH_FORMAT)).is_ok());
        let newer = decode_batch(stored(noop(), BATCH_FORMAT + 1));
        assert_eq!(newer, Err(CodecError::NewerFormat { found: BATCH_FORMAT + 1 }));
        assert_eq!(decode_batch(stored(None, BATCH_FORMAT)), Err(CodecError::Unknown { what: "command" }));
        let alarm = pb::Alarm { raise: true, member: 1, kind: 9 };
        let unknown = decode_batch(stored(Some(pb::request::Command::Alarm(alarm)), BATCH_FORMAT));
        assert_eq!(unknown, Err(CodecError::Unknown { what: "alarm" }));
        assert!(matches!(decode_batch(Bytes::from_static(b"\xff\xff")), Err(CodecError::Unreadable(_))));
        assert!(decode_batch(Bytes::new()).is_err(), "nothing at all is no batch");
    }

    #[test]
    fn a_batch_carries_the_lowest_format_that_holds_it() {
        let format = |command| pb::Batch::decode(encode_batch(&batch(command))).unwrap().format;
        assert_eq!(format(Command::Noop), 1, "an older member reads what it knows");
        for change in [
            MemberChange::Add(Member { id: MemberId(7), is_learner: true, ..Member::default() }),
            MemberChange::Remove(MemberId(7)),
            MemberChange::Update { member: MemberId(7), peer_urls: vec!["http://seven:2380".to_owned()] },
            MemberChange::Promote(MemberId(7)),
        ] {
            let entry = batch(Command::ChangeMembers(change.clone()));
            assert_eq!(decode_batch(encode_batch(&entry)).unwrap(), entry);
            assert_eq!(format(Command::ChangeMembers(change)), 2, "an older member would misread it");
        }
        let target = ApiLevel { major: 3, minor: 6 };
        for change in [DowngradeChange::Enable(target), DowngradeChange::Cancel] {
            let entry = batch(Command::Downgrade(change));
            assert_eq!(decode_batch(encode_batch(&entry)).unwrap(), entry);
            assert_eq!(format(Command::Downgrade(change)), 4, "an older member would not know it");
        }
        let replace = Command::ChangeMembers(MemberChange::Replace {
            member: MemberId(7),
            by: MemberId(8),
            peer_urls: vec!["http://seven:2380".to_owned()],
        });
        let entry = batch(replace.clone());
        assert_eq!(decode_batch(encode_batch(&entry)).unwrap(), entry);
        assert_eq!(format(replace), 4, "an older member would misread it");
        let nothing = pb::request::Command::MemberChange(pb::MemberChange { change: None });
        let nothing = decode_batch(stored(Some(nothing), BATCH_FORMAT));
        assert_eq!(nothing, Err(CodecError::Unknown { what: "change of the member list" }));
    }

    #[test]
    fn keys_and_values_share_the_buffer_they_came_in() {
        let put = Put { key: "key".into(), value: vec![7; 1000].into(), ..Put::default() };
        let bytes = encode_batch(&batch(Command::Put(put)));
        let decoded = decode_batch(bytes.clone()).unwrap();
        let Command::Put(put) = &decoded.requests[0].command else { panic!("a put was encoded") };
        assert!(bytes.as_ptr_range().contains(&put.value.as_ptr()));
    }
}
