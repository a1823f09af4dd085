//! bbolt files: what is written is read back, both passes come to one layout, and damage is found out and never followed.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate::env::File;
use quorate::storage::bolt::{BoltError, BoltFile, BoltWriter, Layout, PAGE_BYTES};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A file that is only read.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl File for Memory {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(self.0.len()).map_err(io::Error::other)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = from.checked_add(buf.len()).and_then(|end| self.0.get(from..end));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// A file that counts the bytes that are read of it.
#[derive(Debug)]
struct Counted {
    memory: Memory,
    read: AtomicUsize,
}

impl Counted {
    fn of(bytes: Vec<u8>) -> Counted {
        Counted { memory: Memory(bytes), read: AtomicUsize::new(0) }
    }
}

impl File for Counted {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buf.len(), Ordering::Relaxed);
        self.memory.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.memory.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.memory.sync_data()
    }
}

/// The trees of a file with these buckets.
fn trees(buckets: &[(&str, Pairs)]) -> (Layout, BytesMut) {
    let (mut writer, mut out) = (BoltWriter::default(), BytesMut::new());
    for (name, pairs) in buckets {
        for (key, value) in pairs {
            writer.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value), &mut out);
        }
        writer.end_bucket(name, &mut out);
    }
    (writer.finish(&mut out), out)
}

/// A file with these buckets.
fn file(buckets: &[(&str, Pairs)]) -> Vec<u8> {
    let (layout, trees) = trees(buckets);
    let bytes = [layout.head(), trees].concat();
    assert_eq!(usize::try_from(layout.file_bytes()), Ok(bytes.len()));
    assert_eq!(bytes.len() % PAGE_BYTES, 0);
    bytes
}

/// The pairs of a bucket.
fn read(bytes: &[u8], bucket: &str) -> Result<Pairs, BoltError> {
    let file = BoltFile::open(Arc::new(Memory(bytes.to_vec())))?;
    let mut pairs = Vec::new();
    file.each(bucket.as_bytes(), &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok::<(), BoltError>(())
    })?;
    Ok(pairs)
}

/// So many pairs with keys and values of about these sizes.
fn pairs(count: usize, key_bytes: usize, value_bytes: usize) -> Pairs {
    let key = |nth: usize| format!("{nth:08}{}", "k".repeat(key_bytes.saturating_sub(8))).into_bytes();
    (0..count).map(|nth| (key(nth), vec![7; value_bytes + nth % 7])).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let buckets = [
        ("a", Vec::new()),
        ("b", pairs(1, 8, 0)),
        ("c", pairs(3, 10, 3 * PAGE_BYTES)),
        ("deep", pairs(9_000, 900, 10)),
        ("even", pairs(2, 8, PAGE_BYTES - 16 - 16 - 8)),
        ("z", pairs(20_000, 17, 60)),
    ];
    let bytes = file(&buckets);
    for (name, pairs) in &buckets {
        assert!(read(&bytes, name).unwrap() == *pairs, "bucket {name}");
    }
    assert_eq!(read(&bytes, "absent").unwrap(), Pairs::new());
    let opened = BoltFile::open(Arc::new(Memory(bytes.clone()))).unwrap();
    let names: Vec<Vec<u8>> = buckets.iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
    assert_eq!(opened.names().unwrap(), names);
    assert_eq!(usize::try_from(opened.bytes()), Ok(bytes.len()));
}

#[test]
fn no_byte_of_a_file_can_mislead_a_reader_into_more_than_it_holds() {
    let buckets = [("few", pairs(3, 8, 20)), ("many", pairs(300, 200, 30)), ("wide", pairs(2, 8, 9_000))];
    let sound = file(&buckets);
    let mut found_out = 0;
    for at in 0..sound.len() {
        // Heads and elements densely, contents here and there.
        if at % PAGE_BYTES >= 256 && at % 97 != 0 {
            continue;
        }
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = sound.clone();
            bytes[at] ^= flip;
            for (name, pairs) in &buckets {
                match read(&bytes, name) {
                    Ok(read) => assert!(read.len() <= pairs.len() * 2, "byte {at}: {} pairs", read.len()),
                    Err(_) => found_out += 1,
                }
            }
        }
    }
    assert!(found_out > 500, "{found_out}");
}

