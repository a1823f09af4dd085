//! Disks in which a machine dies, that refuse a call, or that stand still.
//!
//! Only faults within what the product may assume of a disk: every synced byte must survive them.

use std::path::PathBuf;
use std::time::Duration;

use quorate_disk::{Arm, Call, Crash, FaultKind};

use super::{SECOND, Strike, unknown};
use crate::plan::Fault;
use crate::plan::fault::{DiskArea, DiskCall};
use crate::world::life::Death;
use crate::world::product;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (world, struck) = (strike.world, strike.struck);
    // What is armed on a disk that nobody uses would strike who starts next; that is another fault.
    if world.is_down(struck) {
        return;
    }
    let disk = world.seat(struck).disk.clone();
    let inject = |call, path, nth, kind| {
        disk.inject(quorate_disk::Fault { call: class(call), path, nth, kind });
    };
    match fault {
        Fault::DiskDeath { call, area, nth, power, power_after_ms, .. } => {
            let power_after = power_after_ms.map(Duration::from_millis);
            world.expect_death(
                struck,
                Death { down_for: strike.for_, power_after, event: strike.id + SECOND },
            );
            let crash = if power { Crash::PowerLoss } else { Crash::Kill };
            let path = path_of(strike, area);
            disk.arm(Arm { call: class(call), path, nth, crash, event: strike.id });
        }
        Fault::DiskError { call, area, nth, power_after_ms, .. } => {
            let power_after = power_after_ms.map(Duration::from_millis);
            world.expect_errors(struck, power_after.map(|wait| (wait, strike.id + SECOND)));
            inject(call, path_of(strike, area), nth, FaultKind::Eio);
        }
        Fault::DiskStall { call, .. } => inject(call, None, 1, FaultKind::Stalled(strike.for_)),
        other => unknown(other),
    }
    strike.last().await;
}

pub(super) fn path_of(strike: &Strike<'_>, area: DiskArea) -> Option<PathBuf> {
    match area {
        DiskArea::Any => None,
        DiskArea::Wal => Some(product::wal_dir(strike.world.generation(strike.struck))),
    }
}

pub(super) fn class(call: DiskCall) -> Call {
    match call {
        DiskCall::Write => Call::Write,
        DiskCall::Sync => Call::Sync,
        DiskCall::Name => Call::Name,
    }
}
