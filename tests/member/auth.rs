//! Users, roles and permissions through real gRPC: signing in, what is asked of every call, and when rights begin and end.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate::config::tls::{Allowed, KeyPairFiles, NamedFile, TlsProtocol, Transport, Whom};
use quorate::env::Env;
use quorate::member::Member;
use quorate::member::jwt::{Jwt, Keys};
use quorate::node::{Knobs, Security};
use quorate::pb::authpb::{Permission, UserAddOptions, permission::Type};
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::auth_client::AuthClient;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::etcdserverpb::watch_client::WatchClient;
use quorate::pb::etcdserverpb::watch_request::RequestUnion;
use quorate::pb::v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use quorate::pb::v3lockpb::{LockRequest, UnlockRequest};
use quorate::peer::listen::Gate;
use quorate::storage::engine::EngineKind;
use quorate::tls::dial::{Dial, DialFiles, Trust};
use quorate::tls::server::Server;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::cluster::{Cluster, Place, quick, soon, until};
use crate::raw;
use crate::refusal::{error, refused};
use crate::running::{Elsewhere, Running};

/// Cheap passwords.
fn knobs() -> Knobs {
    Knobs { bcrypt_cost: 4, ..quick() }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A request of somebody who shows `token`.
fn shown<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes("v"), ..pb::PutRequest::default() }
}

fn range(key: &str, end: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: bytes(key), range_end: bytes(end), ..pb::RangeRequest::default() }
}

fn user_add(name: &str, password: &str) -> pb::AuthUserAddRequest {
    let (name, password) = (name.to_owned(), password.to_owned());
    pb::AuthUserAddRequest { name, password, ..pb::AuthUserAddRequest::default() }
}

fn user_role(user: &str, role: &str) -> pb::AuthUserGrantRoleRequest {
    pb::AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() }
}

fn allow(role: &str, key: &str, range_end: &str, kind: Type) -> pb::AuthRoleGrantPermissionRequest {
    let perm = Permission { perm_type: kind.into(), key: bytes(key), range_end: bytes(range_end) };
    pb::AuthRoleGrantPermissionRequest { name: role.to_owned(), perm: Some(perm) }
}

async fn sign_in(auth: &mut AuthClient<Channel>, name: &str, password: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    auth.authenticate(request).await.map(|answer| answer.into_inner().token)
}

/// Founds users `root` and `alice`, who may read from `a` to `m` and write from `g` to `t`; then clients are asked.
async fn guard(auth: &mut AuthClient<Channel>) {
    for (name, password) in [("root", "secret of root"), ("alice", "secret of alice")] {
        auth.user_add(user_add(name, password)).await.unwrap();
    }
    auth.user_grant_role(user_role("root", "root")).await.unwrap();
    auth.role_add(pb::AuthRoleAddRequest { name: "both".to_owned() }).await.unwrap();
    auth.role_grant_permission(allow("both", "a", "m", Type::Read)).await.unwrap();
    auth.role_grant_permission(allow("both", "g", "t", Type::Write)).await.unwrap();
    auth.user_grant_role(user_role("alice", "both")).await.unwrap();
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
}

