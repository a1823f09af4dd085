//! What the log holds: entries, votes, cuts and purges, and how each becomes bytes.
//!
//! A record is a 12-byte head (payload length, kind, checksum) and its payload; the checksum is seeded with
//! the segment's salt, so a record of an earlier use of the file never passes for one of this use. Payloads of
//! entries are opaque here.

use bytes::Bytes;

use super::checkpoint::{Checkpoint, Link};
use super::format::{Salt, Take, put_log_id};
use crate::types::{ClusterId, LogId, MemberId, Term};

/// Whose log this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
}

/// A member's vote. Never goes back to a lower term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: Term,
    /// The candidate voted for, if any.
    pub voted_for: Option<MemberId>,
    /// Whether a quorum granted it: the candidate is the term's leader.
    pub committed: bool,
}

impl Vote {
    /// Whether `self` supersedes `other` or equals it: a later term, or more known of the same term.
    pub(super) fn is_at_least(&self, other: &Vote) -> bool {
        let rank = |vote: &Vote| (vote.term, vote.committed, vote.voted_for.is_some());
        rank(self) >= rank(other)
    }
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub log_id: LogId,
    /// Its content, opaque to the log.
    pub payload: Bytes,
}

/// One change of the log's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalRecord {
    /// Appends the entry directly behind the last one.
    Entry(Entry),
    /// Replaces the vote.
    Vote(Vote),
    /// Removes every entry behind this one; `None` removes all.
    TruncateAfter(Option<LogId>),
    /// Forgets every entry up to and including this one.
    Purge(LogId),
}

/// Bytes before a record's payload.
pub(super) const RECORD_HEAD_LEN: usize = 12;

const KIND_ENTRY: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_TRUNCATE_AFTER: u8 = 3;
const KIND_PURGE: u8 = 4;
const KIND_CHECKPOINT: u8 = 5;
const KIND_LINK: u8 = 6;

/// A record as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Log(WalRecord),
    Checkpoint(Checkpoint),
    Link(Link),
}

/// Collects the records of one batch.
#[derive(Debug)]
pub(super) struct Body<'a> {
    out: &'a mut Vec<u8>,
    salt: Salt,
    pub(super) records: u32,
    /// Runs over the records' own checksums.
    pub(super) checksum: u32,
}

impl<'a> Body<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, salt: Salt) -> Body<'a> {
        Body { out, salt, records: 0, checksum: salt.checksum(&[]) }
    }

    fn push(&mut self, kind: u8, head: &[u8], tail: &[u8]) {
        let length = u32::try_from(head.len().saturating_add(tail.len())).unwrap_or(u32::MAX).to_le_bytes();
        let checksum = self.salt.checksum(&[&length, &[kind, 0, 0, 0], head, tail]).to_le_bytes();
        for part in [&length, &[kind, 0, 0, 0], &checksum] {
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(tail);
        self.records = self.records.saturating_add(1);
        self.checksum = crc32c::crc32c_append(self.checksum, &checksum);
    }

    pub(super) fn log(&mut self, record: &WalRecord) {
        match record {
            WalRecord::Entry(entry) => {
                let mut head = [0; 16];
                let (term, index) = head.split_at_mut(8);
                term.copy_from_slice(&entry.log_id.term.0.to_le_bytes());
                index.copy_from_slice(&entry.log_id.index.0.to_le_bytes());
                self.push(KIND_ENTRY, &head, &entry.payload);
            }
            WalRecord::Vote(vote) => {
                let mut head = Vec::with_capacity(18);
                put_vote(&mut head, vote);
                self.push(KIND_VOTE, &head, &[]);
            }
            WalRecord::TruncateAfter(last) => {
                let mut head = Vec::with_capacity(17);
                put_log_id(&mut head, *last);
                self.push(KIND_TRUNCATE_AFTER, &head, &[]);
            }
            WalRecord::Purge(upto) => {
                let mut head = Vec::with_capacity(17);
                put_log_id(&mut head, Some(*upto));
                self.push(KIND_PURGE, &head, &[]);
            }
        }
    }

    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.push(KIND_CHECKPOINT, &checkpoint.encode(), &[]);
    }

    pub(super) fn link(&mut self, link: &Link) {
        self.push(KIND_LINK, &link.encode(), &[]);
    }
}

/// The bytes that `record` takes in a batch.
pub(super) fn encoded_len(record: &WalRecord) -> usize {
    let payload = match record {
        WalRecord::Entry(entry) => entry.payload.len().saturating_add(16),
        WalRecord::Vote(_) => 18,
        WalRecord::TruncateAfter(_) | WalRecord::Purge(_) => 17,
    };
    payload.saturating_add(RECORD_HEAD_LEN)
}

/// Term, flags, candidate: 18 bytes.
pub(super) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.term.0.to_le_bytes());
    out.push(u8::from(vote.committed));
    out.push(u8::from(vote.voted_for.is_some()));
    out.extend_from_slice(&vote.voted_for.unwrap_or_default().0.to_le_bytes());
}

