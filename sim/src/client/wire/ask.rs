//! The history's requests as the wire's.
//!
//! The tests of real processes have the like of this for wire types of their own, because what judges the server must
//! not name it. Here they are the server's: the simulated transport hands messages over as values, unencoded.

use quorate::pb::etcdserverpb as pb;
use quorate::pb::v3electionpb::LeaderKey;
use quorate_check::bytes::Bytes;
use quorate_check::history as seen;

use crate::client::api::Office;

/// Bytes as the wire's types hold them.
pub(super) fn bytes(bytes: &Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes.as_slice())
}

pub(super) fn put(ask: &seen::Put) -> pb::PutRequest {
    pb::PutRequest {
        key: bytes(&ask.key),
        value: bytes(&ask.value),
        lease: ask.lease.0,
        prev_kv: ask.prev_kv,
        ignore_value: ask.ignore_value,
        ignore_lease: ask.ignore_lease,
    }
}

pub(super) fn range(ask: &seen::Range) -> pb::RangeRequest {
    use pb::range_request::{SortOrder, SortTarget};
    let order = match ask.sort_order {
        seen::SortOrder::None => SortOrder::None,
        seen::SortOrder::Ascend => SortOrder::Ascend,
        seen::SortOrder::Descend => SortOrder::Descend,
    };
    let target = match ask.sort_target {
        seen::SortTarget::Key => SortTarget::Key,
        seen::SortTarget::Version => SortTarget::Version,
        seen::SortTarget::Create => SortTarget::Create,
        seen::SortTarget::Mod => SortTarget::Mod,
        seen::SortTarget::Value => SortTarget::Value,
    };
    pb::RangeRequest {
        key: bytes(&ask.key),
        range_end: bytes(&ask.range_end),
        limit: ask.limit,
        revision: ask.revision.0,
        sort_order: order.into(),
        sort_target: target.into(),
        serializable: ask.serializable,
        keys_only: ask.keys_only,
        count_only: ask.count_only,
        min_mod_revision: ask.min_mod_revision.0,
        max_mod_revision: ask.max_mod_revision.0,
        min_create_revision: ask.min_create_revision.0,
        max_create_revision: ask.max_create_revision.0,
    }
}

pub(super) fn delete(ask: &seen::DeleteRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: bytes(&ask.key), range_end: bytes(&ask.range_end), prev_kv: ask.prev_kv }
}

pub(super) fn txn(ask: &seen::Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: ask.compare.iter().map(compare).collect(),
        success: ask.success.iter().map(step).collect(),
        failure: ask.failure.iter().map(step).collect(),
    }
}

fn step(ask: &seen::TxnOp) -> pb::RequestOp {
    use pb::request_op::Request;
    let request = match ask {
        seen::TxnOp::Put(ask) => Request::RequestPut(put(ask)),
        seen::TxnOp::Range(ask) => Request::RequestRange(range(ask)),
        seen::TxnOp::DeleteRange(ask) => Request::RequestDeleteRange(delete(ask)),
        seen::TxnOp::Txn(ask) => Request::RequestTxn(txn(ask)),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(ask: &seen::Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let result = match ask.result {
        seen::CompareResult::Equal => CompareResult::Equal,
        seen::CompareResult::Greater => CompareResult::Greater,
        seen::CompareResult::Less => CompareResult::Less,
        seen::CompareResult::NotEqual => CompareResult::NotEqual,
    };
    let (target, wanted) = match &ask.target {
        seen::CompareTarget::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
        seen::CompareTarget::Create(at) => (CompareTarget::Create, TargetUnion::CreateRevision(at.0)),
        seen::CompareTarget::Mod(at) => (CompareTarget::Mod, TargetUnion::ModRevision(at.0)),
        seen::CompareTarget::Value(value) => (CompareTarget::Value, TargetUnion::Value(bytes(value))),
        seen::CompareTarget::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(lease.0)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(&ask.key),
        range_end: bytes(&ask.range_end),
        target_union: Some(wanted),
    }
}

pub(super) fn alarm(ask: &seen::Alarm) -> pb::AlarmRequest {
    use pb::alarm_request::AlarmAction;
    let action = match ask.action {
        seen::AlarmAction::List => AlarmAction::Get,
        seen::AlarmAction::Raise => AlarmAction::Activate,
        seen::AlarmAction::Clear => AlarmAction::Deactivate,
    };
    let alarm = match ask.kind {
        None => pb::AlarmType::None,
        Some(seen::AlarmKind::NoSpace) => pb::AlarmType::Nospace,
        Some(seen::AlarmKind::Corrupt) => pb::AlarmType::Corrupt,
    };
    pb::AlarmRequest { action: action.into(), member_id: ask.member.0, alarm: alarm.into() }
}

pub(super) fn downgrade(ask: &seen::Downgrade) -> pb::DowngradeRequest {
    use pb::downgrade_request::DowngradeAction;
    let action = match ask.action {
        seen::DowngradeAction::Validate => DowngradeAction::Validate,
        seen::DowngradeAction::Enable => DowngradeAction::Enable,
        seen::DowngradeAction::Cancel => DowngradeAction::Cancel,
    };
    pb::DowngradeRequest { action: action.into(), version: ask.version.clone() }
}

/// An office as its holder names it.
pub(super) fn leader_key(office: &Office) -> LeaderKey {
    LeaderKey {
        name: office.line.clone().into(),
        key: bytes(&office.key),
        rev: office.created.0,
        lease: office.lease.0,
    }
}

/// What starts a watch.
pub fn watch(ask: &seen::WatchCreate) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let filters = [(ask.no_put, FilterType::Noput), (ask.no_delete, FilterType::Nodelete)];
    let create = pb::WatchCreateRequest {
        key: bytes(&ask.key),
        range_end: bytes(&ask.range_end),
        start_revision: ask.start_revision.0,
        progress_notify: ask.progress_notify,
        filters: filters.into_iter().filter(|(on, _)| *on).map(|(_, filter)| filter.into()).collect(),
        prev_kv: ask.prev_kv,
        watch_id: 0,
        fragment: ask.fragment,
    };
    let create = pb::watch_request::RequestUnion::CreateRequest(create);
    pb::WatchRequest { request_union: Some(create) }
}
