//! Learner promotion: a newcomer gets its vote when it has caught up, and never costs the quorum before.
//!
//! # Modelled
//! Three voters and a newcomer that only follows. Once it holds the leader's log, the leader writes a joint
//! configuration in which it takes the place of the third voter, and after that is committed the final one; a new
//! leader that finds a joint configuration finishes it. Replacement and not mere addition, because only a change of
//! more than one voter needs the joint step. Elections and writes go on meanwhile.
//!
//! # Abstracted
//! The member list is the real machine's, changed by the real commands before the story begins; which step a leader
//! takes towards it ([`next_step`]) and what is a quorum of one or two sets of voters ([`is_quorum`]) are the product's
//! own rules. How a joint configuration is written is Raft's, over [`crate::raft`]. The newcomer that never appears is
//! one that takes no step.
//!
//! # Bounds
//! [`TERMS`] terms, [`WRITES`] write, one promotion.
//!
//! # Properties
//! Always: nothing committed is ever lost; while the newcomer has shown no sign of life, any two of the three first
//! voters are a quorum; when nothing is left to do, no leader stands in a joint configuration. Sometimes: the newcomer
//! is promoted; it is elected; a leader elected in between finishes what another began; it never appears and writes
//! are committed all the same.

use std::collections::BTreeSet;

use quorate::machine::command::{Command, Member, MemberChange};
use quorate::machine::members::Members;
use quorate::raft::leadership::is_quorum;
use quorate::raft::membership::{Configuration, Step, next_step};
use quorate::raft::types::PeerNode;
use quorate::types::MemberId;
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::raft::{Payload, Raft, id};
use crate::replica::Replica;
use crate::search::{Checked, is_terminal};

/// Terms in all.
const TERMS: u64 = 2;
/// Writes in all.
const WRITES: u8 = 1;

const PEERS: [usize; 4] = [0, 1, 2, 3];
const THIRD: usize = 2;
const NEWCOMER: usize = 3;
const OLD: [u64; 3] = [1, 2, 3];
const NEW: [u64; 3] = [1, 2, 4];

/// The model.
#[derive(Clone, Debug)]
pub struct LearnerModel {
    planted: Planted,
    /// What the operator wants.
    list: Members,
}

/// What the log holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Logged {
    /// A leader's first entry.
    Blank,
    /// A client's write.
    Write,
    /// The voters from here on.
    Voters(Vec<BTreeSet<u64>>),
}

impl Payload for Logged {
    fn voters(&self) -> Option<Vec<BTreeSet<u64>>> {
        if let Logged::Voters(voters) = self { Some(voters.clone()) } else { None }
    }

