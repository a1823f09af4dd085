//! The relay of one port of a member: accepts calls on the public address and carries their messages, each at its
//! time, to the address where the member listens, and the answers back.
//!
//! A call is opened at the member only when its first message has arrived there, so a slow or cut link holds up
//! nothing but itself. A caller that hangs up before that may have sent its request or not: a draw says which.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use madsim::net::{Endpoint, Payload, Receiver, Sender};
use quorate_check::types::Nanos;
use tonic::codegen::BoxMessage;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status};

use super::{CALL_NAME, Call, Network, copies};
use crate::net::Link;
use crate::net::chance::{Direction, resume, travel};

/// What an address says on which nobody listens.
pub const REFUSED: &str = "connection refused";
/// Tasks that accept connections: each takes a millisecond over one.
const ACCEPTORS: u32 = 4;
/// Callers of a thousand that hang up early and have sent their request all the same.
const SENT_ALL_THE_SAME_PERMILLE: u64 = 500;
/// How long after its original a copy of a request arrives, milliseconds, at most.
const COPY_AFTER_MS_MAX: u64 = 1_000;
/// The longest that a message lost before everything was healed is waited for afterwards.
const AGAIN_HEALED_MAX: Duration = Duration::from_millis(200);
/// The number, among a call's draws, of the one about its copy; beyond every message's.
const COPY: u64 = 1 << 40;
/// And of the one about hanging up.
const HANG_UP: u64 = COPY + 1;

/// The first message of a call, as the simulated transport sends it: path, whether the answer is a stream, request.
pub(super) type First = (PathAndQuery, bool, Request<BoxMessage>);

/// What the first message of a call tells.
pub(super) struct Opening {
    pub(super) path: String,
    pub(super) name: Option<String>,
    streams: bool,
}

impl Opening {
    pub(super) fn of(first: &Payload) -> Opening {
        let Some((path, streams, request)) = first.downcast_ref::<First>() else {
            return Opening { path: String::new(), name: None, streams: false };
        };
        let name = request.metadata().get(CALL_NAME).and_then(|name| name.to_str().ok());
        Opening { path: path.path().to_owned(), name: name.map(str::to_owned), streams: *streams }
    }
}

/// One port of a member.
pub(super) struct Relay {
    network: Network,
    outside: SocketAddr,
    inside: SocketAddr,
    /// From where the member is called.
    caller: Endpoint,
}

impl Relay {
    /// Carries calls for as long as the simulation runs.
    pub(super) async fn serve(network: Network, outside: SocketAddr, inside: SocketAddr) {
        let bound = async {
            Ok::<_, std::io::Error>((Endpoint::bind("0.0.0.0:0").await?, Endpoint::bind(outside).await?))
        };
        // The addresses are this host's own, and nobody else binds there.
        let Ok((caller, listener)) = bound.await else { return };
        let relay = Arc::new(Relay { network, outside, inside, caller });
        for _ in 0..ACCEPTORS {
            let (relay, listener) = (relay.clone(), listener.clone());
            madsim::task::spawn(async move {
                while let Ok((to, from, address)) = listener.accept1().await {
                    madsim::task::spawn(relay.clone().carry(to, from, address));
                }
            });
        }
    }

    /// Carries one call, until it is over or broken.
    async fn carry(self: Arc<Relay>, to: Sender, mut from: Receiver, address: SocketAddr) {
        // A connection that was only tried carries nothing.
        let Ok(first) = from.recv().await else { return };
        let (call, opening, broken) = self.network.begin(address.ip(), self.outside.ip(), &first);
        {
            let story = pin!(self.story(call, &opening, first, to, from));
            select(broken, story).await;
        }
        self.network.end(call);
    }

    async fn story(&self, call: Call, opening: &Opening, first: Payload, to: Sender, from: Receiver) {
        let there = Lane { network: &self.network, call, direction: Direction::There, link: call.link };
        let back = Lane { direction: Direction::Back, link: call.link.back(), ..there };
        let mut requests = Queue::new(there, from);
        requests.sets_out(Some(first));
        let Some((_, Some(first))) = requests.next().await else { return };
        if to.is_closed() && !there.draw(HANG_UP).permille(SENT_ALL_THE_SAME_PERMILLE) {
            return;
        }
        let Ok((member, answers)) = self.caller.connect1(self.inside).await else {
            back.arrive(0, back.due(0)).await;
            // Whoever has hung up needs no refusal.
            drop(to.send(refusal(opening.streams)).await);
            return;
        };
        self.copy(there, &first);
        if member.send(first).await.is_err() {
            return;
        }
        self.network.delivered(call, there.link, 0);
        let asked = async {
            hand_over(&mut requests, &member).await;
            // The member sees that no more will come.
            drop(member);
            to.closed().await;
            there.arrive(HANG_UP, there.due(HANG_UP)).await;
        };
        let answered = async { hand_over(&mut Queue::new(back, answers), &to).await };
        select(pin!(answered), pin!(asked)).await;
    }

