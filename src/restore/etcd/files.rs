//! The files of etcd's log. Source: etcd 3.5, `server/wal`.
//!
//! A file `<sequence>-<first index>.wal` holds frames: eight bytes little-endian (the lower seven the length of what follows;
//! in the highest one, if its first bit is set, how many bytes of padding follow that), then a record, then padding. A
//! length of zero ends a file. Each record carries a CRC-32C over the content of all records before it in all files, and its
//! own; a file begins with one that states what it was at the end of the file before.
//!
//! Everything is read once to check it and to learn which entry stands where: one that comes later at an index takes away what
//! stood there and behind it. Contents are read again when they are needed, so the log is never whole in memory.
//!
//! A record of the last file that is bad was torn while it was written, if the file ends within it, or if it has a sector of
//! zeros; if, either way, there is nothing but zeros behind it; and if the length in its frame is the one that the record
//! itself comes to, as far as that was written. Anything else bad is damage: what stands behind it may have been
//! acknowledged, and nothing is restored without it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost::encoding::decode_varint;

use crate::env::{Disk, File, OpenMode};
use crate::restore::RestoreError;
use crate::types::{LogId, LogIndex, Term};

/// The kinds of records.
const KIND_ENTRY: i64 = 2;
const KIND_STATE: i64 = 3;
const KIND_CRC: i64 = 4;

/// The kind of entries that carry requests.
const ENTRY_NORMAL: i32 = 0;

/// Bytes before a record.
const FRAME_HEAD_BYTES: u64 = 8;
/// Bytes that a disk writes at once.
const SECTOR_BYTES: u64 = 512;
/// The largest record that is believed, bytes.
const RECORD_BYTES_MAX: u64 = 1 << 30;
/// Bytes within which a record says how long its content is.
const RECORD_HEAD_BYTES_MAX: usize = 16;
/// Bytes read at once where nothing should be.
const BLANK_BYTES: u64 = 1 << 16;

/// What to do without this log.
const ADVICE: &str = "take an image instead, from a running member: etcdctl snapshot save";

/// A record of the log.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(uint32, tag = "2")]
    crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}

/// What consensus made durable of itself.
#[derive(Clone, PartialEq, Message)]
struct HardState {
    #[prost(uint64, tag = "3")]
    commit: u64,
}

/// An entry of the log.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
    /// What it carries.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

impl Entry {
    /// Whether it carries a request, and not nothing, or who votes.
    pub fn is_request(&self) -> bool {
        self.kind == ENTRY_NORMAL && !self.data.is_empty()
    }
}

/// Where the record of an entry stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    offset: u64,
    bytes: usize,
}

/// The files, and which entries of theirs count.
pub struct Files {
    dir: PathBuf,
    files: Vec<(PathBuf, Arc<dyn File>)>,
    entries: BTreeMap<u64, Place>,
    commit: u64,
    crc: u32,
    /// Where a write was torn that ends the log.
    pub torn: Option<String>,
}

/// What stands at a place of a file.
enum Frame {
    /// A record, and where the frame behind it begins.
    Record(Vec<u8>, u64),
    /// Nothing more.
    End,
    /// Its end is missing: how many bytes the record should have, and the first of those that are there.
    Cut(u64, Vec<u8>),
}

