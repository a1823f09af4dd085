//! One open redb file: the database, its gate, its path, and the net under its panics.
//!
//! redb reports most damage as an error, and panics on some. A panic is caught here and becomes `Corrupt`;
//! that is sound because afterwards the store refuses every call and its gate is shut, so no state that the
//! panic left half-changed is ever looked at or written. In a build with `panic = "abort"` a panic ends the
//! process instead, which is the other way of stopping the member.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use redb::{Builder, Database, TableDefinition};

use super::backend::{Backend, Gate};
use crate::env::{Disk, File, OpenMode};
use crate::machine::persist::Bucket;
use crate::storage::engine::identity::{
    COPY_BYTES, HEADER_BYTES, KindNumber, SECOND_COPY_OFFSET, check_header, encode_header,
};
use crate::storage::engine::{EngineError, Identity};

/// The table of a bucket.
pub fn table_of(bucket: Bucket) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(bucket.name())
}

/// The engine's own sums, beside the buckets.
pub const SUMS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("quorate_sums");
/// Bytes of all keys and values held, checksums not counted.
pub const LIVE_BYTES: &str = "live_bytes";

/// An open redb file.
pub struct Store {
    db: Option<Database>,
    gate: Arc<Gate>,
    file: Arc<dyn File>,
    path: PathBuf,
    dead: AtomicBool,
    /// What was found corrupt, when that is why it is dead.
    corrupt: OnceLock<String>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Creates the file at `path`, header included; nothing is durable before the first durable commit.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn create(
        disk: &dyn Disk,
        path: &Path,
        identity: Identity,
        cache_bytes: usize,
    ) -> Result<Store, EngineError> {
        let file = disk.open(path, OpenMode::CreateNew).map_err(|error| io_error(path, error))?;
        file.write_at(0, &encode_header(KindNumber::Redb, identity)).map_err(|error| {
            let text = format!("cannot write the header at offset 0: {error}");
            io_error(path, io::Error::new(error.kind(), text))
        })?;
        Store::over(file, path, cache_bytes, Arc::default())
    }

