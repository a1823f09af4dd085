//! Observers: watches that run beside the clients, on every member, for as long as the run goes on.
//!
//! A *follower* watches everything with previous pairs, from the first revision on, and resumes where it left
//! off when its member dies: it makes every revision known, so that the course of operations whose outcome is
//! unknown can be told. A *latecomer* starts in the past again and again, so that members catch watchers up
//! while writes go on, compactions included. An *idler* watches a key that nobody writes and asks how far it has come.
//!
//! `direct` watches through the member as an object, `wire` through its service, from a host of the observers' own.

mod direct;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{EventKind, MemberAsked, Watch, WatchCreate, WatchEnd, WatchReceived};
use quorate_check::types::{ClientId, Nanos, Revision as Seen, WatchNo};

use crate::client::resolve::span;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::operation::Keys;
use crate::plan::{ClientPath, MemberIndex};
use crate::record::Record;
use crate::world::{Time, World};

/// Observers are clients with numbers from here on, a hundred a member.
const FIRST_CLIENT: u64 = 1000;
/// How far back a latecomer starts, in revisions, at most.
const LATE_REVISIONS_MAX: u64 = 400;
/// How long a latecomer watches, milliseconds, at most.
const LATE_WATCH_MS_MAX: u64 = 3_000;
/// How long after the heal the last latecomer is gone.
pub const LATECOMERS_STAY: Duration = Duration::from_millis(LATE_WATCH_MS_MAX + SLOW_PAUSE_MS_MAX + LOOK_MS);
/// The longest wait for a response before the time is looked at again, milliseconds.
const LOOK_MS: u64 = 1_000;

/// Latecomers of a thousand that read slowly.
const SLOW_PERMILLE: u64 = 400;
/// How long a slow one takes over a response, milliseconds, at most.
const SLOW_PAUSE_MS_MAX: u64 = 400;
/// Latecomers of a thousand that start in the future, and by how many revisions at most.
const FUTURE_PERMILLE: u64 = 120;
const FUTURE_REVISIONS_MAX: u64 = 30;
/// The first keys of all, which every run writes: one of them is what a narrow watch is about.
const NARROW_KEYS: u64 = 5;
/// The client of a member's idler, among those of that member.
const IDLER: u64 = 99;
/// How often an idler asks for progress.
const IDLER_ASKS_EVERY: Duration = Duration::from_millis(900);
/// How long a follower or an idler whose watch ended stays away.
const RESUME_PAUSE: Duration = Duration::from_millis(20);
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
    /// A deletion ends it.
    until_deleted: bool,
}

/// How a watch of an observer ended.
struct Outcome {
    /// The last revision of which all events came.
    reached: Seen,
    /// The compacted revision that a cancel carried.
    compacted: Option<Seen>,
}

/// What latecomers of a run are like.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    /// How many each member has.
    latecomers: u64,
    /// How long one stays away, and then watches, milliseconds, at most.
    ms_max: u64,
    /// Of a thousand, how many start right above the last compaction, where the next one strikes first.
    edge_permille: u64,
    /// Of a thousand, how many are told of progress.
    told_permille: u64,
    /// Of a thousand, how many watch one key: most of what they catch up on is none of theirs.
    narrow_permille: u64,
}

impl Crowd {
    fn of(world: &World) -> Crowd {
        // No watch has this number.
        let mut dice = Dice::keyed_twice(world.plan().seed, Purpose::Observer, u64::MAX, 0);
        let many = dice.permille(400);
        Crowd {
            latecomers: if many { dice.between(2, 5) } else { 1 },
            ms_max: if many { dice.between(250, 1_500) } else { LATE_WATCH_MS_MAX },
            edge_permille: if dice.permille(400) { dice.between(200, 700) } else { 50 },
            told_permille: if dice.permille(300) { 900 } else { 400 },
            narrow_permille: if dice.permille(400) { dice.between(200, 700) } else { 50 },
        }
    }
}

