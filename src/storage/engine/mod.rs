//! The state engine: where applied state lives, behind a narrow trait.
//!
//! Contract of every engine: [`Engine::apply`] is atomic over all buckets; [`Engine::flush`] makes every
//! earlier batch durable; [`Engine::reader`] is a consistent view that never blocks, and is never blocked by,
//! a writer. After a crash the content is exactly batches 1..k with k at least the last batch before a
//! successful flush. An engine never decides when to flush: its caller keeps the WAL ahead of it.

pub mod redb;

use std::fmt::Debug;

use bytes::Bytes;

use crate::machine::persist::{Bucket, Write};

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

/// Why an engine could not do what it was asked. All are fatal for the member: the caller stops.
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
    /// The engine's content contradicts itself.
    #[error("state engine {path} is corrupt: {what}")]
    Corrupt {
        /// The engine's file or folder.
        path: String,
        /// What was found.
        what: String,
    },
}

/// A state engine. Calls block; callers run them on a worker.
pub trait Engine: Send + Sync + Debug + 'static {
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
    fn range(&self, bucket: Bucket, from: &[u8], limit: usize) -> Result<Vec<Pair>, EngineError>;
}

/// Which engine holds the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// The default: durable by itself.
    #[default]
    Redb,
    /// The second engine: durable through snapshot files.
    Sled,
}
