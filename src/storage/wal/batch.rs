//! A batch: what one commit writes, in one piece, padded to whole blocks.
//!
//! Its header has a checksum of its own, so the position it states as durable can be believed even when its
//! body is torn; it carries the checksum of the batch before it, so a batch that was lost or misdirected
//! inside the log shows at its successor.

use super::checkpoint::{Checkpoint, Link};
use super::format::{BLOCK_LEN, Salt, Take, bytes_of, padded};
use super::header::{SegmentId, Sequence};
use super::record::{Body, Decoded, WalRecord, encoded_len, read_record};
use crate::types::LogId;

/// Bytes before the records; less than a sector, so a header is never half of one write and half of another.
pub(super) const BATCH_HEAD_LEN: usize = 80;
const MAGIC: &[u8; 4] = b"QBAT";
/// Where the header's own checksum stands.
const CHECKSUM_AT: usize = 76;

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchKind {
    /// Records of the log.
    Records,
    /// None: it only vouches for what stands before it.
    Seal,
    /// A segment's beginning.
    Checkpoint,
    /// A full segment's end.
    Link,
}

impl BatchKind {
    fn code(self) -> u8 {
        match self {
            BatchKind::Records => 1,
            BatchKind::Seal => 2,
            BatchKind::Checkpoint => 3,
            BatchKind::Link => 4,
        }
    }

    fn of_code(code: u8) -> Option<BatchKind> {
        [BatchKind::Records, BatchKind::Seal, BatchKind::Checkpoint, BatchKind::Link]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// What a batch holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    Records(&'a [WalRecord]),
    Seal,
    Checkpoint(&'a Checkpoint),
    Link(&'a Link),
}

impl Content<'_> {
    fn kind(&self) -> BatchKind {
        match self {
            Content::Records(_) => BatchKind::Records,
            Content::Seal => BatchKind::Seal,
            Content::Checkpoint(_) => BatchKind::Checkpoint,
            Content::Link(_) => BatchKind::Link,
        }
    }
}

/// Where a batch goes and what is known there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    /// Everything in this segment below this offset is known to be durable.
    pub(super) durable: u64,
    /// The checksum of the batch before, 0 for a log's first.
    pub(super) previous: u32,
    pub(super) committed: Option<LogId>,
}

/// A batch's header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) kind: BatchKind,
    pub(super) durable: u64,
    pub(super) committed: Option<LogId>,
    pub(super) previous: u32,
    body_bytes: u32,
    records: u32,
    records_checksum: u32,
    /// This header's checksum: what the next batch carries as `previous`.
    pub(super) chain: u32,
}

impl BatchHeader {
    /// The bytes from this batch's beginning to the next one's.
    pub(super) fn span(&self) -> u64 {
        padded(self.body_len().saturating_add(BATCH_HEAD_LEN))
    }

    fn body_len(&self) -> usize {
        usize::try_from(self.body_bytes).unwrap_or(usize::MAX)
    }
}

/// The padded size of a batch of these records.
pub(super) fn batch_bytes(records: &[WalRecord]) -> u64 {
    padded(records.iter().map(encoded_len).fold(BATCH_HEAD_LEN, usize::saturating_add))
}

/// Appends one padded batch to `out` and returns its checksum.
pub(super) fn encode(out: &mut Vec<u8>, place: &Place, content: Content<'_>) -> u32 {
    let mut head = Vec::with_capacity(BATCH_HEAD_LEN);
    let start = out.len();
    out.resize(start.saturating_add(BATCH_HEAD_LEN), 0);
    let mut body = Body::new(out, place.segment.salt);
    match content {
        Content::Records(records) => records.iter().for_each(|record| body.log(record)),
        Content::Seal => {}
        Content::Checkpoint(checkpoint) => body.checkpoint(checkpoint),
        Content::Link(link) => body.link(link),
    }
    let (records, records_checksum) = (body.records, body.checksum);
    let len = out.len().saturating_sub(start);
    let body_bytes = u32::try_from(len.saturating_sub(BATCH_HEAD_LEN)).unwrap_or(u32::MAX);

    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&[content.kind().code(), u8::from(place.committed.is_some()), 0, 0]);
    let committed = place.committed.unwrap_or_default();
    let long = [
        place.segment.salt.0,
        place.segment.sequence.0,
        place.offset,
        place.durable,
        committed.term.0,
        committed.index.0,
    ];
    long.iter().for_each(|field| head.extend_from_slice(&field.to_le_bytes()));
    let short = [body_bytes, records, place.previous, records_checksum, 0];
    short.iter().for_each(|field| head.extend_from_slice(&field.to_le_bytes()));
    assert_eq!(head.len(), CHECKSUM_AT, "the batch header's fields add up");
    let chain = place.segment.salt.checksum(&[&head]);
    head.extend_from_slice(&chain.to_le_bytes());
    for (slot, byte) in out.iter_mut().skip(start).zip(&head) {
        *slot = *byte;
    }
    let end = len.div_ceil(BLOCK_LEN).saturating_mul(BLOCK_LEN);
    out.resize(start.saturating_add(end), 0);
    chain
}

/// What stands where a batch could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadRead {
    /// A header of this segment, this use of it, and this place.
    Valid(BatchHeader),
    /// It bears this use's salt, but does not check out.
    Damaged,
    /// Zeros, or anything left by an earlier use.
    Foreign,
}

/// Reads the header at the front of `bytes`, which stand at `offset` of `segment`.
pub(super) fn read_head(bytes: &[u8], segment: SegmentId, offset: u64) -> HeadRead {
    match try_head(bytes, segment, offset) {
        Some(header) => HeadRead::Valid(header),
        None if bytes.get(8..16) == Some(&segment.salt.0.to_le_bytes()) => HeadRead::Damaged,
        None => HeadRead::Foreign,
    }
}

