//! Rot, lost files and foreign files: refused by name and place, survived where a second copy is, and cut only
//! where nothing vouches for the bytes. A refusal writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate::storage::wal::{Wal, WalError, WalRecord};
use quorate_disk::{Call, Fault, FaultKind, SimDisk};

use crate::harness::{IDENTITY, Machine, Model, Step, dir, disk_of, entry, files_of, log_id, open_on, vote};

/// Where batches begin; the format's document states it.
const DATA: u64 = 12288;

fn segment(number: u64) -> PathBuf {
    dir().join(format!("{number:016x}.wal"))
}

/// A log of several segments, one of them begun by a restart.
struct Fixture {
    files: Vec<(PathBuf, Vec<u8>)>,
    /// By segment: bytes from `DATA` up to here count.
    ends: BTreeMap<u64, u64>,
    /// Where the last batch of records stands.
    last_batch: (u64, u64),
    /// With the last batch, and without it.
    whole: Model,
    cut: Model,
}

fn fixture(seal: bool) -> Fixture {
    let mut machine = Machine::new(21);
    assert!(machine.open("fixture"));
    let mut ends = BTreeMap::new();
    let mut last_batch = (0, 0);
    let mut cut = Model::default();
    for index in 0..24 {
        if index == 10 {
            assert!(machine.step(&Step::Seal));
            assert!(machine.open("fixture, restart"));
        }
        cut = machine.sure.clone();
        let mut records = vec![entry(1, index, &vec![0x5a; 40 + (index as usize * 531) % 5000])];
        if index % 5 == 0 {
            records.push(WalRecord::Vote(vote(index + 1, 7)));
        }
        assert!(machine.step(&Step::Commit(records, None)));
        let durable = machine.wal.as_ref().unwrap().durable();
        let before = ends.insert(durable.segment, durable.offset);
        last_batch = (durable.segment, before.unwrap_or(DATA + 4096));
    }
    if seal {
        assert!(machine.step(&Step::Seal));
    }
    machine.wal = None;
    let files = machine.files();
    assert!(ends.len() >= 5, "several segments");
    Fixture { files, ends, last_batch, whole: machine.sure, cut }
}

fn content(opened: Result<(Wal, quorate::storage::wal::Recovered), WalError>) -> Result<Model, WalError> {
    opened.map(|(_, recovered)| Model {
        vote: recovered.vote,
        purged: recovered.purged,
        entries: recovered.entries,
        committed: recovered.committed,
    })
}

/// Up to six bytes that are not zero in every sector.
fn places(bytes: &[u8]) -> Vec<u64> {
    let mut places = Vec::new();
    for (sector, content) in bytes.chunks(512).enumerate() {
        let set: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        let step = set.len().div_ceil(6).max(1);
        places.extend(set.iter().step_by(step).map(|at| (sector * 512 + at) as u64));
    }
    places
}

fn names(error: &WalError, path: &Path) -> bool {
    let text = error.to_string();
    text.contains(path.to_str().unwrap()) && text.contains("offset") && !text.contains('\n')
}

#[test]
fn a_flipped_bit_anywhere_is_refused_survived_or_cut_as_it_must_be() {
    let mut outcomes = BTreeMap::new();
    for seal in [true, false] {
        let fixture = fixture(seal);
        let mut disk = disk_of(&fixture.files);
        for (&number, &end) in &fixture.ends {
            let path = segment(number);
            let (_, bytes) = fixture.files.iter().find(|(other, _)| *other == path).unwrap();
            for offset in places(bytes) {
                let told = format!("seal {seal}, segment {number}, offset {offset}");
                let bit = (offset % 8) as u32;
                disk.flip_bit(&path, offset, bit).unwrap();
                let counters = disk.counters();
                let opened = content(open_on(&disk, IDENTITY));
                let counts = (DATA..end).contains(&offset);
                let unvouched = !seal && number == fixture.last_batch.0 && offset >= fixture.last_batch.1;
                // A last batch's own damage is a tear; what stands behind the end of an older segment, or in one
                // of two header copies, is not needed.
                let outcome = match &opened {
                    Err(error) => {
                        assert!(counts && !unvouched, "{told}: {error}");
                        assert!(matches!(error, WalError::Corrupt { .. }), "{told}: {error}");
                        assert!(names(error, &path), "{told}: {error}");
                        assert_eq!(
                            disk.counters().writes,
                            counters.writes,
                            "{told}: a refusal writes nothing"
                        );
                        "refused"
                    }
                    Ok(model) if counts && unvouched => {
                        assert_eq!(*model, fixture.cut, "{told}");
                        "cut"
                    }
                    Ok(model) => {
                        assert!(!counts, "{told}: damage below a durable place is not seen");
                        assert_eq!(*model, fixture.whole, "{told}");
                        "survived"
                    }
                };
                *outcomes.entry(outcome).or_insert(0) += 1;
                if opened.is_ok() {
                    disk = disk_of(&fixture.files);
                } else {
                    disk.flip_bit(&path, offset, bit).unwrap();
                }
            }
        }
        assert_eq!(content(open_on(&disk, IDENTITY)).unwrap(), fixture.whole, "the fixture itself is sound");
    }
    assert!(outcomes["refused"] > 500 && outcomes["cut"] > 5 && outcomes["survived"] > 100, "{outcomes:?}");
}