impl Files {
    /// Reads the log in `dir`; entries up to `applied` are passed over.
    ///
    /// # Errors
    /// See [`RestoreError`]: damage, or a gap behind `applied`.
    pub fn read(disk: &dyn Disk, dir: &Path, applied: LogIndex) -> Result<Files, RestoreError> {
        let names = disk.list(dir).map_err(|error| RestoreError::unreadable(dir, error))?;
        let mut sequences = Vec::new();
        let mut files = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(".wal")) {
            let path = dir.join(name);
            sequences.push(
                sequence_of(name).ok_or_else(|| RestoreError::content(&path, "it is no name of a log's"))?,
            );
            let file =
                disk.open(&path, OpenMode::Read).map_err(|error| RestoreError::unreadable(&path, error))?;
            files.push((path, file));
        }
        let mut read =
            Files { dir: dir.to_owned(), files, entries: BTreeMap::new(), commit: 0, crc: 0, torn: None };
        let gap = sequences.windows(2).any(|pair| matches!(pair, [a, b] if a.checked_add(1) != Some(*b)));
        if gap || sequences.is_empty() {
            return Err(read.wrong("files of the log are missing"));
        }
        for number in 0..read.files.len() {
            read.file(number, applied)?;
        }
        read.complete(applied)?;
        Ok(read)
    }

    /// The error that `what` is wrong with the log.
    pub fn wrong(&self, what: impl ToString) -> RestoreError {
        RestoreError::content(&self.dir, what)
    }

    /// How many of the entries are not known to be committed.
    pub fn beyond_commit(&self) -> usize {
        self.entries.range(self.commit.saturating_add(1)..).count()
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Result<(LogId, Entry), RestoreError>> {
        self.entries.values().map(|place| {
            let (path, file) = self.files.get(place.file).ok_or_else(|| self.wrong("a file is gone"))?;
            let mut bytes = vec![0; place.bytes];
            file.read_at(place.offset, &mut bytes).map_err(|error| RestoreError::unreadable(path, error))?;
            let record = Record::decode(bytes.as_slice());
            let entry = record.and_then(|record| Entry::decode(record.data));
            let entry = entry.map_err(|error| RestoreError::content(path, error))?;
            Ok((LogId { term: Term(entry.term), index: LogIndex(entry.index) }, entry))
        })
    }

    /// Reads one file.
    fn file(&mut self, number: usize, applied: LogIndex) -> Result<(), RestoreError> {
        let is_last = number.saturating_add(1) == self.files.len();
        let Some((path, file)) = self.files.get(number).cloned() else { return Ok(()) };
        let unreadable = |error| RestoreError::unreadable(&path, error);
        let damaged = |at: u64, what: &str| {
            RestoreError::content(&path, format!("damaged at offset {at}: {what}: {ADVICE}"))
        };
        let mut at = 0;
        loop {
            let (bytes, next) = match frame(&*file, at).map_err(unreadable)? {
                Frame::End if is_last && !is_blank(&*file, at).map_err(unreadable)? => {
                    return Err(damaged(at, "it ends there, and something stands behind"));
                }
                Frame::End => return Ok(()),
                Frame::Cut(bytes, begin) if is_last && may_have(&begin, bytes) => {
                    self.torn = Some(format!("{} at offset {at}", path.display()));
                    return Ok(());
                }
                Frame::Cut(..) => return Err(damaged(at, "the file ends within a record")),
                Frame::Record(bytes, next) => (bytes, next),
            };
            let content = at.saturating_add(FRAME_HEAD_BYTES);
            let place = Place { file: number, offset: content, bytes: bytes.len() };
            if let Err(what) = self.record(&bytes, place, applied) {
                if is_last && is_torn(&bytes, content) && is_blank(&*file, next).map_err(unreadable)? {
                    self.torn = Some(format!("{} at offset {at}", path.display()));
                    return Ok(());
                }
                return Err(damaged(at, &what));
            }
            at = next;
        }
    }

    /// Takes in one record.
    fn record(&mut self, bytes: &[u8], place: Place, applied: LogIndex) -> Result<(), String> {
        let record = Record::decode(bytes).map_err(|error| error.to_string())?;
        if record.kind == KIND_CRC {
            // What was summed up before the oldest file is not known.
            if self.crc != 0 && self.crc != record.crc {
                return Err("it does not follow the file before it".to_owned());
            }
            self.crc = record.crc;
            return Ok(());
        }
        let crc = crc32c::crc32c_append(self.crc, &record.data);
        if crc != record.crc {
            return Err("its checksum is wrong".to_owned());
        }
        match record.kind {
            KIND_ENTRY => {
                let entry = Entry::decode(record.data).map_err(|error| error.to_string())?;
                self.entries.split_off(&entry.index);
                if entry.index > applied.0 {
                    self.entries.insert(entry.index, place);
                }
            }
            KIND_STATE => {
                self.commit = HardState::decode(record.data).map_err(|error| error.to_string())?.commit;
            }
            // Whose log it is, and which snapshots there were.
            _ => {}
        }
        self.crc = crc;
        Ok(())
    }

    /// Whether the entries follow the state without a gap.
    fn complete(&self, applied: LogIndex) -> Result<(), RestoreError> {
        for (index, expected) in self.entries.keys().zip(applied.0.saturating_add(1)..) {
            if *index != expected {
                return Err(
                    self.wrong(format!("entry {expected}, which its state lacks, is missing: {ADVICE}"))
                );
            }
        }
        let last = self.entries.last_key_value().map_or(applied.0, |(index, _)| *index);
        if self.commit > last {
            let commit = self.commit;
            return Err(self.wrong(format!("it ends at entry {last}, but {commit} was committed: {ADVICE}")));
        }
        Ok(())
    }
}

