//! One client's connection to one member, in a history's own terms.
//!
//! A member that cannot be reached was not asked; everything else that is no answer either is a refusal in the table
//! of `quorate_check` or leaves the request's fate open. A connection is given up with the first error of the
//! transport, so that no later request is sent into it.

use std::time::Duration;

use quorate_check::error_table::{self, Code, Dialect, Fate};
use quorate_check::history::{Header, Outcome, Request, Response};
use quorate_check::types::{MemberId, Revision, Term};
use tokio_stream::StreamExt as _;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::kv_client::KvClient;
use crate::pb::etcdserverpb::lease_client::LeaseClient;
use crate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::pb::etcdserverpb::watch_client::WatchClient;

/// How long a connection may take on loopback, where a dead member refuses at once.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// How long a member may take to say how it stands.
const STANDING_WITHIN: Duration = Duration::from_secs(2);

/// How a member says that it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Itself.
    pub member: MemberId,
    /// Whom it follows; 0 is nobody.
    pub leader: MemberId,
    /// Its store's revision.
    pub revision: Revision,
    /// Its term.
    pub term: Term,
    /// The log index it has applied.
    pub applied: u64,
}

/// Asks a member how it stands; `None` when it does not answer.
pub async fn standing(endpoint: &str) -> Option<Standing> {
    let ask = async {
        let channel = connect(endpoint).await?;
        let answer = MaintenanceClient::new(channel).status(pb::StatusRequest {}).await.ok()?.into_inner();
        let header = convert::header(answer.header.as_ref());
        Some(Standing {
            member: header.member_id,
            leader: MemberId(answer.leader),
            revision: header.revision,
            term: header.raft_term,
            applied: answer.raft_applied_index,
        })
    };
    tokio::time::timeout(STANDING_WITHIN, ask).await.ok()?
}

/// A new connection; `None` when nobody is there.
pub async fn connect(endpoint: &str) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{endpoint}")).expect("host and port");
    let endpoint = endpoint.connect_timeout(CONNECT_WITHIN);
    tokio::time::timeout(CONNECT_WITHIN, endpoint.connect()).await.ok()?.ok()
}

/// The watch service behind a connection.
pub(crate) fn watch_client(channel: Channel) -> WatchClient<Channel> {
    WatchClient::new(channel).max_decoding_message_size(usize::MAX)
}

/// A connection to one member, made when it is needed.
#[derive(Debug)]
pub struct Connection {
    endpoint: String,
    channel: Option<Channel>,
}

impl Connection {
    /// A connection to the member at this host and port.
    pub fn new(endpoint: String) -> Connection {
        Connection { endpoint, channel: None }
    }

    /// Makes sure that there is a connection; false when nobody is there.
    pub async fn reach(&mut self) -> bool {
        if self.channel.is_none() {
            self.channel = connect(&self.endpoint).await;
        }
        self.channel.is_some()
    }

    /// Asks once, over a connection that [`Connection::reach`] made.
    pub async fn call(&mut self, request: &Request, timeout: Duration) -> Outcome {
        let channel = self.channel.clone().expect("a request needs a connection");
        match tokio::time::timeout(timeout, send(channel, request)).await {
            Ok(Ok((header, response))) => Outcome::Ok { header, response },
            Ok(Err(status)) => self.failed(&status),
            Err(_) => Outcome::Unknown { reason: "no answer in time".to_owned() },
        }
    }

    fn failed(&mut self, status: &Status) -> Outcome {
        let (code, message) = (Code::of_number(status.code().into()), status.message().to_owned());
        match error_table::fate(Dialect::Quorate, code, &message) {
            Fate::NotApplied => Outcome::Failed { code, message },
            Fate::Unknown => {
                if matches!(code, Code::Unavailable | Code::Unknown | Code::Internal | Code::Canceled) {
                    self.channel = None;
                }
                Outcome::Unknown { reason: format!("{code:?}: {message}") }
            }
        }
    }
}

async fn send(channel: Channel, request: &Request) -> Result<(Header, Response), Status> {
    let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    Ok(match request {
        Request::Put(ask) => {
            let answer = kv.put(convert::put(ask)).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::put_response(answer))
        }
        Request::Range(ask) => {
            let answer = kv.range(convert::range(ask)).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::range_response(answer))
        }
        Request::DeleteRange(ask) => {
            let answer = kv.delete_range(convert::delete(ask)).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::delete_response(answer))
        }
        Request::Txn(ask) => {
            let answer = kv.txn(convert::txn(ask)).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::txn_response(answer))
        }
        Request::Compact(ask) => {
            let ask = pb::CompactionRequest { revision: ask.revision.0, physical: ask.physical };
            let answer = kv.compact(ask).await?.into_inner();
            (convert::header(answer.header.as_ref()), Response::Compact)
        }
        Request::HashKv(ask) => {
            let ask = pb::HashKvRequest { revision: ask.revision.0 };
            let answer = MaintenanceClient::new(channel).hash_kv(ask).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::hash_response(&answer, ask.revision))
        }
        Request::Alarm(_) | Request::Downgrade(_) => {
            return Err(Status::unimplemented("an operator's call, and no client here is one"));
        }
        Request::Status => {
            let answer = MaintenanceClient::new(channel).status(pb::StatusRequest {}).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::status_response(&answer))
        }
        Request::LeaseGrant(ask) => {
            let ask = pb::LeaseGrantRequest { id: ask.id.0, ttl: ask.ttl_secs };
            let answer = LeaseClient::new(channel).lease_grant(ask).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::grant_response(&answer))
        }
        Request::LeaseRevoke(ask) => {
            let ask = pb::LeaseRevokeRequest { id: ask.id.0 };
            let answer = LeaseClient::new(channel).lease_revoke(ask).await?.into_inner();
            (convert::header(answer.header.as_ref()), Response::LeaseRevoke)
        }
        Request::LeaseKeepAlive(ask) => {
            // The stream of requests stays open until the one answer is there.
            let asks = tokio_stream::once(pb::LeaseKeepAliveRequest { id: ask.id.0 });
            let asks = asks.chain(tokio_stream::pending());
            let mut answers = LeaseClient::new(channel).lease_keep_alive(asks).await?.into_inner();
            let none = || Status::unavailable("the stream ended without an answer");
            let answer = answers.next().await.ok_or_else(none)??;
            (convert::header(answer.header.as_ref()), convert::keep_alive_response(&answer))
        }
        Request::LeaseTimeToLive(ask) => {
            let ask = pb::LeaseTimeToLiveRequest { id: ask.id.0, keys: ask.keys };
            let answer = LeaseClient::new(channel).lease_time_to_live(ask).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::time_to_live_response(answer))
        }
        Request::LeaseLeases => {
            let answer =
                LeaseClient::new(channel).lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
            (convert::header(answer.header.as_ref()), convert::leases_response(&answer))
        }
    })
}
