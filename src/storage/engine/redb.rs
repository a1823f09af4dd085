//! The default engine: redb, on our own disk seam.
//!
//! redb is pure Rust, starts no thread and takes its storage through a trait, so the very same engine runs on
//! the simulated disk. Batches are committed without a sync; a flush is a commit that syncs and carries every
//! earlier batch. After a crash redb comes up as of its last synced commit, never in between.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition, TableError,
};

use crate::env::{Disk, File, OpenMode};
use crate::machine::persist::{Bucket, Write};
use crate::storage::engine::{Engine, EngineError, EngineSize, Pair, Reader};

/// Memory that redb may use for its page cache, bytes.
pub const CACHE_BYTES: usize = 64 << 20;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn table(bucket: Bucket) -> Table {
    TableDefinition::new(bucket.name())
}

/// A file of our disk, as redb wants it.
#[derive(Debug)]
struct Backend(Arc<dyn File>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_at(offset, data)
    }
}

/// An open redb file.
#[derive(Debug)]
pub struct RedbEngine {
    database: Database,
    file: Arc<dyn File>,
    path: String,
}

impl RedbEngine {
    /// Opens the file, or creates it; what it holds is durable when this returns.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<RedbEngine, EngineError> {
        let shown = path.display().to_string();
        let io = |source| EngineError::Io { path: shown.clone(), source };
        let file = disk.open(path, OpenMode::Create).map_err(io)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Backend(file.clone()))
            .map_err(|error| failed(&shown, error.into()))?;
        let engine = RedbEngine { database, file, path: shown };
        // The tables exist from the first moment; and what a killed process left in the page cache becomes
        // durable before anybody relies on it.
        let all = engine.write(Durability::Immediate, |_| Ok(()));
        all?;
        Ok(engine)
    }

    fn failed(&self, error: redb::Error) -> EngineError {
        failed(&self.path, error)
    }

    fn write(
        &self,
        durability: Durability,
        body: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), EngineError> {
        let commit = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            for bucket in Bucket::ALL {
                drop(transaction.open_table(table(bucket))?);
            }
            body(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        commit().map_err(|error| self.failed(error))
    }
}

fn failed(path: &str, error: redb::Error) -> EngineError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) => EngineError::Io { path, source },
        other => EngineError::Corrupt { path, what: other.to_string() },
    }
}

impl Engine for RedbEngine {
    fn apply(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.write(Durability::None, |transaction| {
            for bucket in Bucket::ALL {
                let mut open = None;
                for write in writes.iter().filter(|write| write.bucket == bucket) {
                    let table = match &mut open {
                        Some(table) => table,
                        None => open.insert(transaction.open_table(table(bucket))?),
                    };
                    match &write.value {
                        Some(value) => drop(table.insert(write.key.as_ref(), value.as_ref())?),
                        None => drop(table.remove(write.key.as_ref())?),
                    }
                }
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, EngineError> {
        let transaction = self.database.begin_read().map_err(|error| self.failed(error.into()))?;
        Ok(Box::new(RedbReader { transaction, path: self.path.clone() }))
    }

    fn size(&self) -> Result<EngineSize, EngineError> {
        let file_bytes =
            self.file.len().map_err(|source| EngineError::Io { path: self.path.clone(), source })?;
        Ok(EngineSize { file_bytes, in_use_bytes: file_bytes })
    }

    fn name(&self) -> &'static str {
        "redb"
    }
}

/// redb as of one moment.
struct RedbReader {
    transaction: ReadTransaction,
    path: String,
}

impl RedbReader {
    fn with<T>(
        &self,
        bucket: Bucket,
        body: impl FnOnce(&redb::ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, EngineError> {
        let table = match self.transaction.open_table(table(bucket)) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(failed(&self.path, error.into())),
        };
        body(&table).map(Some).map_err(|error| failed(&self.path, error))
    }
}

impl Reader for RedbReader {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self
            .with(bucket, |table| Ok(table.get(key)?.map(|value| Bytes::copy_from_slice(value.value()))))?;
        Ok(found.flatten())
    }

    fn range(&self, bucket: Bucket, from: &[u8], limit: usize) -> Result<Vec<Pair>, EngineError> {
        let found = self.with(bucket, |table| {
            let mut pairs = Vec::new();
            for item in table.range(from..)?.take(limit) {
                let (key, value) = item?;
                pairs.push((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())));
            }
            Ok(pairs)
        })?;
        Ok(found.unwrap_or_default())
    }
}
