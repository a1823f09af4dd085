//! Where a member's state lives on its disk: the live engine, and a new one while a snapshot is received.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::env::{Env, Worker, run};
use crate::machine::persist::{Bucket, Write};
use crate::machine::snapshot::SnapshotPair;
use crate::machine::state::{applied_write, decode_applied};
use crate::storage::engine::redb::RedbEngine;
use crate::storage::engine::{Engine, EngineError, EngineKind, Reader};
use crate::storage::wal::Identity;
use crate::types::LogId;

/// Under this key of the meta bucket stands the entry at which the engine was built from a snapshot. Only such
/// an engine may be ahead of the WAL, and only at that very entry.
const INSTALLED_KEY: &[u8] = b"installed";

/// Engines under construction carry this prefix.
const INCOMING_PREFIX: &str = "incoming-";

/// The state's place on the disk. Cheap to clone.
#[derive(Clone)]
pub struct StateDir {
    env: Env,
    worker: Arc<dyn Worker>,
    dir: PathBuf,
    kind: EngineKind,
    identity: Identity,
}

/// An engine that is being filled from a snapshot; dropped, it leaves nothing that a start would use.
pub struct Staging {
    place: StateDir,
    path: PathBuf,
    engine: Arc<RedbEngine>,
    applied: Option<LogId>,
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
        StateDir { env, worker, dir: data_dir.join("state"), kind, identity }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&StateDir) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let place = self.clone();
        let path = self.dir.display().to_string();
        run(&*self.worker, move || job(&place)).await.map_err(|source| EngineError::Io { path, source })?
    }
}
impl StateDir {
    fn live(&self) -> PathBuf {
        self.dir.join("state.redb")
    }

    fn failed(&self, source: std::io::Error) -> EngineError {
        EngineError::Io { path: self.dir.display().to_string(), source }
    }

    /// Opens the live engine, creating it when there is none; leftovers of unfinished snapshots are removed.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn open(&self) -> Result<Arc<dyn Engine>, EngineError> {
        self.blocking(|place| {
            let disk = &*place.env.disk;
            disk.create_dir_all(&place.dir).map_err(|error| place.failed(error))?;
            for name in disk.list(&place.dir).map_err(|error| place.failed(error))? {
                if name.starts_with(INCOMING_PREFIX) {
                    disk.remove_file(&place.dir.join(name)).map_err(|error| place.failed(error))?;
                }
            }
            let engine = RedbEngine::open(disk, &place.live())?;
            place.sync_names()?;
            let engine: Arc<dyn Engine> = Arc::new(engine);
            Ok(engine)
        })
        .await
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
        let stored = reader.get(Bucket::Meta, INSTALLED_KEY)?;
        stored.map(decode_applied).transpose().map_err(|error| EngineError::Corrupt {
            path: self.dir.display().to_string(),
            what: format!("the mark of an installed snapshot: {error}"),
        })
    }

    /// A new, empty engine beside the live one.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn staging(&self) -> Result<Staging, EngineError> {
        let number = self.env.entropy.next_u64();
        let path = self.dir.join(format!("{INCOMING_PREFIX}{number:016x}"));
        let (place, file) = (self.clone(), path.clone());
        let engine = self.blocking(move |place| RedbEngine::open(&*place.env.disk, &file)).await?;
        Ok(Staging { place, path, engine: Arc::new(engine), applied: None })
    }
}

impl Staging {
    /// The snapshot that follows stands at `applied`.
    pub fn begin(&mut self, applied: LogId) {
        self.applied = Some(applied);
    }

    /// Takes in pairs of the snapshot.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn add(&mut self, pairs: Vec<SnapshotPair>) -> Result<(), EngineError> {
        let engine = self.engine.clone();
        let writes: Vec<Write> = pairs
            .into_iter()
            // The sender's own mark says nothing about this member.
            .filter(|(bucket, key, _)| *bucket != Bucket::Meta || key != INSTALLED_KEY)
            .map(|(bucket, key, value)| Write { bucket, key, value: Some(value) })
            .collect();
        self.place.blocking(move |_| engine.apply(&writes)).await
    }

    /// Makes the received engine durable and puts it in the live one's place.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn finish(self) -> Result<Arc<dyn Engine>, EngineError> {
        let Staging { place, path, engine, applied } = self;
        let mark = applied.map(|at| Write {
            bucket: Bucket::Meta,
            key: Bytes::from_static(INSTALLED_KEY),
            value: applied_write(at).value,
        });
        place
            .blocking(move |place| {
                engine.apply(mark.as_slice())?;
                engine.flush()?;
                let disk = &*place.env.disk;
                disk.rename(&path, &place.live()).map_err(|error| place.failed(error))?;
                place.sync_names()?;
                let engine: Arc<dyn Engine> = engine;
                Ok(engine)
            })
            .await
    }
}
