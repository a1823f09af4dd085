//! Changing the cluster's members, as an operator asks for it.
//!
//! A change of the list is a command like any other; who votes follows it (`raft::membership`). Whoever asks for a
//! removal or a promotion is answered when that has happened, because what an operator does next rests on who votes.
//! An addition is answered at once: the newcomer has not started yet, and counts for nothing until it has caught up.
//!
//! The checks here look at the cluster as its leader sees it now. They keep an operator from a mistake; no promise
//! rests on them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::ids;
use crate::config::url::Url;
use crate::env::within;
use crate::machine::command::{Command, CommandError, Member as MemberInfo, MemberChange, Reply};
use crate::member::{Credential, Member};
use crate::raft::membership::Followers;
use crate::raft::pending::ProposeError;
use crate::raft::wire::followers_in;
use crate::types::MemberId;

/// A learner may be promoted when it has this share of the leader's log, in tenths.
const IN_SYNC_TENTHS: u64 = 9;

/// Why the members were not changed, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The list refused the change.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The change did not get into the log, or nobody knows.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The list is changed, but who votes did not follow in time.
    #[error("request timed out")]
    Timeout,
    /// Peer URLs that are none.
    #[error("given member URLs are invalid")]
    BadUrls,
    /// Too few members would be in touch with the leader.
    #[error("unhealthy cluster")]
    Unhealthy,
    /// Too few of the voters would have been started.
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    /// There are as many learners as there may be.
    #[error("too many learner members in cluster")]
    TooManyLearners,
    /// The learner lags too far behind the leader.
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// Only the leader hands its office over.
    #[error("not leader")]
    NotLeader,
    /// The member named cannot lead.
    #[error("bad leader transferee")]
    BadTransferee,
    /// The member named did not take over in time.
    #[error("request timed out, leader transfer took too long")]
    TransferTimeout,
}

/// The cluster as its leader sees it.
struct View {
    leader: MemberId,
    followers: Followers,
    patience: Duration,
}

impl View {
    /// Whether the leader has heard this member lately.
    fn hears(&self, member: MemberId) -> bool {
        let heard = |member| self.followers.by_id.get(&member).and_then(|follower| follower.silent_for);
        member == self.leader || heard(member).is_some_and(|silence| silence <= self.patience)
    }
}

