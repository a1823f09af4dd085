//! A full copy of a state in one file: what an engine that does not survive a power loss is rebuilt from.
//!
//! Invariants: the file under its final name is whole, synced and named durably, or it is the previous one; a
//! reader that got to the end without an error has read exactly what was written. Neither side ever holds the
//! state whole in memory. This is not the file that clients get from Maintenance.Snapshot.
//!
//! Layout, big-endian. Header: magic (8), format (4), cluster (8), member (8), applied term (8) and index (8),
//! crc. Frames: kind (1), length of the body (4), body, crc. Every crc is the CRC-32C of the whole file up to
//! itself, so a frame that is missing, repeated or strayed from another file does not fit. A *chunk* frame holds
//! pairs: bucket (1), key length (4), value length (4), key, value. The one *end* frame holds the number of
//! pairs (8) and of their key and value bytes (8); nothing follows it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::env::{Disk, File, OpenMode};
use crate::machine::persist::Bucket;
use crate::storage::engine::{EngineError, IntegrityReport, PageLimit, Reader, successor};
use crate::storage::wal::Identity;
use crate::types::{ClusterId, LogId, LogIndex, MemberId, Term};

/// The format this version writes, and the newest it reads.
pub const SNAPSHOT_FORMAT_VERSION: u32 = 1;
/// A chunk is closed once it holds this many bytes.
const CHUNK_BYTES_TARGET: usize = 1 << 20;
/// A frame longer than this was not written by us, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Pairs taken from the engine at once.
const PAIRS_AT_ONCE: usize = 64;

const MAGIC: [u8; 8] = *b"QRTSNAPF";
const HEADER_BYTES: usize = 48;
const FRAME_HEAD_BYTES: usize = 5;
const CRC_BYTES: usize = 4;
const CHUNK: u8 = 1;
const END: u8 = 2;

/// A pair and where it belongs.
pub type Triple = (Bucket, Bytes, Bytes);

/// Whose snapshot, and of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFileHeader {
    /// The cluster and member whose state this is.
    pub identity: Identity,
    /// The last entry applied to it.
    pub applied: LogId,
}

/// Why a snapshot file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// There is none.
    #[error("snapshot file {path} does not exist")]
    Missing {
        /// The file.
        path: String,
    },
    /// The disk failed.
    #[error("snapshot file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The file is torn or rotten.
    #[error("snapshot file {path} is corrupt at offset {offset}: {what}")]
    Corrupt {
        /// The file.
        path: String,
        /// Where the part that is bad begins, in bytes.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The file is whole, but not this member's to read.
    #[error("snapshot file {path} is refused: {why}")]
    Refused {
        /// The file.
        path: String,
        /// Foreign or newer.
        why: String,
    },
    /// The engine that was to be copied failed.
    #[error("snapshot file {path}: {source}")]
    Engine {
        /// The file.
        path: String,
        /// What the engine said.
        source: EngineError,
    },
}

impl From<SnapshotFileError> for EngineError {
    /// What a bad snapshot file means to who wanted to build an engine from it.
    fn from(error: SnapshotFileError) -> EngineError {
        match error {
            SnapshotFileError::Missing { path } => {
                EngineError::Io { path, source: io::ErrorKind::NotFound.into() }
            }
            SnapshotFileError::Io { path, source } => EngineError::Io { path, source },
            SnapshotFileError::Corrupt { path, offset, what } => {
                EngineError::Corrupt { path, what: format!("at offset {offset}: {what}") }
            }
            SnapshotFileError::Refused { path, why } => EngineError::Refused { path, why },
            SnapshotFileError::Engine { source, .. } => source,
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> SnapshotFileError {
    let path = path.display().to_string();
    match source.kind() {
        io::ErrorKind::NotFound => SnapshotFileError::Missing { path },
        _ => SnapshotFileError::Io { path, source },
    }
}

/// A snapshot file being written, beside its final place.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    new: PathBuf,
    applied: LogId,
    file: Arc<dyn File>,
    offset: u64,
    crc: u32,
    chunk: Vec<u8>,
    written: IntegrityReport,
}

impl SnapshotWriter {
    /// Starts the file that will replace `path`. An unfinished attempt is overwritten.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn create(
        disk: &Arc<dyn Disk>,
        path: &Path,
        header: SnapshotFileHeader,
    ) -> Result<SnapshotWriter, SnapshotFileError> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        SnapshotWriter::create_as(disk, Path::new(&new), path, header)
    }

