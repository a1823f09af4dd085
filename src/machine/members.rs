//! The member list that clients see, and the ids that must never come back.
//!
//! Which members vote is the consensus library's own record; it follows this list.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::machine::command::{CommandError, Member};
use crate::types::{ApiLevel, MemberId};

const PRESENT: u8 = 0;
const REMOVED: u8 = 1;
const DOWNGRADE: u8 = 2;

/// The members, and those removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    by_id: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
    /// The level that they are prepared to go down to.
    downgrade: Option<ApiLevel>,
}

/// What a members bucket's key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKey {
    /// A member of the cluster; the value is the member.
    Present(MemberId),
    /// An id that was removed; the value is empty.
    Removed(MemberId),
    /// The value is the level that the cluster is prepared to go down to.
    Downgrade,
}

impl MemberKey {
    /// The key's bytes.
    pub fn encode(self) -> Bytes {
        let (kind, id) = match self {
            MemberKey::Present(id) => (PRESENT, id),
            MemberKey::Removed(id) => (REMOVED, id),
            MemberKey::Downgrade => (DOWNGRADE, MemberId(0)),
        };
        let mut key = vec![kind];
        key.extend_from_slice(&id.0.to_be_bytes());
        key.into()
    }

    /// Reads a key.
    pub fn decode(key: &[u8]) -> Option<MemberKey> {
        let (kind, id) = key.split_first()?;
        let id = MemberId(u64::from_be_bytes(<[u8; 8]>::try_from(id).ok()?));
        match *kind {
            PRESENT => Some(MemberKey::Present(id)),
            REMOVED => Some(MemberKey::Removed(id)),
            DOWNGRADE if id.0 == 0 => Some(MemberKey::Downgrade),
            _ => None,
        }
    }
}

impl Members {
    /// One member.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    /// All members by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.by_id.values()
    }

    /// How many of them may vote.
    pub fn voters(&self) -> usize {
        self.by_id.values().filter(|member| !member.is_learner).count()
    }

    /// Whether this member, or with none a new one, can be reached at these URLs: no other is.
    pub(crate) fn free_for(&self, id: Option<MemberId>, peer_urls: &[String]) -> Result<(), CommandError> {
        let taken = |other: &Member| {
            Some(other.id) != id && other.peer_urls.iter().any(|url| peer_urls.contains(url))
        };
        if self.by_id.values().any(taken) { Err(CommandError::PeerUrlExists) } else { Ok(()) }
    }

    /// Whether this id belonged to a member that was removed.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// Whether this id belongs to a member, or did.
    pub fn has_known(&self, id: MemberId) -> bool {
        self.by_id.contains_key(&id) || self.is_removed(id)
    }

    /// Whether the initial list has been applied.
    pub fn is_bootstrapped(&self) -> bool {
        !self.by_id.is_empty() || !self.removed.is_empty()
    }

    /// The level that the cluster is prepared to go down to, if it is.
    pub fn downgrade(&self) -> Option<ApiLevel> {
        self.downgrade
    }

    /// Prepares for a level, or for none.
    pub(crate) fn set_downgrade(&mut self, target: Option<ApiLevel>) {
        self.downgrade = target;
    }

    /// Adds or replaces a member; answers the one before.
    pub(crate) fn put(&mut self, member: Member) -> Option<Member> {
        assert!(!self.is_removed(member.id), "a removed id never comes back");
        self.by_id.insert(member.id, member)
    }

    /// Takes a member out; its id never comes back.
    pub(crate) fn remove(&mut self, id: MemberId) -> Option<Member> {
        let member = self.by_id.remove(&id)?;
        self.removed.insert(id);
        Some(member)
    }

    /// Takes over a removed id.
    pub(crate) fn restore_removed(&mut self, id: MemberId) {
        self.removed.insert(id);
    }
}