    /// Opens the file at `path`, after its header was found to be this member's. Nothing is written until
    /// [`Store::accept`], or the first call that writes.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn open(
        disk: &dyn Disk,
        path: &Path,
        identity: Identity,
        cache_bytes: usize,
    ) -> Result<Store, EngineError> {
        let file = disk.open(path, OpenMode::ReadWrite).map_err(|error| io_error(path, error))?;
        let len = file.len().map_err(|error| io_error(path, error))?;
        if len <= u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX) {
            return Err(corrupt(path, format!("the file ends at offset {len}")));
        }
        let page = read_header(&*file, path).map_err(unreadable)?;
        check_header(&page, KindNumber::Redb, identity)
            .map_err(|fault| fault.at(&path.display().to_string()))?;
        let gate = Arc::<Gate>::default();
        // The planted bug lets redb write to a file that may yet be refused.
        if !crate::mutant!("engine-written-before-it-is-verified") {
            gate.hold(len);
        }
        let mut store = Store::over(file, path, cache_bytes, gate).map_err(unverified).map_err(unreadable)?;
        // The planted bug trusts the file.
        if !crate::mutant!("engine-pages-not-verified-at-start") {
            store.verify().map_err(unreadable)?;
        }
        Ok(store)
    }

    /// The same file, which is called `path` in errors from now on, because it is about to be renamed.
    #[must_use]
    pub fn named(mut self, path: &Path) -> Store {
        path.clone_into(&mut self.path);
        self
    }

    /// Holds every page that the last durable commit refers to against its checksum: redb itself reads pages
    /// without, and a member that starts on rotten ones would find out later, or worse, write by them.
    fn verify(&mut self) -> Result<(), EngineError> {
        let (path, gate) = (self.path.clone(), Arc::clone(&self.gate));
        let Some(db) = self.db.as_mut() else { return Err(corrupt(&path, "it is closed")) };
        let checked = catch_unwind(AssertUnwindSafe(|| db.check_integrity()));
        match checked {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => {
                // Its trees check out, so what redb rebuilt from them is right.
                tracing::warn!(file = %path.display(), "the record of allocated pages was rebuilt");
                Ok(())
            }
            Ok(Err(error)) => Err(placed(database_error(&path, error), &gate)),
            Err(panic) => {
                self.end();
                Err(placed(corrupt(&path, panic_text(&*panic)), &gate))
            }
        }
    }

    fn over(
        file: Arc<dyn File>,
        path: &Path,
        cache_bytes: usize,
        gate: Arc<Gate>,
    ) -> Result<Store, EngineError> {
        let backend = Backend::new(Arc::clone(&file), Arc::clone(&gate));
        let seen = Arc::clone(&gate);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Builder::new()
                .set_cache_size(cache_bytes)
                // Every durable commit of ours is a two-phase one that carries the allocator's state, so a
                // file that would need redb's repair is damaged. A repair may fall back to an older commit,
                // and that would be a silent step back in time.
                .set_repair_callback(|session| session.abort())
                .create_with_backend(backend)
        }));
        match opened {
            Ok(Ok(db)) => {
                let (path, dead) = (path.to_owned(), AtomicBool::new(false));
                Ok(Store { db: Some(db), gate, file, path, dead, corrupt: OnceLock::new() })
            }
            Ok(Err(error)) => Err(placed(database_error(path, error), &seen)),
            Err(panic) => Err(placed(corrupt(path, panic_text(&*panic)), &seen)),
        }
    }

    /// Runs `work` on the database. An error of a write, or a panic, ends the store.
    ///
    /// # Errors
    /// What `work` returns, or `Corrupt` when it panicked or an earlier write failed.
    pub fn write<T>(&self, work: impl FnOnce(&Database) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let written = self.read(|db| self.release().and_then(|()| work(db)));
        written.inspect_err(|error| self.end_over(error))
    }

    /// The member starts on what this holds: what redb was to write when it opened the file is written, and durable.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn accept(&self) -> Result<(), EngineError> {
        self.write(|_| Ok(()))
    }

    fn release(&self) -> Result<(), EngineError> {
        self.gate.release(&*self.file).map_err(|error| io_error(&self.path, error))
    }

    /// Runs `work` on the database; only a panic ends the store.
    ///
    /// # Errors
    /// What `work` returns, or `Corrupt` when it panicked or an earlier write failed.
    pub fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let db = self.db.as_ref().filter(|_| !self.dead.load(Ordering::Acquire));
        let Some(db) = db else {
            // Whoever comes second may be the one who is heard, so the cause goes along.
            let error = match (self.corrupt.get(), self.gate.failure()) {
                (Some(what), _) => {
                    return Err(corrupt(&self.path, format!("an earlier call has failed: {what}")));
                }
                (None, Some(cause)) => {
                    io::Error::new(cause.kind(), format!("an earlier call has failed: {cause}"))
                }
                (None, None) => io::Error::other("an earlier call has failed, or it is closed"),
            };
            return Err(io_error(&self.path, error));
        };
        match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(result) => result.map_err(|error| placed(error, &self.gate)),
            Err(panic) => {
                let error = placed(corrupt(&self.path, panic_text(&*panic)), &self.gate);
                self.end_over(&error);
                Err(error)
            }
        }
    }

    fn end_over(&self, error: &EngineError) {
        if let EngineError::Corrupt { what, .. } = error {
            // Only the first is the cause.
            self.corrupt.get_or_init(|| what.clone());
        }
        self.end();
    }

    /// Refuses all further calls and writes.
    pub fn end(&self) {
        self.dead.store(true, Ordering::Release);
        self.gate.shut();
    }

    /// Stops writes; open readers go on.
    pub fn shut(&self) {
        self.gate.shut();
    }

    /// Lets redb close the file its own way, which cuts it to size, and makes that durable.
    ///
    /// # Errors
    /// `Io` when anything failed on the way.
    pub fn finish(mut self) -> Result<(), EngineError> {
        self.release()?;
        let (gate, file, path) = (Arc::clone(&self.gate), Arc::clone(&self.file), self.path.clone());
        let db = self.db.take();
        if catch_unwind(AssertUnwindSafe(move || drop(db))).is_err() || gate.has_failed() {
            let cause = gate.failure().unwrap_or_else(|| io::Error::other("redb gave up"));
            let text = format!("the file could not be completed: {cause}");
            return Err(io_error(&path, io::Error::new(cause.kind(), text)));
        }
        file.sync_data().map_err(|error| io_error(&path, error))
    }

    /// The file's length, in bytes.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn file_bytes(&self) -> Result<u64, EngineError> {
        self.file.len().map_err(|error| io_error(&self.path, error))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.gate.shut();
        let db = self.db.take();
        // redb tries to write on drop and meets the shut gate; should it panic over that, nobody is left to
        // be told.
        drop(catch_unwind(AssertUnwindSafe(move || drop(db))));
    }
}

