//! The names under a member's data directory.
//!
//! A directory that is still being made, offline, holds a folder that no finished one does: no member starts beside it, so
//! that half of a state is never taken for one, nor nothing of it for a new member's.

use std::io;
use std::path::{Path, PathBuf};

use crate::env::Disk;

/// Holds what is being made, until all of it is durable.
const UNFINISHED_NAME: &str = "restoring";

/// Where a member with this data directory keeps its write-ahead log.
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("wal")
}

/// Where a member with this data directory keeps its applied state.
pub fn state_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("state")
}

/// Where a member keeps the first members of its cluster, if it has looked them up.
pub fn first_members_file(data_dir: &Path) -> PathBuf {
    data_dir.join("first-members")
}

/// Where a data directory is made: as long as this is there, no member starts.
pub fn unfinished_dir(data_dir: &Path) -> PathBuf {
    data_dir.join(UNFINISHED_NAME)
}

/// Whether the directory is being made, or was left half made.
///
/// # Errors
/// What the disk says.
pub fn is_unfinished(disk: &dyn Disk, data_dir: &Path) -> io::Result<bool> {
    disk.exists(&unfinished_dir(data_dir))
}
