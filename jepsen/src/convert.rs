//! The history's requests and answers in the wire's messages, and back.

use quorate_check::bytes::Bytes;
use quorate_check::history as seen;
use quorate_check::types::{ClusterId, LeaseId, MemberId, Revision, Term};
use seen::{Response, TxnOp};

use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::compare::TargetUnion;
use crate::pb::etcdserverpb::request_op::Request as Step;
use crate::pb::etcdserverpb::response_op::Response as StepAnswer;
use crate::pb::mvccpb;

fn wire(bytes: &Bytes) -> Vec<u8> {
    bytes.as_slice().to_vec()
}

pub fn put(ask: &seen::Put) -> pb::PutRequest {
    pb::PutRequest {
        key: wire(&ask.key),
        value: wire(&ask.value),
        lease: ask.lease.0,
        prev_kv: ask.prev_kv,
        ignore_value: ask.ignore_value,
        ignore_lease: ask.ignore_lease,
    }
}

pub fn delete(ask: &seen::DeleteRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: wire(&ask.key), range_end: wire(&ask.range_end), prev_kv: ask.prev_kv }
}

pub fn range(ask: &seen::Range) -> pb::RangeRequest {
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
        key: wire(&ask.key),
        range_end: wire(&ask.range_end),
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

pub fn txn(ask: &seen::Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: ask.compare.iter().map(compare).collect(),
        success: ask.success.iter().map(step).collect(),
        failure: ask.failure.iter().map(step).collect(),
    }
}

fn step(ask: &TxnOp) -> pb::RequestOp {
    let request = match ask {
        TxnOp::Put(ask) => Step::RequestPut(put(ask)),
        TxnOp::Range(ask) => Step::RequestRange(range(ask)),
        TxnOp::DeleteRange(ask) => Step::RequestDeleteRange(delete(ask)),
        TxnOp::Txn(ask) => Step::RequestTxn(txn(ask)),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(ask: &seen::Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget};
    let result = match ask.result {
        seen::CompareResult::Equal => CompareResult::Equal,
        seen::CompareResult::Greater => CompareResult::Greater,
        seen::CompareResult::Less => CompareResult::Less,
        seen::CompareResult::NotEqual => CompareResult::NotEqual,
    };
    let (target, union) = match &ask.target {
        seen::CompareTarget::Version(at) => (CompareTarget::Version, TargetUnion::Version(*at)),
        seen::CompareTarget::Create(at) => (CompareTarget::Create, TargetUnion::CreateRevision(at.0)),
        seen::CompareTarget::Mod(at) => (CompareTarget::Mod, TargetUnion::ModRevision(at.0)),
        seen::CompareTarget::Value(value) => (CompareTarget::Value, TargetUnion::Value(wire(value))),
        seen::CompareTarget::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(lease.0)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: wire(&ask.key),
        range_end: wire(&ask.range_end),
        target_union: Some(union),
    }
}

pub fn watch(ask: &seen::WatchCreate) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let filters = [(ask.no_put, FilterType::Noput), (ask.no_delete, FilterType::Nodelete)];
    let create = pb::WatchCreateRequest {
        key: wire(&ask.key),
        range_end: wire(&ask.range_end),
        start_revision: ask.start_revision.0,
        progress_notify: ask.progress_notify,
        filters: filters.iter().filter(|(wanted, _)| *wanted).map(|(_, filter)| (*filter).into()).collect(),
        prev_kv: ask.prev_kv,
        watch_id: 0,
        fragment: ask.fragment,
    };
    pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
}

pub fn header(header: Option<&pb::ResponseHeader>) -> seen::Header {
    let header = header.expect("every answer has a header");
    seen::Header {
        cluster_id: ClusterId(header.cluster_id),
        member_id: MemberId(header.member_id),
        revision: Revision(header.revision),
        raft_term: Term(header.raft_term),
    }
}

fn pair(pair: mvccpb::KeyValue) -> seen::KeyValue {
    seen::KeyValue {
        key: Bytes::from(pair.key),
        create_revision: Revision(pair.create_revision),
        mod_revision: Revision(pair.mod_revision),
        version: pair.version,
        value: Bytes::from(pair.value),
        lease: LeaseId(pair.lease),
    }
}

