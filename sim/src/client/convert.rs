//! The history's requests and answers in the product's own types, and back.
//!
//! Only for members that are called as objects; clients on the wire go through the wire's types.

use quorate::machine::command as product;
use quorate::service::status::ApiError;
use quorate::types::{KeyRange, LeaseId, Revision, TtlSecs};
use quorate_check::bytes::Bytes;
use quorate_check::error_table::Code;
use quorate_check::history as seen;
use quorate_check::types as numbers;

/// What a member is asked to do.
#[derive(Clone, Debug)]
pub enum Call {
    /// Something for the log.
    Propose(product::Command),
    /// A read.
    Range {
        /// What is read.
        range: product::Range,
        /// Whether the member may answer from what it has.
        serializable: bool,
    },
    /// A renewal of a lease.
    KeepAlive(LeaseId),
    /// What a lease has left.
    TimeToLive {
        /// Which.
        id: LeaseId,
        /// Whether its keys are wanted.
        keys: bool,
    },
    /// Every lease.
    Leases,
    /// Nothing that a member offers as an object.
    Unsupported,
}

/// The product's form of a request.
pub fn call(request: &seen::Request) -> Call {
    match request {
        seen::Request::Put(ask) => Call::Propose(product::Command::Put(put(ask))),
        seen::Request::Range(ask) => Call::Range { range: range(ask), serializable: ask.serializable },
        seen::Request::DeleteRange(ask) => Call::Propose(product::Command::DeleteRange(delete(ask))),
        seen::Request::Txn(ask) => Call::Propose(product::Command::Txn(txn(ask))),
        seen::Request::Compact(ask) => {
            Call::Propose(product::Command::Compact(product::Compact { revision: Revision(ask.revision.0) }))
        }
        seen::Request::LeaseGrant(ask) => {
            Call::Propose(product::Command::LeaseGrant { id: LeaseId(ask.id.0), ttl: TtlSecs(ask.ttl_secs) })
        }
        seen::Request::LeaseRevoke(ask) => {
            Call::Propose(product::Command::LeaseRevoke { id: LeaseId(ask.id.0) })
        }
        seen::Request::LeaseKeepAlive(ask) => Call::KeepAlive(LeaseId(ask.id.0)),
        seen::Request::LeaseTimeToLive(ask) => Call::TimeToLive { id: LeaseId(ask.id.0), keys: ask.keys },
        seen::Request::LeaseLeases => Call::Leases,
        seen::Request::Status
        | seen::Request::HashKv(_)
        | seen::Request::Alarm(_)
        | seen::Request::Downgrade(_) => Call::Unsupported,
    }
}

fn wire(bytes: &Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes.as_slice())
}

fn keys(key: &Bytes, range_end: &Bytes) -> KeyRange {
    KeyRange::from_wire(wire(key), wire(range_end))
}

fn put(ask: &seen::Put) -> product::Put {
    product::Put {
        key: wire(&ask.key),
        value: wire(&ask.value),
        lease: LeaseId(ask.lease.0),
        prev_kv: ask.prev_kv,
        ignore_value: ask.ignore_value,
        ignore_lease: ask.ignore_lease,
    }
}

fn delete(ask: &seen::DeleteRange) -> product::DeleteRange {
    product::DeleteRange { range: keys(&ask.key, &ask.range_end), prev_kv: ask.prev_kv }
}

/// The product's form of a read.
pub fn range(ask: &seen::Range) -> product::Range {
    product::Range {
        range: keys(&ask.key, &ask.range_end),
        limit: ask.limit,
        revision: Revision(ask.revision.0),
        sort_order: match ask.sort_order {
            seen::SortOrder::None => product::SortOrder::None,
            seen::SortOrder::Ascend => product::SortOrder::Ascend,
            seen::SortOrder::Descend => product::SortOrder::Descend,
        },
        sort_target: match ask.sort_target {
            seen::SortTarget::Key => product::SortTarget::Key,
            seen::SortTarget::Version => product::SortTarget::Version,
            seen::SortTarget::Create => product::SortTarget::Create,
            seen::SortTarget::Mod => product::SortTarget::Mod,
            seen::SortTarget::Value => product::SortTarget::Value,
        },
        keys_only: ask.keys_only,
        count_only: ask.count_only,
        min_mod_revision: Revision(ask.min_mod_revision.0),
        max_mod_revision: Revision(ask.max_mod_revision.0),
        min_create_revision: Revision(ask.min_create_revision.0),
        max_create_revision: Revision(ask.max_create_revision.0),
    }
}

