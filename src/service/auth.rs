//! Users, roles and permissions, and signing in.

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use crate::machine::auth::change::AuthChange;
use crate::machine::command::{Caller, CommandError};
use crate::machine::state::State;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::auth_server::Auth;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::ApiError;
use crate::types::KeyRange;

/// The service.
pub struct AuthService {
    calls: Calls,
}

impl AuthService {
    /// Serves the users and roles that a member knows.
    pub fn new(calls: Calls) -> AuthService {
        AuthService { calls }
    }

    /// Makes a change as the caller asks for it; the answer's header.
    async fn change(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        change: AuthChange,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        let who = self.calls.who(metadata, extensions);
        let changing = async {
            self.calls.member().change_auth(&who, change).await.map_err(ApiError::from)?;
            Ok(Some(self.calls.header_now()))
        };
        self.calls.unary(metadata, changing).await
    }

    /// What the state says, to a caller who may ask; and the answer's header.
    async fn ask<T>(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        ask: impl FnOnce(&State, &Caller) -> Result<T, CommandError>,
    ) -> Result<(Option<pb::ResponseHeader>, T), Status> {
        let asking = async {
            self.calls.member().linearizable().await.map_err(ApiError::from)?;
            let answer = self.calls.admit_here(&self.calls.who(metadata, extensions), ask).await?;
            Ok((Some(self.calls.header_now()), answer))
        };
        self.calls.unary(metadata, asking).await
    }
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let header = self.change(request.metadata(), request.extensions(), AuthChange::Enable).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let header = self.change(request.metadata(), request.extensions(), AuthChange::Disable).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        // Open to everybody: a client must be able to find out whether it has to sign in.
        let asking = async {
            self.calls.member().linearizable().await.map_err(ApiError::from)?;
            let header = Some(self.calls.header_now());
            let state = self.calls.member().replica().state();
            let auth = state.auth();
            Ok(pb::AuthStatusResponse { header, enabled: auth.is_enabled(), auth_revision: auth.revision() })
        };
        self.calls.unary(request.metadata(), asking).await.map(Response::new)
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let signing_in = async {
            let token = self.calls.member().sign_in(&request.name, &request.password).await;
            let token = token.map_err(ApiError::from)?;
            Ok(pb::AuthenticateResponse { header: Some(self.calls.header_now()), token })
        };
        self.calls.unary(&metadata, signing_in).await.map(Response::new)
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let adding = async {
            let member = self.calls.member();
            let who = self.calls.who(&metadata, &extensions);
            let without = request.options.is_some_and(|options| options.no_password);
            let password = if without {
                None
            } else {
                let hash = member.hash_password(&who, &request.password).await;
                Some(hash.map_err(ApiError::from)?)
            };
            let change = AuthChange::UserAdd { user: request.name, password };
            member.change_auth(&who, change).await.map_err(ApiError::from)?;
            Ok(pb::AuthUserAddResponse { header: Some(self.calls.header_now()) })
        };
        self.calls.unary(&metadata, adding).await.map(Response::new)
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let (metadata, extensions, pb::AuthUserGetRequest { name }) = request.into_parts();
        let (header, roles) = self
            .ask(&metadata, &extensions, |state, caller| {
                state.auth().check_sees_user(caller, &name)?;
                let user = state.auth().user(&name).ok_or(CommandError::UserNotFound)?;
                Ok(user.roles().map(str::to_owned).collect())
            })
            .await?;
        Ok(Response::new(pb::AuthUserGetResponse { header, roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let (header, users) = self
            .ask(request.metadata(), request.extensions(), |state, caller| {
                state.auth().check_root(caller)?;
                Ok(state.auth().users().map(|(name, _)| name.to_owned()).collect())
            })
            .await?;
        Ok(Response::new(pb::AuthUserListResponse { header, users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let header =
            self.change(&metadata, &extensions, AuthChange::UserDelete { user: request.name }).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let changing = async {
            let member = self.calls.member();
            let who = self.calls.who(&metadata, &extensions);
            let password = member.hash_password(&who, &request.password).await.map_err(ApiError::from)?;
            let change = AuthChange::UserChangePassword { user: request.name, password };
            member.change_auth(&who, change).await.map_err(ApiError::from)?;
            Ok(pb::AuthUserChangePasswordResponse { header: Some(self.calls.header_now()) })
        };
        self.calls.unary(&metadata, changing).await.map(Response::new)
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let (metadata, extensions, pb::AuthUserGrantRoleRequest { user, role }) = request.into_parts();
        let header = self.change(&metadata, &extensions, AuthChange::UserGrantRole { user, role }).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let (metadata, extensions, pb::AuthUserRevokeRoleRequest { name, role }) = request.into_parts();
        let header =
            self.change(&metadata, &extensions, AuthChange::UserRevokeRole { user: name, role }).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let header = self.change(&metadata, &extensions, AuthChange::RoleAdd { role: request.name }).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let (metadata, extensions, pb::AuthRoleGetRequest { role: name }) = request.into_parts();
        let (header, perm) = self
            .ask(&metadata, &extensions, |state, caller| {
                state.auth().check_sees_role(caller, &name)?;
                convert::permissions(state.auth(), &name).ok_or(CommandError::RoleNotFound)
            })
            .await?;
        Ok(Response::new(pb::AuthRoleGetResponse { header, perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let (header, roles) = self
            .ask(request.metadata(), request.extensions(), |state, caller| {
                state.auth().check_root(caller)?;
                Ok(state.auth().roles().map(|(name, _)| name.to_owned()).collect())
            })
            .await?;
        Ok(Response::new(pb::AuthRoleListResponse { header, roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let header =
            self.change(&metadata, &extensions, AuthChange::RoleDelete { role: request.role }).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let permission = convert::permission(request.perm)?;
        let change = AuthChange::RoleGrantPermission { role: request.name, permission };
        let header = self.change(&metadata, &extensions, change).await?;
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let range = KeyRange::from_wire(request.key, request.range_end);
        let change = AuthChange::RoleRevokePermission { role: request.role, range };
        let header = self.change(&metadata, &extensions, change).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}
