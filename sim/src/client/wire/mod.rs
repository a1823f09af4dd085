//! Members called through their services, over the network, as any client of the API calls them.
//!
//! Calls come from the host of the task that makes them, so a session runs on its client's host. A call that times
//! out is dropped, as a client's cancellation is; it may still be carried out.

mod answer;
mod ask;

use std::time::Duration;

use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::v3electionpb::election_client::ElectionClient;
use quorate::pb::v3electionpb::{
    CampaignRequest, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use quorate::pb::v3lockpb::lock_client::LockClient;
use quorate::pb::v3lockpb::{LockRequest, UnlockRequest};
use quorate::service::status::ApiError;
use quorate_check::bytes::Bytes;
use quorate_check::error_table::Code;
use quorate_check::history::{Header, KeyValue, Range, Request, Response};
use quorate_check::types::{MemberId, OpId, Revision};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{IntoRequest, Status};

use super::api::{Answering, Api, Lead, Office, Reply, Sights, Turn, TurnAsk};
use super::image::Receiving;
use crate::plan::MemberIndex;
use crate::world::network::{CALL_NAME, REFUSED};
use crate::world::{World, product};

pub use answer::watched;
pub use ask::watch;

/// Calls members over the network.
#[derive(Clone)]
pub struct Wire {
    world: World,
}

impl Wire {
    /// A way to call the members of this world.
    pub fn new(world: World) -> Wire {
        Wire { world }
    }
}

/// A channel to a member; nothing is connected yet.
///
/// # Errors
/// When its address is none, which is the harness's fault.
pub fn channel(member: MemberIndex) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(product::client_url(member));
    endpoint.map(|endpoint| endpoint.connect_lazy()).map_err(|error| Status::internal(error.to_string()))
}

impl Api for Wire {
    fn call(&self, member: MemberIndex, id: OpId, attempt: u64, request: Request) -> Answering<Reply> {
        Box::pin(async move {
            let call = Call { member, name: format!("{}.{attempt}", id.0) };
            reply(call.make(&request).await)
        })
    }

    fn stream(
        &self,
        member: MemberIndex,
        id: OpId,
        attempt: u64,
        range: Range,
        pause: Duration,
    ) -> Answering<Reply> {
        Box::pin(async move {
            let call = Call { member, name: format!("{}.{attempt}", id.0) };
            reply(call.stream(&range, pause).await)
        })
    }

    fn turn(&self, member: MemberIndex, id: OpId, ask: TurnAsk) -> Answering<Result<Turn, Reply>> {
        Box::pin(async move {
            let call = Call::first(member, id);
            match call.turn(ask).await {
                Ok(Some(turn)) => Ok(turn),
                Ok(None) => Err(Reply::Unknown("an answer that says too little".to_owned())),
                Err(status) => Err(failed(&status)),
            }
        })
    }

    fn proclaim(
        &self,
        member: MemberIndex,
        id: OpId,
        office: Office,
        value: Bytes,
    ) -> Answering<Result<Header, Reply>> {
        Box::pin(async move {
            let call = Call::first(member, id);
            header_of(call.proclaim(&office, &value).await)
        })
    }

    fn resign(&self, member: MemberIndex, id: OpId, office: Office) -> Answering<Result<Header, Reply>> {
        Box::pin(async move { header_of(Call::first(member, id).resign(&office).await) })
    }

    fn unlock(&self, member: MemberIndex, id: OpId, key: Bytes) -> Answering<Result<Header, Reply>> {
        Box::pin(async move { header_of(Call::first(member, id).unlock(&key).await) })
    }

    fn leader(&self, member: MemberIndex, id: OpId, line: String) -> Answering<Lead> {
        Box::pin(async move { Call::first(member, id).leader(line).await })
    }

