//! The default engine: redb over our own disk.
//!
//! - One file, `state.redb`: a header page of ours (format, cluster, member), then redb's own file.
//! - One redb table a bucket, and one for the engine's sums.
//! - [`Engine::apply`] is a redb commit without durability: it touches no page that the last durable commit
//!   refers to. [`Engine::flush`] is a two-phase commit that records the allocator's state: the pages are
//!   synced before the root that names them, so a power loss leaves either the old root or the new one, and
//!   opening after a crash reads a few pages instead of walking the whole file.
//! - It never repairs by stepping back: what would need that is reported as `Corrupt`.
//! - Dropping it writes nothing; unflushed batches are then gone, as after a power loss.
//!
//! It starts no threads, and reads and writes only through [`crate::env::Disk`], so the very same code runs in
//! the simulator.

mod backend;
mod builder;
mod held;
mod pages;
mod reader;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Durability, ReadableDatabase, WriteTransaction};

use self::reader::RedbReader;
use self::store::{LIVE_BYTES, SUMS, Store, corrupt, io_error, redb_error, table_of};
use super::seal::{SEAL_BYTES, seal_into};
use super::{
    CHUNK_PAIRS_MAX, Engine, EngineError, EngineOptions, EngineSize, Identity, IntegrityReport, Reader,
};
use crate::env::Disk;
use crate::machine::persist::{Bucket, Write};

pub use self::builder::{EngineBuilder, rewrite};

/// The engine's file inside its folder.
pub const FILE_NAME: &str = "state.redb";
/// A file being built beside it; whatever is found under this name at a start is an unfinished attempt.
pub const NEW_FILE_NAME: &str = "state.redb.new";

/// The engine.
#[derive(Debug)]
pub struct RedbEngine {
    store: Arc<Store>,
    // Held through a write: orders the sums with the commits they belong to.
    live_bytes: Mutex<u64>,
    /// The same, for who must not wait for a transaction.
    live_bytes_seen: AtomicU64,
    closed: AtomicBool,
}

impl RedbEngine {
    /// Whether the folder holds an engine file.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, EngineError> {
        let path = dir.join(FILE_NAME);
        disk.exists(&path).map_err(|error| io_error(&path, error))
    }

    /// Opens the engine in `dir`; creates it, durably, when there is none. Removes unfinished attempts.
    ///
    /// # Errors
    /// `Refused` for a foreign or newer file, `Corrupt` for a damaged one, `Io` when the disk fails.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        identity: Identity,
        options: EngineOptions,
    ) -> Result<RedbEngine, EngineError> {
        let (path, new) = (dir.join(FILE_NAME), dir.join(NEW_FILE_NAME));
        if !RedbEngine::exists(disk, dir)? {
            disk.create_dir_all(dir).map_err(|error| io_error(dir, error))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                disk.sync_dir(parent).map_err(|error| io_error(parent, error))?;
            }
            EngineBuilder::create(disk, &new, identity, options)?.finish()?;
            install(disk, dir)?;
        } else if disk.exists(&new).map_err(|error| io_error(&new, error))? {
            disk.remove_file(&new).map_err(|error| io_error(&new, error))?;
        }
        RedbEngine::over(Store::open(disk, &path, identity, options.cache_bytes)?)
    }

    /// Opens the finished file at `file`, which is to be renamed to `path` while it is open.
    ///
    /// # Errors
    /// As [`RedbEngine::open`].
    pub fn open_before_its_name(
        disk: &dyn Disk,
        file: &Path,
        path: &Path,
        identity: Identity,
        options: EngineOptions,
    ) -> Result<RedbEngine, EngineError> {
        RedbEngine::over(Store::open(disk, file, identity, options.cache_bytes)?.named(path))
    }

    fn over(store: Store) -> Result<RedbEngine, EngineError> {
        let store = Arc::new(store);
        let live_bytes = begin_reader(&store)?.live_bytes()?;
        Ok(RedbEngine {
            store,
            live_bytes: Mutex::new(live_bytes),
            live_bytes_seen: AtomicU64::new(live_bytes),
            closed: AtomicBool::new(false),
        })
    }

    fn check_open(&self) -> Result<(), EngineError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(io_error(self.store.path(), std::io::Error::other("the engine is closed")));
        }
        Ok(())
    }
}

/// Puts the finished file [`NEW_FILE_NAME`] in the place of the engine's file, durably. The engine that has
/// the old file open must take no more writes; its readers may go on.
///
/// # Errors
/// `Io` when the disk fails.
pub fn install(disk: &dyn Disk, dir: &Path) -> Result<(), EngineError> {
    let (path, new) = (dir.join(FILE_NAME), dir.join(NEW_FILE_NAME));
    disk.rename(&new, &path).map_err(|error| io_error(&new, error))?;
    disk.sync_dir(dir).map_err(|error| io_error(dir, error))
}

fn begin_reader(store: &Arc<Store>) -> Result<RedbReader, EngineError> {
    let txn = store.read(|db| db.begin_read().map_err(|error| redb_error(store.path(), error)))?;
    Ok(RedbReader::open(store, txn))
}

