//! The live state, written anew into a file beside it that takes no more space than it needs.
//!
//! The file stands under a name that no start looks at until [`Rewriting::put_in_place`]; dropped before, it leaves
//! nothing that a start would use, and what it does leave is removed when the next state is begun.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::staging::Claim;
use super::{INCOMING_PREFIX, StateDir};
use crate::env::{Worker, run};
use crate::machine::persist::{Bucket, Write};
use crate::storage::engine::redb::{EngineBuilder, FILE_NAME, RedbEngine};
use crate::storage::engine::{Engine, EngineError, EngineKind, PageLimit, Reader, pair_bytes, successor};

/// Where a page that is copied at once ends: the worker's other jobs, and a stop, wait for that long.
const PAGE: PageLimit = PageLimit { pairs_max: 512, bytes_max: 1 << 20 };
/// Changes that are carried over at once.
const CHANGES_PER_STEP: usize = 512;

/// Said of a file that cannot be removed.
const LEFT: &str = "an unfinished copy of the state is left to the next start";

/// A file under construction.
pub struct Rewriting {
    place: StateDir,
    /// Apart from the live engine's, whose work goes on.
    worker: Arc<dyn Worker>,
    path: PathBuf,
    claim: Claim,
}

/// What has been copied of the live state.
pub struct Copying {
    rewriting: Rewriting,
    builder: Box<EngineBuilder>,
    view: Box<dyn Reader>,
    buckets: std::slice::Iter<'static, Bucket>,
    next: Option<(Bucket, Bytes)>,
}

/// One step of copying.
pub enum Step {
    /// There is more.
    More(Copying),
    /// All of the view is in the file, which is durable and was read back whole.
    Copied(Rewriting, Arc<dyn Engine>),
}

impl StateDir {
    /// Removes a file that was begun, if it is there, and the space that it takes with it.
    fn remove_begun(&self, file: &Path) {
        match self.env.disk.remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(%error, "{LEFT}"),
            _ => {}
        }
    }

    /// Begins to write what `view` sees anew.
    ///
    /// # Errors
    /// `Refused` for an engine that is not one file; see [`EngineError`].
    pub async fn rewrite(&self, view: Box<dyn Reader>) -> Result<Copying, EngineError> {
        match self.kind {
            EngineKind::Redb => {}
            EngineKind::Sled => return Err(self.refused("sled cannot be written anew while it is in use")),
        }
        let path = self.dir.join(format!("{INCOMING_PREFIX}{:016x}", self.env.entropy.next_u64()));
        let claim = self.begun.claim(&path);
        let worker = self.env.workers.start("defragment");
        let rewriting = Rewriting { place: self.clone(), worker, path, claim };
        rewriting
            .job(move |rewriting| {
                let place = &rewriting.place;
                let disk = &*place.env.disk;
                place.begun.remove_abandoned(disk).map_err(|error| place.failed(error))?;
                let builder = EngineBuilder::create(disk, &rewriting.path, place.identity, place.options)?;
                let mut buckets = Bucket::ALL.iter();
                let next = buckets.next().map(|bucket| (*bucket, Bytes::new()));
                Ok(Copying { rewriting, builder: Box::new(builder), view, buckets, next })
            })
            .await
    }
}

