//! Lease expiry against keep-alive: no lease that somebody keeps alive dies early.
//!
//! # Modelled
//! One lease of 3 s, two members that may lead. The leader's table is the real [`Deadlines`] (renewals, expiry,
//! checkpoints, resets, taking office), one a member; what is committed is applied by the real machine. Around
//! them the five rules of the leases: a keep-alive is confirmed by a quorum, renewed in the table, waits for a
//! reset if there must be one, and only then is acknowledged; each of these is a step of its own, and an election
//! may come between any two. A deposed leader keeps its table until it notices.
//!
//! # Abstracted
//! Elections and the log: one current leader a term; entries in flight at an election survive as a prefix of any
//! length, and are committed by the next leader before it takes office. A quorum round succeeds exactly while no
//! later term began. Clocks run at one rate, in steps of a second. The expiry's retry, after an expiry that failed,
//! is outside the bounds of time.
//!
//! # Bounds
//! [`SECONDS`] seconds, [`TERMS`] terms, [`KEEP_ALIVES`] keep-alives one after the other.
//!
//! # Properties
//! Always: the lease does not end before (invocation of the last acknowledged keep-alive + TTL); a keep-alive of a
//! lease that was gone before it was sent is not acknowledged; "gone" is answered only of a lease that is gone.
//! Sometimes: the lease expires; a new leader goes on from a checkpoint; a keep-alive must wait for what is
//! proposed; a keep-alive clears a checkpoint; a deposed leader renews after its round was confirmed.

use std::time::Duration;

use quorate::config::limits;
use quorate::machine::command::Command;
use quorate::raft::lease::deadlines::{Deadlines, Granted, Renewal, Reset};
use quorate::types::{LeaseId, Term, TtlSecs};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::Replica;
use crate::search::Checked;

/// How long the model runs, seconds.
const SECONDS: u64 = 4;
/// Terms in all.
const TERMS: u64 = 3;
/// Keep-alives in all.
const KEEP_ALIVES: u8 = 1;

const TTL: TtlSecs = TtlSecs(3);
const LEASE: LeaseId = LeaseId(7);
const MEMBERS: [usize; 2] = [0, 1];

/// The model.
#[derive(Clone, Debug)]
pub struct LeaseModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseState {
    now: u64,
    term: u64,
    leader: usize,
    machine: Replica,
    in_flight: Vec<InFlight>,
    tables: [Deadlines; 2],
    keep_alive: KeepAlive,
    sent: u8,
    /// When the last acknowledged keep-alive was sent; the grant counts as the first.
    acknowledged: u64,
    wrong: Option<Wrong>,
    seen: Seen,
}

/// An entry that is appended and not committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    by: usize,
    term: u64,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Expire,
    Checkpoint(TtlSecs),
    Reset,
}

/// Where a keep-alive stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum KeepAlive {
    Idle,
    Arrived { at: u64, alive: bool },
    Confirmed { at: u64, alive: bool, by: usize, term: u64 },
    Resetting { at: u64, alive: bool, by: usize, term: u64, reset: Reset },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    DiedEarly,
    DeadAcknowledged,
    FalselyGone,
}

/// Marks of what has happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    from_checkpoint: bool,
    deposed_renewed: bool,
    reset: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAction {
    /// A second passes.
    Second,
    /// The other member is elected; so many entries in flight survive.
    Elect {
        /// How many survive.
        survive: usize,
    },
    /// The leader takes office: it has applied everything before its term.
    TakeOffice,
    /// A deposed leader notices.
    Resign(usize),
    /// The first entry in flight is committed and applied.
    Commit,
    /// A member's keeper proposes what is due.
    Expire(usize),
    /// A member's keeper proposes a checkpoint.
    Checkpoint(usize),
    /// A client sends a keep-alive.
    Send,
    /// A quorum confirms (or is skipped), at a member that believes to lead.
    Confirm(usize),
    /// The table is asked to renew.
    Renew,
}

