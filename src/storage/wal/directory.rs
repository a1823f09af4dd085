//! The log's folder: file names, the lock, and disk calls whose errors say where they happened.
//!
//! Only a segment whose headers, checkpoint and rewritten tail are durable carries a segment's name; everything
//! else is a *spare*, whose content means nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{READING, WalError};
use super::format::{bytes_of, len_of};
use super::header::Sequence;
use crate::env::{Disk, File, Lock, OpenMode};

const SEGMENT_SUFFIX: &str = ".wal";
const SPARE_SUFFIX: &str = ".spare";
const LOCK_NAME: &str = "lock";
/// How much one disk call reads or fills, in bytes.
const CHUNK_BYTES: u64 = 1 << 20;
/// How finely an unreadable place is named, in bytes.
const PROBE_BYTES: u64 = 512;

/// The file name of a segment in use.
pub(super) fn segment_name(sequence: Sequence) -> String {
    format!("{:016x}{SEGMENT_SUFFIX}", sequence.0)
}

/// The sequence that a segment's file name states.
pub(super) fn segment_of_name(name: &str) -> Option<Sequence> {
    let hex = name.strip_suffix(SEGMENT_SUFFIX)?;
    let sequence = Sequence(u64::from_str_radix(hex, 16).ok()?);
    (segment_name(sequence) == name).then_some(sequence)
}

/// The name of a spare that was the segment `sequence`.
pub(super) fn recycled_name(sequence: Sequence) -> String {
    format!("recycled-{:016x}{SPARE_SUFFIX}", sequence.0)
}

/// The name of a spare that is made afresh; `unique` is random, because a name that an earlier process used and
/// failed to sync away could take a file of the same name along when it comes back.
pub(super) fn fresh_name(unique: u64) -> String {
    format!("fresh-{unique:016x}{SPARE_SUFFIX}")
}

/// Whether a file is a spare.
pub(super) fn is_spare(name: &str) -> bool {
    name.ends_with(SPARE_SUFFIX)
}

/// The folder, without its lock: what a worker of its own may use.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// Whether a folder cannot be synced because it is not this user's to change.
fn is_foreign(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | Unsupported | InvalidInput)
}

/// Turns a disk's error into one that says where.
pub(super) fn io_error(file: &Path, offset: u64, doing: &'static str) -> impl FnOnce(io::Error) -> WalError {
    let file = file.display().to_string();
    move |source| WalError::Io { file, offset, doing, source }
}

/// Makes a folder, and says which of its ancestors, or itself, is the first that was not there.
fn make_folder(disk: &dyn Disk, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut first = None;
    for folder in path.ancestors().take_while(|folder| !folder.as_os_str().is_empty()) {
        if disk.exists(folder)? {
            break;
        }
        first = Some(folder.to_owned());
    }
    disk.create_dir_all(path)?;
    Ok(first)
}

/// Makes the names of a folder and of all above it durable. Also when all of them exist: a process that was killed may
/// have made them and never synced a name.
fn sync_names_above(disk: &dyn Disk, path: &Path) -> Result<(), WalError> {
    for (above, parent) in path.ancestors().skip(1).enumerate() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_dir(parent) {
            // Further up stand folders that this user may not open, and so has not made.
            Err(error) if above > 0 && is_foreign(error.kind()) => break,
            synced => synced.map_err(io_error(parent, 0, "sync the folder"))?,
        }
    }
    Ok(())
}

