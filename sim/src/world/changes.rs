//! Changes of the cluster, as an operator asks a member for them, and what a member knows of who belongs to it.

use std::collections::BTreeSet;

use quorate::machine::command::{self, CommandError};
use quorate::member::{ChangeError, Credential};
use quorate::types as product;
use quorate_check::types::MemberId;

use super::product::Member;

/// A change of the cluster that an operator asks for.
#[derive(Clone, Debug)]
pub enum Change {
    /// Leadership goes to this member.
    MoveLeader(MemberId),
    /// A member is added.
    Add {
        /// Where its peers will reach it.
        url: String,
        /// Whether it is to follow without a vote.
        learner: bool,
    },
    /// A learner gets its vote.
    Promote(MemberId),
    /// A member goes.
    Remove(MemberId),
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The member is in the list, under this id.
    Added(MemberId),
    /// The member is not in the list.
    Removed,
    /// Done, and there is no more to say.
    Done,
    /// Refused: asking again would change nothing.
    Refused(String),
    /// Not done, or nobody knows: to be asked again.
    NotYet(String),
}

/// A member as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: MemberId,
    /// Whether it follows without a vote.
    pub is_learner: bool,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Whether it has told its name, so that it is known to have run.
    pub has_run: bool,
}

/// Asks a member for a change of the cluster.
pub async fn change(member: &Member, change: Change) -> Changed {
    let id = |id: MemberId| product::MemberId(id.0);
    match change {
        Change::MoveLeader(to) => outcome(member.move_leader(id(to)).await.map(|()| Changed::Done)),
        Change::Promote(learner) => {
            let promoted = member.member_promote(&Credential::None, id(learner)).await;
            outcome(promoted.map(|_| Changed::Done))
        }
        Change::Remove(gone) => match member.member_remove(&Credential::None, id(gone)).await {
            Err(ChangeError::Refused(CommandError::MemberNotFound)) => Changed::Removed,
            removed => outcome(removed.map(|_| Changed::Removed)),
        },
        Change::Add { url, learner } => {
            let added = member.member_add(&Credential::None, std::slice::from_ref(&url), learner).await;
            match added {
                Ok((added, _)) => Changed::Added(MemberId(added.id.0)),
                Err(error) => match (listed_at(member, &url), error) {
                    // An attempt before this one has done it, whatever this one is refused for.
                    (Some(id), _) => Changed::Added(id),
                    (None, ChangeError::Refused(CommandError::PeerUrlExists)) => {
                        Changed::NotYet("this member does not know of it yet".to_owned())
                    }
                    (None, error) => outcome(Err(error)),
                },
            }
        }
    }
}

/// Who is reached at this address, as the member knows.
fn listed_at(member: &Member, url: &String) -> Option<MemberId> {
    let state = member.replica().state();
    let there = state.members().iter().find(|member| member.peer_urls.contains(url));
    there.map(|member| MemberId(member.id.0))
}

fn outcome(answer: Result<Changed, ChangeError>) -> Changed {
    match answer {
        Ok(changed) => changed,
        // Clients are asked who they are for a while.
        Err(ChangeError::Refused(refused)) if refused.is_denial() => Changed::NotYet(refused.to_string()),
        Err(
            error @ (ChangeError::Refused(_)
            | ChangeError::TooManyLearners
            | ChangeError::NotLeader
            | ChangeError::BadUrls
            | ChangeError::BadTransferee),
        ) => Changed::Refused(error.to_string()),
        Err(error) => Changed::NotYet(error.to_string()),
    }
}

/// The sets of voters that count, as this member knows: those of the configuration, and those of the list.
pub fn electorates(member: &Member) -> Vec<BTreeSet<MemberId>> {
    let known = |id: product::MemberId| MemberId(id.0);
    let known = |set: BTreeSet<product::MemberId>| set.into_iter().map(known).collect::<BTreeSet<_>>();
    let mut sets: Vec<BTreeSet<_>> = member.voters().into_iter().map(known).collect();
    let listed = known(listed_voters(member));
    // Before the first leader has written the list, and told their names, there is none.
    sets.extend((!listed.is_empty()).then_some(listed));
    sets
}

/// Whether who votes is what the member list says, as this member knows both, and no change is under way.
pub fn voters_are_listed(member: &Member) -> bool {
    *member.voters() == [listed_voters(member)]
}

/// Who has a vote by the member list: one that was added and never started has none.
fn listed_voters(member: &Member) -> BTreeSet<product::MemberId> {
    let voting = |member: &&command::Member| !member.is_learner && !member.name.is_empty();
    member.replica().state().members().iter().filter(voting).map(|member| member.id).collect()
}

/// The member list, as this member knows it.
pub fn listed(member: &Member) -> Vec<Listed> {
    let state = member.replica().state();
    let listed = state.members().iter().map(|member| Listed {
        id: MemberId(member.id.0),
        is_learner: member.is_learner,
        peer_urls: member.peer_urls.clone(),
        has_run: !member.name.is_empty(),
    });
    listed.collect()
}

/// Whether this member knows that another is gone for good.
pub fn knows_as_gone(member: &Member, gone: MemberId) -> bool {
    member.replica().state().members().is_removed(product::MemberId(gone.0))
}
