//! Who votes follows the member list.
//!
//! An operator changes the list, which is state like any other. Here the leader brings the consensus core's own
//! configuration in step with it, one change at a time: a newcomer is added as a learner, whatever the list says, and
//! gets its vote when it has started and caught up, so that one that never appears can never cost the quorum; whoever
//! is gone from the list loses vote and place. Voters change by joint consensus (Raft, section 6), and a joint
//! configuration that another leader left behind is finished first.
//!
//! Invariants: only a leader acts that has applied an entry of its own term and the list that its configuration came
//! from, so nobody is taken out because an old list was read; one that has taken its own vote away changes nothing
//! more, it steps down; there is always a voter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::env::{Clock, within};
use crate::machine::members::Members;
use crate::peer::Peers;
use crate::raft::RaftHandle;
use crate::raft::replica::Replica;
use crate::raft::types::{PeerNode, RaftMembership};
use crate::types::{LogIndex, MemberId};

/// Entries that a newcomer may lack to be given its vote: it has them a round trip later.
const VOTE_LAG_ENTRIES_MAX: u64 = 32;

/// Who votes and who only follows, as the consensus core has it: the newest configuration in its log, committed or
/// not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The sets of voters: two during a change, and each then needs a majority.
    pub voters: Vec<BTreeSet<u64>>,
    /// Everybody, with where they are reached.
    pub nodes: BTreeMap<u64, PeerNode>,
    /// The entry that it stands in.
    pub set_by: Option<LogIndex>,
}

/// How a follower stands, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The last entry known to be in its log.
    pub matched: Option<u64>,
    /// How long ago it answered; `None` when it never did.
    pub silent_for: Option<Duration>,
}

/// All followers, as the leader sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followers {
    /// The leader's own last entry.
    pub last: u64,
    /// Every other member of the configuration.
    pub by_id: BTreeMap<MemberId, Follower>,
}

impl From<&RaftMembership> for Configuration {
    fn from(stored: &RaftMembership) -> Configuration {
        Configuration {
            voters: stored.membership().get_joint_config().clone(),
            nodes: stored.nodes().map(|(id, node)| (*id, node.clone())).collect(),
            set_by: stored.log_id().as_ref().map(|id| LogIndex(id.index)),
        }
    }
}

impl Configuration {
    /// Whether it has to do with this member at all.
    pub fn holds(&self, member: MemberId) -> bool {
        self.nodes.contains_key(&member.0)
    }

    /// Whether this member votes, be it only in one of two sets.
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voters.iter().any(|set| set.contains(&member.0))
    }
}

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Out of a joint configuration: the newer set of voters alone.
    Finish,
    /// Newcomers follow, without a vote.
    Add(BTreeMap<u64, PeerNode>),
    /// Somebody is reached elsewhere.
    Move(BTreeMap<u64, PeerNode>),
    /// These vote, by way of a joint configuration; whoever voted and is not among them is gone.
    Vote(BTreeSet<u64>),
    /// Followers without a vote are gone.
    Drop(BTreeSet<u64>),
}

/// What brings `now` nearer to the list; `None` when it is there. `ready` are newcomers that may have their vote.
pub fn next_step(list: &Members, now: &Configuration, ready: &BTreeSet<u64>) -> Option<Step> {
    let [voters] = now.voters.as_slice() else {
        // Whatever is wanted by now: first out of the joint configuration. The planted bug leaves that to whoever
        // went in.
        let finish = now.voters.len() > 1 && !crate::mutant!("membership-joint-left-unfinished");
        return finish.then_some(Step::Finish);
    };
    let node = |urls: &[String]| PeerNode { urls: urls.to_vec() };
    let missing: BTreeMap<u64, PeerNode> = list
        .iter()
        .filter(|member| !now.nodes.contains_key(&member.id.0))
        .map(|member| (member.id.0, node(&member.peer_urls)))
        .collect();
    if !missing.is_empty() {
        return Some(Step::Add(missing));
    }
    let moved: BTreeMap<u64, PeerNode> = list
        .iter()
        .filter(|member| now.nodes.get(&member.id.0).is_some_and(|known| known.urls != member.peer_urls))
        .map(|member| (member.id.0, node(&member.peer_urls)))
        .collect();
    if !moved.is_empty() {
        return Some(Step::Move(moved));
    }
    let goal: BTreeSet<u64> = list
        .iter()
        .filter(|member| !member.is_learner)
        .map(|member| member.id.0)
        .filter(|id| voters.contains(id) || ready.contains(id))
        .collect();
    if goal != *voters && !goal.is_empty() {
        return Some(Step::Vote(goal));
    }
    let listed = |id: &u64| list.get(MemberId(*id)).is_some();
    let gone: BTreeSet<u64> =
        now.nodes.keys().copied().filter(|id| !listed(id) && !voters.contains(id)).collect();
    (!gone.is_empty()).then_some(Step::Drop(gone))
}