#[tokio::test]
async fn users_sign_in_and_reach_what_their_roles_give_at_every_member() {
    let cluster = Cluster::start(3, knobs()).await;
    let mut auth = AuthClient::new(cluster.connect(0).await);
    let open = auth.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((open.enabled, open.auth_revision), (false, 1));
    let early = sign_in(&mut auth, "root", "x").await;
    assert_eq!(refused(early), error(Code::FailedPrecondition, "authentication is not enabled"));
    let early = auth.auth_enable(pb::AuthEnableRequest {}).await;
    assert_eq!(refused(early), error(Code::FailedPrecondition, "root user does not exist"));
    guard(&mut auth).await;
    let closed = auth.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((closed.enabled, closed.auth_revision), (true, 8));

    let wrong = error(Code::InvalidArgument, "authentication failed, invalid user ID or password");
    for (name, password) in
        [("alice", "secret of root"), ("alice", ""), ("nobody", "secret of alice"), ("", "")]
    {
        assert_eq!(refused(sign_in(&mut auth, name, password).await), wrong, "{name:?} {password:?}");
    }
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    let (letters, place) = alice.split_once('.').unwrap();
    assert!(letters.len() == 16 && letters.bytes().all(|byte| byte.is_ascii_alphabetic()), "{alice}");
    assert!(place.parse::<u64>().is_ok(), "{alice}");

    // At once, and at every member, however far it is behind.
    for number in [2, 1, 0] {
        let mut kv = KvClient::new(cluster.connect(number).await);
        kv.put(shown(&alice, put("h"))).await.unwrap();
        assert_eq!(kv.range(shown(&alice, range("a", "m"))).await.unwrap().into_inner().count, 1);
        let denied = error(Code::PermissionDenied, "permission denied");
        assert_eq!(refused(kv.put(shown(&alice, put("a"))).await), denied);
        assert_eq!(refused(kv.range(shown(&alice, range("a", "n"))).await), denied);
        assert_eq!(refused(kv.range_stream(shown(&alice, range("a", "n"))).await), denied);
        let empty = error(Code::InvalidArgument, "user name is empty");
        assert_eq!(refused(kv.put(put("h")).await), empty);
        assert_eq!(refused(kv.range(range("h", "")).await), empty);
        let bad = error(Code::Unauthenticated, "invalid auth token");
        assert_eq!(refused(kv.put(shown("aaaabbbbccccdddd.9", put("h"))).await), bad);
        assert_eq!(refused(kv.range(shown("nonsense", range("h", ""))).await), bad);
    }
    cluster.agreed_hash().await;
}

#[tokio::test]
async fn rights_that_are_taken_away_are_gone_at_every_member_at_once() {
    let cluster = Cluster::start(3, knobs()).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(&leader).pop().unwrap();
    let place = |member: &Arc<Member>| cluster.members.iter().position(|m| Arc::ptr_eq(m, member)).unwrap();
    let mut auth = AuthClient::new(cluster.connect(place(&leader)).await);
    let mut kv = KvClient::new(cluster.connect(place(&follower)).await);
    guard(&mut auth).await;
    let root = sign_in(&mut auth, "root", "secret of root").await.unwrap();
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    kv.put(shown(&alice, put("h"))).await.unwrap();

    // Through the leader a right goes, through a follower it is used, again and again.
    let denied = error(Code::PermissionDenied, "permission denied");
    for _ in 0..20 {
        let request = pb::AuthUserRevokeRoleRequest { name: "alice".to_owned(), role: "both".to_owned() };
        auth.user_revoke_role(shown(&root, request)).await.unwrap();
        assert_eq!(refused(kv.put(shown(&alice, put("h"))).await), denied);
        assert_eq!(refused(kv.range(shown(&alice, range("h", ""))).await), denied);
        auth.user_grant_role(shown(&root, user_role("alice", "both"))).await.unwrap();
        kv.put(shown(&alice, put("h"))).await.unwrap();
        kv.range(shown(&alice, range("h", ""))).await.unwrap();
    }
    let (name, password) = ("alice".to_owned(), "another".to_owned());
    let request =
        pb::AuthUserChangePasswordRequest { name, password, ..pb::AuthUserChangePasswordRequest::default() };
    auth.user_change_password(shown(&root, request)).await.unwrap();
    let bad = error(Code::Unauthenticated, "invalid auth token");
    assert_eq!(refused(kv.put(shown(&alice, put("h"))).await), bad);
    assert_eq!(refused(kv.range(shown(&alice, range("h", ""))).await), bad);
    let wrong = error(Code::InvalidArgument, "authentication failed, invalid user ID or password");
    assert_eq!(refused(sign_in(&mut auth, "alice", "secret of alice").await), wrong);
    let alice = sign_in(&mut auth, "alice", "another").await.unwrap();
    kv.put(shown(&alice, put("h"))).await.unwrap();
    auth.auth_disable(shown(&root, pb::AuthDisableRequest {})).await.unwrap();
    kv.put(put("anything")).await.unwrap();
    // A token that means nothing any more does no harm.
    kv.put(shown(&alice, put("anything"))).await.unwrap();
}

#[tokio::test]
async fn a_session_ends_when_nobody_shows_its_token() {
    let ttl = Duration::from_secs(3);
    let cluster = Cluster::start(1, Knobs { session_ttl: ttl, ..knobs() }).await;
    let mut auth = AuthClient::new(cluster.connect(0).await);
    guard(&mut auth).await;
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    let mut kv = KvClient::new(cluster.connect(0).await);
    let begun = std::time::Instant::now();
    while begun.elapsed() < ttl * 2 {
        kv.put(shown(&alice, put("h"))).await.unwrap();
        tokio::time::sleep(ttl / 10).await;
    }
    tokio::time::sleep(ttl + Duration::from_millis(100)).await;
    let bad = error(Code::Unauthenticated, "invalid auth token");
    assert_eq!(refused(kv.put(shown(&alice, put("h"))).await), bad);
}

