//! A redb read transaction as a [`Reader`]: a true snapshot that neither blocks nor is blocked.
//!
//! It keeps the store open, so a view outlives the swap of its engine. Pages it can see are not reused while it
//! lives: a view held long makes the file grow.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata};

use super::store::{LIVE_BYTES, SUMS, Store, corrupt, redb_error, table_of};
use crate::machine::persist::Bucket;
use crate::storage::engine::seal::{describe_broken_seal, open_seal};
use crate::storage::engine::{EngineError, PageLimit, Pair, Reader, pair_bytes};

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A consistent view of a [`super::RedbEngine`].
pub struct RedbReader {
    // Dropped before the transaction, and that before the store.
    tables: [OnceCell<Table>; Bucket::ALL.len()],
    txn: ReadTransaction,
    store: Arc<Store>,
}

impl RedbReader {
    /// A view of everything committed so far.
    pub(super) fn open(store: &Arc<Store>, txn: ReadTransaction) -> RedbReader {
        RedbReader { tables: std::array::from_fn(|_| OnceCell::new()), txn, store: Arc::clone(store) }
    }

    fn table(&self, bucket: Bucket) -> Result<&Table, EngineError> {
        let cell = self
            .tables
            .get(usize::from(bucket.number()))
            .ok_or_else(|| corrupt(self.store.path(), "a bucket without a table"))?;
        if let Some(table) = cell.get() {
            return Ok(table);
        }
        let table = self.txn.open_table(table_of(bucket)).map_err(|error| self.error(error))?;
        Ok(cell.get_or_init(|| table))
    }

    fn error(&self, error: impl Into<redb::Error>) -> EngineError {
        redb_error(self.store.path(), error)
    }

    fn unseal(&self, bucket: Bucket, key: &[u8], sealed: &[u8]) -> Result<Bytes, EngineError> {
        open_seal(bucket, key, sealed)
            .ok_or_else(|| corrupt(self.store.path(), describe_broken_seal(bucket, key)))
    }

    /// How many pairs redb believes the bucket has.
    pub(super) fn count(&self, bucket: Bucket) -> Result<u64, EngineError> {
        self.store.read(|_| self.table(bucket)?.len().map_err(|error| self.error(error)))
    }

    /// The stored sum of key and value bytes.
    pub(super) fn live_bytes(&self) -> Result<u64, EngineError> {
        self.store.read(|_| {
            let sums = self.txn.open_table(SUMS).map_err(|error| self.error(error))?;
            let sum = sums.get(LIVE_BYTES).map_err(|error| self.error(error))?;
            sum.map(|sum| sum.value()).ok_or_else(|| corrupt(self.store.path(), "its sums are missing"))
        })
    }
}

impl Reader for RedbReader {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.store.read(|_| {
            let found = self.table(bucket)?.get(key).map_err(|error| self.error(error))?;
            found.map(|sealed| self.unseal(bucket, key, sealed.value())).transpose()
        })
    }

    fn page(&self, bucket: Bucket, from: &[u8], limit: PageLimit) -> Result<Vec<Pair>, EngineError> {
        self.store.read(|_| {
            let mut range = self.table(bucket)?.range::<&[u8]>(from..).map_err(|error| self.error(error))?;
            let mut pairs: Vec<Pair> = Vec::new();
            let mut bytes = 0_usize;
            while !limit.is_reached(pairs.len(), bytes) {
                let Some(entry) = range.next() else { break };
                let (key, sealed) = entry.map_err(|error| self.error(error))?;
                let value = self.unseal(bucket, key.value(), sealed.value())?;
                bytes = bytes.saturating_add(pair_bytes(key.value(), &value));
                pairs.push((Bytes::copy_from_slice(key.value()), value));
            }
            Ok(pairs)
        })
    }
}
