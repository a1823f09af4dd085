//! How everything but records is stored: numbers, leases, members, request ids.
//!
//! Equal items give equal bytes: the state hash covers these encodings. The keys are plain bytes and stand
//! beside the state they belong to.

use bytes::Bytes;
use prost::Message;

use crate::machine::codec::record::{tally_from_pb, tally_to_pb};
use crate::machine::command::Member;
use crate::machine::dedupe::Sender;
use crate::machine::lease::Lease;
use crate::machine::mvcc::{KV_META_KEY, Mvcc, Sums};
use crate::machine::persist::{Bucket, Write};
use crate::machine::state::APPLIED_KEY;
use crate::pb::record as pb;
use crate::types::{Incarnation, LogId, LogIndex, MemberId, Revision, Term, TtlSecs};

/// The write that persists the applied log id: part of every batch of writes to the engine.
pub fn applied_write(log_id: LogId) -> Write {
    let value = pb::Applied { term: log_id.term.0, index: log_id.index.0 }.encode_to_vec();
    Write { bucket: Bucket::Meta, key: Bytes::from_static(APPLIED_KEY), value: Some(value.into()) }
}

/// Reads what [`applied_write`] wrote.
///
/// # Errors
/// The value is no log id.
pub fn decode_applied(value: Bytes) -> Result<LogId, prost::DecodeError> {
    let stored = pb::Applied::decode(value)?;
    Ok(LogId { term: Term(stored.term), index: LogIndex(stored.index) })
}

impl Mvcc {
    /// The write that persists the numbers.
    pub(crate) fn meta_write(&self) -> Write {
        let meta = pb::KvMeta {
            revision: self.revision.0,
            compacted: self.compacted.0,
            live: Some(tally_to_pb(self.sums.live)),
            superseded: Some(tally_to_pb(self.sums.superseded)),
            compacted_sum: Some(tally_to_pb(self.sums.compacted)),
            tombstones: Some(tally_to_pb(self.sums.tombstones)),
        };
        Write {
            bucket: Bucket::Meta,
            key: Bytes::from_static(KV_META_KEY),
            value: Some(meta.encode_to_vec().into()),
        }
    }

    /// Takes over persisted numbers.
    pub(crate) fn restore_meta(&mut self, value: Bytes) -> Result<(), prost::DecodeError> {
        let meta = pb::KvMeta::decode(value)?;
        let tally = |tally: Option<pb::Tally>| tally.map(tally_from_pb).unwrap_or_default();
        self.revision = Revision(meta.revision);
        self.compacted = Revision(meta.compacted);
        self.sums = Sums {
            live: tally(meta.live),
            superseded: tally(meta.superseded),
            compacted: tally(meta.compacted_sum),
            tombstones: tally(meta.tombstones),
        };
        Ok(())
    }
}

/// What the numbers say of revisions: the store's, and the compacted one.
///
/// # Errors
/// The value is not such numbers.
pub fn decode_revisions(value: Bytes) -> Result<(Revision, Revision), prost::DecodeError> {
    let meta = pb::KvMeta::decode(value)?;
    Ok((Revision(meta.revision), Revision(meta.compacted)))
}

impl Lease {
    pub(crate) fn encode(&self) -> Bytes {
        let remaining_secs = self.remaining.map_or(0, |remaining| remaining.0);
        pb::Lease { ttl_secs: self.ttl.0, remaining_secs }.encode_to_vec().into()
    }

    /// The stored form of a lease, whose keys are not in it.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(value: Bytes) -> Result<Lease, prost::DecodeError> {
        let stored = pb::Lease::decode(value)?;
        let remaining = Some(TtlSecs(stored.remaining_secs)).filter(|remaining| remaining.0 > 0);
        Ok(Lease::restored(TtlSecs(stored.ttl_secs), remaining))
    }
}

impl Sender {
    pub(crate) fn encode(&self) -> Bytes {
        let runs = self.runs.iter().map(|(first, last)| pb::SeenRun { first: *first, last: *last }).collect();
        pb::SeenRequests { lowest_unanswered: self.lowest_unanswered, runs }.encode_to_vec().into()
    }

    pub(crate) fn decode(incarnation: Incarnation, value: Bytes) -> Result<Sender, prost::DecodeError> {
        let stored = pb::SeenRequests::decode(value)?;
        let runs = stored.runs.into_iter().map(|run| (run.first, run.last)).collect();
        Ok(Sender { incarnation, lowest_unanswered: stored.lowest_unanswered, runs })
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
