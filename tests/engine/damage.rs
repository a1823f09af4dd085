//! Files that must not be opened, and files that rot: a clear refusal, never a panic, never wrong content.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use quorate::storage::engine::{EngineError, EngineOptions, Identity, open_engine};
use quorate::types::MemberId;
use quorate_disk::{SimDisk, Survival};

use crate::script::{Progress, contents_after, put, read_all, run};
use crate::{OWNER, SMALL, redb_on, sim_disk};

const FILE: &str = "/data/state/state.redb";

/// A disk with a closed engine that holds batches 1..=21.
fn written(seed: u64) -> SimDisk {
    let disk = sim_disk(seed);
    let engine = redb_on(&disk).engine();
    run(&*engine, 1, 21, &mut Progress::default()).unwrap();
    engine.close().unwrap();
    disk
}

#[test]
fn another_members_engine_is_refused_untouched() {
    let disk = written(1);
    let world = redb_on(&disk);
    let image = disk.image_hash();
    let stranger = Identity { member: MemberId(0xb2), ..OWNER };
    let error = open_engine(world.kind, &world.disk, &world.dir, stranger, SMALL).unwrap_err();
    assert_eq!(
        error.to_string(),
        "state engine /data/state/state.redb is refused: it belongs to cluster c1 member a1, not to cluster c1 \
         member b2"
    );
    assert_eq!(disk.image_hash(), image);
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let disk = written(2);
    let mut header = disk.written_bytes(Path::new(FILE)).unwrap()[..36].to_vec();
    header[11] = 9;
    let crc = crc32c::crc32c(&header[..32]).to_be_bytes();
    header[32..].copy_from_slice(&crc);
    disk.corrupt(Path::new(FILE), 0, &header).unwrap();
    let image = disk.image_hash();
    let error = redb_on(&disk).open().unwrap_err();
    assert_eq!(
        error.to_string(),
        "state engine /data/state/state.redb is refused: its format 9 is newer than 1, the newest this version \
         reads"
    );
    assert_eq!(disk.image_hash(), image);
}

