//! The cluster's members. Changing them is not offered yet.

use tonic::{Request, Response, Status};

use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::cluster_server::Cluster;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::{ApiError, unimplemented};

/// The service.
pub struct ClusterService {
    calls: Calls,
}

impl ClusterService {
    /// Serves the member list that a member knows.
    pub fn new(calls: Calls) -> ClusterService {
        ClusterService { calls }
    }

    async fn list(&self, request: pb::MemberListRequest) -> Result<pb::MemberListResponse, Status> {
        let members = self.calls.member().members(request.linearizable).await.map_err(ApiError::from)?;
        Ok(pb::MemberListResponse {
            header: Some(self.calls.header_now()),
            members: members.into_iter().map(convert::member).collect(),
        })
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.calls.unary(&metadata, self.list(request)).await.map(Response::new)
    }

    async fn member_add(
        &self,
        _: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        unimplemented("MemberAdd")
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        unimplemented("MemberRemove")
    }

    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        unimplemented("MemberUpdate")
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        unimplemented("MemberPromote")
    }
}