    fn observe(&self, member: MemberIndex, id: OpId, line: String, tell: Sights) -> Answering<()> {
        let time = self.world.time().clone();
        Box::pin(async move {
            let ask = Call::first(member, id).named(LeaderRequest { name: line.into() });
            let Ok(channel) = channel(member) else { return };
            let Ok(leaders) = ElectionClient::new(channel).observe(ask).await else { return };
            let mut leaders = leaders.into_inner();
            while let Ok(Some(told)) = leaders.message().await {
                let Some((header, pair)) = led(told) else { return };
                if tell.send((time.now(), header, pair)).is_err() {
                    return;
                }
            }
        })
    }

    fn disarm(&self, member: MemberIndex, id: OpId) -> Answering<()> {
        Box::pin(async move {
            // A name that is none of an operation.
            let call = Call { member, name: format!("{} disarm", id.0) };
            let Ok(channel) = channel(member) else { return };
            let ask = pb::AlarmRequest {
                action: pb::alarm_request::AlarmAction::Deactivate.into(),
                alarm: pb::AlarmType::Nospace.into(),
                ..pb::AlarmRequest::default()
            };
            // What is refused now is asked again with the next of these operations.
            drop(MaintenanceClient::new(channel).alarm(call.named(ask)).await);
        })
    }

    fn image(&self, member: MemberIndex, id: OpId) -> Answering<Option<Vec<u8>>> {
        Box::pin(async move {
            let ask = Call::first(member, id).named(pb::SnapshotRequest {});
            let answer = MaintenanceClient::new(channel(member).ok()?).snapshot(ask).await.ok()?;
            let (mut pieces, mut received) = (answer.into_inner(), Receiving::default());
            while let Some(piece) = pieces.message().await.ok()? {
                received.take(&piece.blob, piece.remaining_bytes);
            }
            received.whole()
        })
    }

    fn defragment(&self, member: MemberIndex, id: OpId) -> Answering<()> {
        Box::pin(async move {
            let call = Call { member, name: format!("{} defragment", id.0) };
            let Ok(channel) = channel(member) else { return };
            // What it fails for leaves the member as it was.
            drop(MaintenanceClient::new(channel).defragment(call.named(pb::DefragmentRequest {})).await);
        })
    }

    fn members(&self) -> u8 {
        u8::try_from(self.world.plan().members.len()).unwrap_or(u8::MAX)
    }

    fn member_id(&self, member: MemberIndex) -> MemberId {
        self.world.member_id(member)
    }
}

/// What came of a call that is answered with a header and nothing else.
fn header_of(answer: Result<Option<Header>, Status>) -> Result<Header, Reply> {
    match answer {
        Ok(Some(header)) => Ok(header),
        Ok(None) => Err(Reply::Unknown("an answer that says too little".to_owned())),
        Err(status) => Err(failed(&status)),
    }
}

/// Who leads, and as of when.
fn led(answer: LeaderResponse) -> Option<(Header, KeyValue)> {
    answer::header(answer.header).zip(answer.kv.map(answer::pair))
}

/// What came of a call.
fn reply(answer: Answer) -> Reply {
    match answer {
        Ok(Some((header, response))) => Reply::Answered(header, response),
        Ok(None) => Reply::Unknown("an answer that says too little".to_owned()),
        Err(status) => failed(&status),
    }
}

/// What an error says of its call. Only a refused connection proves that nothing was sent.
fn failed(status: &Status) -> Reply {
    if status.code() == tonic::Code::Unavailable && status.message().contains(REFUSED) {
        return Reply::NotSent;
    }
    Reply::Refused(Code::of_number(status.code().into()), status.message().to_owned())
}

type Answer = Result<Option<(Header, Response)>, Status>;

/// A header and what it belongs to, or nothing when there is none.
fn with_header(header: Option<pb::ResponseHeader>, response: Response) -> Option<(Header, Response)> {
    answer::header(header).map(|header| (header, response))
}

/// A call to be made.
struct Call {
    member: MemberIndex,
    name: String,
}

impl Call {
    /// The only attempt of an operation.
    fn first(member: MemberIndex, id: OpId) -> Call {
        Call { member, name: format!("{}.0", id.0) }
    }

