//! The state engine: where applied state lives, behind a narrow trait.
//!
//! Contract of every engine: [`Engine::apply`] is atomic over all buckets; [`Engine::flush`] makes every
//! earlier batch durable; [`Engine::reader`] is a consistent view that never blocks, and is never blocked by,
//! a writer. After a crash the content is exactly batches 1..k with k at least the last batch before a
//! successful flush. An engine never decides when to flush: its caller keeps the WAL ahead of it, and for the
//! same reason dropping an engine writes nothing. (An engine for which [`Engine::survives_power_loss`] is false
//! keeps this promise only through the rules of `docs/engines.md`.)

mod identity;
mod kind;
pub mod redb;
mod seal;
#[cfg(not(madsim))]
pub mod sled;

use std::fmt::Debug;

use bytes::Bytes;

use crate::machine::persist::{Bucket, Write};

pub use crate::storage::wal::Identity;
pub use identity::HEADER_BYTES;
pub use kind::{EngineKind, EngineOptions, Opened, open_engine, set_aside};

/// Memory an engine may use for caching pages, in bytes, unless told otherwise. Half of it may hold pages that
/// are not flushed yet; an engine that reaches that writes them out early, which promises nothing.
pub const ENGINE_CACHE_BYTES_DEFAULT: usize = 128 << 20;

/// The most pairs [`Reader::range`] is asked for at once by loops over a whole bucket.
pub const CHUNK_PAIRS_MAX: usize = 512;

/// A key-value pair of a bucket.
pub type Pair = (Bytes, Bytes);

/// Space an engine takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineSize {
    /// On the disk.
    pub file_bytes: u64,
    /// Of which holding live data.
    pub in_use_bytes: u64,
}

/// Why an engine could not do what it was asked. All but `ReaderTooOld` are fatal for the member: the caller
/// stops.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk failed.
    #[error("state engine {path}: {source}")]
    Io {
        /// The engine's file or folder.
        path: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// What the engine holds cannot be read any more; nothing was written to it since it was opened.
    #[error("state engine {path}: {source}")]
    Unreadable {
        /// The engine's file or folder.
        path: String,
        /// What the disk said, with the place.
        source: std::io::Error,
    },
    /// The engine's content contradicts itself.
    #[error("state engine {path} is corrupt: {what}")]
    Corrupt {
        /// The engine's file or folder.
        path: String,
        /// What was found.
        what: String,
    },
    /// The engine is whole, but it is not this member's to open.
    #[error("state engine {path} is refused: {why}")]
    Refused {
        /// The engine's file or folder.
        path: String,
        /// Foreign, newer, in use, or of another kind.
        why: String,
    },
    /// The engine cannot be relied on, and neither snapshot file nor log have what it takes to build it anew.
    #[error("state engine {path} cannot be rebuilt: {why}")]
    Lost {
        /// The engine's file or folder.
        path: String,
        /// What is wrong with it, and what is missing.
        why: String,
    },
    /// A view was held so long that its past is gone. The one error that is not fatal: open a new reader.
    #[error("state engine {path}: the reader is too old, open a new one")]
    ReaderTooOld {
        /// The engine's file or folder.
        path: String,
    },
}

impl EngineError {
    /// Whether what the engine held is gone, so that it must be built anew from elsewhere.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            EngineError::Unreadable { .. } | EngineError::Corrupt { .. } | EngineError::Lost { .. }
        )
    }
}

/// What a walk over all of an engine found; see [`Engine::integrity_check`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// Pairs that were read and whose checksums held.
    pub pairs: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// A state engine. Calls block; callers run them on a worker.
