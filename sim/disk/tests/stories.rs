//! What the simulated disk promises, told as stories, and one property over random lives.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failure is the point"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use quorate::env::{Disk, File, OpenMode};
use quorate_disk::{
    Action, Arm, Call, Config, Crash, Fault, FaultKind, Latency, Range, SimDisk, Survival, Torn,
};

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(Config { latency: Latency::NONE, ..Config::new(seed) })
}

/// A durable, empty file and the mount it was made on.
fn with_file(seed: u64) -> (SimDisk, Arc<dyn Disk>, Arc<dyn File>) {
    let disk = disk(seed);
    let mount = disk.mount();
    let file = mount.open(p("/f"), OpenMode::Create).unwrap();
    mount.sync_dir(p("/")).unwrap();
    (disk, mount, file)
}

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn fault(call: Call, nth: u64, kind: FaultKind) -> Fault {
    Fault { call, path: None, nth, kind }
}

fn armed(call: Call, nth: u64, crash: Crash) -> Arm {
    Arm { call, path: None, nth, crash, event: 1 }
}

fn errno(result: io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn what_was_synced_survives_and_the_rest_may_be_lost() {
    let (disk, _mount, file) = with_file(1);
    file.write_at(0, &[1; 4096]).unwrap();
    file.sync_data().unwrap();
    file.write_at(0, &[2; 4096]).unwrap();
    file.write_at(4096, &[3; 4096]).unwrap();
    disk.power_loss_with(1, Survival::Nothing);
    assert_eq!(disk.written_bytes(p("/f")).unwrap(), [1; 4096]);
    assert_eq!(disk.counters().toll.sectors_lost, 16);
}

#[test]
fn a_killed_process_leaves_its_writes_to_the_next_and_a_power_loss_still_takes_them() {
    let (disk, _mount, file) = with_file(1);
    file.write_at(0, b"written, never synced").unwrap();
    disk.kill(1);
    let next = disk.mount();
    let again = next.open(p("/f"), OpenMode::Read).unwrap();
    let mut buf = [0; 7];
    again.read_at(0, &mut buf).unwrap();
    assert_eq!(&buf, b"written");
    disk.power_loss_with(2, Survival::Nothing);
    assert_eq!(disk.written_bytes(p("/f")).unwrap(), b"");
}

#[test]
fn the_next_process_can_make_durable_what_the_killed_one_wrote() {
    let (disk, _mount, file) = with_file(1);
    file.write_at(0, b"inherited").unwrap();
    disk.kill(1);
    disk.mount().open(p("/f"), OpenMode::ReadWrite).unwrap().sync_data().unwrap();
    disk.power_loss_with(2, Survival::Nothing);
    assert_eq!(disk.written_bytes(p("/f")).unwrap(), b"inherited");
}

#[test]
fn handles_of_a_dead_process_fail_and_leave_no_trace() {
    let (disk, mount, file) = with_file(1);
    let lock = mount.lock(p("/lock")).unwrap();
    file.write_at(0, b"before").unwrap();
    disk.kill(1);
    let next = disk.mount();
    let held = next.lock(p("/lock")).expect("the dead process's lock is gone");
    let (image, counters) = (disk.image_hash(), disk.counters());
    let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    refused(file.write_at(0, b"after!"));
    refused(file.set_len(0));
    refused(file.allocate(1 << 20));
    refused(file.sync_data());
    refused(file.read_at(0, &mut [0; 1]));
    refused(file.len().map(drop));
    refused(mount.open(p("/g"), OpenMode::Create).map(drop));
    refused(mount.rename(p("/f"), p("/g")));
    refused(mount.remove_file(p("/f")));
    refused(mount.remove_dir_all(p("/")));
    refused(mount.create_dir_all(p("/d")));
    refused(mount.sync_dir(p("/")));
    refused(mount.list(p("/")).map(drop));
    refused(mount.exists(p("/f")).map(drop));
    refused(mount.space(p("/")).map(drop));
    refused(mount.lock(p("/lock")).map(drop));
    drop((lock, file, mount));
    assert_eq!(disk.image_hash(), image);
    assert_eq!(disk.counters(), counters);
    assert_eq!(next.lock(p("/lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(held);
    next.lock(p("/lock")).expect("the living process let go of it");
}

#[test]
fn a_new_file_needs_its_folder_synced_however_well_it_was_synced_itself() {
    let disk = disk(1);
    let mount = disk.mount();
    let file = mount.open(p("/f"), OpenMode::Create).unwrap();
    file.write_at(0, b"durable bytes without a durable name").unwrap();
    file.sync_data().unwrap();
    disk.power_loss_with(1, Survival::Nothing);
    assert!(disk.files().is_empty());
}

#[test]
fn a_replacing_rename_leaves_the_old_file_or_the_new_one_whole() {
    let mut seen = BTreeMap::new();
    for event in 0..64 {
        let (disk, mount, old) = with_file(1);
        old.write_at(0, b"old").unwrap();
        old.sync_data().unwrap();
        let new = mount.open(p("/tmp"), OpenMode::CreateNew).unwrap();
        new.write_at(0, b"new").unwrap();
        new.sync_data().unwrap();
        mount.rename(p("/tmp"), p("/f")).unwrap();
        disk.power_loss(event);
        let found = disk.written_bytes(p("/f")).unwrap();
        assert!(found == b"old" || found == b"new", "{found:?}");
        *seen.entry(found).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "both outcomes happen: {seen:?}");
}

#[test]
fn a_removed_file_may_come_back_until_the_folder_is_synced() {
    let (disk, mount, file) = with_file(1);
    file.write_at(0, b"x").unwrap();
    file.sync_data().unwrap();
    mount.remove_file(p("/f")).unwrap();
    assert!(!mount.exists(p("/f")).unwrap());
    disk.power_loss_with(1, Survival::Nothing);
    assert_eq!(disk.files(), ["/f"]);
    let mount = disk.mount();
    mount.remove_file(p("/f")).unwrap();
    mount.sync_dir(p("/")).unwrap();
    disk.power_loss_with(2, Survival::Nothing);
    assert!(disk.files().is_empty());
}

#[test]
fn unsynced_writes_come_out_reordered_torn_lost_and_kept() {
    let (mut reordered, mut partial, mut torn, mut all, mut none) = (0, 0, 0, 0, 0);
    for event in 0..200 {
        let (disk, _mount, file) = with_file(3);
        file.write_at(0, &[0xaa; 8192]).unwrap();
        file.sync_data().unwrap();
        file.write_at(0, &[1; 4096]).unwrap();
        file.write_at(4096, &[2; 4096]).unwrap();
        disk.power_loss(event);
        let left = disk.written_bytes(p("/f")).unwrap();
        assert_eq!(left.len(), 8192);
        for (at, sector) in left.chunks(512).enumerate() {
            let new = if at < 8 { 1 } else { 2 };
            assert!(sector.iter().all(|byte| *byte == 0xaa || *byte == new), "a byte nobody wrote");
            torn += usize::from(sector.contains(&0xaa) && sector.contains(&new));
        }
        let kept = |half: &[u8]| half.iter().filter(|byte| **byte != 0xaa).count();
        let (first, second) = (kept(&left[..4096]), kept(&left[4096..]));
        reordered += u32::from(first == 0 && second > 0);
        partial += u32::from(first > 0 && first < 4096);
        all += u32::from(first + second == 8192);
        none += u32::from(first + second == 0);
    }
    assert!(
        reordered > 0 && partial > 20 && torn > 20 && all > 5 && none > 5,
        "{reordered} {partial} {torn} {all} {none}"
    );
}

#[test]
fn a_power_loss_never_harms_bytes_beside_the_ones_written() {
    let mut kept = BTreeSet::new();
    for event in 0..100 {
        let (disk, _mount, file) = with_file(4);
        file.write_at(0, &[7; 4096]).unwrap();
        file.sync_data().unwrap();
        file.write_at(1000, &[8; 100]).unwrap();
        disk.power_loss_with(event, Survival::Each);
        let left = disk.written_bytes(p("/f")).unwrap();
        assert!(left[..1000].iter().chain(&left[1100..]).all(|byte| *byte == 7));
        kept.insert(left[1000..1100].iter().filter(|byte| **byte == 8).count());
    }
    assert!(kept.contains(&0) && kept.contains(&100) && kept.len() > 2, "all, nothing and parts: {kept:?}");
}

#[test]
fn in_order_survival_keeps_a_prefix_of_the_calls() {
    let mut lengths = BTreeSet::new();
    for event in 0..100 {
        let (disk, _mount, file) = with_file(5);
        for nth in 0..20_u8 {
            file.write_at(u64::from(nth) * 512, &[nth + 1; 512]).unwrap();
        }
        disk.power_loss_with(event, Survival::InOrder);
        let left = disk.written_bytes(p("/f")).unwrap();
        let kept = left.chunks(512).take_while(|sector| !sector.contains(&0)).count();
        let after = left.get((kept + 1) * 512..).unwrap_or(&[]);
        assert!(after.iter().all(|byte| *byte == 0), "event {event}: a later call survived an earlier one");
        lengths.insert(kept);
    }
    assert!(lengths.len() > 5, "prefixes of any length: {lengths:?}");
}

#[test]
fn a_failed_sync_leaves_data_that_reads_well_syncs_well_and_is_gone_after_a_power_loss() {
    let (mut gone, mut kept) = (0, 0);
    for seed in 0..32 {
        let (disk, _mount, file) = with_file(seed);
        file.write_at(0, &[0; 512]).unwrap();
        file.sync_data().unwrap();
        file.write_at(0, &[1; 512]).unwrap();
        disk.inject(fault(Call::Sync, 1, FaultKind::Eio));
        assert_eq!(errno(file.sync_data()), Some(5));
        let mut buf = [0; 512];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(buf, [1; 512], "the page cache still shows it");
        file.sync_data().expect("the second sync reports success");
        disk.power_loss_with(1, Survival::Everything);
        match disk.written_bytes(p("/f")).unwrap()[0] {
            0 => gone += 1,
            _ => kept += 1,
        }
    }
    assert!(gone > 5 && kept > 5, "{gone} gone, {kept} kept");
}

#[test]
fn after_a_failed_sync_and_a_kill_the_next_process_may_read_old_bytes_again() {
    let mut seen = BTreeMap::new();
    for event in 0..64 {
        let (disk, _mount, file) = with_file(event);
        file.write_at(0, &[1; 512]).unwrap();
        file.sync_data().unwrap();
        file.write_at(0, &[2; 512]).unwrap();
        disk.inject(fault(Call::Sync, 1, FaultKind::Eio));
        file.sync_data().unwrap_err();
        disk.kill(event);
        let next = disk.mount().open(p("/f"), OpenMode::ReadWrite).unwrap();
        let mut read = [0; 512];
        next.read_at(0, &mut read).unwrap();
        next.sync_data().expect("the next process is told of success");
        disk.power_loss(event);
        let left = disk.written_bytes(p("/f")).unwrap();
        *seen.entry((read[0], left[0])).or_insert(0) += 1;
    }
    let all: Vec<(u8, u8)> = seen.into_keys().collect();
    assert_eq!(all, [(1, 1), (2, 1), (2, 2)], "(what the next process read, what a power loss left)");
}

#[test]
fn dropped_caches_show_what_a_lost_write_left() {
    let mut seen = BTreeSet::new();
    for event in 0..16 {
        let (disk, _mount, file) = with_file(1);
        file.write_at(0, &[1; 512]).unwrap();
        file.sync_data().unwrap();
        disk.inject(fault(Call::Write, 1, FaultKind::Lost));
        file.write_at(0, &[2; 512]).unwrap();
        file.sync_data().unwrap();
        let mut buf = [0; 1];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(buf, [2], "the page cache shows what was meant");
        disk.drop_caches(event);
        file.read_at(0, &mut buf).unwrap();
        seen.extend(buf);
        disk.power_loss(event);
        assert_eq!(disk.written_bytes(p("/f")).unwrap(), [1; 512]);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn torn_sectors_are_what_the_disk_was_told_to_make_of_them() {
    let crash = |torn, event| {
        let disk = SimDisk::new(Config { torn, ..Config::new(1) });
        let mount = disk.mount();
        let file = mount.open(p("/f"), OpenMode::Create).unwrap();
        mount.sync_dir(p("/")).unwrap();
        file.write_at(0, &[1; 8192]).unwrap();
        file.sync_data().unwrap();
        file.write_at(0, &[2; 4096]).unwrap();
        disk.power_loss_with(event, Survival::Each);
        disk
    };
    let strange = |disk: &SimDisk| {
        let left = disk.written_bytes(p("/f")).unwrap();
        assert_eq!(left[4096..], [1; 4096], "what was not being written is never harmed");
        left.chunks(512).filter(|sector| **sector != [1; 512] && **sector != [2; 512]).count()
    };
    let (mut garbage, mut unreadable) = (0, 0);
    for event in 0..50 {
        let never = crash(Torn::Never, event);
        assert_eq!((strange(&never), never.counters().toll.sectors_torn), (0, 0));
        garbage += strange(&crash(Torn::Garbage, event));
        let broken = crash(Torn::Unreadable, event);
        let file = broken.mount().open(p("/f"), OpenMode::Read).unwrap();
        file.read_at(4096, &mut [0; 4096]).unwrap();
        let refused = (0..8).filter(|sector| file.read_at(sector * 512, &mut [0; 512]).is_err()).count();
        assert_eq!(refused as u64, broken.counters().toll.sectors_torn);
        unreadable += refused;
    }
    assert!(garbage > 10 && unreadable > 10, "{garbage} {unreadable}");
}

#[test]
fn files_that_passed_through_one_temporary_name_do_not_share_their_luck() {
    let (disk, mount, _file) = with_file(1);
    for name in ["/a", "/b"] {
        let file = mount.open(p("/tmp"), OpenMode::CreateNew).unwrap();
        mount.rename(p("/tmp"), p(name)).unwrap();
        mount.sync_dir(p("/")).unwrap();
        file.allocate(1 << 16).unwrap();
        file.sync_data().unwrap();
        file.write_at(0, &[1; 1 << 16]).unwrap();
    }
    disk.power_loss_with(1, Survival::Each);
    assert_ne!(disk.written_bytes(p("/a")).unwrap(), disk.written_bytes(p("/b")).unwrap());
}

#[test]
fn rates_strike_about_as_often_as_they_say() {
    let (disk, _mount, file) = with_file(1);
    disk.set_rate(Call::Write, FaultKind::Eio, 100_000);
    let failed = (0..2000).filter(|_| file.write_at(0, b"x").is_err()).count();
    assert!((140..260).contains(&failed), "{failed} of 2000 at one in ten");
    disk.clear_faults();
    assert!((0..100).all(|_| file.write_at(0, b"x").is_ok()));
}

#[test]
#[should_panic(expected = "can never strike")]
fn a_fault_that_means_nothing_to_its_call_is_refused() {
    disk(1).inject(fault(Call::Read, 1, FaultKind::NoSpace));
}

#[test]
fn a_lying_sync_is_found_out_by_a_power_loss() {
    let (disk, _mount, file) = with_file(1);
    disk.inject(fault(Call::Sync, 1, FaultKind::Lost));
    file.write_at(0, b"x").unwrap();
    file.sync_data().unwrap();
    disk.power_loss_with(1, Survival::Nothing);
    assert_eq!(disk.written_bytes(p("/f")).unwrap(), b"");
}

#[test]
fn a_misdirected_write_spares_its_place_and_hits_another() {
    let (disk, _mount, file) = with_file(1);
    file.write_at(0, &[1; 16384]).unwrap();
    file.sync_data().unwrap();
    disk.inject(fault(Call::Write, 1, FaultKind::Misdirected));
    file.write_at(4096, &[2; 512]).unwrap();
    file.sync_data().unwrap();
    disk.power_loss(1);
    let left = disk.written_bytes(p("/f")).unwrap();
    assert_eq!(left[4096..4608], [1; 512], "the right place was never written");
    assert_eq!(left.iter().filter(|byte| **byte == 2).count(), 512, "some other place was");
}

#[test]
fn the_machine_dies_inside_the_nth_write() {
    let mut lengths = BTreeSet::new();
    for seed in 0..64 {
        let (disk, mount, file) = with_file(seed);
        let deaths = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&deaths);
        disk.on_death(Box::new(move |crash| {
            assert_eq!(crash, Crash::Kill);
            counted.fetch_add(1, Ordering::SeqCst);
        }));
        disk.arm(armed(Call::Write, 2, Crash::Kill));
        file.write_at(0, &[1; 4096]).unwrap();
        assert!(!disk.died());
        assert_eq!(file.write_at(4096, &[2; 4096]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(disk.died() && !disk.is_armed());
        assert_eq!(deaths.load(Ordering::SeqCst), 1);
        assert!(file.sync_data().is_err() && mount.list(p("/")).is_err());
        let left = disk.written_bytes(p("/f")).unwrap();
        assert_eq!(left.len() % 512, 0);
        assert!(left[..4096].iter().all(|byte| *byte == 1) && left[4096..].iter().all(|byte| *byte == 2));
        lengths.insert(left.len());
        disk.mount();
        assert!(!disk.died());
    }
    assert!(lengths.len() > 4, "the dying write was done to different degrees: {lengths:?}");
}

#[test]
fn the_power_goes_inside_the_nth_sync() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..64 {
        let (disk, _mount, file) = with_file(seed);
        file.write_at(0, &[1; 512]).unwrap();
        file.sync_data().unwrap();
        file.write_at(512, &[2; 512]).unwrap();
        disk.arm(armed(Call::Sync, 1, Crash::PowerLoss));
        assert!(file.sync_data().is_err());
        assert_eq!(disk.crash(), Some(Crash::PowerLoss));
        let left = disk.written_bytes(p("/f")).unwrap();
        assert_eq!(left[..512], [1; 512]);
        outcomes.insert(left.len());
    }
    assert_eq!(outcomes.len(), 2, "what was being synced is sometimes there: {outcomes:?}");
}

#[test]
fn errors_strike_the_chosen_call_and_partial_writes_are_prefixes() {
    let (disk, _mount, file) = with_file(1);
    disk.inject(fault(Call::Write, 2, FaultKind::Eio));
    disk.inject(fault(Call::Read, 1, FaultKind::Eio));
    file.write_at(0, &[1; 4096]).unwrap();
    assert_eq!(errno(file.write_at(4096, &[2; 4096])), Some(5));
    assert!(disk.written_bytes(p("/f")).unwrap()[4096..].iter().all(|byte| *byte == 2));
    assert_eq!(errno(file.read_at(0, &mut [0; 1])), Some(5));
    file.read_at(0, &mut [0; 1]).unwrap();
    assert_eq!(disk.counters().faults, 2);
}

#[test]
fn a_latent_error_stays_until_the_sector_is_rewritten() {
    let (disk, _mount, file) = with_file(1);
    file.write_at(0, &[1; 4096]).unwrap();
    file.sync_data().unwrap();
    disk.make_unreadable(p("/f"), 1024, 1).unwrap();
    assert_eq!(errno(file.read_at(0, &mut [0; 4096])), Some(5));
    file.read_at(0, &mut [0; 1024]).unwrap();
    file.write_at(1024, &[2; 512]).unwrap();
    file.sync_data().unwrap();
    file.read_at(0, &mut [0; 4096]).unwrap();
}

#[test]
fn a_full_disk_refuses_except_below_what_was_allocated() {
    let (disk, mount, log) = with_file(1);
    disk.set_capacity(64 * 1024);
    log.allocate(32 * 1024).unwrap();
    assert_eq!(log.len().unwrap(), 32 * 1024);
    let other = mount.open(p("/other"), OpenMode::Create).unwrap();
    let error = other.write_at(0, &[1; 64 * 1024]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 32 * 1024, "it was written as far as there was space");
    assert_eq!(mount.space(p("/")).unwrap().available_bytes, 0);
    log.write_at(0, &[2; 32 * 1024]).expect("this space was reserved");
    assert_eq!(errno(log.write_at(32 * 1024, &[3; 1])), Some(28));
    assert_eq!(errno(log.allocate(32 * 1024 + 1)), Some(28));
    drop(other);
    mount.remove_file(p("/other")).unwrap();
    log.write_at(32 * 1024, &[3; 1]).expect("the removed file's space is free");
}

#[test]
fn rot_reaches_what_is_durable_and_what_is_cached() {
    let (disk, _mount, file) = with_file(1);
    file.write_at(0, &[0; 1024]).unwrap();
    file.sync_data().unwrap();
    disk.flip_bit(p("/f"), 700, 3).unwrap();
    let mut buf = [0; 1];
    file.read_at(700, &mut buf).unwrap();
    assert_eq!(buf, [8]);
    assert_eq!(disk.durable_bytes(p("/f")).unwrap().iter().filter(|byte| **byte != 0).count(), 1);
    disk.corrupt(p("/f"), 510, b"abcd").unwrap();
    assert_eq!(disk.durable_bytes(p("/f")).unwrap()[509..515], [0, b'a', b'b', b'c', b'd', 0]);
    disk.truncate(p("/f"), 3).unwrap();
    assert_eq!(file.len().unwrap(), 3);
    disk.remove(p("/f")).unwrap();
    assert!(disk.files().is_empty() && disk.durable_files().is_empty());
    assert_eq!(disk.flip_bit(p("/f"), 0, 0).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn latency_adds_up_and_a_stall_takes_longer() {
    let (disk, _mount, file) = with_file(1);
    disk.set_latency(Latency { sync: Range::micros(100, 200), ..Latency::NONE });
    assert_eq!(disk.take_latency(), Duration::ZERO);
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    let two = disk.take_latency();
    assert!((Duration::from_micros(200)..=Duration::from_micros(400)).contains(&two), "{two:?}");
    disk.inject(fault(Call::Sync, 1, FaultKind::Stalled(Duration::from_secs(30))));
    file.sync_data().unwrap();
    assert!(disk.take_latency() > Duration::from_secs(30));
    assert_eq!(disk.take_latency(), Duration::ZERO);
}

#[test]
fn the_observer_sees_every_call_with_a_hash_of_its_bytes() {
    let (disk, mount, file) = with_file(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    disk.observe(Box::new(move |event| {
        log.lock().unwrap().push((event.action, event.path.to_owned(), event.offset, event.len, event.hash));
    }));
    file.write_at(10, b"one").unwrap();
    file.write_at(10, b"two").unwrap();
    file.sync_data().unwrap();
    mount.rename(p("/f"), p("/g")).unwrap();
    mount.sync_dir(p("/")).unwrap();
    let seen = seen.lock().unwrap();
    let actions: Vec<Action> = seen.iter().map(|event| event.0).collect();
    assert_eq!(actions, [Action::Write, Action::Write, Action::Sync, Action::Rename, Action::SyncDir]);
    assert_eq!((seen[0].1.as_path(), seen[0].2, seen[0].3), (p("/f"), 10, 3));
    assert_ne!(seen[0].4, seen[1].4);
}

#[test]
fn one_operation_less_leaves_the_other_decisions_as_they_were() {
    let left = |with_other: bool| {
        let (disk, mount, file) = with_file(9);
        if with_other {
            let other = mount.open(p("/other"), OpenMode::Create).unwrap();
            other.write_at(0, &[9; 10_000]).unwrap();
            other.sync_data().unwrap();
        }
        file.write_at(0, &[1; 65536]).unwrap();
        disk.power_loss_with(5, Survival::Each);
        disk.written_bytes(p("/f")).unwrap()
    };
    assert_eq!(left(true), left(false));
}

#[test]
fn what_was_synced_stands_at_the_end_of_a_large_file_behind_many_small_writes() {
    let (disk, _mount, file) = with_file(1);
    file.allocate(64 << 20).unwrap();
    file.sync_data().unwrap();
    for nth in 0..100_000_u64 {
        let at = nth * 7919 % (64 << 20);
        file.write_at(at, &nth.to_le_bytes()).unwrap();
        if nth % 100 == 0 {
            file.sync_data().unwrap();
        }
    }
    file.write_at((64 << 20) - 8, b"the end.").unwrap();
    file.sync_data().unwrap();
    disk.power_loss(1);
    let mut buf = [0; 8];
    disk.mount().open(p("/f"), OpenMode::Read).unwrap().read_at((64 << 20) - 8, &mut buf).unwrap();
    assert_eq!(&buf, b"the end.");
}

/// One step of a random life.
#[derive(Clone, Debug)]
enum Step {
    Write(u8, u16, u16, u8),
    SetLen(u8, u16),
    Allocate(u8, u16),
    Sync(u8),
    SyncDir,
    Rename(u8, u8),
    Remove(u8),
    Kill,
    PowerLoss,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, 0..20_000_u16, 1..6000_u16, any::<u8>())
            .prop_map(|(file, at, len, byte)| Step::Write(file, at, len, byte)),
        2 => (0..4_u8, 0..20_000_u16).prop_map(|(file, len)| Step::SetLen(file, len)),
        1 => (0..4_u8, 0..20_000_u16).prop_map(|(file, len)| Step::Allocate(file, len)),
        4 => (0..4_u8).prop_map(Step::Sync),
        2 => Just(Step::SyncDir),
        1 => (0..4_u8, 0..4_u8).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (0..4_u8).prop_map(Step::Remove),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerLoss),
    ]
}

/// What a plain in-memory model says a process sees, and which bytes must outlive a power loss.
#[derive(Clone, Default, Debug, PartialEq)]
struct Model {
    bytes: Vec<u8>,
    /// The bytes at the last sync; a byte that was not written since must survive.
    synced: Vec<u8>,
    /// For each byte of `synced`, whether it was untouched since.
    untouched: Vec<bool>,
    /// Whether the length was untouched since.
    length_untouched: bool,
}

impl Model {
    fn touch(&mut self, range: std::ops::Range<usize>) {
        let end = range.end.min(self.untouched.len());
        if range.start < end {
            self.untouched[range.start..end].fill(false);
        }
    }

    fn resize(&mut self, len: usize) {
        let old = self.bytes.len();
        if len != old {
            self.touch(len.min(old)..usize::MAX);
            self.bytes.resize(len, 0);
            self.length_untouched = false;
        }
    }

    fn sync(&mut self) {
        self.synced = self.bytes.clone();
        self.untouched = vec![true; self.synced.len()];
        self.length_untouched = true;
    }
}

fn live(seed: u64, steps: &[Step]) -> (u128, u128) {
    let disk = disk(seed);
    let mut mount = disk.mount();
    let path = |file: u8| std::path::PathBuf::from(format!("/file-{file}"));
    // Names are synced after each change, so that a file's fate is its content's alone.
    let mut models: BTreeMap<u8, Model> = BTreeMap::new();
    for (event, step) in (1_u64..).zip(steps) {
        let open = |models: &mut BTreeMap<u8, Model>, file: u8| {
            let handle = mount.open(&path(file), OpenMode::Create).unwrap();
            mount.sync_dir(p("/")).unwrap();
            models.entry(file).or_default();
            handle
        };
        match step {
            Step::Write(file, at, len, byte) => {
                let handle = open(&mut models, *file);
                let model = models.get_mut(file).unwrap();
                let (at, end) = (usize::from(*at), usize::from(*at) + usize::from(*len));
                let data: Vec<u8> = (0..*len).map(|n| byte.wrapping_add(n.to_le_bytes()[0])).collect();
                handle.write_at(at as u64, &data).unwrap();
                let len = model.bytes.len().max(end);
                model.resize(len);
                model.touch(at..end);
                model.bytes[at..end].copy_from_slice(&data);
            }
            Step::SetLen(file, len) => {
                open(&mut models, *file).set_len(u64::from(*len)).unwrap();
                models.get_mut(file).unwrap().resize(usize::from(*len));
            }
            Step::Allocate(file, len) => {
                open(&mut models, *file).allocate(u64::from(*len)).unwrap();
                let model = models.get_mut(file).unwrap();
                let len = model.bytes.len().max(usize::from(*len));
                model.resize(len);
            }
            Step::Sync(file) => {
                open(&mut models, *file).sync_data().unwrap();
                models.get_mut(file).unwrap().sync();
            }
            Step::SyncDir => mount.sync_dir(p("/")).unwrap(),
            Step::Rename(from, to) if models.contains_key(from) => {
                mount.rename(&path(*from), &path(*to)).unwrap();
                mount.sync_dir(p("/")).unwrap();
                let model = models.remove(from).unwrap();
                models.insert(*to, model);
            }
            Step::Remove(file) if models.contains_key(file) => {
                mount.remove_file(&path(*file)).unwrap();
                mount.sync_dir(p("/")).unwrap();
                models.remove(file);
            }
            Step::Rename(..) | Step::Remove(_) => {}
            Step::Kill => {
                disk.kill(event);
                mount = disk.mount();
            }
            Step::PowerLoss => {
                disk.power_loss(event);
                mount = disk.mount();
                for (file, model) in &mut models {
                    let left = disk.written_bytes(&path(*file)).unwrap();
                    assert_eq!(left, disk.durable_bytes(&path(*file)).unwrap(), "nothing is unsynced now");
                    if model.length_untouched {
                        assert_eq!(left.len(), model.synced.len(), "a synced length was lost");
                    }
                    for (at, byte) in model.synced.iter().enumerate().filter(|(at, _)| model.untouched[*at]) {
                        assert_eq!(left.get(at), Some(byte), "a synced byte was lost: file {file}, at {at}");
                    }
                    model.bytes = left;
                    model.sync();
                }
            }
        }
        let names: Vec<String> = models.keys().map(|file| format!("/file-{file}")).collect();
        assert_eq!(disk.files(), names);
        for (file, model) in &models {
            assert_eq!(
                disk.written_bytes(&path(*file)).unwrap(),
                model.bytes,
                "a read does not see the newest"
            );
        }
    }
    let before = disk.image_hash();
    disk.power_loss(u64::MAX);
    (before, disk.image_hash())
}

/// One change of names.
#[derive(Clone, Debug)]
enum NameStep {
    Create(usize),
    Rename(usize, usize),
    Remove(usize),
    Sync(usize),
}

/// Four names in each of two folders.
const NAMES: usize = 8;

fn name_step() -> impl Strategy<Value = NameStep> {
    prop_oneof![
        4 => (0..NAMES).prop_map(NameStep::Create),
        4 => (0..NAMES, 0..NAMES).prop_map(|(from, to)| NameStep::Rename(from, to)),
        2 => (0..NAMES).prop_map(NameStep::Remove),
        1 => (0..2_usize).prop_map(NameStep::Sync),
    ]
}

/// Which file each name leads to; files are told apart by their content.
type Names = [Option<u64>; NAMES];

fn name_path(name: usize) -> std::path::PathBuf {
    std::path::PathBuf::from(format!("/{}/{}", name / 4, name % 4))
}

fn names_on(disk: &SimDisk) -> Names {
    std::array::from_fn(|name| {
        let bytes = disk.written_bytes(&name_path(name)).ok()?;
        Some(u64::from_le_bytes(bytes.try_into().expect("its content was synced")))
    })
}

/// A crash after changes of names.
struct Renamed {
    /// Which names there were before it.
    before: Names,
    /// Which there are after it.
    after: Names,
    /// Which there ever were.
    ever: Vec<Names>,
    /// Files whose creation is not durable: their folder was not synced since.
    unborn: BTreeMap<u64, usize>,
    disk: SimDisk,
}

fn change_names(seed: u64, steps: &[NameStep], sync_all: bool) -> Renamed {
    let disk = disk(seed);
    let mount = disk.mount();
    for dir in ["/0", "/1"] {
        mount.create_dir_all(p(dir)).unwrap();
    }
    mount.sync_dir(p("/")).unwrap();
    let mut now: Names = [None; NAMES];
    let mut ever = vec![now];
    let mut unborn = BTreeMap::new();
    for (id, step) in (1_u64..).zip(steps) {
        match step {
            NameStep::Create(name) if now[*name].is_none() => {
                let file = mount.open(&name_path(*name), OpenMode::CreateNew).unwrap();
                file.write_at(0, &id.to_le_bytes()).unwrap();
                file.sync_data().unwrap();
                now[*name] = Some(id);
                unborn.insert(id, name / 4);
            }
            NameStep::Rename(from, to) if now[*from].is_some() && from != to => {
                mount.rename(&name_path(*from), &name_path(*to)).unwrap();

                now[*to] = now[*from].take();
            }
            NameStep::Remove(name) if now[*name].is_some() => {
                mount.remove_file(&name_path(*name)).unwrap();
                now[*name] = None;
            }
            NameStep::Sync(dir) => {
                mount.sync_dir(p(&format!("/{dir}"))).unwrap();
                unborn.retain(|_, born_in| *born_in != *dir);
            }
            _ => {}
        }
        ever.push(now);
    }
    if sync_all {
        mount.sync_dir(p("/0")).unwrap();
        mount.sync_dir(p("/1")).unwrap();
    }
    disk.power_loss_with(seed, Survival::Each);
    Renamed { before: now, after: names_on(&disk), ever, unborn, disk }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn synced_names_are_exact_and_a_crash_neither_doubles_nor_invents_nor_drops_a_name(
        seed in any::<u64>(),
        steps in proptest::collection::vec(name_step(), 1..40),
    ) {
        let synced = change_names(seed, &steps, true);
        prop_assert_eq!(synced.before, synced.after, "both folders were synced");

        let Renamed { before, after, ever, unborn, disk } = change_names(seed, &steps, false);
        let files: Vec<u64> = after.iter().copied().flatten().collect();
        let distinct: std::collections::BTreeSet<&u64> = files.iter().collect();
        prop_assert_eq!(files.len(), distinct.len(), "a file under two names: {:?}", after);
        for (name, file) in after.iter().enumerate() {
            let had = ever.iter().any(|state| state[name] == *file);
            prop_assert!(had, "name {} leads to {:?}, where it never led", name, file);
        }
        for file in before.iter().flatten().filter(|file| !unborn.contains_key(*file)) {
            prop_assert!(files.contains(file), "file {} was durable and only moved since", file);
        }
        prop_assert_eq!(disk.unsynced_names(), 0);
        prop_assert_eq!(disk.files(), disk.durable_files());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn reads_see_the_newest_write_and_power_losses_take_only_what_was_not_synced(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let first = live(seed, &steps);
        prop_assert_eq!(first, live(seed, &steps), "the same seed left another image");
    }
}

#[test]
fn the_last_reads_of_a_file_are_remembered() {
    let (disk, _mount, file) = with_file(9);
    file.write_at(0, &[1; 8192]).unwrap();
    assert!(disk.recent_reads(p("/f")).unwrap().is_empty());
    for nth in 0..20 {
        file.read_at(nth * 8, &mut [0; 8]).unwrap();
    }
    assert_eq!(disk.recent_reads(p("/f")).unwrap(), (4..20).map(|nth| nth * 8).collect::<Vec<_>>());
    assert!(disk.recent_reads(p("/none")).is_err());
}

#[test]
fn damage_is_known_until_it_is_written_over_or_mended() {
    let (disk, _mount, file) = with_file(7);
    file.write_at(0, &[1; 8192]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.damage(), []);
    disk.flip_bit(p("/f"), 700, 3).unwrap();
    disk.make_unreadable(p("/f"), 4096, 1).unwrap();
    let places: Vec<(u64, u64)> = disk.damage().iter().map(|it| (it.offset, it.bytes)).collect();
    assert_eq!(places, [(700, 1), (4096, 512)]);
    assert_eq!(disk.undamaged_bytes(p("/f")).unwrap(), [1; 8192]);
    // What is written again is whole; what is not waits for its owner.
    file.write_at(512, &[2; 512]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.damage().len(), 1);
    disk.kill(1);
    disk.mend();
    assert_eq!(disk.damage(), []);
    let mut want = vec![1; 8192];
    want[512..1024].fill(2);
    assert_eq!(disk.durable_bytes(p("/f")).unwrap(), want);
}

#[test]
fn what_went_astray_is_damage_once_it_was_promised_and_can_be_put_back() {
    for kind in [FaultKind::Lost, FaultKind::Misdirected] {
        let (disk, _mount, file) = with_file(8);
        file.write_at(0, &[1; 16384]).unwrap();
        file.sync_data().unwrap();
        disk.inject(fault(Call::Write, 1, kind));
        file.write_at(4096, &[2; 4096]).unwrap();
        file.sync_data().unwrap();
        let mut want = vec![1; 16384];
        want[4096..8192].fill(2);
        assert_eq!(disk.undamaged_bytes(p("/f")).unwrap(), want, "{kind:?}");
        disk.power_loss(1);
        assert_ne!(disk.durable_bytes(p("/f")).unwrap(), want, "{kind:?}");
        assert!(!disk.damage().is_empty(), "{kind:?}");
        disk.mend();
        assert_eq!(disk.durable_bytes(p("/f")).unwrap(), want, "{kind:?}");
        assert_eq!(disk.damage(), [], "{kind:?}");
    }
}

#[test]
fn what_went_astray_before_a_sync_was_never_promised() {
    let (disk, _mount, file) = with_file(9);
    file.write_at(0, &[1; 4096]).unwrap();
    file.sync_data().unwrap();
    disk.inject(fault(Call::Write, 1, FaultKind::Lost));
    file.write_at(0, &[2; 512]).unwrap();
    assert_eq!(disk.damage(), []);
    // Mended, it waits for a sync like any other write.
    disk.kill(1);
    disk.mend();
    let mount = disk.mount();
    mount.open(p("/f"), OpenMode::ReadWrite).unwrap().sync_data().unwrap();
    assert_eq!(disk.durable_bytes(p("/f")).unwrap()[..512], [2; 512]);
}