/// Makes everything written so far, and what `txn` holds, durable.
fn commit_durably(path: &Path, mut txn: WriteTransaction) -> Result<(), EngineError> {
    txn.set_durability(Durability::Immediate).map_err(|error| redb_error(path, error))?;
    txn.set_quick_repair(true);
    txn.commit().map_err(|error| redb_error(path, error))
}

/// Puts `writes` into `txn` and returns the new sum of live bytes.
fn put<'a>(
    path: &Path,
    txn: &WriteTransaction,
    writes: impl Iterator<Item = (Bucket, &'a [u8], Option<&'a [u8]>)>,
    live_bytes: u64,
) -> Result<u64, EngineError> {
    let mut tables = BTreeMap::new();
    let mut sealed = Vec::new();
    let (mut added, mut removed) = (0_u64, 0_u64);
    for (bucket, key, value) in writes {
        let table = match tables.entry(bucket) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(txn.open_table(table_of(bucket)).map_err(|error| redb_error(path, error))?)
            }
        };
        let old = match value {
            Some(value) => {
                seal_into(&mut sealed, bucket, key, value);
                added = added.saturating_add(length(key.len(), value.len()));
                table.insert(key, sealed.as_slice())
            }
            None => table.remove(key),
        }
        .map_err(|error| redb_error(path, error))?;
        if let Some(old) = old {
            let value_len = old.value().len().saturating_sub(SEAL_BYTES);
            removed = removed.saturating_add(length(key.len(), value_len));
        }
    }
    live_bytes
        .saturating_add(added)
        .checked_sub(removed)
        .ok_or_else(|| corrupt(path, "its sum of live bytes is smaller than what it holds"))
}

fn put_sums(path: &Path, txn: &WriteTransaction, live_bytes: u64) -> Result<(), EngineError> {
    let mut sums = txn.open_table(SUMS).map_err(|error| redb_error(path, error))?;
    sums.insert(LIVE_BYTES, live_bytes).map_err(|error| redb_error(path, error))?;
    Ok(())
}

fn length(key: usize, value: usize) -> u64 {
    u64::try_from(key.saturating_add(value)).unwrap_or(u64::MAX)
}

impl Engine for RedbEngine {
    fn accept(&self) -> Result<(), EngineError> {
        self.check_open()?;
        self.store.accept()
    }

    fn apply(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.check_open()?;
        let path: PathBuf = self.store.path().to_owned();
        let mut live_bytes = self.live_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = self.store.write(|db: &Database| {
            let mut txn = db.begin_write().map_err(|error| redb_error(&path, error))?;
            txn.set_durability(Durability::None).map_err(|error| redb_error(&path, error))?;
            let writes = writes.iter().map(|w| (w.bucket, w.key.as_ref(), w.value.as_deref()));
            let sum = put(&path, &txn, writes, *live_bytes)?;
            put_sums(&path, &txn, sum)?;
            txn.commit().map_err(|error| redb_error(&path, error))?;
            Ok(sum)
        })?;
        *live_bytes = sum;
        self.live_bytes_seen.store(sum, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.check_open()?;
        let _ordered = self.live_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(|db| {
            let txn = db.begin_write().map_err(|error| redb_error(self.store.path(), error))?;
            commit_durably(self.store.path(), txn)
        })
    }

    fn reader(&self) -> Result<Box<dyn Reader>, EngineError> {
        self.check_open()?;
        Ok(Box::new(begin_reader(&self.store)?))
    }

    fn size(&self) -> Result<EngineSize, EngineError> {
        let in_use_bytes = self.live_bytes_seen.load(Ordering::Relaxed);
        Ok(EngineSize { file_bytes: self.store.file_bytes()?, in_use_bytes })
    }

    fn name(&self) -> &'static str {
        "redb"
    }

    fn integrity_check(&self) -> Result<IntegrityReport, EngineError> {
        self.check_open()?;
        let reader = begin_reader(&self.store)?;
        let path = self.store.path().display().to_string();
        let mut report = IntegrityReport::default();
        for bucket in Bucket::ALL {
            let counted = super::walk(&reader, &path, bucket, CHUNK_PAIRS_MAX, &mut |key, value| {
                report.pairs = report.pairs.saturating_add(1);
                report.bytes = report.bytes.saturating_add(length(key.len(), value.len()));
                Ok(())
            })?;
            let claimed = reader.count(bucket)?;
            if counted != claimed {
                let what = format!("bucket {} holds {counted} pairs and claims {claimed}", bucket.name());
                return Err(corrupt(self.store.path(), what));
            }
        }
        let claimed = reader.live_bytes()?;
        if report.bytes != claimed {
            let what = format!("it holds {} live bytes and claims {claimed}", report.bytes);
            return Err(corrupt(self.store.path(), what));
        }
        Ok(report)
    }

    fn close(&self) -> Result<(), EngineError> {
        self.flush()?;
        self.closed.store(true, Ordering::Release);
        self.store.shut();
        Ok(())
    }

    fn survives_power_loss(&self) -> bool {
        true
    }
}

impl Drop for RedbEngine {
    fn drop(&mut self) {
        // Readers may keep the store alive; nothing may be written on their behalf.
        self.store.shut();
    }
}