impl LeaseState {
    fn clock(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    fn is_alive(&self) -> bool {
        self.machine.state().lease(LEASE).is_some()
    }

    fn acknowledge(&mut self, at: u64, alive: bool) {
        if !alive {
            self.wrong = self.wrong.or(Some(Wrong::DeadAcknowledged));
        }
        self.acknowledged = at;
        self.keep_alive = KeepAlive::Idle;
    }

    /// Applies an entry; who proposed it learns of it as far as its table is still of that term.
    fn commit(&mut self, planted: Planted, entry: &InFlight) {
        let was_alive = self.is_alive();
        let command = match entry.what {
            What::Expire => Command::LeaseExpire { ids: vec![LEASE] },
            What::Checkpoint(left) => Command::LeaseCheckpoint { remaining: vec![(LEASE, left)] },
            What::Reset => Command::LeaseCheckpoint { remaining: vec![(LEASE, TtlSecs(0))] },
        };
        self.machine.run(command);
        if was_alive && !self.is_alive() {
            let ttl = TTL.0.unsigned_abs();
            if self.now < self.acknowledged.saturating_add(ttl) {
                self.wrong = self.wrong.or(Some(Wrong::DiedEarly));
            }
        }
        let (now, gone) = (self.clock(), !self.is_alive());
        let Some(table) = self.tables.get_mut(self.leader) else { return };
        if gone && planted != Planted::EndNotNoted {
            table.ended(LEASE);
        }
        if entry.by != self.leader {
            return;
        }
        match entry.what {
            What::Expire => {
                table.expiry_settled(
                    Term(entry.term),
                    &[LEASE],
                    now.saturating_add(limits::LEASE_EXPIRY_RETRY_AFTER),
                );
            }
            What::Checkpoint(_) => table.checkpoints_settled(Term(entry.term), [LEASE], now),
            What::Reset => {}
        }
    }

    /// A reset is committed, so its keep-alive is answered.
    fn reset_committed(&mut self, entry: &InFlight) {
        if entry.what == What::Reset
            && let KeepAlive::Resetting { at, alive, by, term, reset } = self.keep_alive.clone()
        {
            if let Some(table) = self.tables.get_mut(by) {
                table.reset_done(Term(term), LEASE, reset);
            }
            self.seen.reset = true;
            self.acknowledge(at, alive);
        }
    }

    fn office(&self, member: usize) -> Option<u64> {
        self.tables.get(member).and_then(Deadlines::term).map(|term| term.0)
    }
}

impl LeaseModel {
    /// Appends, if the proposer still leads; what it does not append is lost without an answer.
    fn propose(&self, state: &mut LeaseState, by: usize, what: What) {
        let Some(mut term) = state.office(by) else { return };
        if self.planted == Planted::ExpiryOfDeposedLeader && what == What::Expire {
            term = state.term;
        }
        if term == state.term {
            state.in_flight.push(InFlight { by, term, what });
        }
    }

    fn elect(&self, state: &mut LeaseState, survive: usize) {
        let lost = state.in_flight.split_off(survive);
        state.term += 1;
        state.leader = 1 - state.leader;
        for entry in std::mem::take(&mut state.in_flight) {
            state.commit(self.planted, &entry);
            state.reset_committed(&entry);
        }
        if lost.iter().any(|entry| entry.what == What::Reset)
            && let KeepAlive::Resetting { at, alive, .. } = state.keep_alive
        {
            state.keep_alive = KeepAlive::Arrived { at, alive };
        }
    }

    fn renew(&self, state: &mut LeaseState) -> Option<()> {
        let KeepAlive::Confirmed { at, alive, by, term } = state.keep_alive else { return None };
        let now = state.clock();
        let office = state.office(by);
        let table = state.tables.get_mut(by)?;
        let may_answer = office == Some(term) && table.is_complete();
        if !may_answer && self.planted != Planted::AnsweredOutOfOffice {
            state.keep_alive = KeepAlive::Arrived { at, alive };
            return Some(());
        }
        match table.renew(LEASE, now) {
            Renewal::Gone => {
                if state.is_alive() {
                    state.wrong = state.wrong.or(Some(Wrong::FalselyGone));
                }
                state.keep_alive = KeepAlive::Idle;
            }
            Renewal::Busy if self.planted == Planted::RenewedWhileExpiring => state.acknowledge(at, alive),
            Renewal::Busy => return None,
            Renewal::Renewed { reset: Some(reset), .. } if self.planted != Planted::CheckpointNotReset => {
                if term == state.term {
                    state.in_flight.push(InFlight { by, term, what: What::Reset });
                    state.keep_alive = KeepAlive::Resetting { at, alive, by, term, reset };
                } else {
                    state.keep_alive = KeepAlive::Arrived { at, alive };
                }
            }
            Renewal::Renewed { .. } => {
                state.seen.deposed_renewed |= term != state.term;
                state.acknowledge(at, alive);
            }
        }
        Some(())
    }
}

impl Model for LeaseModel {
    type State = LeaseState;
    type Action = LeaseAction;

