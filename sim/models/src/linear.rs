//! Linearizability of the machine behind the log, with lossy, duplicating delivery and retries.
//!
//! # Modelled
//! Two clients, each with a member of its own, read, write and compare-and-swap one key. Requests go under an id to
//! the leader and may arrive there never, late, or again and again; a leader change cuts the log's uncommitted tail;
//! each member applies in its own time on the real machine, and answers its client from its own application. Reads
//! wait until the member has applied what was committed at some moment after the question. Every history is judged by
//! stateright's linearizability tester against a register.
//!
//! # Abstracted
//! Consensus is a log with a committed prefix; how an index is confirmed is the `read-index` model's matter.
//!
//! # Bounds
//! Two clients, [`OPERATIONS`] operations each, [`LOG_MAX`] log entries, one leader change. (The tester searches all
//! orders without memory: more operations would cost more than they show.)
//!
//! # Properties
//! Always: the history is linearizable. Sometimes: a request is in the log twice; a swap succeeds; both clients have
//! all answers; a read waits for its member.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::machine::command::{Command, Compare, CompareResult, CompareTarget, Put, Reply, Txn, TxnOp};
use quorate::types::KeyRange;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, batch, must};
use crate::search::Checked;

/// Operations of each client.
const OPERATIONS: u8 = 2;
/// Entries that the log holds at most.
const LOG_MAX: usize = 3;

const CLIENTS: [usize; 2] = [0, 1];
const KEY: &str = "r";
/// What a retry under a new id adds to its sequence.
const NEW_ID: u64 = 100;

/// The model.
#[derive(Clone, Debug)]
pub struct LinearModel {
    planted: Planted,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Read the register.
    Read,
    /// Write it.
    Write(u8),
    /// Write the second if it holds the first.
    Swap(u8, u8),
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// What it holds; 0 before the first write.
    Value(u8),
    /// Written.
    Written,
    /// Whether it was swapped.
    Swapped(bool),
}

/// What one register does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Register(u8);

