//! Observers: watches that run beside the clients, on every member, for as long as the run goes on.
//!
//! A *follower* watches everything with previous pairs, from the first revision on, and resumes where it left
//! off when its member dies: it makes every revision known, so that the course of operations whose outcome is
//! unknown can be told. A *latecomer* starts in the past again and again, so that members catch watchers up
//! while writes go on, compactions included.

use std::sync::Arc;
use std::time::Duration;

use quorate::machine::watch::{Body, EventOptions, Filters, Response, WatchSpec};
use quorate::types::{KeyRange, RangeEnd, Revision};
use quorate_check::bytes::Bytes;
use quorate_check::history::{Header, MemberAsked, Watch, WatchCreate, WatchEnd, WatchReceived};
use quorate_check::types::{ClientId, ClusterId, MemberId, Nanos, Revision as Seen, Term, WatchNo};

use super::convert;
use crate::plan::MemberIndex;
use crate::plan::dice::{Dice, Purpose};
use crate::record::Record;
use crate::world::World;
use crate::world::product::{self, Member};

/// Responses taken from a stream at a time.
const RESPONSES_MAX: usize = 16;
/// How long an observer waits for a member that does not run.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Observers are clients with numbers from here on, a hundred a member.
const FIRST_CLIENT: u64 = 1000;
/// How far back a latecomer starts, in revisions, at most.
const LATE_REVISIONS_MAX: u64 = 400;
/// How long a latecomer watches, milliseconds, at most.
const LATE_WATCH_MS_MAX: u64 = 3_000;

/// Latecomers of a thousand that read slowly.
const SLOW_PERMILLE: u64 = 400;
/// How long a slow one takes over a response, milliseconds, at most.
const SLOW_PAUSE_MS_MAX: u64 = 400;
/// Latecomers of a thousand that start in the future, and by how many revisions at most.
const FUTURE_PERMILLE: u64 = 120;
const FUTURE_REVISIONS_MAX: u64 = 30;
/// How often a latecomer that asks for progress does so, milliseconds, at most.
const PROGRESS_MS_MAX: u64 = 400;

/// What one watch of an observer is to be.
#[derive(Clone)]
struct Order {
    client: ClientId,
    create: WatchCreate,
    until: Option<Nanos>,
    /// How long it takes over each response: a slow reader's stream fills up.
    pause: Duration,
    /// How often it asks for progress.
    asks_every: Option<Duration>,
}