/// Pages of the file, each with its kind and how many elements it holds.
fn pages(bytes: &[u8]) -> Vec<(u16, u16)> {
    let mut pages = Vec::new();
    let mut page = 0;
    while let Some(head) = bytes.get(page * PAGE_BYTES..page * PAGE_BYTES + 16) {
        pages.push((u16::from_le_bytes([head[8], head[9]]), u16::from_le_bytes([head[10], head[11]])));
        let more = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        page += 1 + usize::try_from(more).unwrap();
    }
    pages
}

/// bbolt gives up over a branch with one child when that child is to be merged with a neighbour.
#[test]
fn every_branch_has_two_children_at_the_least() {
    const BRANCH: u16 = 1;
    // Values that make a leaf of each pair, around what one branch and two levels of them hold.
    let counts = [1, 2, 3, 122, 123, 124, 125, 126, 245, 246, 247, 248, 369, 15_129, 15_130, 15_252, 15_375];
    for key_bytes in [17, 8, 3_000] {
        for count in counts.into_iter().filter(|count| key_bytes == 17 || *count < 1_000) {
            let pairs = pairs(count, key_bytes, 2_100);
            let bytes = file(&[("key", pairs.clone())]);
            let branches: Vec<u16> =
                pages(&bytes).into_iter().filter(|page| page.0 == BRANCH).map(|page| page.1).collect();
            assert_eq!(branches.is_empty(), count == 1, "{count} leaves");
            assert!(
                branches.iter().all(|children| *children >= 2),
                "{count} leaves of {key_bytes}: {branches:?}"
            );
            assert_eq!(read(&bytes, "key").unwrap().len(), count);
        }
    }
}

