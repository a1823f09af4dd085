//! Locks that the cluster keeps.

use tonic::{Request, Response, Status};

use crate::member::{Credential, Turn, TurnError};
use crate::pb::v3lockpb as pb;
use crate::pb::v3lockpb::lock_server::Lock;
use crate::service::call::Calls;
use crate::service::status::ApiError;
use crate::types::LeaseId;

/// The service.
pub struct LockService {
    calls: Calls,
}

impl LockService {
    /// Serves the locks of a member.
    pub fn new(calls: Calls) -> LockService {
        LockService { calls }
    }

    async fn hold(&self, who: &Credential, request: pb::LockRequest) -> Result<pb::LockResponse, Status> {
        let turn = self.calls.member().lock(who, request.name, LeaseId(request.lease)).await;
        let Turn { place, revision } = turn.map_err(failed)?;
        Ok(pb::LockResponse { header: Some(self.calls.header(revision)), key: place.key })
    }

    async fn give_back(
        &self,
        who: &Credential,
        request: pb::UnlockRequest,
    ) -> Result<pb::UnlockResponse, Status> {
        if request.key.is_empty() {
            return Err(ApiError::EMPTY_KEY.into());
        }
        let revision = self.calls.member().unlock(who, request.key).await.map_err(failed)?;
        Ok(pb::UnlockResponse { header: Some(self.calls.header(revision)) })
    }
}

fn failed(error: TurnError) -> ApiError {
    ApiError::of_turn(error, ApiError::SESSION_EXPIRED)
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.hold(&who, request)).await.map(Response::new)
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        self.calls.unary(&metadata, self.give_back(&who, request)).await.map(Response::new)
    }
}
