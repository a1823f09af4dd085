//! Draws which seeds have members that have themselves taken back, what these lose, and where they die on their way.
//!
//! Logs that rot are the atlas's, which such a seed always has; here are whole disks that are lost, and deaths in the midst
//! of a repair. All of it comes from a stream of its own.

use super::faults::{QUIET_END_MS, QUIET_START_MS, anyone};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::DiskCall;
use crate::plan::{Family, Fault, PlannedFault};

/// Seeds of a thousand whose members have themselves taken back, of those with voters enough to spare one.
const ALLOWED_PERMILLE: u64 = 400;
/// The fewest founders that can spare one.
const FOUNDERS_MIN: u8 = 3;
/// Names of these faults begin here: other families never get so far.
const FIRST_ID: u64 = 6_000;
/// Names of deaths begin here.
const FIRST_DEATH: u64 = FIRST_ID + 100;
/// How long a death may wait for a repair, milliseconds.
const WAITS_MS: u64 = 20_000;

/// What such a seed needs.
pub(super) const FAMILIES: [Family; 2] = [Family::Repair, Family::Rot];

/// Whether members have themselves taken back in this seed.
pub(super) fn is_allowed(seed: u64, founders: u8) -> bool {
    founders >= FOUNDERS_MIN && Dice::keyed(seed, Purpose::Repair, 0).permille(ALLOWED_PERMILLE)
}

/// The disks that are lost in a seed, and the deaths that wait for those who repair themselves, in no order.
pub(super) fn faults(seed: u64, members: u8, duration_ms: u64) -> Vec<PlannedFault> {
    let room = duration_ms.saturating_sub(QUIET_START_MS + QUIET_END_MS).max(1);
    let mut dice = Dice::keyed(seed, Purpose::Repair, FIRST_ID);
    let (lost, deaths) = (dice.between(2, 5), dice.between(1, 4));
    let lost = (FIRST_ID + 1..=FIRST_ID + lost).map(|id| {
        let mut dice = Dice::keyed(seed, Purpose::Repair, id);
        let at_ms = QUIET_START_MS + dice.below(room);
        let fault = Fault::LoseDisk { target: anyone(&mut dice, members) };
        // Often so short that the others have hardly noticed.
        let for_ms = if dice.permille(500) { dice.between(1, 300) } else { dice.between(300, 3_000) };
        PlannedFault { id, at_ms, for_ms, fault }
    });
    let deaths = (FIRST_DEATH..FIRST_DEATH + deaths).map(|id| {
        let mut dice = Dice::keyed(seed, Purpose::Repair, id);
        let at_ms = QUIET_START_MS + dice.below(room);
        let calls = [(3, DiskCall::Name), (3, DiskCall::Sync), (2, DiskCall::Write)];
        let call = dice.weighted(&calls).unwrap_or(DiskCall::Sync);
        let fault = Fault::DeathInRepair { call, nth: dice.between(1, 14), power: dice.permille(600) };
        PlannedFault { id, at_ms, for_ms: WAITS_MS.min(duration_ms - QUIET_END_MS / 2 - at_ms), fault }
    });
    lost.chain(deaths).collect()
}
