//! Leases: granted, revoked, kept alive, asked about.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::stream::{Stream, StreamExt, unfold};
use tonic::{Request, Response, Status, Streaming};

use crate::machine::command::Reply;
use crate::member::Credential;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::lease_server::Lease;
use crate::service::call::Calls;
use crate::service::kv::unexpected;
use crate::service::status::ApiError;
use crate::types::{LeaseId, TtlSecs};

/// What a lease that is gone has left, in seconds, as the API spells it.
const GONE_TTL_SECS: i64 = -1;

/// The service.
pub struct LeaseService {
    calls: Calls,
}

/// The answers of one keep-alive stream.
type KeepAlives = Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

impl LeaseService {
    /// Serves the leases of a member.
    pub fn new(calls: Calls) -> LeaseService {
        LeaseService { calls }
    }

    async fn grant(
        &self,
        who: &Credential,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        let member = self.calls.member();
        let answer = member.lease_grant(who, LeaseId(request.id), TtlSecs(request.ttl)).await;
        let answer = answer.map_err(ApiError::from)?;
        match answer.result.map_err(ApiError::from)? {
            Reply::LeaseGrant { id, ttl } => Ok(pb::LeaseGrantResponse {
                header: Some(self.calls.header(answer.revision)),
                id: id.0,
                ttl: ttl.0,
                error: String::new(),
            }),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn revoke(
        &self,
        who: &Credential,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Status> {
        let answer = self.calls.member().lease_revoke(who, LeaseId(request.id)).await;
        let answer = answer.map_err(ApiError::from)?;
        answer.result.map_err(ApiError::from)?;
        Ok(pb::LeaseRevokeResponse { header: Some(self.calls.header(answer.revision)) })
    }

    async fn time_to_live(
        &self,
        who: &Credential,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        let member = self.calls.member();
        let life = member.lease_time_to_live(who, LeaseId(request.id), request.keys).await;
        let life = life.map_err(ApiError::from)?.map_err(ApiError::from)?;
        let header = Some(self.calls.header_now());
        Ok(match life {
            Some(life) => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: life.remaining.0,
                granted_ttl: life.granted.0,
                keys: life.keys,
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: GONE_TTL_SECS,
                ..pb::LeaseTimeToLiveResponse::default()
            },
        })
    }

    async fn list(&self, who: &Credential) -> Result<pb::LeaseLeasesResponse, Status> {
        let leases = self.calls.member().leases(who).await.map_err(ApiError::from)?;
        let leases = leases.map_err(ApiError::from)?;
        Ok(pb::LeaseLeasesResponse {
            header: Some(self.calls.header_now()),
            leases: leases.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect(),
        })
    }
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.grant(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.revoke(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<KeepAlives>, Status> {
        let leaderless = self.calls.leaderless(request.metadata())?;
        let (calls, who) = (self.calls.clone(), Arc::new(self.calls.who_asks(&request)));
        let renewals = request.into_inner().map(move |request| {
            let (calls, who) = (calls.clone(), who.clone());
            async move { renew(&calls, &who, request?.id).await }
        });
        // Many leases share a stream: their quorum rounds run side by side, the answers keep the order.
        let renewals = renewals.buffered(RENEWALS_IN_FLIGHT_MAX).boxed();
        Ok(Response::new(until_failed(renewals, Box::pin(leaderless))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.time_to_live(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let who = self.calls.who_asks(&request);
        self.calls.unary(request.metadata(), self.list(&who)).await.map(Response::new)
    }
}

/// Keep-alives of one stream that wait for the quorum at once.
const RENEWALS_IN_FLIGHT_MAX: usize = 64;

/// The answers up to the first error, which may be that there is no leader.
fn until_failed(answers: KeepAlives, leaderless: Pin<Box<dyn Future<Output = Status> + Send>>) -> KeepAlives {
    let stream = unfold(Some((answers, leaderless)), |halves| async move {
        let (mut answers, mut leaderless) = halves?;
        let next = std::future::poll_fn(|context| {
            if let Poll::Ready(answer) = answers.as_mut().poll_next(context) {
                return Poll::Ready(answer);
            }
            leaderless.as_mut().poll(context).map(|status| Some(Err(status)))
        })
        .await?;
        let halves = next.is_ok().then_some((answers, leaderless));
        Some((next, halves))
    });
    stream.boxed()
}

async fn renew(calls: &Calls, who: &Credential, id: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
    let ttl = calls.member().lease_keep_alive(who, LeaseId(id)).await.map_err(ApiError::from)?;
    let ttl = ttl.map_err(ApiError::from)?;
    Ok(pb::LeaseKeepAliveResponse { header: Some(calls.header_now()), id, ttl: ttl.0 })
}