impl Member {
    /// Adds a member that is reached at `peer_urls`; answers it, and the list with it.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn member_add(
        &self,
        who: &Credential,
        peer_urls: &[String],
        is_learner: bool,
    ) -> Result<(MemberInfo, Vec<MemberInfo>), ChangeError> {
        self.admit_change(who).await?;
        let urls = parsed(peer_urls)?;
        let members = self.members_now();
        if is_learner {
            let learners = members.iter().filter(|member| member.is_learner).count();
            if u32::try_from(learners).unwrap_or(u32::MAX) >= self.config.knobs.learners_max {
                return Err(ChangeError::TooManyLearners);
            }
        } else {
            self.check_addition(&members).await?;
        }
        let seconds = self.env.clock.wall_ms() / 1_000;
        let id = ids::new_member_id(&urls, seconds, |id| self.replica.state().members().has_known(id));
        let peer_urls = urls.iter().map(|url| url.as_str().to_owned()).collect();
        let added = MemberInfo { id, peer_urls, is_learner, ..MemberInfo::default() };
        let members = self.change(who, MemberChange::Add(added.clone())).await?;
        Ok((added, members))
    }

    /// Removes a member, and answers the list without it once it has no vote any more.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn member_remove(
        &self,
        who: &Credential,
        id: MemberId,
    ) -> Result<Vec<MemberInfo>, ChangeError> {
        self.admit_change(who).await?;
        self.check_removal(&self.members_now(), id).await?;
        let members = self.change(who, MemberChange::Remove(id)).await?;
        // A member that removed itself may hear of it from others alone.
        let told = async {
            while self.peers.removed_by().is_none() {
                self.env.clock.sleep(self.config.knobs.heartbeat_interval).await;
            }
        };
        let left = self.raft.committed_configuration(|now| !now.holds(id));
        self.in_time(futures_util::future::select(Box::pin(left), Box::pin(told))).await?;
        Ok(members)
    }

    /// Lets a member be reached elsewhere by its peers.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn member_update(
        &self,
        who: &Credential,
        id: MemberId,
        peer_urls: &[String],
    ) -> Result<Vec<MemberInfo>, ChangeError> {
        self.admit_change(who).await?;
        let peer_urls = parsed(peer_urls)?.iter().map(|url| url.as_str().to_owned()).collect();
        self.change(who, MemberChange::Update { member: id, peer_urls }).await
    }

    /// Gives a learner its vote, and answers the list once it has it.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn member_promote(
        &self,
        who: &Credential,
        id: MemberId,
    ) -> Result<Vec<MemberInfo>, ChangeError> {
        self.admit_change(who).await?;
        self.check_promotion(&self.members_now(), id).await?;
        let members = self.change(who, MemberChange::Promote(id)).await?;
        let votes = self
            .raft
            .committed_configuration(|now| matches!(&*now.voters, [voters] if voters.contains(&id.0)));
        self.in_time(votes).await?;
        Ok(members)
    }

    /// Hands leadership over, and returns when the member named leads.
    ///
    /// # Errors
    /// See [`ChangeError`]. After a timeout somebody will lead again: this member does not try to stay.
    pub async fn move_leader(&self, to: MemberId) -> Result<(), ChangeError> {
        let (Some(followers), now) = (self.raft.followers(), self.raft.configuration()) else {
            return Err(ChangeError::NotLeader);
        };
        if !matches!(&*now.voters, [voters] if voters.contains(&to.0)) {
            return Err(ChangeError::BadTransferee);
        }
        if to == self.config.member {
            return Ok(());
        }
        let view =
            View { leader: self.config.member, followers, patience: self.config.knobs.election_timeout };
        if !view.hears(to) {
            return Err(ChangeError::Unhealthy);
        }
        crate::sometimes!("leadership was handed over on request");
        self.raft.hand_over(to).await;
        let timeout = self.config.knobs.election_timeout * 3;
        let taken = self.raft.reign_when(|reign| reign.leader == Some(to));
        within(&*self.env.clock, timeout, taken).await.map(drop).ok_or(ChangeError::TransferTimeout)
    }

    /// Who votes, as this member knows: two sets during a change, and each then needs a majority.
    pub fn voters(&self) -> Vec<BTreeSet<MemberId>> {
        let now = self.raft.configuration();
        now.voters.into_iter().map(|set| set.into_iter().map(MemberId).collect()).collect()
    }

    /// Whether this member has no vote, as the list has it.
    pub fn is_learner(&self) -> bool {
        self.replica.state().members().get(self.config.member).is_some_and(|member| member.is_learner)
    }

    async fn change(&self, who: &Credential, change: MemberChange) -> Result<Vec<MemberInfo>, ChangeError> {
        match self.propose_for(who, Command::ChangeMembers(change)).await?.result? {
            Reply::Members(members) => Ok(members),
            _ => Err(ProposeError::AnswerLost.into()),
        }
    }

    /// The list that is checked must not be an old one, and nobody learns of it who may not change it.
    async fn admit_change(&self, who: &Credential) -> Result<(), ChangeError> {
        self.linearizable().await.map_err(|_| ChangeError::Timeout)?;
        let admitted = self.admit_here(who, |state, caller| state.auth().check_root(caller));
        Ok(admitted.map_err(|_| ChangeError::Timeout)??)
    }

    fn members_now(&self) -> Vec<MemberInfo> {
        self.replica.state().members().iter().cloned().collect()
    }

    async fn in_time<T>(&self, done: impl Future<Output = T>) -> Result<T, ChangeError> {
        let timeout = self.config.knobs.request_timeout;
        within(&*self.env.clock, timeout, done).await.ok_or(ChangeError::Timeout)
    }

    async fn check_addition(&self, members: &[MemberInfo]) -> Result<(), ChangeError> {
        if !self.config.knobs.strict_reconfig {
            return Ok(());
        }
        let (voters, started) = counts(members.iter());
        // The second member of a cluster is added before it can be started.
        if started < quorum(voters + 1) && (started, voters) != (1, 1) {
            return Err(ChangeError::NotEnoughStarted);
        }
        let all = |view: &View| members.iter().all(|member| view.hears(member.id));
        if members.len() > 1 && !self.leader_sees(all).await? {
            return Err(ChangeError::Unhealthy);
        }
        Ok(())
    }

    async fn check_removal(&self, members: &[MemberInfo], id: MemberId) -> Result<(), ChangeError> {
        let Some(leaving) = members.iter().find(|member| member.id == id) else {
            return Err(CommandError::MemberNotFound.into());
        };
        if !self.config.knobs.strict_reconfig || leaving.is_learner {
            return Ok(());
        }
        let staying = || members.iter().filter(|member| member.id != id && !member.is_learner);
        let (voters, started) = counts(staying());
        if started < quorum(voters) {
            return Err(ChangeError::NotEnoughStarted);
        }
        let enough = |view: &View| staying().filter(|member| view.hears(member.id)).count() >= quorum(voters);
        if self.leader_sees(enough).await? { Ok(()) } else { Err(ChangeError::Unhealthy) }
    }

    async fn check_promotion(&self, members: &[MemberInfo], id: MemberId) -> Result<(), ChangeError> {
        let Some(learner) = members.iter().find(|member| member.id == id) else {
            return Err(CommandError::MemberNotFound.into());
        };
        if !learner.is_learner {
            return Err(CommandError::MemberNotLearner.into());
        }
        let view = self.view().await?;
        let matched = view.followers.by_id.get(&id).and_then(|follower| follower.matched).unwrap_or(0);
        let in_sync = matched.saturating_mul(10) >= view.followers.last.saturating_mul(IN_SYNC_TENTHS);
        if learner.name.is_empty() || !view.hears(id) || !in_sync {
            return Err(ChangeError::LearnerNotReady);
        }
        Ok(())
    }

    /// Whether the leader sees this, now or in a moment: one that was just elected has not heard the others yet.
    async fn leader_sees(&self, holds: impl Fn(&View) -> bool) -> Result<bool, ChangeError> {
        let looking = async {
            loop {
                if holds(&self.view().await?) {
                    return Ok(true);
                }
                self.env.clock.sleep(self.config.knobs.heartbeat_interval).await;
            }
        };
        let patience = self.config.knobs.election_timeout * 2;
        within(&*self.env.clock, patience, looking).await.unwrap_or(Ok(false))
    }

    /// The cluster as its leader sees it; asked until a leader answers.
    async fn view(&self) -> Result<View, ChangeError> {
        let patience = self.config.knobs.election_timeout;
        let asking = async {
            loop {
                if let Some(followers) = self.raft.followers() {
                    return View { leader: self.config.member, followers, patience };
                }
                if let Some(leader) = self.raft.leader().filter(|leader| *leader != self.config.member) {
                    let answer = self.peers.followers(leader, patience).await;
                    if let Some(followers) = answer.ok().as_ref().and_then(followers_in) {
                        return View { leader, followers, patience };
                    }
                }
                self.env.clock.sleep(self.config.knobs.heartbeat_interval).await;
            }
        };
        self.in_time(asking).await
    }
}

