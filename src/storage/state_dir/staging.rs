//! A state that a peer sends, on its way in beside the live one.
//!
//! An engine that survives a power loss is built as it comes and renamed into place. For any other the snapshot
//! file is written first: once that is durable, the new engine is built from it like at a start after a crash.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{INCOMING_PREFIX, INSTALLED_KEY, StateDir};
use crate::env::Disk;
use crate::machine::persist::Bucket;
use crate::machine::snapshot::SnapshotPair;
use crate::machine::state::applied_write;
use crate::storage::engine::redb::{EngineBuilder, FILE_NAME};
use crate::storage::engine::{Engine, EngineError};
use crate::storage::full_snapshot::FullSnapshot;
use crate::storage::snapshot_file::SnapshotWriter;
use crate::types::LogId;

/// A state that is being received; dropped, it leaves nothing that a start would use, and what it does leave is
/// removed when the next one begins.
pub struct Staging {
    place: StateDir,
    path: PathBuf,
    /// Absent while a call has it, and after one has failed.
    sink: Option<(Sink, Claim)>,
    applied: Option<LogId>,
}

/// Where the pairs go.
enum Sink {
    /// An engine file.
    Engine(Box<EngineBuilder>),
    /// The snapshot file; begun with the first pairs, because its header names the entry.
    File(FullSnapshot, Option<SnapshotWriter>),
}

/// Goes wherever the sink goes, jobs on the worker included: while it is there, somebody may still write to the file.
pub(super) type Claim = Arc<()>;

/// The files of states that were begun, each until it is seen to be gone or was removed.
#[derive(Clone, Default)]
pub(super) struct Begun {
    files: Arc<Mutex<Vec<Claimed>>>,
}

struct Claimed {
    path: PathBuf,
    claim: Weak<()>,
}

impl Begun {
    fn files(&self) -> MutexGuard<'_, Vec<Claimed>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn claim(&self, path: &Path) -> Claim {
        let claim = Claim::default();
        self.files().push(Claimed { path: path.to_owned(), claim: Arc::downgrade(&claim) });
        claim
    }

    fn abandoned(&self) -> Option<PathBuf> {
        self.files().iter().find(|file| file.claim.strong_count() == 0).map(|file| file.path.clone())
    }

    /// Removes what broken transfers have left: their senders begin anew, again and again if they must, and the
    /// disk must not fill up with the remains.
    pub(super) fn remove_abandoned(&self, disk: &dyn Disk) -> io::Result<()> {
        while let Some(gone) = self.abandoned() {
            match disk.remove_file(&gone) {
                Ok(()) => {}
                // It is the live state now, or its sender never came to the first pair.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.files().retain(|file| file.path != gone);
        }
        Ok(())
    }
}

impl StateDir {
    /// A place for a state beside the live one.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn staging(&self) -> Result<Staging, EngineError> {
        let number = self.env.entropy.next_u64();
        let path = self.dir.join(format!("{INCOMING_PREFIX}{number:016x}"));
        let (file, claim) = (path.clone(), self.begun.claim(&path));
        let sink = self
            .blocking(move |place| {
                let disk = &*place.env.disk;
                place.begun.remove_abandoned(disk).map_err(|error| place.failed(error))?;
                let sink = match &place.full {
                    Some(full) => Sink::File(full.clone(), None),
                    None => Sink::Engine(Box::new(EngineBuilder::create(
                        disk,
                        &file,
                        place.identity,
                        place.options,
                    )?)),
                };
                Ok((sink, claim))
            })
            .await?;
        Ok(Staging { place: self.clone(), path, sink: Some(sink), applied: None })
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
        let (mut sink, claim) = self.sink.take().ok_or_else(|| self.spoiled())?;
        let (path, applied) = (self.path.clone(), self.applied.unwrap_or_default());
        let sink = self
            .place
            .blocking(move |_| {
                // The sender's own mark says nothing about this member.
                let own = |(bucket, key, _): &SnapshotPair| *bucket != Bucket::Meta || key != INSTALLED_KEY;
                let pairs: Vec<SnapshotPair> = pairs.into_iter().filter(own).collect();
                match &mut sink {
                    Sink::Engine(builder) => builder.put(&pairs)?,
                    Sink::File(full, begun) => {
                        let mut writer = match begun.take() {
                            Some(writer) => writer,
                            None => full.begin(&path, applied)?,
                        };
                        writer.put(&pairs)?;
                        *begun = Some(writer);
                    }
                }
                Ok((sink, claim))
            })
            .await?;
        self.sink = Some(sink);
        Ok(())
    }

    fn spoiled(&self) -> EngineError {
        EngineError::Corrupt {
            path: self.path.display().to_string(),
            what: "an earlier part of the snapshot could not be taken in".to_owned(),
        }
    }

    /// Makes the received state durable and returns the engine that is to be the live one. The WAL must be
    /// durable through everything accepted before.
    ///
    /// # Errors
    /// See [`EngineError`]. The member must stop: what its next start will find is not known.
    pub async fn finish(mut self) -> Result<Arc<dyn Engine>, EngineError> {
        let (sink, claim) = self.sink.take().ok_or_else(|| self.spoiled())?;
        let Staging { place, path, applied, .. } = self;
        let mark = applied.and_then(|at| applied_write(at).value);
        let spoiled = EngineError::Corrupt {
            path: path.display().to_string(),
            what: "the snapshot held nothing".to_owned(),
        };
        place
            .blocking(move |place| {
                let _held = claim;
                match sink {
                    Sink::Engine(mut builder) => {
                        if let Some(mark) = mark {
                            builder.set(Bucket::Meta, INSTALLED_KEY, &mark)?;
                        }
                        builder.finish()?;
                        let disk = &*place.env.disk;
                        let live = place.dir.join(FILE_NAME);
                        disk.rename(&path, &live).map_err(|error| place.failed(error))?;
                        place.sync_names()?;
                        Ok(place.open_file()?.0)
                    }
                    Sink::File(full, begun) => {
                        let (mut writer, mark) = begun.zip(mark).ok_or(spoiled)?;
                        writer.put(&[(Bucket::Meta, INSTALLED_KEY.into(), mark)])?;
                        full.publish(writer)?;
                        place.next_from_snapshot(&full)
                    }
                }
            })
            .await
    }
}
