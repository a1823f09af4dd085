//! One segment: bringing a spare file into use, and appending to it.
//!
//! A spare becomes a segment in one step that cannot be seen half done: both header copies (synced apart), the
//! checkpoint and, after a recovery, the rewritten tail are durable before the file is renamed to a segment's
//! name, and the name is durable before anyone relies on it.

use super::batch::{Content, Place, batch_bytes, encode};
use super::checkpoint::{Checkpoint, PreviousEnd};
use super::directory::{Directory, Placed, segment_name};
use super::error::WalError;
use super::format::{BLOCK_BYTES, DATA_OFFSET, HEADER_OFFSETS, bytes_of};
use super::header::SegmentHeader;
use super::record::{Vote, WalRecord};
use crate::env::OpenMode;
use crate::types::{LogId, LogIndex};

/// The segment that takes new batches. Made in this incarnation, always.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Placed,
    pub(super) header: SegmentHeader,
    /// Where the next batch goes.
    pub(super) offset: u64,
    /// The last batch's checksum.
    pub(super) chain: u32,
    /// The highest index of an entry in it.
    pub(super) last_index: Option<LogIndex>,
    /// The vote its checkpoint carries.
    pub(super) checkpoint_vote: Option<Vote>,
    /// Whether anything was written into it since it got its name: the proof that the name is durable.
    pub(super) used: bool,
}

/// What a new segment begins with.
#[derive(Debug)]
pub(super) struct Founding<'a> {
    pub(super) header: SegmentHeader,
    /// `durable_through` is filled in here.
    pub(super) checkpoint: Checkpoint,
    /// Records that recovery rewrites; empty when a full segment is followed.
    pub(super) tail: &'a [WalRecord],
    /// The commit mark that goes with the tail.
    pub(super) committed: Option<LogId>,
}

/// The size of a segment that must take a batch of `bytes`: the usual one, or as large as it must be.
pub(super) fn segment_bytes_for(usual: u64, bytes: u64) -> u64 {
    // Beside the checkpoint and the batch there is always room for a seal and the link.
    usual.max(DATA_OFFSET.saturating_add(3 * BLOCK_BYTES).saturating_add(bytes))
}

/// The padded size of a tail, 0 when there is none.
pub(super) fn tail_bytes(tail: &[WalRecord]) -> u64 {
    if tail.is_empty() { 0 } else { batch_bytes(tail) }
}

/// The highest index of an entry among `records`.
pub(super) fn highest_index(records: &[WalRecord]) -> Option<LogIndex> {
    let index = |record: &WalRecord| match record {
        WalRecord::Entry(entry) => Some(entry.log_id.index),
        _ => None,
    };
    records.iter().filter_map(index).max()
}

/// Turns the spare file `spare`, made in this process, into the segment that `founding` describes.
pub(super) fn found(dir: &Directory, spare: &str, founding: &Founding<'_>) -> Result<Active, WalError> {
    let header = founding.header;
    let tail_offset = DATA_OFFSET.saturating_add(BLOCK_BYTES);
    let end = tail_offset.saturating_add(tail_bytes(founding.tail));
    assert!(
        end.saturating_add(BLOCK_BYTES) <= header.length_bytes,
        "a new segment holds its checkpoint, tail and link"
    );
    let file = dir.open_file(spare, OpenMode::ReadWrite)?;
    let copy = header.encode();
    let [first, second] = HEADER_OFFSETS;
    file.write(first, &copy)?;
    file.sync(first)?;
    file.write(second, &copy)?;

    let checkpoint = Checkpoint { durable_through: end, ..founding.checkpoint };
    let mut data = Vec::new();
    let place = Place {
        segment: header.id,
        offset: DATA_OFFSET,
        durable: DATA_OFFSET,
        previous: chain_of(checkpoint.previous),
        committed: checkpoint.committed,
    };
    let mut chain = encode(&mut data, &place, Content::Checkpoint(&checkpoint));
    assert_eq!(bytes_of(data.len()), BLOCK_BYTES, "a checkpoint takes one block");
    if !founding.tail.is_empty() {
        let place = Place { offset: tail_offset, previous: chain, committed: founding.committed, ..place };
        chain = encode(&mut data, &place, Content::Records(founding.tail));
    }
    file.write(DATA_OFFSET, &data)?;
    // The planted bug names the file first and leaves its sync to the first batch.
    if !crate::mutant!("wal-segment-named-before-it-is-durable") {
        file.sync(DATA_OFFSET)?;
    }
    let name = segment_name(header.id.sequence);
    dir.rename(spare, &name)?;
    Ok(Active {
        file: file.renamed(dir.path_of(&name)),
        header,
        offset: end,
        chain,
        last_index: highest_index(founding.tail),
        checkpoint_vote: checkpoint.vote,
        used: false,
    })
}

/// What a checkpoint's batch carries as its predecessor's checksum.
pub(super) fn chain_of(previous: Option<PreviousEnd>) -> u32 {
    previous.map_or(0, |previous| previous.chain)
}

impl Active {
    /// Whether a batch of `bytes`, and a link behind it, still fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.offset.saturating_add(bytes).saturating_add(BLOCK_BYTES) <= self.header.length_bytes
    }

    /// Writes one batch in one piece. It is durable only after [`Active::sync`].
    pub(super) fn write(
        &mut self,
        buffer: &mut Vec<u8>,
        content: Content<'_>,
        committed: Option<LogId>,
    ) -> Result<u64, WalError> {
        buffer.clear();
        let place = Place {
            segment: self.header.id,
            offset: self.offset,
            // One batch is in flight at a time, so everything before this one has been synced.
            durable: self.offset,
            previous: self.chain,
            committed,
        };
        let chain = encode(buffer, &place, content);
        let bytes = bytes_of(buffer.len());
        let end = self.offset.saturating_add(bytes);
        assert!(end <= self.header.length_bytes, "a batch ends inside its segment");
        self.file.write(self.offset, buffer)?;
        self.offset = end;
        self.chain = chain;
        self.used = true;
        Ok(bytes)
    }

    /// Makes every batch written so far durable.
    pub(super) fn sync(&self) -> Result<(), WalError> {
        self.file.sync(self.offset)
    }
}
