//! Lock hand-over: at most one holder a revision, and a guarded write protects what an expired holder cannot.
//!
//! # Modelled
//! The lock recipe of the API's clients over the real machine and the real watch hub: a transaction creates the
//! client's key, attached to its lease, if it does not exist; the client looks for the key created last before its
//! own, watches that one from the revision after the look, and looks again when it is deleted; without such a key it
//! holds the lock. Leases expire at any moment and nobody tells the client. A holder writes to the protected key
//! plainly, or guarded by its own key's create revision.
//!
//! # Abstracted
//! One member, so reads and transactions are linearizable; the leader's deadlines are the `lease` model's matter, here
//! expiry simply comes. Catch-up of the hub runs to its end at once.
//!
//! # Bounds
//! Three clients that lock once each, [`EXPIRIES`] expiries, one write of each kind.
//!
//! # Properties
//! Always: of the clients that hold the lock and whose key lives there is at most one, and its key is the oldest; a
//! guarded write of a client whose key is gone does nothing; when nothing is left to do, nobody waits. Sometimes: the
//! lock is handed over by a release; by an expiry; an expired holder's plain write hits while another holds the lock;
//! a guarded one is refused.

use bytes::Bytes;
use quorate::machine::command::{
    Answer, Command, Compare, CompareResult, CompareTarget, DeleteRange, Put, Reply, Txn, TxnOp,
};
use quorate::machine::effects::Event;
use quorate::machine::watch::{Body, CatchUpBudget, Hub, StreamId, WatchLimits, WatchSpec};
use quorate::types::{KeyRange, LeaseId, Revision, TtlSecs};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, must, query};
use crate::search::{Checked, is_terminal};

/// Expiries in all.
const EXPIRIES: u8 = 1;

const CLIENTS: [usize; 3] = [0, 1, 2];
const STREAM: StreamId = StreamId(1);
const PROTECTED: &[u8] = b"data";

/// The model.
#[derive(Clone, Debug)]
pub struct LockModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockState {
    machine: Replica,
    /// One a client, so that the order in which clients come leaves no trace in it.
    hubs: [Hub; 3],
    clients: [Client; 3],
    expiries: u8,
    wrote_plainly: bool,
    wrote_guarded: bool,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    phase: Phase,
    expired: bool,
}

/// Where a client stands; `created` is its key's create revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// To look for a predecessor.
    Queued {
        created: Revision,
    },
    /// Saw a predecessor when the store was at `header`.
    Looked {
        created: Revision,
        before: usize,
        header: Revision,
    },
    Watching {
        created: Revision,
    },
    Holding {
        created: Revision,
    },
    /// A planted bug: the guard was read and held.
    Checked {
        created: Revision,
    },
    /// Released, or its own key was gone when it looked.
    Done,
}

/// Marks of what has happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    by_release: bool,
    by_expiry: bool,
    plain_hit_of_expired: bool,
    guarded_refused: bool,
    guarded_hit_of_expired: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockAction {
    /// A client creates its key.
    Enqueue(usize),
    /// It looks for a predecessor.
    Look(usize),
    /// It begins to watch the predecessor.
    Watch(usize),
    /// It takes a response of its watch.
    Receive(usize),
    /// It writes plainly.
    WritePlainly(usize),
    /// It writes guarded.
    WriteGuarded(usize),
    /// It releases the lock.
    Release(usize),
    /// Its lease expires.
    Expire(usize),
}

fn key(client: usize) -> Bytes {
    Bytes::from(format!("lock/{client}"))
}

fn lock_keys() -> KeyRange {
    KeyRange::from_wire(Bytes::from_static(b"lock/"), Bytes::from_static(b"lock0"))
}

fn lease(client: usize) -> LeaseId {
    LeaseId(i64::try_from(client).unwrap_or(0) + 1)
}

fn created_at(client: usize, revision: Revision) -> Compare {
    let target = CompareTarget::Create(revision);
    Compare { range: KeyRange::single(key(client)), result: CompareResult::Equal, target }
}

impl LockState {
    fn run(&mut self, command: Command) -> Answer {
        let (answer, events) = self.machine.run(command);
        for hub in &mut self.hubs {
            must(hub.publish(&events, self.machine.state().revision(), &self.machine), "publish");
            hub.take_woken();
        }
        answer
    }

    fn client(&mut self, client: usize) -> Option<&mut Client> {
        self.clients.get_mut(client)
    }

    /// Whether the key that the client created lives.
    fn is_alive(&self, client: usize, created: Revision) -> bool {
        let kvs = self.machine.range(KeyRange::single(key(client)), Revision(0)).kvs;
        kvs.first().is_some_and(|kv| kv.create_revision == created)
    }

    fn set(&mut self, client: usize, phase: Phase) {
        if let Some(client) = self.client(client) {
            client.phase = phase;
        }
    }

