//! Builds a complete redb engine file beside the live one: for a new engine, a snapshot install, a rewrite.
//!
//! The whole file is one redb transaction, so it has no holes and a crash leaves nothing that could be taken
//! for an engine; pages beyond the cache's share are written out as they come, so memory stays bounded. The
//! caller renames the finished file into place (see [`super::install`]).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::WriteTransaction;

use super::store::{SUMS, Store, corrupt, io_error, redb_error, table_of};
use super::{commit_durably, put, put_sums};
use crate::env::Disk;
use crate::machine::persist::Bucket;
use crate::storage::engine::{
    CHUNK_PAIRS_MAX, EngineError, EngineOptions, Identity, PageLimit, Reader, successor,
};

/// An engine file under construction.
pub struct EngineBuilder {
    // Dropped before the store: redb keeps a file open while a write transaction lives.
    txn: WriteTransaction,
    store: Store,
    path: PathBuf,
    live_bytes: u64,
    last: Option<(Bucket, Bytes)>,
}

impl EngineBuilder {
    /// Starts a file at `path`; an unfinished attempt under that name is removed.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn create(
        disk: &dyn Disk,
        path: &Path,
        identity: Identity,
        options: EngineOptions,
    ) -> Result<EngineBuilder, EngineError> {
        if disk.exists(path).map_err(|error| io_error(path, error))? {
            disk.remove_file(path).map_err(|error| io_error(path, error))?;
        }
        let store = Store::create(disk, path, identity, options.cache_bytes)?;
        let txn = store.write(|db| {
            let txn = db.begin_write().map_err(|error| redb_error(path, error))?;
            for bucket in Bucket::ALL {
                txn.open_table(table_of(bucket)).map_err(|error| redb_error(path, error))?;
            }
            txn.open_table(SUMS).map_err(|error| redb_error(path, error))?;
            Ok(txn)
        })?;
        Ok(EngineBuilder { txn, store, path: path.to_owned(), live_bytes: 0, last: None })
    }

    /// Adds pairs. Buckets come in number order, keys of a bucket in key order, each once.
    ///
    /// # Errors
    /// `Corrupt` when the order is broken; see [`EngineError`]. The builder is of no use afterwards.
    pub fn put(&mut self, pairs: &[(Bucket, Bytes, Bytes)]) -> Result<(), EngineError> {
        for (bucket, key, _) in pairs {
            let place = (*bucket, key.clone());
            if self.last.as_ref().is_some_and(|last| *last >= place) {
                return Err(corrupt(&self.path, format!("pairs of {} came out of order", bucket.name())));
            }
            self.last = Some(place);
        }
        let writes = pairs.iter().map(|(bucket, key, value)| (*bucket, key.as_ref(), Some(value.as_ref())));
        self.live_bytes = self.store.write(|_| put(&self.path, &self.txn, writes, self.live_bytes))?;
        Ok(())
    }

    /// Adds or replaces one pair, in any place: for what the builder's owner has to say of its own.
    ///
    /// # Errors
    /// See [`EngineError`]. The builder is of no use afterwards.
    pub fn set(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let write = std::iter::once((bucket, key, Some(value)));
        self.live_bytes = self.store.write(|_| put(&self.path, &self.txn, write, self.live_bytes))?;
        Ok(())
    }

    /// Completes the file and makes its content durable. Its name is durable once the caller has renamed it
    /// and synced the folder.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn finish(self) -> Result<(), EngineError> {
        let EngineBuilder { txn, store, path, live_bytes, .. } = self;
        store.write(|_| {
            put_sums(&path, &txn, live_bytes)?;
            commit_durably(&path, txn)
        })?;
        store.finish()
    }
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Copies everything `reader` sees into a fresh file at `path`, without the free space of the old one. The
/// file is durable when this returns; swapping it in, after what was written since the reader was opened was
/// written to it too, is the caller's.
///
/// # Errors
/// See [`EngineError`].
pub fn rewrite(
    reader: &dyn Reader,
    disk: &dyn Disk,
    path: &Path,
    identity: Identity,
    options: EngineOptions,
) -> Result<(), EngineError> {
    let mut builder = EngineBuilder::create(disk, path, identity, options)?;
    for bucket in Bucket::ALL {
        let mut from = Bytes::new();
        loop {
            let pairs = reader.page(bucket, &from, PageLimit::of(CHUNK_PAIRS_MAX))?;
            let Some((last, _)) = pairs.last() else { break };
            from = successor(last);
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (bucket, key, value)).collect();
            builder.put(&pairs)?;
        }
    }
    builder.finish()
}