fn txn(ask: &seen::Txn) -> product::Txn {
    product::Txn {
        compares: ask.compare.iter().map(compare).collect(),
        success: ask.success.iter().map(txn_op).collect(),
        failure: ask.failure.iter().map(txn_op).collect(),
    }
}

fn txn_op(ask: &seen::TxnOp) -> product::TxnOp {
    match ask {
        seen::TxnOp::Put(ask) => product::TxnOp::Put(put(ask)),
        seen::TxnOp::Range(ask) => product::TxnOp::Range(range(ask)),
        seen::TxnOp::DeleteRange(ask) => product::TxnOp::DeleteRange(delete(ask)),
        seen::TxnOp::Txn(ask) => product::TxnOp::Txn(txn(ask)),
    }
}

fn compare(ask: &seen::Compare) -> product::Compare {
    product::Compare {
        range: keys(&ask.key, &ask.range_end),
        result: match ask.result {
            seen::CompareResult::Equal => product::CompareResult::Equal,
            seen::CompareResult::Greater => product::CompareResult::Greater,
            seen::CompareResult::Less => product::CompareResult::Less,
            seen::CompareResult::NotEqual => product::CompareResult::NotEqual,
        },
        target: match &ask.target {
            seen::CompareTarget::Version(version) => product::CompareTarget::Version(*version),
            seen::CompareTarget::Create(revision) => product::CompareTarget::Create(Revision(revision.0)),
            seen::CompareTarget::Mod(revision) => product::CompareTarget::Mod(Revision(revision.0)),
            seen::CompareTarget::Value(value) => product::CompareTarget::Value(wire(value)),
            seen::CompareTarget::Lease(lease) => product::CompareTarget::Lease(LeaseId(lease.0)),
        },
    }
}

/// The history's form of a reply; `None` when the reply is not of the request's kind.
pub fn response(request: &seen::Request, reply: product::Reply) -> Option<seen::Response> {
    let response = match (request, reply) {
        (seen::Request::Compact(_), product::Reply::Done) => seen::Response::Compact,
        (seen::Request::LeaseGrant(_), product::Reply::LeaseGrant { id, ttl }) => {
            let answer = seen::LeaseGrantResponse { id: numbers::LeaseId(id.0), ttl_secs: ttl.0 };
            seen::Response::LeaseGrant(answer)
        }
        (seen::Request::LeaseRevoke(_), product::Reply::LeaseRevoke { .. }) => seen::Response::LeaseRevoke,
        (seen::Request::Put(_), reply @ product::Reply::Put { .. })
        | (seen::Request::DeleteRange(_), reply @ product::Reply::DeleteRange { .. })
        | (seen::Request::Txn(_), reply @ product::Reply::Txn(_)) => inner(reply)?,
        _ => return None,
    };
    Some(response)
}

/// A reply that also occurs inside transactions.
fn inner(reply: product::Reply) -> Option<seen::Response> {
    Some(match reply {
        product::Reply::Put { prev_kv } => {
            seen::Response::Put(seen::PutResponse { prev_kv: prev_kv.map(pair) })
        }
        product::Reply::DeleteRange { deleted, prev_kvs } => {
            let prev_kvs = prev_kvs.into_iter().map(pair).collect();
            seen::Response::DeleteRange(seen::DeleteRangeResponse { deleted, prev_kvs })
        }
        product::Reply::Range(reply) => range_response(reply),
        product::Reply::Txn(reply) => {
            let responses = reply.replies.into_iter().map(|(revision, reply)| {
                Some(seen::InnerResponse {
                    revision: Some(numbers::Revision(revision.0)),
                    response: inner(reply)?,
                })
            });
            let responses = responses.collect::<Option<Vec<_>>>()?;
            seen::Response::Txn(seen::TxnResponse { succeeded: reply.succeeded, responses })
        }
        product::Reply::LeaseGrant { .. }
        | product::Reply::LeaseRevoke { .. }
        | product::Reply::Members(_)
        | product::Reply::Token(_)
        | product::Reply::Done => return None,
    })
}

