//! sled itself, behind a net: its errors and panics as ours, values sealed, buckets as key prefixes.
//!
//! All buckets share one tree, under keys that begin with the bucket's number, because sled makes batches atomic
//! only within a tree. The engine's own sums stand above all buckets.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::env::Lock;
use crate::machine::persist::Bucket;
use crate::storage::engine::seal::{describe_broken_seal, open_seal};
use crate::storage::engine::{EngineError, EngineOptions, IntegrityReport, PageLimit, pair_bytes};

/// Above every bucket's prefix.
const SUMS_KEY: &[u8] = &[0xff];

/// An open sled folder.
#[derive(Debug)]
pub struct Db {
    // Dropped before the lock.
    tree: sled::Db,
    path: PathBuf,
    dead: AtomicBool,
    _lock: Box<dyn Lock>,
}

impl Db {
    /// Opens sled in `data`; `dir` is what errors name.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn open(
        dir: &Path,
        data: &Path,
        lock: Box<dyn Lock>,
        options: EngineOptions,
    ) -> Result<Db, EngineError> {
        let cache = u64::try_from(options.cache_bytes).unwrap_or(u64::MAX);
        let config = sled::Config::new()
            .path(data)
            .cache_capacity(cache)
            .mode(sled::Mode::HighThroughput)
            // When to flush is the caller's to say.
            .flush_every_ms(None);
        let tree = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|panic| given_up(dir, &*panic))?
            .map_err(|error| sled_error(dir, error))?;
        Ok(Db { tree, path: dir.to_owned(), dead: AtomicBool::new(false), _lock: lock })
    }

    /// Runs `work` on sled. A panic ends the engine; with `fatal` an error does too.
    ///
    /// # Errors
    /// What `work` returns; `Corrupt` after a panic, `Io` after an earlier end.
    pub fn run<T>(
        &self,
        fatal: bool,
        work: impl FnOnce(&sled::Db) -> Result<T, sled::Error>,
    ) -> Result<T, EngineError> {
        if self.dead.load(Ordering::Acquire) {
            return Err(io_error(&self.path, io::Error::other("an earlier call has failed")));
        }
        let result = catch_unwind(AssertUnwindSafe(|| work(&self.tree)));
        if result.is_err() || (fatal && matches!(result, Ok(Err(_)))) {
            self.dead.store(true, Ordering::Release);
        }
        result.map_err(|panic| given_up(&self.path, &*panic))?.map_err(|error| sled_error(&self.path, error))
    }

    /// The value under a key of sled's.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let sealed = self.run(false, |tree| tree.get(key))?;
        sealed.map(|sealed| self.unseal(key, &sealed)).transpose()
    }

    /// The bucket's pairs from `from` (a key of sled's) on, as many as `limit` takes, and whether there may be more.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn page(
        &self,
        bucket: Bucket,
        from: &[u8],
        limit: PageLimit,
    ) -> Result<(BTreeMap<Bytes, Bytes>, bool), EngineError> {
        let end = prefixed(bucket, &[]).first().map_or(u8::MAX, |number| number.saturating_add(1));
        let (pairs, full) = self.run(false, |tree| {
            let mut range = tree.range(from..&[end]);
            let mut pairs = Vec::new();
            let mut bytes = 0_usize;
            while !limit.is_reached(pairs.len(), bytes) {
                let Some(pair) = range.next() else { return Ok((pairs, false)) };
                let (key, sealed) = pair?;
                bytes = bytes.saturating_add(pair_bytes(&key, &sealed));
                pairs.push((key, sealed));
            }
            Ok((pairs, true))
        })?;
        let unsealed = pairs
            .into_iter()
            .map(|(key, sealed)| Ok((Bytes::copy_from_slice(&key), self.unseal(&key, &sealed)?)))
            .collect::<Result<_, EngineError>>()?;
        Ok((unsealed, full))
    }

    fn unseal(&self, key: &[u8], sealed: &[u8]) -> Result<Bytes, EngineError> {
        let (bucket, rest) =
            split_key(key).ok_or_else(|| corrupt(&self.path, "a key belongs to no bucket"))?;
        open_seal(bucket, rest, sealed).ok_or_else(|| corrupt(&self.path, describe_broken_seal(bucket, rest)))
    }

    /// The stored sums; none in a new engine.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn sums(&self) -> Result<Option<IntegrityReport>, EngineError> {
        let Some(stored) = self.run(false, |tree| tree.get(SUMS_KEY))? else { return Ok(None) };
        let decoded = (|| {
            let (pairs, rest) = stored.split_first_chunk::<8>()?;
            let (bytes, rest) = rest.split_first_chunk::<8>()?;
            let sums =
                IntegrityReport { pairs: u64::from_be_bytes(*pairs), bytes: u64::from_be_bytes(*bytes) };
            (rest == crc32c::crc32c(stored.get(..16)?).to_be_bytes()).then_some(sums)
        })();
        decoded.map(Some).ok_or_else(|| corrupt(&self.path, "its sums are damaged"))
    }

    /// What the engine takes on the disk, in bytes.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.run(false, sled::Db::size_on_disk)
    }
}

/// Puts the sums into a batch.
pub fn put_sums(batch: &mut sled::Batch, sums: IntegrityReport) {
    let mut value = sums.pairs.to_be_bytes().to_vec();
    value.extend_from_slice(&sums.bytes.to_be_bytes());
    let crc = crc32c::crc32c(&value);
    value.extend_from_slice(&crc.to_be_bytes());
    batch.insert(SUMS_KEY, value);
}

/// sled's key for a key of a bucket.
pub fn prefixed(bucket: Bucket, key: &[u8]) -> Bytes {
    let mut prefixed = Vec::with_capacity(key.len().saturating_add(1));
    prefixed.push(bucket.number());
    prefixed.extend_from_slice(key);
    Bytes::from(prefixed)
}

/// A bucket and its key, out of sled's key.
fn split_key(key: &[u8]) -> Option<(Bucket, &[u8])> {
    let (number, rest) = key.split_first()?;
    Some((Bucket::from_number(*number)?, rest))
}

/// `Io` at `path`.
pub fn io_error(path: &Path, source: io::Error) -> EngineError {
    EngineError::Io { path: path.display().to_string(), source }
}

/// `Corrupt` at `path`.
pub fn corrupt(path: &Path, what: impl Into<String>) -> EngineError {
    EngineError::Corrupt { path: path.display().to_string(), what: what.into() }
}

fn sled_error(path: &Path, error: sled::Error) -> EngineError {
    match error {
        sled::Error::Io(source) => io_error(path, source),
        error => corrupt(path, one_line(&error.to_string())),
    }
}

fn given_up(path: &Path, panic: &(dyn std::any::Any + Send)) -> EngineError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    corrupt(path, format!("sled gave up: {}", one_line(text)))
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or(text).to_owned()
}
