//! The machine dies inside every write, sync and name change of a restore: what is left is nothing, or something that says
//! it is not finished, or all of it.

use std::sync::Arc;

use quorate::env::Disk;
use quorate::restore::restore;
use quorate::storage::data_dir::is_unfinished;
use quorate_disk::{Arm, Call, Config, Crash, SimDisk};

use crate::image::rich;
use crate::{data_dir, env_on, find, lay, order};

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Unfinished,
    All,
}

fn left_on(disk: &Arc<dyn Disk>, hash: u128, what: &str) -> Left {
    if is_unfinished(&**disk, &data_dir()).unwrap() {
        return Left::Unfinished;
    }
    let names = if disk.exists(&data_dir()).unwrap() { disk.list(&data_dir()).unwrap() } else { Vec::new() };
    if names.is_empty() {
        return Left::Nothing;
    }
    assert_eq!(names, ["state", "wal"], "{what}");
    let found = find(disk);
    assert_eq!(found.state.hash(), hash, "{what}");
    assert_eq!(found.log.purged, found.state.applied(), "{what}");
    assert!(found.log.vote.is_some(), "{what}");
    Left::All
}

/// Dies in every call of this class; how often each was left.
fn sweep(call: Call, crash: Crash) -> [usize; 3] {
    let bytes = rich().bytes();
    let hash = crate::restored(&bytes, &order(0)).1.unwrap().hash;
    let mut counts = [0; 3];
    for nth in 1.. {
        let disk = SimDisk::new(Config::new(nth));
        let mount = disk.mount();
        lay(&*mount, &bytes);
        disk.arm(Arm { call, path: None, nth, crash, event: nth });
        let made = restore(&env_on(mount), &order(0));
        let died = disk.died();
        assert_eq!(made.is_err(), died, "{call:?} {nth}: {made:?}");
        disk.disarm();
        if crash == Crash::Kill || !died {
            disk.power_loss(nth + 1_000);
        }
        let left = left_on(&disk.mount(), hash, &format!("{crash:?} in {call:?} {nth}"));
        if !died {
            assert_eq!(left, Left::All, "what was said to be made is durable");
            return counts;
        }
        counts[match left {
            Left::Nothing => 0,
            Left::Unfinished => 1,
            Left::All => 2,
        }] += 1;
    }
    unreachable!("a restore is finite")
}

#[test]
fn a_power_loss_inside_any_write_leaves_nothing_that_passes_for_a_state() {
    let [nothing, unfinished, all] = sweep(Call::Write, Crash::PowerLoss);
    assert!(nothing + unfinished > 20 && all == 0, "{nothing} {unfinished} {all}");
}

#[test]
fn a_power_loss_inside_any_sync_leaves_nothing_or_all() {
    let [nothing, unfinished, all] = sweep(Call::Sync, Crash::PowerLoss);
    assert!(nothing > 0 && unfinished > 3 && all > 0, "{nothing} {unfinished} {all}");
}

#[test]
fn a_power_loss_inside_any_name_change_leaves_nothing_or_all() {
    let [nothing, unfinished, all] = sweep(Call::Name, Crash::PowerLoss);
    assert!(nothing > 0 && unfinished > 1, "{nothing} {unfinished} {all}");
}

#[test]
fn a_kill_inside_any_sync_and_then_a_power_loss_leaves_nothing_or_all() {
    let [nothing, unfinished, all] = sweep(Call::Sync, Crash::Kill);
    assert!(nothing > 0 && unfinished > 3, "{nothing} {unfinished} {all}");
}