/// The number of a file, by its name.
fn sequence_of(name: &str) -> Option<u64> {
    let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
    u64::from_str_radix(index, 16).ok()?;
    u64::from_str_radix(sequence, 16).ok()
}

fn frame(file: &dyn File, at: u64) -> std::io::Result<Frame> {
    let len = file.len()?;
    let content = at.saturating_add(FRAME_HEAD_BYTES);
    if content > len {
        let is_over = is_blank(file, at)?;
        return Ok(if is_over { Frame::End } else { Frame::Cut(0, Vec::new()) });
    }
    let mut head = [0; 8];
    file.read_at(at, &mut head)?;
    let head = u64::from_le_bytes(head);
    if head == 0 {
        return Ok(Frame::End);
    }
    let bytes = head & (u64::MAX >> 8);
    let padding = if head >> 63 == 1 { (head >> 56) & 7 } else { 0 };
    let next = content.saturating_add(bytes).saturating_add(padding);
    let is_cut = next > len || bytes > RECORD_BYTES_MAX;
    let there = if is_cut { bytes.min(len.saturating_sub(content)).min(SECTOR_BYTES) } else { bytes };
    let mut record = vec![0; usize::try_from(there).unwrap_or(usize::MAX)];
    file.read_at(content, &mut record)?;
    Ok(if is_cut { Frame::Cut(bytes, record) } else { Frame::Record(record, next) })
}

