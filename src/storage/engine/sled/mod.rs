//! The second engine: sled, offered as what it safely can be.
//!
//! - Its flush does not survive a power loss, so neither does ours ([`Engine::survives_power_loss`]): the WAL is
//!   purged only up to a full snapshot file, and the folder is believed only after a clean close (see
//!   [`trust`]). In every other case [`open`] answers `Untrusted`, and the caller rebuilds.
//! - It has no snapshots; views are made of pre-images (see [`overlay`]).
//! - A panic of sled's, or a failed write, ends the engine; the member stops and rebuilds at its restart.
//!
//! Plain build only: sled starts threads and opens its files itself, past our disk. Only what is around it (the
//! identity, the lock, the mark) goes through [`Disk`].

mod db;
mod overlay;
mod trust;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use bytes::Bytes;

use self::db::{Db, corrupt, io_error, prefixed, put_sums};
use self::overlay::{Overlay, Overrun, PRE_IMAGE_BYTES_MAX, record_with_all};
use self::trust::{CLEAN, DATA, IDENTITY, LOCK};
use super::identity::{KindNumber, check_header, encode_header};
use super::seal::seal_into;
use super::{
    CHUNK_PAIRS_MAX, Engine, EngineError, EngineOptions, EngineSize, Identity, IntegrityReport, Opened,
    PageLimit, Pair, Reader, pair_bytes, successor, walk,
};
use crate::env::{Disk, Lock};
use crate::machine::persist::{Bucket, Write};

/// How often a close asks whether sled has let go of its file before it gives up on a clean close.
const RELEASE_ATTEMPTS_MAX: u32 = 200_000;
/// sled's name for its file.
const SLED_FILE: &str = "db";

/// The engine.
#[derive(Debug)]
pub struct SledEngine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shared: RwLock<Option<Arc<Shared>>>,
}

#[derive(Debug)]
struct Shared {
    db: Db,
    // Held through a write and while a reader is opened: a view begins between two batches.
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    sums: IntegrityReport,
    readers: Vec<Weak<Overlay>>,
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the engine in `dir`, or creates it there, or says why it is not to be trusted.
///
/// # Errors
/// `Refused` for a foreign or newer folder or one in use, `Corrupt` when sled cannot read a folder that was closed
/// cleanly, `Io` when the disk fails.
pub fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    options: EngineOptions,
) -> Result<Opened, EngineError> {
    let io = |source| io_error(dir, source);
    disk.create_dir_all(dir).map_err(io)?;
    let lock = take_lock(&**disk, dir)?;
    let names = disk.list(dir).map_err(io)?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if !has(IDENTITY) && !has(DATA) && !has(CLEAN) {
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent).map_err(io)?;
        }
        trust::write_small(&**disk, dir, IDENTITY, &encode_header(KindNumber::Sled, identity)).map_err(io)?;
        return Ok(Opened::Created(start(disk, dir, lock, options, true)?));
    }
    if !has(IDENTITY) {
        return Err(corrupt(dir, "its identity file is missing"));
    }
    let header = trust::read_small(&**disk, &dir.join(IDENTITY)).map_err(io)?;
    check_header(&header, KindNumber::Sled, identity)
        .map_err(|fault| fault.at(&dir.join(IDENTITY).display().to_string()))?;
    if let Some(why) = trust::doubt(&**disk, dir).map_err(io)? {
        return Ok(Opened::Untrusted { why });
    }
    trust::remove_mark(&**disk, dir).map_err(io)?;
    Ok(Opened::Existing(start(disk, dir, lock, options, false)?))
}

fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Lock>, EngineError> {
    disk.lock(&dir.join(LOCK)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => EngineError::Refused {
            path: dir.display().to_string(),
            why: "another process has it open".to_owned(),
        },
        _ => io_error(dir, error),
    })
}

