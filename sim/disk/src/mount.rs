//! One process's view of the disk: the `Disk`, `File` and `Lock` that product code holds.
//!
//! Every handle carries the life it was made in. Once that life has ended, each of its calls fails and its
//! destructor does nothing, so that futures dropped after a kill cannot turn a crash into a clean shutdown.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate::env::{Disk, File, Lock, OpenMode, Space};

use crate::content::Content;
use crate::dice::path_key;
use crate::faults::{Call, Crash, FaultKind, Verdict};
use crate::platter::length;
use crate::state::{Action, FileNode, Report, Shared, State, eio, enospc};
use crate::tree::Entry;

/// EBADF: what a host says to a write through a handle opened for reading.
fn not_writable() -> io::Error {
    io::Error::from_raw_os_error(9)
}

/// What a verdict makes of a name change that is done whole or not at all: done, not done, or failed.
fn name_outcome(verdict: &Verdict, mut draw: crate::dice::Draw) -> io::Result<bool> {
    match verdict {
        Verdict::Fault(FaultKind::Eio) => Err(eio()),
        Verdict::Fault(FaultKind::NoSpace) => Err(enospc()),
        Verdict::Die(Crash::Kill, _) => Ok(draw.chance(1, 2)),
        _ => Ok(true),
    }
}

/// A mounted disk, for one process life.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) shared: Arc<Shared>,
    pub(crate) life: u64,
}

impl Mount {
    /// Creates a name; the caller holds the lock of the disk and has checked that the name is free.
    fn create<'a>(
        &'a self,
        mut state: std::sync::MutexGuard<'a, State>,
        parts: &[String],
        path: &Path,
        folder: bool,
    ) -> io::Result<(std::sync::MutexGuard<'a, State>, Entry)> {
        let dir = state.tree.parent(parts)?;
        let name = parts.last().cloned().unwrap_or_default();
        let (verdict, draw) = state.judge(Call::Name, path, 0);
        let result = name_outcome(&verdict, draw).and_then(|done| {
            if !done {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let (time, key) = (state.time(), path_key(path));
            let entry = state.tree.create(time, key, (dir, name), folder);
            if let Entry::File(id) = entry {
                let origin = state.origin(key);
                state.files.insert(
                    id,
                    FileNode { origin, content: Content::default(), linked: true, reads: VecDeque::new() },
                );
            }
            Ok(entry)
        });
        let report = Report { action: Action::Create, path, offset: 0, bytes: &[] };
        let entry = self.shared.leave(state, &verdict, result, &report)?;
        Ok((self.shared.enter(self.life)?, entry))
    }

    /// Opens, and creates where the mode says so. Counts the handle.
    fn open_file(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let (parts, path) = State::split(path)?;
        let mut state = self.shared.enter(self.life)?;
        let id = match (state.tree.find(&parts)?, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Entry::Dir(_)), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Entry::File(id)), _) => id,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let (guard, entry) = self.create(state, &parts, &path, false)?;
                state = guard;
                match entry {
                    Entry::File(id) => id,
                    Entry::Dir(_) => return Err(io::ErrorKind::IsADirectory.into()),
                }
            }
        };
        *state.open.entry(id).or_default() += 1;
        drop(state);
        let writable = mode != OpenMode::Read;
        Ok(SimFile { shared: Arc::clone(&self.shared), life: self.life, id, path, writable })
    }

    /// Removes one name, the folder's content being gone already.
    fn unlink(&self, parts: &[String], path: &Path, entry: Entry) -> io::Result<()> {
        let mut state = self.shared.enter(self.life)?;
        let dir = state.tree.parent(parts)?;
        let name = parts.last().cloned().unwrap_or_default();
        let (verdict, draw) = state.judge(Call::Name, path, 0);
        let result = name_outcome(&verdict, draw).map(|done| {
            if done {
                let time = state.time();
                state.tree.unlink(time, path_key(path), (dir, name), entry);
                state.unlinked(entry);
            }
        });
        let report = Report { action: Action::Remove, path, offset: 0, bytes: &[] };
        self.shared.leave(state, &verdict, result, &report)
    }

    fn remove_below(&self, parts: &mut Vec<String>, dir: u64) -> io::Result<()> {
        let names: Vec<(String, Entry)> = {
            let state = self.shared.enter(self.life)?;
            state.tree.names(dir).map(|(name, entry)| (name.clone(), entry)).collect()
        };
        for (name, entry) in names {
            parts.push(name);
            if let Entry::Dir(inner) = entry {
                self.remove_below(parts, inner)?;
            }
            self.unlink(parts, &joined(parts), entry)?;
            parts.pop();
        }
        Ok(())
    }
}