fn try_head(bytes: &[u8], segment: SegmentId, offset: u64) -> Option<BatchHeader> {
    let mut take = Take(bytes);
    let magic = take.array::<4>()?;
    let kind = BatchKind::of_code(take.u8()?);
    let committed_present = take.flag()?;
    take.array::<2>()?;
    let id = SegmentId { salt: Salt(take.u64()?), sequence: Sequence(take.u64()?) };
    if &magic != MAGIC || id != segment || take.u64()? != offset {
        return None;
    }
    let durable = take.u64()?;
    let committed = take.log_id()?;
    let (body_bytes, records) = (take.u32()?, take.u32()?);
    let (previous, records_checksum) = (take.u32()?, take.u32()?);
    take.u32()?;
    let chain = take.u32()?;
    if segment.salt.checksum(&[bytes.get(..CHECKSUM_AT)?]) != chain {
        return None;
    }
    Some(BatchHeader {
        kind: kind?,
        durable,
        committed: committed_present.then_some(committed),
        previous,
        body_bytes,
        records,
        records_checksum,
        chain,
    })
}

/// Reads the records behind a valid header; `Err` holds the offset of the first damaged one from the batch's
/// beginning.
pub(super) fn read_body(bytes: &[u8], header: &BatchHeader, salt: Salt) -> Result<Vec<Decoded>, u64> {
    let head = bytes_of(BATCH_HEAD_LEN);
    let whole = bytes.get(BATCH_HEAD_LEN..).and_then(|rest| rest.get(..header.body_len()));
    let Some(mut rest) = whole else { return Err(head) };
    let mut records = Vec::new();
    let mut checksum = salt.checksum(&[]);
    let mut at = head;
    while !rest.is_empty() {
        let read = read_record(rest, salt).ok_or(at)?;
        rest = rest.get(read.len..).ok_or(at)?;
        at = at.saturating_add(bytes_of(read.len));
        checksum = crc32c::crc32c_append(checksum, &read.checksum);
        records.push(read.record);
    }
    let counted = u32::try_from(records.len()) == Ok(header.records);
    if counted && checksum == header.records_checksum { Ok(records) } else { Err(head) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::wal::record::Entry;
    use crate::types::{LogIndex, Term};
    use bytes::Bytes;

    const SEGMENT: SegmentId = SegmentId { sequence: Sequence(2), salt: Salt(0x1122_3344_5566_7788) };

    fn place() -> Place {
        let committed = Some(LogId { term: Term(1), index: LogIndex(4) });
        Place { segment: SEGMENT, offset: 16384, durable: 12288, previous: 0xabcd, committed }
    }

    fn records(len: usize) -> Vec<WalRecord> {
        let log_id = LogId { term: Term(1), index: LogIndex(5) };
        vec![
            WalRecord::Entry(Entry { log_id, payload: Bytes::from(vec![b'x'; len]) }),
            WalRecord::TruncateAfter(Some(log_id)),
        ]
    }

    #[test]
    fn golden_batch() {
        let mut out = Vec::new();
        let chain = encode(&mut out, &place(), Content::Records(&records(3)));
        let hex: String = out[..140].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "514241540101000088776655443322110200000000000000004000000000000000300000000000000100000000000000",
                "04000000000000003c00000002000000cdab0000a1db820a00000000c163c1c61300000001000000edbb980a01000000",
                "00000000050000000000000078787811000000030000004f15d4fc0101000000000000000500000000000000",
            )
        );
        assert_eq!(out.len(), 4096);
        assert_eq!(out[76..80], chain.to_le_bytes());
        assert!(out[140..].iter().all(|&byte| byte == 0), "padding is zero");
    }

    #[test]
    fn a_batch_comes_back_and_any_flipped_bit_is_seen() {
        let mut out = Vec::new();
        encode(&mut out, &place(), Content::Records(&records(3)));
        let HeadRead::Valid(header) = read_head(&out, SEGMENT, 16384) else { panic!("valid") };
        assert_eq!((header.durable, header.previous, header.span()), (12288, 0xabcd, 4096));
        assert_eq!(header.committed, place().committed);
        let whole: Vec<Decoded> = records(3).into_iter().map(Decoded::Log).collect();
        assert_eq!(read_body(&out, &header, SEGMENT.salt), Ok(whole));
        for bit in 0..140 * 8 {
            let mut damaged = out.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let seen = match read_head(&damaged, SEGMENT, 16384) {
                HeadRead::Valid(header) => read_body(&damaged, &header, SEGMENT.salt).is_err(),
                HeadRead::Damaged | HeadRead::Foreign => true,
            };
            assert!(seen, "bit {bit}");
        }
    }

    #[test]
    fn a_batch_counts_only_at_its_own_place_in_its_own_use() {
        let mut out = Vec::new();
        encode(&mut out, &place(), Content::Seal);
        assert!(matches!(read_head(&out, SEGMENT, 16384), HeadRead::Valid(_)));
        assert_eq!(read_head(&out, SEGMENT, 20480), HeadRead::Damaged);
        let other = SegmentId { salt: Salt(5), ..SEGMENT };
        assert_eq!(read_head(&out, other, 16384), HeadRead::Foreign);
        assert_eq!(read_head(&[0; 4096], SEGMENT, 16384), HeadRead::Foreign);
    }

    #[test]
    fn sizes_are_known_before_encoding() {
        for len in [0, 1, 3900, 3980, 4096, 10_000] {
            let mut out = vec![1, 2, 3];
            encode(&mut out, &place(), Content::Records(&records(len)));
            assert_eq!(bytes_of(out.len() - 3), batch_bytes(&records(len)), "payload of {len}");
        }
    }
}
