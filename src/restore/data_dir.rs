//! What is made, and in which order it becomes durable.
//!
//! Everything is made in one folder of the data directory, whose presence keeps every member from starting there. When state
//! and log are durable they are moved to their places, then the folder goes. A crash anywhere in between leaves what has to be
//! removed by hand, and says so.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::founding::make_log;
use super::source::Source;
use super::{Order, Origin, RestoreError, Restored, content, etcd};
use crate::env::{Disk, Env, Lock};
use crate::machine::load::LoadError;
use crate::machine::persist::{Bucket, Write};
use crate::machine::snapshot::SnapshotPair;
use crate::machine::state::{State, applied_write};
use crate::raft::replica::founding_write;
use crate::storage::data_dir::{is_unfinished, state_dir, unfinished_dir, wal_dir};
use crate::storage::engine::redb::{EngineBuilder, FILE_NAME, RedbEngine};
use crate::storage::engine::{Engine, EngineError, EngineOptions, Identity, PageLimit, pair_bytes};
use crate::storage::state_dir::installed_write;
use crate::types::{LogId, LogIndex, Term};

/// Said of a directory that holds something.
const NOT_EMPTY: &str = "not empty or could not be read";
/// Said of a directory in which another restore has begun.
const RESTORING: &str = "is being restored into, or that ended half way: remove it";

/// Bytes that are handed to the engine at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Makes the data directory.
///
/// # Errors
/// See [`RestoreError`].
pub fn make(env: &Env, order: &Order) -> Result<Restored, RestoreError> {
    let disk = &*env.disk;
    let failed = |source| RestoreError::Io { dir: order.data_dir.display().to_string(), source };
    refuse_occupied(disk, &order.data_dir)?;
    // What is wrong with the source is found before anything is made, as far as it can be.
    let input = Input::open(disk, &order.from)?;
    let unfinished = unfinished_dir(&order.data_dir);
    disk.create_dir_all(&unfinished).map_err(failed)?;
    let _alone = hold(disk, &order.data_dir)?;
    let restored = fill(env, order, &input, &unfinished).inspect_err(|_| {
        // What remains if this fails too is refused by whoever comes.
        drop(disk.remove_dir_all(&unfinished));
    })?;
    for place in [wal_dir, state_dir] {
        disk.rename(&place(&unfinished), &place(&order.data_dir)).map_err(failed)?;
        disk.sync_dir(&unfinished).map_err(failed)?;
        disk.sync_dir(&order.data_dir).map_err(failed)?;
    }
    disk.remove_dir_all(&unfinished).map_err(failed)?;
    disk.sync_dir(&order.data_dir).map_err(failed)?;
    Ok(restored)
}

fn occupied(dir: &Path, why: &'static str) -> RestoreError {
    RestoreError::Occupied { dir: dir.display().to_string(), why }
}

fn refuse_occupied(disk: &dyn Disk, dir: &Path) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::Io { dir: dir.display().to_string(), source };
    if !disk.exists(dir).map_err(failed)? {
        return Ok(());
    }
    if is_unfinished(disk, dir).map_err(failed)? {
        return Err(occupied(dir, RESTORING));
    }
    match disk.list(dir).as_deref() {
        Ok([]) => Ok(()),
        Ok(_) | Err(_) => Err(occupied(dir, NOT_EMPTY)),
    }
}

/// Keeps everybody else from making the same directory: whoever looked at it in the same moment found it empty too.
fn hold(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Lock>, RestoreError> {
    let failed = |source| RestoreError::Io { dir: dir.display().to_string(), source };
    let unfinished = unfinished_dir(dir);
    let lock = disk.lock(&unfinished.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => occupied(dir, RESTORING),
        _ => failed(error),
    })?;
    // Somebody may have made all of it, or died over it, before the lock was free.
    let (names, inside) = (disk.list(dir).map_err(failed)?, disk.list(&unfinished).map_err(failed)?);
    match (names.len(), inside.len()) {
        (1, 1) => Ok(lock),
        (_, 1) => {
            // The folder is this one's own: the directory beside it is finished, and must stay so.
            disk.remove_dir_all(&unfinished).map_err(failed)?;
            Err(occupied(dir, NOT_EMPTY))
        }
        _ => Err(occupied(dir, RESTORING)),
    }
}

/// What is restored from, open.
struct Input {
    source: Source,
    log: Option<etcd::Log>,
    /// Held where an etcd might run on the same files.
    _lock: Option<Box<dyn Lock>>,
}