/// How many of these vote, and how many of those have been started.
fn counts<'m>(members: impl Iterator<Item = &'m MemberInfo>) -> (usize, usize) {
    let voters: Vec<&MemberInfo> = members.filter(|member| !member.is_learner).collect();
    (voters.len(), voters.iter().filter(|member| !member.name.is_empty()).count())
}

/// How many of so many voters are a majority.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Peer URLs as they are written down: each once, in order.
fn parsed(peer_urls: &[String]) -> Result<Vec<Url>, ChangeError> {
    let mut urls = peer_urls
        .iter()
        .map(|url| Url::parse(url))
        .collect::<Result<Vec<Url>, _>>()
        .map_err(|_| ChangeError::BadUrls)?;
    urls.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    urls.dedup_by(|one, other| one.as_str() == other.as_str());
    if urls.is_empty() { Err(ChangeError::BadUrls) } else { Ok(urls) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_a_majority() {
        assert_eq!([1, 2, 3, 4, 5].map(quorum), [1, 2, 2, 3, 3]);
    }

    #[test]
    fn peer_urls_are_checked_and_put_in_order() {
        let texts = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let urls = parsed(&texts(&["http://b:2380", "http://a:2380", "http://b:2380"])).unwrap();
        assert_eq!(urls.iter().map(Url::as_str).collect::<Vec<_>>(), ["http://a:2380", "http://b:2380"]);
        for bad in [&[][..], &["a:2380"], &["http://a:2380", "nonsense"]] {
            assert_eq!(parsed(&texts(bad)), Err(ChangeError::BadUrls), "{bad:?}");
        }
    }
}