/// Whether a file holds nothing but zeros from `at` on.
fn is_blank(file: &dyn File, at: u64) -> std::io::Result<bool> {
    let (mut at, len) = (at, file.len()?);
    while at < len {
        let mut bytes = vec![0; usize::try_from(BLANK_BYTES.min(len.saturating_sub(at))).unwrap_or(0)];
        file.read_at(at, &mut bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at = at.saturating_add(BLANK_BYTES);
    }
    Ok(true)
}

/// Whether a record that begins like this may have so many bytes, by what it says itself. One that ends before it says so
/// may.
fn may_have(begin: &[u8], bytes: u64) -> bool {
    let Some(head) = begin.get(..RECORD_HEAD_BYTES_MAX) else { return true };
    stated_bytes(head) == Some(bytes)
}

/// How many bytes a record has, by its head: the length of its content, which is the last of it.
fn stated_bytes(head: &[u8]) -> Option<u64> {
    let mut rest = head;
    let mut number = |tag: u64| {
        let key = decode_varint(&mut rest).ok()?;
        let number = decode_varint(&mut rest).ok()?;
        (key >> 3 == tag).then_some(number)
    };
    number(1)?;
    number(2)?;
    let content = number(3)?;
    u64::try_from(head.len().saturating_sub(rest.len())).ok()?.checked_add(content)
}

/// Whether a sector of the bytes, which begin at `offset`, was never written, and what was written bears out how many they
/// are.
fn is_torn(bytes: &[u8], offset: u64) -> bool {
    let first = usize::try_from(SECTOR_BYTES.saturating_sub(offset % SECTOR_BYTES)).unwrap_or(usize::MAX);
    let (first, rest) = bytes.split_at(first.min(bytes.len()));
    let sectors = rest.chunks(usize::try_from(SECTOR_BYTES).unwrap_or(usize::MAX));
    let mut written = 0_usize;
    for sector in std::iter::once(first).chain(sectors) {
        if !sector.is_empty() && sector.iter().all(|byte| *byte == 0) {
            let begin = bytes.get(..written).unwrap_or(bytes);
            return u64::try_from(bytes.len()).is_ok_and(|len| may_have(begin, len));
        }
        written = written.saturating_add(sector.len());
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::env::real::RealDisk;

    /// A log in the making: its bytes, and what all before sums up to.
    #[derive(Clone, Default)]
    pub(crate) struct Made {
        pub(crate) bytes: Vec<u8>,
        crc: u32,
    }

    impl Made {
        fn record(mut self, kind: i64, data: &[u8]) -> Made {
            self.crc = if kind == KIND_CRC { self.crc } else { crc32c::crc32c_append(self.crc, data) };
            let record = Record { kind, crc: self.crc, data: Bytes::copy_from_slice(data) }.encode_to_vec();
            let padding = record.len().wrapping_neg() % 8;
            let head = u64::try_from(record.len()).unwrap()
                | if padding > 0 { (0x80 | u64::try_from(padding).unwrap()) << 56 } else { 0 };
            self.bytes.extend_from_slice(&head.to_le_bytes());
            self.bytes.extend_from_slice(&record);
            self.bytes.resize(self.bytes.len() + padding, 0);
            self
        }

        pub(crate) fn entry(self, term: u64, index: u64, data: &str) -> Made {
            let data = Bytes::copy_from_slice(data.as_bytes());
            self.record(KIND_ENTRY, &Entry { kind: ENTRY_NORMAL, term, index, data }.encode_to_vec())
        }

        pub(crate) fn commit(self, commit: u64) -> Made {
            self.record(KIND_STATE, &HardState { commit }.encode_to_vec())
        }

        /// The same log in the next file.
        fn next_file(&self) -> Made {
            Made { bytes: Vec::new(), crc: self.crc }.record(KIND_CRC, &[])
        }
    }

    /// A log in these files, of a state that has `applied`. The files stay open, their folder goes.
    pub(crate) fn files_of(files: &[Vec<u8>], applied: LogIndex) -> Result<Files, RestoreError> {
        let dir = tempfile::tempdir().unwrap();
        for (number, bytes) in files.iter().enumerate() {
            let name = format!("{number:016x}-{:016x}.wal", number * 10);
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        Files::read(&RealDisk, dir.path(), applied)
    }

    /// What is read of it; entries as `term.index data`.
    fn read(files: &[Vec<u8>], applied: u64) -> Result<(Vec<String>, usize, bool), String> {
        let read = files_of(files, LogIndex(applied)).map_err(|error| error.to_string())?;
        let entries = read.entries().map(|entry| {
            let (at, entry) = entry.unwrap();
            format!("{}.{} {}", at.term.0, at.index.0, String::from_utf8_lossy(&entry.data))
        });
        Ok((entries.collect(), read.beyond_commit(), read.torn.is_some()))
    }

    fn log() -> Made {
        let begun = Made::default().record(KIND_CRC, &[]).record(1, b"whose");
        begun.entry(1, 1, "a").commit(1).entry(1, 2, "b").entry(1, 3, "lost").entry(2, 3, "c").commit(2)
    }

    #[test]
    fn entries_behind_the_state_are_read_and_a_later_one_takes_what_stood_there_away() {
        let (first, second) = (log(), log().next_file().entry(2, 4, "d"));
        let preallocated = [&second.bytes[..], &[0; 2_000]].concat();
        let files = [first.bytes, preallocated];
        let all = ["1.1 a", "1.2 b", "2.3 c", "2.4 d"].map(str::to_owned);
        for applied in 0..=4 {
            let beyond = 2_u64.min(4 - applied);
            let want =
                (all[usize::try_from(applied).unwrap()..].to_vec(), usize::try_from(beyond).unwrap(), false);
            assert_eq!(read(&files, applied), Ok(want), "behind {applied}");
        }
    }

    #[test]
    fn what_is_missing_is_not_passed_over() {
        let (first, second) = (log(), log().next_file().entry(2, 4, "d"));
        let third = second.next_file().entry(2, 5, "e").commit(5);
        let fails = |files: &[Vec<u8>], applied, want: &str| {
            let error = read(files, applied).unwrap_err();
            assert!(error.contains(want), "want {want:?}, found {error:?}");
        };
        // The oldest files are gone, as they should be in time; the state does not reach as far as what is left.
        assert!(read(&[second.bytes.clone(), third.bytes.clone()], 3).is_ok());
        fails(&[second.bytes.clone(), third.bytes.clone()], 2, "entry 3, which its state lacks, is missing");
        fails(&[first.bytes.clone(), third.bytes.clone()], 0, "it does not follow the file before it");
        fails(&[], 0, "files of the log are missing");
        let ahead = log().commit(9);
        fails(&[ahead.bytes], 0, "it ends at entry 3, but 9 was committed");
    }

    #[test]
    fn damage_is_told_from_a_torn_end() {
        let long = "x".repeat(1_500);
        let whole = log().entry(2, 4, &long);
        let begin = log().bytes.len();
        let mut torn = whole.bytes.clone();
        let sector = begin.next_multiple_of(512);
        torn[sector..sector + 512].fill(0);
        let kept = read(std::slice::from_ref(&whole.bytes), 0).unwrap();
        let without = read(&[log().bytes], 0).unwrap();
        assert_eq!((kept.0.len(), kept.2, without.0.len()), (4, false, 3));
        for (what, bytes) in
            [("a sector of zeros", torn.clone()), ("cut off", whole.bytes[..begin + 700].to_vec())]
        {
            let (entries, _, is_torn) = read(&[bytes], 0).unwrap();
            assert_eq!((entries, is_torn), (without.0.clone(), true), "{what}");
        }
        // Files are made longer than they need be; a head cut short is torn too.
        let begun = [&log().bytes[..], &[9, 0, 0]].concat();
        let torn_within = [&torn[..], &[0; 3_000]].concat();
        for (what, bytes) in [("a piece of a head", begun), ("a longer file", torn_within)] {
            let (entries, _, is_torn) = read(&[bytes], 0).unwrap();
            assert_eq!((entries, is_torn), (without.0.clone(), true), "{what}");
        }
        // Anything else is damage, and so is a tear that something follows.
        let mut flipped = whole.bytes.clone();
        flipped[begin + 700] ^= 1;
        assert!(read(&[flipped], 0).unwrap_err().contains(&format!("damaged at offset {begin}")));
        let after = whole.next_file().entry(2, 5, "e");
        assert!(read(&[torn, after.bytes.clone()], 0).unwrap_err().contains("its checksum is wrong"));
        let cut = whole.bytes[..begin + 700].to_vec();
        assert!(read(&[cut, after.bytes], 0).unwrap_err().contains("the file ends within a record"));
    }

    /// Whatever is bad with one entry, those behind it were acknowledged: without them nothing is restored.
    #[test]
    fn damage_with_entries_behind_it_is_no_end() {
        let zeros = "\0".repeat(1_500);
        let before = log();
        let behind = log().entry(2, 4, &zeros).entry(2, 5, "e").commit(5);
        let begin = before.bytes.len();
        let kept = read(std::slice::from_ref(&behind.bytes), 0).unwrap();
        assert_eq!((kept.0.len(), kept.1, kept.2), (5, 0, false));
        let flip = |at: usize, bit: u8| {
            let mut bytes = behind.bytes.clone();
            bytes[at] ^= bit;
            bytes
        };
        let mut headless = behind.bytes.clone();
        headless[begin..begin + 8].fill(0);
        // How much longer the file is than it need be decides where a length that is too large ends.
        for spare in [0, 1_000, 1 << 17] {
            for (what, bytes) in [
                ("a length of a few bytes less", flip(begin, 1 << 2)),
                ("a length of 64 KiB more", flip(begin + 2, 1)),
                ("a length of 64 MiB more", flip(begin + 3, 1 << 2)),
                ("a length of 1 TiB more", flip(begin + 5, 1)),
                ("a bit of its value", flip(begin + 700, 1)),
                ("a bit of its checksum", flip(begin + 8 + 4, 1)),
                ("no head", headless.clone()),
            ] {
                let bytes = [&bytes[..], &vec![0; spare]].concat();
                let refused = read(&[bytes], 0).unwrap_err();
                assert!(
                    refused.contains(&format!(".wal: damaged at offset {begin}: "))
                        && refused
                            .ends_with("take an image instead, from a running member: etcdctl snapshot save"),
                    "{what}, {spare}: {refused}"
                );
            }
        }
    }
}
