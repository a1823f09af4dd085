//! Draws when clients are asked who they are.

use super::faults::{QUIET_END_MS, QUIET_START_MS};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::{Family, Fault, PlannedFault};

/// Seeds of a thousand in which clients are asked at all: while they are, those that say nothing do nothing.
const GUARDED_PERMILLE: u64 = 250;
/// Names of these episodes begin here, where no other family comes.
const FIRST_ID: u64 = 1_500;

/// The family, in a seed that has it.
pub(super) fn family(seed: u64) -> Option<Family> {
    Dice::keyed(seed, Purpose::Guard, 0).permille(GUARDED_PERMILLE).then_some(Family::Auth)
}

/// The times in which clients are asked, none beside another.
pub(super) fn episodes(seed: u64, duration_ms: u64) -> Vec<PlannedFault> {
    let mut dice = Dice::keyed(seed, Purpose::Guard, 1);
    let count = dice.between(1, 4);
    let slot = duration_ms.saturating_sub(QUIET_START_MS + QUIET_END_MS) / count;
    let episode = |nth| {
        let for_ms = dice.between(3_000, 9_000).min(slot / 2);
        let at_ms = QUIET_START_MS + nth * slot + dice.below((slot - for_ms).max(1));
        PlannedFault { id: FIRST_ID + nth, at_ms, for_ms, fault: Fault::Guard {} }
    };
    (0..count).map(episode).collect()
}