/// A file with the empty bucket `b` whose pages from its tree on are these: each with its kind, the pages that it spans
/// beside itself, and its elements with what follows them.
fn hand_made(pages: &[(u16, u32, u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = file(&[("b", Vec::new())]);
    // Page 3 is the bucket's tree, page 4 the tree of buckets: the others follow.
    for (number, (kind, overflow, count, content)) in [3].into_iter().chain(5_u64..).zip(pages) {
        let mut page = number.to_le_bytes().to_vec();
        page.extend(kind.to_le_bytes());
        page.extend(count.to_le_bytes());
        page.extend(overflow.to_le_bytes());
        page.extend(content);
        page.resize(PAGE_BYTES, 0);
        let at = usize::try_from(number).unwrap() * PAGE_BYTES;
        bytes.resize(bytes.len().max(at + PAGE_BYTES), 0);
        bytes[at..at + PAGE_BYTES].copy_from_slice(&page);
    }
    let pages = u64::try_from(bytes.len() / PAGE_BYTES).unwrap();
    claiming(bytes, pages)
}

/// The file, which says that it has so many pages.
fn claiming(mut bytes: Vec<u8>, pages: u64) -> Vec<u8> {
    for meta in [16, PAGE_BYTES + 16] {
        bytes[meta + 40..meta + 48].copy_from_slice(&pages.to_le_bytes());
        let sum = bytes[meta..meta + 56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        bytes[meta + 56..meta + 64].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// A branch whose two elements lead to the same page.
fn twice(child: u64) -> (u16, u32, u16, Vec<u8>) {
    let element = [&[0; 8][..], &child.to_le_bytes()].concat();
    (1, 0, 2, [element.clone(), element].concat())
}

#[test]
fn a_file_made_to_take_for_ever_or_all_memory_is_refused() {
    let refused = |bytes: &[u8]| match read(bytes, "b") {
        Err(BoltError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    // Each page twice below the one before: more ways than could ever be gone.
    let mut forked: Vec<_> = (5..70).map(twice).collect();
    forked.push((2, 0, 0, Vec::new()));
    assert_eq!(refused(&hand_made(&forked)), "its tree has more pages than the file");
    assert_eq!(
        refused(&hand_made(&[twice(3)])),
        "its tree has more pages than the file",
        "a page below itself"
    );
    assert_eq!(refused(&hand_made(&[(2, u32::MAX, 0, Vec::new())])), "it spans more than the file");
    let element = |place: u32, key: u32, value: u32| {
        [0, place, key, value].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()
    };
    // The second pair's key is larger, and its value lies in the first one's.
    let overlapping = [element(32, 1, 3_000), element(17, 1, 3_000), b"ab".to_vec()].concat();
    assert_eq!(refused(&hand_made(&[(2, 0, 2, overlapping)])), "its pairs overlap");
    assert_eq!(refused(&hand_made(&[(2, 0, 1, element(16, 1, 9_000))])), "a pair reaches beyond it");
    assert_eq!(refused(&hand_made(&[(4, 0, 0, Vec::new())])), "it belongs to no tree");
    let mut short = hand_made(&[(2, 0, 0, Vec::new()), (2, 0, 0, Vec::new())]);
    short.truncate(3 * PAGE_BYTES);
    assert_eq!(refused(&short), "it is outside of the file");
}

/// What a reader holds and how much it reads is bounded by the file, whatever the file says of itself.
#[test]
fn no_number_in_a_file_is_worth_more_than_the_file() {
    let refused = |bytes: &[u8]| match read(bytes, "b") {
        Err(BoltError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let element = |child: u64| [&[0; 8][..], &child.to_le_bytes()].concat();
    let full = |child: u64| (1, 0, 250, element(child).repeat(250));
    // More pages than there are bytes: a page below itself would be gone through for ever, and noted ever more often.
    let many = "its tree has more pages than the file";
    assert_eq!(refused(&claiming(hand_made(&[full(3)]), 1 << 50)), many);
    assert_eq!(refused(&hand_made(&[full(3)])), many, "an honest count");
    // One wide leaf, ever again: each time all of it is read.
    let wide = 2_000;
    let leaves = |times: u16| (1, 0, times, element(5).repeat(usize::from(times)));
    let leaf = (2, wide - 1, 0, Vec::new());
    let with_leaf = |times| {
        let mut bytes = hand_made(&[leaves(times), leaf.clone()]);
        bytes.resize(bytes.len() + usize::try_from(wide - 1).unwrap() * PAGE_BYTES, 0);
        claiming(bytes, u64::from(wide) + 5)
    };
    assert_eq!(read(&with_leaf(1), "b").unwrap(), Pairs::new(), "once it is honest");
    let counted = Arc::new(Counted::of(with_leaf(250)));
    let file = BoltFile::open(counted.clone()).unwrap();
    let walked = file.each(b"b", &mut |_, _| Ok::<(), BoltError>(()));
    assert!(matches!(walked, Err(BoltError::Damaged { what, .. }) if what == many), "{walked:?}");
    let (read, size) = (counted.read.load(Ordering::Relaxed), counted.memory.0.len());
    assert!(read < 2 * size, "{read} bytes were read of {size}");
}

#[test]
fn either_meta_page_is_enough() {
    let buckets = [("b", pairs(500, 30, 100))];
    let sound = file(&buckets);
    for damaged in [0, 1] {
        let mut bytes = sound.clone();
        bytes[damaged * PAGE_BYTES + 40] ^= 1;
        assert!(read(&bytes, "b").unwrap() == buckets[0].1, "without meta page {damaged}");
    }
    let mut bytes = sound.clone();
    bytes[40] ^= 1;
    bytes[PAGE_BYTES + 40] ^= 1;
    assert!(matches!(read(&bytes, "b"), Err(BoltError::NoMeta)));
    assert!(matches!(read(b"", "b"), Err(BoltError::NoMeta)));
    assert!(matches!(read(&sound[..PAGE_BYTES * 4], "b"), Err(BoltError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pairs_come_back(
        sizes in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..300),
            prop_oneof![8 => 0_usize..200, 2 => 0_usize..6_000, 1 => 0_usize..20_000],
            0..120,
        )
    ) {
        let pairs: Pairs = sizes.into_iter().map(|(key, bytes)| (key, vec![7; bytes])).collect();
        let buckets = [("one", pairs.clone()), ("two", Vec::new())];
        let bytes = file(&buckets);
        prop_assert!(read(&bytes, "one").unwrap() == pairs);
    }
}
