//! The record every segment begins with, and the one a full segment ends with.
//!
//! A checkpoint repeats everything that is not an entry, so a recycled segment takes nothing with it. It also
//! states where the previous segment ends: bytes past that place are never read again.

use super::format::{Salt, Take, put_log_id};
use super::header::{SegmentId, Sequence};
use super::record::{Vote, put_vote, take_vote};
use crate::types::{Incarnation, LogId};

/// Where the previous segment ends for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PreviousEnd {
    pub(super) id: SegmentId,
    /// The first byte that does not count any more.
    pub(super) end: u64,
    /// The checksum of the last batch before `end`.
    pub(super) chain: u32,
}

/// The state of the log at a segment's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) incarnation: Incarnation,
    /// This segment's bytes below this offset were synced before the file got its proper name.
    pub(super) durable_through: u64,
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) committed: Option<LogId>,
    /// The last entry, or what is purged when there is none behind it.
    pub(super) last: Option<LogId>,
    /// `None` in a log's very first segment.
    pub(super) previous: Option<PreviousEnd>,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.durable_through.to_le_bytes());
        out.push(u8::from(self.vote.is_some()));
        put_vote(&mut out, &self.vote.unwrap_or_default());
        for id in [self.purged, self.committed, self.last] {
            put_log_id(&mut out, id);
        }
        out.push(u8::from(self.previous.is_some()));
        let none = PreviousEnd { id: SegmentId { sequence: Sequence(0), salt: Salt(0) }, end: 0, chain: 0 };
        let previous = self.previous.unwrap_or(none);
        for field in [previous.id.sequence.0, previous.id.salt.0, previous.end] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&previous.chain.to_le_bytes());
        out
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Option<Checkpoint> {
        let incarnation = Incarnation(take.u64()?);
        let durable_through = take.u64()?;
        let voted = take.flag()?;
        let vote = take_vote(take)?;
        let purged = take.optional_log_id()?;
        let committed = take.optional_log_id()?;
        let last = take.optional_log_id()?;
        let linked = take.flag()?;
        let id = SegmentId { sequence: Sequence(take.u64()?), salt: Salt(take.u64()?) };
        let previous = PreviousEnd { id, end: take.u64()?, chain: take.u32()? };
        Some(Checkpoint {
            incarnation,
            durable_through,
            vote: voted.then_some(vote),
            purged,
            committed,
            last,
            previous: linked.then_some(previous),
        })
    }
}

/// The last record of a full segment: the segment that follows, durable since before this was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) next: SegmentId,
}

impl Link {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        for field in [self.next.sequence.0, self.next.salt.0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Option<Link> {
        Some(Link { next: SegmentId { sequence: Sequence(take.u64()?), salt: Salt(take.u64()?) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, MemberId, Term};

    #[test]
    fn golden_checkpoint() {
        let log_id = |index| Some(LogId { term: Term(2), index: LogIndex(index) });
        let full = Checkpoint {
            incarnation: Incarnation(3),
            durable_through: 16384,
            vote: Some(Vote { term: Term(2), voted_for: Some(MemberId(0xab)), committed: true }),
            purged: log_id(4),
            committed: log_id(5),
            last: log_id(6),
            previous: Some(PreviousEnd {
                id: SegmentId { sequence: Sequence(7), salt: Salt(8) },
                end: 20480,
                chain: 9,
            }),
        };
        let bare =
            Checkpoint { vote: None, purged: None, committed: None, last: None, previous: None, ..full };
        for checkpoint in [full, bare] {
            let bytes = checkpoint.encode();
            let mut take = Take(&bytes);
            assert_eq!(Checkpoint::decode(&mut take), Some(checkpoint));
            assert_eq!(take.end(), Some(()), "every byte is read");
        }
        let hex: String = full.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "030000000000000000400000000000000102000000000000000101ab0000000000000001020000000000000004000000",
                "000000000102000000000000000500000000000000010200000000000000060000000000000001070000000000000008",
                "00000000000000005000000000000009000000",
            )
        );
    }
}