    /// As [`SnapshotWriter::create`], under the name `new` in the same folder until it is finished: several may
    /// be on their way at once.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn create_as(
        disk: &Arc<dyn Disk>,
        new: &Path,
        path: &Path,
        header: SnapshotFileHeader,
    ) -> Result<SnapshotWriter, SnapshotFileError> {
        let file = disk
            .open(new, OpenMode::Create)
            .and_then(|file| file.set_len(0).map(|()| file))
            .map_err(|source| io_error(new, source))?;
        let mut writer = SnapshotWriter {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            new: new.to_owned(),
            applied: header.applied,
            file,
            offset: 0,
            crc: 0,
            chunk: Vec::new(),
            written: IntegrityReport::default(),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&SNAPSHOT_FORMAT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&header.identity.cluster.0.to_be_bytes());
        bytes.extend_from_slice(&header.identity.member.0.to_be_bytes());
        bytes.extend_from_slice(&header.applied.term.0.to_be_bytes());
        bytes.extend_from_slice(&header.applied.index.0.to_be_bytes());
        writer.write_sealed(bytes)?;
        assert!(
            usize::try_from(writer.offset) == Ok(HEADER_BYTES),
            "the header's length is part of the format"
        );
        Ok(writer)
    }

    /// Adds pairs.
    ///
    /// # Errors
    /// `Io` when the disk fails or a pair is longer than a frame; the writer is of no use then.
    pub fn put(&mut self, pairs: &[Triple]) -> Result<(), SnapshotFileError> {
        for (bucket, key, value) in pairs {
            let bytes = key.len().saturating_add(value.len());
            let lengths = u32::try_from(key.len()).ok().zip(u32::try_from(value.len()).ok());
            let lengths = lengths.filter(|_| bytes < FRAME_BYTES_MAX.saturating_sub(CHUNK_BYTES_TARGET * 2));
            let Some((key_len, value_len)) = lengths else {
                return Err(io_error(&self.path, io::Error::other("a pair is too long for a snapshot")));
            };
            self.chunk.push(bucket.number());
            self.chunk.extend_from_slice(&key_len.to_be_bytes());
            self.chunk.extend_from_slice(&value_len.to_be_bytes());
            self.chunk.extend_from_slice(key);
            self.chunk.extend_from_slice(value);
            self.written.pairs = self.written.pairs.saturating_add(1);
            self.written.bytes = self.written.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            if self.chunk.len() >= CHUNK_BYTES_TARGET {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), SnapshotFileError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.frame(CHUNK, &chunk)
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Result<(), SnapshotFileError> {
        assert!(body.len() <= FRAME_BYTES_MAX, "a frame is bounded where its pairs are taken in");
        let length = u32::try_from(body.len())
            .map_err(|_| io_error(&self.new, io::Error::other("a frame is too long")))?;
        let mut bytes = Vec::with_capacity(body.len().saturating_add(FRAME_HEAD_BYTES + CRC_BYTES));
        bytes.push(kind);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(body);
        self.write_sealed(bytes)
    }

    /// Writes `bytes` and the crc of everything so far.
    fn write_sealed(&mut self, mut bytes: Vec<u8>) -> Result<(), SnapshotFileError> {
        let crc = crc32c::crc32c_append(self.crc, &bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        self.file.write_at(self.offset, &bytes).map_err(|source| io_error(&self.new, source))?;
        self.crc = crc32c::crc32c_append(crc, &crc.to_be_bytes());
        self.offset = self.offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The last entry applied to the state that is being written.
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// Gives the attempt up and removes what was written.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn abandon(self) -> Result<(), SnapshotFileError> {
        self.disk.remove_file(&self.new).map_err(|source| io_error(&self.new, source))
    }

    /// Completes the file and puts it, durably, into its place.
    ///
    /// # Errors
    /// `Io` when the disk fails; the previous file is then still there.
    pub fn finish(mut self) -> Result<IntegrityReport, SnapshotFileError> {
        self.end_chunk()?;
        let mut end = self.written.pairs.to_be_bytes().to_vec();
        end.extend_from_slice(&self.written.bytes.to_be_bytes());
        self.frame(END, &end)?;
        let named = (|| {
            self.file.sync_data()?;
            self.disk.rename(&self.new, &self.path)?;
            self.disk.sync_dir(self.path.parent().unwrap_or(Path::new("")))
        })();
        named.map_err(|source| io_error(&self.path, source))?;
        Ok(self.written)
    }
}

/// Copies everything `reader` sees into the snapshot file `path`, durably, replacing the previous one.
///
/// # Errors
/// `Engine` when the view cannot be read, `Io` when the disk fails; the previous file is then still there.
pub fn write_snapshot(
    disk: &Arc<dyn Disk>,
    path: &Path,
    header: SnapshotFileHeader,
    reader: &dyn Reader,
) -> Result<IntegrityReport, SnapshotFileError> {
    let mut writer = SnapshotWriter::create(disk, path, header)?;
    copy_into(&mut writer, reader, &mut || Ok(()))?;
    writer.finish()
}

/// Copies everything `reader` sees into `writer`, a few pairs at a time, and asks `go_on` before each step.
///
/// # Errors
/// `Engine` when the view cannot be read, `Io` when the disk fails; and what `go_on` says.
pub fn copy_into(
    writer: &mut SnapshotWriter,
    reader: &dyn Reader,
    go_on: &mut dyn FnMut() -> Result<(), SnapshotFileError>,
) -> Result<(), SnapshotFileError> {
    let path = writer.path.display().to_string();
    for bucket in Bucket::ALL {
        let mut from = Bytes::new();
        loop {
            go_on()?;
            let pairs = reader
                .page(bucket, &from, PageLimit::of(PAIRS_AT_ONCE))
                .map_err(|source| SnapshotFileError::Engine { path: path.clone(), source })?;
            let Some((last, _)) = pairs.last() else { break };
            from = successor(last);
            let triples: Vec<Triple> = pairs.into_iter().map(|(key, value)| (bucket, key, value)).collect();
            writer.put(&triples)?;
        }
    }
    Ok(())
}

/// Reads a snapshot file, a chunk at a time. What it yields is only believed once it has ended without an error:
/// [`verify_snapshot`] says so before anything is done with it.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<dyn File>,
    path: PathBuf,
    header: SnapshotFileHeader,
    len: u64,
    offset: u64,
    crc: u32,
    seen: IntegrityReport,
    ended: bool,
}

impl SnapshotReader {
    /// Opens the file and checks that it is this member's.
    ///
    /// # Errors
    /// See [`SnapshotFileError`].
    pub fn open(
        disk: &dyn Disk,
        path: &Path,
        identity: Identity,
    ) -> Result<SnapshotReader, SnapshotFileError> {
        let opened = disk.open(path, OpenMode::Read).and_then(|file| file.len().map(|len| (file, len)));
        let (file, len) = opened.map_err(|source| io_error(path, source))?;
        let header = SnapshotFileHeader { identity, applied: LogId::default() };
        let (path, seen) = (path.to_owned(), IntegrityReport::default());
        let mut reader = SnapshotReader { file, path, header, len, offset: 0, crc: 0, seen, ended: false };
        let bytes = reader.read_sealed(HEADER_BYTES - CRC_BYTES)?;
        reader.header = reader.parse_header(&bytes)?;
        if reader.header.identity != identity {
            let owner = reader.header.identity;
            return Err(reader.refused(format!(
                "it belongs to cluster {} member {}, not to cluster {} member {}",
                owner.cluster, owner.member, identity.cluster, identity.member
            )));
        }
        Ok(reader)
    }

    /// Whose snapshot, and of when.
    pub fn header(&self) -> SnapshotFileHeader {
        self.header
    }

    /// The next pairs; `None` once the end was reached and everything added up.
    ///
    /// # Errors
    /// See [`SnapshotFileError`].
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Triple>>, SnapshotFileError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.offset;
        let mut head = [0; FRAME_HEAD_BYTES];
        self.read_exact(start, &mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(self.corrupt(start, "a frame claims an impossible length"));
        }
        let frame = self.read_sealed(length.saturating_add(FRAME_HEAD_BYTES))?;
        let body = frame.slice(FRAME_HEAD_BYTES..);
        match kind {
            CHUNK => {
                let pairs = parse_chunk(&body)
                    .ok_or_else(|| self.corrupt(start, "a chunk does not hold whole pairs"))?;
                for (_, key, value) in &pairs {
                    let bytes = key.len().saturating_add(value.len());
                    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                    self.seen.pairs = self.seen.pairs.saturating_add(1);
                    self.seen.bytes = self.seen.bytes.saturating_add(bytes);
                }
                Ok(Some(pairs))
            }
            END => {
                let mut expected = self.seen.pairs.to_be_bytes().to_vec();
                expected.extend_from_slice(&self.seen.bytes.to_be_bytes());
                if body != expected {
                    return Err(self.corrupt(start, "its count does not match what it holds"));
                }
                if self.offset != self.len {
                    return Err(self.corrupt(self.offset, "bytes follow the end"));
                }
                self.ended = true;
                Ok(None)
            }
            _ => Err(self.corrupt(start, "a frame of an unknown kind")),
        }
    }

    fn parse_header(&self, bytes: &[u8]) -> Result<SnapshotFileHeader, SnapshotFileError> {
        let fields = (|| {
            let (magic, rest) = bytes.split_first_chunk::<8>()?;
            let (version, rest) = rest.split_first_chunk::<4>()?;
            let (cluster, rest) = rest.split_first_chunk::<8>()?;
            let (member, rest) = rest.split_first_chunk::<8>()?;
            let (term, rest) = rest.split_first_chunk::<8>()?;
            let (index, _) = rest.split_first_chunk::<8>()?;
            let identity = Identity {
                cluster: ClusterId(u64::from_be_bytes(*cluster)),
                member: MemberId(u64::from_be_bytes(*member)),
            };
            let applied =
                LogId { term: Term(u64::from_be_bytes(*term)), index: LogIndex(u64::from_be_bytes(*index)) };
            let header = SnapshotFileHeader { identity, applied };
            (*magic == MAGIC).then_some((u32::from_be_bytes(*version), header))
        })();
        let Some((version, header)) = fields else {
            return Err(self.corrupt(0, "this is no snapshot file"));
        };
        if version > SNAPSHOT_FORMAT_VERSION {
            return Err(self.refused(format!(
                "its format {version} is newer than {SNAPSHOT_FORMAT_VERSION}, the newest this version reads"
            )));
        }
        Ok(header)
    }

    /// Reads `length` bytes and the crc behind them, and moves on.
    fn read_sealed(&mut self, length: usize) -> Result<Bytes, SnapshotFileError> {
        let start = self.offset;
        let mut bytes = vec![0; length.saturating_add(CRC_BYTES)];
        self.read_exact(start, &mut bytes)?;
        let crc = crc32c::crc32c_append(self.crc, bytes.get(..length).unwrap_or_default());
        if bytes.get(length..) != Some(crc.to_be_bytes().as_slice()) {
            return Err(self.corrupt(start, "the checksum does not hold"));
        }
        self.crc = crc32c::crc32c_append(crc, &crc.to_be_bytes());
        self.offset = start.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        bytes.truncate(length);
        Ok(Bytes::from(bytes))
    }

    fn read_exact(&self, offset: u64, bytes: &mut [u8]) -> Result<(), SnapshotFileError> {
        let wanted = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.len.saturating_sub(offset) < wanted {
            return Err(self.corrupt(offset, "the file ends too early"));
        }
        self.file.read_at(offset, bytes).map_err(|source| io_error(&self.path, source))
    }

    fn corrupt(&self, offset: u64, what: &str) -> SnapshotFileError {
        SnapshotFileError::Corrupt { path: self.path.display().to_string(), offset, what: what.to_owned() }
    }

    fn refused(&self, why: String) -> SnapshotFileError {
        SnapshotFileError::Refused { path: self.path.display().to_string(), why }
    }
}

