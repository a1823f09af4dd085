//! The connection of one run: endpoints, time limits, the token of a signed-in user.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::secure::Secure;
use crate::pb::etcdserverpb::AuthenticateRequest;
use crate::pb::etcdserverpb::auth_client::AuthClient;
use crate::pb::etcdserverpb::cluster_client::ClusterClient;
use crate::pb::etcdserverpb::kv_client::KvClient;
use crate::pb::etcdserverpb::lease_client::LeaseClient;
use crate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::pb::etcdserverpb::watch_client::WatchClient;
use crate::tls::dial::Dial;

/// What a run was told about reaching the cluster.
#[derive(Clone)]
pub struct Target {
    /// Addresses of members, in the order to try them.
    pub endpoints: Vec<String>,
    /// Which of them are spoken to by TLS, and how.
    pub secure: Secure,
    /// Time to connect.
    pub dial_timeout: Duration,
    /// Time for one command, connecting aside.
    pub command_timeout: Duration,
    /// Idle time after which the connection is tried.
    pub keepalive_time: Duration,
    /// Wait for the answer to that.
    pub keepalive_timeout: Duration,
    /// Name and password to sign in with.
    pub user: Option<(String, String)>,
    /// Token to show instead.
    pub token: Option<MetadataValue<Ascii>>,
}

/// A connection to one member.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    url: String,
    tls: Option<Arc<Dial>>,
    token: Option<MetadataValue<Ascii>>,
    command_timeout: Duration,
}

impl Target {
    /// Connects to the first endpoint that answers, and signs in.
    ///
    /// # Errors
    /// None answers in time, or the name and password are refused.
    pub async fn connect(&self) -> Result<Client, CtlError> {
        let mut last = CtlError::bad_args("no endpoint given");
        for endpoint in &self.endpoints {
            match self.connect_to(endpoint).await {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to one endpoint, and signs in.
    ///
    /// # Errors
    /// As [`Target::connect`].
    pub async fn connect_to(&self, endpoint: &str) -> Result<Client, CtlError> {
        let (url, tls) = self.secure.endpoint(endpoint)?;
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|_| CtlError::bad_args(format!("bad endpoint {endpoint}")))?
            .http2_keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout);
        let deadline = tokio::time::sleep(self.dial_timeout.max(self.command_timeout));
        tokio::pin!(deadline);
        // A refused connection is tried again until the time is over: a member that is just starting is worth
        // the wait, and that is what scripts rely on.
        let channel = loop {
            let attempt = async {
                let connecting = async {
                    match &tls {
                        None => endpoint.connect().await,
                        Some(tls) => endpoint.connect_with_connector(tls.connector()).await,
                    }
                };
                let connected = tokio::time::timeout(self.dial_timeout, connecting).await;
                if !matches!(connected, Ok(Ok(_))) {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
                connected
            };
            tokio::select! {
                biased;
                () = &mut deadline => return Err(CtlError::deadline()),
                connected = attempt => if let Ok(Ok(channel)) = connected { break channel },
            }
            // Whoever is not the one that was meant will not become so.
            if let Some(error) = turned_away(tls.as_deref(), &url) {
                return Err(error);
            }
        };
        let mut client =
            Client { channel, url, tls, token: self.token.clone(), command_timeout: self.command_timeout };
        if let Some((name, password)) = &self.user {
            let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let mut auth = AuthClient::new(client.channel.clone());
            let answer = client.call(auth.authenticate(request)).await?;
            let token = answer
                .token
                .parse()
                .map_err(|_| CtlError::new(Exit::Error, "the server's token is no metadata value"))?;
            client.token = Some(token);
        }
        Ok(client)
    }
}

/// Pause between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Why whoever is reached at `url` is not the one that was meant, or does not let in, if that is so.
fn turned_away(tls: Option<&Dial>, url: &str) -> Option<CtlError> {
    let why = tls?.failure(url)?;
    Some(CtlError::new(Exit::BadConnection, format!("cannot connect to {url}: {why}")))
}

impl Client {
    /// A request that carries the user's token.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    /// Waits for an answer within the command's time.
    ///
    /// # Errors
    /// The server refused, or the time is over.
    pub async fn call<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CtlError> {
        match tokio::time::timeout(self.command_timeout, answer).await {
            Ok(answer) => answer.map(Response::into_inner).map_err(|status| {
                // A connection may stand for a moment before it is broken off.
                turned_away(self.tls.as_deref(), &self.url).unwrap_or_else(|| status.into())
            }),
            Err(_) => Err(CtlError::deadline()),
        }
    }

    /// What one command may take.
    pub fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    /// Keys and values.
    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// The stream of changes.
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Leases.
    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Members.
    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    /// Care of one member.
    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }
}
