//! Changing the member list: the initial list, what members say of themselves, and what operators ask for.
//!
//! The list is what clients see and what an operator decides. Who votes is the consensus core's own record, which
//! follows the list; so a promise about quorums is never made here. Limits that members may set differently (how many
//! learners, how healthy a cluster must be) are checked before a change is proposed.
//!
//! Invariants: an id that was removed never comes back; no two members share a peer URL; somebody can vote.

use bytes::Bytes;

use crate::machine::codec::items::encode_member;
use crate::machine::command::{CommandError, Member, MemberChange, Reply};
use crate::machine::effects::Effects;
use crate::machine::members::{MemberKey, Members};
use crate::machine::persist::Bucket;
use crate::machine::state::State;
use crate::types::MemberId;

impl State {
    /// Takes the initial list, unless there has been one.
    pub(crate) fn bootstrap(&mut self, effects: &mut Effects, members: &[Member]) {
        if self.members.is_bootstrapped() {
            return;
        }
        for member in members {
            self.put_member(effects, member.clone());
        }
    }

    /// Takes what a member says of itself.
    pub(crate) fn member_attributes(
        &mut self,
        effects: &mut Effects,
        id: MemberId,
        name: &str,
        client_urls: &[String],
    ) -> Result<Reply, CommandError> {
        let before = self.members.get(id).ok_or(CommandError::MemberNotFound)?;
        let mut member = before.clone();
        name.clone_into(&mut member.name);
        client_urls.clone_into(&mut member.client_urls);
        self.put_member(effects, member);
        Ok(Reply::Done)
    }

    /// Makes one change, or refuses it without a trace.
    pub(crate) fn change_members(
        &mut self,
        effects: &mut Effects,
        change: &MemberChange,
    ) -> Result<Reply, CommandError> {
        let found = |members: &Members, id| members.get(id).cloned().ok_or(CommandError::MemberNotFound);
        match change {
            MemberChange::Add(member) => {
                // First the URLs: within a second the same ones make the same id, and who asks twice should always be
                // told the same.
                self.members.free_for(None, &member.peer_urls)?;
                if self.members.has_known(member.id) {
                    return Err(CommandError::MemberExists);
                }
                self.put_member(effects, member.clone());
            }
            MemberChange::Remove(id) => {
                let member = found(&self.members, *id)?;
                if !member.is_learner && self.members.voters() == 1 {
                    return Err(CommandError::NoVoterLeft);
                }
                self.remove_member(effects, &member);
            }
            MemberChange::Update { member: id, peer_urls } => {
                let mut member = found(&self.members, *id)?;
                self.members.free_for(Some(*id), peer_urls)?;
                member.peer_urls.clone_from(peer_urls);
                self.put_member(effects, member);
            }
            MemberChange::Promote(id) => {
                let mut member = found(&self.members, *id)?;
                if !member.is_learner {
                    return Err(CommandError::MemberNotLearner);
                }
                member.is_learner = false;
                self.put_member(effects, member);
            }
            MemberChange::Replace { member: id, by, peer_urls } => {
                let gone = found(&self.members, *id)?;
                if gone.peer_urls != *peer_urls {
                    return Err(CommandError::MemberNotFound);
                }
                if self.members.has_known(*by) {
                    return Err(CommandError::MemberExists);
                }
                // Who voted is to vote again, who only followed is not.
                let (peer_urls, is_learner) = (gone.peer_urls.clone(), gone.is_learner);
                // The planted bug has a successor, and its predecessor as well.
                if !crate::mutant!("replaced-member-stays-listed") {
                    self.remove_member(effects, &gone);
                }
                self.put_member(effects, Member { id: *by, peer_urls, is_learner, ..Member::default() });
            }
        }
        Ok(Reply::Members(self.members.iter().cloned().collect()))
    }

    fn put_member(&mut self, effects: &mut Effects, member: Member) {
        let (key, new) = (MemberKey::Present(member.id).encode(), encode_member(&member));
        let old = self.members.put(member).as_ref().map(encode_member);
        self.replace(effects, Bucket::Members, key, old, Some(new));
    }

    fn remove_member(&mut self, effects: &mut Effects, member: &Member) {
        let key = MemberKey::Present(member.id).encode();
        self.members.remove(member.id);
        self.replace(effects, Bucket::Members, key, Some(encode_member(member)), None);
        // The planted bug forgets that the id has been used.
        if !crate::mutant!("member-removed-id-forgotten") {
            let key = MemberKey::Removed(member.id).encode();
            self.replace(effects, Bucket::Members, key, None, Some(Bytes::new()));
        }
    }
}