/// Whatever a single damaged byte hides of a log in which nobody wrote anything yet: requests were named after its
/// opening, and none may be named so again.
#[test]
fn no_damage_to_a_young_log_brings_an_incarnation_back() {
    for openings in 1..=3 {
        let mut machine = Machine::new(22);
        for opening in 0..openings {
            assert!(machine.open(&format!("opening {opening}")));
        }
        machine.wal = None;
        let (files, held) = (machine.files(), machine.incarnation);
        let mut opened = 0;
        for (path, bytes) in &files {
            for offset in places(bytes) {
                let disk = disk_of(&files);
                disk.flip_bit(path, offset, (offset % 8) as u32).unwrap();
                if let Ok((_, recovered)) = open_on(&disk, IDENTITY) {
                    let told = format!("{openings} openings, {}, offset {offset}", path.display());
                    assert!(recovered.incarnation > held, "{told}: {:?} is back", recovered.incarnation);
                    opened += 1;
                }
            }
        }
        // One of two header copies is not needed.
        assert!(opened > 0, "{openings} openings: no damaged log was opened");
    }
}

#[test]
fn both_header_copies_bad_is_a_refusal_in_every_segment() {
    let fixture = fixture(true);
    for &number in fixture.ends.keys() {
        let disk = disk_of(&fixture.files);
        disk.flip_bit(&segment(number), 20, 1).unwrap();
        disk.flip_bit(&segment(number), 4096 + 40, 1).unwrap();
        let error = content(open_on(&disk, IDENTITY)).unwrap_err();
        assert!(matches!(error, WalError::Corrupt { .. }) && names(&error, &segment(number)), "{error}");
    }
}

#[test]
fn a_header_copy_of_the_files_earlier_use_is_passed_over() {
    let fixture = fixture(true);
    let numbers: Vec<u64> = fixture.ends.keys().copied().collect();
    let [older, newer] = numbers[..2] else { panic!("the fixture has two segments") };
    let copy_of = |number: u64| {
        let (_, bytes) = fixture.files.iter().find(|(path, _)| *path == segment(number)).unwrap();
        bytes[..4096].to_vec()
    };
    // The write of one copy has not come to the medium: what stood there is still there.
    for stale in [&[0][..], &[4096], &[0, 4096]] {
        let mut files = fixture.files.clone();
        let (_, bytes) = files.iter_mut().find(|(path, _)| *path == segment(newer)).unwrap();
        for offset in stale {
            bytes[*offset..offset + 4096].copy_from_slice(&copy_of(older));
        }
        let opened = content(open_on(&disk_of(&files), IDENTITY));
        if stale.len() == 1 {
            assert_eq!(opened.unwrap(), fixture.whole, "stale copies at {stale:?}");
        } else {
            let error = opened.unwrap_err();
            assert!(names(&error, &segment(newer)) && error.to_string().contains("sequence"), "{error}");
        }
    }
}

#[test]
fn a_segment_that_vanished_is_missed_wherever_it_stood() {
    for seal in [true, false] {
        let fixture = fixture(seal);
        for &number in fixture.ends.keys() {
            let disk = disk_of(&fixture.files);
            disk.remove(&segment(number)).unwrap();
            let error = content(open_on(&disk, IDENTITY)).unwrap_err();
            assert!(matches!(error, WalError::MissingSegment { .. }), "segment {number}: {error}");
            assert!(names(&error, &segment(number)), "segment {number}: {error}");
        }
    }
}

