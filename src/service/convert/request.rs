//! Requests, from the wire to the machine.

use bytes::Bytes;

use crate::machine::command::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, Put, Range, SortOrder, SortTarget, Txn,
    TxnOp,
};
use crate::machine::watch::{EventOptions, Filters, WatchSpec};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::compare::TargetUnion;
use crate::pb::etcdserverpb::request_op::Request as Op;
use crate::service::status::ApiError;
use crate::types::{KeyRange, LeaseId, Revision, WatchId};

/// Stands for the first possible key where a client leaves the key of a watch empty.
const FIRST_KEY: &[u8] = &[0];

/// A range.
///
/// # Errors
/// No key, or an order that does not exist.
pub fn range(request: pb::RangeRequest) -> Result<Range, ApiError> {
    use pb::range_request::{SortOrder as Order, SortTarget as Target};
    if request.key.is_empty() {
        return Err(ApiError::EMPTY_KEY);
    }
    let sort_order = match Order::try_from(request.sort_order) {
        Ok(Order::None) => SortOrder::None,
        Ok(Order::Ascend) => SortOrder::Ascend,
        Ok(Order::Descend) => SortOrder::Descend,
        Err(_) => return Err(ApiError::INVALID_SORT_OPTION),
    };
    let sort_target = match Target::try_from(request.sort_target) {
        Ok(Target::Key) => SortTarget::Key,
        Ok(Target::Version) => SortTarget::Version,
        Ok(Target::Create) => SortTarget::Create,
        Ok(Target::Mod) => SortTarget::Mod,
        Ok(Target::Value) => SortTarget::Value,
        Err(_) => return Err(ApiError::INVALID_SORT_OPTION),
    };
    Ok(Range {
        range: KeyRange::from_wire(request.key, request.range_end),
        limit: request.limit,
        revision: Revision(request.revision),
        sort_order,
        sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: Revision(request.min_mod_revision),
        max_mod_revision: Revision(request.max_mod_revision),
        min_create_revision: Revision(request.min_create_revision),
        max_create_revision: Revision(request.max_create_revision),
    })
}

/// Whether a range can be answered in pieces: in key order, and without filters on revisions.
pub fn is_streamable(range: &Range) -> bool {
    let filters = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    let ascending = range.sort_target == SortTarget::Key && range.sort_order != SortOrder::Descend;
    ascending && filters.iter().all(|filter| filter.0 == 0)
}

/// A put.
///
/// # Errors
/// No key, or a value or lease beside the wish to keep the old one.
pub fn put(request: pb::PutRequest) -> Result<Put, ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EMPTY_KEY);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(ApiError::VALUE_PROVIDED);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(ApiError::LEASE_PROVIDED);
    }
    Ok(Put {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    })
}

/// A deletion.
///
/// # Errors
/// No key.
pub fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteRange, ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EMPTY_KEY);
    }
    Ok(DeleteRange { range: KeyRange::from_wire(request.key, request.range_end), prev_kv: request.prev_kv })
}

/// A compaction.
pub fn compact(request: &pb::CompactionRequest) -> Compact {
    Compact { revision: Revision(request.revision) }
}

/// A transaction. How many operations it may have, and whether they fit together, is for the machine to check.
///
/// # Errors
/// As [`range`], [`put`] and [`delete_range`]; an operation that says nothing; a condition without a key.
pub fn txn(request: pb::TxnRequest) -> Result<Txn, ApiError> {
    Ok(Txn {
        compares: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: request.success.into_iter().map(op).collect::<Result<_, _>>()?,
        failure: request.failure.into_iter().map(op).collect::<Result<_, _>>()?,
    })
}

/// Whether a transaction that only reads must see every write acknowledged before it: unless all its ranges say
/// that it need not.
pub fn is_linearizable(request: &pb::TxnRequest) -> bool {
    let ops = || request.success.iter().chain(&request.failure);
    let op_is_serializable = |op: &pb::RequestOp| match &op.request {
        Some(Op::RequestRange(range)) => range.serializable,
        Some(Op::RequestTxn(txn)) => !is_linearizable(txn),
        _ => false,
    };
    ops().next().is_none() || !ops().all(op_is_serializable)
}

fn op(request: pb::RequestOp) -> Result<TxnOp, ApiError> {
    match request.request.ok_or(ApiError::KEY_NOT_FOUND)? {
        Op::RequestRange(request) => Ok(TxnOp::Range(range(request)?)),
        Op::RequestPut(request) => Ok(TxnOp::Put(put(request)?)),
        Op::RequestDeleteRange(request) => Ok(TxnOp::DeleteRange(delete_range(request)?)),
        Op::RequestTxn(request) => Ok(TxnOp::Txn(txn(request)?)),
    }
}

