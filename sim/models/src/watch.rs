//! Watch resume against compaction: a watcher sees every event exactly once, or is told that history is gone.
//!
//! # Modelled
//! A member with the real machine, the real watch hub and its catch-up in three steps (plan, read, finish), between
//! which anything may happen: entries are applied and published, history is compacted and physically swept, a
//! snapshot of a member that is ahead is installed. One client watches key `w` from the first revision on, may lose
//! its connection at any moment (with what is queued in it), and resumes at its next revision on any member, which
//! may be behind or ahead of the one before.
//!
//! # Abstracted
//! The log is totally ordered and shared; a member applies any prefix. When an entry was written matters to nobody,
//! only when it is applied: so each possible log is an initial state, and nothing is written later. Nor does it matter
//! what a member does while no client is there: so the client connects to a member that has applied any prefix, and
//! has swept it or not. The hub's limits are as small as they go: one
//! record a read, two responses a queue. Encoding and fragments are left out.
//!
//! # Bounds
//! [`PUTS`] puts to the watched key, one of them perhaps beside it, one compaction, one loss of the connection, one
//! snapshot.
//!
//! # Properties
//! Always: the client has exactly the first events of the truth, in order, once; a compaction cancel comes only to a
//! client that needs a compacted revision; when nothing is left to do, the client has everything or was cancelled.
//! Sometimes: a resumed client gets all; it gets the compaction cancel; a watcher is unsynced while entries are
//! published; history is swept during a read; a watcher crosses a snapshot.

use bytes::Bytes;
use quorate::machine::command::{Command, Compact, Put};
use quorate::machine::watch::{
    Body, CatchUpBudget, CaughtUp, Creation, Hub, Scan, StreamId, WatchLimits, WatchSpec,
};
use quorate::types::{KeyRange, Revision};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, must};
use crate::search::{Checked, is_terminal};

/// Puts in all.
const PUTS: usize = 3;

const WATCHED: &str = "w";
const BESIDE: &str = "x";
const LIMITS: WatchLimits = WatchLimits {
    queue_bytes_max: 1 << 20,
    queue_responses_max: 2,
    scan_watchers_max: 4,
    scan_chunk_records: 1,
    message_revisions_max: 2,
    short_scan_revisions: 1,
};
const BUDGET: CatchUpBudget = CatchUpBudget { records: 1, bytes: 1 << 20 };

