//! Binding a gRPC server to an address, for peers and for clients, in plain text or behind TLS.
//!
//! The address is bound before [`serve`] returns, so that a port in use is an error of the start. In the simulator
//! a port belongs to its member alone, and is bound by the task that serves it.

use std::net::SocketAddr;
#[cfg(not(madsim))]
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::config::tls::Whom;
use crate::env::Env;
#[cfg(not(madsim))]
use crate::tls::accept::{Entrance, Incoming, Shown};
#[cfg(not(madsim))]
use crate::tls::places::Places;
#[cfg(not(madsim))]
use crate::tls::server::Server as TlsServer;

/// A connection without traffic is asked after this long whether its other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);
/// And is closed when no answer comes within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What whoever connects to an address meets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Gate {
    /// TLS, or plain text.
    #[cfg(not(madsim))]
    pub tls: Option<Arc<TlsServer>>,
    /// How many may come in.
    #[cfg(not(madsim))]
    pub places: Places,
}

/// The common name of the verified certificate that the other end of a call's connection has shown.
#[cfg(not(madsim))]
pub fn common_name(extensions: &tonic::Extensions) -> Option<Arc<str>> {
    extensions.get::<Shown>()?.common_name.clone()
}

/// The common name of the certificate of a caller: there are none in the simulator.
#[cfg(madsim)]
pub fn common_name(_: &tonic::Extensions) -> Option<std::sync::Arc<str>> {
    None
}

/// A server without services.
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// Serves `router` on `address`, behind `gate`, in a task of its own. When it ends, the member does; `whom` says which it
/// was.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    router: Router,
    address: SocketAddr,
    gate: Gate,
    env: &Env,
    whom: Whom,
) -> std::io::Result<()> {
    #[cfg(not(madsim))]
    let serving = {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let entrance = Entrance { whom, tls: gate.tls, places: gate.places };
        router.serve_with_incoming(Incoming::of(listener, entrance, env))
    };
    #[cfg(madsim)]
    let serving = {
        let Gate {} = gate;
        router.serve(address)
    };
    let process = env.process.clone();
    tokio::spawn(async move {
        let why = serving.await.err().map_or("it ended".to_owned(), |error| error.to_string());
        process.fatal(&format!("{whom} server on {address}: {why}"));
    });
    Ok(())
}