    fn init_states(&self) -> Vec<LeaseState> {
        let mut machine = Replica::default();
        machine.run(Command::LeaseGrant { id: LEASE, ttl: TTL });
        let table = Deadlines::new(Duration::from_secs(1));
        let mut leading = table.clone();
        leading.lead(Term(1));
        leading.take_over([Granted { id: LEASE, ttl: TTL, remaining: None }], None, Duration::ZERO);
        vec![LeaseState {
            now: 0,
            term: 1,
            leader: 0,
            machine,
            in_flight: Vec::new(),
            tables: [leading, table],
            keep_alive: KeepAlive::Idle,
            sent: 0,
            acknowledged: 0,
            wrong: None,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &LeaseState, actions: &mut Vec<LeaseAction>) {
        if state.wrong.is_some() {
            return;
        }
        if state.now < SECONDS {
            actions.push(LeaseAction::Second);
        }
        if state.term < TERMS {
            actions.extend((0..=state.in_flight.len()).map(|survive| LeaseAction::Elect { survive }));
        }
        if state.office(state.leader) != Some(state.term) {
            actions.push(LeaseAction::TakeOffice);
        }
        if !state.in_flight.is_empty() {
            actions.push(LeaseAction::Commit);
        }
        for member in MEMBERS {
            if state.office(member).is_some() {
                if state.office(member) != Some(state.term) {
                    actions.push(LeaseAction::Resign(member));
                }
                actions.extend([LeaseAction::Expire(member), LeaseAction::Checkpoint(member)]);
                if matches!(state.keep_alive, KeepAlive::Arrived { .. }) {
                    actions.push(LeaseAction::Confirm(member));
                }
            }
        }
        match state.keep_alive {
            KeepAlive::Idle if state.sent < KEEP_ALIVES => actions.push(LeaseAction::Send),
            KeepAlive::Confirmed { .. } => actions.push(LeaseAction::Renew),
            KeepAlive::Idle | KeepAlive::Arrived { .. } | KeepAlive::Resetting { .. } => {}
        }
    }

    fn next_state(&self, last: &LeaseState, action: LeaseAction) -> Option<LeaseState> {
        let mut state = last.clone();
        let now = state.clock();
        match action {
            LeaseAction::Second => state.now += 1,
            LeaseAction::Elect { survive } => self.elect(&mut state, survive),
            LeaseAction::TakeOffice => {
                let lease = state.machine.state().lease(LEASE);
                let granted =
                    lease.map(|lease| Granted { id: LEASE, ttl: lease.ttl, remaining: lease.remaining });
                state.seen.from_checkpoint |= granted.is_some_and(|granted| granted.remaining.is_some());
                let from = if self.planted == Planted::CountedFromGrant { Duration::ZERO } else { now };
                let table = state.tables.get_mut(state.leader)?;
                table.lead(Term(state.term));
                table.take_over(granted, None, from);
            }
            LeaseAction::Resign(member) => state.tables.get_mut(member)?.resign(),
            LeaseAction::Commit => {
                let entry = state.in_flight.remove(0);
                state.commit(self.planted, &entry);
                state.reset_committed(&entry);
            }
            LeaseAction::Expire(member) => {
                if state.tables.get_mut(member)?.take_due(now, 1).is_empty() {
                    return None;
                }
                self.propose(&mut state, member, What::Expire);
            }
            LeaseAction::Checkpoint(member) => {
                let taken = state.tables.get_mut(member)?.take_checkpoints(now, 1);
                let (_, left) = taken.first()?;
                self.propose(&mut state, member, What::Checkpoint(*left));
            }
            LeaseAction::Send => {
                state.sent += 1;
                state.keep_alive = KeepAlive::Arrived { at: state.now, alive: state.is_alive() };
            }
            LeaseAction::Confirm(by) => {
                let KeepAlive::Arrived { at, alive } = state.keep_alive else { return None };
                let term = state.office(by)?;
                if term != state.term && self.planted != Planted::RenewedWithoutQuorum {
                    return None;
                }
                state.keep_alive = KeepAlive::Confirmed { at, alive, by, term };
            }
            LeaseAction::Renew => self.renew(&mut state)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<LeaseModel>> {
        vec![
            Property::always("no live lease dies early", |_, state: &LeaseState| {
                state.wrong != Some(Wrong::DiedEarly)
            }),
            Property::always("a lease that was gone is not renewed", |_, state: &LeaseState| {
                state.wrong != Some(Wrong::DeadAcknowledged)
            }),
            Property::always("gone is said of no living lease", |_, state: &LeaseState| {
                state.wrong != Some(Wrong::FalselyGone)
            }),
            Property::sometimes("the lease expires", |_, state: &LeaseState| !state.is_alive()),
            Property::sometimes("a new leader goes on from a checkpoint", |_, state: &LeaseState| {
                state.seen.from_checkpoint
            }),
            Property::sometimes("a keep-alive clears a checkpoint", |_, state: &LeaseState| state.seen.reset),
            Property::sometimes("a deposed leader renews after its round", |_, state: &LeaseState| {
                state.seen.deposed_renewed
            }),
            Property::sometimes("a keep-alive waits for a proposal", |_, state: &LeaseState| {
                let KeepAlive::Confirmed { by, .. } = state.keep_alive else { return false };
                let table = state.tables.get(by).cloned();
                table.is_some_and(|mut table| table.renew(LEASE, state.clock()) == Renewal::Busy)
            }),
        ]
    }
}

impl Checked for LeaseModel {
    const NAME: &'static str = "lease";
    const ABOUT: &'static str = "lease expiry against keep-alive: no live lease dies early";
    const PLANTED: &'static [Planted] = &[
        Planted::RenewedWithoutQuorum,
        Planted::CheckpointNotReset,
        Planted::ExpiryOfDeposedLeader,
        Planted::RenewedWhileExpiring,
        Planted::CountedFromGrant,
        Planted::EndNotNoted,
        Planted::AnsweredOutOfOffice,
    ];

    fn new(planted: Planted) -> LeaseModel {
        LeaseModel { planted }
    }
}
