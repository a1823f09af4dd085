//! Request dedupe: whatever is lost, repeated or overtaken, a request is applied at most once.
//!
//! # Modelled
//! A member sends its clients' requests as batches under (incarnation, sequence), sends them again as often as it
//! likes under the same id, says below which sequence all is answered, and may crash and start again. The real
//! machine keeps the request ids; snapshots go through the real codec and loader and pass over waiting requests.
//!
//! # Abstracted
//! The network holds every message ever sent: a message may arrive never, late, or again and again. A leader change
//! cuts the log's uncommitted tail at any place. A batch holds one request, which puts a key of its own: a second
//! application would show as a second version.
//!
//! # Bounds
//! [`REQUESTS`] requests, [`LOG_MAX`] log entries, two members (the sender and another), one leader change, one
//! restart of the sender, one snapshot.
//!
//! # Properties
//! Always: no request is applied twice; an answered request was applied; a request that the machine takes for seen
//! was applied; members at the same entry have the same state, hash and bytes. Sometimes: a repetition is
//! recognised; one is recognised by a member that knows of the first only from a snapshot; a message of an earlier
//! incarnation comes too late; a snapshot passes over a waiting request.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::machine::command::{Command, Put};
use quorate::machine::persist::Bucket;
use quorate::types::{MemberId, Revision};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, batch};
use crate::search::Checked;

/// Requests in all.
const REQUESTS: u8 = 2;
/// Entries that the log holds at most.
const LOG_MAX: usize = 3;

const SENDER: u64 = 1;
const OWN: usize = 0;

/// The model.
#[derive(Clone, Debug)]
pub struct DedupeModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DedupeState {
    sender: Sender,
    network: BTreeSet<Message>,
    log: Vec<Message>,
    committed: usize,
    members: [Replica; 2],
    answered: BTreeSet<u8>,
    requests: u8,
    leader_changes: u8,
    restarts: u8,
    snapshots: u8,
    seen: Seen,
}

/// The member that sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sender {
    incarnation: u64,
    next: u64,
    /// Which request waits under which sequence.
    waiting: BTreeMap<u64, u8>,
}

/// A batch on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    incarnation: u64,
    sequence: u64,
    lowest_unanswered: u64,
    request: u8,
}

/// Marks of what has happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    repetition: bool,
    repetition_after_snapshot: bool,
    too_late: bool,
    passed_over: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupeAction {
    /// A client asks for something.
    Ask,
    /// The sender sends what waits under a sequence, or sends it again.
    Send(u64),
    /// A message arrives at the leader, which appends it.
    Arrive(Message),
    /// The next entry is committed.
    Commit,
    /// Another leader: of the log only so much is left.
    ChangeLeader(usize),
    /// A member applies the next entry.
    Apply(usize),
    /// A member that lags gets the other's snapshot.
    Install(usize),
    /// The sender crashes and starts again.
    Restart,
}

fn key(request: u8) -> Bytes {
    Bytes::copy_from_slice(&[b'a' + request])
}

impl DedupeState {
    fn version(member: &Replica, request: u8) -> i64 {
        let kvs = member.all(Revision(0)).kvs;
        kvs.iter().find(|kv| kv.key == key(request)).map_or(0, |kv| kv.version)
    }

    fn has_seen(&self, sequence: u64) -> bool {
        let [own, _] = &self.members;
        let known = own.state().dedupe().sender(MemberId(SENDER));
        known
            .is_some_and(|known| known.incarnation().0 == self.sender.incarnation && known.has_seen(sequence))
    }

    fn applied(&self, number: usize) -> Option<usize> {
        usize::try_from(self.members.get(number)?.applied()).ok()
    }

    fn apply(&mut self, number: usize) -> Option<()> {
        let message = *self.log.get(self.applied(number)?)?;
        let member = self.members.get_mut(number)?;
        let put = Command::Put(Put { key: key(message.request), ..Put::default() });
        let Message { incarnation, sequence, lowest_unanswered, .. } = message;
        let known = member.state().dedupe().sender(MemberId(SENDER)).map_or(0, |known| known.incarnation().0);
        let effects = member.apply(&batch(SENDER, incarnation, lowest_unanswered, sequence, put));
        if effects.answers.is_empty() {
            self.seen.repetition = true;
            self.seen.repetition_after_snapshot |= self.snapshots > 0;
            self.seen.too_late |= known > incarnation;
        }
        for (id, _) in effects.answers {
            if number == OWN && id.incarnation.0 == self.sender.incarnation {
                self.answered.extend(self.sender.waiting.remove(&id.sequence));
            }
        }
        Some(())
    }

    /// A waiting request that the snapshot has passed over gets the answer that its outcome is unknown.
    fn pass_over(&mut self) {
        let waiting = std::mem::take(&mut self.sender.waiting);
        let (seen, waiting) = waiting.into_iter().partition(|(sequence, _)| self.has_seen(*sequence));
        let seen: BTreeMap<u64, u8> = seen;
        self.seen.passed_over |= !seen.is_empty();
        self.sender.waiting = waiting;
    }
}

impl DedupeModel {
    fn message(&self, state: &mut DedupeState, sequence: u64) -> Option<Message> {
        let request = *state.sender.waiting.get(&sequence)?;
        let mut sequence = sequence;
        let sent = |message: &Message| message.request == request;
        if self.planted == Planted::RetriedUnderNewId && state.network.iter().any(sent) {
            state.sender.waiting.remove(&sequence);
            sequence = state.sender.next;
            state.sender.next += 1;
            state.sender.waiting.insert(sequence, request);
        }
        let lowest = state.sender.waiting.keys().next().copied().unwrap_or(state.sender.next);
        let lowest_unanswered =
            if self.planted == Planted::ForgottenTooEarly { state.sender.next } else { lowest };
        Some(Message { incarnation: state.sender.incarnation, sequence, lowest_unanswered, request })
    }
}

