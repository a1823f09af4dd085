//! Binding a gRPC server to an address, for peers and for clients.
//!
//! The address is bound before [`serve`] returns, so that a port in use is an error of the start. In the simulator
//! a port belongs to its member alone, and is bound by the task that serves it.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::Server;
use tonic::transport::server::Router;
#[cfg(not(madsim))]
use tonic::transport::server::TcpIncoming;

use crate::env::Env;

/// A connection without traffic is asked after this long whether its other end is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);
/// And is closed when no answer comes within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A server without services.
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// Serves `router` on `address` in a task of its own. When it ends, the member does; `what` says which it was.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    router: Router,
    address: SocketAddr,
    env: &Env,
    what: &'static str,
) -> std::io::Result<()> {
    #[cfg(not(madsim))]
    let serving = {
        let listener = tokio::net::TcpListener::bind(address).await?;
        router.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
    };
    #[cfg(madsim)]
    let serving = router.serve(address);
    let process = env.process.clone();
    tokio::spawn(async move {
        let why = serving.await.err().map_or("it ended".to_owned(), |error| error.to_string());
        process.fatal(&format!("{what} server on {address}: {why}"));
    });
    Ok(())
}
