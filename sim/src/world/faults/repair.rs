//! Disks that are lost whole where members have themselves taken back, and deaths on that way.

use quorate_disk::Crash;

use super::{Strike, edge};
use crate::plan::Fault;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    if matches!(fault, Fault::DeathInRepair { .. }) {
        return edge::strike(strike, fault).await;
    }
    let (world, struck) = (strike.world, strike.struck);
    // Operators change nothing while it is settled whether the disk can be spared.
    let turn = world.operators_turn().await;
    if !world.can_lose_its_disk(struck) {
        return;
    }
    world.hold(struck, Crash::PowerLoss, strike.id);
    world.loses_its_disk(struck);
    drop(turn);
    strike.last().await;
    world.release(struck);
}