/// The model.
#[derive(Clone, Debug)]
pub struct WatchModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchState {
    log: Vec<Entry>,
    member: Option<Member>,
    client: Client,
    losses: u8,
    snapshots: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Watched,
    Beside,
    Compact(Revision),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    replica: Replica,
    hub: Hub,
    catch_up: CatchUp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum CatchUp {
    Idle,
    Planned(Scan),
    Read(CaughtUp),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    /// Counts its streams.
    streams: u64,
    next: Revision,
    got: Vec<Revision>,
    cancelled: Option<Revision>,
    crossed_snapshot: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchAction {
    /// The client connects and resumes, at a member that has applied so many entries, and swept them or not.
    Connect(usize, bool),
    /// The member applies and publishes the next entry.
    Apply,
    /// It deletes what is compacted.
    Sweep,
    /// It gets the snapshot of a member that has applied so many entries, and swept them or not.
    Install(usize, bool),
    /// It plans a catch-up.
    Plan,
    /// It reads history.
    Read,
    /// It delivers.
    Finish,
    /// The connection breaks, with what was queued in it.
    Lose,
    /// The client takes one response.
    Receive,
}

/// Every log within the bounds: puts of which at most one is beside the watched key, and one compaction at any place
/// that has two revisions before it, of the newest revision there or of the one below.
fn logs() -> Vec<Vec<Entry>> {
    let mut puts = vec![vec![Entry::Watched; PUTS]];
    for beside in 0..PUTS {
        let put = |place: usize| if place == beside { Entry::Beside } else { Entry::Watched };
        puts.push((0..PUTS).map(put).collect());
    }
    let mut logs = Vec::new();
    for log in puts {
        for (before, newest) in (2..=PUTS).zip(3..) {
            for at in [newest, newest - 1].into_iter().filter(|at| *at > 2).map(Revision) {
                let mut log = log.clone();
                log.insert(before, Entry::Compact(at));
                logs.push(log);
            }
        }
    }
    logs
}

fn stream(client: &Client) -> StreamId {
    StreamId(client.streams)
}

impl WatchState {
    /// The revisions of all events of the watched key.
    fn truth(&self) -> Vec<Revision> {
        let puts = self.log.iter().filter(|entry| !matches!(entry, Entry::Compact(_)));
        let numbered = (2..).map(Revision).zip(puts);
        numbered.filter(|(_, entry)| **entry == Entry::Watched).map(|(at, _)| at).collect()
    }

    fn next_entry(&self, member: &Member) -> Option<Entry> {
        self.log.get(usize::try_from(member.replica.applied()).ok()?).copied()
    }

    fn receive(&mut self, planted: Planted) -> Option<()> {
        let member = self.member.as_mut()?;
        let response = member.hub.drain(stream(&self.client), 1).pop()?;
        match response.body {
            Body::Events { set, .. } => {
                let revisions = set.events().iter().map(|event| event.event.revision());
                self.client.got.extend(revisions);
                self.client.next = match planted {
                    Planted::ResumedAtLast => set.last(),
                    Planted::ResumedAtHeader => response.revision.next(),
                    _ => set.last().next(),
                };
            }
            Body::Compacted(at) if planted == Planted::CancelSwallowed => {
                self.client.next = at;
                self.member = None;
            }
            Body::Compacted(_) if planted == Planted::CancelLost => {}
            Body::Compacted(at) => self.client.cancelled = Some(at),
            Body::Created | Body::Progress => {}
            Body::Refused(_) | Body::Canceled => self.client.cancelled = Some(Revision(-1)),
        }
        Some(())
    }
}

impl Member {
    /// A member without clients that has applied these entries.
    fn at(log: &[Entry], swept: bool) -> Member {
        let hub = Hub::new(LIMITS, Revision::FIRST);
        let mut member = Member { replica: Replica::default(), hub, catch_up: CatchUp::Idle };
        for entry in log {
            member.apply(*entry);
        }
        if swept {
            member.replica.sweep();
        }
        member
    }

    fn apply(&mut self, entry: Entry) {
        let put = |key: &'static str| {
            Command::Put(Put { key: Bytes::from_static(key.as_bytes()), ..Put::default() })
        };
        let (_, events) = self.replica.run(match entry {
            Entry::Watched => put(WATCHED),
            Entry::Beside => put(BESIDE),
            Entry::Compact(revision) => Command::Compact(Compact { revision }),
        });
        must(self.hub.publish(&events, self.replica.state().revision(), &self.replica), "publish");
        self.hub.take_woken();
    }

    fn connect(&mut self, client: &Client) {
        self.hub.open(stream(client));
        let spec = WatchSpec { start: client.next, ..WatchSpec::new(KeyRange::single(WATCHED)) };
        let state = self.replica.state();
        let created = self.hub.create(stream(client), spec, state.revision(), state.compacted());
        assert_ne!(created, Creation::Refused, "a plain watch is refused");
        self.hub.take_woken();
    }

    fn install(&mut self, from: &Member) {
        self.replica = must(Replica::install(&from.replica.snapshot(2, None)), "install");
        let loaded = self.replica.state();
        self.hub.snapshot_installed(loaded.revision(), loaded.compacted());
        self.hub.take_woken();
    }

    fn plan(&mut self) -> Option<()> {
        if !self.hub.needs_catch_up() || self.catch_up != CatchUp::Idle {
            return None;
        }
        if let Some(scan) = self.hub.begin_catch_up(self.replica.state().compacted()) {
            self.catch_up = CatchUp::Planned(scan);
        }
        self.hub.take_woken();
        Some(())
    }

    fn read(&mut self) -> Option<()> {
        let CatchUp::Planned(scan) = std::mem::replace(&mut self.catch_up, CatchUp::Idle) else {
            return None;
        };
        self.catch_up = CatchUp::Read(must(scan.read(self.replica.records(), &self.replica, BUDGET), "read"));
        Some(())
    }

    fn finish(&mut self) -> Option<()> {
        let CatchUp::Read(found) = std::mem::replace(&mut self.catch_up, CatchUp::Idle) else { return None };
        self.hub.finish_catch_up(found, self.replica.state().compacted());
        self.hub.take_woken();
        Some(())
    }
}

impl Model for WatchModel {
    type State = WatchState;
    type Action = WatchAction;

    fn init_states(&self) -> Vec<WatchState> {
        let client = Client {
            streams: 0,
            next: Revision::FIRST.next(),
            got: Vec::new(),
            cancelled: None,
            crossed_snapshot: false,
        };
        let state = WatchState { log: Vec::new(), member: None, client, losses: 0, snapshots: 0 };
        logs().into_iter().map(|log| WatchState { log, ..state.clone() }).collect()
    }

