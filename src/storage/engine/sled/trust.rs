//! When a sled folder may be believed: only after a clean close, and only if it is what was closed.
//!
//! sled's flush is no durability, so after a power loss its folder may hold anything. A clean close therefore
//! syncs every file and folder itself and then writes, syncs and names a *mark* that lists each file with its
//! length and checksum. (sled takes a rotten segment for the end of its log and comes up with older content, in
//! silence; so the bytes themselves are held against the mark. That reads the whole folder once at each clean
//! close and open, which sled's own start does too.) The next open removes the mark, durably, before sled may write: a folder without its mark is one that
//! nobody closed.
//!
//! In the engine's folder: `identity` (the header), `lock`, `clean` (the mark), `data/` (sled's own).

use std::io;
use std::path::{Path, PathBuf};

use crate::env::{Disk, File, OpenMode};

/// The header's file.
pub const IDENTITY: &str = "identity";
/// Held by the process that has the engine open.
pub const LOCK: &str = "lock";
/// The mark of a clean close.
pub const CLEAN: &str = "clean";
/// sled's folder.
pub const DATA: &str = "data";

const MARK_MAGIC: &[u8; 8] = b"QRTCLEAN";
/// Small files beyond this are not ours, in bytes.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;

/// How much of a file is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// Files below a folder, by relative path, with their lengths and CRC-32C.
pub type Listing = Vec<(String, u64, u32)>;

/// All of a small file.
///
/// # Errors
/// What the disk says; `InvalidData` for a file that is not small.
pub fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = file.len()?;
    let size = usize::try_from(len).ok().filter(|_| len <= SMALL_FILE_BYTES_MAX);
    let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is too long"))?;
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Writes a small file so that after a crash it is there whole or not at all.
///
/// # Errors
/// What the disk says.
pub fn write_small(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let file = disk.open(&new, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    disk.rename(&new, &path)?;
    disk.sync_dir(dir)
}

/// The files below `dir`, sorted by path. With `sync`, each file and folder is made durable on the way.
///
/// # Errors
/// What the disk says.
pub fn list_files(disk: &dyn Disk, dir: &Path, sync: bool) -> io::Result<Listing> {
    let mut files = Listing::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for name in disk.list(&dir.join(&folder))? {
            let relative = folder.join(&name);
            match disk.open(&dir.join(&relative), OpenMode::ReadWrite) {
                Ok(file) => {
                    if sync {
                        file.sync_data()?;
                    }
                    let (len, crc) = checksum(&*file)?;
                    files.push((relative.display().to_string(), len, crc));
                }
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => folders.push(relative),
                Err(error) => return Err(error),
            }
        }
        if sync {
            disk.sync_dir(&dir.join(&folder))?;
        }
    }
    files.sort();
    Ok(files)
}

fn checksum(file: &dyn File) -> io::Result<(u64, u32)> {
    let len = file.len()?;
    let (mut at, mut crc) = (0_u64, 0);
    let mut buf = vec![0; READ_BYTES];
    while at < len {
        let step = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX).min(READ_BYTES);
        let part = buf.get_mut(..step).unwrap_or_default();
        file.read_at(at, part)?;
        crc = crc32c::crc32c_append(crc, part);
        at = at.saturating_add(u64::try_from(step).unwrap_or(u64::MAX));
    }
    Ok((len, crc))
}

/// The mark over these files.
pub fn encode_mark(files: &Listing) -> Vec<u8> {
    let mut mark = MARK_MAGIC.to_vec();
    for (path, len, crc) in files {
        mark.extend_from_slice(format!("{len} {crc:08x} {path}\n").as_bytes());
    }
    let crc = crc32c::crc32c(&mark);
    mark.extend_from_slice(&crc.to_be_bytes());
    mark
}

/// Why the folder is not to be believed; `None` when it is.
///
/// # Errors
/// What the disk says.
pub fn doubt(disk: &dyn Disk, dir: &Path) -> io::Result<Option<String>> {
    let mark = match read_small(disk, &dir.join(CLEAN)) {
        Ok(mark) => mark,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some("it was not closed cleanly".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let whole = mark.split_last_chunk::<4>().is_some_and(|(body, crc)| {
        crc32c::crc32c(body).to_be_bytes() == *crc && body.starts_with(MARK_MAGIC)
    });
    if !whole {
        return Ok(Some("the mark of its clean close is damaged".to_owned()));
    }
    let files = match list_files(disk, &dir.join(DATA), false) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Listing::new(),
        Err(error) => return Err(error),
    };
    if encode_mark(&files) != mark {
        return Ok(Some("its files are not the ones that were closed".to_owned()));
    }
    Ok(None)
}

/// Takes the mark away, durably.
///
/// # Errors
/// What the disk says.
pub fn remove_mark(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.remove_file(&dir.join(CLEAN))?;
    disk.sync_dir(dir)
}
