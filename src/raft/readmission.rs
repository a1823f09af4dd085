//! Taking a member back that has lost its log: as another one, under a new id, in the same place. The leader's part.
//!
//! Who lost its log must never again be who it was: it has forgotten what it voted and what it acknowledged, and would
//! vote twice. So its id goes for good, by the same change of the member list that brings another into its place; who
//! votes follows the list (`raft::membership`), and the newcomer gets a vote when it has caught up, like any other.
//!
//! Invariants: the change is proposed only by the leader, in the term in which it has looked; a majority of the voters
//! answers without the one that goes, and everybody else who is to vote does; who answers itself is not taken for lost.
//! So two that lose their logs at once are taken back one after the other, the second when the first has its vote.
//!
//! It does not judge who asks: it is whoever may speak to members.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ids;
use crate::config::url::Url;
use crate::env::{Clock, within};
use crate::machine::command::{Command, CommandError, MemberChange};
use crate::machine::members::Members;
use crate::raft::RaftHandle;
use crate::raft::membership::{Configuration, Followers};
use crate::raft::proposer::Proposer;
use crate::raft::read_index::ReadIndex;
use crate::raft::replica::Replica;
use crate::types::{MemberId, Term};

/// Why a member is not taken back now, in words that are sent to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// Another member is to be asked.
    #[error("this member does not lead")]
    NotLeader,
    /// One after the other.
    #[error("another member is being taken back")]
    Busy,
    /// Nobody of this id is in the list, or not any more.
    #[error("member {0} is not in the member list")]
    Unlisted(MemberId),
    /// The list and the member do not agree on its place.
    #[error("the member list has member {member} at {listed}, not at {asked}")]
    Elsewhere {
        /// Who asks.
        member: MemberId,
        /// Where the list has it.
        listed: String,
        /// Where it says to be.
        asked: String,
    },
    /// It, or somebody in its name, answers the leader.
    #[error("member {0} answers: it has not lost its log")]
    Alive(MemberId),
    /// The configuration is on its way to another one.
    #[error("the voters are being changed")]
    Changing,
    /// Somebody else is to vote and has not caught up.
    #[error("member {0} has no vote yet: one after the other")]
    Unsettled(MemberId),
    /// Who is left could not go on.
    #[error("{heard} of the other voters answer, {needed} must")]
    Unhealthy {
        /// How many do, the leader among them.
        heard: usize,
        /// How many it takes.
        needed: usize,
    },
    /// The proposal was lost, or nobody knows.
    #[error("it is not known whether it was taken back")]
    Unknown,
    /// The machine did not make the change.
    #[error("not taken back: {0}")]
    Refused(CommandError),
    /// The list is changed, and the configuration does not follow yet.
    #[error("the voters are not changed yet")]
    NotYet,
}

/// What the leader sees of the cluster at one moment.
struct View<'v> {
    list: &'v Members,
    configuration: &'v Configuration,
    followers: &'v Followers,
    leader: MemberId,
    /// Silence after which nobody is there.
    patience: Duration,
}

impl View<'_> {
    fn hears(&self, member: MemberId) -> bool {
        let heard = self.followers.by_id.get(&member).and_then(|follower| follower.silent_for);
        member == self.leader || heard.is_some_and(|silence| silence <= self.patience)
    }

    /// What speaks against taking `lost` back, which says to be reached at these URLs.
    fn hindrance(&self, lost: MemberId, peer_urls: &[String]) -> Option<Hindrance> {
        let Some(listed) = self.list.get(lost) else { return Some(Hindrance::Unlisted(lost)) };
        let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
        if set(&listed.peer_urls) != set(peer_urls) {
            let (listed, asked) = (listed.peer_urls.join(","), peer_urls.join(","));
            return Some(Hindrance::Elsewhere { member: lost, listed, asked });
        }
        if self.hears(lost) {
            return Some(Hindrance::Alive(lost));
        }
        let [voters] = self.configuration.voters.as_slice() else { return Some(Hindrance::Changing) };
        let others: Vec<MemberId> = self
            .list
            .iter()
            .filter(|member| member.id != lost && !member.is_learner)
            .map(|member| member.id)
            .collect();
        // The planted bug takes two back at once.
        let two_at_once = crate::mutant!("readmission-of-two-at-once");
        let unsettled = others.iter().find(|other| !two_at_once && !voters.contains(&other.0));
        if let Some(without) = unsettled {
            return Some(Hindrance::Unsettled(*without));
        }
        // Enough to let it go, for which it still counts, and to go on without it.
        let needed = (voters.len() / 2 + 1).max(others.len() / 2 + 1);
        let heard = others.iter().filter(|other| self.hears(**other)).count();
        (heard < needed).then_some(Hindrance::Unhealthy { heard, needed })
    }
}

