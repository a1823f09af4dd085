//! Users, roles and rights.

use quorate::pb::authpb::permission::Type;
use quorate::pb::authpb::{Permission, UserAddOptions};
use quorate::pb::etcdserverpb as pb;
use tonic::{Code, Request, Status};

use crate::server::{Served, bytes, error, refused};

fn user(name: &str, password: &str) -> pb::AuthUserAddRequest {
    pb::AuthUserAddRequest {
        name: name.into(),
        password: password.into(),
        ..pb::AuthUserAddRequest::default()
    }
}

fn shown<T>(token: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

async fn sign_in(served: &Served, name: &str, password: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
    let answer = served.auth().authenticate(request).await?.into_inner();
    served.revision(answer.header);
    Ok(answer.token)
}

async fn put(served: &Served, token: &str, key: &str) -> Result<(), Status> {
    let request = pb::PutRequest { key: bytes(key), ..pb::PutRequest::default() };
    served.kv().put(shown(token, request)).await.map(drop)
}

async fn get(served: &Served, token: &str, key: &str) -> Result<(), Status> {
    let request = pb::RangeRequest { key: bytes(key), ..pb::RangeRequest::default() };
    served.kv().range(shown(token, request)).await.map(drop)
}

/// Asks clients who they are from here on; the token of root.
async fn guard(served: &Served) -> String {
    let mut auth = served.auth();
    auth.user_add(user("root", "secret")).await.unwrap();
    if served.auth().role_get(pb::AuthRoleGetRequest { role: "root".into() }).await.is_err() {
        auth.role_add(pb::AuthRoleAddRequest { name: "root".into() }).await.unwrap();
    }
    auth.user_grant_role(pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() })
        .await
        .unwrap();
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    sign_in(served, "root", "secret").await.unwrap()
}

fn denied() -> (Code, String) {
    error(Code::PermissionDenied, "permission denied")
}

/// Covers Auth/AuthEnable, Auth/AuthDisable, Auth/AuthStatus, Auth/Authenticate; AuthEnableResponse: header;
/// AuthDisableResponse: header; AuthStatusResponse: header, enabled, authRevision; AuthenticateRequest: name, password;
/// AuthenticateResponse: header, token.
#[tokio::test]
async fn clients_are_asked_who_they_are_and_not_any_more() {
    let served = Served::start().await;
    let status = async || {
        // Older servers tell it to root alone.
        let request = match sign_in(&served, "root", "secret").await {
            Ok(token) => shown(&token, pb::AuthStatusRequest {}),
            Err(_) => Request::new(pb::AuthStatusRequest {}),
        };
        let answer = served.auth().auth_status(request).await.unwrap().into_inner();
        served.revision(answer.header);
        (answer.enabled, answer.auth_revision)
    };
    assert_eq!(status().await, (false, 1));
    let early = refused(served.auth().auth_enable(pb::AuthEnableRequest {}).await);
    assert_eq!(early, error(Code::FailedPrecondition, "root user does not exist"));
    let off = error(Code::FailedPrecondition, "authentication is not enabled");
    assert_eq!(refused(sign_in(&served, "root", "secret").await), off);
    served.auth().user_add(user("root", "secret")).await.unwrap();
    let early = refused(served.auth().auth_enable(pb::AuthEnableRequest {}).await);
    assert_eq!(early, error(Code::FailedPrecondition, "root user does not have root role"));
    served.auth().user_delete(pb::AuthUserDeleteRequest { name: "root".into() }).await.unwrap();
    let root = guard(&served).await;
    assert!(!root.is_empty());
    let (enabled, revision) = status().await;
    assert!(enabled && revision > 3, "{revision}");
    let wrong = error(Code::InvalidArgument, "authentication failed, invalid user ID or password");
    assert_eq!(refused(sign_in(&served, "root", "wrong").await), wrong);
    assert_eq!(refused(sign_in(&served, "nobody", "secret").await), wrong);

    let anybody = served.auth().auth_disable(pb::AuthDisableRequest {}).await;
    assert_eq!(refused(anybody), error(Code::InvalidArgument, "user name is empty"));
    let answer =
        served.auth().auth_disable(shown(&root, pb::AuthDisableRequest {})).await.unwrap().into_inner();
    served.revision(answer.header);
    assert!(!status().await.0);
    served.put("k", "anybody").await;
    let answer = served.auth().auth_enable(pb::AuthEnableRequest {}).await.unwrap().into_inner();
    served.revision(answer.header);
    assert!(status().await.0);
}