#[test]
fn the_fresh_segment_of_a_restart_is_missed_too() {
    let mut machine = Machine::new(22);
    assert!(machine.open("first start"));
    assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a")], None)));
    assert!(machine.open("restart"));
    assert!(machine.step(&Step::Commit(vec![entry(1, 1, b"b")], None)));
    machine.wal = None;
    machine.disk.remove(&segment(2)).unwrap();
    let error = content(open_on(&machine.disk, IDENTITY)).unwrap_err();
    assert!(matches!(error, WalError::MissingSegment { .. }) && names(&error, &segment(2)), "{error}");
}

/// What says that the segment before is not needed any more is the newest segment's first batch: when that rots, the other
/// seems to be missing, and the refusal names both places.
#[test]
fn a_segment_that_only_seems_to_be_missing_is_told_with_the_batch_that_may_be_damaged() {
    let mut machine = Machine::new(24);
    assert!(machine.open("first start"));
    assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a"), entry(1, 1, b"b")], None)));
    assert!(machine.step(&Step::Purge(log_id(1, 1))));
    assert!(machine.open("restart"));
    assert!(machine.step(&Step::Recycle));
    machine.wal = None;
    let newest = segment(2);
    assert!(machine.disk.files().iter().any(|file| Path::new(file) == newest), "{:?}", machine.disk.files());
    assert!(!machine.disk.files().iter().any(|file| Path::new(file) == segment(1)), "it was recycled");
    let files = files_of(&machine.disk);
    let told = (3..8).map(|block| block * 4096).filter(|at| {
        let disk = disk_of(&files);
        disk.flip_bit(&newest, at + 13, 1).unwrap();
        let Err(error) = content(open_on(&disk, IDENTITY)) else { return false };
        assert!(names(&error, &newest), "{error}");
        let unless = format!("unless the batch at offset {at} of {} is damaged", newest.display());
        matches!(error, WalError::MissingSegment { .. }) && error.to_string().ends_with(&unless)
    });
    assert_eq!(told.count(), 1);
}

#[test]
fn recycled_segments_are_not_missed() {
    let mut machine = Machine::new(23);
    assert!(machine.open("first start"));
    for index in 0..40 {
        assert!(machine.step(&Step::Commit(vec![entry(1, index, &[1; 3000])], None)));
    }
    assert!(machine.step(&Step::Purge(log_id(1, 39))));
    machine.power_loss();
    assert!(machine.open("everything is purged"));
    assert_eq!(machine.sure.entries.len(), 0);
    machine.still_works("after the purge");
}

#[test]
fn a_segment_cut_short_or_swapped_is_refused() {
    let fixture = fixture(true);
    let last = *fixture.ends.keys().next_back().unwrap();
    for len in [0, 100, 8192, 16384, 28 << 10] {
        let disk = disk_of(&fixture.files);
        disk.truncate(&segment(last), len).unwrap();
        let error = content(open_on(&disk, IDENTITY)).unwrap_err();
        assert!(matches!(error, WalError::Corrupt { .. }) && names(&error, &segment(last)), "{len}: {error}");
    }
    let mut files = fixture.files.clone();
    let bytes = |number| fixture.files.iter().find(|(path, _)| *path == segment(number)).unwrap().1.clone();
    for (path, content) in &mut files {
        if *path == segment(1) {
            *content = bytes(2);
        } else if *path == segment(2) {
            *content = bytes(1);
        }
    }
    let error = content(open_on(&disk_of(&files), IDENTITY)).unwrap_err();
    assert!(error.to_string().contains("sequence"), "{error}");
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let fixture = fixture(true);
    let disk = disk_of(&fixture.files);
    let mut start = fixture.files.iter().find(|(path, _)| *path == segment(1)).unwrap().1[..12].to_vec();
    start[8] = 7;
    // The same CRC-32C as the format uses, bit by bit.
    let crc = !start.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    });
    for copy in [0, 4096] {
        disk.corrupt(&segment(1), copy, &start).unwrap();
        disk.corrupt(&segment(1), copy + 12, &crc.to_le_bytes()).unwrap();
    }
    let error = content(open_on(&disk, IDENTITY)).unwrap_err();
    assert!(matches!(error, WalError::NewerFormat { found: 7, supported: 1, .. }), "{error}");
    assert!(names(&error, &segment(1)), "{error}");
}

