//! How a member that has lost its log asks to be taken back: whom, what for, and what the answer means.
//!
//! The member list says how far it has come. Where the lost member was there is, if it has been replaced, one that has not
//! started yet: that is its place then, whoever asked for it. If the lost member itself is still there, the leader is asked
//! to replace it. If nobody is, operators have let it go, and it does not come back.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::env::Env;
use crate::machine::command::Member as MemberInfo;
use crate::member::MemberConfig;
use crate::pb::peer::readmit_response::Outcome;
use crate::peer::Peers;
use crate::peer::join::{Place, discovered};
use crate::storage::lost_member::{Note, Stage};
use crate::storage::wal::Identity;
use crate::types::{ClusterId, MemberId};

/// How long a member of the cluster may take to say who belongs to it.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader may take to take a member back: it looks twice, and who votes follows the list.
const READMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Members that are asked on the way to the leader: the first, and whom it takes for the leader.
const HOPS_MAX: u32 = 2;

/// What one round of asking brought, short of a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Round {
    /// To be tried again, and why.
    NotYet(String),
    /// It was taken back before, as this one, has run, and has lost its disk once more.
    Was(MemberId),
    /// This one has its place, and has run: on another machine, or on a log that is not here any more.
    Taken(MemberId),
    /// The cluster has no place for it.
    Gone,
}

/// One that asks.
pub struct Asking<'a> {
    /// Who it is by its options, and where it is reached.
    pub config: &'a MemberConfig,
    /// The seams.
    pub env: &'a Env,
}

impl Asking<'_> {
    /// Where others of the cluster may be reached.
    pub fn urls(&self) -> Vec<String> {
        let named = self.config.members.iter().filter(|member| member.id != self.config.member);
        let named = named.flat_map(|member| member.peer_urls.iter());
        let all: BTreeSet<String> = self.config.seeds.iter().chain(named).cloned().collect();
        all.into_iter().filter(|url| !self.config.peer_urls.contains(url)).collect()
    }

    /// Looks who is in the lost member's place, and asks for another one if it is still itself.
    ///
    /// # Errors
    /// See [`Round`].
    pub async fn round(&self, note: Note) -> Result<Place, Round> {
        let lost = note.lost;
        let list = self.list(lost.cluster).await.map_err(Round::NotYet)?;
        let member = match successor(&list, &self.config.peer_urls, note)? {
            Some(newcomer) => newcomer,
            None => self.readmitted(lost, &list).await.map_err(Round::NotYet)?,
        };
        Ok(place_of(member, lost, &list))
    }

    /// The place of one that has not started, where the lost member was; none as long as nobody has replaced it.
    ///
    /// # Errors
    /// See [`Round`].
    pub async fn place_in_the_list(&self, note: Note) -> Result<Option<Place>, Round> {
        let list = self.list(note.lost.cluster).await.map_err(Round::NotYet)?;
        let newcomer = successor(&list, &self.config.peer_urls, note)?;
        Ok(newcomer.map(|member| place_of(member, note.lost, &list)))
    }

    /// The newest member list, from whoever answers.
    async fn list(&self, cluster: ClusterId) -> Result<Vec<MemberInfo>, String> {
        let mut refused = Vec::new();
        for url in self.urls() {
            match discovered(&*self.env.clock, &self.config.security.dialer, &url, DISCOVER_TIMEOUT).await {
                Ok((answers, list)) if answers == cluster => return Ok(list),
                Ok((answers, _)) => refused.push(format!("{url}: it belongs to cluster {answers}")),
                Err(why) => refused.push(format!("{url}: {why}")),
            }
        }
        if refused.is_empty() {
            refused.push("none is named beside this one".to_owned());
        }
        Err(format!("no member of the cluster answers: {}", refused.join("; ")))
    }

    /// Asks one after the other, and whoever they take for the leader, to be taken back.
    async fn readmitted(&self, lost: Identity, list: &[MemberInfo]) -> Result<MemberId, String> {
        let peers = Peers::new(
            self.env.clock.clone(),
            self.config.security.dialer.clone(),
            lost.cluster,
            lost.member,
        );
        let others = || list.iter().filter(|member| member.id != lost.member);
        others().for_each(|member| peers.learn(member.id, &member.peer_urls));
        let mut said = Vec::new();
        for member in others() {
            let mut asked = member.id;
            for _ in 0..HOPS_MAX {
                let answer = match peers.readmit(asked, READMIT_TIMEOUT, self.config.peer_urls.clone()).await
                {
                    Ok(answer) => answer,
                    Err(error) => {
                        said.push(error.to_string());
                        break;
                    }
                };
                let hint = MemberId(answer.leader);
                match Outcome::try_from(answer.outcome) {
                    Ok(Outcome::Readmitted) => return Ok(MemberId(answer.member)),
                    // The leader has spoken; nobody else could say more.
                    Ok(Outcome::NotNow) => return Err(format!("{asked}: {}", answer.why)),
                    Ok(Outcome::NotLeader) if hint != asked && hint != MemberId::default() => asked = hint,
                    Ok(Outcome::NotLeader) => {
                        said.push(format!("{asked} knows of no leader"));
                        break;
                    }
                    Err(_) => return Err(format!("{asked} gives an answer that this version does not know")),
                }
            }
        }
        Err(said.join("; "))
    }
}

