//! What redb would write while nobody knows yet whether the member starts on its file.
//!
//! redb writes its header anew as soon as it opens a file, before any page was held against a checksum, and some fields
//! of that header have none. Were these writes let through, a start that refuses would have made what was rot in one
//! copy, on a cable perhaps, the content of the disk. So they are held back in memory, read as if they stood in the
//! file, and carried out in their order when the member has found nothing wrong with it.

use std::io;

use super::backend::placed;
use crate::env::File;

/// One change of the file that waits.
#[derive(Debug)]
enum Change {
    /// These bytes at this offset.
    Write(u64, Vec<u8>),
    /// Ends here from now on, in bytes.
    Length(u64),
    /// What came before is durable before what follows.
    Sync,
}

/// Changes of a file that wait, in their order.
#[derive(Debug, Default)]
pub struct Held {
    /// How long the file is, bytes.
    stands: u64,
    /// How long it would be.
    len: u64,
    changes: Vec<Change>,
}

impl Held {
    /// Nothing yet, over a file of this length in bytes.
    pub fn over(len: u64) -> Held {
        Held { stands: len, len, changes: Vec::new() }
    }

    /// Holds a write back.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.len = self.len.max(end_of(offset, data));
        self.changes.push(Change::Write(offset, data.to_vec()));
    }

    /// Holds a change of length back.
    pub fn set_len(&mut self, len: u64) {
        self.len = len;
        self.changes.push(Change::Length(len));
    }

    /// Holds a sync back.
    pub fn sync(&mut self) {
        self.changes.push(Change::Sync);
    }

    /// How long the file would be, in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Fills `out` with what would stand at `offset` of `file`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file would end before, and what the disk said.
    pub fn read(&self, file: &dyn File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.len < end_of(offset, out) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stands = self.stands.saturating_sub(offset).min(end_of(0, out));
        let (old, new) = out.split_at_mut(usize::try_from(stands).unwrap_or(usize::MAX));
        file.read_at(offset, old)?;
        new.fill(0);
        for change in &self.changes {
            match change {
                Change::Write(at, data) => lay_over(out, offset, *at, data),
                Change::Length(len) => {
                    let kept = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
                    out.iter_mut().skip(kept).for_each(|byte| *byte = 0);
                }
                Change::Sync => {}
            }
        }
        Ok(())
    }

    /// Carries everything out.
    ///
    /// # Errors
    /// What the disk said to the first change that failed, with its place; what follows is not tried.
    pub fn release(self, file: &dyn File) -> io::Result<()> {
        self.changes.into_iter().try_for_each(|change| match change {
            Change::Write(offset, data) => placed("write", offset, file.write_at(offset, &data)),
            Change::Length(len) => placed("end the file", len, file.set_len(len)),
            Change::Sync => placed("sync", 0, file.sync_data()),
        })
    }
}

/// Where these bytes end.
fn end_of(offset: u64, data: &[u8]) -> u64 {
    offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX))
}

/// Copies what of `data` at `at` falls into `out` at `offset`.
fn lay_over(out: &mut [u8], offset: u64, at: u64, data: &[u8]) {
    let skip = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let into = out.iter_mut().skip(skip(at.saturating_sub(offset)));
    let from = data.iter().skip(skip(offset.saturating_sub(at)));
    into.zip(from).for_each(|(byte, held)| *byte = *held);
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use crate::env::real::RealDisk;
    use crate::env::{Disk, OpenMode};

    /// Every stretch reads the same before the changes are carried out, from memory, and afterwards, from the file.
    #[test]
    fn what_is_held_reads_as_it_will_stand() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("held"), OpenMode::CreateNew).unwrap();
        file.write_at(0, &[7; 40]).unwrap();
        let mut held = Held::over(40);
        held.write(10, &[1; 8]);
        held.write(14, &[2; 4]);
        held.sync();
        held.set_len(30);
        held.write(36, &[3; 4]);
        held.set_len(50);
        let stretches = || (0..50_u64).flat_map(|from| (from..=50).map(move |to| from..to));
        let room = |stretch: &std::ops::Range<u64>| {
            vec![0xEE; usize::try_from(stretch.end - stretch.start).unwrap()]
        };
        let before = stretches().map(|stretch| {
            let mut out = room(&stretch);
            held.read(&*file, stretch.start, &mut out).unwrap();
            out
        });
        let before: Vec<Vec<u8>> = before.collect();
        assert_eq!(held.file_len(), 50);
        assert_eq!(held.read(&*file, 45, &mut [0; 6]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut untouched = [0; 40];
        file.read_at(0, &mut untouched).unwrap();
        assert_eq!((untouched, file.len().unwrap()), ([7; 40], 40), "nothing is written yet");

        held.release(&*file).unwrap();
        assert_eq!(file.len().unwrap(), 50);
        for (stretch, before) in stretches().zip(before) {
            let mut out = room(&stretch);
            file.read_at(stretch.start, &mut out).unwrap();
            assert_eq!(out, before, "{stretch:?}");
        }
    }
}