#[test]
fn a_file_that_is_no_engine_is_corrupt() {
    for bytes in [&b""[..], b"hello", &[0; 5000], &[0xff; 100_000]] {
        let disk = sim_disk(3);
        let world = redb_on(&disk);
        world.disk.create_dir_all(&world.dir).unwrap();
        let file = world.disk.open(Path::new(FILE), quorate::env::OpenMode::Create).unwrap();
        file.write_at(0, bytes).unwrap();
        let error = world.open().unwrap_err();
        assert!(matches!(&error, EngineError::Corrupt { path, .. } if path == FILE), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn a_cut_file_is_corrupt() {
    let len = u64::try_from(written(4).written_bytes(Path::new(FILE)).unwrap().len()).unwrap();
    for cut in [1, 4096, 4097, 8192, len / 2, len - 4096, len - 1] {
        let disk = written(4);
        disk.truncate(Path::new(FILE), cut).unwrap();
        let outcome = redb_on(&disk).open().map(|opened| read_all(&*crate::usable(opened).reader().unwrap()));
        match outcome {
            Err(error) | Ok(Err(error)) => {
                assert!(
                    matches!(&error, EngineError::Corrupt { path, .. } if path == FILE),
                    "{cut}: {error}"
                );
            }
            Ok(Ok(content)) => assert_eq!(content, contents_after(21)[21], "cut at {cut}"),
        }
    }
}

/// Whether an error names the file and an offset in it, in one line.
fn names_place(error: &EngineError) -> bool {
    let text = error.to_string();
    let offset = text.split("offset ").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    text.contains(FILE) && offset && !text.contains('\n')
}

/// Rot in any page that the last flush refers to is found by the start, not by whoever reads the page one day.
#[test]
fn a_start_reads_every_page_that_counts() {
    let len = u64::try_from(written(6).written_bytes(Path::new(FILE)).unwrap().len()).unwrap();
    let right = &contents_after(21)[21];
    let (mut refused, mut unused) = (0, 0);
    for page in 2..len / 4096 {
        let disk = written(6);
        // A whole page of it, so that nothing in the page stays as it was.
        for offset in (page * 4096..(page + 1) * 4096).step_by(64) {
            disk.flip_bit(Path::new(FILE), offset, 2).unwrap();
        }
        match redb_on(&disk).open() {
            Err(error) => {
                assert!(matches!(error, EngineError::Corrupt { .. }) && names_place(&error), "{error}");
                let text = error.to_string();
                let numbers: Vec<u64> =
                    text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
                let [.., offset, bytes] = numbers[..] else { panic!("no place: {text}") };
                let rotten = page * 4096;
                assert!(
                    (offset..offset + bytes).contains(&rotten) || text.contains("gave up"),
                    "{page}: {text}"
                );
                refused += 1;
            }
            Ok(opened) => {
                assert!(crate::script::content_of(&*crate::usable(opened)) == *right, "page {page}");
                unused += 1;
            }
        }
    }
    assert!(refused > 3 && unused > 0, "{refused} refused, {unused} unused");
}

/// Nothing is written by opening, whether the engine refuses or the member does afterwards: the same bytes, read over a
/// sound cable, are whole again. redb writes its header anew before it has verified anything, and the fields of its layout,
/// like the bit that selects the root, have no checksum.
#[test]
fn a_start_that_refuses_has_written_nothing() {
    let file = Path::new(FILE);
    let len = u64::try_from(written(5).written_bytes(file).unwrap().len()).unwrap();
    let right = &contents_after(21)[21];
    let mut refused = 0;
    let header = (4096..4096 + 64).chain((4096 + 64..4096 + 320).step_by(5));
    for offset in header.chain((2 * 4096..len).step_by(4096)) {
        let disk = written(5);
        disk.flip_bit(file, offset, 0).unwrap();
        let rotten = disk.written_bytes(file).unwrap();
        refused += u32::from(redb_on(&disk).open().is_err());
        assert!(disk.written_bytes(file).unwrap() == rotten, "byte {offset}: the file was written");
        disk.flip_bit(file, offset, 0).unwrap();
        let engine = redb_on(&disk).engine();
        assert!(crate::script::content_of(&*engine) == *right, "byte {offset}");
        engine.accept().unwrap();
        drop(engine);
        disk.power_loss_with(offset, Survival::Nothing);
        let engine = redb_on(&disk).engine();
        assert!(crate::script::content_of(&*engine) == *right, "byte {offset}, accepted");
    }
    assert!(refused > 50, "{refused} refused");
}

/// Rot that comes while the engine runs is found by who reads the page, before anything is made of it; and who comes next,
/// who may be the one that is heard, is told of the same place.
#[test]
fn a_page_that_rots_under_a_running_engine_is_named_to_all_who_come() {
    let len = u64::try_from(written(8).written_bytes(Path::new(FILE)).unwrap().len()).unwrap();
    let uncached = EngineOptions { cache_bytes: 0 };
    let right = &contents_after(21)[21];
    let mut found = 0;
    for page in 2..len / 4096 {
        let disk = written(8);
        let world = redb_on(&disk);
        let opened = open_engine(world.kind, &world.disk, &world.dir, OWNER, uncached).unwrap();
        let engine = crate::usable(opened);
        // A bit in a record's key, in its value, in what says where they stand: whichever this is.
        disk.flip_bit(Path::new(FILE), page * 4096 + page * 97 % 4096, 2).unwrap();
        let read = || engine.reader().and_then(|reader| read_all(&*reader));
        match read() {
            Ok(content) => assert_eq!(content, *right, "page {page} is free"),
            Err(first) => {
                let place = format!(
                    "the page at offset {} has changed since it was written or first read",
                    page * 4096
                );
                for error in [first, read().unwrap_err()] {
                    let text = error.to_string();
                    assert!(matches!(error, EngineError::Corrupt { .. }) && text.contains(&place), "{text}");
                }
                found += 1;
            }
        }
    }
    assert!(found > 10, "only {found} pages count");
}

#[test]
fn a_sector_that_cannot_be_read_is_named_and_one_of_two_header_copies_is_not_needed() {
    let right = &contents_after(21)[21];
    // One copy, and all of the page but the other.
    for (offset, bytes) in [(0, 1), (2048, 1), (0, 2048), (512, 4096 - 512), (512, 2048)] {
        let disk = written(7);
        disk.make_unreadable(Path::new(FILE), offset, bytes).unwrap();
        let content = crate::script::content_of(&*redb_on(&disk).engine());
        assert!(content == *right, "{bytes} bytes from offset {offset}");
    }
    let disk = written(7);
    disk.make_unreadable(Path::new(FILE), 0, 4096).unwrap();
    assert!(names_place(&redb_on(&disk).open().unwrap_err()));
    let len = u64::try_from(written(7).written_bytes(Path::new(FILE)).unwrap().len()).unwrap();
    let mut met = 0;
    for page in 1..len / 4096 {
        let disk = written(7);
        disk.make_unreadable(Path::new(FILE), page * 4096 + 512, 1).unwrap();
        if let Err(error) = redb_on(&disk).open() {
            assert!(
                matches!(error, EngineError::Unreadable { .. }) && names_place(&error),
                "page {page}: {error}"
            );
            met += 1;
        }
    }
    assert!(met > 3, "{met} met");
}

#[test]
fn a_full_disk_is_named_with_its_place_and_costs_nothing_that_was_flushed() {
    use quorate::machine::persist::Bucket;
    let contents = contents_after(21);
    // The batches may fit into what is left, or into free pages of the file; this never does.
    let too_large = [put(Bucket::Records, b"too large", &vec![7_u8; 1 << 20])];
    for free in [0, 4096, 64 << 10, 256 << 10] {
        let disk = sim_disk(8);
        let engine = redb_on(&disk).engine();
        let mut progress = Progress::default();
        run(&*engine, 1, 5, &mut progress).unwrap();
        engine.flush().unwrap();
        disk.leave_free(free);
        let mut after = Progress::default();
        let outcome = run(&*engine, 6, 21, &mut after).and_then(|()| engine.flush());
        let outcome = outcome.and_then(|()| engine.apply(&too_large)).and_then(|()| engine.flush());
        let error = outcome.expect_err("the disk is full");
        let text = error.to_string();
        assert!(text.contains("No space") && names_place(&error), "{free} free: {text}");
        drop(engine);
        disk.set_capacity(16 << 30);
        disk.power_loss(1);
        let engine = redb_on(&disk).engine();
        let seen = crate::script::content_of(&*engine);
        let k = crate::script::last_batch(&seen);
        assert!(
            k >= 5.max(after.flushed) && seen == contents[usize::try_from(k).unwrap()],
            "{free} free: {k}"
        );
    }
}

/// A file under construction that finds no space says so, with the place, and not that "it could not be completed".
#[test]
fn a_file_that_cannot_be_completed_says_why() {
    use quorate::storage::engine::redb::EngineBuilder;
    let mut refused = 0;
    for free in (0..64).map(|pages| pages * 4096) {
        let disk = sim_disk(9);
        let mount = disk.mount();
        disk.leave_free(free);
        let built =
            EngineBuilder::create(&*mount, Path::new("/data/new"), OWNER, SMALL).and_then(|mut builder| {
                let pairs: Vec<_> = (0..200_u32)
                    .map(|number| {
                        let key = bytes::Bytes::copy_from_slice(&number.to_be_bytes());
                        (quorate::machine::persist::Bucket::Records, key, bytes::Bytes::from(vec![7; 700]))
                    })
                    .collect();
                builder.put(&pairs)?;
                builder.finish()
            });
        if let Err(error) = built {
            let text = error.to_string();
            assert!(text.contains("/data/new") && text.contains("No space"), "{free} free: {text}");
            assert!(text.contains("at offset "), "{free} free: {text}");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused} refused");
}

/// One flipped bit anywhere: the content is right, or the error says `Corrupt` and names the file.
#[test]
fn one_flipped_bit_never_gives_wrong_content_and_never_a_panic() {
    let len = u64::try_from(written(5).written_bytes(Path::new(FILE)).unwrap().len()).unwrap();
    let right = &contents_after(21)[21];
    let (mut caught, mut harmless) = (0, 0);
    let dense = (4096..4096 + 320).step_by(3);
    let offsets = dense.chain((0..len).step_by(usize::try_from(len / 250).unwrap()));
    for offset in offsets {
        let disk = written(5);
        let bit = u32::try_from(offset % 8).unwrap();
        disk.flip_bit(Path::new(FILE), offset, bit).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let engine = crate::usable(redb_on(&disk).open()?);
            engine.integrity_check()?;
            let content = read_all(&*engine.reader()?)?;
            Ok::<_, EngineError>(content)
        }));
        match outcome {
            Err(_) => panic!("a panic came through: byte {offset} bit {bit}"),
            Ok(Err(error @ EngineError::Corrupt { .. })) => {
                assert!(names_place(&error), "byte {offset} bit {bit}: {error}");
                caught += 1;
            }
            Ok(Err(error)) => panic!("byte {offset} bit {bit}: {error}"),
            Ok(Ok(content)) => {
                assert!(content == *right, "byte {offset} bit {bit}: wrong content, unnoticed");
                harmless += 1;
            }
        }
    }
    assert!(caught > 10 && harmless > 10, "{caught} caught, {harmless} harmless");
}

#[test]
fn an_io_error_ends_the_engine_and_its_successor_is_whole() {
    use quorate_disk::{Call, Fault, FaultKind};
    let contents = contents_after(21);
    for call in [Call::Write, Call::Sync] {
        let mut failures = 0;
        for nth in 1..60 {
            let disk = sim_disk(nth);
            let engine = redb_on(&disk).engine();
            disk.inject(Fault { call, path: None, nth, kind: FaultKind::Eio });
            let mut progress = Progress::default();
            let failed = run(&*engine, 1, 21, &mut progress).is_err();
            if failed {
                assert!(engine.flush().is_err(), "a failed engine promises nothing more");
                failures += 1;
            }
            disk.clear_faults();
            drop(engine);
            // The next process sees what the failed sync left in the page cache; then the power goes.
            disk.kill(nth);
            let engine = redb_on(&disk).engine();
            let seen = crate::script::content_of(&*engine);
            let k = crate::script::last_batch(&seen);
            assert!(k >= progress.flushed && seen == contents[usize::try_from(k).unwrap()], "{call:?} {nth}");
            engine.flush().unwrap();
            disk.power_loss(nth);
            let engine = redb_on(&disk).engine();
            assert!(crate::script::content_of(&*engine) == seen, "{call:?} {nth}: batch {k} is gone");
        }
        assert!(failures > 0, "no engine met a failed {call:?}");
    }
}

/// A start finds a file whose last growth no sync has confirmed, works on it, and the power goes: what was flushed since
/// rests on the file being as long as it was found.
#[test]
fn a_failed_sync_of_a_growing_file_costs_its_successor_nothing() {
    use quorate::machine::persist::{Bucket, Write};
    use quorate_disk::{Call, Fault, FaultKind};
    let large = |number: u32| -> Vec<Write> {
        let keys = (0..40_u32).map(|nth| [number.to_be_bytes(), nth.to_be_bytes()].concat());
        keys.map(|key| put(Bucket::Records, &key, &[7; 3000])).collect()
    };
    let (file, mut doubtful) = (Path::new(FILE), 0);
    for nth in 1..30 {
        let disk = sim_disk(nth);
        let engine = redb_on(&disk).engine();
        engine.flush().unwrap();
        disk.inject(Fault { call: Call::Sync, path: None, nth, kind: FaultKind::Eio });
        let failed = (0..30).try_for_each(|number| {
            engine.apply(&large(number))?;
            if number % 5 == 4 { engine.flush() } else { Ok(()) }
        });
        disk.clear_faults();
        drop(engine);
        disk.kill(nth);
        let engine = redb_on(&disk).engine();
        let (found, durable) = (engine.size().unwrap().file_bytes, disk.durable_bytes(file).unwrap().len());
        doubtful += u32::from(failed.is_err() && found > u64::try_from(durable).unwrap());
        engine.apply(&[put(Bucket::Records, b"small", b"one")]).unwrap();
        engine.flush().unwrap();
        let content = crate::script::content_of(&*engine);
        if nth % 2 == 0 {
            engine.close().unwrap();
        } else {
            drop(engine);
        }
        disk.power_loss_with(nth, Survival::Nothing);
        assert!(crate::script::content_of(&*redb_on(&disk).engine()) == content, "sync {nth} failed");
    }
    assert!(doubtful > 0, "no failed sync left the file's length doubtful");
}
