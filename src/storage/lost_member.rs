//! What a data directory remembers of a member that has lost its log, or its place in the cluster: who it was, and that it
//! is never to be again.
//!
//! The note is durable before anything of the lost log is moved, and stands until the log of another member is there. What
//! is moved goes into a folder that has the member's id in its name, and outlives the note: it says the same. The note's
//! 40 bytes, big-endian: magic (8), format version (4), stage (4), cluster (8), member (8), four zero bytes, CRC-32C of
//! all before (4).

use std::io;
use std::path::{Path, PathBuf};

use crate::env::{Disk, OpenMode};
use crate::storage::wal::Identity;
use crate::types::{ClusterId, MemberId};

/// The note's name in the data directory.
pub const FILE_NAME: &str = "lost-member";
const NEW_FILE_NAME: &str = "lost-member.new";
/// What is left of a member that was given up lies in a folder of this name and its id.
const ASIDE_PREFIX: &str = "damaged-";
const MAGIC: [u8; 8] = *b"QRTELOST";
const FORMAT_VERSION: u32 = 1;
const BYTES: usize = 40;

/// Where what is left of a member goes that was given up.
pub fn aside_dir(data_dir: &Path, member: MemberId) -> PathBuf {
    data_dir.join(format!("{ASIDE_PREFIX}{member}"))
}

/// How far a member has come that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What is left of it is still in its place, or on its way out of it.
    Moving,
    /// Its place is empty: what is found there is another member's.
    Asking,
    /// As [`Stage::Moving`], and only its options say who it was, which name who it was at first: it may have been taken
    /// back since, and have run as another.
    Unsure,
}

/// A member that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who it was.
    pub lost: Identity,
    /// How far it has come.
    pub stage: Stage,
}

impl Note {
    /// The note in a data directory, if there is one.
    ///
    /// # Errors
    /// When the disk fails, or what is there is no note.
    pub fn read(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<Note>> {
        let path = data_dir.join(FILE_NAME);
        let file = match disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = [0; BYTES];
        let damaged = || {
            let what = format!(
                "{FILE_NAME} is damaged: it names a member that is never to start again; remove that member from the \
                 cluster, add it anew and start it in an empty data directory"
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        if file.len()? != u64::try_from(BYTES).unwrap_or(u64::MAX) {
            return Err(damaged());
        }
        file.read_at(0, &mut bytes)?;
        Note::decode(&bytes).map(Some).ok_or_else(damaged)
    }

    /// Writes the note down, durably, in the place of any before it.
    ///
    /// # Errors
    /// When the disk fails: whether the note is there is not known then.
    pub fn write(&self, disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
        disk.create_dir_all(data_dir)?;
        if let Some(parent) = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent)?;
        }
        let new = data_dir.join(NEW_FILE_NAME);
        let file = disk.open(&new, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(0, &self.encode())?;
        file.sync_data()?;
        disk.rename(&new, &data_dir.join(FILE_NAME))?;
        disk.sync_dir(data_dir)
    }

    /// Removes the note, durably.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
        disk.remove_file(&data_dir.join(FILE_NAME))?;
        disk.sync_dir(data_dir)
    }

    fn encode(&self) -> Vec<u8> {
        let stage: u32 = match self.stage {
            Stage::Moving => 1,
            Stage::Asking => 2,
            Stage::Unsure => 3,
        };
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&stage.to_be_bytes());
        bytes.extend_from_slice(&self.lost.cluster.0.to_be_bytes());
        bytes.extend_from_slice(&self.lost.member.0.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        assert!(bytes.len() == BYTES, "the note's length is part of the format");
        bytes
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<Note> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let (magic, body_rest) = body.split_first_chunk::<8>()?;
        let (version, rest) = body_rest.split_first_chunk::<4>()?;
        let (stage, rest) = rest.split_first_chunk::<4>()?;
        let (cluster, rest) = rest.split_first_chunk::<8>()?;
        let (member, _) = rest.split_first_chunk::<8>()?;
        let is_ours = *magic == MAGIC && u32::from_be_bytes(*version) == FORMAT_VERSION;
        if !is_ours || u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let stage = match u32::from_be_bytes(*stage) {
            1 => Stage::Moving,
            2 => Stage::Asking,
            3 => Stage::Unsure,
            _ => return None,
        };
        let (cluster, member) = (u64::from_be_bytes(*cluster), u64::from_be_bytes(*member));
        Some(Note { lost: Identity { cluster: ClusterId(cluster), member: MemberId(member) }, stage })
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use crate::env::real::RealDisk;

    const LOST: Identity = Identity { cluster: ClusterId(7), member: MemberId(0xa1) };

    #[test]
    fn a_note_is_read_back_and_replaced_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("data");
        assert_eq!(Note::read(&RealDisk, &dir).unwrap(), None, "there is not even a folder");
        for stage in [Stage::Moving, Stage::Asking, Stage::Unsure] {
            let note = Note { lost: LOST, stage };
            note.write(&RealDisk, &dir).unwrap();
            assert_eq!(Note::read(&RealDisk, &dir).unwrap(), Some(note));
        }
        Note::remove(&RealDisk, &dir).unwrap();
        assert_eq!(Note::read(&RealDisk, &dir).unwrap(), None);
    }

    fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = RealDisk.open(path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(0, bytes)
    }

    #[test]
    fn no_damaged_note_passes_for_none() {
        let temp = tempfile::tempdir().unwrap();
        let whole = Note { lost: LOST, stage: Stage::Asking }.encode();
        let path = temp.path().join(FILE_NAME);
        for place in 0..BYTES {
            let mut bytes = whole.clone();
            bytes[place] ^= 4;
            rewrite(&path, &bytes).unwrap();
            let error = Note::read(&RealDisk, temp.path()).unwrap_err().to_string();
            assert!(error.starts_with("lost-member is damaged") && !error.contains('\n'), "{place}: {error}");
        }
        rewrite(&path, &whole[1..]).unwrap();
        assert!(Note::read(&RealDisk, temp.path()).is_err());
    }
}
