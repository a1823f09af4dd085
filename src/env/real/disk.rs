//! The host's file system.
//!
//! Positions are explicit (pread, pwrite), so one open file serves many threads. What a completed sync promises
//! is the host's to keep; `docs` and [`crate::env::Disk`] say what is assumed. Nothing is retried but what a
//! signal interrupted, and above all no sync.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::env::{Disk, File, Lock, OpenMode, Space};

/// Zeros written at a time where the file system cannot reserve space by itself, bytes.
const ZERO_CHUNK_BYTES: usize = 64 * 1024;

/// The host's file system, paths as the host reads them.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile { file: open(path, mode)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name().into_string();
            names.push(name.map_err(|name| {
                io::Error::new(io::ErrorKind::InvalidData, format!("file name {name:?} is not UTF-8"))
            })?);
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::exists(path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            answer => answer,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let folder = fs::File::open(dir)?;
        if !folder.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        folder.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = statvfs(dir)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = open(path, OpenMode::Create)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::WouldBlock, "the lock is held"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn open(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => {}
        OpenMode::ReadWrite => _ = options.write(true),
        OpenMode::Create => _ = options.write(true).create(true),
        OpenMode::CreateNew => _ = options.write(true).create_new(true),
    }
    let file = options.open(path)?;
    // A host lets a folder be opened for reading; nothing here wants that.
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// The kernel lets go of the lock when the last handle on this opening of the file is gone.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
                Ok(()) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                    return write_zeros(&self.file, len);
                }
                Err(error) => return Err(error.into()),
            }
        }
        // Some hosts reserve without growing.
        if self.len()? < len { self.file.set_len(len) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reserves by writing, from the file's end on. Holes below the end stay holes: callers make files with
/// `allocate` and never cut holes into them.
fn write_zeros(file: &fs::File, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_CHUNK_BYTES];
    let mut at = file.metadata()?.len();
    while at < len {
        let bytes = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZERO_CHUNK_BYTES);
        file.write_all_at(zeros.get(..bytes).unwrap_or(&zeros), at)?;
        at = at.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserving_by_writing_grows_a_file_and_keeps_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        write_zeros(&file, 200_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 200_000);
        let mut head = [1; 8];
        file.read_exact_at(&mut head, 0).unwrap();
        assert_eq!(&head, b"kept\0\0\0\0");
        write_zeros(&file, 10).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 200_000, "it never shrinks");
    }
}