/// The history's form of what a read found.
pub fn range_response(reply: product::RangeReply) -> seen::Response {
    seen::Response::Range(seen::RangeResponse {
        kvs: reply.kvs.into_iter().map(pair).collect(),
        more: reply.more,
        count: reply.count,
    })
}

pub(super) fn pair(pair: product::KeyValue) -> seen::KeyValue {
    seen::KeyValue {
        key: Bytes::from(pair.key.as_ref()),
        create_revision: numbers::Revision(pair.create_revision.0),
        mod_revision: numbers::Revision(pair.mod_revision.0),
        version: pair.version,
        value: Bytes::from(pair.value.as_ref()),
        lease: numbers::LeaseId(pair.lease.0),
    }
}

/// The history's form of a renewal.
pub fn keep_alive_response(id: LeaseId, ttl: TtlSecs) -> seen::Response {
    seen::Response::LeaseKeepAlive(seen::LeaseKeepAliveResponse {
        id: numbers::LeaseId(id.0),
        ttl_secs: ttl.0,
    })
}

/// The history's form of what a lease has left; -1 s when it is gone.
pub fn time_to_live_response(id: LeaseId, life: Option<quorate::member::LeaseLife>) -> seen::Response {
    let id = numbers::LeaseId(id.0);
    let response = match life {
        None => {
            seen::LeaseTimeToLiveResponse { id, ttl_secs: -1, ..seen::LeaseTimeToLiveResponse::default() }
        }
        Some(life) => seen::LeaseTimeToLiveResponse {
            id,
            ttl_secs: life.remaining.0,
            granted_ttl_secs: life.granted.0,
            keys: life.keys.iter().map(|key| Bytes::from(key.as_ref())).collect(),
        },
    };
    seen::Response::LeaseTimeToLive(response)
}

/// The history's form of a list of leases.
pub fn leases_response(leases: Vec<LeaseId>) -> seen::Response {
    let leases = leases.into_iter().map(|id| numbers::LeaseId(id.0)).collect();
    seen::Response::LeaseLeases(seen::LeaseLeasesResponse { leases })
}

/// A watch's event in the history's terms.
pub fn watch_event(event: &quorate::machine::watch::WatchEvent) -> seen::Event {
    let prev_kv = event.prev_kv.clone().map(pair);
    match &event.event {
        quorate::machine::effects::Event::Put(kv) => {
            seen::Event { kind: seen::EventKind::Put, kv: pair(kv.clone()), prev_kv }
        }
        quorate::machine::effects::Event::Delete { key, mod_revision } => {
            let kv = seen::KeyValue {
                key: Bytes::from(key.as_ref()),
                mod_revision: numbers::Revision(mod_revision.0),
                ..seen::KeyValue::default()
            };
            seen::Event { kind: seen::EventKind::Delete, kv, prev_kv }
        }
    }
}

/// The code and text by which the API's clients know a refusal.
pub fn refusal(error: product::CommandError) -> (Code, String) {
    let known = ApiError::from(error);
    (Code::of_number(i32::from(known.code)), known.text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_check::error_table::{Dialect, Fate, fate};

    #[test]
    fn every_refusal_of_the_machine_is_known_as_not_applied() {
        for error in [
            product::CommandError::KeyNotFound,
            product::CommandError::Compacted(Revision(5)),
            product::CommandError::FutureRevision,
            product::CommandError::LeaseNotFound,
            product::CommandError::LeaseExists,
            product::CommandError::LeaseTtlTooLarge,
            product::CommandError::NoSpace,
            product::CommandError::Corrupt,
            product::CommandError::MemberNotFound,
            product::CommandError::MemberExists,
            product::CommandError::PeerUrlExists,
            product::CommandError::MemberNotLearner,
            product::CommandError::NoVoterLeft,
            product::CommandError::TooManyOps,
            product::CommandError::DuplicateKey,
            product::CommandError::DowngradeInProgress,
            product::CommandError::NoDowngrade,
        ] {
            let (code, text) = refusal(error);
            assert_eq!(fate(Dialect::Quorate, code, &text), Fate::NotApplied, "{text}");
        }
    }

    #[test]
    fn a_reply_of_another_kind_is_not_taken_for_an_answer() {
        let request = seen::Request::Put(seen::Put::default());
        assert_eq!(response(&request, product::Reply::Done), None);
        assert!(response(&request, product::Reply::Put { prev_kv: None }).is_some());
    }
}