impl Model for DedupeModel {
    type State = DedupeState;
    type Action = DedupeAction;

    fn init_states(&self) -> Vec<DedupeState> {
        vec![DedupeState {
            sender: Sender { incarnation: 1, next: 1, waiting: BTreeMap::new() },
            network: BTreeSet::new(),
            log: Vec::new(),
            committed: 0,
            members: [Replica::default(), Replica::default()],
            answered: BTreeSet::new(),
            requests: 0,
            leader_changes: 0,
            restarts: 0,
            snapshots: 0,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &DedupeState, actions: &mut Vec<DedupeAction>) {
        if state.requests < REQUESTS {
            actions.push(DedupeAction::Ask);
        }
        if state.log.len() < LOG_MAX {
            actions.extend(state.sender.waiting.keys().map(|sequence| DedupeAction::Send(*sequence)));
            actions.extend(state.network.iter().map(|message| DedupeAction::Arrive(*message)));
        }
        if state.committed < state.log.len() {
            actions.push(DedupeAction::Commit);
            if state.leader_changes == 0 {
                actions.extend((state.committed..state.log.len()).map(DedupeAction::ChangeLeader));
            }
        }
        for number in [0, 1] {
            let Some(applied) = state.applied(number) else { continue };
            if applied < state.committed {
                actions.push(DedupeAction::Apply(number));
            }
            if state.snapshots == 0 && state.applied(1 - number).is_some_and(|ahead| ahead > applied) {
                actions.push(DedupeAction::Install(number));
            }
        }
        if state.restarts == 0 && !state.network.is_empty() {
            actions.push(DedupeAction::Restart);
        }
    }

    fn next_state(&self, last: &DedupeState, action: DedupeAction) -> Option<DedupeState> {
        let mut state = last.clone();
        match action {
            DedupeAction::Ask => {
                state.sender.waiting.insert(state.sender.next, state.requests);
                state.sender.next += 1;
                state.requests += 1;
            }
            DedupeAction::Send(sequence) => {
                let message = self.message(&mut state, sequence)?;
                if !state.network.insert(message) {
                    return None;
                }
            }
            DedupeAction::Arrive(message) => state.log.push(message),
            DedupeAction::Commit => state.committed += 1,
            DedupeAction::ChangeLeader(left) => {
                state.log.truncate(left);
                state.leader_changes += 1;
            }
            DedupeAction::Apply(number) => state.apply(number)?,
            DedupeAction::Install(number) => {
                let left_out = (self.planted == Planted::SnapshotWithoutDedupe).then_some(Bucket::Dedupe);
                let stream = state.members.get(1 - number)?.snapshot(2, left_out);
                *state.members.get_mut(number)? = crate::replica::must(Replica::install(&stream), "install");
                state.snapshots += 1;
                if number == OWN {
                    state.pass_over();
                }
            }
            DedupeAction::Restart => {
                state.restarts += 1;
                state.sender.waiting.clear();
                state.sender.next = 1;
                if self.planted != Planted::IncarnationNotRaised {
                    state.sender.incarnation += 1;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<DedupeModel>> {
        vec![
            Property::always("at most once", |_, state: &DedupeState| {
                let once = |member: &Replica| member.all(Revision(0)).kvs.iter().all(|kv| kv.version == 1);
                state.members.iter().all(once)
            }),
            Property::always("answered means applied", |_, state: &DedupeState| {
                let [own, _] = &state.members;
                state.answered.iter().all(|request| DedupeState::version(own, *request) == 1)
            }),
            Property::always("a fresh request is not taken for a repetition", |_, state: &DedupeState| {
                let [own, _] = &state.members;
                let waiting = state.sender.waiting.iter().filter(|(sequence, _)| state.has_seen(**sequence));
                waiting.into_iter().all(|(_, request)| DedupeState::version(own, *request) > 0)
            }),
            Property::always("members at one entry agree", |_, state: &DedupeState| {
                let [one, other] = &state.members;
                one.applied() != other.applied()
                    || (one.state().hash() == other.state().hash() && one.same_store(other))
            }),
            Property::sometimes("a repetition is recognised", |_, state: &DedupeState| state.seen.repetition),
            Property::sometimes("also after a snapshot", |_, state: &DedupeState| {
                state.seen.repetition_after_snapshot
            }),
            Property::sometimes("an earlier incarnation speaks too late", |_, state: &DedupeState| {
                state.seen.too_late
            }),
            Property::sometimes("a snapshot passes over a waiting request", |_, state: &DedupeState| {
                state.seen.passed_over
            }),
        ]
    }
}

impl Checked for DedupeModel {
    const NAME: &'static str = "dedupe";
    const ABOUT: &'static str =
        "request dedupe: lost, repeated or overtaken, a request is applied at most once";
    const PLANTED: &'static [Planted] = &[
        Planted::RetriedUnderNewId,
        Planted::SnapshotWithoutDedupe,
        Planted::IncarnationNotRaised,
        Planted::ForgottenTooEarly,
    ];

    fn new(planted: Planted) -> DedupeModel {
        DedupeModel { planted }
    }
}
