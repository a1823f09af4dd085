//! Reading one segment back: which batches count, what is known to be durable, and whether a bad batch is a
//! torn tail or corruption.
//!
//! A place is *vouched for* when something that checks out says it was durable: the header of any later batch,
//! the checkpoint of this segment (for what was synced before the file got its name) or of the next one (for
//! everything up to the stated end). A bad batch at a vouched place is corruption. A bad last batch that nothing
//! vouches for was never promised to anyone: it is cut. Pure: works on the segment's image in memory.

use super::batch::{BatchHeader, BatchKind, HeadRead, read_body, read_head};
use super::checkpoint::{Checkpoint, Link, PreviousEnd};
use super::error::WalError;
use super::format::{BLOCK_BYTES, DATA_OFFSET, bytes_of, len_of};
use super::header::SegmentHeader;
use super::record::Decoded;
use super::segment::chain_of;

/// A batch that checks out.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) offset: u64,
    pub(super) header: BatchHeader,
    pub(super) records: Vec<Decoded>,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Beginning with the checkpoint.
    pub(super) batches: Vec<Batch>,
    /// Everything below is known to be durable.
    pub(super) durable: u64,
    /// Behind the last batch that counts.
    pub(super) end: u64,
    /// Where a batch was found torn.
    pub(super) torn: Option<u64>,
    /// The next segment, when this one is full.
    pub(super) link: Option<Link>,
}

/// Reads the image of a segment, from byte 0. `stated_end` is what the next segment's checkpoint says; without
/// it this is the last segment.
pub(super) fn scan(
    image: &[u8],
    file: &str,
    header: &SegmentHeader,
    stated_end: Option<&PreviousEnd>,
) -> Result<Scanned, WalError> {
    let mut scan = Scan { image, file, header, durable: DATA_OFFSET, at: DATA_OFFSET, chain: None };
    let mut batches: Vec<Batch> = Vec::new();
    let mut link = None;
    let mut torn = None;
    if let Some(stated) = stated_end {
        scan.durable = scan.durable.max(stated.end);
    }
    loop {
        if stated_end.is_some_and(|stated| scan.at >= stated.end) || link.is_some() {
            break;
        }
        match scan.next()? {
            Next::Batch(batch) => {
                if batches.is_empty() {
                    let checkpoint = first_checkpoint(&batch).ok_or_else(|| {
                        scan.corrupt(batch.offset, "the segment does not begin with a checkpoint")
                    })?;
                    scan.durable = scan.durable.max(checkpoint.durable_through);
                }
                link = batch.records.iter().find_map(|record| match record {
                    Decoded::Link(link) => Some(*link),
                    _ => None,
                });
                batches.push(batch);
            }
            Next::Bad { offset, what, recognised } => {
                // A file has its name only after its checkpoint was synced.
                // Two planted bugs: one cuts what was vouched for, one refuses what nothing vouches for.
                let vouched =
                    scan.vouched_beyond() && !crate::mutant!("wal-corruption-taken-for-a-torn-tail");
                let rotten = recognised && crate::mutant!("wal-torn-tail-taken-for-corruption");
                if batches.is_empty() || vouched || rotten {
                    return Err(scan.corrupt(offset, what));
                }
                torn = recognised.then_some(scan.at);
                break;
            }
            Next::End => break,
        }
    }
    if let Some(stated) = stated_end
        && (scan.at != stated.end || scan.chain != Some(stated.chain))
    {
        return Err(scan.corrupt(scan.at, "the segment does not end as the next one's checkpoint states"));
    }
    // Nothing at all stands behind the last batch, but something says that more was durable.
    if scan.durable > scan.at {
        return Err(scan.corrupt(scan.at, "a batch that was durable is gone"));
    }
    Ok(Scanned { batches, durable: scan.durable, end: scan.at, torn, link })
}

fn first_checkpoint(batch: &Batch) -> Option<&Checkpoint> {
    match batch.records.as_slice() {
        [Decoded::Checkpoint(checkpoint)] if batch.header.kind == BatchKind::Checkpoint => Some(checkpoint),
        _ => None,
    }
}

