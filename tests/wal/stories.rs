//! What a log does when nothing goes wrong, and what it refuses before writing anything.

use std::sync::Arc;

use quorate::env::Disk;
use quorate::storage::wal::{Identity, Wal, WalError, WalOptions, WalRecord, identity_of};
use quorate::types::{ClusterId, Incarnation, MemberId};
use quorate_disk::{Config, SimDisk};

use crate::harness::{Dice, IDENTITY, Machine, OPTIONS, Step, dir, entry, log_id, open_on, vote};

fn commit(machine: &mut Machine, records: Vec<WalRecord>) {
    assert!(machine.step(&Step::Commit(records, None)));
}

#[test]
fn a_new_log_is_empty_and_the_next_start_has_a_higher_incarnation() {
    let disk = SimDisk::new(Config::new(1));
    assert!(!Wal::exists(disk.mount().as_ref(), &dir()).unwrap(), "no folder");
    let (wal, first) = open_on(&disk, IDENTITY).unwrap();
    assert_eq!((first.vote, first.purged, first.committed, first.entries.len()), (None, None, None, 0));
    assert_eq!((first.incarnation, wal.size_bytes()), (Incarnation(1), 0));
    drop(wal);
    assert!(Wal::exists(disk.mount().as_ref(), &dir()).unwrap());
    let (_, second) = open_on(&disk, IDENTITY).unwrap();
    assert_eq!(second.incarnation, Incarnation(2));
}

#[test]
fn a_folder_in_which_creation_never_finished_holds_no_log() {
    let disk = SimDisk::new(Config::new(1));
    let mounted = disk.mount();
    mounted.create_dir_all(&dir()).unwrap();
    assert!(!Wal::exists(mounted.as_ref(), &dir()).unwrap());
}

/// Who finds no log founds a cluster, or votes once more: what cannot be read, or is rotten, is none the less there.
#[test]
fn a_log_that_does_not_say_whose_it_is_is_not_taken_for_none() {
    const BLOCK: u64 = 4096;
    let disk = SimDisk::new(Config::new(1));
    let mounted = disk.mount();
    let whose = || identity_of(mounted.as_ref(), &dir()).map_err(|error| error.to_string());
    assert_eq!(whose(), Ok(None), "no folder");
    drop(open_on(&disk, IDENTITY).unwrap());
    let mounted = disk.mount();
    let whose = || identity_of(mounted.as_ref(), &dir()).map_err(|error| error.to_string());
    let segment = dir().join("0000000000000001.wal");
    assert_eq!(whose(), Ok(Some(IDENTITY)));
    disk.corrupt(&segment, 0, &[0xff; 100]).unwrap();
    assert_eq!(whose(), Ok(Some(IDENTITY)), "there is another copy");
    disk.make_unreadable(&segment, BLOCK, BLOCK).unwrap();
    let error = whose().unwrap_err();
    assert!(error.starts_with("0000000000000001.wal: "), "{error}");
    disk.mend();
    assert_eq!(whose(), Ok(Some(IDENTITY)), "the owner has put it right");
    for offset in [0, BLOCK] {
        disk.corrupt(&segment, offset, &[0xff; 100]).unwrap();
    }
    assert_eq!(whose(), Ok(None));
    assert!(Wal::exists(mounted.as_ref(), &dir()).unwrap());
    assert!(open_on(&disk, IDENTITY).unwrap_err().is_damage());
}

#[test]
fn everything_comes_back_across_many_segments_and_starts() {
    let mut machine = Machine::new(2);
    assert!(machine.open("first start"));
    for index in 0..60 {
        commit(&mut machine, vec![entry(1, index, &vec![b'p'; 1 + (index as usize * 977) % 9000])]);
        if index % 7 == 0 {
            commit(&mut machine, vec![WalRecord::Vote(vote(index + 1, 5))]);
        }
        if index % 13 == 12 {
            machine.power_loss();
            assert!(machine.open("restart"));
        }
    }
    assert_eq!(machine.sure.entries.len(), 60);
    assert!(machine.files().len() > 10, "the segments were changed");
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let mut machine = Machine::new(3);
    assert!(machine.open("first start"));
    commit(&mut machine, vec![entry(1, 0, b"small")]);
    commit(&mut machine, vec![entry(1, 1, &vec![7; 300_000]), entry(1, 2, &vec![8; 100_000])]);
    commit(&mut machine, vec![entry(1, 3, b"small")]);
    machine.power_loss();
    assert!(machine.open("restart"));
    commit(&mut machine, vec![entry(1, 4, &vec![9; 200_000])]);
    // The tail that recovery rewrites is larger than a segment too.
    machine.kill();
    assert!(machine.open("restart with a large tail"));
    machine.still_works("large batches");
    assert!(machine.step(&Step::Purge(log_id(1, 5))));
    assert!(machine.files().iter().all(|(_, bytes)| bytes.len() < 300_000), "no large file is kept");
    machine.still_works("after the purge");
}

