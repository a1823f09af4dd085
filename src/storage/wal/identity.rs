//! Whose log a folder holds, told without opening it.

use std::io;
use std::path::Path;

use super::directory::segment_of_name;
use super::format::{BLOCK_LEN, HEADER_OFFSETS};
use super::header::{HeaderRead, SegmentHeader};
use super::record::Identity;
use crate::env::{Disk, OpenMode};

/// Whose log stands in `dir`: what the first readable header of any segment says. `None` when there is no folder, no
/// segment, or no header that can be read; to judge the log is the work of [`super::Wal::open`].
///
/// # Errors
/// When the folder cannot be listed.
pub fn identity_of(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Identity>> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        listed => listed?,
    };
    let identity = |name: &String| {
        let file = disk.open(&dir.join(name), OpenMode::Read).ok()?;
        HEADER_OFFSETS.iter().find_map(|offset| {
            let mut block = vec![0; BLOCK_LEN];
            file.read_at(*offset, &mut block).ok()?;
            match SegmentHeader::decode(&block) {
                HeaderRead::Valid(header) => Some(header.identity),
                HeaderRead::Newer(_) | HeaderRead::Bad => None,
            }
        })
    };
    Ok(names.iter().filter(|name| segment_of_name(name).is_some()).find_map(identity))
}
