//! Where the batches of a log segment stand, and what each vouches for, read from the segment's bytes.
//!
//! Knows the layout of `docs/wal.md` and no more than it needs: headers are checked, records are not read. It is a
//! second reading of the format on purpose: what the product can see must not be judged by the product's own code.

use std::ops::Range;

/// Where the first batch begins.
const DATA_OFFSET: u64 = 12_288;
/// What batches are padded to.
const BLOCK_BYTES: u64 = 4_096;
/// A batch's header.
const HEAD_BYTES: u64 = 80;
/// Where the checkpoint's own statement of how far its segment was durable stands, from its batch's beginning.
const FOUNDED_AT: u64 = HEAD_BYTES + 12 + 8;

/// The two copies of the segment's header.
pub(super) const HEADER_COPIES: [Range<u64>; 2] = [0..68, 4_096..4_164];

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Records of the log.
    Records,
    /// None: it vouches for what stands before it.
    Seal,
    /// The segment's beginning.
    Checkpoint,
    /// The name of the next segment.
    Link,
}

/// A batch whose header checks out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its header and records; padding left out.
    pub content: Range<u64>,
    /// What it is for.
    pub kind: BatchKind,
    /// Everything below this offset was durable before it was written.
    pub vouches: u64,
}

impl Batch {
    /// Its header.
    pub fn head(&self) -> Range<u64> {
        self.content.start..self.content.start + HEAD_BYTES
    }
}

/// A segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentMap {
    /// Its batches, one behind the other, up to the first that is none.
    pub batches: Vec<Batch>,
    /// What was written below this offset was durable before the segment got its name.
    pub founded: u64,
}

impl SegmentMap {
    /// Reads a segment's bytes.
    pub fn read(image: &[u8]) -> SegmentMap {
        let mut map = SegmentMap { batches: Vec::new(), founded: word(image, DATA_OFFSET + FOUNDED_AT) };
        let salt = word(image, 48);
        let mut at = DATA_OFFSET;
        while let Some(batch) = batch(image, at, salt) {
            at += (batch.content.end - at).div_ceil(BLOCK_BYTES) * BLOCK_BYTES;
            map.batches.push(batch);
        }
        map
    }

    /// Whether anything was written into it since it got its name.
    pub fn is_used(&self) -> bool {
        self.batches.iter().any(|batch| batch.content.start >= self.founded)
    }
}

fn slice(image: &[u8], from: u64, bytes: u64) -> Option<&[u8]> {
    let from = usize::try_from(from).ok()?;
    image.get(from..from.checked_add(usize::try_from(bytes).ok()?)?)
}

fn word(image: &[u8], at: u64) -> u64 {
    let bytes = slice(image, at, 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

fn half(image: &[u8], at: u64) -> u32 {
    let bytes = slice(image, at, 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

fn batch(image: &[u8], at: u64, salt: u64) -> Option<Batch> {
    let head = slice(image, at, HEAD_BYTES)?;
    let kind = match head.get(4)? {
        1 => BatchKind::Records,
        2 => BatchKind::Seal,
        3 => BatchKind::Checkpoint,
        4 => BatchKind::Link,
        _ => return None,
    };
    let sum = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), head.get(..76)?);
    let sound =
        head.starts_with(b"QBAT") && word(head, 8) == salt && word(head, 24) == at && half(head, 76) == sum;
    let end = at + HEAD_BYTES + u64::from(half(head, 56));
    sound.then(|| Batch { content: at..end, kind, vouches: word(head, 32) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use quorate::env::Entropy;
    use quorate::storage::wal::{Entry, Identity, Wal, WalOptions, WalRecord};
    use quorate::types::{ClusterId, LogId, LogIndex, MemberId, Term};
    use quorate_disk::{Config, Latency, SimDisk};

    struct Counting(std::sync::atomic::AtomicU64);

    impl Entropy for Counting {
        fn next_u64(&self) -> u64 {
            self.0.fetch_add(0x9E37_79B9, std::sync::atomic::Ordering::Relaxed)
        }
    }

    /// The product's own log, read by the map.
    #[test]
    fn the_map_finds_what_the_product_writes() {
        let disk = SimDisk::new(Config { latency: Latency::NONE, ..Config::new(1) });
        let identity = Identity { cluster: ClusterId(1), member: MemberId(2) };
        let options = WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() };
        let entropy: Arc<dyn Entropy> = Arc::new(Counting(7.into()));
        let (mut wal, _) = Wal::open(disk.mount(), Path::new("/wal"), identity, options, entropy).unwrap();
        for index in 0..3 {
            let log_id = LogId { term: Term(1), index: LogIndex(index) };
            let payload = bytes::Bytes::from(vec![b'x'; 5_000]);
            wal.commit(&[WalRecord::Entry(Entry { log_id, payload })], None).unwrap();
        }
        wal.seal().unwrap();
        let name = disk.files().into_iter().find(|name| name.ends_with(".wal")).unwrap();
        let map = SegmentMap::read(&disk.durable_bytes(Path::new(&name)).unwrap());
        let kinds: Vec<BatchKind> = map.batches.iter().map(|batch| batch.kind).collect();
        use BatchKind::{Checkpoint, Records, Seal};
        assert_eq!(kinds, [Checkpoint, Seal, Records, Records, Records, Seal]);
        assert_eq!(
            map.founded, map.batches[1].content.start,
            "the checkpoint alone was there from the start"
        );
        assert!(map.is_used());
        let starts: Vec<u64> = map.batches.iter().map(|batch| batch.content.start).collect();
        assert_eq!(starts, [12_288, 16_384, 20_480, 28_672, 36_864, 45_056]);
        assert!(map.batches[1..].iter().all(|batch| batch.vouches == batch.content.start));
    }

    #[test]
    fn what_is_no_segment_has_no_batches() {
        assert_eq!(SegmentMap::read(&[]), SegmentMap::default());
        assert_eq!(SegmentMap::read(&[0; 20_000]), SegmentMap::default());
        assert!(SegmentMap::read(&[b'Q'; 20_000]).batches.is_empty());
    }
}