#[tokio::test]
async fn users_and_roles_are_shown_to_root_and_to_whom_they_concern() {
    let cluster = Cluster::start(1, knobs()).await;
    let mut auth = AuthClient::new(cluster.connect(0).await);
    guard(&mut auth).await;
    let root = sign_in(&mut auth, "root", "secret of root").await.unwrap();
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    let options = Some(UserAddOptions { no_password: true });
    let bob = pb::AuthUserAddRequest { options, ..user_add("bob", "ignored") };
    auth.user_add(shown(&root, bob)).await.unwrap();
    let wrong = error(Code::InvalidArgument, "authentication failed, invalid user ID or password");
    assert_eq!(refused(sign_in(&mut auth, "bob", "ignored").await), wrong);
    let long = error(Code::InvalidArgument, "password length exceeds 72 bytes");
    assert_eq!(refused(auth.user_add(shown(&root, user_add("carol", &"x".repeat(73)))).await), long);

    let users = auth.user_list(shown(&root, pb::AuthUserListRequest {})).await.unwrap().into_inner().users;
    assert_eq!(users, ["alice", "bob", "root"]);
    let roles = auth.role_list(shown(&root, pb::AuthRoleListRequest {})).await.unwrap().into_inner().roles;
    assert_eq!(roles, ["both"]);
    let denied = error(Code::PermissionDenied, "permission denied");
    assert_eq!(refused(auth.user_list(shown(&alice, pb::AuthUserListRequest {})).await), denied);
    let user = |name: &str| pb::AuthUserGetRequest { name: name.to_owned() };
    assert_eq!(auth.user_get(shown(&alice, user("alice"))).await.unwrap().into_inner().roles, ["both"]);
    assert_eq!(refused(auth.user_get(shown(&alice, user("root"))).await), denied);
    assert_eq!(refused(auth.user_get(shown(&alice, user("nobody"))).await), denied);
    let unknown = error(Code::FailedPrecondition, "user name not found");
    assert_eq!(refused(auth.user_get(shown(&root, user("nobody"))).await), unknown);
    let role = |role: &str| pb::AuthRoleGetRequest { role: role.to_owned() };
    let given = auth.role_get(shown(&alice, role("both"))).await.unwrap().into_inner().perm;
    let ranges: Vec<_> =
        given.iter().map(|perm| (&perm.key[..], &perm.range_end[..], perm.perm_type())).collect();
    assert_eq!(ranges, [(&b"a"[..], &b"m"[..], Type::Read), (b"g", b"t", Type::Write)]);
    assert_eq!(refused(auth.role_get(shown(&alice, role("root"))).await), denied);
    let all = auth.role_get(shown(&root, role("root"))).await.unwrap().into_inner().perm;
    assert_eq!(
        (&all[0].key[..], &all[0].range_end[..], all[0].perm_type()),
        (&b""[..], &b"\0"[..], Type::Readwrite)
    );
    let unknown = error(Code::FailedPrecondition, "role name not found");
    assert_eq!(refused(auth.role_get(shown(&root, role("nothing"))).await), unknown);
    let none = pb::AuthRoleGrantPermissionRequest { name: "both".to_owned(), perm: None };
    let missing = error(Code::InvalidArgument, "permission not given");
    assert_eq!(refused(auth.role_grant_permission(shown(&root, none)).await), missing);
}