/// Those whom the list gives a vote, who have started, answer, and have nearly all that the leader has.
fn ready(list: &Members, followers: &Followers, patience: Duration) -> BTreeSet<u64> {
    let near = |follower: &Follower| {
        follower.matched.is_some_and(|matched| matched + VOTE_LAG_ENTRIES_MAX >= followers.last)
            && follower.silent_for.is_some_and(|silence| silence <= patience)
    };
    list.iter()
        .filter(|member| !member.is_learner && !member.name.is_empty())
        .filter(|member| followers.by_id.get(&member.id).is_some_and(near))
        .map(|member| member.id.0)
        .collect()
}

/// What the task that keeps the configuration in step needs.
pub struct Steward {
    /// The member's clock.
    pub clock: Arc<dyn Clock>,
    /// The consensus core.
    pub raft: RaftHandle,
    /// The state, with the list.
    pub replica: Arc<Replica>,
    /// The address book.
    pub peers: Peers,
    /// Where somebody may know the members, beside those that the address book has.
    pub seeds: Vec<String>,
    /// How often it looks.
    pub interval: Duration,
    /// Silence after which nobody is there.
    pub election_timeout: Duration,
    /// How long one change may take before it is looked at anew.
    pub change_timeout: Duration,
}

impl Steward {
    /// Keeps the address book, and as the leader the configuration, in step with the list for as long as the member
    /// lives; asks for this member's own fate when nobody leads it.
    pub fn start(self) {
        tokio::spawn(async move {
            let mut leaderless = 0_u32;
            while !self.raft.has_ended() {
                self.clock.sleep(self.interval).await;
                self.learn_addresses();
                if self.raft.is_leader() {
                    leaderless = 0;
                    self.follow_the_list().await;
                } else if self.raft.contact().is_fresh() {
                    leaderless = 0;
                } else {
                    leaderless = leaderless.saturating_add(1);
                    self.ask_for_own_fate(leaderless).await;
                }
            }
        });
    }

    fn learn_addresses(&self) {
        let state = self.replica.state();
        for member in state.members().iter().filter(|member| member.id != self.replica.member()) {
            self.peers.learn(member.id, &member.peer_urls);
        }
    }

    async fn follow_the_list(&self) {
        let Some(followers) = self.raft.followers() else { return };
        let step = {
            let state = self.replica.state();
            let now = self.raft.configuration();
            let applied = state.applied();
            let of_own_term = applied.is_some_and(|applied| applied.term == self.raft.term());
            let list_is_new = now.set_by <= applied.map(|applied| applied.index);
            // The planted bug goes on as long as it believes that it leads.
            let votes = now.voters.iter().any(|set| set.contains(&self.replica.member().0))
                || crate::mutant!("membership-removed-leader-goes-on");
            // Before the first list is written there is nothing to follow.
            if !votes || !state.members().is_bootstrapped() || !of_own_term || !list_is_new {
                return;
            }
            let ready = ready(state.members(), &followers, self.election_timeout);
            next_step(state.members(), &now, &ready)
        };
        let Some(step) = step else { return };
        match &step {
            Step::Finish => crate::sometimes!("a leader finished another's joint configuration"),
            Step::Vote(_) => crate::sometimes!("the voters changed"),
            _ => {}
        }
        tracing::info!(?step, "the consensus core's configuration follows the member list");
        crate::disturb!("the configuration follows the list late", &*self.clock);
        // A change of voters takes two entries; who stops waiting after the first leaves the second to the next look.
        let half = crate::buggify!("a change of voters is left half way");
        let timeout = if half { self.interval / 4 } else { self.change_timeout };
        match within(&*self.clock, timeout, self.raft.change_configuration(step)).await {
            Some(Ok(())) => {}
            Some(Err(why)) => tracing::info!(%why, "the configuration does not follow the member list yet"),
            None => tracing::info!("the configuration's change takes long; it is looked at anew"),
        }
    }