#[test]
fn a_purge_recycles_segments_and_forgets_neither_vote_nor_commit_mark() {
    let mut machine = Machine::new(4);
    assert!(machine.open("first start"));
    commit(&mut machine, vec![WalRecord::Vote(vote(9, 3))]);
    for index in 0..40 {
        assert!(machine.step(&Step::Commit(vec![entry(9, index, &[1; 3000])], Some(log_id(9, index)))));
    }
    let (files, size) = (machine.files().len(), machine.wal.as_ref().unwrap().size_bytes());
    assert!(machine.step(&Step::Purge(log_id(9, 38))));
    let left = machine.wal.as_ref().unwrap().size_bytes();
    assert!(left < size / 4, "{left} of {size} bytes are left");
    let names = machine.files();
    assert!(names.len() < files / 2, "{} of {files} files are left", names.len());
    assert!(
        names.iter().any(|(path, _)| path.to_str().unwrap().contains("recycled")),
        "one is kept as a spare"
    );
    machine.power_loss();
    assert!(machine.open("restart"));
    assert_eq!(machine.sure.vote, Some(vote(9, 3)));
    assert_eq!((machine.sure.purged, machine.sure.committed), (Some(log_id(9, 38)), Some(log_id(9, 39))));
}

/// The simulator's seed 57: a seal that changes segments leaves the new one unused, with nothing in it to prove
/// that its name is durable, and everything in the old one may already be purged.
#[test]
fn the_segment_before_an_unused_one_is_not_recycled() {
    let mut machine = Machine::new(4);
    assert!(machine.open("first start"));
    assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a")], Some(log_id(1, 0)))));
    commit(&mut machine, vec![WalRecord::Purge(log_id(1, 0))]);
    let segments = machine.files().len();
    assert!(machine.step(&Step::Seal));
    assert!(machine.files().len() > segments, "the seal went into a new segment");
    assert!(machine.step(&Step::Recycle));
    machine.power_loss();
    assert!(machine.open("restart"));
    machine.still_works("after the restart");
}

#[test]
fn a_log_can_begin_behind_a_snapshot() {
    let mut machine = Machine::new(5);
    assert!(machine.open("first start"));
    commit(&mut machine, vec![entry(1, 0, b"old"), WalRecord::Purge(log_id(3, 500)), entry(3, 501, b"new")]);
    machine.power_loss();
    assert!(machine.open("restart"));
    assert_eq!(machine.sure.entries.len(), 1);
    commit(&mut machine, vec![entry(3, 502, b"more")]);
}

#[test]
fn a_commit_mark_is_durable_after_a_seal_and_never_ahead_of_the_log() {
    let mut machine = Machine::new(6);
    assert!(machine.open("first start"));
    assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a")], Some(log_id(1, 3)))));
    machine.power_loss();
    assert!(machine.open("the mark was ahead"));
    assert_eq!(machine.sure.committed, None);
    commit(&mut machine, vec![entry(1, 1, b"b")]);
    machine.wal.as_mut().unwrap().note_committed(log_id(1, 1));
    assert!(machine.step(&Step::Seal));
    machine.power_loss();
    assert!(machine.open("sealed"));
    assert_eq!(machine.sure.committed, Some(log_id(1, 1)));
}

#[test]
fn sealing_twice_writes_once() {
    let mut machine = Machine::new(7);
    assert!(machine.open("first start"));
    commit(&mut machine, vec![entry(1, 0, b"a")]);
    assert!(machine.step(&Step::Seal));
    let writes = machine.disk.counters().writes;
    assert!(machine.step(&Step::Seal));
    assert_eq!(machine.disk.counters().writes, writes);
}

#[test]
fn one_commit_is_one_write_and_one_sync() {
    let mut machine = Machine::new(8);
    assert!(machine.open("first start"));
    let before = machine.disk.counters();
    commit(&mut machine, vec![WalRecord::Vote(vote(1, 1)), entry(1, 0, b"a"), entry(1, 1, &[5; 5000])]);
    let after = machine.disk.counters();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
    assert_eq!((after.bytes_written - before.bytes_written) % 4096, 0);
}

