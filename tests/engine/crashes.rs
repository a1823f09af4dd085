//! redb on the simulated disk: the machine dies inside every write, sync and name change of a script, and what is
//! left is exactly batches 1..k with k at least the last one flushed.

use std::path::Path;

use quorate::storage::engine::Opened;
use quorate::storage::engine::redb::{EngineBuilder, FILE_NAME, NEW_FILE_NAME, install, rewrite};
use quorate_disk::{Arm, Call, Crash, SimDisk, Survival};

use crate::script::{Content, Progress, content_of, contents_after, read_all, run};
use crate::{OWNER, SMALL, redb_on, sim_disk, usable};

const BATCHES: u64 = 24;

/// Opens what a crash left, holds it against the script, and accepts it, as a member does that starts on it.
fn check(disk: &SimDisk, progress: Progress, contents: &[Content], what: &str) -> u64 {
    let world = redb_on(disk);
    let engine = match world.open() {
        Ok(opened) => usable(opened),
        Err(error) => panic!("{what}: {error}"),
    };
    let content = content_of(&*engine);
    let k = crate::script::last_batch(&content);
    assert!(k >= progress.flushed, "{what}: batch {k} is the last, {} was flushed", progress.flushed);
    assert!(k <= progress.given, "{what}: batch {k} was never given");
    assert_eq!(content, contents[usize::try_from(k).unwrap()], "{what}: not exactly batches 1..{k}");
    engine.integrity_check().unwrap_or_else(|error| panic!("{what}: {error}"));
    engine.accept().unwrap_or_else(|error| panic!("{what}: {error}"));
    k
}

/// One life on `disk` that dies as armed, if the script gets that far.
fn life(disk: &SimDisk, from: u64, arm: Arm, progress: &mut Progress) {
    let world = redb_on(disk);
    disk.arm(arm);
    if let Ok(opened) = world.open() {
        // An error is the armed crash: nothing else fails here, which `died` tells.
        drop(run(&*usable(opened), from, BATCHES, progress));
    }
}

/// Dies in every `step`-th call of this class; returns how often.
fn sweep(call: Call, crash: Crash, step: usize) -> usize {
    let contents = contents_after(BATCHES);
    for (deaths, nth) in (1_u64..).step_by(step).enumerate() {
        let disk = sim_disk(nth);
        let mut progress = Progress::default();
        life(&disk, 1, Arm { call, path: None, nth, crash, event: nth }, &mut progress);
        if !disk.died() {
            assert!(progress.given == BATCHES, "{call:?} {nth}: the script failed without a crash");
            return deaths;
        }
        let what = format!("{crash:?} in {call:?} {nth}");
        if crash == Crash::Kill {
            // What a killed process wrote is visible, and still lost when the power goes.
            let seen = check(&disk, progress, &contents, &what);
            let floor = Progress { flushed: seen, ..progress };
            // The check accepted the engine, which made what it saw durable.
            disk.power_loss(nth + 1_000_000);
            check(&disk, floor, &contents, &format!("{what}, then a power loss"));
        } else {
            check(&disk, progress, &contents, &what);
        }
    }
    unreachable!("the script is finite")
}

#[test]
fn a_power_loss_inside_any_write_leaves_whole_batches() {
    assert!(sweep(Call::Write, Crash::PowerLoss, 1) > 100);
}

#[test]
fn a_power_loss_inside_any_sync_leaves_whole_batches() {
    assert!(sweep(Call::Sync, Crash::PowerLoss, 1) > 15);
}

#[test]
fn a_power_loss_inside_any_name_change_leaves_whole_batches() {
    assert!(sweep(Call::Name, Crash::PowerLoss, 1) >= 3);
}

#[test]
fn a_kill_inside_any_sync_then_a_power_loss_leaves_what_was_seen() {
    assert!(sweep(Call::Sync, Crash::Kill, 1) > 15);
}

#[test]
fn a_kill_inside_writes_then_a_power_loss_leaves_what_was_seen() {
    assert!(sweep(Call::Write, Crash::Kill, 3) > 50);
}

#[test]
fn a_power_loss_between_calls_leaves_whole_batches_whatever_survives() {
    let contents = contents_after(BATCHES);
    for survival in [Survival::Nothing, Survival::Everything, Survival::InOrder, Survival::Each] {
        for last in 1..=BATCHES {
            let disk = sim_disk(last);
            let mut progress = Progress::default();
            let engine = redb_on(&disk).engine();
            run(&*engine, 1, last, &mut progress).unwrap();
            disk.power_loss_with(last, survival);
            drop(engine);
            check(&disk, progress, &contents, &format!("{survival:?} after batch {last}"));
        }
    }
}

#[test]
fn many_lives_on_one_disk_lose_nothing_flushed() {
    let contents = contents_after(BATCHES);
    for seed in 1..=12 {
        let disk = sim_disk(seed);
        let mut floor = 0;
        for event in 1..=12 {
            let crash = if event % 3 == 0 { Crash::Kill } else { Crash::PowerLoss };
            let call = if event % 2 == 0 { Call::Sync } else { Call::Write };
            let nth = 1 + (seed * 31 + event * 17) % if call == Call::Sync { 12 } else { 90 };
            let mut progress = Progress { given: floor, flushed: floor };
            life(&disk, floor + 1, Arm { call, path: None, nth, crash, event }, &mut progress);
            disk.disarm();
            floor = check(&disk, progress, &contents, &format!("seed {seed} crash {event}"));
        }
    }
}