pub fn put_response(answer: pb::PutResponse) -> Response {
    Response::Put(seen::PutResponse { prev_kv: answer.prev_kv.map(pair) })
}

pub fn range_response(answer: pb::RangeResponse) -> Response {
    let kvs = answer.kvs.into_iter().map(pair).collect();
    Response::Range(seen::RangeResponse { kvs, more: answer.more, count: answer.count })
}

pub fn delete_response(answer: pb::DeleteRangeResponse) -> Response {
    let prev_kvs = answer.prev_kvs.into_iter().map(pair).collect();
    Response::DeleteRange(seen::DeleteRangeResponse { deleted: answer.deleted, prev_kvs })
}

pub fn txn_response(answer: pb::TxnResponse) -> Response {
    let responses = answer.responses.into_iter().map(inner_response).collect();
    Response::Txn(seen::TxnResponse { succeeded: answer.succeeded, responses })
}

fn inner_response(answer: pb::ResponseOp) -> seen::InnerResponse {
    let revision = |header: &Option<pb::ResponseHeader>| header.map(|header| Revision(header.revision));
    let (revision, response) = match answer.response.expect("every step of a transaction has an answer") {
        StepAnswer::ResponseRange(answer) => (revision(&answer.header), range_response(answer)),
        StepAnswer::ResponsePut(answer) => (revision(&answer.header), put_response(answer)),
        StepAnswer::ResponseDeleteRange(answer) => (revision(&answer.header), delete_response(answer)),
        StepAnswer::ResponseTxn(answer) => (revision(&answer.header), txn_response(answer)),
    };
    seen::InnerResponse { revision, response }
}

pub fn grant_response(answer: &pb::LeaseGrantResponse) -> Response {
    Response::LeaseGrant(seen::LeaseGrantResponse { id: LeaseId(answer.id), ttl_secs: answer.ttl })
}

pub fn keep_alive_response(answer: &pb::LeaseKeepAliveResponse) -> Response {
    Response::LeaseKeepAlive(seen::LeaseKeepAliveResponse { id: LeaseId(answer.id), ttl_secs: answer.ttl })
}

pub fn time_to_live_response(answer: pb::LeaseTimeToLiveResponse) -> Response {
    Response::LeaseTimeToLive(seen::LeaseTimeToLiveResponse {
        id: LeaseId(answer.id),
        ttl_secs: answer.ttl,
        granted_ttl_secs: answer.granted_ttl,
        keys: answer.keys.into_iter().map(Bytes::from).collect(),
    })
}

pub fn leases_response(answer: &pb::LeaseLeasesResponse) -> Response {
    let leases = answer.leases.iter().map(|lease| LeaseId(lease.id)).collect();
    Response::LeaseLeases(seen::LeaseLeasesResponse { leases })
}

/// `asked` is the revision that was asked for: servers from before the answer's own field hash up to that.
pub fn hash_response(answer: &pb::HashKvResponse, asked: i64) -> Response {
    let present = answer.header.map_or(0, |header| header.revision);
    let hashed = [answer.hash_revision, asked].into_iter().find(|revision| *revision > 0);
    Response::HashKv(seen::HashKvResponse {
        hash: answer.hash,
        compact_revision: Revision(answer.compact_revision),
        hash_revision: Revision(hashed.unwrap_or(present)),
    })
}

pub fn status_response(answer: &pb::StatusResponse) -> Response {
    Response::Status(seen::StatusResponse {
        raft_applied_index: answer.raft_applied_index,
        raft_index: answer.raft_index,
        leader: MemberId(answer.leader),
    })
}

pub fn watch_event(event: mvccpb::Event) -> seen::Event {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => seen::EventKind::Put,
        mvccpb::event::EventType::Delete => seen::EventKind::Delete,
    };
    let kv = pair(event.kv.expect("every event has its key"));
    seen::Event { kind, kv, prev_kv: event.prev_kv.map(pair) }
}
