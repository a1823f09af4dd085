//! What `quorate::env::Disk` promises while nothing fails, held against the simulated disk and the real one.
//!
//! One function a promise, run over both: a storage layer that works on one must not stumble on the other over
//! an error kind or an order.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: a failure is the point")]

use std::io::ErrorKind;
use std::path::Path;

use quorate::env::{Disk, OpenMode};
use quorate_disk::{Config, SimDisk};

/// Runs a promise over both disks; `root` is an empty folder.
fn on_both(promise: impl Fn(&dyn Disk, &Path)) {
    let sim = SimDisk::new(Config::new(1)).mount();
    sim.create_dir_all(Path::new("/data/root")).unwrap();
    promise(&*sim, Path::new("/data/root"));
    #[cfg(not(madsim))]
    {
        let dir = tempfile::tempdir().unwrap();
        promise(&quorate::env::real::RealDisk, dir.path());
    }
}

/// The kind of an error that must be there.
fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error.kind(),
    }
}

#[test]
fn open_modes_say_whether_a_file_must_or_must_not_exist() {
    on_both(|disk, root| {
        let path = root.join("f");
        assert_eq!(kind(disk.open(&path, OpenMode::Read)), ErrorKind::NotFound);
        assert_eq!(kind(disk.open(&path, OpenMode::ReadWrite)), ErrorKind::NotFound);
        assert_eq!(kind(disk.open(&root.join("no/f"), OpenMode::Create)), ErrorKind::NotFound);
        assert!(!disk.exists(&path).unwrap());
        disk.open(&path, OpenMode::CreateNew).unwrap().write_at(0, b"kept").unwrap();
        assert!(disk.exists(&path).unwrap());
        assert_eq!(kind(disk.open(&path, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
        let again = disk.open(&path, OpenMode::Create).unwrap();
        assert_eq!(again.len().unwrap(), 4, "opening cuts nothing");
        let read = disk.open(&path, OpenMode::Read).unwrap();
        assert!(read.write_at(0, b"x").is_err() && read.set_len(0).is_err());
        disk.open(&path, OpenMode::ReadWrite).unwrap().write_at(0, b"K").unwrap();
        let mut buf = [0; 4];
        read.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"Kept", "every handle sees the newest bytes");
        for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
            assert_eq!(kind(disk.open(root, mode)), ErrorKind::IsADirectory);
        }
        assert_eq!(kind(disk.open(root, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.open(&path.join("g"), OpenMode::Create)), ErrorKind::NotADirectory);
        assert!(!disk.exists(&path.join("g")).unwrap());
    });
}

#[test]
fn reads_are_exact_and_holes_are_zero() {
    on_both(|disk, root| {
        let file = disk.open(&root.join("f"), OpenMode::Create).unwrap();
        assert!(file.is_empty().unwrap());
        assert_eq!(kind(file.read_at(0, &mut [0; 1])), ErrorKind::UnexpectedEof);
        file.write_at(10_000, b"end").unwrap();
        assert_eq!(file.len().unwrap(), 10_003);
        let mut buf = [9; 4];
        file.read_at(9_999, &mut buf).unwrap();
        assert_eq!(&buf, b"\0end");
        assert_eq!(kind(file.read_at(10_000, &mut [0; 4])), ErrorKind::UnexpectedEof);
        file.read_at(10_003, &mut []).unwrap();
        file.write_at(20_000, b"").unwrap();
        assert_eq!(file.len().unwrap(), 10_003, "an empty write grows nothing");
        file.sync_data().unwrap();
    });
}

#[test]
fn a_cut_file_grows_back_with_zeros() {
    on_both(|disk, root| {
        let file = disk.open(&root.join("f"), OpenMode::Create).unwrap();
        file.write_at(0, &[7; 9000]).unwrap();
        file.set_len(100).unwrap();
        assert_eq!(file.len().unwrap(), 100);
        file.set_len(9000).unwrap();
        let mut buf = [1; 9000];
        file.read_at(0, &mut buf).unwrap();
        assert!(buf[..100].iter().all(|byte| *byte == 7) && buf[100..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn allocating_grows_and_never_shrinks_or_changes_bytes() {
    on_both(|disk, root| {
        let file = disk.open(&root.join("f"), OpenMode::Create).unwrap();
        file.allocate(0).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(0, b"kept").unwrap();
        file.allocate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        file.allocate(10).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        let mut buf = [1; 6];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"kept\0\0");
    });
}

#[test]
fn a_rename_replaces_a_file_and_open_handles_follow_it() {
    on_both(|disk, root| {
        let (a, b) = (root.join("a"), root.join("b"));
        let file = disk.open(&a, OpenMode::Create).unwrap();
        file.write_at(0, b"new").unwrap();
        let replaced = disk.open(&b, OpenMode::Create).unwrap();
        replaced.write_at(0, b"older").unwrap();
        disk.rename(&a, &b).unwrap();
        assert_eq!(disk.list(root).unwrap(), ["b"]);
        assert_eq!(disk.open(&b, OpenMode::Read).unwrap().len().unwrap(), 3);
        file.write_at(3, b"er").unwrap();
        assert_eq!(disk.open(&b, OpenMode::Read).unwrap().len().unwrap(), 5);
        let mut buf = [0; 5];
        replaced.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"older", "a replaced file lives as long as its handles");
        assert_eq!(kind(disk.rename(&a, &b)), ErrorKind::NotFound);
        disk.rename(&b, &b).unwrap();
        disk.create_dir_all(&root.join("dir/inner")).unwrap();
        assert_eq!(kind(disk.rename(&b, &root.join("dir"))), ErrorKind::IsADirectory);
        assert_eq!(kind(disk.rename(&root.join("dir"), &b)), ErrorKind::NotADirectory);
        assert_eq!(kind(disk.rename(&root.join("dir"), &root.join("dir/inner/x"))), ErrorKind::InvalidInput);
        assert_eq!(kind(disk.rename(&b, &root.join("no/b"))), ErrorKind::NotFound);
        disk.rename(&b, &root.join("dir/inner/c")).unwrap();
        disk.rename(&root.join("dir"), &root.join("moved")).unwrap();
        assert_eq!(disk.list(&root.join("moved/inner")).unwrap(), ["c"]);
        disk.create_dir_all(&root.join("full/x")).unwrap();
        assert_eq!(kind(disk.rename(&root.join("moved"), &root.join("full"))), ErrorKind::DirectoryNotEmpty);
    });
}

#[test]
fn folders_list_sorted_and_go_with_all_they_hold() {
    on_both(|disk, root| {
        let dir = root.join("x/y");
        disk.create_dir_all(&dir).unwrap();
        disk.create_dir_all(&dir).unwrap();
        for name in ["b", "10", "a", "9"] {
            disk.open(&dir.join(name), OpenMode::CreateNew).unwrap();
        }
        assert_eq!(disk.list(&dir).unwrap(), ["10", "9", "a", "b"]);
        disk.sync_dir(&dir).unwrap();
        assert_eq!(kind(disk.list(&root.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(disk.list(&dir.join("a"))), ErrorKind::NotADirectory);
        assert_eq!(kind(disk.sync_dir(&root.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(disk.sync_dir(&dir.join("a"))), ErrorKind::NotADirectory);
        assert_eq!(kind(disk.create_dir_all(&dir.join("a"))), ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.create_dir_all(&dir.join("a/z"))), ErrorKind::NotADirectory);
        assert_eq!(kind(disk.remove_file(&dir)), ErrorKind::IsADirectory);
        assert_eq!(kind(disk.remove_file(&dir.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(disk.remove_dir_all(&root.join("no"))), ErrorKind::NotFound);
        assert_eq!(kind(disk.remove_dir_all(&dir.join("a"))), ErrorKind::NotADirectory);
        disk.remove_file(&dir.join("a")).unwrap();
        assert_eq!(disk.list(&dir).unwrap(), ["10", "9", "b"]);
        disk.remove_dir_all(&root.join("x")).unwrap();
        assert!(disk.list(root).unwrap().is_empty());
    });
}

#[test]
fn a_lock_is_exclusive_until_it_is_dropped() {
    on_both(|disk, root| {
        let path = root.join("lock");
        let held = disk.lock(&path).unwrap();
        assert!(disk.exists(&path).unwrap());
        assert_eq!(kind(disk.lock(&path)), ErrorKind::WouldBlock);
        disk.lock(&root.join("another")).expect("another path is another lock");
        drop(held);
        disk.lock(&path).expect("it was let go");
    });
}

#[test]
fn space_is_within_the_file_system() {
    on_both(|disk, root| {
        let space = disk.space(root).unwrap();
        assert!(space.total_bytes > 0 && space.available_bytes <= space.total_bytes, "{space:?}");
        assert_eq!(kind(disk.space(&root.join("no"))), ErrorKind::NotFound);
    });
}

/// Plays both parts: run again with the variable set, it is the process that must not get the lock.
#[cfg(not(madsim))]
#[test]
fn a_second_process_does_not_get_the_lock_until_the_first_lets_go() {
    const LOCK: &str = "QUORATE_TEST_LOCK";
    const REFUSED: i32 = 42;
    const TAKEN: i32 = 43;
    let disk = quorate::env::real::RealDisk;
    if let Some(path) = std::env::var_os(LOCK) {
        let refused = disk.lock(Path::new(&path)).err().map(|error| error.kind());
        std::process::exit(if refused == Some(ErrorKind::WouldBlock) { REFUSED } else { TAKEN });
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let other_process = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_second_process_does_not_get_the_lock_until_the_first_lets_go"])
            .env(LOCK, &path)
            .output()
            .unwrap()
            .status
            .code()
    };
    let held = disk.lock(&path).unwrap();
    assert_eq!(other_process(), Some(REFUSED));
    drop(held);
    assert_eq!(other_process(), Some(TAKEN));
}
