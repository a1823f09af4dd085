//! The wire's answers as the history's. What the wire leaves open and the history needs (a header, a pair) is an
//! answer that makes no sense: `None`.

use quorate::pb::{etcdserverpb as pb, mvccpb};
use quorate_check::bytes::Bytes;
use quorate_check::history as seen;
use quorate_check::types::{ClusterId, LeaseId, MemberId, Nanos, Revision, Term};

/// A header.
pub(super) fn header(header: Option<pb::ResponseHeader>) -> Option<seen::Header> {
    let header = header?;
    Some(seen::Header {
        cluster_id: ClusterId(header.cluster_id),
        member_id: MemberId(header.member_id),
        revision: Revision(header.revision),
        raft_term: Term(header.raft_term),
    })
}

/// A pair.
pub(super) fn pair(pair: mvccpb::KeyValue) -> seen::KeyValue {
    seen::KeyValue {
        key: Bytes::from(pair.key.as_ref()),
        create_revision: Revision(pair.create_revision),
        mod_revision: Revision(pair.mod_revision),
        version: pair.version,
        value: Bytes::from(pair.value.as_ref()),
        lease: LeaseId(pair.lease),
    }
}

pub(super) fn put(answer: pb::PutResponse) -> seen::Response {
    seen::Response::Put(seen::PutResponse { prev_kv: answer.prev_kv.map(pair) })
}

pub(super) fn range(answer: pb::RangeResponse) -> seen::Response {
    seen::Response::Range(seen::RangeResponse {
        kvs: answer.kvs.into_iter().map(pair).collect(),
        more: answer.more,
        count: answer.count,
    })
}

pub(super) fn delete(answer: pb::DeleteRangeResponse) -> seen::Response {
    let prev_kvs = answer.prev_kvs.into_iter().map(pair).collect();
    seen::Response::DeleteRange(seen::DeleteRangeResponse { deleted: answer.deleted, prev_kvs })
}

pub(super) fn txn(answer: pb::TxnResponse) -> Option<seen::Response> {
    let responses = answer.responses.into_iter().map(step).collect::<Option<Vec<_>>>()?;
    Some(seen::Response::Txn(seen::TxnResponse { succeeded: answer.succeeded, responses }))
}

fn step(answer: pb::ResponseOp) -> Option<seen::InnerResponse> {
    use pb::response_op::Response;
    let (header, response) = match answer.response? {
        Response::ResponsePut(answer) => (answer.header, put(answer)),
        Response::ResponseRange(answer) => (answer.header, range(answer)),
        Response::ResponseDeleteRange(answer) => (answer.header, delete(answer)),
        Response::ResponseTxn(answer) => (answer.header, txn(answer)?),
    };
    let revision = header.map(|header| Revision(header.revision));
    Some(seen::InnerResponse { revision, response })
}

pub(super) fn lease_grant(answer: &pb::LeaseGrantResponse) -> seen::Response {
    let grant = seen::LeaseGrantResponse { id: LeaseId(answer.id), ttl_secs: answer.ttl };
    seen::Response::LeaseGrant(grant)
}

pub(super) fn keep_alive(answer: &pb::LeaseKeepAliveResponse) -> seen::Response {
    let renewal = seen::LeaseKeepAliveResponse { id: LeaseId(answer.id), ttl_secs: answer.ttl };
    seen::Response::LeaseKeepAlive(renewal)
}

pub(super) fn time_to_live(answer: pb::LeaseTimeToLiveResponse) -> seen::Response {
    seen::Response::LeaseTimeToLive(seen::LeaseTimeToLiveResponse {
        id: LeaseId(answer.id),
        ttl_secs: answer.ttl,
        granted_ttl_secs: answer.granted_ttl,
        keys: answer.keys.into_iter().map(|key| Bytes::from(key.as_ref())).collect(),
    })
}

pub(super) fn leases(answer: pb::LeaseLeasesResponse) -> seen::Response {
    let leases = answer.leases.into_iter().map(|lease| LeaseId(lease.id)).collect();
    seen::Response::LeaseLeases(seen::LeaseLeasesResponse { leases })
}

pub(super) fn status(answer: &pb::StatusResponse) -> seen::Response {
    seen::Response::Status(seen::StatusResponse {
        raft_applied_index: answer.raft_applied_index,
        raft_index: answer.raft_index,
        leader: MemberId(answer.leader),
    })
}

pub(super) fn hash_kv(answer: &pb::HashKvResponse) -> seen::Response {
    seen::Response::HashKv(seen::HashKvResponse {
        hash: answer.hash,
        compact_revision: Revision(answer.compact_revision),
        hash_revision: Revision(answer.hash_revision),
    })
}

/// Alarms; nothing where one is of no kind that there is.
pub(super) fn alarms(told: &[pb::AlarmMember]) -> Option<seen::Response> {
    let alarms = told.iter().map(|alarm| {
        let kind = match pb::AlarmType::try_from(alarm.alarm) {
            Ok(pb::AlarmType::Nospace) => seen::AlarmKind::NoSpace,
            Ok(pb::AlarmType::Corrupt) => seen::AlarmKind::Corrupt,
            Ok(pb::AlarmType::None) | Err(_) => return None,
        };
        Some(seen::Raised { kind, member: MemberId(alarm.member_id) })
    });
    Some(seen::Response::Alarm(seen::AlarmResponse { alarms: alarms.collect::<Option<Vec<_>>>()? }))
}

pub(super) fn downgrade(version: String) -> seen::Response {
    seen::Response::Downgrade(seen::DowngradeResponse { version })
}

/// One response of a watch, as it came at `at`.
pub fn watched(at: Nanos, answer: pb::WatchResponse) -> Option<seen::WatchReceived> {
    Some(seen::WatchReceived {
        at,
        header: header(answer.header)?,
        watch_id: answer.watch_id,
        created: answer.created,
        canceled: answer.canceled,
        compact_revision: Revision(answer.compact_revision),
        cancel_reason: answer.cancel_reason,
        fragment: answer.fragment,
        events: answer.events.into_iter().map(event).collect::<Option<Vec<_>>>()?,
    })
}

fn event(event: mvccpb::Event) -> Option<seen::Event> {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => seen::EventKind::Put,
        mvccpb::event::EventType::Delete => seen::EventKind::Delete,
    };
    Some(seen::Event { kind, kv: pair(event.kv?), prev_kv: event.prev_kv.map(pair) })
}
