//! The cluster's members: the list, and its changes.

use tonic::{Request, Response, Status};

use crate::machine::command::Member;
use crate::member::Credential;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::cluster_server::Cluster;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::ApiError;
use crate::types::{MemberId, Revision};

/// The service.
pub struct ClusterService {
    calls: Calls,
}

impl ClusterService {
    /// Serves the member list that a member knows.
    pub fn new(calls: Calls) -> ClusterService {
        ClusterService { calls }
    }

    async fn list(
        &self,
        who: &Credential,
        request: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, Status> {
        let members = self.calls.member().members(who, request.linearizable).await;
        let members = members.map_err(ApiError::from)?.map_err(ApiError::from)?;
        Ok(pb::MemberListResponse { header: Some(self.header()), members: listed(members) })
    }

    async fn add(
        &self,
        who: &Credential,
        request: pb::MemberAddRequest,
    ) -> Result<pb::MemberAddResponse, Status> {
        let added = self.calls.member().member_add(who, &request.peer_ur_ls, request.is_learner).await;
        let (member, members) = added.map_err(ApiError::from)?;
        Ok(pb::MemberAddResponse {
            header: Some(self.header()),
            member: Some(convert::member(member)),
            members: listed(members),
        })
    }

    async fn remove(
        &self,
        who: &Credential,
        request: pb::MemberRemoveRequest,
    ) -> Result<pb::MemberRemoveResponse, Status> {
        let members = self.calls.member().member_remove(who, MemberId(request.id)).await;
        let members = members.map_err(ApiError::from)?;
        Ok(pb::MemberRemoveResponse { header: Some(self.header()), members: listed(members) })
    }

    async fn update(
        &self,
        who: &Credential,
        request: pb::MemberUpdateRequest,
    ) -> Result<pb::MemberUpdateResponse, Status> {
        let members = self.calls.member().member_update(who, MemberId(request.id), &request.peer_ur_ls).await;
        let members = members.map_err(ApiError::from)?;
        Ok(pb::MemberUpdateResponse { header: Some(self.header()), members: listed(members) })
    }

    async fn promote(
        &self,
        who: &Credential,
        request: pb::MemberPromoteRequest,
    ) -> Result<pb::MemberPromoteResponse, Status> {
        let members = self.calls.member().member_promote(who, MemberId(request.id)).await;
        let members = members.map_err(ApiError::from)?;
        Ok(pb::MemberPromoteResponse { header: Some(self.header()), members: listed(members) })
    }

    /// The header of these answers. They tell of no revision: the member list has none.
    fn header(&self) -> pb::ResponseHeader {
        self.calls.header(Revision::default())
    }
}

fn listed(members: Vec<Member>) -> Vec<pb::Member> {
    members.into_iter().map(convert::member).collect()
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.list(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.add(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.remove(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.update(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.promote(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }
}
