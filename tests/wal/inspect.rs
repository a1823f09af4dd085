//! A look at a log sees what opening it would, refuses what that would refuse, and changes nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate::env::{Disk, File, Lock, OpenMode, Space};
use quorate::storage::wal::{Inspected, WalError, WalRecord, inspect};
use quorate_disk::{Call, Crash, SimDisk};

use crate::harness::{IDENTITY, Machine, Step, dir, disk_of, entry, log_id, open_on, vote};

/// Looks at the log on `disk`, and demands that the disk is as it was.
fn look(disk: &SimDisk) -> Result<Option<Inspected>, WalError> {
    let before = (disk.image_hash(), disk.unsynced_names());
    let found = inspect(&disk.mount(), &dir(), IDENTITY);
    assert_eq!((disk.image_hash(), disk.unsynced_names()), before, "nothing was changed");
    found
}

/// Holds a look at copies of these files against opening them.
fn agrees(machine: &Machine, story: &str) -> bool {
    let disk = disk_of(&machine.files());
    let seen = look(&disk).unwrap_or_else(|error| panic!("{story}: {error}")).expect("a log");
    let (_wal, opened) = open_on(&disk, IDENTITY).unwrap();
    assert_eq!(
        (seen.vote, seen.purged, seen.committed, &seen.entries, &seen.torn_tail),
        (opened.vote, opened.purged, opened.committed, &opened.entries, &opened.torn_tail),
        "{story}"
    );
    seen.torn_tail.is_some()
}

/// A life over many segments, with everything in it that a log can hold.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for index in 0..40 {
        let committed = (index > 3).then(|| log_id(1, index - 3));
        steps.push(Step::Commit(
            vec![entry(1, index, &vec![b'p'; 1 + (index as usize * 977) % 9000])],
            committed,
        ));
        if index % 7 == 0 {
            steps.push(Step::Commit(vec![WalRecord::Vote(vote(index + 1, 5))], None));
        }
        if index % 11 == 10 {
            steps.push(Step::Purge(log_id(1, index - 6)));
        }
    }
    steps
}

#[test]
fn a_log_that_is_open_is_seen_as_it_stands_after_every_step() {
    let mut machine = Machine::new(21);
    assert!(machine.open("first start"));
    for (number, step) in steps().iter().enumerate() {
        assert!(machine.step(step));
        agrees(&machine, &format!("after step {number}"));
    }
    // Beside the process that has it locked.
    let seen = look(&machine.disk).unwrap().unwrap();
    assert_eq!((seen.entries.len(), seen.purged), (machine.sure.entries.len(), machine.sure.purged));
}

#[test]
fn what_a_crash_left_is_seen_and_a_torn_end_is_told() {
    let mut torn = 0;
    for (seed, nth) in (1..=4).flat_map(|seed| (1..60).map(move |nth| (seed, nth))) {
        let mut machine = Machine::new(seed * 100 + nth);
        assert!(machine.open("first start"));
        machine.arm(Call::Write, nth, Crash::PowerLoss);
        if !steps().iter().all(|step| machine.step(step)) {
            torn += usize::from(agrees(&machine, &format!("seed {seed}, dying in write {nth}")));
        }
    }
    assert!(torn > 3, "{torn}");
}

#[test]
fn what_an_opening_would_refuse_is_refused() {
    let mut machine = Machine::new(22);
    assert!(machine.open("first start"));
    assert!(steps().iter().all(|step| machine.step(step)));
    let (path, _) =
        machine.files().into_iter().rfind(|(path, _)| path.extension().is_some_and(|e| e == "wal")).unwrap();
    let disk = disk_of(&machine.files());
    // The records of the first batch behind the checkpoint: everything later vouches for it.
    disk.flip_bit(&path, 12_288 + 4096 + 100, 3).unwrap();
    let seen = look(&disk).unwrap_err().to_string();
    assert_eq!(seen, open_on(&disk, IDENTITY).map(drop).unwrap_err().to_string());
    assert!(seen.contains("is corrupt at offset"), "{seen}");
}

#[test]
fn a_folder_without_a_log_is_none() {
    let machine = Machine::new(23);
    machine.disk.mount().create_dir_all(&dir()).unwrap();
    assert_eq!(look(&machine.disk).unwrap(), None);
}

/// A disk on which the newest names are not there yet for the first few that ask.
#[derive(Debug)]
struct Behind {
    disk: Arc<dyn Disk>,
    stale_lists: AtomicUsize,
}

impl Disk for Behind {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = self.disk.list(dir)?;
        let stale = self.stale_lists.load(Ordering::Relaxed);
        if stale > 0 {
            self.stale_lists.store(stale - 1, Ordering::Relaxed);
            // A different one each time, as beside a member that is quick.
            names.retain(|name| name.ends_with(".wal"));
            names.truncate(names.len() - stale);
        }
        Ok(names)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, mode)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[test]
fn a_log_that_goes_on_meanwhile_is_looked_at_again() {
    let mut machine = Machine::new(24);
    assert!(machine.open("first start"));
    assert!(steps().iter().all(|step| machine.step(step)));
    let disk = machine.disk.mount();
    for stale_lists in [0, 1, 2] {
        let behind: Arc<dyn Disk> =
            Arc::new(Behind { disk: Arc::clone(&disk), stale_lists: AtomicUsize::new(stale_lists) });
        let seen = inspect(&behind, &dir(), IDENTITY).unwrap().unwrap();
        assert_eq!(seen.entries, machine.sure.entries, "{stale_lists} looks came too early");
    }
}