#[test]
fn sectors_that_cannot_be_read_matter_only_where_they_are_needed() {
    let fixture = fixture(true);
    let end = fixture.ends[&1];
    for (offset, needed) in
        [(0, false), (4096, false), (8192, false), (end, false), (DATA, true), (DATA + 4096, true)]
    {
        let disk = disk_of(&fixture.files);
        disk.make_unreadable(&segment(1), offset, 1).unwrap();
        match content(open_on(&disk, IDENTITY)) {
            Ok(model) => {
                assert!(!needed, "offset {offset}");
                assert_eq!(model, fixture.whole, "offset {offset}");
            }
            Err(error) => {
                assert!(needed, "offset {offset}: {error}");
                assert!(matches!(&error, WalError::Io { offset: at, .. } if *at == offset), "{error}");
                assert!(names(&error, &segment(1)), "{error}");
            }
        }
    }
}

/// Two commits, the first of which goes astray inside a disk that reports success.
fn astray(kind: FaultKind) -> SimDisk {
    let mut machine = Machine::new(24);
    assert!(machine.open("first start"));
    machine.disk.inject(Fault { call: Call::Write, path: None, nth: 1, kind });
    assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a")], None)));
    assert!(machine.step(&Step::Commit(vec![entry(1, 1, b"b")], None)));
    machine.power_loss();
    machine.disk
}

#[test]
fn a_batch_that_the_disk_lost_or_misplaced_is_noticed_at_its_successor() {
    for kind in [FaultKind::Lost, FaultKind::Misdirected] {
        let disk = astray(kind);
        let error = content(open_on(&disk, IDENTITY)).unwrap_err();
        assert!(matches!(error, WalError::Corrupt { .. }) && names(&error, &segment(1)), "{kind:?}: {error}");
        assert!(!files_of(&disk).iter().any(|(path, _)| *path == segment(2)), "nothing was put behind it");
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_made_durable_or_gone_for_good() {
    for seed in 0..40 {
        let mut machine = Machine::new(100 + seed);
        assert!(machine.open("first start"));
        assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a")], None)));
        machine.disk.inject(Fault { call: Call::Sync, path: None, nth: 1, kind: FaultKind::Eio });
        assert!(!machine.step(&Step::Commit(vec![entry(1, 1, &[3; 6000])], None)), "the sync fails");
        // The next process may see the batch. If it does, it is a promise from then on.
        assert!(machine.open("after the failed sync"));
        machine.power_loss();
        assert!(machine.open("after the power loss"));
        machine.still_works("at the end");
    }
}

/// A sync fails in the very first start, that of the folder's own name among them; the second start promises something, and
/// the power goes.
#[test]
fn a_first_start_that_cannot_sync_a_name_leaves_none_that_is_doubtful() {
    let mut refused = 0;
    for (nth, seed) in (1..16).flat_map(|nth| (0..4).map(move |seed| (nth, 200 + seed))) {
        let mut machine = Machine::new(seed);
        machine.disk.inject(Fault { call: Call::Sync, path: None, nth, kind: FaultKind::Eio });
        refused += u32::from(machine.try_open().is_err());
        machine.disk.clear_faults();
        machine.kill();
        assert!(machine.open("second start"));
        assert!(machine.step(&Step::Commit(vec![entry(1, 0, b"a")], None)));
        machine.power_loss();
        assert!(machine.open("after the power loss"), "sync {nth} failed");
        machine.still_works("at the end");
    }
    assert!(refused > 20, "{refused} starts refused");
}

#[test]
fn after_a_failure_the_log_accepts_nothing() {
    let mut machine = Machine::new(25);
    assert!(machine.open("first start"));
    machine.disk.inject(Fault { call: Call::Sync, path: None, nth: 1, kind: FaultKind::Eio });
    let wal = machine.wal.as_mut().unwrap();
    assert!(matches!(wal.commit(&[entry(1, 0, b"a")], None), Err(WalError::Io { .. })));
    let before = machine.disk.counters();
    assert!(matches!(wal.commit(&[entry(1, 0, b"a")], None), Err(WalError::Failed { .. })));
    assert!(matches!(wal.seal(), Err(WalError::Failed { .. })));
    assert!(matches!(wal.recycle(), Err(WalError::Failed { .. })));
    assert_eq!(
        (machine.disk.counters().writes, machine.disk.counters().syncs),
        (before.writes, before.syncs)
    );
}