/// The page with our header; a copy that cannot be read is left zero, for the other one may be sound. Nothing else of the
/// page is asked for: where sectors are read one by one, a bad one between the copies does no harm.
fn read_header(file: &dyn File, path: &Path) -> Result<Vec<u8>, EngineError> {
    let mut page = vec![0; HEADER_BYTES];
    let mut failed = None;
    let mut read = 0_usize;
    // The planted bug reads what stands behind each copy too.
    let bytes = if crate::mutant!("engine-header-read-by-halves") { SECOND_COPY_OFFSET } else { COPY_BYTES };
    for offset in [0, SECOND_COPY_OFFSET] {
        let Some(copy) = page.get_mut(offset..offset.saturating_add(bytes)) else { continue };
        match file.read_at(u64::try_from(offset).unwrap_or(u64::MAX), copy) {
            Ok(()) => read += 1,
            Err(error) => {
                copy.fill(0);
                failed = Some((offset, error));
            }
        }
    }
    match failed {
        Some((offset, error)) if read == 0 => {
            let text = format!("cannot read the header at offset {offset}: {error}");
            Err(io_error(path, io::Error::new(error.kind(), text)))
        }
        _ => Ok(page),
    }
}

/// The error with its place, when it says none itself: of the call that failed, or of the last page read.
fn placed(error: EngineError, gate: &Gate) -> EngineError {
    match (error, gate.failure()) {
        (EngineError::Corrupt { path, what }, _) if !what.contains("offset ") => {
            EngineError::Corrupt { path, what: format!("{what} ({})", gate.last_read()) }
        }
        (EngineError::Io { path, source }, Some(cause)) if !source.to_string().contains("offset ") => {
            io_error(Path::new(&path), cause)
        }
        (error, _) => error,
    }
}

/// What redb says while it opens a file may come of a page that it read before the one it names.
fn unverified(error: EngineError) -> EngineError {
    match error {
        EngineError::Corrupt { path, what } => {
            EngineError::Corrupt { path, what: format!("{what}, before its pages could be verified") }
        }
        error => error,
    }
}

/// Until the member starts on what the file holds it is only read: what the disk refuses until then, it cannot read.
fn unreadable(error: EngineError) -> EngineError {
    match error {
        EngineError::Io { path, source } => EngineError::Unreadable { path, source },
        error => error,
    }
}

/// `Corrupt` at `path`.
pub fn corrupt(path: &Path, what: impl Into<String>) -> EngineError {
    EngineError::Corrupt { path: path.display().to_string(), what: what.into() }
}

/// What the disk said, or `Corrupt` when it said that redb asked for bytes that are not there.
pub fn io_error(path: &Path, source: io::Error) -> EngineError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => corrupt(path, source.to_string()),
        _ => EngineError::Io { path: path.display().to_string(), source },
    }
}

/// Any redb error as ours.
pub fn redb_error(path: &Path, error: impl Into<redb::Error>) -> EngineError {
    match error.into() {
        redb::Error::Io(source) => io_error(path, source),
        error @ redb::Error::PreviousIo => io_error(path, io::Error::other(error.to_string())),
        error @ redb::Error::DatabaseClosed => io_error(path, io::Error::other(error.to_string())),
        error => corrupt(path, error.to_string()),
    }
}

fn database_error(path: &Path, error: redb::DatabaseError) -> EngineError {
    match error {
        // Our own header has already vouched for the format, redb's included.
        redb::DatabaseError::UpgradeRequired(version) => {
            corrupt(path, format!("redb's own header claims the file format {version}"))
        }
        redb::DatabaseError::RepairAborted => {
            corrupt(path, "the record of allocated pages does not fit the last commit")
        }
        error => redb_error(path, error),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    format!("redb gave up: {}", text.lines().next().unwrap_or(text))
}