fn start(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    lock: Box<dyn Lock>,
    options: EngineOptions,
    created: bool,
) -> Result<Arc<dyn Engine>, EngineError> {
    let db = Db::open(dir, &dir.join(DATA), lock, options)?;
    let sums = db.sums()?;
    if sums.is_none() && !created {
        let empty = db.run(false, |tree| Ok(tree.is_empty()))?;
        if !empty {
            return Err(corrupt(dir, "its sums are missing"));
        }
    }
    let writer = Mutex::new(Writer { sums: sums.unwrap_or_default(), readers: Vec::new() });
    let shared = RwLock::new(Some(Arc::new(Shared { db, writer })));
    Ok(Arc::new(SledEngine { disk: Arc::clone(disk), dir: dir.to_owned(), shared }))
}

impl SledEngine {
    fn shared(&self) -> Result<Arc<Shared>, EngineError> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.clone().ok_or_else(|| io_error(&self.dir, io::Error::other("the engine is closed")))
    }

    /// Waits, boundedly, until nothing of sled's lives any more: its file is locked as long as it does.
    fn sled_has_let_go(&self) -> Result<bool, EngineError> {
        let path = self.dir.join(DATA).join(SLED_FILE);
        for _ in 0..RELEASE_ATTEMPTS_MAX {
            match self.disk.lock(&path) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(io_error(&path, error)),
            }
        }
        Ok(false)
    }
}

fn stored_bytes(key: &Bytes, value: &Bytes) -> u64 {
    // The prefix is not the caller's.
    u64::try_from(pair_bytes(key.get(1..).unwrap_or_default(), value)).unwrap_or(u64::MAX)
}

impl Engine for SledEngine {
    /// sled writes as it opens; what comes of that is not believed after anything but a clean close.
    fn accept(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), EngineError> {
        let shared = self.shared()?;
        let mut writer = shared.writer();
        let mut last: BTreeMap<Bytes, (&Write, Option<&Bytes>)> = BTreeMap::new();
        for write in writes {
            last.insert(prefixed(write.bucket, &write.key), (write, write.value.as_ref()));
        }
        let mut sums = writer.sums;
        let mut batch = sled::Batch::default();
        let mut old_values = BTreeMap::new();
        let mut sealed = Vec::new();
        for (key, (write, value)) in &last {
            let old = shared.db.get(key)?;
            if let Some(old) = &old {
                let rest = sums.pairs.checked_sub(1).zip(sums.bytes.checked_sub(stored_bytes(key, old)));
                let (pairs, bytes) =
                    rest.ok_or_else(|| corrupt(&self.dir, "its sums are smaller than what it holds"))?;
                sums = IntegrityReport { pairs, bytes };
            }
            match value {
                Some(value) => {
                    seal_into(&mut sealed, write.bucket, &write.key, value);
                    batch.insert(key.as_ref(), sealed.as_slice());
                    sums.pairs = sums.pairs.saturating_add(1);
                    sums.bytes = sums.bytes.saturating_add(stored_bytes(key, value));
                }
                None => batch.remove(key.as_ref()),
            }
            old_values.insert(key.clone(), old);
        }
        put_sums(&mut batch, sums);
        record_with_all(&mut writer.readers, &old_values);
        shared.db.run(true, |tree| tree.apply_batch(batch))?;
        writer.sums = sums;
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.shared()?.db.run(true, |tree| tree.flush()).map(drop)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, EngineError> {
        let shared = self.shared()?;
        let overlay = Arc::new(Overlay::new(PRE_IMAGE_BYTES_MAX));
        shared.writer().readers.push(Arc::downgrade(&overlay));
        Ok(Box::new(SledReader { overlay, shared, dir: self.dir.clone() }))
    }

    fn size(&self) -> Result<EngineSize, EngineError> {
        let shared = self.shared()?;
        let in_use_bytes = shared.writer().sums.bytes;
        Ok(EngineSize { file_bytes: shared.db.size_on_disk()?, in_use_bytes })
    }

    fn name(&self) -> &'static str {
        "sled"
    }