    /// The request under the call's name.
    fn named<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = message.into_request();
        if let Ok(name) = MetadataValue::try_from(&self.name) {
            request.metadata_mut().insert(CALL_NAME, name);
        }
        request
    }

    async fn make(&self, request: &Request) -> Answer {
        match request {
            Request::Put(_)
            | Request::Range(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_) => self.keys(request).await,
            Request::Status | Request::HashKv(_) | Request::Alarm(_) | Request::Downgrade(_) => {
                self.maintenance(request).await
            }
            _ => self.lease(request).await,
        }
    }

    /// The request under the call's name, with the time that the member has for it.
    fn named_within<M>(&self, message: M, timeout: Duration) -> tonic::Request<M> {
        let mut request = self.named(message);
        if let Ok(timeout) = MetadataValue::try_from(format!("{}m", timeout.as_millis())) {
            request.metadata_mut().insert("grpc-timeout", timeout);
        }
        request
    }

    /// Waits for a turn.
    async fn turn(&self, ask: TurnAsk) -> Result<Option<Turn>, Status> {
        let TurnAsk { line, lease, proclaims, timeout } = ask;
        let (name, lease) = (bytes::Bytes::from(line), lease.0);
        let Some(value) = proclaims else {
            let ask = self.named_within(LockRequest { name, lease }, timeout);
            let answer = LockClient::new(channel(self.member)?).lock(ask).await?.into_inner();
            let header = answer::header(answer.header);
            return Ok(header.map(|header| Turn {
                header,
                key: Bytes::from(answer.key.as_ref()),
                created: None,
            }));
        };
        let ask = CampaignRequest { name, lease, value: ask::bytes(&value) };
        let mut client = ElectionClient::new(channel(self.member)?);
        let answer = client.campaign(self.named_within(ask, timeout)).await?.into_inner();
        let told = answer::header(answer.header).zip(answer.leader);
        Ok(told.map(|(header, leader)| Turn {
            header,
            key: Bytes::from(leader.key.as_ref()),
            created: Some(Revision(leader.rev)),
        }))
    }

    async fn resign(&self, office: &Office) -> Result<Option<Header>, Status> {
        let ask = ResignRequest { leader: Some(ask::leader_key(office)) };
        let mut client = ElectionClient::new(channel(self.member)?);
        Ok(answer::header(client.resign(self.named(ask)).await?.into_inner().header))
    }

    async fn unlock(&self, key: &Bytes) -> Result<Option<Header>, Status> {
        let ask = UnlockRequest { key: ask::bytes(key) };
        let mut client = LockClient::new(channel(self.member)?);
        Ok(answer::header(client.unlock(self.named(ask)).await?.into_inner().header))
    }

    async fn leader(&self, line: String) -> Lead {
        let ask = LeaderRequest { name: line.into() };
        let Ok(channel) = channel(self.member) else { return Lead::Unsaid };
        match ElectionClient::new(channel).leader(self.named(ask)).await {
            Ok(answer) => led(answer.into_inner()).map_or(Lead::Unsaid, |(header, kv)| Lead::By(header, kv)),
            Err(status) if status.message() == ApiError::ELECTION_NO_LEADER.text => Lead::Nobody,
            Err(_) => Lead::Unsaid,
        }
    }

    async fn proclaim(&self, office: &Office, value: &Bytes) -> Result<Option<Header>, Status> {
        let ask = ProclaimRequest { leader: Some(ask::leader_key(office)), value: ask::bytes(value) };
        let mut client = ElectionClient::new(channel(self.member)?);
        Ok(answer::header(client.proclaim(self.named(ask)).await?.into_inner().header))
    }

    async fn keys(&self, request: &Request) -> Answer {
        let mut client = KvClient::new(channel(self.member)?);
        Ok(match request {
            Request::Put(ask) => {
                let answer = client.put(self.named(ask::put(ask))).await?.into_inner();
                with_header(answer.header, answer::put(answer))
            }
            Request::Range(ask) => {
                let answer = client.range(self.named(ask::range(ask))).await?.into_inner();
                with_header(answer.header, answer::range(answer))
            }
            Request::DeleteRange(ask) => {
                let answer = client.delete_range(self.named(ask::delete(ask))).await?.into_inner();
                with_header(answer.header, answer::delete(answer))
            }
            Request::Txn(ask) => {
                let answer = client.txn(self.named(ask::txn(ask))).await?.into_inner();
                let header = answer.header;
                answer::txn(answer).and_then(|response| with_header(header, response))
            }
            Request::Compact(ask) => {
                let ask = pb::CompactionRequest { revision: ask.revision.0, physical: ask.physical };
                let answer = client.compact(self.named(ask)).await?.into_inner();
                with_header(answer.header, Response::Compact)
            }
            _ => None,
        })
    }

    /// Puts the pieces of a range together, each taken slowly.
    async fn stream(&self, range: &Range, pause: Duration) -> Answer {
        let mut client = KvClient::new(channel(self.member)?);
        let mut pieces = client.range_stream(self.named(ask::range(range))).await?.into_inner();
        let mut whole = pb::RangeResponse::default();
        while let Some(piece) = pieces.message().await? {
            let Some(piece) = piece.range_response else { return Ok(None) };
            let kvs = std::mem::take(&mut whole.kvs).into_iter().chain(piece.kvs).collect();
            whole = pb::RangeResponse { kvs, ..piece };
            madsim::time::sleep(pause).await;
        }
        Ok(with_header(whole.header, answer::range(whole)))
    }

    async fn lease(&self, request: &Request) -> Answer {
        let mut client = LeaseClient::new(channel(self.member)?);
        Ok(match request {
            Request::LeaseGrant(ask) => {
                let ask = pb::LeaseGrantRequest { ttl: ask.ttl_secs, id: ask.id.0 };
                let answer = client.lease_grant(self.named(ask)).await?.into_inner();
                with_header(answer.header, answer::lease_grant(&answer))
            }
            Request::LeaseRevoke(ask) => {
                let ask = pb::LeaseRevokeRequest { id: ask.id.0 };
                let answer = client.lease_revoke(self.named(ask)).await?.into_inner();
                with_header(answer.header, Response::LeaseRevoke)
            }
            Request::LeaseKeepAlive(ask) => {
                let ask = pb::LeaseKeepAliveRequest { id: ask.id.0 };
                let asks = futures_util::stream::iter([ask]);
                let mut answers = client.lease_keep_alive(self.named(asks)).await?.into_inner();
                let ended = || Status::unknown("the stream ended without an answer");
                let answer = answers.message().await?.ok_or_else(ended)?;
                with_header(answer.header, answer::keep_alive(&answer))
            }
            Request::LeaseTimeToLive(ask) => {
                let ask = pb::LeaseTimeToLiveRequest { id: ask.id.0, keys: ask.keys };
                let answer = client.lease_time_to_live(self.named(ask)).await?.into_inner();
                with_header(answer.header, answer::time_to_live(answer))
            }
            Request::LeaseLeases => {
                let answer = client.lease_leases(self.named(pb::LeaseLeasesRequest {})).await?.into_inner();
                with_header(answer.header, answer::leases(answer))
            }
            _ => None,
        })
    }

    async fn maintenance(&self, request: &Request) -> Answer {
        let mut client = MaintenanceClient::new(channel(self.member)?);
        Ok(match request {
            Request::Status => {
                let answer = client.status(self.named(pb::StatusRequest {})).await?.into_inner();
                let response = answer::status(&answer);
                with_header(answer.header, response)
            }
            Request::HashKv(ask) => {
                let ask = pb::HashKvRequest { revision: ask.revision.0 };
                let answer = client.hash_kv(self.named(ask)).await?.into_inner();
                with_header(answer.header, answer::hash_kv(&answer))
            }
            Request::Alarm(ask) => {
                let answer = client.alarm(self.named(ask::alarm(ask))).await?.into_inner();
                let (header, response) = (answer.header, answer::alarms(&answer.alarms));
                response.and_then(|response| with_header(header, response))
            }
            Request::Downgrade(ask) => {
                let answer = client.downgrade(self.named(ask::downgrade(ask))).await?.into_inner();
                with_header(answer.header, answer::downgrade(answer.version))
            }
            _ => None,
        })
    }
}