impl Disk for Mount {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.open_file(path, mode).map(|file| -> Arc<dyn File> { Arc::new(file) })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_parts, from), (to_parts, to)) = (State::split(from)?, State::split(to)?);
        let mut state = self.shared.enter(self.life)?;
        let entry = state.tree.find(&from_parts)?.ok_or(io::ErrorKind::NotFound)?;
        let (from_dir, to_dir) = (state.tree.parent(&from_parts)?, state.tree.parent(&to_parts)?);
        let replaced = state.tree.find(&to_parts)?;
        if replaced == Some(entry) {
            return Ok(());
        }
        match (entry, replaced) {
            (Entry::Dir(dir), _) if state.tree.lies_within(to_dir, dir) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            (Entry::File(_), Some(Entry::Dir(_))) => return Err(io::ErrorKind::IsADirectory.into()),
            (Entry::Dir(_), Some(Entry::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Entry::Dir(_), Some(Entry::Dir(dir))) if state.tree.names(dir).next().is_some() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        let names = from_parts.last().cloned().zip(to_parts.last().cloned());
        let (from_name, to_name) = names.ok_or(io::ErrorKind::InvalidInput)?;
        let (verdict, draw) = state.judge(Call::Name, &from, 0);
        let result = name_outcome(&verdict, draw).map(|done| {
            if done {
                let time = state.time();
                state.tree.rename(time, path_key(&from), (from_dir, from_name), (to_dir, to_name), entry);
                if let Some(replaced) = replaced {
                    state.unlinked(replaced);
                }
            }
        });
        let bytes = to.as_os_str().as_encoded_bytes();
        let report = Report { action: Action::Rename, path: &from, offset: 0, bytes };
        self.shared.leave(state, &verdict, result, &report)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (parts, path) = State::split(path)?;
        let entry = self.shared.enter(self.life)?.tree.find(&parts)?;
        match entry {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Entry::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            Some(entry) => self.unlink(&parts, &path, entry),
        }
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let (mut parts, path) = State::split(dir)?;
        let id = self.shared.enter(self.life)?.tree.folder(&parts)?;
        self.remove_below(&mut parts, id)?;
        self.unlink(&parts, &path, Entry::Dir(id))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let (parts, _) = State::split(dir)?;
        let mut state = self.shared.enter(self.life)?;
        for depth in 1..=parts.len() {
            let prefix = parts.get(..depth).unwrap_or(&parts);
            match state.tree.find(prefix)? {
                Some(Entry::Dir(_)) => {}
                Some(Entry::File(_)) if depth == parts.len() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => (state, _) = self.create(state, prefix, &joined(prefix), true)?,
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (parts, _) = State::split(dir)?;
        let state = self.shared.enter(self.life)?;
        let dir = state.tree.folder(&parts)?;
        Ok(state.tree.names(dir).map(|(name, _)| name.clone()).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (parts, _) = State::split(path)?;
        match self.shared.enter(self.life)?.tree.find(&parts) {
            Ok(entry) => Ok(entry.is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (parts, path) = State::split(dir)?;
        let mut state = self.shared.enter(self.life)?;
        let dir = state.tree.folder(&parts)?;
        let (verdict, draw) = state.judge(Call::SyncDir, &path, 0);
        let result = state.sync_dir(dir, &verdict, draw);
        let report = Report { action: Action::SyncDir, path: &path, offset: 0, bytes: &[] };
        self.shared.leave(state, &verdict, result, &report)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let (parts, _) = State::split(dir)?;
        let state = self.shared.enter(self.life)?;
        state.tree.find(&parts)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Space { total_bytes: state.config.capacity_bytes, available_bytes: state.free_bytes() })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = self.open_file(path, OpenMode::Create)?;
        if !self.shared.enter(self.life)?.locks.insert(file.id) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "the lock is held"));
        }
        Ok(Box::new(SimLock { file }))
    }
}

fn joined(parts: &[String]) -> PathBuf {
    parts.iter().fold(PathBuf::from("/"), |path, part| path.join(part))
}

/// An open file, for one process life.
#[derive(Debug)]
struct SimFile {
    shared: Arc<Shared>,
    life: u64,
    id: u64,
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    fn resize(&self, len: u64, reserve: bool) -> io::Result<()> {
        let mut state = self.shared.enter(self.life)?;
        if !self.writable {
            return Err(not_writable());
        }
        let (verdict, draw) = state.judge(Call::Write, &self.path, 0);
        let result = state.resize(self.id, len, reserve, &verdict, draw);
        let action = if reserve { Action::Allocate } else { Action::SetLen };
        let report = Report { action, path: &self.path, offset: len, bytes: &[] };
        self.shared.leave(state, &verdict, result, &report)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.shared.enter(self.life)?.file(self.id)?.content.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut state = self.shared.enter(self.life)?;
        let (verdict, _) = state.judge(Call::Read, &self.path, length(buf.len()));
        let result = state.read(self.id, offset, buf, &verdict);
        let bytes: &[u8] = if result.is_ok() { buf } else { &[] };
        let report = Report { action: Action::Read, path: &self.path, offset, bytes };
        self.shared.leave(state, &verdict, result, &report)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.shared.enter(self.life)?;
        if !self.writable {
            return Err(not_writable());
        }
        let (verdict, draw) = state.judge(Call::Write, &self.path, length(data.len()));
        let result = state.write(self.id, offset, data, &verdict, draw);
        let report = Report { action: Action::Write, path: &self.path, offset, bytes: data };
        self.shared.leave(state, &verdict, result, &report)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(len, false)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.resize(len, true)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.shared.enter(self.life)?;
        let (verdict, draw) = state.judge(Call::Sync, &self.path, 0);
        let result = state.sync(self.id, &self.path, &verdict, draw);
        let report = Report { action: Action::Sync, path: &self.path, offset: 0, bytes: &[] };
        self.shared.leave(state, &verdict, result, &report)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let Ok(mut state) = self.shared.enter(self.life) else { return };
        if let Some(handles) = state.open.get_mut(&self.id) {
            *handles -= 1;
            if *handles == 0 {
                state.open.remove(&self.id);
            }
        }
    }
}

/// A held lock; its file stays open as long.
#[derive(Debug)]
struct SimLock {
    file: SimFile,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Ok(mut state) = self.file.shared.enter(self.file.life) {
            state.locks.remove(&self.file.id);
        }
    }
}
