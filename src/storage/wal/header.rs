//! The head of a segment: who wrote it, which use of the file this is, and what recovery put behind it.
//!
//! The header is stored twice, in blocks of their own that are synced apart, so one bad block never costs a
//! segment. In every format version the first sixteen bytes are magic, version and a checksum of the two, so
//! that an old release recognises a newer one's files instead of calling them damaged.

use super::format::{BLOCK_LEN, FORMAT_VERSION, Salt, Take};
use super::record::Identity;
use crate::types::{ClusterId, LogIndex, MemberId};

const MAGIC: &[u8; 8] = b"QRTEWAL\0";
const SUCCESSOR_MAGIC: &[u8; 8] = b"QRTENEXT";

/// Counts segments, from 1; never used twice by segments that carried their proper name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(pub(super) u64);

impl Sequence {
    pub(super) fn next(self) -> Sequence {
        Sequence(self.0.saturating_add(1))
    }
}

/// One use of one file: its number and its salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentId {
    pub(super) sequence: Sequence,
    pub(super) salt: Salt,
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) identity: Identity,
    pub(super) id: SegmentId,
    /// The index that the next entry had when the segment began.
    pub(super) first_index: LogIndex,
    /// The file's length.
    pub(super) length_bytes: u64,
}

/// What stands where a header should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderRead {
    Valid(SegmentHeader),
    /// A newer release's header, of this version.
    Newer(u32),
    Bad,
}

impl SegmentHeader {
    /// One copy, a block long.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        for field in [
            self.identity.cluster.0,
            self.identity.member.0,
            self.id.sequence.0,
            self.first_index.0,
            self.id.salt.0,
            self.length_bytes,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.resize(BLOCK_LEN, 0);
        out
    }

    /// Reads one copy.
    pub(super) fn decode(block: &[u8]) -> HeaderRead {
        decode(block).unwrap_or(HeaderRead::Bad)
    }
}

fn decode(block: &[u8]) -> Option<HeaderRead> {
    let mut take = Take(block);
    let start = block.get(..12)?;
    let magic = take.array::<8>()?;
    let version = take.u32()?;
    if &magic != MAGIC || take.u32()? != crc32c::crc32c(start) {
        return None;
    }
    if version > FORMAT_VERSION {
        return Some(HeaderRead::Newer(version));
    }
    let identity = Identity { cluster: ClusterId(take.u64()?), member: MemberId(take.u64()?) };
    let sequence = Sequence(take.u64()?);
    let first_index = LogIndex(take.u64()?);
    let id = SegmentId { sequence, salt: Salt(take.u64()?) };
    let length_bytes = take.u64()?;
    if take.u32()? != crc32c::crc32c(block.get(..64)?) {
        return None;
    }
    Some(HeaderRead::Valid(SegmentHeader { identity, id, first_index, length_bytes }))
}

/// The note that recovery leaves in the segment it found last, once the fresh one behind it is durable: should
/// the fresh one vanish, the old one is not taken for the end of the log again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Successor {
    pub(super) next: SegmentId,
}

impl Successor {
    pub(super) fn encode(&self, own: SegmentId) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_LEN);
        out.extend_from_slice(SUCCESSOR_MAGIC);
        for field in [own.sequence.0, self.next.sequence.0, self.next.salt.0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&own.salt.checksum(&[&out]).to_le_bytes());
        out.resize(BLOCK_LEN, 0);
        out
    }

    /// The note, when a valid one of this use of the file stands in `block`.
    pub(super) fn decode(block: &[u8], own: SegmentId) -> Option<Successor> {
        let mut take = Take(block);
        let covered = block.get(..32)?;
        let magic = take.array::<8>()?;
        let sequence = Sequence(take.u64()?);
        let next = SegmentId { sequence: Sequence(take.u64()?), salt: Salt(take.u64()?) };
        let valid = &magic == SUCCESSOR_MAGIC
            && sequence == own.sequence
            && take.u32()? == own.salt.checksum(&[covered]);
        valid.then_some(Successor { next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            identity: Identity { cluster: ClusterId(0x0102), member: MemberId(0x0304) },
            id: SegmentId { sequence: Sequence(5), salt: Salt(0x0607) },
            first_index: LogIndex(8),
            length_bytes: 65536,
        }
    }

    #[test]
    fn golden_header() {
        let block = header().encode();
        let hex: String = block[..68].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "5152544557414c00010000008977637d0201000000000000040300000000000005000000000000000800000000000000",
                "07060000000000000000010000000000f78e1261",
            )
        );
        assert!(block[68..].iter().all(|&byte| byte == 0), "the rest of the block is zero");
        assert_eq!(SegmentHeader::decode(&block), HeaderRead::Valid(header()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let block = header().encode();
        for bit in 0..68 * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), HeaderRead::Bad, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_recognised_and_a_damaged_version_is_not() {
        let mut block = header().encode();
        block[8] = 9;
        assert_eq!(SegmentHeader::decode(&block), HeaderRead::Bad);
        let crc = crc32c::crc32c(&block[..12]);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&block), HeaderRead::Newer(9));
    }

    #[test]
    fn a_successor_counts_only_for_the_same_use_of_the_file() {
        let own = header().id;
        let note = Successor { next: SegmentId { sequence: Sequence(6), salt: Salt(99) } };
        let block = note.encode(own);
        assert_eq!(Successor::decode(&block, own), Some(note));
        assert_eq!(Successor::decode(&block, SegmentId { salt: Salt(1), ..own }), None);
        assert_eq!(Successor::decode(&block, SegmentId { sequence: Sequence(4), ..own }), None);
        for bit in 0..36 * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Successor::decode(&damaged, own), None, "bit {bit}");
        }
    }
}
