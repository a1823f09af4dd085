//! Snapshot files: whole or the previous one after a crash anywhere; every damage found and named.

use std::path::Path;
use std::sync::Arc;

use quorate::env::{Disk, OpenMode};
use quorate::machine::persist::Bucket;
use quorate::storage::engine::Identity;
use quorate::storage::engine::IntegrityReport;
use quorate::storage::snapshot_file::{
    SnapshotFileError, SnapshotFileHeader, SnapshotReader, verify_snapshot, write_snapshot,
};
use quorate::types::{ClusterId, LogId, LogIndex, Term};
use quorate_disk::{Arm, Call, Crash, SimDisk};

use crate::script::{Content, Progress, content_of, contents_after, put, run};
use crate::{OWNER, redb_on, sim_disk};

const FILE: &str = "/data/full.snapshot";

fn header(index: u64) -> SnapshotFileHeader {
    SnapshotFileHeader { identity: OWNER, applied: LogId { term: Term(3), index: LogIndex(index) } }
}

fn read(disk: &dyn Disk) -> Result<(LogId, Content), SnapshotFileError> {
    let reader = SnapshotReader::open(disk, Path::new(FILE), OWNER)?;
    let applied = reader.header().applied;
    let mut content = Content::new();
    for chunk in reader {
        content.extend(chunk?.into_iter().map(|(bucket, key, value)| ((bucket, key), value)));
    }
    Ok((applied, content))
}

/// Writes a snapshot of batches 1..=`last`.
fn write(disk: &Arc<dyn Disk>, last: u64) -> Result<IntegrityReport, SnapshotFileError> {
    let scratch = sim_disk(1);
    let engine = redb_on(&scratch).engine();
    run(&*engine, 1, last, &mut Progress::default()).unwrap();
    write_snapshot(disk, Path::new(FILE), header(last), &*engine.reader().unwrap())
}

#[test]
fn what_is_written_is_read_back_in_chunks() {
    let disk = sim_disk(1);
    let engine = redb_on(&disk).engine();
    run(&*engine, 1, 30, &mut Progress::default()).unwrap();
    for number in 0..40_u8 {
        engine.apply(&[put(Bucket::Records, &[number], &vec![number; 100_000])]).unwrap();
    }
    let expected = content_of(&*engine);
    let mount = disk.mount();
    let engine = redb_on(&disk).engine();
    drop(mount);
    assert_ne!(content_of(&*engine), expected, "what was not flushed is gone with its process");
    let world = redb_on(&disk);
    let engine = world.engine();
    for ((bucket, key), value) in &expected {
        engine.apply(&[put(*bucket, key, value)]).unwrap();
    }
    let report =
        write_snapshot(&world.disk, Path::new(FILE), header(30), &*engine.reader().unwrap()).unwrap();
    assert_eq!(usize::try_from(report.pairs).unwrap(), content_of(&*engine).len());
    assert_eq!(read(&*world.disk).unwrap(), (header(30).applied, content_of(&*engine)));
    assert_eq!(verify_snapshot(&*world.disk, Path::new(FILE), OWNER).unwrap(), header(30));
    let chunks = SnapshotReader::open(&*world.disk, Path::new(FILE), OWNER).unwrap().count();
    assert!(chunks > 3, "{chunks} chunks: the file is not read at once");
}

#[test]
fn a_crash_anywhere_leaves_the_old_snapshot_or_the_new() {
    let contents = contents_after(20);
    for call in [Call::Write, Call::Sync, Call::Name] {
        let mut deaths = 0;
        for nth in 1.. {
            let disk = sim_disk(nth);
            write(&disk.mount(), 10).unwrap();
            let mount = disk.mount();
            disk.arm(Arm { call, path: None, nth, crash: Crash::PowerLoss, event: nth });
            let done = write(&mount, 20);
            assert_eq!(done.is_err(), disk.died(), "{call:?} {nth}: {done:?}");
            if !disk.died() {
                disk.disarm();
                disk.power_loss(nth);
            }
            let (applied, content) = read(&*disk.mount()).unwrap();
            let last = usize::try_from(applied.index.0).unwrap();
            assert!(last == 20 || (last == 10 && done.is_err()), "{call:?} {nth}: {last}");
            assert_eq!(content, contents[last], "{call:?} {nth}");
            if done.is_ok() {
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= 2, "{call:?}: {deaths}");
    }
}

/// A disk with a snapshot of batches 1..=10.
fn written() -> SimDisk {
    let disk = sim_disk(2);
    write(&disk.mount(), 10).unwrap();
    disk
}

#[test]
fn every_flipped_bit_and_every_cut_is_found_and_named() {
    let whole = written().written_bytes(Path::new(FILE)).unwrap();
    let disk = sim_disk(3);
    let mount = disk.mount();
    let judge = |bytes: &[u8]| {
        let file = mount.open(Path::new(FILE), OpenMode::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_at(0, bytes).unwrap();
        read(&*mount)
    };
    assert!(judge(&whole).is_ok());
    let step = whole.len() / 900;
    for at in (0..whole.len()).filter(|at| *at < 200 || at + 60 > whole.len() || at % step == 0) {
        let mut bad = whole.clone();
        bad[at] ^= 1 << (at % 8);
        match judge(&bad) {
            Err(SnapshotFileError::Corrupt { path, offset, .. }) => {
                assert_eq!(path, FILE);
                assert!(usize::try_from(offset).unwrap() <= at, "byte {at}: blamed {offset}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        match judge(&whole[..at]) {
            Err(SnapshotFileError::Corrupt { offset, .. }) => {
                assert!(usize::try_from(offset).unwrap() <= at, "cut at {at}: blamed {offset}");
            }
            other => panic!("cut at {at}: {other:?}"),
        }
    }
    let mut longer = whole.clone();
    longer.push(0);
    let error = judge(&longer).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("snapshot file {FILE} is corrupt at offset {}: bytes follow the end", whole.len())
    );
}

#[test]
fn missing_foreign_and_newer_files_are_told_apart() {
    let disk = written();
    let mount = disk.mount();
    let none = SnapshotReader::open(&*mount, Path::new("/data/none"), OWNER).unwrap_err();
    assert_eq!(none.to_string(), "snapshot file /data/none does not exist");
    let stranger = Identity { cluster: ClusterId(0xc2), ..OWNER };
    let foreign = SnapshotReader::open(&*mount, Path::new(FILE), stranger).unwrap_err();
    assert_eq!(
        foreign.to_string(),
        format!(
            "snapshot file {FILE} is refused: it belongs to cluster c1 member a1, not to cluster c2 member a1"
        )
    );
    let mut head = disk.written_bytes(Path::new(FILE)).unwrap()[..48].to_vec();
    head[11] = 2;
    let crc = crc32c::crc32c(&head[..44]).to_be_bytes();
    head[44..].copy_from_slice(&crc);
    disk.corrupt(Path::new(FILE), 0, &head).unwrap();
    let newer = read(&*mount).unwrap_err();
    assert_eq!(
        newer.to_string(),
        format!(
            "snapshot file {FILE} is refused: its format 2 is newer than 1, the newest this version reads"
        )
    );
}