#[tokio::test]
async fn a_lease_and_its_keys_ask_for_the_rights_to_all_of_them() {
    let cluster = Cluster::start(1, knobs()).await;
    let mut auth = AuthClient::new(cluster.connect(0).await);
    guard(&mut auth).await;
    let root = sign_in(&mut auth, "root", "secret of root").await.unwrap();
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    let (mut kv, mut lease) =
        (KvClient::new(cluster.connect(0).await), LeaseClient::new(cluster.connect(0).await));
    lease.lease_grant(shown(&alice, pb::LeaseGrantRequest { id: 5, ttl: 600 })).await.unwrap();
    let leased = |key: &str| pb::PutRequest { lease: 5, ..put(key) };
    kv.put(shown(&alice, leased("h"))).await.unwrap();
    let mut renew = async |token: &str| {
        let asks = tokio_stream::iter([pb::LeaseKeepAliveRequest { id: 5 }]);
        let mut answers = lease.lease_keep_alive(shown(token, asks)).await.unwrap().into_inner();
        answers.message().await
    };
    assert_eq!(renew(&alice).await.unwrap().unwrap().ttl, 600);
    kv.put(shown(&root, leased("z"))).await.unwrap();
    let denied = error(Code::PermissionDenied, "permission denied");
    assert_eq!(refused(renew(&alice).await), denied);
    assert_eq!(renew(&root).await.unwrap().unwrap().ttl, 600);
    let ask = |keys: bool| pb::LeaseTimeToLiveRequest { id: 5, keys };
    assert_eq!(refused(lease.lease_time_to_live(shown(&alice, ask(true))).await), denied);
    let life = lease.lease_time_to_live(shown(&alice, ask(false))).await.unwrap().into_inner();
    assert_eq!((life.granted_ttl, life.keys.len()), (600, 0));
    assert_eq!(refused(lease.lease_revoke(shown(&alice, pb::LeaseRevokeRequest { id: 5 })).await), denied);
}

