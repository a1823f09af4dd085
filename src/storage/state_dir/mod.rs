//! Where a member's state lives on its disk: the live engine, and a new one while a snapshot is received.
//!
//! An engine that survives a power loss is one file, always believed after its checks. One that does not stands
//! beside the snapshot file that it can be rebuilt from; `rebuilt` has its rules, `staging` those of a snapshot
//! that a peer sends, `rewriting` those of the live state that is written anew to take less space.

mod rebuilt;
mod rewriting;
mod staging;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::{Env, Worker, run};
use crate::machine::load::LoadError;
use crate::machine::persist::{Bucket, Write};
use crate::machine::state::{applied_write, decode_applied};
use crate::storage::data_dir::state_dir;
use crate::storage::engine::redb::FILE_NAME;
use crate::storage::engine::{
    Engine, EngineError, EngineKind, EngineOptions, HEADER_BYTES, Opened, Reader, open_engine, set_aside,
};
use crate::storage::full_snapshot::{self, FullSnapshot};
use crate::storage::wal::Identity;
use crate::types::LogId;

pub use rewriting::{Rewriting, Step};
pub use staging::Staging;

/// Under this key of the meta bucket stands the entry at which the engine was built from a snapshot. Only such
/// an engine may be ahead of the WAL, and only at that very entry.
const INSTALLED_KEY: &[u8] = b"installed";

/// Engines under construction carry this prefix.
const INCOMING_PREFIX: &str = "incoming-";

/// A file whose name is just being given anew carries this suffix.
const RENAMED_SUFFIX: &str = ".renamed";

/// What [`set_aside`] puts into a name.
const ASIDE_MARK: &str = ".aside-";

/// What marks an engine as built from a snapshot at `at`.
pub fn installed_write(at: LogId) -> Write {
    Write { key: bytes::Bytes::from_static(INSTALLED_KEY), ..applied_write(at) }
}

/// How the engine came to hold what it holds when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There was none; it is empty.
    Created,
    /// It was there and is believed.
    Found,
    /// What was there is not believed, or nothing was.
    Rebuilt {
        /// The entry of the snapshot file that it was filled from; none when the log has everything.
        from: Option<LogId>,
        /// What spoke against the engine that was there.
        why: String,
    },
}

/// The state's place on the disk. Cheap to clone.
#[derive(Clone)]
pub struct StateDir {
    env: Env,
    worker: Arc<dyn Worker>,
    dir: PathBuf,
    kind: EngineKind,
    identity: Identity,
    options: EngineOptions,
    /// Of an engine that does not survive a power loss.
    full: Option<FullSnapshot>,
    /// The number of the live engine's folder, where engines have one.
    live: Arc<AtomicU64>,
    /// What peers have begun to send.
    begun: staging::Begun,
}

impl StateDir {
    /// The state under `data_dir`; its blocking work runs on `worker`.
    pub fn new(
        env: Env,
        worker: Arc<dyn Worker>,
        data_dir: &Path,
        kind: EngineKind,
        identity: Identity,
    ) -> StateDir {
        let dir = state_dir(data_dir);
        let full = (!kind.survives_power_loss()).then(|| FullSnapshot::new(&env, &dir, identity));
        let (options, live) = (EngineOptions::default(), Arc::new(AtomicU64::new(0)));
        let begun = staging::Begun::default();
        StateDir { env, worker, dir, kind, identity, options, full, live, begun }
    }

    /// The same place, whose engines are opened like this.
    #[must_use]
    pub fn with_options(self, options: EngineOptions) -> StateDir {
        StateDir { options, ..self }
    }

    /// The snapshot file, for an engine that needs one before the log is purged.
    pub fn full_snapshot(&self) -> Option<&FullSnapshot> {
        self.full.as_ref()
    }

    /// Where the engine says what it holds, for errors.
    pub fn root(&self) -> String {
        match &self.full {
            None => format!("{} (root at offset {HEADER_BYTES})", self.dir.join(FILE_NAME).display()),
            Some(_) => self.dir.display().to_string(),
        }
    }

    /// Why the state could not be loaded, with the file where the error itself does not name it.
    pub fn said(&self, error: &LoadError<EngineError>) -> String {
        match error {
            LoadError::Store(error) => error.to_string(),
            LoadError::Corrupt { .. } => format!("state engine {}: {error}", self.root()),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&StateDir) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let place = self.clone();
        let path = self.dir.display().to_string();
        run(&*self.worker, move || job(&place)).await.map_err(|source| EngineError::Io { path, source })?
    }

