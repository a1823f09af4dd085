//! The one snapshot file of a member whose engine does not survive a power loss: its writing, replacement and use.
//!
//! Invariants: the newest file is never replaced by an older one, whoever finishes last; what
//! [`FullSnapshot::covers`] affirms is durable, so the log may be purged up to there and no further. The file is
//! written on a worker of its own, a few pairs at a time from a view of the engine: neither applying nor reading
//! waits for it. It is not believed before all of it was read (see [`FullSnapshot::find`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{Env, Worker, run};
use crate::storage::engine::Reader;
use crate::storage::snapshot_file::{
    SnapshotFileError, SnapshotFileHeader, SnapshotReader, SnapshotWriter, copy_into, verify_snapshot,
};
use crate::storage::wal::Identity;
use crate::types::LogId;

/// The file's name in the state's folder.
pub const FILE_NAME: &str = "full.snapshot";
/// A file that this member writes of its own state, until it is whole. A leftover is removed at the next start.
pub const NEW_FILE_NAME: &str = "full.snapshot.new";

/// The snapshot file. Cheap to clone.
#[derive(Clone)]
pub struct FullSnapshot {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    worker: Arc<dyn Worker>,
    dir: PathBuf,
    identity: Identity,
    /// Held while a finished file is put in place: only a newer one may be.
    publishing: Mutex<()>,
    /// Where the durable file stands.
    newest: Mutex<Option<LogId>>,
    stopping: AtomicBool,
}

impl FullSnapshot {
    /// The snapshot file in `dir`.
    pub fn new(env: &Env, dir: &Path, identity: Identity) -> FullSnapshot {
        let shared = Shared {
            env: env.clone(),
            worker: env.workers.start("snapshot"),
            dir: dir.to_owned(),
            identity,
            publishing: Mutex::new(()),
            newest: Mutex::new(None),
            stopping: AtomicBool::new(false),
        };
        FullSnapshot { shared: Arc::new(shared) }
    }

    fn newest(&self) -> MutexGuard<'_, Option<LogId>> {
        self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> PathBuf {
        self.shared.dir.join(FILE_NAME)
    }

    /// Whether a durable file holds everything up to `at`: only then may the log forget it.
    pub fn covers(&self, at: LogId) -> bool {
        *self.newest() >= Some(at)
    }

    /// At a start: where the file stands that is there; none when there is none. All of it is read. Blocks.
    ///
    /// # Errors
    /// `Corrupt` for a damaged file, `Refused` for a foreign or newer one, `Io` when the disk fails.
    pub fn find(&self) -> Result<Option<LogId>, SnapshotFileError> {
        match verify_snapshot(&*self.shared.env.disk, &self.path(), self.shared.identity) {
            Ok(header) => {
                *self.newest() = Some(header.applied);
                Ok(Some(header.applied))
            }
            Err(SnapshotFileError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file, for reading what [`FullSnapshot::find`] found.
    ///
    /// # Errors
    /// See [`SnapshotFileError`].
    pub fn open(&self) -> Result<SnapshotReader, SnapshotFileError> {
        SnapshotReader::open(&*self.shared.env.disk, &self.path(), self.shared.identity)
    }

    /// Begins a file of the state as of `applied`, named `new` until it is published. Blocks.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn begin(&self, new: &Path, applied: LogId) -> Result<SnapshotWriter, SnapshotFileError> {
        let header = SnapshotFileHeader { identity: self.shared.identity, applied };
        SnapshotWriter::create_as(&self.shared.env.disk, new, &self.path(), header)
    }

    /// Completes a file and puts it, durably, in the place of the one that is there; an older one is given up
    /// instead. The WAL must be durable through the entry that it stands at. Blocks.
    ///
    /// # Errors
    /// `Io` when the disk fails.
    pub fn publish(&self, writer: SnapshotWriter) -> Result<(), SnapshotFileError> {
        let _ordered = self.shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = writer.applied();
        if self.covers(applied) {
            return writer.abandon();
        }
        writer.finish()?;
        *self.newest() = Some(applied);
        Ok(())
    }

    /// Writes what `reader` sees, the state as of `applied`, and publishes it. Blocks.
    ///
    /// # Errors
    /// `Engine` when the view cannot be read (it may have become too old), `Io` when the disk fails or the
    /// member stops; the previous file is then still there.
    pub fn copy(&self, applied: LogId, reader: &dyn Reader) -> Result<(), SnapshotFileError> {
        if self.covers(applied) {
            return Ok(());
        }
        let new = self.shared.dir.join(NEW_FILE_NAME);
        let mut writer = self.begin(&new, applied)?;
        copy_into(&mut writer, reader, &mut || self.go_on(&new))?;
        self.publish(writer)
    }

    fn go_on(&self, path: &Path) -> Result<(), SnapshotFileError> {
        if !self.shared.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let path = path.display().to_string();
        Err(SnapshotFileError::Io { path, source: io::Error::other("the member stops") })
    }

    /// As [`FullSnapshot::copy`], on the file's own worker; gives the view back.
    ///
    /// # Errors
    /// As [`FullSnapshot::copy`].
    pub async fn write(
        &self,
        applied: LogId,
        reader: Box<dyn Reader>,
    ) -> Result<Box<dyn Reader>, SnapshotFileError> {
        let own = self.clone();
        let path = self.path().display().to_string();
        run(&*self.shared.worker, move || own.copy(applied, &*reader).map(|()| reader))
            .await
            .map_err(|source| SnapshotFileError::Io { path, source })?
    }

    /// Ends the writing that is under way, and waits until it has let go of its view.
    pub async fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        // A worker that has ended holds no view either.
        drop(run(&*self.shared.worker, || ()).await);
    }
}