/// The first answer to a watch of these keys.
async fn watched(channel: Channel, token: Option<&str>, key: &str, end: &str) -> pb::WatchResponse {
    let create = pb::WatchCreateRequest { key: bytes(key), range_end: bytes(end), ..Default::default() };
    let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::iter([create]);
    let request = match token {
        Some(token) => shown(token, requests),
        None => Request::new(requests),
    };
    let mut answers: Streaming<pb::WatchResponse> =
        WatchClient::new(channel).watch(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_of_what_may_not_be_read_is_created_and_canceled() {
    let cluster = Cluster::start(1, knobs()).await;
    let mut auth = AuthClient::new(cluster.connect(0).await);
    guard(&mut auth).await;
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    let channel = || cluster.connect(0);
    let allowed = watched(channel().await, Some(&alice), "a", "m").await;
    assert!(allowed.created && !allowed.canceled);
    for (token, key, end, reason) in [
        (Some(&*alice), "a", "n", "code = PermissionDenied desc = etcdserver: permission denied"),
        (None, "a", "m", "code = InvalidArgument desc = etcdserver: user name is empty"),
        (Some("nonsense"), "a", "m", "code = Unauthenticated desc = etcdserver: invalid auth token"),
    ] {
        let refused = watched(channel().await, token, key, end).await;
        assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
        assert_eq!(refused.cancel_reason, format!("rpc error: {reason}"));
    }
}

/// What a call asks of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Open,
    /// To be a user.
    Known,
    /// Rights that a user without roles does not have.
    Rights,
}

/// Every call of every service, a request that means something, and what it needs.
fn calls() -> Vec<(&'static str, Vec<u8>, Need)> {
    use Need::{Known, Open, Rights};
    fn with<M: Message + Default>(set: impl FnOnce(&mut M)) -> Vec<u8> {
        let mut message = M::default();
        set(&mut message);
        message.encode_to_vec()
    }
    let key = || bytes("k");
    let create = pb::WatchCreateRequest { key: key(), ..Default::default() };
    let watch = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let office = || Some(LeaderKey { key: key(), ..LeaderKey::default() });
    let writes = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put("k"))) };
    let reads = pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(range("k", ""))) };
    vec![
        ("etcdserverpb.KV/Range", with(|m: &mut pb::RangeRequest| m.key = key()), Rights),
        ("etcdserverpb.KV/RangeStream", with(|m: &mut pb::RangeRequest| m.key = key()), Rights),
        ("etcdserverpb.KV/Put", put("k").encode_to_vec(), Rights),
        ("etcdserverpb.KV/DeleteRange", with(|m: &mut pb::DeleteRangeRequest| m.key = key()), Rights),
        ("etcdserverpb.KV/Txn", with(|m: &mut pb::TxnRequest| m.failure = vec![writes]), Rights),
        ("etcdserverpb.KV/Txn", with(|m: &mut pb::TxnRequest| m.failure = vec![reads]), Rights),
        ("etcdserverpb.KV/Compact", with(|m: &mut pb::CompactionRequest| m.revision = 1), Rights),
        ("etcdserverpb.Watch/Watch", watch.encode_to_vec(), Rights),
        ("etcdserverpb.Lease/LeaseGrant", with(|m: &mut pb::LeaseGrantRequest| m.ttl = 60), Known),
        ("etcdserverpb.Lease/LeaseRevoke", with(|m: &mut pb::LeaseRevokeRequest| m.id = 77), Rights),
        ("etcdserverpb.Lease/LeaseKeepAlive", with(|m: &mut pb::LeaseKeepAliveRequest| m.id = 77), Rights),
        ("etcdserverpb.Lease/LeaseTimeToLive", with(|m: &mut pb::LeaseTimeToLiveRequest| m.id = 77), Known),
        (
            "etcdserverpb.Lease/LeaseTimeToLive",
            with(|m: &mut pb::LeaseTimeToLiveRequest| (m.id, m.keys) = (77, true)),
            Rights,
        ),
        ("etcdserverpb.Lease/LeaseLeases", Vec::new(), Known),
        (
            "etcdserverpb.Cluster/MemberAdd",
            with(|m: &mut pb::MemberAddRequest| m.peer_ur_ls = vec!["nonsense".to_owned()]),
            Rights,
        ),
        ("etcdserverpb.Cluster/MemberRemove", with(|m: &mut pb::MemberRemoveRequest| m.id = 77), Rights),
        (
            "etcdserverpb.Cluster/MemberUpdate",
            with(|m: &mut pb::MemberUpdateRequest| {
                (m.id, m.peer_ur_ls) = (77, vec!["http://127.0.0.1:1".to_owned()]);
            }),
            Rights,
        ),
        ("etcdserverpb.Cluster/MemberList", Vec::new(), Known),
        ("etcdserverpb.Cluster/MemberPromote", with(|m: &mut pb::MemberPromoteRequest| m.id = 77), Rights),
        ("etcdserverpb.Maintenance/Alarm", Vec::new(), Known),
        (
            "etcdserverpb.Maintenance/Alarm",
            with(|m: &mut pb::AlarmRequest| (m.action, m.alarm) = (2, 1)),
            Rights,
        ),
        // Of no kind: it changes nothing, and is nobody's business all the same.
        ("etcdserverpb.Maintenance/Alarm", with(|m: &mut pb::AlarmRequest| m.action = 1), Rights),
        ("etcdserverpb.Maintenance/Status", Vec::new(), Known),
        ("etcdserverpb.Maintenance/Defragment", Vec::new(), Rights),
        ("etcdserverpb.Maintenance/Hash", Vec::new(), Rights),
        ("etcdserverpb.Maintenance/HashKV", Vec::new(), Rights),
        ("etcdserverpb.Maintenance/Snapshot", Vec::new(), Rights),
        (
            "etcdserverpb.Maintenance/MoveLeader",
            with(|m: &mut pb::MoveLeaderRequest| m.target_id = 77),
            Rights,
        ),
        ("etcdserverpb.Maintenance/Downgrade", Vec::new(), Rights),
        ("etcdserverpb.Auth/AuthEnable", Vec::new(), Rights),
        ("etcdserverpb.Auth/AuthStatus", Vec::new(), Open),
        ("etcdserverpb.Auth/Authenticate", Vec::new(), Open),
        ("etcdserverpb.Auth/UserAdd", user_add("new", "secret").encode_to_vec(), Rights),
        ("etcdserverpb.Auth/UserGet", user_get("root"), Rights),
        ("etcdserverpb.Auth/UserGet", user_get("carol"), Known),
        ("etcdserverpb.Auth/UserList", Vec::new(), Rights),
        (
            "etcdserverpb.Auth/UserDelete",
            with(|m: &mut pb::AuthUserDeleteRequest| m.name = "nobody".to_owned()),
            Rights,
        ),
        (
            "etcdserverpb.Auth/UserChangePassword",
            with(|m: &mut pb::AuthUserChangePasswordRequest| m.name = "nobody".to_owned()),
            Rights,
        ),
        ("etcdserverpb.Auth/UserGrantRole", user_role("carol", "root").encode_to_vec(), Rights),
        ("etcdserverpb.Auth/UserRevokeRole", Vec::new(), Rights),
        (
            "etcdserverpb.Auth/RoleAdd",
            with(|m: &mut pb::AuthRoleAddRequest| m.name = "new".to_owned()),
            Rights,
        ),
        (
            "etcdserverpb.Auth/RoleGet",
            with(|m: &mut pb::AuthRoleGetRequest| m.role = "root".to_owned()),
            Rights,
        ),
        ("etcdserverpb.Auth/RoleList", Vec::new(), Rights),
        ("etcdserverpb.Auth/RoleDelete", Vec::new(), Rights),
        ("etcdserverpb.Auth/RoleGrantPermission", allow("new", "k", "", Type::Read).encode_to_vec(), Rights),
        ("etcdserverpb.Auth/RoleRevokePermission", Vec::new(), Rights),
        ("v3lockpb.Lock/Lock", with(|m: &mut LockRequest| m.name = key()), Rights),
        ("v3lockpb.Lock/Unlock", with(|m: &mut UnlockRequest| m.key = key()), Rights),
        ("v3electionpb.Election/Campaign", with(|m: &mut CampaignRequest| m.name = bytes("chair")), Rights),
        ("v3electionpb.Election/Proclaim", with(|m: &mut ProclaimRequest| m.leader = office()), Rights),
        ("v3electionpb.Election/Leader", with(|m: &mut LeaderRequest| m.name = bytes("chair")), Rights),
        ("v3electionpb.Election/Observe", with(|m: &mut LeaderRequest| m.name = bytes("chair")), Rights),
        ("v3electionpb.Election/Resign", with(|m: &mut ResignRequest| m.leader = office()), Rights),
        // The last: after it nobody is asked.
        ("etcdserverpb.Auth/AuthDisable", Vec::new(), Rights),
    ]
}