#[test]
fn contradictions_are_refused_and_cost_nothing() {
    let mut machine = Machine::new(9);
    assert!(machine.open("first start"));
    commit(
        &mut machine,
        vec![entry(2, 0, b"a"), WalRecord::Vote(vote(4, 1)), WalRecord::Purge(log_id(2, 0))],
    );
    let contradictions = [
        entry(2, 2, b"a gap"),
        entry(1, 1, b"a lower term"),
        WalRecord::Vote(vote(3, 1)),
        WalRecord::TruncateAfter(None),
    ];
    let writes = machine.disk.counters().writes;
    for record in contradictions {
        let refused = machine.wal.as_mut().unwrap().commit(std::slice::from_ref(&record), None);
        assert!(matches!(refused, Err(WalError::Refused { .. })), "{record:?}");
    }
    assert_eq!(machine.disk.counters().writes, writes);
    machine.still_works("after refusals");
}

#[test]
fn a_second_process_is_turned_away() {
    let disk = SimDisk::new(Config::new(1));
    let mounted = disk.mount();
    let open = |mounted: Arc<dyn Disk>| Wal::open(mounted, &dir(), IDENTITY, OPTIONS, Dice::new(1));
    let first = open(Arc::clone(&mounted)).unwrap();
    let error = open(Arc::clone(&mounted)).unwrap_err();
    assert_eq!(error.to_string(), "write-ahead log /data/wal is in use by another process");
    drop(first);
    assert!(open(mounted).is_ok());
}

#[test]
fn another_members_folder_is_refused() {
    let disk = SimDisk::new(Config::new(1));
    drop(open_on(&disk, IDENTITY).unwrap());
    for other in
        [Identity { cluster: ClusterId(0xc2), ..IDENTITY }, Identity { member: MemberId(0xa2), ..IDENTITY }]
    {
        let error = open_on(&disk, other).unwrap_err();
        assert!(matches!(error, WalError::Foreign { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("0000000000000001.wal belongs to member a1 of cluster c1"), "{text}");
    }
    assert!(open_on(&disk, IDENTITY).is_ok(), "its own member still opens it");
}

#[test]
fn odd_segment_sizes_are_refused() {
    for segment_bytes in [0, 4096, 40_000] {
        let disk = SimDisk::new(Config::new(1));
        let options = WalOptions { segment_bytes, ..OPTIONS };
        let error = Wal::open(disk.mount(), &dir(), IDENTITY, options, Dice::new(1)).unwrap_err();
        assert!(matches!(error, WalError::Refused { .. }), "{error}");
    }
}

#[test]
fn another_segment_size_may_be_chosen_at_any_start() {
    let disk = SimDisk::new(Config::new(1));
    let mut next = 0;
    for segment_bytes in [64 << 10, 32 << 10, 128 << 10] {
        let options = WalOptions { segment_bytes, prepared_segments: 2 };
        let (mut wal, recovered) = Wal::open(disk.mount(), &dir(), IDENTITY, options, Dice::new(1)).unwrap();
        assert_eq!(recovered.entries.len(), next);
        for _ in 0..40 {
            wal.commit(&[entry(1, next as u64, &[3; 2000])], None).unwrap();
            next += 1;
        }
    }
    assert_eq!(open_on(&disk, IDENTITY).unwrap().1.entries.len(), next);
}

#[test]
fn a_full_disk_is_seen_before_anything_is_promised() {
    let mut machine = Machine::new(10);
    machine.disk.set_capacity(8 << 10);
    let error = machine.try_open().unwrap_err();
    assert!(matches!(error, WalError::NoSpace { .. }), "{error}");
    machine.disk.set_capacity(200 << 10);
    assert!(machine.open("room enough"));
    let mut index = 0;
    let error = loop {
        let record = entry(1, index, &[1; 3000]);
        match machine.wal.as_mut().unwrap().commit(std::slice::from_ref(&record), None) {
            Ok(_) => machine.sure.take(&[record], None),
            Err(error) => break error,
        }
        index += 1;
        assert!(index < 100, "the disk never fills");
    };
    assert!(matches!(error, WalError::NoSpace { .. }), "{error}");
    // The log is as it was: with room again, the same commit passes.
    machine.disk.set_capacity(400 << 10);
    machine.still_works("with room again");
}