    fn enqueue(&mut self, client: usize) {
        let put = Put { key: key(client), lease: lease(client), ..Put::default() };
        let txn = Txn {
            compares: vec![created_at(client, Revision(0))],
            success: vec![TxnOp::Put(put)],
            failure: Vec::new(),
        };
        let answer = self.run(Command::Txn(txn));
        let phase = match answer.result {
            Ok(_) => Phase::Queued { created: answer.revision },
            // The lease has expired: there is nothing to lock with.
            Err(_) => Phase::Done,
        };
        self.set(client, phase);
    }

    fn look(&mut self, client: usize, created: Revision) {
        let mut range = query(lock_keys());
        range.max_create_revision = Revision(created.0 - 1);
        let found = must(must(self.machine.state().range(self.machine.records(), &range), "look"), "look");
        let before = found.kvs.into_iter().max_by_key(|kv| kv.create_revision);
        let before =
            CLIENTS.into_iter().find(|other| before.as_ref().is_some_and(|kv| kv.key == key(*other)));
        let phase = match before {
            Some(before) => Phase::Looked { created, before, header: self.machine.state().revision() },
            None if self.is_alive(client, created) => Phase::Holding { created },
            None => Phase::Done,
        };
        self.set(client, phase);
    }

    fn watch(&mut self, planted: Planted, client: usize, before: usize, header: Revision) {
        let range = match planted {
            Planted::AnyDeletionWakes => lock_keys(),
            _ => KeyRange::single(key(before)),
        };
        let start = if planted == Planted::WatchedFromNow { Revision(0) } else { header.next() };
        let (revision, compacted) = (self.machine.state().revision(), self.machine.state().compacted());
        let Some(hub) = self.hubs.get_mut(client) else { return };
        hub.open(STREAM);
        hub.create(STREAM, WatchSpec { start, ..WatchSpec::new(range) }, revision, compacted);
        let budget = CatchUpBudget::default();
        while must(hub.step(self.machine.records(), &self.machine, budget, compacted), "catch up") {}
        // That the watch exists is no news worth a step.
        let first = hub.drain(STREAM, 1);
        assert!(first.iter().all(|response| response.body == Body::Created), "created comes first");
        hub.take_woken();
    }

    fn receive(&mut self, planted: Planted, client: usize, created: Revision) -> Option<()> {
        let hub = self.hubs.get_mut(client)?;
        let response = hub.drain(STREAM, 1).pop()?;
        let Body::Events { set, .. } = response.body else { return Some(()) };
        let deleted = set.events().iter().any(|event| matches!(event.event, Event::Delete { .. }));
        if deleted {
            *hub = Hub::new(WatchLimits::default(), self.machine.state().revision());
            let woken = planted == Planted::AnyDeletionWakes && self.is_alive(client, created);
            let phase = if woken { Phase::Holding { created } } else { Phase::Queued { created } };
            self.set(client, phase);
            let expired =
                CLIENTS.into_iter().any(|other| self.clients.get(other).is_some_and(|other| other.expired));
            self.seen.by_expiry |= expired;
            self.seen.by_release |= !expired;
        }
        Some(())
    }

    fn write(&mut self, client: usize, created: Revision, guarded: bool) {
        let alive = self.is_alive(client, created);
        let other_holds = CLIENTS.into_iter().any(|other| {
            let phase = self.clients.get(other).map(|other| other.phase);
            let Some(Phase::Holding { created }) = phase else { return false };
            other != client && self.is_alive(other, created)
        });
        let put = TxnOp::Put(Put { key: Bytes::from_static(PROTECTED), ..Put::default() });
        let compares = if guarded { vec![created_at(client, created)] } else { Vec::new() };
        let answer = self.run(Command::Txn(Txn { compares, success: vec![put], failure: Vec::new() }));
        let hit = matches!(answer.result, Ok(Reply::Txn(reply)) if reply.succeeded);
        if guarded {
            self.seen.guarded_hit_of_expired |= hit && !alive;
            self.seen.guarded_refused |= !hit;
        } else {
            self.seen.plain_hit_of_expired |= hit && !alive && other_holds;
        }
    }
}

impl Model for LockModel {
    type State = LockState;
    type Action = LockAction;

