//! Textbook Raft in four steps: elect, append, replicate, commit; for the models that need votes and leaders.
//!
//! It stands in for the consensus core, which cannot be model-checked (async, private). The rule of what a quorum
//! is comes from the product ([`is_quorum`]).
//!
//! # Abstracted
//! An election is one step: who is asked grants at once. Replication copies the leader's whole log to one peer. Lost,
//! late and duplicate messages are steps that come late or never; a peer that is down is one that takes no step. A
//! leader goes on believing until a later term reaches it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use quorate::raft::leadership::is_quorum;

/// What log entries hold.
pub trait Payload: Clone + Debug + PartialEq + Eq + Hash {
    /// The voters from this entry on, if it changes them; two sets while they change.
    fn voters(&self) -> Option<Vec<BTreeSet<u64>>> {
        None
    }

    /// What a new leader writes first.
    fn blank() -> Self;
}

/// One log entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry<P> {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What it holds.
    pub payload: P,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer<P> {
    /// The latest term in which it voted or followed.
    pub term: u64,
    /// Whether it believes to lead that term.
    pub leads: bool,
    /// Its log.
    pub log: Vec<Entry<P>>,
    /// How many entries it knows to be committed.
    pub committed: usize,
}

/// All peers; peer `n` has id `n + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft<P> {
    /// The voters before any entry changes them.
    pub initial: BTreeSet<u64>,
    /// The peers.
    pub peers: Vec<Peer<P>>,
    /// The longest log that was ever committed, whoever knew: what may never be lost.
    pub committed: Vec<Entry<P>>,
}

/// The id of a peer.
pub fn id(peer: usize) -> u64 {
    u64::try_from(peer).map_or(0, |peer| peer + 1)
}

impl<P: Payload> Raft<P> {
    /// The first `voters` of `peers` peers vote; peer 0 leads term 1, and its first entry is everywhere.
    pub fn new(voters: u64, peers: usize) -> Raft<P> {
        let log = vec![Entry { term: 1, payload: P::blank() }];
        let peer = |number: usize| Peer { term: 1, leads: number == 0, log: log.clone(), committed: 1 };
        Raft { initial: (1..=voters).collect(), peers: (0..peers).map(peer).collect(), committed: log }
    }

    /// The voters that a peer goes by: those of the last entry of its log that names any, committed or not.
    pub fn voters(&self, peer: usize) -> Vec<BTreeSet<u64>> {
        let log = self.peers.get(peer).map(|peer| peer.log.as_slice()).unwrap_or_default();
        let named = log.iter().rev().find_map(|entry| entry.payload.voters());
        named.unwrap_or_else(|| vec![self.initial.clone()])
    }

