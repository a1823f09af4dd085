//! Read index against leader change: a linearizable read never misses an acknowledged write.
//!
//! # Modelled
//! Three voters, writes, elections, deposed leaders that do not know it, and the round that confirms a read: the
//! index is taken before the round begins, each voter is asked and says whether it still follows this leader, a
//! quorum decides (the product's own rule), and readers that wait share a round. The read is answered by the real
//! machine, which has applied the log up to the index.
//!
//! # Abstracted
//! Consensus is [`crate::raft`]. A voter's answer is true of one moment and may be counted any time later. A read
//! through a follower has the same index and sees the same prefix, so it is not a step of its own.
//!
//! # Bounds
//! [`TERMS`] terms, [`WRITES`] writes, two readers.
//!
//! # Properties
//! Always: what a read answers holds every write that was acknowledged before the read was asked; nothing committed
//! is ever lost. Sometimes: a leader deposed without its knowledge begins a round; a read is answered in a later
//! term; two readers share a round; a new leader has not committed in its own term yet.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::machine::command::{Command, Put};
use quorate::raft::leadership::is_quorum;
use quorate::types::Revision;
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::raft::{Payload, Raft, id};
use crate::replica::Replica;
use crate::search::Checked;

/// Terms in all.
const TERMS: u64 = 2;
/// Writes in all.
const WRITES: u8 = 1;

const PEERS: [usize; 3] = [0, 1, 2];
const READERS: [usize; 2] = [0, 1];

/// The model.
#[derive(Clone, Debug)]
pub struct ReadIndexModel {
    planted: Planted,
}

/// What the log holds: a write of a key of its own, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// A leader's first entry.
    Blank,
    /// A write.
    Key(u8),
}