/// Asks for progress again and again, until it is dropped.
struct Asking(madsim::task::JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a watch of an observer ended.
struct Outcome {
    /// The last revision whose events came.
    reached: Seen,
    /// The compacted revision that a cancel carried.
    compacted: Option<Seen>,
}

/// Starts the observers of every member.
pub fn start(world: &World, until: Nanos) {
    for index in world.members() {
        let (follower, latecomer) = (world.clone(), world.clone());
        world.supervisor().spawn(async move { follow(follower, index).await });
        world.supervisor().spawn(async move { come_late(latecomer, index, until).await });
    }
}

async fn follow(world: World, index: MemberIndex) {
    let mut next = Seen(1);
    let client = ClientId(FIRST_CLIENT + u64::from(index.0) * 100);
    for watch in 0.. {
        let create = WatchCreate { start_revision: next, prev_kv: true, ..everything() };
        let order = Order { client, create, until: None, pause: Duration::ZERO, asks_every: None };
        let outcome = observe(&world, index, watch, order).await;
        next = Seen(outcome.reached.0.max(next.0 - 1) + 1);
        if let Some(compacted) = outcome.compacted {
            next = Seen(next.0.max(compacted.0));
        }
    }
}

async fn come_late(world: World, index: MemberIndex, until: Nanos) {
    let client = ClientId(FIRST_CLIENT + u64::from(index.0) * 100 + 1);
    let seed = world.plan().schedule_seed;
    for watch in 0.. {
        let mut dice = Dice::keyed_twice(seed, Purpose::Observer, u64::from(index.0), watch);
        world.time().sleep(Duration::from_millis(dice.between(200, LATE_WATCH_MS_MAX))).await;
        if world.time().now() >= until {
            return;
        }
        let back = i64::try_from(dice.between(1, LATE_REVISIONS_MAX)).unwrap_or(1);
        let newest = world.record().newest_revision();
        let ahead = i64::try_from(dice.between(1, FUTURE_REVISIONS_MAX)).unwrap_or(1);
        let start = if dice.permille(FUTURE_PERMILLE) { newest.0 + ahead } else { newest.0 - back };
        let create = WatchCreate {
            start_revision: Seen(start.max(1)),
            prev_kv: dice.permille(500),
            no_put: dice.permille(100),
            no_delete: dice.permille(100),
            progress_notify: dice.permille(400),
            ..everything()
        };
        let ends = Nanos(world.time().now().0 + dice.between(100, LATE_WATCH_MS_MAX) * 1_000_000);
        let slow = dice.permille(SLOW_PERMILLE);
        let pause = Duration::from_millis(if slow { dice.between(5, SLOW_PAUSE_MS_MAX) } else { 0 });
        let asks = dice.permille(400).then(|| Duration::from_millis(dice.between(20, PROGRESS_MS_MAX)));
        observe(&world, index, watch, Order { client, create, until: Some(ends), pause, asks_every: asks })
            .await;
    }
}

/// Every key there is.
fn everything() -> WatchCreate {
    WatchCreate { key: Bytes::from(&b"\0"[..]), range_end: Bytes::from(&b"\0"[..]), ..WatchCreate::default() }
}

/// Runs one watch until its member dies, the server cancels it, or its time is over.
async fn observe(world: &World, index: MemberIndex, watch: u64, order: Order) -> Outcome {
    let (node, member) = loop {
        match world.reach(index) {
            Some(reached) => break reached,
            None => world.time().sleep(RETRY_PAUSE).await,
        }
    };
    let record = world.record().clone();
    let id = WatchNo(order.client.0 * 1_000_000 + watch);
    let asked = MemberAsked { id: MemberId(product::member_id(index).0), index: u32::from(index.0) };
    let now = world.time().now();
    record.watch_begins(Watch {
        id,
        client: order.client,
        stream: watch,
        member: asked,
        invoked: now,
        create: order.create.clone(),
        ..Watch::default()
    });
    let (time, inner, create, ends) = (world.time().clone(), record.clone(), order.create, order.until);
    let (pause, asks_every) = (order.pause, order.asks_every);
    let responses_max = if pause.is_zero() { RESPONSES_MAX } else { 1 };
    let task = node.spawn(async move {
        let stream = Arc::new(member.watch());
        stream.create(spec(&create));
        let _asking = asks_every.map(|every| {
            let (stream, time, record) = (stream.clone(), time.clone(), inner.clone());
            Asking(madsim::task::spawn(async move {
                loop {
                    time.sleep(every).await;
                    if !stream.room().await {
                        return;
                    }
                    record.watch_asks_progress(id, time.now());
                    stream.request_progress();
                }
            }))
        });
        loop {
            let left = ends.map_or(u64::MAX, |ends| ends.0.saturating_sub(time.now().0));
            if left == 0 {
                return WatchEnd::ClientCancel { at: time.now() };
            }
            let wait = Duration::from_nanos(left.min(1_000_000_000));
            let Ok(responses) = madsim::time::timeout(wait, stream.next(responses_max)).await else {
                continue;
            };
            if responses.is_empty() {
                return WatchEnd::Broken { at: time.now(), error: "the member stopped".to_owned() };
            }
            for response in responses {
                let received = received(&member, time.now(), &response);
                let canceled = received.canceled;
                inner.watch_received(id, received);
                if canceled {
                    return WatchEnd::ServerCancel { at: time.now() };
                }
            }
            if !pause.is_zero() {
                time.sleep(pause).await;
            }
        }
    });
    let died = |_| WatchEnd::Broken { at: world.time().now(), error: "the member died".to_owned() };
    let end = task.await.unwrap_or_else(died);
    outcome(&record, id, end)
}

fn outcome(record: &Arc<Record>, id: WatchNo, end: WatchEnd) -> Outcome {
    let watch = record.watch_ends(id, end);
    let received = watch.iter().flat_map(|watch| &watch.received);
    let reached =
        received.clone().flat_map(|response| &response.events).map(|event| event.kv.mod_revision).max();
    let compacted =
        received.filter(|response| response.canceled).map(|response| response.compact_revision).max();
    Outcome { reached: reached.unwrap_or_default(), compacted }
}

fn spec(create: &WatchCreate) -> WatchSpec {
    let all = KeyRange { start: bytes::Bytes::from_static(&[0]), end: RangeEnd::Open };
    WatchSpec {
        start: Revision(create.start_revision.0),
        options: EventOptions {
            filters: Filters { no_put: create.no_put, no_delete: create.no_delete },
            prev_kv: create.prev_kv,
        },
        progress_notify: create.progress_notify,
        ..WatchSpec::new(all)
    }
}

fn received(member: &Member, at: Nanos, response: &Response) -> WatchReceived {
    let status = product::status(member);
    let header = Header {
        cluster_id: ClusterId(status.cluster.0),
        member_id: MemberId(status.member.0),
        revision: Seen(response.revision.0),
        raft_term: Term(status.term.0),
    };
    let seen = WatchReceived { at, header, watch_id: response.watch_id.0, ..WatchReceived::default() };
    match &response.body {
        Body::Created => WatchReceived { created: true, ..seen },
        Body::Refused(why) => {
            WatchReceived { created: true, canceled: true, cancel_reason: why.to_string(), ..seen }
        }
        Body::Canceled => WatchReceived { canceled: true, ..seen },
        Body::Compacted(at) => WatchReceived { canceled: true, compact_revision: Seen(at.0), ..seen },
        Body::Progress => seen,
        Body::Events { set, more, .. } => {
            let events = set.events().iter().map(convert::watch_event).collect();
            WatchReceived { events, fragment: *more, ..seen }
        }
    }
}
