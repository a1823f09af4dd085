//! The files of etcd's log. Source: etcd 3.5, `server/wal`.
//!
//! A file `<sequence>-<first index>.wal` holds frames: eight bytes little-endian (the lower seven the length of what follows;
//! in the highest one, if its first bit is set, how many bytes of padding follow that), then a record, then padding. A
//! length of zero ends a file. Each record carries a CRC-32C over the content of all records before it in all files, and its
//! own; a file begins with one that states what it was at the end of the file before.
//!
//! Everything is read once to check it and to learn which entry stands where: one that comes later at an index takes away what
//! stood there and behind it. Contents are read again when they are needed, so the log is never whole in memory. What is bad
//! at the very end of the last file and has a sector of zeros, or is cut off, was torn while it was written; anything else
//! bad is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

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
    Record(Vec<u8>, u64),
    /// Nothing more.
    End,
    /// Its end is missing.
    Cut,
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
        let damaged =
            |at: u64, what: &str| RestoreError::content(&path, format!("damaged at offset {at}: {what}"));
        let mut at = 0;
        loop {
            let frame = frame(&*file, at).map_err(|error| RestoreError::unreadable(&path, error))?;
            let (bytes, next) = match frame {
                Frame::End => return Ok(()),
                Frame::Cut if is_last => {
                    self.torn = Some(format!("{} at offset {at}", path.display()));
                    return Ok(());
                }
                Frame::Cut => return Err(damaged(at, "the file ends within a record")),
                Frame::Record(bytes, next) => (bytes, next),
            };
            let content = at.saturating_add(FRAME_HEAD_BYTES);
            let place = Place { file: number, offset: content, bytes: bytes.len() };
            if let Err(what) = self.record(&bytes, place, applied) {
                if is_last && is_torn(&bytes, content) {
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
        let how = "take an image instead, from a running member: etcdctl snapshot save";
        for (index, expected) in self.entries.keys().zip(applied.0.saturating_add(1)..) {
            if *index != expected {
                return Err(self.wrong(format!("entry {expected}, which its state lacks, is missing: {how}")));
            }
        }
        let last = self.entries.last_key_value().map_or(applied.0, |(index, _)| *index);
        if self.commit > last {
            let commit = self.commit;
            return Err(self.wrong(format!("it ends at entry {last}, but {commit} was committed: {how}")));
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
        return Ok(Frame::End);
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
    if next > len || bytes > RECORD_BYTES_MAX {
        return Ok(Frame::Cut);
    }
    let mut record = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    file.read_at(content, &mut record)?;
    Ok(Frame::Record(record, next))
}

/// Whether a sector of the bytes, which begin at `offset`, was never written.
fn is_torn(bytes: &[u8], offset: u64) -> bool {
    let first = usize::try_from(SECTOR_BYTES.saturating_sub(offset % SECTOR_BYTES)).unwrap_or(usize::MAX);
    let (first, rest) = bytes.split_at(first.min(bytes.len()));
    let sectors = rest.chunks(usize::try_from(SECTOR_BYTES).unwrap_or(usize::MAX));
    std::iter::once(first)
        .chain(sectors)
        .any(|sector| !sector.is_empty() && sector.iter().all(|byte| *byte == 0))
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
        // Anything else is damage, and so is a tear that something follows.
        let mut flipped = whole.bytes.clone();
        flipped[begin + 700] ^= 1;
        assert!(read(&[flipped], 0).unwrap_err().contains(&format!("damaged at offset {begin}")));
        let after = whole.next_file().entry(2, 5, "e");
        assert!(read(&[torn, after.bytes.clone()], 0).unwrap_err().contains("its checksum is wrong"));
        let cut = whole.bytes[..begin + 700].to_vec();
        assert!(read(&[cut, after.bytes], 0).unwrap_err().contains("the file ends within a record"));
    }
}