impl Input {
    fn open(disk: &dyn Disk, from: &Origin) -> Result<Input, RestoreError> {
        match from {
            Origin::Image { file, trusted } => {
                // A file with its checksum is nobody's any more.
                let lock = if *trusted { lock_copy(disk, file)? } else { None };
                Ok(Input { source: Source::open(disk, file, *trusted)?, log: None, _lock: lock })
            }
            Origin::EtcdDataDir(dir) => {
                let lock = etcd::lock(disk, dir)?;
                let source = Source::open(disk, &etcd::state_file(dir), true)?;
                let log = etcd::Log::open(disk, dir, source.applied)?;
                Ok(Input { source, log: Some(log), _lock: lock })
            }
        }
    }
}

/// Takes the lock of a file that may be a state in use. A copy that this user may only read is no such file.
fn lock_copy(disk: &dyn Disk, file: &Path) -> Result<Option<Box<dyn Lock>>, RestoreError> {
    if !disk.exists(file).map_err(|error| RestoreError::unreadable(file, error))? {
        return Ok(None);
    }
    match etcd::lock_state(disk, file) {
        Err(RestoreError::Source { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            Ok(None)
        }
        locked => locked,
    }
}

/// Makes state and log in `dir`, durably.
fn fill(env: &Env, order: &Order, input: &Input, dir: &Path) -> Result<Restored, RestoreError> {
    let engine = make_engine(&*env.disk, order, &input.source, dir)?;
    let mut state = load(&engine).map_err(|error| match error {
        LoadError::Store(error) => error.into(),
        LoadError::Corrupt { .. } => input.source.wrong(error),
    })?;
    let mut last = input.source.applied;
    let mut replayed = None;
    if let Some(log) = &input.log {
        let done = log.replay(&mut state, &engine)?;
        last = done.upto;
        replayed = Some(done);
    }
    let at = behind(last, order.bump);
    let mut writes = Vec::new();
    if order.bump > 0 {
        writes.push(state.leap(order.bump).map_err(RestoreError::Order)?);
    }
    writes.extend([applied_write(at), installed_write(at)]);
    writes.push(founding_write(at, &order.members).map_err(RestoreError::Order)?);
    engine.apply(&writes)?;
    engine.flush()?;
    // What a member will find, and not only what was meant.
    let found = load(&engine).map_err(|error| RestoreError::content(dir, error))?;
    assert!(found.hash() == state.hash(), "what was stored is what was made");
    engine.close()?;
    make_log(env, &wal_dir(dir), order.identity, at)?;
    Ok(Restored {
        revision: found.revision(),
        compacted: found.compacted(),
        keys: found.indexed_keys(),
        hash: found.hash(),
        replayed,
    })
}

/// The entry at which the restored state stands.
fn behind(last: LogId, bump: i64) -> LogId {
    // With what the revision is raised by: members that were restored with other flags are no members of one state.
    let further = u64::try_from(bump).unwrap_or(0).saturating_add(1);
    LogId { term: Term(last.term.0.saturating_add(1)), index: LogIndex(last.index.0.saturating_add(further)) }
}

/// An engine file of all that the source holds.
fn make_engine(
    disk: &dyn Disk,
    order: &Order,
    source: &Source,
    dir: &Path,
) -> Result<RedbEngine, RestoreError> {
    let (dir, options) = (state_dir(dir), EngineOptions::default());
    let failed = |source| RestoreError::Io { dir: dir.display().to_string(), source };
    disk.create_dir_all(&dir).map_err(failed)?;
    let identity: Identity = order.identity;
    let mut builder = EngineBuilder::create(disk, &dir.join(FILE_NAME), identity, options)?;
    let (mut chunk, mut bytes) = (Vec::<SnapshotPair>::new(), 0_usize);
    let numbers = content::read(source, &order.members, &mut |pair| {
        bytes = bytes.saturating_add(pair_bytes(&pair.1, &pair.2));
        chunk.push(pair);
        if bytes >= CHUNK_BYTES {
            builder.put(&chunk)?;
            (chunk, bytes) = (Vec::new(), 0);
        }
        Ok(())
    })?;
    builder.put(&chunk)?;
    for Write { bucket, key, value } in [numbers, applied_write(source.applied)] {
        builder.set(bucket, &key, &value.unwrap_or_default())?;
    }
    builder.finish()?;
    disk.sync_dir(&dir).map_err(failed)?;
    Ok(RedbEngine::open(disk, &dir, identity, options)?)
}

/// The state in `engine`, held against its own sums.
fn load(engine: &dyn Engine) -> Result<State, LoadError<EngineError>> {
    let reader = engine.reader().map_err(LoadError::Store)?;
    let page = |bucket: Bucket, from: &[u8], limit| -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        reader.page(bucket, from, PageLimit::of(limit))
    };
    State::load(page)
}
