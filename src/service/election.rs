//! Elections that the cluster holds.

use std::pin::Pin;
use std::task::Poll;

use futures_util::stream::{Stream, StreamExt, unfold};
use tonic::{Request, Response, Status};

use crate::machine::command::KeyValue;
use crate::member::{Credential, Leaders, Place, Turn, TurnError};
use crate::pb::v3electionpb as pb;
use crate::pb::v3electionpb::election_server::Election;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::ApiError;
use crate::types::{LeaseId, Revision};

/// The service.
pub struct ElectionService {
    calls: Calls,
}

/// The leaders that one observer sees.
type LeaderAnswers = Pin<Box<dyn Stream<Item = Result<pb::LeaderResponse, Status>> + Send>>;

impl ElectionService {
    /// Serves the elections of a member.
    pub fn new(calls: Calls) -> ElectionService {
        ElectionService { calls }
    }

    async fn stand(
        &self,
        who: &Credential,
        request: pb::CampaignRequest,
    ) -> Result<pb::CampaignResponse, Status> {
        let pb::CampaignRequest { name, lease, value } = request;
        let turn = self.calls.member().campaign(who, name.clone(), LeaseId(lease), value).await;
        let Turn { place, revision } = turn.map_err(failed)?;
        let Place { key, created, lease } = place;
        let leader = pb::LeaderKey { name, key, rev: created.0, lease: lease.0 };
        Ok(pb::CampaignResponse { header: Some(self.calls.header(revision)), leader: Some(leader) })
    }

    async fn say(
        &self,
        who: &Credential,
        request: pb::ProclaimRequest,
    ) -> Result<pb::ProclaimResponse, Status> {
        let place = place(request.leader)?;
        let revision = self.calls.member().proclaim(who, &place, request.value).await.map_err(failed)?;
        Ok(pb::ProclaimResponse { header: Some(self.calls.header(revision)) })
    }

    async fn step_down(
        &self,
        who: &Credential,
        request: pb::ResignRequest,
    ) -> Result<pb::ResignResponse, Status> {
        let place = place(request.leader)?;
        let revision = self.calls.member().resign(who, &place).await.map_err(failed)?;
        Ok(pb::ResignResponse { header: Some(self.calls.header(revision)) })
    }

    async fn look(&self, who: &Credential, request: pb::LeaderRequest) -> Result<pb::LeaderResponse, Status> {
        let (revision, kv) = self.calls.member().leader_of(who, request.name).await.map_err(failed)?;
        Ok(seen(&self.calls, revision, kv))
    }
}

fn failed(error: TurnError) -> ApiError {
    ApiError::of_turn(error, ApiError::ELECTION_NOT_LEADER)
}

/// Whose place a request is about.
fn place(leader: Option<pb::LeaderKey>) -> Result<Place, Status> {
    let pb::LeaderKey { key, rev, lease, .. } = leader.ok_or(ApiError::LEADER_NOT_PROVIDED)?;
    if key.is_empty() {
        return Err(ApiError::EMPTY_KEY.into());
    }
    Ok(Place { key, created: Revision(rev), lease: LeaseId(lease) })
}

fn seen(calls: &Calls, revision: Revision, kv: KeyValue) -> pb::LeaderResponse {
    pb::LeaderResponse { header: Some(calls.header(revision)), kv: Some(convert::key_value(kv)) }
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.stand(&who, request)).await.map(Response::new)
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.say(&who, request)).await.map(Response::new)
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.look(&who, request)).await.map(Response::new)
    }

    type ObserveStream = LeaderAnswers;

    async fn observe(&self, request: Request<pb::LeaderRequest>) -> Result<Response<LeaderAnswers>, Status> {
        let leaderless = self.calls.leaderless(request.metadata())?;
        let who = self.calls.who_asks(&request);
        let leaders = self.calls.member().leaders_of(&who, request.into_inner().name);
        let observed = Observed { calls: self.calls.clone(), leaders, leaderless: Box::pin(leaderless) };
        let answers = unfold(Some(observed), |observed| async move {
            let mut observed = observed?;
            let answer = observed.next().await;
            let observed = answer.is_ok().then_some(observed);
            Some((answer, observed))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.step_down(&who, request)).await.map(Response::new)
    }
}

/// What an observer's stream is made of.
struct Observed {
    calls: Calls,
    leaders: Leaders,
    /// Completes when a leader of the cluster is wanted and missing.
    leaderless: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl Observed {
    async fn next(&mut self) -> Result<pb::LeaderResponse, Status> {
        let Observed { calls, leaders, leaderless } = self;
        let mut next = std::pin::pin!(leaders.next());
        let next = std::future::poll_fn(|context| {
            if let Poll::Ready(next) = next.as_mut().poll(context) {
                return Poll::Ready(next.map_err(|error| failed(error).into()));
            }
            leaderless.as_mut().poll(context).map(Err)
        });
        let (revision, kv) = next.await?;
        Ok(seen(calls, revision, kv))
    }
}