/// What [`put_vote`] wrote.
pub(super) fn take_vote(take: &mut Take<'_>) -> Option<Vote> {
    let term = Term(take.u64()?);
    let committed = take.flag()?;
    let voted = take.flag()?;
    let candidate = MemberId(take.u64()?);
    Some(Vote { term, voted_for: voted.then_some(candidate), committed })
}

/// What one record of a body turned out to be.
pub(super) struct ReadRecord {
    pub(super) record: Decoded,
    pub(super) len: usize,
    pub(super) checksum: [u8; 4],
}

/// Reads the record at the front of `bytes`; `None` when it is damaged.
pub(super) fn read_record(bytes: &[u8], salt: Salt) -> Option<ReadRecord> {
    let mut take = Take(bytes);
    let length = take.array::<4>()?;
    let kind = take.array::<4>()?;
    let checksum = take.array::<4>()?;
    let payload_len = usize::try_from(u32::from_le_bytes(length)).ok()?;
    let payload = take.slice(payload_len)?;
    if salt.checksum(&[&length, &kind, payload]).to_le_bytes() != checksum {
        return None;
    }
    let [kind, 0, 0, 0] = kind else { return None };
    let record = decode_payload(kind, payload)?;
    Some(ReadRecord { record, len: payload_len.saturating_add(RECORD_HEAD_LEN), checksum })
}

fn decode_payload(kind: u8, payload: &[u8]) -> Option<Decoded> {
    let mut take = Take(payload);
    let record = match kind {
        KIND_ENTRY => {
            let log_id = take.log_id()?;
            // Copied out, so that an entry does not keep the whole segment's image alive.
            return Some(Decoded::Log(WalRecord::Entry(Entry {
                log_id,
                payload: Bytes::copy_from_slice(take.0),
            })));
        }
        KIND_VOTE => Decoded::Log(WalRecord::Vote(take_vote(&mut take)?)),
        KIND_TRUNCATE_AFTER => Decoded::Log(WalRecord::TruncateAfter(take.optional_log_id()?)),
        KIND_PURGE => Decoded::Log(WalRecord::Purge(take.optional_log_id()??)),
        KIND_CHECKPOINT => Decoded::Checkpoint(Checkpoint::decode(&mut take)?),
        KIND_LINK => Decoded::Link(Link::decode(&mut take)?),
        _ => return None,
    };
    take.end()?;
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogIndex;

    fn samples() -> Vec<WalRecord> {
        let log_id = LogId { term: Term(3), index: LogIndex(9) };
        vec![
            WalRecord::Entry(Entry { log_id, payload: Bytes::from_static(b"hello") }),
            WalRecord::Entry(Entry { log_id, payload: Bytes::new() }),
            WalRecord::Vote(Vote { term: Term(4), voted_for: Some(MemberId(7)), committed: true }),
            WalRecord::Vote(Vote { term: Term(5), voted_for: None, committed: false }),
            WalRecord::TruncateAfter(Some(log_id)),
            WalRecord::TruncateAfter(None),
            WalRecord::Purge(log_id),
        ]
    }

    #[test]
    fn golden_records() {
        let mut out = Vec::new();
        let mut body = Body::new(&mut out, Salt(1));
        for record in samples() {
            body.log(&record);
        }
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "15000000010000004ba156a70300000000000000090000000000000068656c6c6f1000000001000000a90c201d030000",
                "00000000000900000000000000120000000200000047ea1d6d0400000000000000010107000000000000001200000002",
                "000000854045a705000000000000000000000000000000000011000000030000001fa8c2570103000000000000000900",
                "00000000000011000000030000004e6dd910000000000000000000000000000000000011000000040000009cd9f57401",
                "03000000000000000900000000000000",
            )
        );
    }

    #[test]
    fn records_come_back_and_any_flipped_bit_or_other_salt_is_seen() {
        for sample in samples() {
            let mut out = Vec::new();
            Body::new(&mut out, Salt(1)).log(&sample);
            assert_eq!(out.len(), encoded_len(&sample), "{sample:?}");
            let read = read_record(&out, Salt(1)).unwrap();
            assert_eq!((read.record, read.len), (Decoded::Log(sample), out.len()));
            assert!(read_record(&out, Salt(2)).is_none(), "another salt");
            for bit in 0..out.len() * 8 {
                let mut damaged = out.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(read_record(&damaged, Salt(1)).is_none(), "bit {bit}");
            }
        }
    }

    #[test]
    fn votes_are_ordered_by_term_then_by_what_is_known() {
        let vote = |term, voted_for: Option<u64>, committed| Vote {
            term: Term(term),
            voted_for: voted_for.map(MemberId),
            committed,
        };
        let rising =
            [vote(1, None, false), vote(1, Some(1), false), vote(1, Some(1), true), vote(2, None, false)];
        for pair in rising.windows(2) {
            assert!(pair[1].is_at_least(&pair[0]) && !pair[0].is_at_least(&pair[1]), "{pair:?}");
        }
    }
}