    /// Whether a peer believes to lead.
    pub fn leads(&self, peer: usize) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.leads)
    }

    /// The ways in which `candidate` can win: sets of grants of which none can be missed.
    pub fn electorates(&self, candidate: usize) -> Vec<BTreeSet<u64>> {
        let voters = self.voters(candidate);
        let Some(own) = self.peers.get(candidate) else { return Vec::new() };
        if !voters.iter().any(|set| set.contains(&id(candidate))) {
            return Vec::new();
        }
        let rank = |log: &[Entry<P>]| (log.last().map(|entry| entry.term), log.len());
        let mut sets = vec![BTreeSet::from([id(candidate)])];
        for (number, peer) in self.peers.iter().enumerate() {
            let votes = voters.iter().any(|set| set.contains(&id(number)));
            if number != candidate && votes && rank(&peer.log) <= rank(&own.log) {
                let with = sets.iter().cloned().map(|mut set| {
                    set.insert(id(number));
                    set
                });
                let with: Vec<_> = with.collect();
                sets.extend(with);
            }
        }
        sets.retain(|set| {
            let without = |voter: &u64| set.iter().copied().filter(|other| other != voter).collect();
            let spare = |voter: &u64| *voter != id(candidate) && is_quorum(&voters, &without(voter));
            is_quorum(&voters, set) && !set.iter().any(spare)
        });
        sets
    }

    /// Elects, in a term above any that the voters know; the new leader writes its first entry.
    pub fn elect(&mut self, candidate: usize, grants: &BTreeSet<u64>) {
        let granting = |number: usize| grants.contains(&id(number));
        let voters = self.peers.iter().enumerate().filter(|(number, _)| granting(*number));
        let term = voters.map(|(_, peer)| peer.term).max().unwrap_or(0) + 1;
        for (number, peer) in self.peers.iter_mut().enumerate().filter(|(number, _)| granting(*number)) {
            peer.term = term;
            peer.leads = number == candidate;
        }
        self.append(candidate, P::blank());
    }

    /// The highest term anybody knows.
    pub fn term(&self) -> u64 {
        self.peers.iter().map(|peer| peer.term).max().unwrap_or(0)
    }

    /// A leader appends an entry.
    pub fn append(&mut self, leader: usize, payload: P) {
        if let Some(peer) = self.peers.get_mut(leader) {
            peer.log.push(Entry { term: peer.term, payload });
        }
    }

    /// Whether the leader has anything for the peer.
    pub fn can_replicate(&self, leader: usize, to: usize) -> bool {
        let (Some(from), Some(to_peer)) = (self.peers.get(leader), self.peers.get(to)) else { return false };
        let news = to_peer.log != from.log || to_peer.term != from.term || to_peer.committed < from.committed;
        leader != to && from.leads && to_peer.term <= from.term && news
    }

    /// The leader's log reaches a peer, and how much of it is committed.
    pub fn replicate(&mut self, leader: usize, to: usize) {
        let Some(from) = self.peers.get(leader).cloned() else { return };
        if let Some(peer) = self.peers.get_mut(to) {
            *peer = Peer { leads: false, ..from };
        }
    }

    /// How many entries the leader may call committed: up to one of its own term that a quorum holds, of those whom
    /// `counts` lets count.
    pub fn commitable(
        &self,
        leader: usize,
        counts: impl Fn(&[BTreeSet<u64>], &BTreeSet<u64>) -> bool,
    ) -> usize {
        let Some(own) = self.peers.get(leader).filter(|peer| peer.leads) else { return 0 };
        let voters = self.voters(leader);
        let holds = |len: usize| {
            let holders = self.peers.iter().enumerate();
            let holders = holders
                .filter(|(_, peer)| peer.log.len() >= len && peer.log.get(len - 1) == own.log.get(len - 1));
            counts(&voters, &holders.map(|(number, _)| id(number)).collect())
        };
        let own_term = |len: &usize| own.log.get(len - 1).is_some_and(|entry| entry.term == own.term);
        (own.committed + 1..=own.log.len()).rev().filter(own_term).find(|len| holds(*len)).unwrap_or(0)
    }

    /// The leader calls the first `len` entries of its log committed.
    pub fn commit(&mut self, leader: usize, len: usize) {
        let Some(peer) = self.peers.get_mut(leader) else { return };
        peer.committed = len;
        if len > self.committed.len() {
            self.committed = peer.log.get(..len).unwrap_or_default().to_vec();
        }
    }

    /// State-machine safety: whatever a peer knows to be committed is a prefix of all that was.
    pub fn is_safe(&self) -> bool {
        self.peers.iter().all(|peer| {
            let known = peer.log.get(..peer.committed).unwrap_or_default();
            let shared = known.len().min(self.committed.len());
            known.get(..shared) == self.committed.get(..shared) && known.len() <= self.committed.len()
        })
    }

    /// Leader completeness: a leader of the highest term holds everything that was committed.
    pub fn is_complete(&self) -> bool {
        let term = self.term();
        let mut leaders = self.peers.iter().filter(|peer| peer.leads && peer.term == term);
        leaders.all(|peer| peer.log.starts_with(&self.committed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Nothing;

    impl Payload for Nothing {
        fn blank() -> Nothing {
            Nothing
        }
    }

    #[test]
    fn a_candidate_needs_a_majority_that_is_not_ahead_of_it() {
        let mut raft: Raft<Nothing> = Raft::new(3, 3);
        assert_eq!(raft.electorates(1), [BTreeSet::from([1, 2]), BTreeSet::from([2, 3])]);
        raft.append(0, Nothing);
        assert_eq!(raft.electorates(1), [BTreeSet::from([2, 3])], "peer 0 is ahead");
        raft.replicate(0, 2);
        assert!(raft.electorates(1).is_empty(), "so is peer 2");
    }

    #[test]
    fn a_leader_commits_what_a_quorum_holds_of_its_own_term_alone() {
        let mut raft: Raft<Nothing> = Raft::new(3, 3);
        raft.append(0, Nothing);
        assert_eq!(raft.commitable(0, is_quorum), 0);
        raft.replicate(0, 1);
        assert_eq!(raft.commitable(0, is_quorum), 2);
        raft.elect(1, &BTreeSet::from([2, 3]));
        assert_eq!(raft.commitable(1, is_quorum), 0, "the entry is of an earlier term");
        raft.replicate(1, 2);
        assert_eq!(raft.commitable(1, is_quorum), 3, "with one of its own it is");
        raft.commit(1, 3);
        assert!(raft.is_safe() && raft.is_complete());
    }
}