impl Directory {
    /// Makes the folder and its name durable, and takes its lock.
    pub(super) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<(Directory, Box<dyn Lock>), WalError> {
        let made = make_folder(&*disk, path).map_err(io_error(path, 0, "create the folder"))?;
        sync_names_above(&*disk, path).inspect_err(|_| {
            // No later sync would make its name durable. What somebody else has put there meanwhile stays.
            if let (Some(made), Ok([])) = (&made, disk.list(path).as_deref()) {
                drop(disk.remove_dir_all(made));
            }
        })?;
        let lock = disk.lock(&path.join(LOCK_NAME)).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => WalError::Locked { dir: path.display().to_string() },
            _ => io_error(&path.join(LOCK_NAME), 0, "lock")(source),
        })?;
        Ok((Directory { disk, path: path.to_owned() }, lock))
    }

    /// The folder as it stands, for who only reads: it may well be in use.
    pub(super) fn found(disk: Arc<dyn Disk>, path: &Path) -> Directory {
        Directory { disk, path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file's path as errors print it.
    pub(super) fn shown(&self, name: &str) -> String {
        self.path_of(name).display().to_string()
    }

    pub(super) fn list(&self) -> Result<Vec<String>, WalError> {
        self.disk.list(&self.path).map_err(io_error(&self.path, 0, "list"))
    }

    pub(super) fn open_file(&self, name: &str, mode: OpenMode) -> Result<Placed, WalError> {
        let path = self.path_of(name);
        let file = self.disk.open(&path, mode).map_err(io_error(&path, 0, "open"))?;
        Ok(Placed { file, path })
    }

    /// Renames and makes the new name durable.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), WalError> {
        let from = self.path_of(from);
        self.disk.rename(&from, &self.path_of(to)).map_err(io_error(&from, 0, "rename"))?;
        if crate::mutant!("wal-rename-without-folder-sync") {
            return Ok(());
        }
        self.sync()
    }

    /// Removes and makes the removal durable.
    pub(super) fn remove(&self, name: &str) -> Result<(), WalError> {
        let path = self.path_of(name);
        self.disk.remove_file(&path).map_err(io_error(&path, 0, "remove"))?;
        self.sync()
    }

    pub(super) fn sync(&self) -> Result<(), WalError> {
        self.disk.sync_dir(&self.path).map_err(io_error(&self.path, 0, "sync the folder"))
    }

    /// Makes a file of `bytes`, reserved and already written, so that later writes allocate nothing.
    pub(super) fn make_spare(&self, name: &str, bytes: u64) -> Result<(), WalError> {
        let path = self.path_of(name);
        let made = self.fill(&path, bytes);
        match made {
            Err(source) if source.kind() == io::ErrorKind::StorageFull => {
                // Gives back what was taken; whether that works changes nothing for the caller.
                if let Err(error) = self.disk.remove_file(&path) {
                    tracing::warn!(file = %path.display(), %error, "cannot remove an unfinished spare segment");
                }
                Err(WalError::NoSpace { file: path.display().to_string(), bytes, source })
            }
            other => other.map_err(io_error(&path, 0, "prepare a spare segment")),
        }
    }

    fn fill(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = self.disk.open(path, OpenMode::Create)?;
        file.allocate(bytes)?;
        let zeros = vec![0; len_of(bytes.min(CHUNK_BYTES))];
        let mut at = 0;
        while at < bytes {
            let len = len_of(bytes.saturating_sub(at)).min(zeros.len());
            file.write_at(at, zeros.get(..len).unwrap_or_default())?;
            at = at.saturating_add(bytes_of(len));
        }
        file.sync_data()
    }
}

/// An open file that knows its name.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    file: Arc<dyn File>,
    path: PathBuf,
}

impl Placed {
    /// The same file under its new name.
    pub(super) fn renamed(self, path: PathBuf) -> Placed {
        Placed { path, ..self }
    }

    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn len(&self) -> Result<u64, WalError> {
        self.file.len().map_err(io_error(&self.path, 0, "measure"))
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Result<(), WalError> {
        self.file.write_at(offset, data).map_err(io_error(&self.path, offset, "write"))
    }

    /// Makes everything written durable; `offset` names the write that waits for it.
    pub(super) fn sync(&self, offset: u64) -> Result<(), WalError> {
        self.file.sync_data().map_err(io_error(&self.path, offset, "sync"))
    }

    /// The bytes `from..to`. An error names the sector that cannot be read.
    pub(super) fn read(&self, from: u64, to: u64) -> Result<Vec<u8>, WalError> {
        let mut out = vec![0; len_of(to.saturating_sub(from))];
        self.fill_from(from, &mut out)?;
        Ok(out)
    }

    /// The file's bytes below `to`, each at its own offset; those below `from` are left zero and not read.
    pub(super) fn image(&self, from: u64, to: u64) -> Result<Vec<u8>, WalError> {
        let mut out = vec![0; len_of(to)];
        self.fill_from(from, out.get_mut(len_of(from)..).unwrap_or_default())?;
        Ok(out)
    }

    fn fill_from(&self, from: u64, out: &mut [u8]) -> Result<(), WalError> {
        let mut at = from;
        for chunk in out.chunks_mut(len_of(CHUNK_BYTES)) {
            if self.file.read_at(at, chunk).is_err() {
                let probed = self.probe(at, chunk);
                // The planted bug takes what cannot be read for the end of what was written.
                if probed.is_err() && crate::mutant!("wal-read-error-taken-for-the-end") {
                    return Ok(());
                }
                probed?;
            }
            at = at.saturating_add(bytes_of(chunk.len()));
        }
        Ok(())
    }

    fn probe(&self, from: u64, chunk: &mut [u8]) -> Result<(), WalError> {
        let mut at = from;
        for sector in chunk.chunks_mut(len_of(PROBE_BYTES)) {
            self.file.read_at(at, sector).map_err(io_error(&self.path, at, READING))?;
            at = at.saturating_add(bytes_of(sector.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_and_spares_never_meet() {
        assert_eq!(segment_name(Sequence(0x1f)), "000000000000001f.wal");
        assert_eq!(segment_of_name("000000000000001f.wal"), Some(Sequence(0x1f)));
        for other in ["1f.wal", "lock", "000000000000001F.wal", "recycled-000000000000001f.spare", "x.wal"] {
            assert_eq!(segment_of_name(other), None, "{other}");
        }
        assert!(is_spare(&recycled_name(Sequence(1))) && is_spare(&fresh_name(1)));
    }
}