/// What the leader needs to take members back.
#[derive(Clone)]
pub struct Readmission {
    /// The member's clock.
    pub clock: Arc<dyn Clock>,
    /// The consensus core.
    pub raft: RaftHandle,
    /// The state, with the list.
    pub replica: Arc<Replica>,
    /// Confirms that the list is the newest.
    pub reads: ReadIndex,
    /// The way into the log.
    pub proposer: Proposer,
    /// Silence after which nobody is there.
    pub election_timeout: Duration,
    /// How long one step of a change may take.
    pub change_timeout: Duration,
    /// One member at a time.
    pub at_work: Arc<tokio::sync::Mutex<()>>,
}

impl Readmission {
    /// Takes a member back, and answers its new id once the old one has no say any more.
    ///
    /// # Errors
    /// See [`Hindrance`]. Asking again does no harm: who is gone from the list is not taken back twice.
    pub async fn readmit(&self, lost: MemberId, peer_urls: &[String]) -> Result<MemberId, Hindrance> {
        let Ok(_turn) = self.at_work.try_lock() else { return Err(Hindrance::Busy) };
        let term = self.raft.term();
        self.look(lost, peer_urls, term).await?;
        // Who was just elected has not heard everybody yet, and who lives is heard by then.
        self.clock.sleep(self.election_timeout).await;
        self.look(lost, peer_urls, term).await?;
        // As the list writes them.
        let listed = self.replica.state().members().get(lost).map(|member| member.peer_urls.clone());
        let peer_urls = listed.ok_or(Hindrance::Unlisted(lost))?;
        let by = self.new_id(&peer_urls);
        let change = MemberChange::Replace { member: lost, by, peer_urls };
        let proposed = self.proposer.propose_as_leader(Command::ChangeMembers(change), term);
        let answer = within(&*self.clock, self.change_timeout, proposed).await;
        let answer = answer.and_then(Result::ok).ok_or(Hindrance::Unknown)?;
        answer.result.map_err(Hindrance::Refused)?;
        crate::sometimes!("a member that lost its log was taken back");
        tracing::warn!(%lost, %by, "a member that lost its log is gone for good, and another is in its place");
        let gone = self.raft.committed_configuration(|now| !now.holds(lost));
        within(&*self.clock, self.change_timeout, gone).await.ok_or(Hindrance::NotYet)?;
        Ok(by)
    }

    async fn look(&self, lost: MemberId, peer_urls: &[String], term: Term) -> Result<(), Hindrance> {
        // The newest list, and a quorum that answers without the member that is lost.
        self.reads.linearizable().await.map_err(|_| Hindrance::NotLeader)?;
        let followers = self.raft.followers().filter(|_| self.raft.leads_in(term));
        let Some(followers) = followers else { return Err(Hindrance::NotLeader) };
        let configuration = self.raft.configuration();
        let state = self.replica.state();
        let view = View {
            list: state.members(),
            configuration: &configuration,
            followers: &followers,
            leader: self.replica.member(),
            patience: self.election_timeout,
        };
        view.hindrance(lost, peer_urls).map_or(Ok(()), Err)
    }