fn user_get(name: &str) -> Vec<u8> {
    pb::AuthUserGetRequest { name: name.to_owned() }.encode_to_vec()
}

/// The calls that the files of the API define.
fn defined() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for file in ["rpc", "lock", "election"] {
        let path = format!("{}/proto/etcd/{file}.proto", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let (mut package, mut service) = ("", "");
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("package ") {
                package = rest.trim_end_matches(';');
            } else if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches([' ', '{']);
            } else if let Some(rest) = line.strip_prefix("rpc ") {
                let (name, _) = rest.split_once('(').unwrap();
                calls.insert(format!("{package}.{service}/{name}"));
            }
        }
    }
    calls
}

/// How a call ended: what it was refused with, in its status or in a watch's first answer.
async fn outcome(
    channel: &Channel,
    token: Option<&str>,
    call: &str,
    request: &[u8],
) -> Result<(), (Code, String)> {
    let answer = soon(call, raw::first_answer(channel.clone(), token, call, request)).await;
    let answer = answer.map_err(|status| (status.code(), status.message().to_owned()))?;
    if call.ends_with("/Watch") {
        let response = pb::WatchResponse::decode(answer).unwrap();
        let reason = response.cancel_reason.strip_prefix("rpc error: code = ");
        if let Some((code, text)) = reason.and_then(|reason| reason.split_once(" desc = ")) {
            let codes = [Code::PermissionDenied, Code::InvalidArgument, Code::Unauthenticated];
            let code = codes.into_iter().find(|known| format!("{known:?}") == code).unwrap();
            return Err((code, text.to_owned()));
        }
    }
    Ok(())
}

/// A client: its connection, and the token that it shows.
type Asker = (Channel, Option<String>);

/// Those who ask for everything.
struct Askers {
    /// One who does not say who it is.
    nobody: Asker,
    /// One whose token means nothing.
    stranger: Asker,
    /// A user without roles.
    carol: Asker,
    /// The user `root`.
    root: Asker,
}

/// A key and a lease that carries one, so that there is something to be refused; and users.
async fn furnish(channel: &Channel) -> AuthClient<Channel> {
    LeaseClient::new(channel.clone()).lease_grant(pb::LeaseGrantRequest { id: 77, ttl: 600 }).await.unwrap();
    KvClient::new(channel.clone()).put(pb::PutRequest { lease: 77, ..put("k") }).await.unwrap();
    let mut auth = AuthClient::new(channel.clone());
    auth.user_add(user_add("carol", "secret of carol")).await.unwrap();
    guard(&mut auth).await;
    auth
}