impl Iterator for SnapshotReader {
    type Item = Result<Vec<Triple>, SnapshotFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_chunk().transpose();
        // After an error there is nothing more to say.
        self.ended |= matches!(next, Some(Err(_)));
        next
    }
}

/// Reads the whole file and returns what it is a snapshot of, if it is whole.
///
/// # Errors
/// See [`SnapshotFileError`].
pub fn verify_snapshot(
    disk: &dyn Disk,
    path: &Path,
    identity: Identity,
) -> Result<SnapshotFileHeader, SnapshotFileError> {
    let mut reader = SnapshotReader::open(disk, path, identity)?;
    while reader.next_chunk()?.is_some() {}
    Ok(reader.header())
}

fn parse_chunk(body: &Bytes) -> Option<Vec<Triple>> {
    let mut pairs = Vec::new();
    let mut at = 0_usize;
    while at < body.len() {
        let (number, rest) = body.get(at..)?.split_first()?;
        let (key_len, rest) = rest.split_first_chunk::<4>()?;
        let (value_len, _) = rest.split_first_chunk::<4>()?;
        let key_at = at.checked_add(9)?;
        let value_at = key_at.checked_add(usize::try_from(u32::from_be_bytes(*key_len)).ok()?)?;
        let end = value_at.checked_add(usize::try_from(u32::from_be_bytes(*value_len)).ok()?)?;
        if end > body.len() {
            return None;
        }
        // Copied out, so that one kept pair does not keep its whole chunk alive.
        let copy = |from, to| body.get(from..to).map(Bytes::copy_from_slice);
        pairs.push((Bucket::from_number(*number)?, copy(key_at, value_at)?, copy(value_at, end)?));
        at = end;
    }
    Some(pairs)
}
