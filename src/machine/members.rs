//! The member list that clients see, and the ids that must never come back.
//!
//! Which members vote is the consensus library's own record; it follows this list.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use crate::machine::command::Member;
use crate::pb::record as pb;
use crate::types::MemberId;

const PRESENT: u8 = 0;
const REMOVED: u8 = 1;

/// The members, and those removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    by_id: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
}

/// What a members bucket's key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKey {
    /// A member of the cluster; the value is the member.
    Present(MemberId),
    /// An id that was removed; the value is empty.
    Removed(MemberId),
}

impl MemberKey {
    /// The key's bytes.
    pub fn encode(self) -> Bytes {
        let (kind, id) = match self {
            MemberKey::Present(id) => (PRESENT, id),
            MemberKey::Removed(id) => (REMOVED, id),
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
            _ => None,
        }
    }
}

/// A member as it is stored.
pub(crate) fn encode_member(member: &Member) -> Bytes {
    member_to_pb(member).encode_to_vec().into()
}

/// A member from its stored form.
pub(crate) fn decode_member(value: Bytes) -> Result<Member, prost::DecodeError> {
    pb::Member::decode(value).map(member_from_pb)
}

pub(crate) fn member_to_pb(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

pub(crate) fn member_from_pb(member: pb::Member) -> Member {
    Member {
        id: MemberId(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        is_learner: member.is_learner,
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

    /// Whether this id belonged to a member that was removed.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// Whether the initial list has been applied.
    pub fn is_bootstrapped(&self) -> bool {
        !self.by_id.is_empty() || !self.removed.is_empty()
    }

    /// Adds or replaces a member; answers the one before.
    pub(crate) fn put(&mut self, member: Member) -> Option<Member> {
        assert!(!self.is_removed(member.id), "a removed id never comes back");
        self.by_id.insert(member.id, member)
    }

    /// Takes over a removed id.
    pub(crate) fn restore_removed(&mut self, id: MemberId) {
        self.removed.insert(id);
    }
}