/// Who is to start where the lost member was, which is reached at `own`, by this list; nobody as long as the lost member
/// is itself in it.
///
/// # Errors
/// See [`Round`].
fn successor(list: &[MemberInfo], own: &[String], note: Note) -> Result<Option<MemberId>, Round> {
    let lost = note.lost.member;
    let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
    match list.iter().find(|member| set(&member.peer_urls) == set(own)) {
        Some(here) if here.id == lost => Ok(None),
        Some(here) if here.name.is_empty() => Ok(Some(here.id)),
        Some(here) if note.stage == Stage::Unsure => Err(Round::Was(here.id)),
        // Who was let go does not take its place away from whoever came after it.
        Some(here) => Err(Round::Taken(here.id)),
        None if list.iter().any(|member| member.id == lost) => Ok(None),
        None => Err(Round::Gone),
    }
}

/// The place of a newcomer among the members of a list, without the one that was there before.
fn place_of(member: MemberId, lost: Identity, list: &[MemberInfo]) -> Place {
    let members = list.iter().filter(|member| member.id != lost.member).cloned().collect();
    Place { cluster: lost.cluster, member, members, joins: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "http://c:1";
    const CLUSTER: ClusterId = ClusterId(7);

    fn list(members: &[(u64, &str, &str)]) -> Vec<MemberInfo> {
        let member = |(id, name, url): &(u64, &str, &str)| MemberInfo {
            id: MemberId(*id),
            name: (*name).to_owned(),
            peer_urls: vec![(*url).to_owned()],
            ..MemberInfo::default()
        };
        members.iter().map(member).collect()
    }

    /// What becomes of member 3 at `HERE`, beside members 1 and 2.
    fn of_three(others: &[(u64, &str, &str)], stage: Stage) -> Result<Option<MemberId>, Round> {
        let founders = [(1, "m1", "http://a:1"), (2, "m2", "http://b:1")];
        let note = Note { lost: Identity { cluster: CLUSTER, member: MemberId(3) }, stage };
        successor(&list(&[&founders, others].concat()), &[HERE.to_owned()], note)
    }

    #[test]
    fn the_list_says_who_comes_after_a_lost_member() {
        for stage in [Stage::Moving, Stage::Asking, Stage::Unsure] {
            assert_eq!(of_three(&[(3, "m3", HERE)], stage), Ok(None), "nobody has replaced it");
            assert_eq!(
                of_three(&[(3, "m3", "http://d:1")], stage),
                Ok(None),
                "the leader says what is wrong"
            );
            assert_eq!(of_three(&[(9, "", HERE)], stage), Ok(Some(MemberId(9))));
            assert_eq!(of_three(&[], stage), Err(Round::Gone));
        }
    }

    /// A peer that lags still says that member 3 has run, though it was taken back as 9 since: the newest list names 9, and
    /// whether that one is here depends on how its id is known.
    #[test]
    fn who_has_the_place_and_has_run_is_who_it_was_only_where_options_alone_say_so() {
        let ninth = [(9, "m3", HERE)];
        assert_eq!(of_three(&ninth, Stage::Unsure), Err(Round::Was(MemberId(9))));
        for stage in [Stage::Moving, Stage::Asking] {
            assert_eq!(of_three(&ninth, stage), Err(Round::Taken(MemberId(9))), "a log or a note names 3");
        }
    }
}