/// The checkpoint of a segment and its batch, read alone: the segment before needs it first.
pub(super) fn read_checkpoint(
    image: &[u8],
    file: &str,
    header: &SegmentHeader,
) -> Result<Checkpoint, WalError> {
    let mut scan = Scan { image, file, header, durable: DATA_OFFSET, at: DATA_OFFSET, chain: None };
    match scan.next()? {
        Next::Batch(batch) => {
            let checkpoint = *first_checkpoint(&batch)
                .ok_or_else(|| scan.corrupt(DATA_OFFSET, "the segment does not begin with a checkpoint"))?;
            if batch.header.previous != chain_of(checkpoint.previous) {
                return Err(scan.corrupt(DATA_OFFSET, "the checkpoint contradicts its batch"));
            }
            Ok(checkpoint)
        }
        Next::Bad { offset, what, .. } => Err(scan.corrupt(offset, what)),
        Next::End => Err(scan.corrupt(DATA_OFFSET, "the segment has no checkpoint")),
    }
}

struct Scan<'a> {
    image: &'a [u8],
    file: &'a str,
    header: &'a SegmentHeader,
    durable: u64,
    at: u64,
    /// The checksum of the batch before `at`; `None` before the first.
    chain: Option<u32>,
}

enum Next {
    Batch(Batch),
    Bad {
        offset: u64,
        what: &'static str,
        /// Whether this is surely a batch of this use, and not what an earlier one left.
        recognised: bool,
    },
    End,
}

impl Scan<'_> {
    fn corrupt(&self, offset: u64, what: &str) -> WalError {
        WalError::Corrupt { file: self.file.to_owned(), offset, what: what.to_owned() }
    }

    fn next(&mut self) -> Result<Next, WalError> {
        let Some(bytes) = self.image.get(len_of(self.at)..).filter(|bytes| !bytes.is_empty()) else {
            return Ok(Next::End);
        };
        let bad = |offset, what, recognised| Ok(Next::Bad { offset, what, recognised });
        let header = match read_head(bytes, self.header.id, self.at) {
            HeadRead::Valid(header) => header,
            HeadRead::Damaged => return bad(self.at, "a damaged batch header", true),
            HeadRead::Foreign => return bad(self.at, "no batch where one must be", false),
        };
        if self.chain.is_some_and(|chain| chain != header.previous) {
            // The header stands, and says that what is before it was durable: so that was replaced or lost.
            return Err(self.corrupt(self.at, "the batch does not follow the one before it"));
        }
        if header.durable > self.at {
            return Err(self.corrupt(self.at, "the batch claims bytes behind itself to be durable"));
        }
        self.durable = self.durable.max(header.durable);
        match read_body(bytes, &header, self.header.id.salt) {
            Ok(records) => {
                let offset = self.at;
                self.at = self.at.saturating_add(header.span());
                self.chain = Some(header.chain);
                Ok(Next::Batch(Batch { offset, header, records }))
            }
            Err(inside) => bad(self.at.saturating_add(inside), "a damaged record", true),
        }
    }

    /// Whether anything says that the bytes at the current place were durable.
    fn vouched_beyond(&self) -> bool {
        let behind = self.at.saturating_add(BLOCK_BYTES);
        self.durable > self.at
            || headers_from(self.image, self.header, behind).any(|header| header.durable > self.at)
    }
}

/// Every batch header of this use of the segment at or behind `from`, whatever stands between them.
fn headers_from<'a>(
    image: &'a [u8],
    header: &'a SegmentHeader,
    from: u64,
) -> impl Iterator<Item = BatchHeader> + 'a {
    let blocks = (from / BLOCK_BYTES)..bytes_of(image.len()).div_ceil(BLOCK_BYTES);
    blocks.filter_map(move |block| {
        let at = block.saturating_mul(BLOCK_BYTES);
        match read_head(image.get(len_of(at)..)?, header.id, at) {
            HeadRead::Valid(header) => Some(header),
            HeadRead::Damaged | HeadRead::Foreign => None,
        }
    })
}

/// Whether anything was written to the segment after it had got its name.
pub(super) fn is_used(image: &[u8], header: &SegmentHeader, checkpoint: &Checkpoint) -> bool {
    headers_from(image, header, checkpoint.durable_through).next().is_some()
}

/// The link that stands at `at` alone, when one does.
pub(super) fn read_link(block: &[u8], header: &SegmentHeader, at: u64) -> Option<Link> {
    let HeadRead::Valid(batch) = read_head(block, header.id, at) else { return None };
    match read_body(block, &batch, header.id.salt).ok()?.as_slice() {
        [Decoded::Link(link)] => Some(*link),
        _ => None,
    }
}
