//! A data directory of etcd's as a source: its state, and what its log holds behind that.
//!
//! etcd makes its state durable now and then and its log always, so the state alone lags behind what was acknowledged. Here
//! the log's entries behind the state are carried out on the restored state, in their order, by the same machine that
//! carries out our own; where state and log do not meet, nothing is restored.
//!
//! All entries of the log count. Which of the last ones were known to be committed is written down late, so one behind that
//! mark may have been acknowledged; one that never was may take effect, as any write may whose answer was lost. How many
//! stood behind the mark is told.
//!
//! etcd must have stopped: its state file is locked for as long as this takes.

mod files;
mod records;
mod request;

use std::io;
use std::path::{Path, PathBuf};

use self::files::Files;
use self::records::EngineRecords;
use self::request::Asked;
use super::RestoreError;
use super::source::NUMBER_MAX;
use crate::env::{Disk, Lock};
use crate::machine::Overlay;
use crate::machine::state::{State, applied_write};
use crate::storage::engine::Engine;
use crate::types::LogId;

/// Entries whose effects are handed to the engine at once.
const STEP_ENTRIES: usize = 256;
/// Bytes of entries after which a step ends.
const STEP_BYTES: usize = 1 << 20;

/// What was taken from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Entries carried out.
    pub entries: usize,
    /// Of which not known to be committed.
    pub beyond_commit: usize,
    /// Where a write was torn that ends the log, if one was.
    pub torn: Option<String>,
    /// The last entry of all.
    pub upto: LogId,
}

/// Where the state stands in a data directory.
pub fn state_file(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("snap").join("db")
}

/// The log behind a state.
pub struct Log {
    files: Files,
    applied: LogId,
}

/// Takes the lock of the state in a data directory, so that no etcd changes state and log meanwhile.
///
/// # Errors
/// An etcd runs; there is no state.
pub fn lock(disk: &dyn Disk, data_dir: &Path) -> Result<Option<Box<dyn Lock>>, RestoreError> {
    let path = state_file(data_dir);
    if !disk.exists(&path).map_err(|error| RestoreError::unreadable(&path, error))? {
        let what = "it is no data directory of etcd's: it has no member/snap/db";
        return Err(RestoreError::content(data_dir, what));
    }
    lock_state(disk, &path)
}

/// Takes the lock of a state's file; `None` where nobody can change it.
///
/// # Errors
/// An etcd runs on it; or this user may not lock it, and cannot tell.
pub fn lock_state(disk: &dyn Disk, path: &Path) -> Result<Option<Box<dyn Lock>>, RestoreError> {
    match disk.lock(path) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let what = "an etcd runs on it: stop it first, or take a snapshot of it";
            Err(RestoreError::content(path, what))
        }
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(None),
        Err(error) => Err(RestoreError::unreadable(path, error)),
    }
}

impl Log {
    /// Reads the log of `data_dir`, whose state has `applied`.
    ///
    /// # Errors
    /// See [`RestoreError`]: the log is damaged, or does not reach back to the state.
    pub fn open(disk: &dyn Disk, data_dir: &Path, applied: LogId) -> Result<Log, RestoreError> {
        let files = Files::read(disk, &data_dir.join("member").join("wal"), applied.index)?;
        Ok(Log { files, applied })
    }

    /// Carries out the entries behind the state on `state`, which `engine` holds.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn replay(&self, state: &mut State, engine: &dyn Engine) -> Result<Replayed, RestoreError> {
        let mut done = Replayed {
            entries: 0,
            beyond_commit: self.files.beyond_commit(),
            torn: self.files.torn.clone(),
            upto: self.applied,
        };
        let mut entries = self.files.entries();
        loop {
            let base = EngineRecords(engine.reader()?);
            let (mut overlay, mut writes) = (Overlay::new(&base), Vec::new());
            let (mut count, mut bytes) = (0, 0_usize);
            while count < STEP_ENTRIES && bytes < STEP_BYTES {
                let Some(entry) = entries.next() else { break };
                let (at, entry) = entry?;
                let failed = |what: String| self.files.wrong(format!("entry {at}: {what}"));
                if at <= done.upto {
                    return Err(failed(format!("it does not follow {}", done.upto)));
                }
                if at.term.0 > NUMBER_MAX || at.index.0 > NUMBER_MAX {
                    return Err(failed("nothing could go on from there".to_owned()));
                }
                bytes = bytes.saturating_add(entry.data.len());
                (count, done.upto) = (count + 1, at);
                let asked =
                    if entry.is_request() { request::read(&entry.data).map_err(failed)? } else { None };
                let Some(Asked { by, command }) = asked else {
                    state.set_applied(at);
                    continue;
                };
                let carried = state.carry_out(&overlay, at, &by.caller(state.auth()), &command);
                let effects = carried.map_err(|error| failed(error.to_string()))?;
                overlay.absorb(&effects.writes).map_err(|error| failed(error.to_string()))?;
                writes.extend(effects.writes);
            }
            if count == 0 {
                return Ok(done);
            }
            done.entries = done.entries.saturating_add(count);
            writes.push(applied_write(done.upto));
            engine.apply(&writes)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::files::tests::{Made, files_of};
    use super::*;
    use crate::env::real::RealDisk;
    use crate::storage::engine::redb::RedbEngine;
    use crate::storage::engine::{EngineOptions, Identity};
    use crate::types::{ClusterId, LogIndex, MemberId, Term};

    /// What comes of carrying out a log on an empty state that says it has `applied`.
    fn carried_out(log: Made, applied: LogId) -> Result<Replayed, String> {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let engine = RedbEngine::open(&RealDisk, dir.path(), identity, EngineOptions::default()).unwrap();
        let mut state = State::empty();
        if applied != LogId::default() {
            state.set_applied(applied);
        }
        let log = Log { files: files_of(&[log.bytes], applied.index).unwrap(), applied };
        log.replay(&mut state, &engine).map_err(|error| error.to_string())
    }

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    #[test]
    fn a_log_that_is_not_this_states_is_refused() {
        // Leaders' first entries carry nothing.
        let log = || Made::default().entry(2, 5, "").entry(3, 6, "").commit(5);
        let done = carried_out(log(), id(2, 4)).unwrap();
        assert_eq!((done.entries, done.beyond_commit, done.upto), (2, 1, id(3, 6)));
        let refused = carried_out(log(), id(9, 4)).unwrap_err();
        assert!(refused.ends_with("entry T2-5: it does not follow T9-4"), "{refused}");
        let endless = carried_out(Made::default().entry(u64::MAX, 5, ""), id(2, 4)).unwrap_err();
        assert!(endless.ends_with("nothing could go on from there"), "{endless}");
        let garbage = carried_out(log().entry(3, 7, "no request"), id(2, 4)).unwrap_err();
        assert!(garbage.contains("entry T3-7: "), "{garbage}");
    }
}
