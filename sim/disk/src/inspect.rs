//! Looking at a disk from outside, and damaging it there: for tests, fault plans and reports.
//!
//! Nothing here counts as a call of a process: no latency, no faults, no fencing, and it works while no process
//! is alive. Paths are from the disk's root.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::SimDisk;
use crate::content::sectors;
use crate::platter::{SECTOR_BYTES, index, length};
use crate::state::{FileNode, State};
use crate::tree::Entry;

/// Damage to one sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, as a process sees it.
    pub path: String,
    /// The first byte that is wrong; the sector's first where it cannot be read.
    pub offset: u64,
    /// From there to behind the last byte concerned.
    pub bytes: u64,
    /// Whether the sector cannot be read, rather than reads wrong.
    pub unreadable: bool,
}

impl SimDisk {
    /// Where files that a process sees hold something else than they should, or cannot be read: by path, then by
    /// offset, a sector each. What was written again since is not damaged any more.
    pub fn damage(&self) -> Vec<Damage> {
        let state = self.shared.state();
        let mut all: Vec<Damage> = Vec::new();
        for (path, file) in state.tree.files() {
            let Some(node) = state.files.get(&file) else { continue };
            for (sector, unreadable, wrong) in node.content.damaged() {
                let offset = sector * SECTOR_BYTES + length(wrong.start);
                all.push(Damage { path: path.clone(), offset, bytes: length(wrong.len()), unreadable });
            }
        }
        all
    }

    /// Takes all damage back, in every file. To be called between two processes.
    pub fn mend(&self) {
        let mut state = self.shared.state();
        let time = state.time();
        state.files.values_mut().for_each(|file| file.content.mend(time));
    }

    /// The file's durable bytes as they would be without damage.
    ///
    /// # Errors
    /// `NotFound` when no process would see such a file.
    pub fn undamaged_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.shared.state();
        let content = &seen(&mut state, path)?.content;
        let mut bytes = vec![0; index(content.platter_len())];
        content.read_undamaged(0, &mut bytes);
        Ok(bytes)
    }

    /// Offsets at which processes have read the file lately, the newest last.
    ///
    /// # Errors
    /// `NotFound` when no process would see such a file.
    pub fn recent_reads(&self, path: &Path) -> io::Result<Vec<u64>> {
        Ok(seen(&mut self.shared.state(), path)?.reads.iter().copied().collect())
    }

    /// Whether the sector at `offset` is durable as it is and nothing newer waits for a sync: only there can
    /// damage be taken back exactly.
    ///
    /// # Errors
    /// `NotFound` when no process would see such a file.
    pub fn is_settled(&self, path: &Path, offset: u64) -> io::Result<bool> {
        Ok(seen(&mut self.shared.state(), path)?.content.is_settled(offset / SECTOR_BYTES))
    }

    /// The paths of all files as a process sees them, sorted.
    pub fn files(&self) -> Vec<String> {
        self.shared.state().tree.files().into_iter().map(|(path, _)| path).collect()
    }

    /// The paths that would be left if all that is not durable were lost now, sorted.
    pub fn durable_files(&self) -> Vec<String> {
        self.shared.state().tree.durable_files().into_iter().map(|(path, _)| path).collect()
    }

    /// The file's bytes as a process sees them.
    ///
    /// # Errors
    /// `NotFound` when no process would see such a file.
    pub fn written_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.shared.state();
        let content = &seen(&mut state, path)?.content;
        let mut bytes = vec![0; index(content.len())];
        content.read(0, &mut bytes);
        Ok(bytes)
    }

    /// The file's bytes that no power loss can take.
    ///
    /// # Errors
    /// `NotFound` when the name is not durable.
    pub fn durable_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (parts, _) = State::split(path)?;
        let state = self.shared.state();
        match state.tree.find_durable(&parts) {
            Some(Entry::File(file)) => {
                let content = &state.file(file)?.content;
                let mut bytes = vec![0; index(content.platter_len())];
                content.read_platter(0, &mut bytes);
                Ok(bytes)
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Sectors of this file that a power loss may take.
    ///
    /// # Errors
    /// `NotFound` when no process would see such a file.
    pub fn unsynced_sectors(&self, path: &Path) -> io::Result<u64> {
        Ok(seen(&mut self.shared.state(), path)?.content.unsynced_sectors())
    }

    /// Name changes that a power loss may take.
    pub fn unsynced_names(&self) -> usize {
        self.shared.state().tree.pending()
    }

    /// One number for all that the disk holds: names, durable bytes and every unsynced state. Two runs that did
    /// the same have the same number.
    pub fn image_hash(&self) -> u128 {
        let state = self.shared.state();
        let mut hasher = Xxh3::new();
        for files in [state.tree.files(), state.tree.durable_files()] {
            for (path, file) in files {
                hasher.update(path.as_bytes());
                hasher.update(&[0]);
                if let Some(file) = state.files.get(&file) {
                    file.content.sum(&mut hasher);
                }
            }
        }
        hasher.digest128()
    }

    /// Rot: flips one bit (0 is the lowest) of the byte at `offset`, on the platter and in every cached state.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `UnexpectedEof` when it is shorter.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u32) -> io::Result<()> {
        let at = index(offset % SECTOR_BYTES);
        self.strike(
            path,
            offset,
            |byte_at, byte| if byte_at == at { byte ^ 1_u8.rotate_left(bit) } else { byte },
        )
    }

    /// Overwrites bytes on the platter and in every cached state, within the file's length.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `UnexpectedEof` when it is shorter.
    pub fn corrupt(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (at, byte) in (offset..).zip(bytes) {
            let place = index(at % SECTOR_BYTES);
            self.strike(path, at, |byte_at, old| if byte_at == place { *byte } else { old })?;
        }
        Ok(())
    }

    /// A latent error: the sectors of this range cannot be read until they are rewritten and synced.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn make_unreadable(&self, path: &Path, offset: u64, bytes: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        let content = &mut seen(&mut state, path)?.content;
        sectors(offset, bytes).for_each(|sector| content.spoil(sector));
        Ok(())
    }

    /// Cuts a file, durably.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        let time = state.time();
        let content = &mut seen(&mut state, path)?.content;
        content.set_len(time, len, &|_| 0);
        content.sync();
        Ok(())
    }

    /// Removes a file, durably.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let (parts, path) = State::split(path)?;
        let mut state = self.shared.state();
        let Some(entry @ Entry::File(_)) = state.tree.find(&parts)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let dir = state.tree.parent(&parts)?;
        let name = parts.last().cloned().unwrap_or_default();
        let time = state.time();
        state.tree.unlink(time, crate::dice::path_key(&path), (dir, name), entry);
        state.unlinked(entry);
        state.tree.sync(dir);
        Ok(())
    }

    fn strike(&self, path: &Path, offset: u64, change: impl Fn(usize, u8) -> u8) -> io::Result<()> {
        let mut state = self.shared.state();
        let content = &mut seen(&mut state, path)?.content;
        if offset >= content.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.damage(offset / SECTOR_BYTES, &|sector| {
            let changed: Vec<u8> =
                sector.bytes().iter().enumerate().map(|(at, byte)| change(at, *byte)).collect();
            sector.patch(0, &changed);
        });
        Ok(())
    }
}

fn seen<'a>(state: &'a mut State, path: &Path) -> io::Result<&'a mut FileNode> {
    let (parts, _) = State::split(path)?;
    match state.tree.find(&parts)? {
        Some(Entry::File(file)) => state.file_mut(file),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