/// Starts the observers of every member.
pub fn start(world: &World, until: Nanos) {
    let crowd = Crowd::of(world);
    for index in world.members() {
        let follower = world.clone();
        let host = match world.plan().observer_path {
            ClientPath::Direct => world.supervisor().clone(),
            ClientPath::Wire => world.client_host(follower_of(index)),
        };
        host.spawn(async move { follow(follower, index).await });
        let idler = world.clone();
        host.spawn(async move { idle(idler, index).await });
        for nth in 0..crowd.latecomers {
            let latecomer = world.clone();
            host.spawn(async move { come_late(latecomer, index, nth, crowd, until).await });
        }
    }
}

/// Watches one key from a revision on until it is deleted, `until` has come, or the watch ends in another way.
pub async fn wait_for_deletion(
    world: &World,
    index: MemberIndex,
    client: ClientId,
    number: u64,
    (key, from): (Bytes, Seen),
    until: Nanos,
) {
    let create = WatchCreate { key, start_revision: from, no_put: true, ..WatchCreate::default() };
    let order = Order {
        client,
        create,
        until: Some(until),
        pause: Duration::ZERO,
        asks_every: None,
        until_deleted: true,
    };
    observe(world, index, number, order).await;
}

/// Who watches everything that a member has to tell, for as long as the run goes on.
pub fn follower_of(index: MemberIndex) -> ClientId {
    ClientId(FIRST_CLIENT + u64::from(index.0) * 100)
}

async fn idle(world: World, index: MemberIndex) {
    for watch in 0.. {
        let create = WatchCreate { key: Bytes::from("nobody writes this"), ..WatchCreate::default() };
        let order = Order {
            client: ClientId(follower_of(index).0 + IDLER),
            create,
            until: None,
            pause: Duration::ZERO,
            asks_every: Some(IDLER_ASKS_EVERY),
            until_deleted: false,
        };
        observe(&world, index, watch, order).await;
        world.time().sleep(RESUME_PAUSE).await;
    }
}

async fn follow(world: World, index: MemberIndex) {
    let mut next = Seen(1);
    let client = follower_of(index);
    for watch in 0.. {
        let fragment = (u64::from(index.0) + watch) % 2 == 1;
        let create = WatchCreate { start_revision: next, prev_kv: true, fragment, ..everything() };
        let order = Order {
            client,
            create,
            until: None,
            pause: Duration::ZERO,
            asks_every: None,
            until_deleted: false,
        };
        let outcome = observe(&world, index, watch, order).await;
        next = Seen(outcome.reached.0.max(next.0 - 1) + 1);
        if let Some(compacted) = outcome.compacted {
            next = Seen(next.0.max(compacted.0));
        }
        world.time().sleep(RESUME_PAUSE).await;
    }
}

async fn come_late(world: World, index: MemberIndex, nth: u64, crowd: Crowd, until: Nanos) {
    let client = ClientId(follower_of(index).0 + 1 + nth);
    let seed = world.plan().schedule_seed;
    for watch in 0.. {
        let mut dice = Dice::keyed_twice(seed, Purpose::Observer, u64::from(index.0) + nth * 1_000, watch);
        world.time().sleep(Duration::from_millis(dice.between(200, crowd.ms_max))).await;
        // Behind the heal the harness waits for watches to come to rest.
        if world.time().now() >= until || world.is_healed() {
            return;
        }
        let back = i64::try_from(dice.between(1, LATE_REVISIONS_MAX)).unwrap_or(1);
        let newest = world.record().newest_revision();
        let ahead = i64::try_from(dice.between(1, FUTURE_REVISIONS_MAX)).unwrap_or(1);
        let start = match dice.permille(FUTURE_PERMILLE) {
            true => newest.0 + ahead,
            false if dice.permille(crowd.edge_permille) => world.record().last_compaction().0 + ahead / 4,
            false => newest.0 - back,
        };
        let narrow = dice.permille(crowd.narrow_permille);
        let one = u16::try_from(dice.below(NARROW_KEYS)).map(Keys::One);
        let (key, range_end) = span(one.ok().filter(|_| narrow).unwrap_or(Keys::All));
        let create = WatchCreate {
            key,
            range_end,
            start_revision: Seen(start.max(1)),
            prev_kv: dice.permille(500),
            no_put: dice.permille(200),
            no_delete: dice.permille(100),
            progress_notify: dice.permille(crowd.told_permille),
            ..WatchCreate::default()
        };
        let ends = Nanos(world.time().now().0 + dice.between(100, crowd.ms_max) * 1_000_000);
        let slow = dice.permille(SLOW_PERMILLE);
        let pause = Duration::from_millis(if slow { dice.between(5, SLOW_PAUSE_MS_MAX) } else { 0 });
        let asks = dice.permille(400).then(|| Duration::from_millis(dice.between(20, PROGRESS_MS_MAX)));
        let create = WatchCreate { fragment: dice.permille(500), ..create };
        let order =
            Order { client, create, until: Some(ends), pause, asks_every: asks, until_deleted: false };
        observe(&world, index, watch, order).await;
    }
}

