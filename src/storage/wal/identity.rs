//! Whose log a folder holds, told without opening it.

use std::io;
use std::path::Path;

use super::directory::segment_of_name;
use super::format::{BLOCK_LEN, HEADER_OFFSETS};
use super::header::{HeaderRead, SegmentHeader};
use super::record::Identity;
use crate::env::{Disk, OpenMode};

/// Whose log stands in `dir`: what the first readable header of any segment says. `None` when there is no folder, no
/// segment, or no header that is whole; whether there is a log is asked of [`super::Wal::exists`], and to judge it is the
/// work of [`super::Wal::open`].
///
/// # Errors
/// When the folder cannot be listed; when no header says whose the log is, and one could not be read: it may say so another
/// time.
pub fn identity_of(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Identity>> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        listed => listed?,
    };
    let mut failed = None;
    for name in names.iter().filter(|name| segment_of_name(name).is_some()) {
        match in_segment(disk, &dir.join(name)) {
            Ok(Some(identity)) => return Ok(Some(identity)),
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(io::Error::new(error.kind(), format!("{name}: {error}")))),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// What the headers of one segment say.
fn in_segment(disk: &dyn Disk, path: &Path) -> io::Result<Option<Identity>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut failed = None;
    for offset in HEADER_OFFSETS {
        let mut block = vec![0; BLOCK_LEN];
        match file.read_at(offset, &mut block) {
            Ok(()) => {}
            // It is cut short, and that stays so.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        }
        match SegmentHeader::decode(&block) {
            HeaderRead::Valid(header) => return Ok(Some(header.identity)),
            HeaderRead::Newer(_) | HeaderRead::Bad => {}
        }
    }
    failed.map_or(Ok(None), Err)
}