    /// Makes the request a second time, if the weather wants it.
    fn copy(&self, lane: Lane<'_>, first: &Payload) {
        let mut dice = lane.draw(COPY);
        if !dice.permille(self.network.conditions(lane.link).copies_permille) {
            return;
        }
        let Some(copy) = copies::of(first) else { return };
        let after = Duration::from_millis(dice.between(1, COPY_AFTER_MS_MAX));
        let (network, caller, inside, link, call) =
            (self.network.clone(), self.caller.clone(), self.inside, lane.link, lane.call);
        madsim::task::spawn(async move {
            network.inner.time.sleep(after).await;
            network.opened(link).await;
            let Ok((member, mut answer)) = caller.connect1(inside).await else { return };
            if member.send(copy).await.is_ok() {
                network.delivered(call, link, COPY);
                // Nobody waits for it, but who hangs up early is not served.
                drop(answer.recv().await);
            }
        });
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// One direction of one call.
#[derive(Clone, Copy)]
struct Lane<'a> {
    network: &'a Network,
    call: Call,
    direction: Direction,
    link: Link,
}

impl Lane<'_> {
    fn draw(&self, number: u64) -> crate::plan::dice::Dice {
        self.call.chances.message(self.direction, number, 0)
    }

    /// When a message that sets out now arrives.
    fn due(&self, number: u64) -> Nanos {
        let took = travel(&mut self.draw(number), self.network.conditions(self.link));
        let now = self.network.inner.time.now();
        Nanos(now.0.saturating_add(nanos(took)))
    }

    /// Waits until it has arrived, and the link is there.
    async fn arrive(&self, number: u64, due: Nanos) {
        let time = &self.network.inner.time;
        select(pin!(time.alarm(due)), pin!(self.network.healed(self.link))).await;
        // Whatever was lost in bad weather is soon sent again in good weather.
        let soon = Nanos(time.now().0 + nanos(AGAIN_HEALED_MAX));
        if due > time.now() {
            time.alarm(due.min(soon)).await;
        }
        for again in 1.. {
            if !self.network.opened(self.link).await {
                return;
            }
            let mut dice = self.call.chances.message(self.direction, number, again);
            let pause = resume(&mut dice, self.network.conditions(self.link));
            time.alarm(Nanos(time.now().0 + nanos(pause))).await;
        }
    }
}

/// The messages of one direction of one call that are on their way.
struct Queue<'a> {
    lane: Lane<'a>,
    from: Receiver,
    sent: u64,
    ended: bool,
    /// Number, time of arrival, and the message; none is the end of the stream.
    waiting: VecDeque<(u64, Nanos, Option<Payload>)>,
}

impl<'a> Queue<'a> {
    fn new(lane: Lane<'a>, from: Receiver) -> Queue<'a> {
        Queue { lane, from, sent: 0, ended: false, waiting: VecDeque::new() }
    }

    /// A message sets out.
    fn sets_out(&mut self, message: Option<Payload>) {
        self.ended |= message.is_none();
        self.waiting.push_back((self.sent, self.lane.due(self.sent), message));
        self.sent += 1;
    }

    /// The next message that arrives, with its number; each after the one before.
    async fn next(&mut self) -> Option<(u64, Option<Payload>)> {
        if self.waiting.is_empty() && !self.ended {
            let message = self.from.recv().await.ok();
            self.sets_out(message);
        }
        let (number, due, message) = self.waiting.pop_front()?;
        let lane = self.lane;
        let others = async {
            // Others set out while this one is under way.
            while !self.ended {
                let message = self.from.recv().await.ok();
                self.sets_out(message);
            }
            pending::<()>().await;
        };
        select(pin!(lane.arrive(number, due)), pin!(others)).await;
        Some((number, message))
    }
}

/// Hands messages over as they arrive, until there are no more or nobody takes them.
async fn hand_over(queue: &mut Queue<'_>, to: &Sender) {
    while let Some((number, Some(message))) = queue.next().await {
        if to.send(message).await.is_err() {
            return;
        }
        queue.lane.network.delivered(queue.lane.call, queue.lane.link, number);
    }
}

/// The answer of an address on which nobody listens, as the transport's clients expect it.
fn refusal(streams: bool) -> Payload {
    let status = Status::unavailable(REFUSED);
    if streams {
        Box::new(Err::<Response<()>, Status>(status))
    } else {
        Box::new(Err::<Response<BoxMessage>, Status>(status))
    }
}