pub trait Engine: Send + Sync + Debug + 'static {
    /// The member starts on what this engine holds: whatever opening it was to write is written now, and durable.
    /// Nothing is before, unless by the first other call that writes.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn accept(&self) -> Result<(), EngineError>;

    /// Applies all writes or none; visible to readers opened afterwards, durable only after a flush.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn apply(&self, writes: &[Write]) -> Result<(), EngineError>;

    /// Makes every batch applied so far durable.
    ///
    /// # Errors
    /// See [`EngineError`]; never retried.
    fn flush(&self) -> Result<(), EngineError>;

    /// A consistent view of everything applied so far.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn reader(&self) -> Result<Box<dyn Reader>, EngineError>;

    /// Space taken.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn size(&self) -> Result<EngineSize, EngineError>;

    /// Reads every pair and holds it against its checksum, the order of keys and the engine's own counts.
    /// Neither blocks nor is blocked by a writer; takes as long as reading everything takes.
    ///
    /// # Errors
    /// `Corrupt` for the first contradiction found.
    fn integrity_check(&self) -> Result<IntegrityReport, EngineError>;

    /// Flushes and ends the engine for good: nothing is written after this returns, and every later call but
    /// those of readers already open fails. Dropping an engine without this is what a crash would be.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn close(&self) -> Result<(), EngineError>;

    /// Whether [`Engine::flush`] holds across a power loss. If not, the WAL may be purged only up to a full
    /// snapshot file that is itself synced.
    fn survives_power_loss(&self) -> bool;

    /// The engine's name, as `--storage-engine` takes it.
    fn name(&self) -> &'static str;
}

/// A consistent view of an engine at one moment.
pub trait Reader: Send {
    /// The value under a key.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Up to `limit` pairs with keys at or above `from`, in key order.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn range(&self, bucket: Bucket, from: &[u8], limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.page(bucket, from, PageLimit { pairs_max: limit, bytes_max: usize::MAX })
    }

    /// Like [`Reader::range`], but ends with the pair that makes it as large as the limit says: what is read does not
    /// grow with the size of the values.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn page(&self, bucket: Bucket, from: &[u8], limit: PageLimit) -> Result<Vec<Pair>, EngineError>;
}

/// Where a page of pairs ends.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Pairs in it.
    pub pairs_max: usize,
    /// Bytes of keys and values, with which it is full: the pair that reaches them is its last.
    pub bytes_max: usize,
}

impl PageLimit {
    /// At most so many pairs, and no more bytes than is good.
    pub fn of(pairs_max: usize) -> PageLimit {
        PageLimit { pairs_max, bytes_max: PAGE_BYTES_MAX }
    }

    /// Whether these pairs are all that it takes.
    pub fn is_reached(&self, pairs: usize, bytes: usize) -> bool {
        pairs >= self.pairs_max || bytes >= self.bytes_max
    }
}

/// Bytes of keys and values that are read at once where everything is read.
pub const PAGE_BYTES_MAX: usize = 16 << 20;

/// What a pair counts for in a page, in bytes.
pub fn pair_bytes(key: &[u8], value: &[u8]) -> usize {
    key.len().saturating_add(value.len())
}

/// The smallest key above `key`: where a loop over a bucket goes on after it.
pub fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len().saturating_add(1));
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

/// Visits every pair of a bucket in order, `chunk` at a time, and returns how many there were.
///
/// # Errors
/// What the reader or `visit` returns; `Corrupt` when the keys do not ascend.
pub fn walk(
    reader: &dyn Reader,
    path: &str,
    bucket: Bucket,
    chunk: usize,
    visit: &mut dyn FnMut(&Bytes, &Bytes) -> Result<(), EngineError>,
) -> Result<u64, EngineError> {
    let mut from = Bytes::new();
    let mut count = 0_u64;
    loop {
        let pairs = reader.page(bucket, &from, PageLimit::of(chunk))?;
        for (key, value) in &pairs {
            if *key < from {
                let what = format!("the keys of {} do not ascend", bucket.name());
                return Err(EngineError::Corrupt { path: path.to_owned(), what });
            }
            from = successor(key);
            count = count.saturating_add(1);
            visit(key, value)?;
        }
        if pairs.is_empty() {
            return Ok(count);
        }
    }
}
