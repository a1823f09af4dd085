//! gRPC calls to a member, in plain text or by TLS, and users that it is told of.

use std::path::Path;

use quorate::config::tls::{Allowed, KeyPairFiles, NamedFile, TlsProtocol};
use quorate::env::Env;
use quorate::pb::authpb;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::auth_client::AuthClient;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::tls::dial::{Dial, DialFiles, Trust};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::authority::Files;

/// A plain connection.
pub async fn plain(port: u16) -> Channel {
    Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap()
}

/// A connection by TLS, to one who is known by `trusts`, with something to show.
pub async fn secured(port: u16, trusts: &Path, shows: &Files) -> Channel {
    let env = Env::real().unwrap();
    let named = |flag, path: &Path| NamedFile { flag, path: path.to_owned() };
    let files = DialFiles {
        trust: Trust::Authorities(named("cacert", trusts)),
        own: Some(KeyPairFiles { cert: named("cert", &shows.cert), key: named("key", &shows.key) }),
        crl: None,
        allowed: Allowed::Any,
        known_as: None,
        protocol: TlsProtocol::default(),
        clock: env.clock.clone(),
    };
    let dial = Dial::once(&files, &env).unwrap();
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
    endpoint.connect_with_connector(dial.connector()).await.unwrap()
}

/// A client, and the token that it shows.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
    pub token: Option<String>,
}

impl Client {
    /// One that shows no token.
    pub fn new(channel: Channel) -> Client {
        Client { channel, token: None }
    }

    /// The same one with a token.
    pub fn showing(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    pub async fn put(&self, key: &str) -> Result<(), String> {
        let put =
            pb::PutRequest { key: key.to_owned().into(), value: "v".into(), ..pb::PutRequest::default() };
        done(KvClient::new(self.channel.clone()).put(self.asks(put)).await)
    }

    pub async fn get(&self, key: &str, serializable: bool) -> Result<(), String> {
        let range =
            pb::RangeRequest { key: key.to_owned().into(), serializable, ..pb::RangeRequest::default() };
        done(KvClient::new(self.channel.clone()).range(self.asks(range)).await)
    }

    pub async fn sign_in(&self, user: &str) -> Result<String, String> {
        let request = pb::AuthenticateRequest { name: user.to_owned(), password: password(user) };
        let answer = AuthClient::new(self.channel.clone()).authenticate(self.asks(request)).await;
        answer.map(|answer| answer.into_inner().token).map_err(|status| status.message().to_owned())
    }

    pub async fn user_add(&self, name: &str) -> Result<(), String> {
        let request = pb::AuthUserAddRequest {
            name: name.to_owned(),
            password: password(name),
            ..pb::AuthUserAddRequest::default()
        };
        done(AuthClient::new(self.channel.clone()).user_add(self.asks(request)).await)
    }

    pub async fn user_delete(&self, name: &str) -> Result<(), String> {
        let request = pb::AuthUserDeleteRequest { name: name.to_owned() };
        done(AuthClient::new(self.channel.clone()).user_delete(self.asks(request)).await)
    }

    /// The revision of users and roles, which anybody may ask for.
    pub async fn auth_revision(&self) -> u64 {
        let answer = AuthClient::new(self.channel.clone()).auth_status(pb::AuthStatusRequest {}).await;
        answer.unwrap().into_inner().auth_revision
    }

    /// Users `root` and `alice`, who may read and write what begins with `g`; then everybody is asked.
    pub async fn guard(&self) {
        self.user_add("root").await.unwrap();
        self.user_add("alice").await.unwrap();
        let mut auth = AuthClient::new(self.channel.clone());
        let role = |name: &str| pb::AuthRoleAddRequest { name: name.to_owned() };
        let grant = |user: &str, role: &str| pb::AuthUserGrantRoleRequest {
            user: user.to_owned(),
            role: role.to_owned(),
        };
        auth.role_add(self.asks(role("g"))).await.unwrap();
        let perm = authpb::Permission { perm_type: 2, key: "g".into(), range_end: "h".into() };
        let permission = pb::AuthRoleGrantPermissionRequest { name: "g".to_owned(), perm: Some(perm) };
        auth.role_grant_permission(self.asks(permission)).await.unwrap();
        auth.user_grant_role(self.asks(grant("alice", "g"))).await.unwrap();
        auth.user_grant_role(self.asks(grant("root", "root"))).await.unwrap();
        auth.auth_enable(self.asks(pb::AuthEnableRequest {})).await.unwrap();
    }
}

fn password(user: &str) -> String {
    format!("secret of {user}")
}

fn done<T>(answer: Result<T, Status>) -> Result<(), String> {
    answer.map(drop).map_err(|status| status.message().to_owned())
}

/// What a client is told that may not do this.
pub fn refused(why: &str) -> Result<(), String> {
    Err(format!("etcdserver: {why}"))
}