/// Every call, by everybody.
async fn every_call_is_checked(member: &Member, askers: &Askers) {
    let ask = async |(channel, token): &Asker, call: &str, request: &[u8]| {
        outcome(channel, token.as_deref(), call, request).await
    };
    let empty = error(Code::InvalidArgument, "user name is empty");
    let bad = error(Code::Unauthenticated, "invalid auth token");
    let denied = error(Code::PermissionDenied, "permission denied");
    let auth_errors = [&empty, &bad, &denied];
    let before = member.status().revision;
    for (call, request, need) in calls() {
        let anonymous = ask(&askers.nobody, call, &request).await;
        let stranger = ask(&askers.stranger, call, &request).await;
        let plain = ask(&askers.carol, call, &request).await;
        match need {
            Need::Open => {
                for answer in [anonymous, stranger, plain] {
                    assert!(
                        !answer.as_ref().is_err_and(|told| auth_errors.contains(&told)),
                        "{call}: {answer:?}"
                    );
                }
            }
            Need::Known | Need::Rights => {
                assert_eq!(anonymous, Err(empty.clone()), "{call} by nobody");
                assert_eq!(stranger, Err(bad.clone()), "{call} by a stranger");
                if need == Need::Rights {
                    assert_eq!(plain, Err(denied.clone()), "{call} by a user without roles");
                } else {
                    assert_eq!(plain, Ok(()), "{call} by a user");
                }
            }
        }
    }
    assert_eq!(member.status().revision, before, "nothing was written");
    for (call, request, _) in calls() {
        let answer = ask(&askers.root, call, &request).await;
        assert!(
            !answer.as_ref().is_err_and(|told| auth_errors.contains(&told)),
            "{call} by root: {answer:?}"
        );
    }
}

/// As [`every_call_is_checked`], of a member to which tokens say who a client is.
async fn every_call_is_checked_by_tokens(security: Security) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { security, ..Place::new(dir.path(), 1, EngineKind::Redb, knobs()) };
    let cluster = place.start_all().await;
    let channel = cluster.connect(0).await;
    let mut auth = furnish(&channel).await;
    let mut token = async |name: &str| sign_in(&mut auth, name, &format!("secret of {name}")).await.unwrap();
    let with = |token: Option<&str>| (channel.clone(), token.map(str::to_owned));
    let askers = Askers {
        nobody: with(None),
        stranger: with(Some("nonsense")),
        carol: with(Some(&token("carol").await)),
        root: with(Some(&token("root").await)),
    };
    every_call_is_checked(&cluster.members[0], &askers).await;
}

#[tokio::test]
async fn no_call_of_any_service_escapes_the_check() {
    let listed: BTreeSet<String> = calls().iter().map(|(call, ..)| (*call).to_owned()).collect();
    let missing: Vec<String> = defined().difference(&listed).cloned().collect();
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(listed.difference(&defined()).collect::<Vec<_>>(), Vec::<&String>::new());
    every_call_is_checked_by_tokens(Security::default()).await;
}

#[tokio::test]
async fn no_call_escapes_the_check_where_tokens_are_signed() {
    let keys = Keys { public: None, private: Some(b"a secret of members".to_vec()) };
    let signed = Jwt::new("HS256", &keys, Duration::from_secs(600)).unwrap();
    every_call_is_checked_by_tokens(Security {
        signed_tokens: Some(Arc::new(signed)),
        ..Security::default()
    })
    .await;
}