    /// Asks one peer after the other, now and then, and then the seeds: a member that was removed before it had heard
    /// of any other knows nobody else. A peer that knows this member as removed says so, and the address book
    /// remembers it.
    async fn ask_for_own_fate(&self, leaderless: u32) {
        let looks = self.election_timeout.as_millis().saturating_mul(2) / self.interval.as_millis().max(1);
        let looks = u32::try_from(looks).unwrap_or(u32::MAX).max(1);
        if !leaderless.is_multiple_of(looks) {
            return;
        }
        let others: Vec<MemberId> =
            self.peers.members().into_iter().filter(|member| *member != self.replica.member()).collect();
        // The planted bug asks those alone whom it has heard of.
        let seeds: &[String] = if crate::mutant!("member-seeds-not-asked") { &[] } else { &self.seeds };
        let asked = others.len() + seeds.len();
        let Some(turn) = usize::try_from(leaderless / looks).unwrap_or(0).checked_rem(asked) else { return };
        match (others.get(turn), seeds.get(turn.saturating_sub(others.len()))) {
            // What counts of the answer is noted by the address book itself.
            (Some(peer), _) => drop(self.peers.hello(*peer, self.election_timeout).await),
            (None, Some(seed)) => self.peers.learn_from(seed, self.election_timeout).await,
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::Member;

    fn member(id: u64, is_learner: bool) -> Member {
        let peer_urls = vec![format!("http://host{id}:2380")];
        Member { id: MemberId(id), name: format!("m{id}"), peer_urls, is_learner, ..Member::default() }
    }

    fn list(members: &[Member]) -> Members {
        let mut list = Members::default();
        for member in members {
            list.put(member.clone());
        }
        list
    }

    fn configuration(voters: &[&[u64]], others: &[u64]) -> Configuration {
        let sets: Vec<BTreeSet<u64>> = voters.iter().map(|set| set.iter().copied().collect()).collect();
        let ids = sets.iter().flatten().chain(others).copied();
        let nodes = ids.map(|id| (id, PeerNode { urls: member(id, false).peer_urls })).collect();
        Configuration { voters: sets, nodes, set_by: None }
    }

    fn ids<const N: usize>(ids: [u64; N]) -> BTreeSet<u64> {
        ids.into()
    }

    #[test]
    fn a_newcomer_is_a_learner_first_and_votes_when_it_is_ready() {
        let wanted = list(&[1, 2, 3, 4].map(|id| member(id, false)));
        let now = configuration(&[&[1, 2, 3]], &[]);
        let Some(Step::Add(added)) = next_step(&wanted, &now, &ids([4])) else {
            panic!("the newcomer is not even a learner yet")
        };
        assert_eq!(added.keys().copied().collect::<BTreeSet<_>>(), ids([4]));
        let now = configuration(&[&[1, 2, 3]], &[4]);
        assert_eq!(next_step(&wanted, &now, &ids([])), None, "it never costs the quorum");
        let votes = Step::Vote(ids([1, 2, 3, 4]));
        assert_eq!(next_step(&wanted, &now, &ids([4])), Some(votes));
    }

    #[test]
    fn a_learner_of_the_list_never_votes() {
        let wanted = list(&[member(1, false), member(2, true)]);
        let now = configuration(&[&[1]], &[2]);
        assert_eq!(next_step(&wanted, &now, &ids([2])), None);
    }

    #[test]
    fn whoever_left_the_list_loses_vote_and_place() {
        let wanted = list(&[1, 2].map(|id| member(id, false)));
        let now = configuration(&[&[1, 2, 3]], &[4]);
        assert_eq!(next_step(&wanted, &now, &ids([])), Some(Step::Vote(ids([1, 2]))));
        let now = configuration(&[&[1, 2]], &[4]);
        assert_eq!(next_step(&wanted, &now, &ids([])), Some(Step::Drop(ids([4]))));
    }

    #[test]
    fn the_last_voter_stays_until_another_is_ready() {
        let wanted = list(&[member(2, false)]);
        let now = configuration(&[&[1]], &[2]);
        assert_eq!(next_step(&wanted, &now, &ids([])), None, "nobody else can vote yet");
        assert_eq!(next_step(&wanted, &now, &ids([2])), Some(Step::Vote(ids([2]))));
    }

    #[test]
    fn a_joint_configuration_is_finished_before_anything_else() {
        let wanted = list(&[1, 2, 5].map(|id| member(id, false)));
        let now = configuration(&[&[1, 2, 3], &[1, 2, 4]], &[]);
        assert_eq!(next_step(&wanted, &now, &ids([])), Some(Step::Finish));
        assert_eq!(next_step(&wanted, &Configuration::default(), &ids([])), None, "there is none yet");
    }

    #[test]
    fn a_member_that_moved_is_followed() {
        let mut moved = member(2, false);
        moved.peer_urls = vec!["http://elsewhere:2380".to_owned()];
        let wanted = list(&[member(1, false), moved.clone()]);
        let now = configuration(&[&[1, 2]], &[]);
        let node = PeerNode { urls: moved.peer_urls };
        assert_eq!(next_step(&wanted, &now, &ids([])), Some(Step::Move([(2, node)].into())));
    }

    #[test]
    fn only_who_started_answers_and_caught_up_is_ready() {
        let patience = Duration::from_secs(1);
        let mut unnamed = member(5, false);
        unnamed.name.clear();
        let wanted = list(&[member(2, false), member(3, false), member(4, false), unnamed, member(6, true)]);
        let follower = |matched, millis: u64| Follower {
            matched: Some(matched),
            silent_for: Some(Duration::from_millis(millis)),
        };
        let followers = Followers {
            last: 1_000,
            by_id: [
                (MemberId(2), follower(1_000 - VOTE_LAG_ENTRIES_MAX, 1_000)),
                (MemberId(3), follower(999 - VOTE_LAG_ENTRIES_MAX, 0)),
                (MemberId(4), follower(1_000, 1_001)),
                (MemberId(5), follower(1_000, 0)),
                (MemberId(6), follower(1_000, 0)),
            ]
            .into(),
        };
        assert_eq!(ready(&wanted, &followers, patience), ids([2]));
    }
}
