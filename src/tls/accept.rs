//! Connections on their way in: handshakes beside each other, none of which can hold up another.
//!
//! A connection is accepted at once and shakes hands in a task of its own. It has a bounded time for that, and there is a
//! bounded number of such places; when all are taken, the one that has had its place for longest loses it. So whoever
//! connects and says nothing costs a place for a while, and nobody else his own connection.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::env::{Env, within};
use crate::tls::server::{Server, Whom};
use crate::tls::{address, names, why};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at once, on one address: fewer than the files that a process may commonly have open.
const HANDSHAKES_MAX: usize = 512;
/// Connections that have shaken hands and are not served yet.
const READY_MAX: usize = 64;
/// Pause after a connection that could not even be accepted: there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, as its verified certificate has it.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The common name, if it was asked for a certificate, and it bears one.
    pub common_name: Option<Arc<str>>,
}

/// A connection that has shaken hands.
pub struct Secured {
    stream: TlsStream<TcpStream>,
    shown: Shown,
}

/// Connections that have shaken hands, as they come.
pub struct Incoming(mpsc::Receiver<Secured>);

impl Incoming {
    /// From `listener`, for as long as this is held.
    pub fn of(listener: TcpListener, server: Arc<Server>, env: &Env) -> Incoming {
        let (sender, ready) = mpsc::channel(READY_MAX);
        tokio::spawn(accept(listener, server, env.clone(), sender));
        Incoming(ready)
    }
}

impl Stream for Incoming {
    type Item = io::Result<Secured>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>, env: Env, ready: mpsc::Sender<Secured>) {
    let mut places: VecDeque<AbortHandle> = VecDeque::new();
    let mut crowded = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                env.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if places.len() >= HANDSHAKES_MAX {
            places.retain(|place| !place.is_finished());
            let still = places.len() >= HANDSHAKES_MAX;
            if still && !crowded {
                tracing::warn!(
                    places = HANDSHAKES_MAX,
                    "too many handshakes at once: the oldest are given up"
                );
            }
            crowded = still;
        }
        if crowded && let Some(oldest) = places.pop_front() {
            oldest.abort();
        }
        let shaking = admit(stream, remote, server.clone(), env.clone(), ready.clone());
        places.push_back(tokio::spawn(shaking).abort_handle());
    }
}

/// Shakes hands, and hands over whoever may come in.
async fn admit(
    stream: TcpStream,
    remote: SocketAddr,
    server: Arc<Server>,
    env: Env,
    ready: mpsc::Sender<Secured>,
) {
    let shaken = within(&*env.clock, HANDSHAKE_TIMEOUT, shake(stream, remote, &server)).await;
    let why = match shaken {
        Some(Ok(secured)) => {
            // Nobody is served any more when this fails.
            let _ended = ready.send(secured).await;
            return;
        }
        Some(Err(Refusal::Silence)) => {
            tracing::debug!(%remote, "a connection ended before it had shaken hands");
            return;
        }
        Some(Err(Refusal::Why(why))) => why,
        None => format!("it has not shaken hands within {} s", HANDSHAKE_TIMEOUT.as_secs()),
    };
    match server.whom() {
        Whom::Clients => tracing::warn!(%remote, %why, "rejected the connection of a client"),
        Whom::Peers => tracing::warn!(%remote, %why, "rejected the connection of a peer"),
    }
}

/// Why somebody does not come in.
enum Refusal {
    /// It went away.
    Silence,
    /// What is wrong with it.
    Why(String),
}

async fn shake(stream: TcpStream, remote: SocketAddr, server: &Server) -> Result<Secured, Refusal> {
    let refused = |error: io::Error| {
        if why::is_silence(&error) { Refusal::Silence } else { Refusal::Why(why::of_accepting(&error)) }
    };
    stream.set_nodelay(true).map_err(refused)?;
    let stream = TlsAcceptor::from(server.now()).accept(stream).await.map_err(refused)?;
    let (_, connection) = stream.get_ref();
    let own = connection.peer_certificates().and_then(<[_]>::first);
    let names = own.map(names::names).transpose().map_err(Refusal::Why)?;
    if let Some(names) = names.as_ref().filter(|_| !server.any_address()) {
        address::check(names, remote.ip()).await.map_err(Refusal::Why)?;
    }
    let common_name = names.and_then(|names| names.common_name).map(Arc::from);
    Ok(Secured { stream, shown: Shown { common_name } })
}

impl Connected for Secured {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        self.shown.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

writes_through!(Secured);