    fn live_number(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    fn failed(&self, source: std::io::Error) -> EngineError {
        EngineError::Io { path: self.dir.display().to_string(), source }
    }

    fn refused(&self, why: &str) -> EngineError {
        EngineError::Refused { path: self.dir.display().to_string(), why: why.to_owned() }
    }

    fn names(&self) -> Result<Vec<String>, EngineError> {
        self.env.disk.list(&self.dir).map_err(|error| self.failed(error))
    }

    /// Opens the live engine, or builds one, and says which. The log begins behind `purged`: an engine that must
    /// be rebuilt is, if that loses nothing. Leftovers of unfinished snapshots are removed.
    ///
    /// # Errors
    /// See [`EngineError`]; after `Lost` everything is still where it was.
    pub async fn open(&self, purged: Option<LogId>) -> Result<(Arc<dyn Engine>, Origin), EngineError> {
        self.blocking(move |place| {
            let disk = &*place.env.disk;
            let is_new = !disk.exists(&place.dir).map_err(|error| place.failed(error))?;
            disk.create_dir_all(&place.dir).map_err(|error| place.failed(error))?;
            place.rename_anew()?;
            place.refuse_other_kind()?;
            for name in place.names()? {
                if name.starts_with(INCOMING_PREFIX) || name == full_snapshot::NEW_FILE_NAME {
                    disk.remove_file(&place.dir.join(name)).map_err(|error| place.failed(error))?;
                }
            }
            place.sync_names().inspect_err(|_| {
                // No later sync would make its name durable; nobody else comes here while the log is locked.
                if is_new {
                    drop(disk.remove_dir_all(&place.dir));
                }
            })?;
            match &place.full {
                None => place.open_file(),
                Some(full) => place.open_or_rebuild(full, purged),
            }
        })
        .await
    }

    /// Gives each file that the state rests on its name anew, which the next sync of the folder makes durable. When such a
    /// sync failed, the file stays visible under its name, no later sync makes that durable, and after a power loss the
    /// file before it would be back: the log must not be purged by what a start finds there.
    fn rename_anew(&self) -> Result<(), EngineError> {
        let disk = &*self.env.disk;
        for name in [FILE_NAME, full_snapshot::FILE_NAME] {
            let (path, renamed) = (self.dir.join(name), self.dir.join(format!("{name}{RENAMED_SUFFIX}")));
            // The planted bug takes a name that it sees for a durable one.
            let doubted = !crate::mutant!("state-name-taken-for-durable");
            let exists = |path: &Path| disk.exists(path).map_err(|error| self.failed(error));
            let rename = |from: &Path, to: &Path| disk.rename(from, to).map_err(|error| self.failed(error));
            match (exists(&path)?, exists(&renamed)?) {
                (false, false) => {}
                (true, false) if !doubted => {}
                (true, false) => {
                    rename(&path, &renamed)?;
                    rename(&renamed, &path)?;
                }
                // A start ended in between.
                (false, true) => rename(&renamed, &path)?,
                // None of ours leaves both: somebody knows which of them the state is.
                (true, true) => {
                    let (path, renamed) = (path.display(), renamed.display());
                    return Err(self.refused(&format!("{path} and {renamed} are both there: remove one")));
                }
            }
        }
        Ok(())
    }

    /// Moves an engine that is one file out of the way, durably, under a name that says so; nobody may have it open. One
    /// that was moved before makes room for it. Any other engine is left where it is: it is rebuilt beside it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn set_aside(&self) -> Result<(), EngineError> {
        self.blocking(|place| {
            let (disk, live) = (&*place.env.disk, place.dir.join(FILE_NAME));
            let exists = disk.exists(&live).map_err(|error| place.failed(error))?;
            if place.full.is_some() || !exists {
                return Ok(());
            }
            for name in place.names()?.iter().filter(|name| name.contains(ASIDE_MARK)) {
                disk.remove_file(&place.dir.join(name)).map_err(|error| place.failed(error))?;
            }
            let aside = set_aside(disk, &live)?;
            tracing::warn!(aside = %aside.display(), "the damaged state engine was set aside");
            Ok(())
        })
        .await
    }

    /// The member starts on what `engine` holds: see [`Engine::accept`].
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn accept(&self, engine: &Arc<dyn Engine>) -> Result<(), EngineError> {
        let engine = Arc::clone(engine);
        self.blocking(move |_| engine.accept()).await
    }

    /// Another engine's state must not be taken for no state at all.
    fn refuse_other_kind(&self) -> Result<(), EngineError> {
        let names = self.names()?;
        let is_file = names.iter().any(|name| name == FILE_NAME);
        let is_folder =
            names.iter().any(|name| name == full_snapshot::FILE_NAME || rebuilt::number_of(name).is_some());
        match &self.full {
            None if is_folder && !is_file => {
                Err(self.refused("it was written by another storage engine, sled"))
            }
            Some(_) if is_file => Err(self.refused("it was written by another storage engine, redb")),
            _ => Ok(()),
        }
    }

    /// Opens the engine that is one file.
    fn open_file(&self) -> Result<(Arc<dyn Engine>, Origin), EngineError> {
        match open_engine(self.kind, &self.env.disk, &self.dir, self.identity, self.options)? {
            Opened::Created(engine) => Ok((engine, Origin::Created)),
            Opened::Existing(engine) => Ok((engine, Origin::Found)),
            Opened::Untrusted { why } => Err(self.refused(&why)),
        }
    }

    /// Makes the names in the state's folder durable, and the folder's own name.
    fn sync_names(&self) -> Result<(), EngineError> {
        let disk = &*self.env.disk;
        disk.sync_dir(&self.dir).map_err(|error| self.failed(error))?;
        match self.dir.parent() {
            Some(parent) => disk.sync_dir(parent).map_err(|error| self.failed(error)),
            None => Ok(()),
        }
    }

    /// The entry at which the engine was built from a snapshot, if it was.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn installed_at(&self, reader: &dyn Reader) -> Result<Option<LogId>, EngineError> {
        self.entry_at(reader, INSTALLED_KEY)
    }

    /// The entry stored under a key of the meta bucket.
    fn entry_at(&self, reader: &dyn Reader, key: &[u8]) -> Result<Option<LogId>, EngineError> {
        let stored = reader.get(Bucket::Meta, key)?;
        stored.map(decode_applied).transpose().map_err(|error| EngineError::Corrupt {
            path: self.dir.display().to_string(),
            what: format!("the entry under {}: {error}", String::from_utf8_lossy(key)),
        })
    }
}