    fn integrity_check(&self) -> Result<IntegrityReport, EngineError> {
        let shared = self.shared()?;
        let overlay = Arc::new(Overlay::new(PRE_IMAGE_BYTES_MAX));
        let claimed = {
            let mut writer = shared.writer();
            writer.readers.push(Arc::downgrade(&overlay));
            writer.sums
        };
        let reader = SledReader { overlay, shared, dir: self.dir.clone() };
        let path = self.dir.display().to_string();
        let mut report = IntegrityReport::default();
        for bucket in Bucket::ALL {
            walk(&reader, &path, bucket, CHUNK_PAIRS_MAX, &mut |key, value| {
                let bytes = u64::try_from(key.len().saturating_add(value.len())).unwrap_or(u64::MAX);
                report.pairs = report.pairs.saturating_add(1);
                report.bytes = report.bytes.saturating_add(bytes);
                Ok(())
            })?;
        }
        if report != claimed {
            let what = format!(
                "it holds {} pairs of {} bytes and claims {} of {}",
                report.pairs, report.bytes, claimed.pairs, claimed.bytes
            );
            return Err(corrupt(&self.dir, what));
        }
        Ok(report)
    }

    fn close(&self) -> Result<(), EngineError> {
        self.flush()?;
        let shared = self.shared.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(shared) = shared else { return Ok(()) };
        let Ok(shared) = Arc::try_unwrap(shared) else {
            tracing::warn!(dir = %self.dir.display(), "sled was closed under an open reader; it will be rebuilt");
            return Ok(());
        };
        drop(shared);
        // From here nobody else writes below the folder: the lock is taken again for the mark.
        let _lock = take_lock(&*self.disk, &self.dir)?;
        if !self.sled_has_let_go()? {
            tracing::warn!(dir = %self.dir.display(), "sled did not let go of its file; it will be rebuilt");
            return Ok(());
        }
        let io = |source| io_error(&self.dir, source);
        let files = trust::list_files(&*self.disk, &self.dir.join(DATA), true).map_err(io)?;
        self.disk.sync_dir(&self.dir).map_err(io)?;
        trust::write_small(&*self.disk, &self.dir, CLEAN, &trust::encode_mark(&files)).map_err(io)
    }

    fn survives_power_loss(&self) -> bool {
        false
    }
}

/// A consistent view of a [`SledEngine`].
struct SledReader {
    overlay: Arc<Overlay>,
    shared: Arc<Shared>,
    dir: PathBuf,
}

impl SledReader {
    fn too_old(&self, _: Overrun) -> EngineError {
        EngineError::ReaderTooOld { path: self.dir.display().to_string() }
    }
}

impl Reader for SledReader {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let key = prefixed(bucket, key);
        // First sled, then the pre-images: see `overlay`.
        let stored = self.shared.db.get(&key)?;
        self.overlay.over(&key, stored).map_err(|error| self.too_old(error))
    }

    fn page(&self, bucket: Bucket, from: &[u8], limit: PageLimit) -> Result<Vec<Pair>, EngineError> {
        let mut from = prefixed(bucket, from);
        let end = [bucket.number().saturating_add(1)];
        let (mut seen, mut bytes) = (Vec::new(), 0_usize);
        while !limit.is_reached(seen.len(), bytes) {
            let step = PageLimit {
                pairs_max: limit.pairs_max.saturating_sub(seen.len()).min(CHUNK_PAIRS_MAX),
                bytes_max: limit.bytes_max.saturating_sub(bytes),
            };
            let (mut pairs, full) = self.shared.db.page(bucket, &from, step)?;
            let last = pairs.last_key_value().map(|(key, _)| key.clone()).filter(|_| full);
            self.overlay
                .over_range(&from, last.as_deref(), &mut pairs)
                .map_err(|error| self.too_old(error))?;
            for (key, value) in pairs.into_iter().filter(|(key, _)| key.as_ref() < end.as_slice()) {
                if limit.is_reached(seen.len(), bytes) {
                    return Ok(seen);
                }
                let key = key.slice(1..);
                bytes = bytes.saturating_add(pair_bytes(&key, &value));
                seen.push((key, value));
            }
            match last {
                Some(last) => from = successor(&last),
                None => break,
            }
        }
        Ok(seen)
    }
}
