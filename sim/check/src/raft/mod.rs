//! Raft's own invariants, judged from what members' logs and machines were seen doing, one observation at a time.
//!
//! Sources: "the paper" is Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm* (USENIX ATC
//! 2014), figure 3 and section 5; "the dissertation" is Ongaro, *Consensus: Bridging Theory and Practice* (2014),
//! chapter 3. Each invariant stands in a file of its own, with its source and what it does not see.
//!
//! [`Invariants::note`] takes an observation in the moment it happens and says what it breaks, so that a run stops at
//! the first violation. Work per observation is constant or logarithmic, but for elections and starts, which look at
//! one log once.
//!
//! Invariants: every check sees the ground as it was before the observation; nothing here knows the product.

mod acknowledged_durable;
mod committed;
mod committed_never_lost;
mod election_safety;
mod gone_for_good;
mod ground;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod observation;
mod one_by_one;
mod state_machine_safety;
#[cfg(test)]
mod tests;

pub use observation::{Ballot, Observation};

use crate::types::MemberId;
use crate::verdict::Violation;
use acknowledged_durable::AcknowledgedDurable;
use committed::Committed;
use committed_never_lost::CommittedNeverLost;
use election_safety::ElectionSafety;
use gone_for_good::GoneForGood;
use ground::Ground;
use leader_completeness::LeaderCompleteness;
use log_matching::LogMatching;
use one_by_one::OneByOne;
use state_machine_safety::StateMachineSafety;

/// All invariants together, over all members of one cluster.
#[derive(Debug, Default)]
pub struct Invariants {
    ground: Ground,
    committed: Committed,
    election_safety: ElectionSafety,
    log_matching: LogMatching,
    leader_completeness: LeaderCompleteness,
    state_machine_safety: StateMachineSafety,
    committed_never_lost: CommittedNeverLost,
    acknowledged_durable: AcknowledgedDurable,
    gone_for_good: GoneForGood,
    one_by_one: OneByOne,
    observations: u64,
}

impl Invariants {
    /// Takes in what a member was seen doing; every invariant that this breaks.
    pub fn note(&mut self, member: MemberId, seen: &Observation) -> Vec<Violation> {
        self.observations = self.observations.saturating_add(1);
        let ground = &self.ground;
        let news = self.committed.news(ground, member, seen);
        let violations = [
            self.election_safety.check(member, seen),
            leader_append_only::check(ground, member, seen),
            self.log_matching.check(ground, member, seen),
            self.leader_completeness.check(ground, &self.committed, &news, member, seen),
            self.state_machine_safety.check(member, seen),
            self.committed_never_lost.check(ground, &self.committed, &news, member, seen),
            self.acknowledged_durable.check(member, seen),
            self.gone_for_good.check(member, seen),
            self.one_by_one.check(seen),
        ];
        self.committed.take(news);
        self.ground.take(member, seen);
        violations.into_iter().flatten().collect()
    }

    /// The member has lost its disk and comes back as a stranger to its past: nothing it promised is asked of it.
    pub fn forget(&mut self, member: MemberId) {
        self.ground.forget(member);
        self.election_safety.forget(member);
        self.state_machine_safety.forget(member);
        self.committed_never_lost.forget(member);
        self.acknowledged_durable.forget(member);
    }

    /// How many observations were judged.
    pub fn observations(&self) -> u64 {
        self.observations
    }
}
