//! An engine that does not survive a power loss: believed after a clean close, otherwise rebuilt.
//!
//! Each engine has a folder of its own, `sled-<n>`; the highest number is the live one, and a snapshot that is
//! installed makes the next. Nothing is moved or written before it is certain that the snapshot file and the log
//! together hold everything: who cannot be rebuilt is left as it was found.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{ASIDE_MARK, Origin, StateDir};
use crate::machine::persist::Write;
use crate::machine::state::APPLIED_KEY;
use crate::storage::engine::{Engine, EngineError, Opened, open_engine, set_aside};
use crate::storage::full_snapshot::FullSnapshot;
use crate::storage::snapshot_file::SnapshotFileError;
use crate::types::LogId;

const FOLDER_PREFIX: &str = "sled-";

/// The number of an engine's folder, if it is one.
pub fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER_PREFIX)?.parse().ok()
}

impl StateDir {
    fn folder(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{FOLDER_PREFIX}{number}"))
    }

    fn open_folder(&self, number: u64) -> Result<Opened, EngineError> {
        let options = self.options;
        open_engine(self.kind, &self.env.disk, &self.folder(number), self.identity, options)
    }

    /// Opens the live engine, or builds it anew when it cannot be believed.
    pub fn open_or_rebuild(
        &self,
        full: &FullSnapshot,
        purged: Option<LogId>,
    ) -> Result<(Arc<dyn Engine>, Origin), EngineError> {
        let found = match full.find() {
            // Neither says anything about what the file holds.
            Err(error @ (SnapshotFileError::Io { .. } | SnapshotFileError::Refused { .. })) => {
                return Err(error.into());
            }
            found => found,
        };
        let live = self.names()?.iter().filter_map(|name| number_of(name)).max();
        self.live.store(live.unwrap_or(1), Ordering::Release);
        let Some(live) = live else {
            return self.rebuild(full, found, purged, "there is none".to_owned());
        };
        let opened = match self.open_folder(live) {
            Ok(Opened::Existing(engine)) => {
                self.remove_folders_below(live)?;
                self.renew_snapshot(full, &engine, found, purged)?;
                return Ok((engine, Origin::Found));
            }
            // A crash came before its first byte.
            Ok(Opened::Created(engine)) => {
                drop(engine);
                "it was never used".to_owned()
            }
            Ok(Opened::Untrusted { why }) => why,
            Err(EngineError::Corrupt { what, .. }) => what,
            Err(error) => return Err(error),
        };
        self.rebuild(full, found, purged, opened)
    }

    /// The engine was closed cleanly, but its snapshot file would not do: a new one is written before anything
    /// else, because from now on the folder alone is worth nothing.
    fn renew_snapshot(
        &self,
        full: &FullSnapshot,
        engine: &Arc<dyn Engine>,
        found: Result<Option<LogId>, SnapshotFileError>,
        purged: Option<LogId>,
    ) -> Result<(), EngineError> {
        let fault = match found {
            Ok(at) if at >= purged => return Ok(()),
            Ok(None) => "there is none".to_owned(),
            Ok(Some(at)) => format!("it ends at {at}"),
            Err(error) => error.to_string(),
        };
        tracing::warn!(dir = %self.dir.display(), fault, "the snapshot file will not do: it is written anew");
        let copied = engine.reader().and_then(|reader| match self.entry_at(&*reader, APPLIED_KEY)? {
            Some(applied) => full.copy(applied, &*reader).map_err(EngineError::from),
            None => Ok(()),
        });
        if copied.is_err() {
            // With its mark back, the next start can believe the folder again.
            engine.close()?;
        }
        copied
    }

    /// Builds the live engine anew from the snapshot file; what the log still has is applied afterwards.
    fn rebuild(
        &self,
        full: &FullSnapshot,
        found: Result<Option<LogId>, SnapshotFileError>,
        purged: Option<LogId>,
        why: String,
    ) -> Result<(Arc<dyn Engine>, Origin), EngineError> {
        let from = self.source(found, purged, &why)?;
        let disk = &*self.env.disk;
        let live = self.live_number();
        self.remove_folders_below(live)?;
        let existed = disk.exists(&self.folder(live)).map_err(|error| self.failed(error))?;
        if existed {
            self.remove(&|name| name.contains(ASIDE_MARK))?;
            let aside = set_aside(disk, &self.folder(live))?;
            tracing::warn!(why, aside = %aside.display(), "the state engine was set aside and is rebuilt");
        }
        let engine = self.fill(full, from.is_some())?;
        self.sync_names()?;
        let blank = !existed && from.is_none();
        Ok((engine, if blank { Origin::Created } else { Origin::Rebuilt { from, why } }))
    }

    /// Where the state can be taken from: the snapshot file as of an entry, or, without one, the log alone.
    fn source(
        &self,
        found: Result<Option<LogId>, SnapshotFileError>,
        purged: Option<LogId>,
        why: &str,
    ) -> Result<Option<LogId>, EngineError> {
        let missing = match (found, purged) {
            (Ok(Some(at)), purged) if Some(at) >= purged => return Ok(Some(at)),
            (Ok(_), None) => return Ok(None),
            (Err(error), None) => {
                tracing::warn!(%error, "the log has everything, the snapshot file is not needed");
                return Ok(None);
            }
            (Ok(Some(at)), Some(purged)) => {
                format!("its snapshot file ends at {at}, and the log begins behind {purged}")
            }
            (Ok(None), Some(purged)) => {
                format!("there is no snapshot file, and the log begins behind {purged}")
            }
            (Err(error), Some(purged)) => format!("{error}, and the log begins behind {purged}"),
        };
        Err(EngineError::Lost {
            path: self.folder(self.live_number()).display().to_string(),
            why: format!("{why}; {missing}"),
        })
    }

    /// Fills a new engine in the live folder, from the snapshot file if it is to be used.
    fn fill(&self, full: &FullSnapshot, from_file: bool) -> Result<Arc<dyn Engine>, EngineError> {
        let folder = self.folder(self.live_number());
        let Opened::Created(engine) = self.open_folder(self.live_number())? else {
            let why = "its folder was not empty".to_owned();
            return Err(EngineError::Refused { path: folder.display().to_string(), why });
        };
        if from_file {
            for chunk in full.open()? {
                let writes: Vec<Write> = chunk?
                    .into_iter()
                    .map(|(bucket, key, value)| Write { bucket, key, value: Some(value) })
                    .collect();
                engine.apply(&writes)?;
            }
        }
        engine.flush()?;
        Ok(engine)
    }

    /// A new engine from the snapshot file, beside the live one, which it will replace. The one before the live
    /// one goes for good: nobody can read it any more but a snapshot stream, which then ends.
    pub fn next_from_snapshot(&self, full: &FullSnapshot) -> Result<Arc<dyn Engine>, EngineError> {
        self.remove_folders_below(self.live_number())?;
        self.live.fetch_add(1, Ordering::AcqRel);
        let engine = self.fill(full, true)?;
        self.sync_names()?;
        Ok(engine)
    }

    fn remove_folders_below(&self, number: u64) -> Result<(), EngineError> {
        self.remove(&|name| number_of(name).is_some_and(|found| found < number))
    }

    fn remove(&self, doomed: &dyn Fn(&str) -> bool) -> Result<(), EngineError> {
        for name in self.names()?.iter().filter(|name| doomed(name)) {
            self.env.disk.remove_dir_all(&self.dir.join(name)).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}