    fn blank() -> Logged {
        Logged::Blank
    }
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnerState {
    raft: Raft<Logged>,
    writes: u8,
    began: Option<u64>,
    finished: Option<u64>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnerAction {
    /// A peer is elected by these voters.
    Elect(usize, BTreeSet<u64>),
    /// The leader's log reaches a peer.
    Replicate(usize, usize),
    /// A leader calls so many entries committed.
    Commit(usize, usize),
    /// A client writes.
    Write(usize),
    /// A leader begins the promotion.
    Promote(usize),
    /// A leader ends the joint configuration.
    Finish(usize),
}

/// The members as the machine lists them: the newcomer added as a learner; and, `after` an operator has been there,
/// promoted, with the third voter removed.
fn listed(after: bool) -> Members {
    let mut machine = Replica::default();
    let member =
        |number: usize| Member { id: MemberId(id(number)), name: number.to_string(), ..Member::default() };
    let founders = PEERS.into_iter().filter(|peer| *peer != NEWCOMER);
    machine.run(Command::Bootstrap { members: founders.map(member).collect() });
    let newcomer = Member { is_learner: true, ..member(NEWCOMER) };
    let mut changes = vec![MemberChange::Add(newcomer.clone())];
    if after {
        changes.extend([MemberChange::Promote(newcomer.id), MemberChange::Remove(MemberId(id(THIRD)))]);
    }
    for change in changes {
        machine.run(Command::ChangeMembers(change));
    }
    machine.state().members().clone()
}

impl LearnerModel {
    /// What the product would do next as this leader.
    fn step(&self, state: &LearnerState, leader: usize) -> Option<Step> {
        let [own, newcomer] = [leader, NEWCOMER].map(|peer| state.raft.peers.get(peer));
        let (own, newcomer) = (own.filter(|peer| peer.leads)?, newcomer?);
        // It acts in its own term, and sees no further than what is applied.
        let in_office = own.committed.checked_sub(1).and_then(|last| own.log.get(last));
        let set_by = own.log.iter().rposition(|entry| entry.payload.voters().is_some());
        if in_office.is_none_or(|entry| entry.term != own.term)
            || set_by.is_some_and(|at| at >= own.committed)
        {
            return None;
        }
        let nodes = PEERS.map(|peer| (id(peer), PeerNode::default()));
        let now = Configuration { voters: state.raft.voters(leader), nodes: nodes.into(), set_by: None };
        let caught_up = newcomer.log == own.log || self.planted == Planted::PromotedAtOnce;
        let ready = if caught_up { BTreeSet::from([id(NEWCOMER)]) } else { BTreeSet::new() };
        next_step(&self.list, &now, &ready)
    }

    /// Whether this leader ends the joint configuration that it stands in.
    fn finishes(&self, state: &LearnerState, leader: usize) -> bool {
        let term = state.raft.peers.get(leader).map(|peer| peer.term);
        self.planted != Planted::JointLeftUnfinished || state.began == term
    }

    /// What counts as enough holders of an entry.
    fn counts(&self, voters: &[BTreeSet<u64>], holders: &BTreeSet<u64>) -> bool {
        if self.planted == Planted::LearnerCounted {
            return voters.iter().all(|set| holders.len() * 2 > set.len());
        }
        is_quorum(voters, holders)
    }
}

impl Model for LearnerModel {
    type State = LearnerState;
    type Action = LearnerAction;

    fn init_states(&self) -> Vec<LearnerState> {
        let mut raft = Raft::new(3, PEERS.len());
        let first = listed(false);
        let voters = first.iter().filter(|member| !member.is_learner);
        raft.initial = voters.map(|member| member.id.0).collect();
        assert_eq!(raft.initial, BTreeSet::from(OLD), "the newcomer has no vote at first");
        if let Some(newcomer) = raft.peers.get_mut(NEWCOMER) {
            newcomer.log.clear();
            newcomer.term = 0;
            newcomer.committed = 0;
        }
        vec![LearnerState { raft, writes: 0, began: None, finished: None }]
    }

    fn actions(&self, state: &LearnerState, actions: &mut Vec<LearnerAction>) {
        for peer in PEERS {
            if state.raft.term() < TERMS && !state.raft.leads(peer) {
                let electorates = state.raft.electorates(peer).into_iter();
                actions.extend(electorates.map(|grants| LearnerAction::Elect(peer, grants)));
            }
            if !state.raft.leads(peer) {
                continue;
            }
            let others = PEERS.into_iter().filter(|to| state.raft.can_replicate(peer, *to));
            actions.extend(others.map(|to| LearnerAction::Replicate(peer, to)));
            let len = state.raft.commitable(peer, |voters, holders| self.counts(voters, holders));
            if len > 0 {
                actions.push(LearnerAction::Commit(peer, len));
            }
            if state.writes < WRITES {
                actions.push(LearnerAction::Write(peer));
            }
            match self.step(state, peer) {
                // Without the newcomer the list asks for fewer voters first; here it is one change or none.
                Some(Step::Vote(voters)) if voters == BTreeSet::from(NEW) && state.began.is_none() => {
                    actions.push(LearnerAction::Promote(peer));
                }
                Some(Step::Finish) if self.finishes(state, peer) => actions.push(LearnerAction::Finish(peer)),
                _ => {}
            }
        }
    }

    fn next_state(&self, last: &LearnerState, action: LearnerAction) -> Option<LearnerState> {
        let mut state = last.clone();
        match action {
            LearnerAction::Elect(peer, grants) => state.raft.elect(peer, &grants),
            LearnerAction::Replicate(from, to) => state.raft.replicate(from, to),
            LearnerAction::Commit(leader, len) => state.raft.commit(leader, len),
            LearnerAction::Write(leader) => {
                state.writes += 1;
                state.raft.append(leader, Logged::Write);
            }
            LearnerAction::Promote(leader) => {
                state.began = Some(state.raft.peers.get(leader)?.term);
                let mut voters = vec![BTreeSet::from(OLD), BTreeSet::from(NEW)];
                if self.planted == Planted::JointSkipped {
                    voters.remove(0);
                }
                state.raft.append(leader, Logged::Voters(voters));
            }
            LearnerAction::Finish(leader) => {
                state.finished = Some(state.raft.peers.get(leader)?.term);
                state.raft.append(leader, Logged::Voters(vec![BTreeSet::from(NEW)]));
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<LearnerModel>> {
        vec![
            Property::always("nothing committed is lost", |_, state: &LearnerState| {
                state.raft.is_safe() && state.raft.is_complete()
            }),
            Property::always("a silent newcomer costs no quorum", |_, state: &LearnerState| {
                let silent = state.raft.peers.get(NEWCOMER).is_some_and(|newcomer| newcomer.log.is_empty());
                let enough = |two: [u64; 2]| {
                    let agreed = BTreeSet::from(two);
                    PEERS.into_iter().all(|peer| is_quorum(&state.raft.voters(peer), &agreed))
                };
                !silent || [[1, 2], [1, 3], [2, 3]].into_iter().all(enough)
            }),
            Property::always("no joint configuration stays", |model, state: &LearnerState| {
                let term = state.raft.term();
                let joint = |peer: &usize| {
                    let leads =
                        state.raft.peers.get(*peer).is_some_and(|peer| peer.leads && peer.term == term);
                    leads && state.raft.voters(*peer).len() > 1
                };
                !PEERS.iter().any(joint) || !is_terminal(model, state)
            }),
            Property::sometimes("the newcomer is promoted", |_, state: &LearnerState| {
                let mut voters = state.raft.committed.iter().filter_map(|entry| entry.payload.voters());
                voters.next_back().is_some_and(|voters| voters == [BTreeSet::from(NEW)])
            }),
            Property::sometimes("the newcomer is elected", |_, state: &LearnerState| {
                state.raft.leads(NEWCOMER)
            }),
            Property::sometimes("a later leader finishes what another began", |_, state: &LearnerState| {
                state.began.is_some() && state.finished > state.began
            }),
            Property::sometimes("a write is committed without the newcomer", |_, state: &LearnerState| {
                let silent = state.raft.peers.get(NEWCOMER).is_some_and(|newcomer| newcomer.log.is_empty());
                silent && state.raft.committed.iter().any(|entry| entry.payload == Logged::Write)
            }),
        ]
    }
}

impl Checked for LearnerModel {
    const NAME: &'static str = "learner";
    const ABOUT: &'static str =
        "learner promotion: a newcomer never costs the quorum, nothing committed is lost";
    const PLANTED: &'static [Planted] = &[
        Planted::PromotedAtOnce,
        Planted::LearnerCounted,
        Planted::JointSkipped,
        Planted::JointLeftUnfinished,
    ];

    fn new(planted: Planted) -> LearnerModel {
        LearnerModel { planted, list: listed(true) }
    }
}