    /// An id that no member has had.
    fn new_id(&self, peer_urls: &[String]) -> MemberId {
        let urls: Vec<Url> = peer_urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
        let is_known = |id| self.replica.state().members().has_known(id);
        ids::new_member_id(&urls, self.clock.wall_ms() / 1_000, is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::Member;
    use crate::raft::membership::Follower;

    const SOON: Duration = Duration::from_millis(10);
    const LONG_AGO: Duration = Duration::from_secs(60);

    fn urls(id: u64) -> Vec<String> {
        vec![format!("http://host{id}:2380")]
    }

    /// Members of a list, of whom some vote, seen by member 1; those in `heard` have just answered it.
    fn look(members: &[(u64, bool)], voters: &[&[u64]], heard: &[u64], lost: u64) -> Option<Hindrance> {
        let mut list = Members::default();
        for (id, is_learner) in members {
            list.put(Member {
                id: MemberId(*id),
                name: format!("m{id}"),
                peer_urls: urls(*id),
                is_learner: *is_learner,
                ..Member::default()
            });
        }
        let sets: Vec<BTreeSet<u64>> = voters.iter().map(|set| set.iter().copied().collect()).collect();
        let configuration = Configuration { voters: sets, ..Configuration::default() };
        let silent_for = |id: &u64| Some(if heard.contains(id) { SOON } else { LONG_AGO });
        let follower = |id: &u64| (MemberId(*id), Follower { matched: None, silent_for: silent_for(id) });
        let by_id = members.iter().map(|(id, _)| id).filter(|id| **id != 1).map(follower).collect();
        let followers = Followers { last: 0, by_id };
        let view = View {
            list: &list,
            configuration: &configuration,
            followers: &followers,
            leader: MemberId(1),
            patience: Duration::from_secs(1),
        };
        view.hindrance(MemberId(lost), &urls(lost))
    }

    fn voters<const N: usize>(ids: [u64; N]) -> [(u64, bool); N] {
        ids.map(|id| (id, false))
    }

    #[test]
    fn one_of_three_is_taken_back_while_the_other_two_answer() {
        assert_eq!(look(&voters([1, 2, 3]), &[&[1, 2, 3]], &[2], 3), None);
        let alone = look(&voters([1, 2, 3]), &[&[1, 2, 3]], &[], 3);
        assert_eq!(alone, Some(Hindrance::Unhealthy { heard: 1, needed: 2 }));
        // Four need three to let one go, though three would go on with two.
        let two = look(&voters([1, 2, 3, 4]), &[&[1, 2, 3, 4]], &[2], 4);
        assert_eq!(two, Some(Hindrance::Unhealthy { heard: 2, needed: 3 }));
        assert_eq!(look(&voters([1, 2, 3, 4, 5]), &[&[1, 2, 3, 4, 5]], &[2, 3], 5), None);
    }

    #[test]
    fn of_two_nobody_can_be_spared() {
        let other = look(&voters([1, 2]), &[&[1, 2]], &[], 2);
        assert_eq!(other, Some(Hindrance::Unhealthy { heard: 1, needed: 2 }));
    }

    #[test]
    fn the_second_waits_until_the_first_has_its_vote() {
        // Member 4 came in the place of one before; it answers, and has not caught up.
        let second = look(&voters([1, 2, 4]), &[&[1, 2]], &[4], 2);
        assert_eq!(second, Some(Hindrance::Unsettled(MemberId(4))));
        let second = look(&voters([1, 2, 4]), &[&[1, 2], &[1, 2, 4]], &[4], 2);
        assert_eq!(second, Some(Hindrance::Changing));
        assert_eq!(look(&voters([1, 2, 4]), &[&[1, 2, 4]], &[4], 2), None);
    }

    #[test]
    fn who_answers_is_not_lost_and_a_learner_costs_nobody_anything() {
        assert_eq!(look(&voters([1, 2, 3]), &[&[1, 2, 3]], &[2, 3], 3), Some(Hindrance::Alive(MemberId(3))));
        assert_eq!(look(&[(1, false), (2, true)], &[&[1]], &[], 2), None);
        assert_eq!(look(&voters([1]), &[&[1]], &[], 2), Some(Hindrance::Unlisted(MemberId(2))));
        assert_eq!(look(&voters([1]), &[&[1]], &[], 1), Some(Hindrance::Alive(MemberId(1))));
    }

    #[test]
    fn a_place_that_the_list_does_not_know_is_named() {
        let mut list = Members::default();
        list.put(Member { id: MemberId(2), peer_urls: urls(2), ..Member::default() });
        let (configuration, followers) = (Configuration::default(), Followers::default());
        let view = View {
            list: &list,
            configuration: &configuration,
            followers: &followers,
            leader: MemberId(1),
            patience: Duration::from_secs(1),
        };
        let elsewhere = view.hindrance(MemberId(2), &urls(3)).unwrap().to_string();
        assert_eq!(elsewhere, "the member list has member 2 at http://host2:2380, not at http://host3:2380");
    }
}