/// A certificate authority of its own, and certificates of members and clients in a folder.
fn certificates(dir: &Path, common_names: &[&str]) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    for common_name in common_names {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if *common_name != "nobody" {
            params.distinguished_name.push(DnType::CommonName, *common_name);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &authority).unwrap().pem();
        std::fs::write(dir.join(format!("{common_name}.pem")), cert + &key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn no_call_escapes_the_check_where_certificates_name_users() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path(), &["member", "nobody", "carol", "root"]);
    let env = Env::real().unwrap();
    let worker = env.workers.start("tls");
    let named = |name: &str| NamedFile { flag: "cert-file", path: dir.path().join(format!("{name}.pem")) };
    // One file holds both.
    let pair = |name: &str| KeyPairFiles { cert: named(name), key: named(name) };
    let transport = Transport { trusted_ca: Some(named("ca")), any_address: true, ..Transport::default() };
    let protocol = TlsProtocol::default();
    let server = Server::start(Whom::Clients, &transport, pair("member"), &protocol, &env, &worker).await;
    let gate = Gate { tls: Some(server.unwrap()), ..Gate::default() };
    let mut place = Place::new(dir.path(), 1, EngineKind::Redb, knobs());
    place.security.gates.insert(place.clients[0], gate);
    place.security.certificates_name_users = true;
    let cluster = place.start_all().await;

    let as_ = async |name: &str| {
        let files = DialFiles {
            trust: Trust::Authorities(named("ca")),
            own: Some(pair(name)),
            crl: None,
            allowed: Allowed::Any,
            known_as: None,
            protocol: TlsProtocol::default(),
            clock: env.clock.clone(),
        };
        let dial = Dial::once(&files, &env).unwrap();
        let endpoint = Endpoint::from_shared(format!("https://{}", place.clients[0])).unwrap();
        endpoint.connect_with_connector(dial.connector()).await.unwrap()
    };
    let (nobody, carol, root) = (as_("nobody").await, as_("carol").await, as_("root").await);
    furnish(&nobody).await;
    let askers = Askers {
        nobody: (nobody, None),
        stranger: (carol.clone(), Some("nonsense".to_owned())),
        carol: (carol, None),
        root: (root, None),
    };
    every_call_is_checked(&cluster.members[0], &askers).await;
}

#[tokio::test]
async fn a_member_that_was_sent_a_snapshot_knows_users_but_no_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let small = Knobs { snapshot_entries: 20, keep_entries: 1, ..knobs() };
    let place = Place::new(dir.path(), 3, EngineKind::Redb, small);
    let first = Running::start(place.config(1)).await.unwrap();
    let _second = Running::start(place.config(2)).await.unwrap();
    let third = Elsewhere::start(place.config(3));
    first.knows_names(3).await;
    let mut auth = AuthClient::new(first.channel().await);
    guard(&mut auth).await;
    third.end();
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    let mut kv = KvClient::new(first.channel().await);
    for _ in 0..60 {
        kv.put(shown(&alice, put("h"))).await.unwrap();
    }
    place.unlocked(3).await;
    let third = Running::start(place.config(3)).await.unwrap();
    let caught_up = || (third.member.revision() == first.member.revision()).then_some(());
    until("the state", caught_up).await;
    assert!(third.member.replica().installs() > 0, "it was sent a snapshot");
    assert!(third.member.replica().state().auth().is_enabled());
    let mut kv = KvClient::new(third.channel().await);
    let bad = error(Code::Unauthenticated, "invalid auth token");
    assert_eq!(refused(kv.put(shown(&alice, put("h"))).await), bad);
    let alice = sign_in(&mut auth, "alice", "secret of alice").await.unwrap();
    kv.put(shown(&alice, put("h"))).await.unwrap();
}

#[tokio::test]
async fn a_newcomer_lets_nobody_in_before_it_knows_whom_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let patient = Knobs { request_timeout: Duration::from_secs(2), ..knobs() };
    let place = Place::new(dir.path(), 2, EngineKind::Redb, patient);
    let first = Running::alone(&place).await;
    let mut auth = AuthClient::new(first.channel().await);
    let added = first.add(&place, 2, true).await.unwrap().member.unwrap().id;
    guard(&mut auth).await;
    let joiner = place.joiner(2).await.unwrap();
    // Nobody is there any more who could tell it of users: its own state is empty, and asks nobody who they are.
    first.member.stop().await;
    let second = Running::start(joiner).await.unwrap();
    assert_eq!(second.id(), added);
    assert!(!second.member.replica().state().auth().is_enabled());
    let mut kv = KvClient::new(second.channel().await);
    let local = pb::RangeRequest { serializable: true, ..range("a", "z") };
    assert_eq!(kv.range(local).await.unwrap_err().code(), Code::Unavailable);
    let mut maintenance = MaintenanceClient::new(second.channel().await);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.leader, 0, "how it stands it tells all the same");
    let create = pb::WatchCreateRequest { key: bytes("a"), range_end: bytes("z"), ..Default::default() };
    let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut watch = WatchClient::new(second.channel().await);
    let watched = async {
        let mut answers = watch.watch(tokio_stream::iter([create])).await?.into_inner();
        answers.message().await
    };
    let told = soon("an answer", watched).await;
    assert!(told.as_ref().map_or(true, |told| told.as_ref().is_some_and(|told| told.canceled)), "{told:?}");
}
