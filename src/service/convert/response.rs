//! Answers, from the machine to the wire.

use crate::machine::command::{AlarmKind, KeyValue, Member as MemberInfo, RangeReply, Reply, TxnReply};
use crate::machine::effects::Event;
use crate::machine::watch::{Body, Response, WatchEvent};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::response_op::Response as Op;
use crate::pb::mvccpb;
use crate::types::{MemberId, Revision};

/// A key-value.
pub fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

/// A range.
pub fn range_response(header: pb::ResponseHeader, reply: RangeReply) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: reply.kvs.into_iter().map(key_value).collect(),
        more: reply.more,
        count: reply.count,
    }
}

/// A transaction.
pub fn reply_of_txn(header: pb::ResponseHeader, reply: TxnReply) -> pb::TxnResponse {
    pb::TxnResponse {
        header: Some(header),
        succeeded: reply.succeeded,
        responses: reply.replies.into_iter().map(|(revision, reply)| op(revision, reply)).collect(),
    }
}

/// The answer to one operation; its header carries the revision alone.
fn op(revision: Revision, reply: Reply) -> pb::ResponseOp {
    let header = pb::ResponseHeader { revision: revision.0, ..pb::ResponseHeader::default() };
    let response = match reply {
        Reply::Range(reply) => Some(Op::ResponseRange(range_response(header, reply))),
        Reply::Put { prev_kv } => {
            let prev_kv = prev_kv.map(key_value);
            Some(Op::ResponsePut(pb::PutResponse { header: Some(header), prev_kv }))
        }
        Reply::DeleteRange { deleted, prev_kvs } => {
            let prev_kvs = prev_kvs.into_iter().map(key_value).collect();
            Some(Op::ResponseDeleteRange(pb::DeleteRangeResponse { header: Some(header), deleted, prev_kvs }))
        }
        Reply::Txn(reply) => Some(Op::ResponseTxn(reply_of_txn(header, reply))),
        // No operation of a transaction answers these.
        Reply::LeaseGrant { .. }
        | Reply::LeaseRevoke { .. }
        | Reply::Members(_)
        | Reply::Token(_)
        | Reply::Done => None,
    };
    pb::ResponseOp { response }
}

/// One event of a watch.
fn event(event: &WatchEvent) -> mvccpb::Event {
    use mvccpb::event::EventType;
    let prev_kv = event.prev_kv.clone().map(key_value);
    let (kind, kv) = match &event.event {
        Event::Put(kv) => (EventType::Put, key_value(kv.clone())),
        Event::Delete { key, mod_revision } => {
            let kv = mvccpb::KeyValue {
                key: key.clone(),
                mod_revision: mod_revision.0,
                ..mvccpb::KeyValue::default()
            };
            (EventType::Delete, kv)
        }
    };
    mvccpb::Event { r#type: kind.into(), kv: Some(kv), prev_kv }
}

/// One response of a watch stream.
pub fn watch_response(header: pb::ResponseHeader, response: Response) -> pb::WatchResponse {
    let mut answer = pb::WatchResponse {
        header: Some(header),
        watch_id: response.watch_id.0,
        ..pb::WatchResponse::default()
    };
    match response.body {
        Body::Created => answer.created = true,
        Body::Refused(refusal) => {
            answer.created = true;
            answer.canceled = true;
            answer.cancel_reason = refusal.to_string();
        }
        Body::Canceled => answer.canceled = true,
        Body::Compacted(revision) => {
            answer.canceled = true;
            answer.compact_revision = revision.0;
        }
        Body::Progress => {}
        Body::Events { set, more, .. } => {
            answer.events = set.events().iter().map(event).collect();
            answer.fragment = more;
        }
    }
    answer
}

/// A member of the cluster.
pub fn member(member: MemberInfo) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    }
}

/// An alarm and who raised it.
pub fn alarm_member(kind: AlarmKind, member: MemberId) -> pb::AlarmMember {
    let alarm = match kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember { member_id: member.0, alarm: alarm.into() }
}

/// The alarm that a request names; `None` for none or an unknown one.
pub fn alarm_kind(alarm: i32) -> Option<AlarmKind> {
    match pb::AlarmType::try_from(alarm) {
        Ok(pb::AlarmType::Nospace) => Some(AlarmKind::NoSpace),
        Ok(pb::AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
        Ok(pb::AlarmType::None) | Err(_) => None,
    }
}