/// Every key there is.
fn everything() -> WatchCreate {
    WatchCreate { key: Bytes::from(&b"\0"[..]), range_end: Bytes::from(&b"\0"[..]), ..WatchCreate::default() }
}

/// A watch that is being recorded.
struct Watching {
    record: Arc<Record>,
    time: Time,
    /// What it watches, as asked.
    watch: Watch,
    until: Option<Nanos>,
    pause: Duration,
    asks_every: Option<Duration>,
    until_deleted: bool,
}

impl Watching {
    /// Notes that the watch was asked for at `invoked`.
    fn begins(&mut self, invoked: Nanos) {
        self.watch.invoked = invoked;
        self.record.watch_begins(self.watch.clone());
    }

    /// How long to wait for a response; `None` when the watch's time is over.
    fn patience(&self) -> Option<Duration> {
        let left = self.until.map_or(u64::MAX, |until| until.0.saturating_sub(self.time.now().0));
        (left > 0).then(|| Duration::from_millis(LOOK_MS).min(Duration::from_nanos(left)))
    }

    /// Notes a response; the end, when it is one.
    fn received(&self, received: WatchReceived) -> Option<WatchEnd> {
        let canceled = received.canceled;
        let deleted = received.events.iter().any(|event| event.kind == EventKind::Delete);
        self.record.watch_received(self.watch.id, received);
        if canceled {
            return Some(WatchEnd::ServerCancel { at: self.time.now() });
        }
        if self.until_deleted && deleted {
            return Some(self.over());
        }
        None
    }

    /// Takes its time over a response, or several.
    async fn pause(&self) {
        if !self.pause.is_zero() {
            self.time.sleep(self.pause).await;
        }
    }

    fn broken(&self, error: impl Into<String>) -> WatchEnd {
        WatchEnd::Broken { at: self.time.now(), error: error.into() }
    }

    fn over(&self) -> WatchEnd {
        WatchEnd::ClientCancel { at: self.time.now() }
    }
}

/// Runs one watch until its member dies, the server cancels it, or its time is over.
async fn observe(world: &World, index: MemberIndex, number: u64, order: Order) -> Outcome {
    let id = WatchNo(order.client.0 * 1_000_000 + number);
    let watch = Watch {
        id,
        client: order.client,
        stream: number,
        member: MemberAsked { id: world.member_id(index), index: u32::from(index.0) },
        create: order.create,
        ..Watch::default()
    };
    let watching = Watching {
        record: world.record().clone(),
        time: world.time().clone(),
        watch,
        until: order.until,
        pause: order.pause,
        asks_every: order.asks_every,
        until_deleted: order.until_deleted,
    };
    let end = match world.plan().observer_path {
        ClientPath::Direct => direct::watch(world, index, watching).await,
        ClientPath::Wire => wire::watch(world, index, watching).await,
    };
    outcome(world.record(), id, end)
}

fn outcome(record: &Arc<Record>, id: WatchNo, end: WatchEnd) -> Outcome {
    let watch = record.watch_ends(id, end);
    let received = watch.iter().flat_map(|watch| &watch.received);
    let canceled = received.filter(|response| response.canceled);
    Outcome {
        reached: watch.as_ref().map(Watch::reached).unwrap_or_default(),
        compacted: canceled.map(|response| response.compact_revision).max(),
    }
}
