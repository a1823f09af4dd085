//! Connections on their way in, in plain text or by TLS: beside each other, none of which can hold up another.
//!
//! A connection is accepted at once, if there is a place for it, and arrives in a task of its own: it shakes hands, or says
//! the first thing where there are no hands to shake. It has a bounded time for that. So whoever connects and says nothing
//! costs a place for a while, and nobody else his own connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

use crate::config::tls::Whom;
use crate::env::{Env, within};
use crate::tls::places::{Place, Places, Room};
use crate::tls::server::Server;
use crate::tls::{address, names, why};

/// How long a handshake may take, or the first word.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that have arrived and are not served yet.
const READY_MAX: usize = 64;
/// Pause after a connection that could not even be accepted: there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection, as its verified certificate has it.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The common name, if it was asked for a certificate, and it bears one.
    pub common_name: Option<Arc<str>>,
}

/// What goes both ways.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// A connection that has arrived.
pub struct Arrived {
    stream: Box<dyn Wire>,
    shown: Shown,
    _place: Place,
}

/// What is at an address.
pub struct Entrance {
    /// Who connects.
    pub whom: Whom,
    /// TLS, or plain text.
    pub tls: Option<Arc<Server>>,
    /// How many may come in.
    pub places: Places,
}

/// Connections that have arrived, as they come.
pub struct Incoming(mpsc::Receiver<Arrived>);

impl Incoming {
    /// From `listener`, for as long as this is held.
    pub fn of(listener: TcpListener, entrance: Entrance, env: &Env) -> Incoming {
        let (sender, ready) = mpsc::channel(READY_MAX);
        let room = entrance.places.of(entrance.whom).clone();
        let hall = Hall { whom: entrance.whom, tls: entrance.tls, room, env: env.clone(), ready: sender };
        tokio::spawn(accept(listener, Arc::new(hall)));
        Incoming(ready)
    }
}

impl Stream for Incoming {
    type Item = io::Result<Arrived>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}

/// What connections pass on their way in.
struct Hall {
    whom: Whom,
    tls: Option<Arc<Server>>,
    room: Arc<Room>,
    env: Env,
    ready: mpsc::Sender<Arrived>,
}

impl Hall {
    /// Tells of a `kind` of thing, unless it was told of a moment ago; `tell` takes how often it was passed over since.
    fn tell(&self, kind: &str, tell: impl FnOnce(u64)) {
        if let Some(passed_over) = self.room.told().ask(kind, self.env.clock.monotonic()) {
            tell(passed_over);
        }
    }
}

async fn accept(listener: TcpListener, hall: Arc<Hall>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = hall.ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                hall.tell("accept", |more| {
                    tracing::warn!(%error, more, "a connection could not be accepted");
                });
                hall.env.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = hall.room.take() else {
            drop(stream);
            hall.tell("full", |more| {
                let (whom, places) = (hall.whom, hall.room.most());
                tracing::warn!(%whom, places, more, "too many connections: a new one is closed");
            });
            continue;
        };
        let arriving = admit(stream, remote, place, hall.clone());
        let arriving = match &hall.tls {
            Some(server) => server.hands().spawn(arriving),
            None => tokio::spawn(arriving).abort_handle(),
        };
        if hall.room.arrives(arriving) {
            hall.tell("crowd", |more| {
                let (whom, places) = (hall.whom, hall.room.arriving_max());
                tracing::warn!(%whom, places, more, "too many handshakes at once: the oldest are given up");
            });
        }
    }
}

/// Has it arrive, and hands over whoever may come in.
async fn admit(stream: TcpStream, remote: SocketAddr, place: Place, hall: Arc<Hall>) {
    let arriving = async {
        match &hall.tls {
            Some(server) => shake(stream, remote, server).await,
            None => hear(stream).await,
        }
    };
    let why = match within(&*hall.env.clock, ARRIVAL_TIMEOUT, arriving).await {
        Some(Ok((stream, shown))) => {
            // Nobody is served any more when this fails.
            let _ended = hall.ready.send(Arrived { stream, shown, _place: place }).await;
            return;
        }
        Some(Err(Refusal::Silence)) => {
            tracing::debug!(%remote, "a connection ended before it had shaken hands");
            return;
        }
        Some(Err(Refusal::Why(why))) => why,
        None => {
            let what = if hall.tls.is_some() { "shaken hands" } else { "said anything" };
            format!("it has not {what} within {} s", ARRIVAL_TIMEOUT.as_secs())
        }
    };
    hall.tell(&why, |more| match hall.whom {
        Whom::Clients => tracing::warn!(%remote, %why, more, "rejected the connection of a client"),
        Whom::Peers => tracing::warn!(%remote, %why, more, "rejected the connection of a peer"),
    });
}

/// Why somebody does not come in.
enum Refusal {
    /// It went away.
    Silence,
    /// What is wrong with it.
    Why(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        if why::is_silence(&error) { Refusal::Silence } else { Refusal::Why(why::of_accepting(&error)) }
    }
}

/// Waits for the first word: whoever speaks HTTP/2 begins.
async fn hear(stream: TcpStream) -> Result<(Box<dyn Wire>, Shown), Refusal> {
    stream.set_nodelay(true)?;
    match stream.peek(&mut [0]).await? {
        0 => Err(Refusal::Silence),
        _ => Ok((Box::new(stream), Shown::default())),
    }
}

async fn shake(
    stream: TcpStream,
    remote: SocketAddr,
    server: &Server,
) -> Result<(Box<dyn Wire>, Shown), Refusal> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(server.now()).accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let own = connection.peer_certificates().and_then(<[_]>::first);
    let names = own.map(names::names).transpose().map_err(Refusal::Why)?;
    if let Some(names) = names.as_ref().filter(|_| !server.any_address()) {
        address::check(names, remote.ip()).await.map_err(Refusal::Why)?;
    }
    let common_name = names.and_then(|names| names.common_name).map(Arc::from);
    Ok((Box::new(stream), Shown { common_name }))
}

impl Connected for Arrived {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        self.shown.clone()
    }
}

impl AsyncRead for Arrived {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

writes_through!(Arrived);
