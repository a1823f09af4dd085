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
use crate::storage::wal::Identity;
use crate::types::{ClusterId, MemberId};

/// How long a member of the cluster may take to say who belongs to it.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader may take to take a member back: it looks twice, and who votes follows the list.
const READMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Members that are asked on the way to the leader: the first, and whom it takes for the leader.
const HOPS_MAX: u32 = 2;

/// What one round of asking brought, short of a place.
#[derive(Debug)]
pub enum Round {
    /// To be tried again, and why.
    NotYet(String),
    /// It was taken back before, as this one, has run, and has lost its disk once more.
    Was(MemberId),
    /// The cluster has no place for it.
    Gone,
}

/// One that asks.
pub struct Asking<'a> {
    /// Who it is by its options, and where it is reached.
    pub config: &'a MemberConfig,
    /// The seams.
    pub env: &'a Env,
    /// Whether it knows its id by its options alone, which name who it was at first: neither a log nor a note is there.
    pub is_unsure: bool,
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
    pub async fn round(&self, lost: Identity) -> Result<Place, Round> {
        let list = self.list(lost.cluster).await.map_err(Round::NotYet)?;
        if let Some(member) = self.newcomer(lost, &list) {
            return Ok(place_of(member, lost, &list));
        }
        match list.iter().find(|member| self.is_here(member)) {
            Some(here) if here.id == lost.member => {}
            Some(here) if self.is_unsure => return Err(Round::Was(here.id)),
            // Another machine has its place: who was let go does not take it away again.
            Some(_) => return Err(Round::Gone),
            None if list.iter().any(|member| member.id == lost.member) => {}
            None => return Err(Round::Gone),
        }
        let member = self.readmitted(lost, &list).await.map_err(Round::NotYet)?;
        Ok(place_of(member, lost, &list))
    }

    /// The place of one that has not started, where the lost member was, if the cluster has such a place by now.
    pub async fn place_in_the_list(&self, lost: Identity) -> Option<Place> {
        let list = self.list(lost.cluster).await.ok()?;
        self.newcomer(lost, &list).map(|member| place_of(member, lost, &list))
    }

    fn newcomer(&self, lost: Identity, list: &[MemberInfo]) -> Option<MemberId> {
        let here = list.iter().find(|member| self.is_here(member))?;
        (here.id != lost.member && here.name.is_empty()).then_some(here.id)
    }

    fn is_here(&self, member: &MemberInfo) -> bool {
        let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
        set(&member.peer_urls) == set(&self.config.peer_urls)
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

/// The place of a newcomer among the members of a list, without the one that was there before.
fn place_of(member: MemberId, lost: Identity, list: &[MemberInfo]) -> Place {
    let members = list.iter().filter(|member| member.id != lost.member).cloned().collect();
    Place { cluster: lost.cluster, member, members, joins: true }
}