#[test]
fn the_same_life_twice_leaves_the_same_disk() {
    let image = |nth| {
        let disk = sim_disk(9);
        let arm = Arm { call: Call::Write, path: None, nth, crash: Crash::PowerLoss, event: nth };
        life(&disk, 1, arm, &mut Progress::default());
        let after_crash = disk.image_hash();
        redb_on(&disk).engine();
        (after_crash, disk.image_hash())
    };
    for nth in [5, 40, 120] {
        assert_eq!(image(nth), image(nth), "dying in write {nth}");
    }
    assert_ne!(image(40), image(120));
}

#[test]
fn dropping_an_engine_writes_nothing() {
    let disk = sim_disk(3);
    let engine = redb_on(&disk).engine();
    run(&*engine, 1, 10, &mut Progress::default()).unwrap();
    let before = (disk.image_hash(), disk.counters().writes, disk.counters().syncs);
    let reader = engine.reader().unwrap();
    drop(engine);
    drop(reader);
    assert_eq!((disk.image_hash(), disk.counters().writes, disk.counters().syncs), before);
    disk.kill(1);
    let contents = contents_after(10);
    let left = content_of(&*redb_on(&disk).engine());
    assert_eq!(left, contents[7], "batches 8 to 10 were not flushed");
}

#[test]
fn a_fenced_engine_leaves_no_trace_and_does_not_panic() {
    let disk = sim_disk(4);
    let engine = redb_on(&disk).engine();
    run(&*engine, 1, 10, &mut Progress::default()).unwrap();
    disk.kill(1);
    let image = disk.image_hash();
    assert!(engine.flush().is_err());
    assert!(engine.apply(&crate::script::batch(11)).is_err());
    drop(engine);
    assert_eq!(disk.image_hash(), image);
}

/// A rewrite that dies at any point leaves the old engine or the new one, which hold the same.
#[test]
fn a_rewrite_dies_anywhere_and_loses_nothing() {
    let content = contents_after(BATCHES).pop().unwrap();
    for call in [Call::Write, Call::Sync, Call::Name] {
        let mut deaths = 0;
        for nth in 1.. {
            let disk = sim_disk(nth);
            let world = redb_on(&disk);
            let engine = world.engine();
            run(&*engine, 1, BATCHES, &mut Progress::default()).unwrap();
            engine.flush().unwrap();
            let reader = engine.reader().unwrap();
            disk.arm(Arm { call, path: None, nth, crash: Crash::PowerLoss, event: nth });
            let new = world.dir.join(NEW_FILE_NAME);
            let done = rewrite(&*reader, &*world.disk, &new, OWNER, SMALL)
                .and_then(|()| install(&*world.disk, &world.dir));
            assert_eq!(done.is_err(), disk.died(), "{call:?} {nth}: {done:?}");
            if disk.died() {
                deaths += 1;
            } else {
                disk.disarm();
                disk.power_loss(nth);
            }
            let engine = redb_on(&disk).engine();
            assert_eq!(content_of(&*engine), content, "{call:?} {nth}");
            engine.integrity_check().unwrap();
            if done.is_ok() {
                assert!(deaths > 0 || call == Call::Name);
                break;
            }
        }
    }
}

#[test]
fn a_rewrite_gives_space_back() {
    let disk = sim_disk(5);
    let world = redb_on(&disk);
    let engine = world.engine();
    let value = vec![7_u8; 50_000];
    let key = |number: u32| number.to_be_bytes();
    for number in 0..100 {
        engine
            .apply(&[crate::script::put(quorate::machine::persist::Bucket::Records, &key(number), &value)])
            .unwrap();
    }
    engine.flush().unwrap();
    for number in 0..98 {
        engine
            .apply(&[crate::script::remove(quorate::machine::persist::Bucket::Records, &key(number))])
            .unwrap();
    }
    engine.flush().unwrap();
    let before = engine.size().unwrap();
    let reader = engine.reader().unwrap();
    let expected = read_all(&*reader).unwrap();
    rewrite(&*reader, &*world.disk, &world.dir.join(NEW_FILE_NAME), OWNER, SMALL).unwrap();
    install(&*world.disk, &world.dir).unwrap();
    drop((reader, engine));
    let engine = world.engine();
    assert_eq!(content_of(&*engine), expected);
    let after = engine.size().unwrap();
    assert_eq!(after.in_use_bytes, before.in_use_bytes);
    assert!(after.file_bytes * 3 < before.file_bytes, "{before:?} became {after:?}");
}

#[test]
fn an_unfinished_build_is_no_engine() {
    let disk = sim_disk(6);
    let world = redb_on(&disk);
    world.disk.create_dir_all(&world.dir).unwrap();
    let new = world.dir.join(NEW_FILE_NAME);
    drop(EngineBuilder::create(&*world.disk, &new, OWNER, SMALL).unwrap());
    assert!(world.disk.exists(&new).unwrap());
    assert!(matches!(world.open().unwrap(), Opened::Created(_)));
    assert_eq!(disk.files(), [Path::new("/data/state").join(FILE_NAME).display().to_string()]);
}
