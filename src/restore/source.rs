//! The image: whether it is whole, what it says of itself, and its buckets.
//!
//! The last 32 bytes of an image are the SHA-256 of all before; a whole image is known by its length, as clients of the API
//! know it. A file that was copied from a data directory has no checksum, and is taken only by who says so. Nothing beyond
//! that is believed: pages are checked as they are read, and numbers before they are used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::RestoreError;
use crate::env::{Disk, File, OpenMode};
use crate::machine::mvcc::NEVER_COMPACTED;
use crate::machine::mvcc::rebuild::REVISION_MAX;
use crate::storage::bolt::{BoltError, BoltFile};
use crate::types::{LogId, LogIndex, RevPair, Revision, Term};

/// Bytes of the checksum.
const CHECKSUM_BYTES: u64 = 32;
/// What an image's length is a multiple of, its checksum aside.
const SECTOR_BYTES: u64 = 512;
/// How much is read at once to sum the image up, bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// The highest term and index that are believed: what goes on from them needs room.
pub(super) const NUMBER_MAX: u64 = 1 << 62;
/// What a visitor of a bucket's pairs may answer.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), RestoreError>;

/// An image that is open.
#[derive(Debug)]
pub struct Source {
    bolt: BoltFile,
    path: PathBuf,
    /// The last entry of its own log that it holds.
    pub applied: LogId,
    /// The oldest revision that it can read.
    pub compacted: Revision,
}

/// What ends a walk through a bucket: the file, or its visitor.
enum Stop {
    Bolt(BoltError),
    Visitor(RestoreError),
}

impl From<BoltError> for Stop {
    fn from(error: BoltError) -> Stop {
        Stop::Bolt(error)
    }
}

impl Source {
    /// Opens the image at `path`; unless it is `trusted`, all of it is held against its checksum.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn open(disk: &dyn Disk, path: &Path, trusted: bool) -> Result<Source, RestoreError> {
        let file = disk.open(path, OpenMode::Read).map_err(|error| RestoreError::unreadable(path, error))?;
        if !trusted {
            check(&file, path)?;
        }
        let bolt = BoltFile::open(file).map_err(|source| bolt_error(path, source))?;
        let names = bolt.names().map_err(|source| bolt_error(path, source))?;
        for name in ["key", "meta"] {
            if !names.iter().any(|found| found == name.as_bytes()) {
                return Err(RestoreError::content(
                    path,
                    format!("it is no store's: it has no bucket {name:?}"),
                ));
            }
        }
        let mut source =
            Source { bolt, path: path.to_owned(), applied: LogId::default(), compacted: NEVER_COMPACTED };
        source.read_meta()?;
        Ok(source)
    }

    /// The error that `what` is wrong with the image.
    pub fn wrong(&self, what: impl ToString) -> RestoreError {
        RestoreError::content(&self.path, what)
    }

    /// Visits the pairs of a bucket, in order.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn each(&self, bucket: &str, visit: Visit<'_>) -> Result<(), RestoreError> {
        let walked =
            self.bolt.each(bucket.as_bytes(), &mut |key, value| visit(key, value).map_err(Stop::Visitor));
        walked.map_err(|stop| match stop {
            Stop::Bolt(source) => bolt_error(&self.path, source),
            Stop::Visitor(error) => error,
        })
    }

    fn read_meta(&mut self) -> Result<(), RestoreError> {
        let (mut applied, mut compacted) = (self.applied, self.compacted);
        self.each("meta", &mut |key, value| {
            let garbage = || self.wrong(format!("its {} makes no sense", key.escape_ascii()));
            match key {
                b"consistent_index" => applied.index = LogIndex(number(value).ok_or_else(garbage)?),
                b"term" => applied.term = Term(number(value).ok_or_else(garbage)?),
                // What was begun is carried out, as the store itself would have at its next start.
                b"scheduledCompactRev" | b"finishedCompactRev" => {
                    let at = parse_place(value).ok_or_else(garbage)?;
                    if at.main > REVISION_MAX {
                        return Err(garbage());
                    }
                    compacted = compacted.max(Some(at.main).filter(|main| main.0 > 0).unwrap_or(compacted));
                }
                _ => {}
            }
            Ok(())
        })?;
        (self.applied, self.compacted) = (applied, compacted);
        Ok(())
    }
}

fn bolt_error(path: &Path, source: BoltError) -> RestoreError {
    RestoreError::Bolt { path: path.display().to_string(), source }
}

/// A number as etcd stores it.
fn number(value: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(value).ok().map(u64::from_be_bytes).filter(|number| *number <= NUMBER_MAX)
}

/// A place in history as etcd writes it.
pub fn parse_place(bytes: &[u8]) -> Option<RevPair> {
    let (main, rest) = bytes.split_first_chunk::<8>()?;
    let (mark, sub) = rest.split_first()?;
    let sub = i64::from_be_bytes(<[u8; 8]>::try_from(sub).ok()?);
    let main = Some(i64::from_be_bytes(*main)).filter(|main| *main >= 0 && *mark == b'_')?;
    Some(RevPair { main: Revision(main), sub: u32::try_from(sub).ok()? })
}

/// Holds the image against its checksum.
fn check(file: &Arc<dyn File>, path: &Path) -> Result<(), RestoreError> {
    let failed = |error| RestoreError::unreadable(path, error);
    let len = file.len().map_err(failed)?;
    if len % SECTOR_BYTES != CHECKSUM_BYTES {
        return Err(RestoreError::NoChecksum { path: path.display().to_string() });
    }
    let summed = len.saturating_sub(CHECKSUM_BYTES);
    let (mut hash, mut at, mut buffer) = (Sha256::new(), 0_u64, vec![0; CHUNK_BYTES]);
    while at < summed {
        let left = usize::try_from(summed.saturating_sub(at)).unwrap_or(usize::MAX);
        let chunk = buffer.get_mut(..left.min(CHUNK_BYTES)).unwrap_or_default();
        file.read_at(at, chunk).map_err(failed)?;
        hash.update(&*chunk);
        at = at.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
    }
    let mut expected = [0; 32];
    file.read_at(summed, &mut expected).map_err(failed)?;
    let found = hash.finalize();
    if found.as_slice() == expected {
        return Ok(());
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (expected, found) = (hex(&expected), hex(&found));
    Err(RestoreError::Checksum { path: path.display().to_string(), expected, found })
}