impl Payload for Written {
    fn blank() -> Written {
        Written::Blank
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadIndexState {
    raft: Raft<Written>,
    writes: u8,
    acknowledged: BTreeSet<u8>,
    readers: [Reader; 2],
    round: Option<Round>,
    /// What voters said in rounds before; counted by a planted bug alone.
    said_before: BTreeSet<u64>,
    deposed_asked: bool,
    shared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Idle,
    /// What was acknowledged when it asked.
    Waiting(BTreeSet<u8>),
    InRound(BTreeSet<u8>),
    Answered {
        missed: bool,
        term: u64,
    },
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Round {
    leader: usize,
    term: u64,
    index: usize,
    /// Who said yes. A no changes nothing, and is no step.
    agreed: BTreeSet<u64>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadIndexAction {
    /// A peer is elected by these voters.
    Elect(usize, BTreeSet<u64>),
    /// The leader's log reaches a peer.
    Replicate(usize, usize),
    /// A leader calls so many entries committed, and acknowledges the writes among them.
    Commit(usize, usize),
    /// A client writes at a peer that believes to lead.
    Write(usize),
    /// A reader asks.
    Ask(usize),
    /// A peer that believes to lead begins a round for all who wait.
    BeginRound(usize),
    /// A voter is asked.
    AskVoter(usize),
    /// A quorum agreed: the round's readers are answered.
    Answer,
    /// The round is given up, and begun anew later.
    GiveUp,
}

impl ReadIndexState {
    /// What the machine shows once it has applied `len` entries of a leader's log.
    fn read(&self, leader: usize, len: usize) -> BTreeSet<u8> {
        let mut machine = Replica::default();
        let log = self.raft.peers.get(leader).map(|peer| peer.log.as_slice()).unwrap_or_default();
        for entry in log.iter().take(len) {
            machine.run(match entry.payload {
                Written::Blank => Command::Noop,
                Written::Key(key) => {
                    Command::Put(Put { key: Bytes::copy_from_slice(&[key]), ..Put::default() })
                }
            });
        }
        machine.all(Revision(0)).kvs.iter().filter_map(|kv| kv.key.first().copied()).collect()
    }

    fn answer(&mut self) {
        let Some(round) = self.round.take() else { return };
        let seen = self.read(round.leader, round.index);
        for reader in &mut self.readers {
            if let Reader::InRound(before) = reader {
                *reader = Reader::Answered { missed: !before.is_subset(&seen), term: round.term };
            }
        }
    }
}

impl ReadIndexModel {
    fn begin_round(&self, state: &mut ReadIndexState, leader: usize) -> Option<()> {
        let peer = state.raft.peers.get(leader)?;
        let own_term = peer.log.get(peer.committed.checked_sub(1)?)?.term == peer.term;
        if !own_term && self.planted != Planted::OwnTermNotAwaited {
            return None;
        }
        let (term, index) = (peer.term, peer.committed);
        let mut agreed = BTreeSet::from([id(leader)]);
        if self.planted == Planted::OldAnswersCounted {
            agreed.extend(&state.said_before);
        }
        let mut joined = 0;
        for reader in &mut state.readers {
            if let Reader::Waiting(before) = reader {
                *reader = Reader::InRound(std::mem::take(before));
                joined += 1;
            }
        }
        state.shared |= joined > 1;
        state.deposed_asked |= term < state.raft.term();
        state.round = Some(Round { leader, term, index, agreed });
        Some(())
    }

    /// What counts as enough holders of an entry.
    fn counts(&self, voters: &[BTreeSet<u64>], holders: &BTreeSet<u64>) -> bool {
        self.planted == Planted::CommittedAlone || is_quorum(voters, holders)
    }

    fn is_confirmed(&self, state: &ReadIndexState, round: &Round) -> bool {
        self.planted == Planted::RoundSkipped || is_quorum(&state.raft.voters(round.leader), &round.agreed)
    }
}

impl Model for ReadIndexModel {
    type State = ReadIndexState;
    type Action = ReadIndexAction;

    fn init_states(&self) -> Vec<ReadIndexState> {
        vec![ReadIndexState {
            raft: Raft::new(3, 3),
            writes: 0,
            acknowledged: BTreeSet::new(),
            readers: [Reader::Idle, Reader::Idle],
            round: None,
            said_before: BTreeSet::new(),
            deposed_asked: false,
            shared: false,
        }]
    }

    fn actions(&self, state: &ReadIndexState, actions: &mut Vec<ReadIndexAction>) {
        for peer in PEERS {
            if state.raft.term() < TERMS && !state.raft.leads(peer) {
                let electorates = state.raft.electorates(peer).into_iter();
                actions.extend(electorates.map(|grants| ReadIndexAction::Elect(peer, grants)));
            }
            if !state.raft.leads(peer) {
                continue;
            }
            let others = PEERS.into_iter().filter(|to| state.raft.can_replicate(peer, *to));
            actions.extend(others.map(|to| ReadIndexAction::Replicate(peer, to)));
            let len = state.raft.commitable(peer, |voters, holders| self.counts(voters, holders));
            if len > 0 {
                actions.push(ReadIndexAction::Commit(peer, len));
            }
            if state.writes < WRITES {
                actions.push(ReadIndexAction::Write(peer));
            }
            let waiting = state.readers.iter().any(|reader| matches!(reader, Reader::Waiting(_)));
            if waiting && state.round.is_none() {
                actions.push(ReadIndexAction::BeginRound(peer));
            }
        }
        // The readers are alike: the second asks after the first.
        if let Some(reader) = READERS.into_iter().find(|at| state.readers.get(*at) == Some(&Reader::Idle)) {
            actions.push(ReadIndexAction::Ask(reader));
        }
        if let Some(round) = &state.round {
            if self.is_confirmed(state, round) {
                actions.push(ReadIndexAction::Answer);
            } else {
                actions.extend(PEERS.map(ReadIndexAction::AskVoter));
                actions.push(ReadIndexAction::GiveUp);
            }
        }
    }

    fn next_state(&self, last: &ReadIndexState, action: ReadIndexAction) -> Option<ReadIndexState> {
        let mut state = last.clone();
        match action {
            ReadIndexAction::Elect(peer, grants) => state.raft.elect(peer, &grants),
            ReadIndexAction::Replicate(from, to) => state.raft.replicate(from, to),
            ReadIndexAction::Commit(leader, len) => {
                state.raft.commit(leader, len);
                let log = state.raft.peers.get(leader)?.log.iter().take(len);
                state.acknowledged.extend(log.filter_map(|entry| match entry.payload {
                    Written::Blank => None,
                    Written::Key(key) => Some(key),
                }));
            }
            ReadIndexAction::Write(leader) => {
                state.writes += 1;
                state.raft.append(leader, Written::Key(state.writes));
            }
            ReadIndexAction::Ask(reader) => {
                let before = state.acknowledged.clone();
                let joins = self.planted == Planted::RoundJoinedLate && state.round.is_some();
                *state.readers.get_mut(reader)? =
                    if joins { Reader::InRound(before) } else { Reader::Waiting(before) };
            }
            ReadIndexAction::BeginRound(leader) => self.begin_round(&mut state, leader)?,
            ReadIndexAction::AskVoter(peer) => {
                let says = state.raft.peers.get(peer)?.term;
                let round = state.round.as_mut()?;
                if says != round.term || !round.agreed.insert(id(peer)) {
                    return None;
                }
                if self.planted == Planted::OldAnswersCounted {
                    state.said_before.insert(id(peer));
                }
            }
            ReadIndexAction::Answer => state.answer(),
            ReadIndexAction::GiveUp => {
                state.round = None;
                for reader in &mut state.readers {
                    if let Reader::InRound(before) = reader {
                        *reader = Reader::Waiting(std::mem::take(before));
                    }
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<ReadIndexModel>> {
        vec![
            Property::always("no acknowledged write is missed", |_, state: &ReadIndexState| {
                !state.readers.iter().any(|reader| matches!(reader, Reader::Answered { missed: true, .. }))
            }),
            Property::always("nothing committed is lost", |_, state: &ReadIndexState| {
                state.raft.is_safe() && state.raft.is_complete()
            }),
            Property::sometimes("a deposed leader begins a round", |_, state: &ReadIndexState| {
                state.deposed_asked
            }),
            Property::sometimes("a read is answered in a later term", |_, state: &ReadIndexState| {
                state.readers.iter().any(|reader| matches!(reader, Reader::Answered { term: 2.., .. }))
            }),
            Property::sometimes("two readers share a round", |_, state: &ReadIndexState| state.shared),
            Property::sometimes(
                "a new leader lags behind what is acknowledged",
                |_, state: &ReadIndexState| {
                    let behind = |peer: usize| state.raft.peers.get(peer).map_or(0, |peer| peer.committed);
                    let term = state.raft.term();
                    PEERS.into_iter().any(|peer| {
                        let latest =
                            state.raft.peers.get(peer).is_some_and(|peer| peer.leads && peer.term == term);
                        latest
                            && !state.acknowledged.is_empty()
                            && !state.acknowledged.is_subset(&state.read(peer, behind(peer)))
                    })
                },
            ),
        ]
    }
}

impl Checked for ReadIndexModel {
    const NAME: &'static str = "read-index";
    const ABOUT: &'static str = "read index against leader change: no acknowledged write is missed";
    const PLANTED: &'static [Planted] = &[
        Planted::RoundSkipped,
        Planted::OwnTermNotAwaited,
        Planted::RoundJoinedLate,
        Planted::OldAnswersCounted,
        Planted::CommittedAlone,
    ];

    fn new(planted: Planted) -> ReadIndexModel {
        ReadIndexModel { planted }
    }
}
