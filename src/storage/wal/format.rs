//! The bytes of the write-ahead log: sizes, places, checksums, and the cursor that reads fields back.
//!
//! All integers are little-endian. `docs/wal.md` shows the layout; the golden tests of the sibling modules
//! pin it byte for byte. A change of layout raises [`FORMAT_VERSION`].

use crate::types::{LogId, LogIndex, Term};

/// The format this release writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// What every batch and header copy is padded to, so that no acknowledged sector is ever written again.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// [`BLOCK_BYTES`] for buffers.
pub(super) const BLOCK_LEN: usize = 4096;
/// The two copies of the segment header.
pub(super) const HEADER_OFFSETS: [u64; 2] = [0, BLOCK_BYTES];
/// Where recovery notes the segment that it put behind this one.
pub(super) const SUCCESSOR_OFFSET: u64 = 2 * BLOCK_BYTES;
/// Where the first batch, the checkpoint, begins.
pub(super) const DATA_OFFSET: u64 = 3 * BLOCK_BYTES;
/// The smallest segment: headers, checkpoint, one block of records, a link, and some air.
pub const SEGMENT_BYTES_MIN: u64 = 8 * BLOCK_BYTES;
/// The largest batch body, in bytes.
pub const BATCH_BODY_BYTES_MAX: usize = 1 << 30;

/// A segment's random number for one use of its file: old bytes of an earlier use never check out under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt(pub(super) u64);

impl Salt {
    /// CRC-32C of the salt followed by `parts`.
    pub(super) fn checksum(self, parts: &[&[u8]]) -> u32 {
        parts.iter().fold(crc32c::crc32c(&self.0.to_le_bytes()), |crc, part| crc32c::crc32c_append(crc, part))
    }
}

/// A buffer's length as a file length.
pub(super) fn bytes_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A file length as a buffer's length; saturates where memory could not hold it anyway.
pub(super) fn len_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The least multiple of a block that holds `len` bytes.
pub(super) fn padded(len: usize) -> u64 {
    bytes_of(len).div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// Appends a position of the log, present or not: flag, term, index.
pub(super) fn put_log_id(out: &mut Vec<u8>, id: Option<LogId>) {
    let LogId { term, index } = id.unwrap_or_default();
    out.push(u8::from(id.is_some()));
    out.extend_from_slice(&term.0.to_le_bytes());
    out.extend_from_slice(&index.0.to_le_bytes());
}

/// Reads fields off the front of a slice; `None` when it is too short.
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A flag byte: anything but 0 and 1 is damage.
    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Term and index.
    pub(super) fn log_id(&mut self) -> Option<LogId> {
        Some(LogId { term: Term(self.u64()?), index: LogIndex(self.u64()?) })
    }

    /// What [`put_log_id`] wrote.
    pub(super) fn optional_log_id(&mut self) -> Option<Option<LogId>> {
        let present = self.flag()?;
        let id = self.log_id()?;
        Some(present.then_some(id))
    }

    /// `Some` when everything was read.
    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_to_whole_blocks() {
        assert_eq!([padded(0), padded(1), padded(4096), padded(4097)], [0, 4096, 4096, 8192]);
    }

    #[test]
    fn a_checksum_depends_on_the_salt_and_on_every_part() {
        let base = Salt(7).checksum(&[b"ab", b"c"]);
        assert_eq!(base, Salt(7).checksum(&[b"a", b"bc"]));
        assert_ne!(base, Salt(8).checksum(&[b"ab", b"c"]));
        assert_ne!(base, Salt(7).checksum(&[b"ab", b"d"]));
    }
}
