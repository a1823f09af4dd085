//! The disk as Quorate sees it, and what it may assume of one.
//!
//! Assumed: a completed [`File::sync_data`] makes every earlier write to that file durable, its length
//! included; [`Disk::sync_dir`] makes creations, renames and removals of names in that folder durable. Until
//! then a power loss may keep, lose or tear any unsynced sector (512 bytes) and any unsynced name. After a
//! failed sync nothing is known of the unsynced data, and a second sync proves nothing (fsync's errors are
//! reported once): the caller must stop. A process kill loses nothing that was written.
//!
//! All calls block; callers run them on a [`super::Worker`].

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How [`Disk::open`] treats a file that exists or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist; writes fail.
    Read,
    /// The file must exist.
    ReadWrite,
    /// The file is created when absent.
    Create,
    /// The file must not exist.
    CreateNew,
}

/// Space on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Capacity of the file system.
    pub total_bytes: u64,
    /// What this process may still allocate.
    pub available_bytes: u64,
}

/// Held while this process owns a path exclusively; dropping it, or the end of the process, lets go.
pub trait Lock: Send + Sync + Debug {}

/// Names and folders.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens a file. Errors of kind `NotFound` and `AlreadyExists` mean what they say.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames a file or folder, replacing a file at `to` atomically. Durable after [`Disk::sync_dir`] of the
    /// parents of both.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all it holds.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates a folder and its missing parents.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or folder of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes the folder's names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Space on the file system that holds `dir`.
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock on `path` (created when absent); `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// One open file. All methods take `&self`: positions are explicit, and the kernel orders the calls.
pub trait File: Send + Sync + Debug + 'static {
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buf` from `offset`; `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts or grows the file; new bytes read as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space for the first `len` bytes and grows the file to at least that, so that later writes
    /// below `len` cannot fail for lack of space.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes every completed write durable (fdatasync: data and length, not times).
    fn sync_data(&self) -> io::Result<()>;
}