/// A condition. A value of another kind than the target counts as the target's zero, as the API has it.
fn compare(request: pb::Compare) -> Result<Compare, ApiError> {
    use pb::compare::{CompareResult as Outcome, CompareTarget as Target};
    if request.key.is_empty() {
        return Err(ApiError::EMPTY_KEY);
    }
    let result = match Outcome::try_from(request.result) {
        Ok(Outcome::Equal) => CompareResult::Equal,
        Ok(Outcome::Greater) => CompareResult::Greater,
        Ok(Outcome::Less) => CompareResult::Less,
        Ok(Outcome::NotEqual) => CompareResult::NotEqual,
        Err(_) => return Err(ApiError::KEY_NOT_FOUND),
    };
    let given = request.target_union;
    let number = |wanted: fn(&TargetUnion) -> Option<i64>| given.as_ref().and_then(wanted).unwrap_or(0);
    let target = match Target::try_from(request.target) {
        Ok(Target::Version) => CompareTarget::Version(number(|given| match given {
            TargetUnion::Version(version) => Some(*version),
            _ => None,
        })),
        Ok(Target::Create) => CompareTarget::Create(Revision(number(|given| match given {
            TargetUnion::CreateRevision(revision) => Some(*revision),
            _ => None,
        }))),
        Ok(Target::Mod) => CompareTarget::Mod(Revision(number(|given| match given {
            TargetUnion::ModRevision(revision) => Some(*revision),
            _ => None,
        }))),
        Ok(Target::Lease) => CompareTarget::Lease(LeaseId(number(|given| match given {
            TargetUnion::Lease(lease) => Some(*lease),
            _ => None,
        }))),
        Ok(Target::Value) => CompareTarget::Value(match given {
            Some(TargetUnion::Value(value)) => value,
            _ => Bytes::new(),
        }),
        Err(_) => return Err(ApiError::KEY_NOT_FOUND),
    };
    Ok(Compare { range: KeyRange::from_wire(request.key, request.range_end), result, target })
}

/// A watch.
pub fn watch_spec(request: pb::WatchCreateRequest) -> WatchSpec {
    use pb::watch_create_request::FilterType;
    let key = if request.key.is_empty() { Bytes::from_static(FIRST_KEY) } else { request.key };
    let has = |filter: FilterType| request.filters.iter().any(|given| *given == i32::from(filter));
    let filters = Filters { no_put: has(FilterType::Noput), no_delete: has(FilterType::Nodelete) };
    WatchSpec {
        range: KeyRange::from_wire(key, request.range_end),
        start: Revision(request.start_revision),
        options: EventOptions { filters, prev_kv: request.prev_kv },
        progress_notify: request.progress_notify,
        fragment: request.fragment,
        id: (request.watch_id != 0).then_some(WatchId(request.watch_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(serializable: &[bool]) -> pb::TxnRequest {
        let op = |serializable: &bool| pb::RequestOp {
            request: Some(Op::RequestRange(pb::RangeRequest {
                key: Bytes::from_static(b"k"),
                serializable: *serializable,
                ..pb::RangeRequest::default()
            })),
        };
        pb::TxnRequest { success: serializable.iter().map(op).collect(), ..pb::TxnRequest::default() }
    }

    #[test]
    fn one_linearizable_range_makes_a_transaction_linearizable() {
        assert!(!is_linearizable(&ranges(&[true, true])));
        assert!(is_linearizable(&ranges(&[true, false])));
        assert!(is_linearizable(&ranges(&[])), "its conditions must hold now");
        let nest = |inner| pb::TxnRequest {
            success: vec![pb::RequestOp { request: Some(Op::RequestTxn(inner)) }],
            ..pb::TxnRequest::default()
        };
        assert!(!is_linearizable(&nest(ranges(&[true]))));
        assert!(is_linearizable(&nest(ranges(&[false]))));
    }

    #[test]
    fn unsound_requests_are_refused_as_the_api_says() {
        let key = Bytes::from_static(b"k");
        assert_eq!(range(pb::RangeRequest::default()), Err(ApiError::EMPTY_KEY));
        let sorted = pb::RangeRequest { key: key.clone(), sort_target: 9, ..pb::RangeRequest::default() };
        assert_eq!(range(sorted), Err(ApiError::INVALID_SORT_OPTION));
        let valued = pb::PutRequest {
            key: key.clone(),
            value: key.clone(),
            ignore_value: true,
            ..pb::PutRequest::default()
        };
        assert_eq!(put(valued), Err(ApiError::VALUE_PROVIDED));
        let leased =
            pb::PutRequest { key: key.clone(), lease: 7, ignore_lease: true, ..pb::PutRequest::default() };
        assert_eq!(put(leased), Err(ApiError::LEASE_PROVIDED));
        let empty = pb::TxnRequest { success: vec![pb::RequestOp::default()], ..pb::TxnRequest::default() };
        assert_eq!(txn(empty), Err(ApiError::KEY_NOT_FOUND));
        let keyless = pb::TxnRequest { compare: vec![pb::Compare::default()], ..pb::TxnRequest::default() };
        assert_eq!(txn(keyless), Err(ApiError::EMPTY_KEY));
    }

    #[test]
    fn a_condition_reads_the_value_of_its_own_target_only() {
        let asked = pb::Compare {
            target: 2,
            key: Bytes::from_static(b"k"),
            target_union: Some(TargetUnion::Version(5)),
            ..pb::Compare::default()
        };
        assert_eq!(compare(asked.clone()).unwrap().target, CompareTarget::Mod(Revision(0)));
        let fitting = pb::Compare { target_union: Some(TargetUnion::ModRevision(5)), ..asked };
        assert_eq!(compare(fitting).unwrap().target, CompareTarget::Mod(Revision(5)));
    }

    #[test]
    fn a_watch_without_a_key_begins_at_the_first_possible_one() {
        let spec = watch_spec(pb::WatchCreateRequest {
            range_end: Bytes::from_static(&[0]),
            filters: vec![1],
            ..pb::WatchCreateRequest::default()
        });
        assert!(spec.range.contains(&[0]) && spec.range.contains(b"zzz"));
        assert!(spec.options.filters.no_delete && !spec.options.filters.no_put);
        assert_eq!(spec.id, None);
    }
}