impl SequentialSpec for Register {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match *op {
            Op::Read => Ret::Value(self.0),
            Op::Write(value) => {
                self.0 = value;
                Ret::Written
            }
            Op::Swap(from, to) => {
                let holds = self.0 == from;
                if holds {
                    self.0 = to;
                }
                Ret::Swapped(holds)
            }
        }
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinearState {
    clients: [Client; 2],
    network: BTreeSet<Message>,
    log: Vec<Message>,
    committed: usize,
    members: [Replica; 2],
    leader_changes: u8,
    history: LinearizabilityTester<usize, Register>,
    swapped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    asked: u8,
    waits: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Waits {
    Nothing,
    Write,
    Index,
    Applied(usize),
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    client: usize,
    sequence: u64,
    op: Op,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinearAction {
    /// A client asks.
    Ask(usize, Op),
    /// A message arrives at the leader, which appends it.
    Arrive(Message),
    /// The next entry is committed.
    Commit,
    /// Another leader: of the log only so much is left.
    ChangeLeader(usize),
    /// A member applies the next entry, and answers its client.
    Apply(usize),
    /// A client's member learns what is committed.
    Index(usize),
    /// It answers the read.
    AnswerRead(usize),
}

fn put(value: u8) -> Put {
    Put { key: Bytes::from_static(KEY.as_bytes()), value: Bytes::copy_from_slice(&[value]), ..Put::default() }
}

fn command(op: Op) -> Command {
    match op {
        Op::Read => Command::Noop,
        Op::Write(value) => Command::Put(put(value)),
        Op::Swap(from, to) => {
            let target = CompareTarget::Value(Bytes::copy_from_slice(&[from]));
            let compare = Compare { range: KeyRange::single(KEY), result: CompareResult::Equal, target };
            Command::Txn(Txn { compares: vec![compare], success: vec![TxnOp::Put(put(to))], failure: vec![] })
        }
    }
}

/// What a client may ask as its next operation: it writes in one way or another, then reads.
fn options(client: usize, asked: u8) -> &'static [Op] {
    match (asked, client) {
        (0, 0) => &[Op::Write(1)],
        (0, _) => &[Op::Write(2), Op::Swap(1, 3)],
        _ => &[Op::Read],
    }
}

impl LinearState {
    fn answer(&mut self, client: usize, ret: Ret) {
        must(self.history.on_return(client, ret).map(|_| ()), "a history");
        self.swapped |= ret == Ret::Swapped(true);
        if let Some(client) = self.clients.get_mut(client) {
            client.waits = Waits::Nothing;
        }
    }

    fn applied(&self, member: usize) -> Option<usize> {
        usize::try_from(self.members.get(member)?.applied()).ok()
    }

    /// Whether this answer is the one that the client waits for.
    fn is_awaited(&self, client: usize, sequence: u64) -> bool {
        let waiting = self.clients.get(client);
        waiting.is_some_and(|client| {
            client.waits == Waits::Write && sequence % NEW_ID == u64::from(client.asked)
        })
    }

    fn apply(&mut self, number: usize) -> Option<()> {
        let message = *self.log.get(self.applied(number)?)?;
        let Message { client, sequence, op } = message;
        let sender = u64::try_from(client).ok()? + 1;
        // A client waits for one request at a time: all before it are answered.
        let lowest = sequence % NEW_ID;
        let effects = self.members.get_mut(number)?.apply(&batch(sender, 1, lowest, sequence, command(op)));
        for (_, answer) in effects.answers {
            if client == number && self.is_awaited(client, sequence) {
                let ret = match answer.result {
                    Ok(Reply::Txn(reply)) => Ret::Swapped(reply.succeeded),
                    Ok(_) => Ret::Written,
                    Err(error) => must(Err(error), "a write"),
                };
                self.answer(client, ret);
            }
        }
        Some(())
    }
}

impl Model for LinearModel {
    type State = LinearState;
    type Action = LinearAction;

    fn init_states(&self) -> Vec<LinearState> {
        vec![LinearState {
            clients: [Client { asked: 0, waits: Waits::Nothing }; 2],
            network: BTreeSet::new(),
            log: Vec::new(),
            committed: 0,
            members: [Replica::default(), Replica::default()],
            leader_changes: 0,
            history: LinearizabilityTester::new(Register::default()),
            swapped: false,
        }]
    }

    fn actions(&self, state: &LinearState, actions: &mut Vec<LinearAction>) {
        for (number, client) in state.clients.iter().enumerate() {
            match client.waits {
                Waits::Nothing if client.asked < OPERATIONS => {
                    actions.extend(
                        options(number, client.asked).iter().map(|op| LinearAction::Ask(number, *op)),
                    );
                }
                Waits::Nothing | Waits::Write => {}
                Waits::Index => actions.push(LinearAction::Index(number)),
                Waits::Applied(index) => {
                    if state.applied(number).is_some_and(|applied| applied >= index) {
                        actions.push(LinearAction::AnswerRead(number));
                    }
                }
            }
            if state.applied(number).is_some_and(|applied| applied < state.committed) {
                actions.push(LinearAction::Apply(number));
            }
        }
        if state.log.len() < LOG_MAX {
            actions.extend(state.network.iter().map(|message| LinearAction::Arrive(*message)));
        }
        if state.committed < state.log.len() {
            actions.push(LinearAction::Commit);
            if state.leader_changes == 0 {
                actions.extend((state.committed..state.log.len()).map(LinearAction::ChangeLeader));
            }
        }
    }

    fn next_state(&self, last: &LinearState, action: LinearAction) -> Option<LinearState> {
        let mut state = last.clone();
        match action {
            LinearAction::Ask(number, op) => {
                must(state.history.on_invoke(number, op).map(|_| ()), "a history");
                let client = state.clients.get_mut(number)?;
                client.asked += 1;
                if op == Op::Read {
                    client.waits = Waits::Index;
                } else {
                    client.waits = Waits::Write;
                    let sequence = u64::from(client.asked);
                    state.network.insert(Message { client: number, sequence, op });
                }
            }
            LinearAction::Arrive(message) => {
                let mut message = message;
                if self.planted == Planted::RetriedUnderNewId && state.log.contains(&message) {
                    message.sequence += NEW_ID;
                }
                state.log.push(message);
                let Message { client, sequence, op: Op::Write(_) } = message else { return Some(state) };
                if self.planted == Planted::AnsweredBeforeCommit && state.is_awaited(client, sequence) {
                    state.answer(client, Ret::Written);
                }
            }
            LinearAction::Commit => state.committed += 1,
            LinearAction::ChangeLeader(left) => {
                state.log.truncate(left);
                state.leader_changes += 1;
            }
            LinearAction::Apply(number) => state.apply(number)?,
            LinearAction::Index(number) => {
                let index = if self.planted == Planted::ReadWithoutIndex { 0 } else { state.committed };
                state.clients.get_mut(number)?.waits = Waits::Applied(index);
            }
            LinearAction::AnswerRead(number) => {
                let kv = state.members.get(number)?.get(KEY);
                let value = kv.and_then(|kv| kv.value.first().copied()).unwrap_or(0);
                state.answer(number, Ret::Value(value));
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<LinearModel>> {
        vec![
            Property::always("linearizable", |_, state: &LinearState| state.history.is_consistent()),
            Property::sometimes("a request is in the log twice", |_, state: &LinearState| {
                let mut seen = BTreeSet::new();
                !state.log.iter().all(|message| seen.insert(*message))
            }),
            Property::sometimes("a swap succeeds", |_, state: &LinearState| state.swapped),
            Property::sometimes("all are answered", |_, state: &LinearState| {
                let done = |client: &Client| client.asked == OPERATIONS && client.waits == Waits::Nothing;
                state.clients.iter().all(done)
            }),
            Property::sometimes("a read waits for its member", |_, state: &LinearState| {
                CLIENTS.into_iter().any(|number| {
                    let waits = state.clients.get(number).map(|client| client.waits);
                    matches!(waits, Some(Waits::Applied(index)) if state.applied(number) < Some(index))
                })
            }),
        ]
    }
}

impl Checked for LinearModel {
    const NAME: &'static str = "linear";
    const ABOUT: &'static str =
        "linearizability of the machine behind a log with loss, duplicates and retries";
    const PLANTED: &'static [Planted] =
        &[Planted::RetriedUnderNewId, Planted::ReadWithoutIndex, Planted::AnsweredBeforeCommit];

    fn new(planted: Planted) -> LinearModel {
        LinearModel { planted }
    }
}