/// Covers Auth/UserAdd, Auth/UserGet, Auth/UserList, Auth/UserDelete; AuthUserAddRequest: name, password, options;
/// AuthUserAddResponse: header; UserAddOptions: no_password; AuthUserGetRequest: name; AuthUserGetResponse: header, roles;
/// AuthUserListResponse: header, users; AuthUserDeleteRequest: name; AuthUserDeleteResponse: header.
#[tokio::test]
async fn users_come_and_go() {
    let served = Served::start().await;
    let mut auth = served.auth();
    let added = auth.user_add(user("alice", "secret")).await.unwrap().into_inner();
    assert_eq!(served.revision(added.header), 1, "a user moves no revision");
    let options = Some(UserAddOptions { no_password: true });
    auth.user_add(pb::AuthUserAddRequest { options, ..user("bob", "") }).await.unwrap();
    let twice = refused(auth.user_add(user("alice", "other")).await);
    assert_eq!(twice, error(Code::FailedPrecondition, "user name already exists"));
    let nameless = refused(auth.user_add(user("", "secret")).await);
    assert_eq!(nameless, error(Code::InvalidArgument, "user name is empty"));
    let listed = auth.user_list(pb::AuthUserListRequest {}).await.unwrap().into_inner();
    served.revision(listed.header);
    assert_eq!(listed.users, ["alice", "bob"]);

    auth.role_add(pb::AuthRoleAddRequest { name: "reader".into() }).await.unwrap();
    auth.user_grant_role(pb::AuthUserGrantRoleRequest { user: "alice".into(), role: "reader".into() })
        .await
        .unwrap();
    let get = |name: &str| pb::AuthUserGetRequest { name: name.into() };
    let alice = auth.user_get(get("alice")).await.unwrap().into_inner();
    served.revision(alice.header);
    assert_eq!(alice.roles, ["reader"]);
    let unknown = error(Code::FailedPrecondition, "user name not found");
    assert_eq!(refused(auth.user_get(get("nobody")).await), unknown);

    guard(&served).await;
    let wrong = error(Code::InvalidArgument, "authentication failed, invalid user ID or password");
    sign_in(&served, "alice", "secret").await.unwrap();
    sign_in(&served, "bob", "").await.expect_err("who has no password signs in with none");
    let root = sign_in(&served, "root", "secret").await.unwrap();
    let delete = |name: &str| shown(&root, pb::AuthUserDeleteRequest { name: name.into() });
    let gone = auth.user_delete(delete("alice")).await.unwrap().into_inner();
    served.revision(gone.header);
    assert_eq!(refused(sign_in(&served, "alice", "secret").await), wrong);
    assert_eq!(refused(auth.user_delete(delete("alice")).await), unknown);
}

