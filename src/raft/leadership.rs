//! Does this member still lead? Asked of the voters themselves, one round a question.
//!
//! Why not the consensus core's own linearizer: the core dates a follower's acknowledgement by the newest
//! request that the answer *could* cover. When a leader wakes from a pause, an answer to an old request arrives
//! behind a new, empty one, and is dated as if it answered that: a deposed leader then believes in a quorum
//! that it no longer has, and serves a stale read (found by the simulator, a pause of three seconds).
//! Here a voter's answer belongs to the question asked, and to no other.
//!
//! The argument (Raft, section 6.4): the index is read before the round begins; a voter that answers yes had, at
//! that moment, given its vote to nobody in a later term; with a quorum of those, no later leader can have
//! committed anything before the round began. The leader must have committed an entry of its own term first,
//! else its commit index may lag.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::env::{Clock, within};
use crate::peer::Peers;
use crate::raft::handle::Core;
use crate::raft::types::{RaftVote, log_id};
use crate::types::{LogId, MemberId, Term};

/// Confirms the leadership of one member.
#[derive(Clone)]
pub struct Leadership {
    core: Core,
    clock: Arc<dyn Clock>,
    peers: Peers,
    member: MemberId,
}

/// A leader's standing at one moment.
struct Standing {
    term: Term,
    committed: LogId,
    /// Each set needs a majority; two during a change of the membership.
    voters: Vec<BTreeSet<u64>>,
    urls: BTreeMap<u64, Vec<String>>,
}

impl Leadership {
    /// Asks on behalf of `member`.
    pub fn new(core: Core, clock: Arc<dyn Clock>, peers: Peers, member: MemberId) -> Leadership {
        Leadership { core, clock, peers, member }
    }

    /// An index that covers everything acknowledged before the call, confirmed by a quorum asked after it.
    /// `None` when this member does not lead, has not committed in its own term yet, or no quorum said yes in
    /// `timeout`.
    pub async fn confirm(&self, timeout: Duration) -> Option<LogId> {
        let standing = self.standing().await?;
        let mut agreed = BTreeSet::from([self.member.0]);
        if standing.has_quorum(&agreed) {
            return Some(standing.committed);
        }
        let others: BTreeSet<u64> =
            standing.voters.iter().flatten().copied().filter(|voter| *voter != self.member.0).collect();
        let mut asked: FuturesUnordered<_> = others
            .into_iter()
            .map(|voter| {
                if let Some(urls) = standing.urls.get(&voter) {
                    self.peers.learn(MemberId(voter), urls);
                }
                async move { (voter, self.peers.confirm(MemberId(voter), timeout, standing.term).await) }
            })
            .collect();
        let round = async {
            while let Some((voter, answer)) = asked.next().await {
                crate::disturb!("a voter's word comes late", &*self.clock);
                if answer.is_ok_and(|answer| answer.confirmed) {
                    agreed.insert(voter);
                }
                if standing.has_quorum(&agreed) {
                    return Some(standing.committed);
                }
            }
            None
        };
        let confirmed = within(&*self.clock, timeout, round).await.flatten();
        if confirmed.is_none() {
            crate::sometimes!("a leader found no quorum to confirm it");
        }
        confirmed
    }

    /// Whether this member, as a voter, knows `leader` as the leader of `term` and of no later one. Answered by
    /// the consensus core itself, so that a vote it has just given is not missed.
    pub async fn agrees(&self, leader: MemberId, term: Term) -> bool {
        let expected = RaftVote::new_committed(term.0, leader.0);
        let agrees = self.core.with_raft_state(move |state| {
            let vote = state.vote_ref();
            // The planted bug takes a vote given to a candidate for no news of a leader.
            *vote == expected
                || (!vote.is_committed() && crate::mutant!("read-confirmed-by-a-voter-that-moved-on"))
        });
        agrees.await.unwrap_or(false)
    }

    async fn standing(&self) -> Option<Standing> {
        let member = self.member.0;
        let standing = self.core.with_raft_state(move |state| {
            let vote = state.vote_ref();
            let leader = vote.leader_id();
            if !vote.is_committed() || leader.voted_for != member {
                return None;
            }
            let committed = state.cluster_committed().map(log_id);
            let mut own = committed.filter(|committed| committed.term.0 == leader.term);
            // The planted bug trusts what it knew as a follower, which may lag behind what its predecessor acknowledged.
            if own.is_none() && crate::mutant!("read-index-before-own-term") {
                own = state.local_committed().map(log_id);
            }
            let Some(committed) = own else {
                crate::sometimes!("asked to lead before its term's first entry was committed");
                return None;
            };
            let membership = state.membership_state.effective();
            Some(Standing {
                term: Term(leader.term),
                committed,
                voters: membership.membership().get_joint_config().clone(),
                urls: membership.nodes().map(|(id, node)| (*id, node.urls.clone())).collect(),
            })
        });
        standing.await.ok().flatten()
    }
}

impl Standing {
    fn has_quorum(&self, agreed: &BTreeSet<u64>) -> bool {
        is_quorum(&self.voters, agreed)
    }
}

/// Whether `agreed` holds a majority of each set of `voters`: of both, while the membership changes.
pub fn is_quorum(voters: &[BTreeSet<u64>], agreed: &BTreeSet<u64>) -> bool {
    voters.iter().all(|set| set.intersection(agreed).count() * 2 > set.len())
}