    fn init_states(&self) -> Vec<LockState> {
        let mut machine = Replica::default();
        for client in CLIENTS {
            machine.run(Command::LeaseGrant { id: lease(client), ttl: TtlSecs(10) });
        }
        let hub = Hub::new(WatchLimits::default(), machine.state().revision());
        let client = Client { phase: Phase::Idle, expired: false };
        vec![LockState {
            machine,
            hubs: [hub.clone(), hub.clone(), hub],
            clients: [client; 3],
            expiries: 0,
            wrote_plainly: false,
            wrote_guarded: false,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &LockState, actions: &mut Vec<LockAction>) {
        for (number, client) in state.clients.iter().enumerate() {
            match client.phase {
                // The clients are alike: they come in order.
                Phase::Idle => {
                    let earlier = state.clients.iter().take(number);
                    if earlier.into_iter().all(|earlier| earlier.phase != Phase::Idle) {
                        actions.push(LockAction::Enqueue(number));
                    }
                }
                Phase::Queued { .. } => actions.push(LockAction::Look(number)),
                Phase::Looked { .. } => actions.push(LockAction::Watch(number)),
                Phase::Watching { .. } => actions.push(LockAction::Receive(number)),
                Phase::Checked { .. } => actions.push(LockAction::WriteGuarded(number)),
                Phase::Holding { .. } => {
                    if !state.wrote_plainly {
                        actions.push(LockAction::WritePlainly(number));
                    }
                    if !state.wrote_guarded {
                        actions.push(LockAction::WriteGuarded(number));
                    }
                    actions.push(LockAction::Release(number));
                }
                Phase::Done => {}
            }
            let holds_key = !matches!(client.phase, Phase::Idle | Phase::Done);
            if !client.expired && holds_key && state.expiries < EXPIRIES {
                actions.push(LockAction::Expire(number));
            }
        }
    }

    fn next_state(&self, last: &LockState, action: LockAction) -> Option<LockState> {
        let mut state = last.clone();
        let phase = |client: usize| last.clients.get(client).map(|client| client.phase);
        match action {
            LockAction::Enqueue(client) => state.enqueue(client),
            LockAction::Look(client) => {
                let Phase::Queued { created } = phase(client)? else { return None };
                state.look(client, created);
            }
            LockAction::Watch(client) => {
                let Phase::Looked { created, before, header } = phase(client)? else { return None };
                state.watch(self.planted, client, before, header);
                state.set(client, Phase::Watching { created });
            }
            LockAction::Receive(client) => {
                let Phase::Watching { created } = phase(client)? else { return None };
                state.receive(self.planted, client, created)?;
            }
            LockAction::WritePlainly(client) => {
                let Phase::Holding { created } = phase(client)? else { return None };
                state.write(client, created, false);
                state.wrote_plainly = true;
            }
            LockAction::WriteGuarded(client) => match phase(client)? {
                Phase::Holding { created } if self.planted == Planted::GuardReadFirst => {
                    if !state.is_alive(client, created) {
                        return None;
                    }
                    state.set(client, Phase::Checked { created });
                }
                Phase::Holding { created } => {
                    state.write(client, created, true);
                    state.wrote_guarded = true;
                }
                Phase::Checked { created } => {
                    state.seen.guarded_hit_of_expired |= !state.is_alive(client, created);
                    state.write(client, created, false);
                    state.wrote_guarded = true;
                    state.set(client, Phase::Holding { created });
                }
                Phase::Idle
                | Phase::Queued { .. }
                | Phase::Looked { .. }
                | Phase::Watching { .. }
                | Phase::Done => return None,
            },
            LockAction::Release(client) => {
                let range = KeyRange::single(key(client));
                state.run(Command::DeleteRange(DeleteRange { range, prev_kv: false }));
                state.set(client, Phase::Done);
            }
            LockAction::Expire(client) => {
                state.run(Command::LeaseExpire { ids: vec![lease(client)] });
                state.client(client)?.expired = true;
                state.expiries += 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<LockModel>> {
        vec![
            Property::always("one holder, and its key is the oldest", |_, state: &LockState| {
                let living = state.machine.range(lock_keys(), Revision(0)).kvs;
                let oldest = living.into_iter().map(|kv| kv.create_revision).min();
                CLIENTS.into_iter().all(|number| {
                    let phase = state.clients.get(number).map(|client| client.phase);
                    let Some(Phase::Holding { created }) = phase else { return true };
                    !state.is_alive(number, created) || oldest == Some(created)
                })
            }),
            Property::always("no guarded write of an expired holder", |_, state: &LockState| {
                !state.seen.guarded_hit_of_expired
            }),
            Property::always("in the end nobody waits", |model, state: &LockState| {
                let done = |client: &Client| matches!(client.phase, Phase::Done);
                state.clients.iter().all(done) || !is_terminal(model, state)
            }),
            Property::sometimes("a hand-over by release", |_, state: &LockState| state.seen.by_release),
            Property::sometimes("a hand-over by expiry", |_, state: &LockState| state.seen.by_expiry),
            Property::sometimes("a plain write of an expired holder hits", |_, state: &LockState| {
                state.seen.plain_hit_of_expired
            }),
            Property::sometimes("a guarded write is refused", |_, state: &LockState| {
                state.seen.guarded_refused
            }),
        ]
    }
}

impl Checked for LockModel {
    const NAME: &'static str = "lock";
    const ABOUT: &'static str = "lock hand-over: one holder a revision, guarded writes only by it";
    const PLANTED: &'static [Planted] =
        &[Planted::WatchedFromNow, Planted::AnyDeletionWakes, Planted::GuardReadFirst];

    fn new(planted: Planted) -> LockModel {
        LockModel { planted }
    }
}