/// Covers Auth/UserChangePassword; AuthUserChangePasswordRequest: name, password, hashedPassword;
/// AuthUserChangePasswordResponse: header; AuthUserAddRequest: hashedPassword.
#[tokio::test]
async fn a_password_is_changed_and_hashed_by_the_server_alone() {
    let served = Served::start().await;
    let mut auth = served.auth();
    auth.user_add(user("alice", "first")).await.unwrap();
    let root = guard(&served).await;
    let change = |password: &str, hashed_password: &str| {
        let (name, password) = ("alice".into(), password.into());
        shown(
            &root,
            pb::AuthUserChangePasswordRequest { name, password, hashed_password: hashed_password.into() },
        )
    };
    let changed = auth.user_change_password(change("second", "")).await.unwrap().into_inner();
    served.revision(changed.header);
    assert!(sign_in(&served, "alice", "first").await.is_err());
    sign_in(&served, "alice", "second").await.unwrap();
    // Only a server hashes: what a client says to be a hash is not looked at.
    let hashed = "JDJhJDA0JC91cEFsUGk0ei5QWUdaRS9IZENXaS4=";
    auth.user_change_password(change("third", hashed)).await.unwrap();
    sign_in(&served, "alice", "third").await.unwrap();
    let bob = pb::AuthUserAddRequest { hashed_password: hashed.into(), ..user("bob", "of bob") };
    auth.user_add(shown(&root, bob)).await.unwrap();
    sign_in(&served, "bob", "of bob").await.unwrap();
}

/// Covers Auth/RoleAdd, Auth/RoleGet, Auth/RoleList, Auth/RoleDelete; AuthRoleAddRequest: name; AuthRoleAddResponse: header;
/// AuthRoleGetRequest: role; AuthRoleGetResponse: header, perm; AuthRoleListResponse: header, roles;
/// AuthRoleDeleteRequest: role; AuthRoleDeleteResponse: header.
#[tokio::test]
async fn roles_come_and_go() {
    let served = Served::start().await;
    let mut auth = served.auth();
    let add = |name: &str| pb::AuthRoleAddRequest { name: name.into() };
    for name in ["writer", "reader"] {
        let added = auth.role_add(add(name)).await.unwrap().into_inner();
        assert_eq!(served.revision(added.header), 1);
    }
    assert_eq!(
        refused(auth.role_add(add("reader")).await),
        error(Code::FailedPrecondition, "role name already exists")
    );
    let listed = auth.role_list(pb::AuthRoleListRequest {}).await.unwrap().into_inner();
    served.revision(listed.header);
    assert_eq!(listed.roles, ["reader", "writer"]);
    let get = |role: &str| pb::AuthRoleGetRequest { role: role.into() };
    let reader = auth.role_get(get("reader")).await.unwrap().into_inner();
    served.revision(reader.header);
    assert!(reader.perm.is_empty());
    let unknown = error(Code::FailedPrecondition, "role name not found");
    assert_eq!(refused(auth.role_get(get("nothing")).await), unknown);
    let gone =
        auth.role_delete(pb::AuthRoleDeleteRequest { role: "writer".into() }).await.unwrap().into_inner();
    served.revision(gone.header);
    assert_eq!(refused(auth.role_get(get("writer")).await), unknown);
    assert_eq!(auth.role_list(pb::AuthRoleListRequest {}).await.unwrap().into_inner().roles, ["reader"]);
}