    fn actions(&self, state: &WatchState, actions: &mut Vec<WatchAction>) {
        if state.client.cancelled.is_some() {
            return;
        }
        let compacts =
            |len: usize| state.log.iter().take(len).any(|entry| matches!(entry, Entry::Compact(_)));
        let swept = |len: usize| if compacts(len) { vec![false, true] } else { vec![false] };
        let any = |from: usize| {
            (from..=state.log.len())
                .flat_map(move |len| swept(len).into_iter().map(move |swept| (len, swept)))
        };
        let Some(member) = &state.member else {
            actions.extend(any(0).map(|(len, swept)| WatchAction::Connect(len, swept)));
            return;
        };
        if state.next_entry(member).is_some() {
            actions.push(WatchAction::Apply);
            if state.snapshots == 0 {
                let applied = usize::try_from(member.replica.applied()).unwrap_or(0);
                actions.extend(any(applied + 1).map(|(len, swept)| WatchAction::Install(len, swept)));
            }
        }
        if !member.replica.is_swept() {
            actions.push(WatchAction::Sweep);
        }
        match &member.catch_up {
            CatchUp::Idle if member.hub.needs_catch_up() => actions.push(WatchAction::Plan),
            CatchUp::Idle => {}
            CatchUp::Planned(_) => actions.push(WatchAction::Read),
            CatchUp::Read(_) => actions.push(WatchAction::Finish),
        }
        actions.push(WatchAction::Receive);
        if state.losses == 0 {
            actions.push(WatchAction::Lose);
        }
    }

    fn next_state(&self, last: &WatchState, action: WatchAction) -> Option<WatchState> {
        let mut state = last.clone();
        match action {
            WatchAction::Connect(len, swept) => {
                let mut member = Member::at(state.log.get(..len)?, swept);
                state.client.streams += 1;
                member.connect(&state.client);
                state.member = Some(member);
            }
            WatchAction::Lose => {
                state.member = None;
                state.losses += 1;
            }
            WatchAction::Receive => state.receive(self.planted)?,
            WatchAction::Apply => {
                let entry = state.next_entry(state.member.as_ref()?)?;
                state.member.as_mut()?.apply(entry);
            }
            WatchAction::Sweep => state.member.as_mut()?.replica.sweep(),
            WatchAction::Install(len, swept) => {
                let from = Member::at(state.log.get(..len)?, swept);
                state.member.as_mut()?.install(&from);
                state.client.crossed_snapshot = true;
                state.snapshots += 1;
            }
            WatchAction::Plan => state.member.as_mut()?.plan()?,
            WatchAction::Read => state.member.as_mut()?.read()?,
            WatchAction::Finish => state.member.as_mut()?.finish()?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<WatchModel>> {
        vec![
            Property::always("every event once, in order", |_, state: &WatchState| {
                state.truth().starts_with(&state.client.got)
            }),
            Property::always("cancelled only below the compacted revision", |_, state: &WatchState| {
                state.client.cancelled.is_none_or(|compacted| state.client.next < compacted)
            }),
            Property::always("in the end all, or a cancel", |model, state: &WatchState| {
                state.client.cancelled.is_some()
                    || state.truth() == state.client.got
                    || !is_terminal(model, state)
            }),
            Property::sometimes("a resumed client gets all", |_, state: &WatchState| {
                state.losses > 0 && state.client.got.len() == PUTS
            }),
            Property::sometimes("a resumed client is cancelled", |_, state: &WatchState| {
                state.losses > 0 && !state.client.got.is_empty() && state.client.cancelled.is_some()
            }),
            Property::sometimes("history is swept under a scan", |_, state: &WatchState| {
                state.member.as_ref().is_some_and(|member| {
                    let swept = member.replica.state().compacted() > Revision(0) && member.replica.is_swept();
                    matches!(member.catch_up, CatchUp::Planned(_)) && swept
                })
            }),
            Property::sometimes("a watcher behind a full queue", |_, state: &WatchState| {
                let stats = state.member.as_ref().map(|member| member.hub.stats());
                stats.is_some_and(|stats| stats.blocked_streams > 0 && stats.unsynced > 0)
            }),
            Property::sometimes("a watcher crosses a snapshot and gets all", |_, state: &WatchState| {
                state.client.crossed_snapshot && state.client.got.len() == PUTS
            }),
        ]
    }
}

impl Checked for WatchModel {
    const NAME: &'static str = "watch";
    const ABOUT: &'static str = "watch resume against compaction: every event once, or a cancel";
    const PLANTED: &'static [Planted] =
        &[Planted::ResumedAtLast, Planted::ResumedAtHeader, Planted::CancelSwallowed, Planted::CancelLost];

    fn new(planted: Planted) -> WatchModel {
        WatchModel { planted }
    }
}