impl Copying {
    /// Copies a little more.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn step(self) -> Result<Step, EngineError> {
        let Copying { rewriting, builder, view, buckets, next } = self;
        rewriting
            .job(move |rewriting| {
                let mut copying = Copying { rewriting, builder, view, buckets, next };
                if copying.copy()? {
                    return Ok(Step::More(copying));
                }
                let Copying { rewriting, builder, .. } = copying;
                builder.finish()?;
                let place = &rewriting.place;
                let (disk, live) = (&*place.env.disk, place.dir.join(FILE_NAME));
                // Read back whole, page by page, before anything rests on it.
                let engine = RedbEngine::open_before_its_name(
                    disk,
                    &rewriting.path,
                    &live,
                    place.identity,
                    place.options,
                )?;
                engine.accept()?;
                Ok(Step::Copied(rewriting, Arc::new(engine)))
            })
            .await
    }

    /// Removes the file: it is not needed.
    pub async fn discard(self) {
        let Copying { rewriting, builder, .. } = self;
        drop(builder);
        rewriting.discard().await;
    }

    /// Copies a page; whether there is more.
    fn copy(&mut self) -> Result<bool, EngineError> {
        let Some((bucket, from)) = self.next.take() else { return Ok(false) };
        let pairs = self.rewriting.read(self.view.page(bucket, &from, PAGE))?;
        let bytes: usize = pairs.iter().map(|(key, value)| pair_bytes(key, value)).sum();
        self.next = match pairs.last() {
            Some((last, _)) if PAGE.is_reached(pairs.len(), bytes) => Some((bucket, successor(last))),
            _ => self.buckets.next().map(|bucket| (*bucket, Bytes::new())),
        };
        let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (bucket, key, value)).collect();
        self.builder.put(&pairs)?;
        Ok(true)
    }
}

impl Rewriting {
    /// Has the worker do something with the file, which goes when that fails.
    async fn job<T: Send + 'static>(
        self,
        job: impl FnOnce(Rewriting) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (worker, path) = (self.worker.clone(), self.path.display().to_string());
        let (place, file) = (self.place.clone(), self.path.clone());
        let done = run(&*worker, move || job(self).inspect_err(|_| place.remove_begun(&file))).await;
        done.map_err(|source| EngineError::Io { path, source })?
    }

    /// What was read of the live state; where that cannot be read the member must stop, as everywhere.
    fn read<T>(&self, read: Result<T, EngineError>) -> Result<T, EngineError> {
        read.inspect_err(|error| self.place.env.process.fatal(&error.to_string()))
    }

    /// Carries over what stands now at places that have changed since the view.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn carry_over(
        self,
        changes: BTreeSet<(Bucket, Bytes)>,
        live: Arc<dyn Engine>,
        engine: Arc<dyn Engine>,
    ) -> Result<Rewriting, EngineError> {
        let mut changes = changes.into_iter();
        let mut rewriting = self;
        loop {
            let some: Vec<_> = changes.by_ref().take(CHANGES_PER_STEP).collect();
            if some.is_empty() {
                return Ok(rewriting);
            }
            let (live, engine) = (live.clone(), engine.clone());
            rewriting = rewriting
                .job(move |rewriting| {
                    let view = live.reader()?;
                    let write = |(bucket, key): (Bucket, Bytes)| {
                        let value = rewriting.read(view.get(bucket, &key))?;
                        Ok(Write { bucket, key, value })
                    };
                    let writes = some.into_iter().map(write).collect::<Result<Vec<_>, EngineError>>()?;
                    engine.apply(&writes)?;
                    Ok(rewriting)
                })
                .await?;
        }
    }

    /// Makes the new engine durable.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn flush(self, engine: Arc<dyn Engine>) -> Result<Rewriting, EngineError> {
        self.job(move |rewriting| engine.flush().map(|()| rewriting)).await
    }

    /// Gives the file the name of the live state, durably.
    ///
    /// # Errors
    /// See [`EngineError`]. The member must stop: what its next start will find is not known.
    pub async fn put_in_place(self) -> Result<(), EngineError> {
        self.job(|rewriting| {
            let (place, _claim) = (&rewriting.place, &rewriting.claim);
            let (disk, live) = (&*place.env.disk, place.dir.join(FILE_NAME));
            disk.rename(&rewriting.path, &live).map_err(|error| place.failed(error))?;
            // The planted bug takes a name that it sees for a durable one.
            if crate::mutant!("defragment-name-not-durable") {
                return Ok(());
            }
            place.sync_names()
        })
        .await
    }

    /// Removes the file: it is not needed.
    pub async fn discard(self) {
        let removed = self
            .job(|rewriting| {
                rewriting.place.remove_begun(&rewriting.path);
                Ok(())
            })
            .await;
        if let Err(error) = removed {
            tracing::warn!(%error, "{LEFT}");
        }
    }
}