/// Covers Auth/RoleGrantPermission, Auth/RoleRevokePermission; AuthRoleGrantPermissionRequest: name, perm;
/// AuthRoleGrantPermissionResponse: header; AuthRoleRevokePermissionRequest: role, key, range_end;
/// AuthRoleRevokePermissionResponse: header; Permission: permType, key, range_end;
/// Permission.Type: READ, WRITE, READWRITE.
#[tokio::test]
async fn rights_to_ranges_are_given_and_taken() {
    let served = Served::start().await;
    let mut auth = served.auth();
    auth.user_add(user("alice", "secret")).await.unwrap();
    auth.role_add(pb::AuthRoleAddRequest { name: "some".into() }).await.unwrap();
    auth.user_grant_role(pb::AuthUserGrantRoleRequest { user: "alice".into(), role: "some".into() })
        .await
        .unwrap();
    let root = guard(&served).await;
    let give = async |kind: Type, key: &str, range_end: &str| {
        let perm = Permission { perm_type: kind.into(), key: bytes(key), range_end: bytes(range_end) };
        let request = pb::AuthRoleGrantPermissionRequest { name: "some".into(), perm: Some(perm) };
        let given = served.auth().role_grant_permission(shown(&root, request)).await.unwrap().into_inner();
        served.revision(given.header);
    };
    give(Type::Read, "r", "").await;
    give(Type::Write, "w", "x").await;
    give(Type::Readwrite, "y", "").await;
    let alice = sign_in(&served, "alice", "secret").await.unwrap();
    for (key, may_read, may_write) in [
        ("r", true, false),
        ("r1", false, false),
        ("w", false, true),
        ("w1", false, true),
        ("x", false, false),
        ("y", true, true),
    ] {
        let refusal = |allowed: bool| (!allowed).then(denied);
        let read = get(&served, &alice, key).await.err().map(|status| refused::<()>(Err(status)));
        let wrote = put(&served, &alice, key).await.err().map(|status| refused::<()>(Err(status)));
        assert_eq!((read, wrote), (refusal(may_read), refusal(may_write)), "{key}");
    }
    let some = auth.role_get(shown(&root, pb::AuthRoleGetRequest { role: "some".into() })).await.unwrap();
    let kinds: Vec<Type> = some.into_inner().perm.iter().map(Permission::perm_type).collect();
    assert_eq!(kinds, [Type::Read, Type::Write, Type::Readwrite]);
    let take = |key: &str, end: &str| {
        let request = pb::AuthRoleRevokePermissionRequest {
            role: "some".into(),
            key: bytes(key),
            range_end: bytes(end),
        };
        shown(&root, request)
    };
    let missing = refused(auth.role_revoke_permission(take("w", "")).await);
    assert_eq!(
        missing,
        error(Code::FailedPrecondition, "permission is not granted to the role"),
        "another range"
    );
    let taken = auth.role_revoke_permission(take("w", "x")).await.unwrap().into_inner();
    served.revision(taken.header);
    let alice = sign_in(&served, "alice", "secret").await.unwrap();
    assert_eq!(refused(put(&served, &alice, "w").await), denied());
    get(&served, &alice, "r").await.unwrap();
}

/// Covers Auth/UserGrantRole, Auth/UserRevokeRole; AuthUserGrantRoleRequest: user, role; AuthUserGrantRoleResponse: header;
/// AuthUserRevokeRoleRequest: name, role; AuthUserRevokeRoleResponse: header.
#[tokio::test]
async fn roles_are_given_to_users_and_taken_again() {
    let served = Served::start().await;
    let mut auth = served.auth();
    auth.user_add(user("alice", "secret")).await.unwrap();
    auth.role_add(pb::AuthRoleAddRequest { name: "all".into() }).await.unwrap();
    let perm = Permission { perm_type: Type::Readwrite.into(), key: bytes("\0"), range_end: bytes("\0") };
    auth.role_grant_permission(pb::AuthRoleGrantPermissionRequest { name: "all".into(), perm: Some(perm) })
        .await
        .unwrap();
    let root = guard(&served).await;
    let grant = |user: &str, role: &str| {
        shown(&root, pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() })
    };
    let given = auth.user_grant_role(grant("alice", "all")).await.unwrap().into_inner();
    served.revision(given.header);
    assert_eq!(
        refused(auth.user_grant_role(grant("nobody", "all")).await),
        error(Code::FailedPrecondition, "user name not found")
    );
    assert_eq!(
        refused(auth.user_grant_role(grant("alice", "none")).await),
        error(Code::FailedPrecondition, "role name not found")
    );
    let alice = sign_in(&served, "alice", "secret").await.unwrap();
    put(&served, &alice, "k").await.unwrap();
    let revoke =
        |name: &str| shown(&root, pb::AuthUserRevokeRoleRequest { name: name.into(), role: "all".into() });
    let taken = auth.user_revoke_role(revoke("alice")).await.unwrap().into_inner();
    served.revision(taken.header);
    let again = refused(auth.user_revoke_role(revoke("alice")).await);
    assert_eq!(again, error(Code::FailedPrecondition, "role is not granted to the user"));
    let alice = sign_in(&served, "alice", "secret").await.unwrap();
    assert_eq!(refused(put(&served, &alice, "k").await), denied());
}
