//! Draws the faults of the disk atlas: full file systems, rot, unreadable sectors, writes that go astray, deaths at the
//! edges of a log.
//!
//! They come on top of a seed's other faults and from streams of their own, so that a seed means what it meant before
//! in all else. What a damage strikes, and whether it may, is settled when it strikes.

use std::collections::BTreeSet;

use super::faults::{QUIET_END_MS, QUIET_START_MS, anyone};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::{DamageArea, DiskArea, LogMoment};
use crate::plan::{Family, Fault, Focus, PlannedFault, Target};

/// Seeds of a thousand that use a family of the atlas.
const FAMILY_PERMILLE: u64 = 400;
/// Seeds of a thousand, of those with deaths at the edges of a log, that purge all they can as soon as they can.
const EAGER_PERMILLE: u64 = 500;
/// Seeds of a thousand, of those with rot, in which a majority rots at once.
const BEYOND_PERMILLE: u64 = 150;
/// Names of faults begin here: other families never get so far.
const FIRST_ID: u64 = 2_000;
/// Room for the faults of one family among the names.
const IDS_PER_FAMILY: u64 = 100;

/// The families of a seed.
pub(super) fn families(seed: u64) -> BTreeSet<Family> {
    let drawn = (0_u64..).zip(Family::ATLAS);
    drawn
        .filter(|(number, _)| Dice::keyed(seed, Purpose::Atlas, *number).permille(FAMILY_PERMILLE))
        .map(|(_, family)| family)
        .collect()
}

/// Entries between two snapshots, in a seed whose logs hold next to nothing: edges are then everywhere.
pub(super) fn eager_snapshots(seed: u64) -> Option<u64> {
    let mut dice = Dice::keyed(seed, Purpose::Atlas, FIRST_ID - 1);
    (families(seed).contains(&Family::Edge) && dice.permille(EAGER_PERMILLE)).then(|| dice.between(3, 12))
}

/// The faults of a seed, in no order; one whose focus is rot has more of it, mostly in the engine.
pub(super) fn faults(
    seed: u64,
    members: u8,
    duration_ms: u64,
    families: &BTreeSet<Family>,
    focused: Option<Focus>,
) -> Vec<PlannedFault> {
    let room = duration_ms.saturating_sub(QUIET_START_MS + QUIET_END_MS).max(1);
    let mut all = Vec::new();
    for (number, family) in (0_u64..).zip(Family::ATLAS).filter(|(_, family)| families.contains(family)) {
        let first = FIRST_ID + number * IDS_PER_FAMILY;
        let rotten = family == Family::Rot && focused == Some(Focus::Rot);
        let mut dice = Dice::keyed(seed, Purpose::Atlas, first);
        let count = if rotten { dice.between(6, 12) } else { dice.between(2, 4) };
        for id in first + 1..=first + count {
            let mut dice = Dice::keyed(seed, Purpose::Atlas, id);
            let at_ms = QUIET_START_MS + dice.below(room);
            let target = anyone(&mut dice, members);
            let (mut fault, mut for_ms) = fault(&mut dice, family, target);
            if rotten
                && let Fault::Rot { area, down, .. } = &mut fault
                && dice.permille(800)
            {
                // Mostly for those to find who read while the member runs.
                (*area, *down) = (DamageArea::Engine, dice.permille(300));
                for_ms = dice.between(1_000, 15_000);
                // What a start reads first, and could write anew.
                if *down && dice.permille(500) {
                    *area = DamageArea::EngineHead;
                }
            }
            let for_ms = for_ms.min(duration_ms - QUIET_END_MS / 2 - at_ms);
            all.push(PlannedFault { id, at_ms, for_ms, fault });
        }
        let id = first + count + 1;
        let mut dice = Dice::keyed(seed, Purpose::Atlas, id);
        if family == Family::Rot && dice.permille(BEYOND_PERMILLE) {
            let at_ms = QUIET_START_MS + dice.below(room);
            let fault = Fault::RotBeyond { key: dice.bits() >> 12 };
            all.push(PlannedFault { id, at_ms, for_ms: dice.between(2_000, 4_000), fault });
        }
    }
    all
}

/// A fault of this family, and how long it lasts in milliseconds.
pub(super) fn fault(dice: &mut Dice, family: Family, target: Target) -> (Fault, u64) {
    match family {
        Family::Space => {
            let free_bytes = if dice.permille(400) { 0 } else { dice.between(0, 64) * 4096 };
            (Fault::DiskFull { target, free_bytes }, dice.between(500, 6_000))
        }
        Family::Latent => {
            let (area, key, down) = place(dice);
            (Fault::Unreadable { target, area, key, down }, dice.between(100, 2_500))
        }
        Family::Astray => {
            let area = if dice.permille(500) { DiskArea::Wal } else { DiskArea::Any };
            let (nth, lost) = (dice.between(1, 30), dice.permille(500));
            (Fault::WriteAstray { target, area, nth, lost }, dice.between(100, 2_000))
        }
        Family::Edge => {
            let moments = [(4, LogMoment::Cut), (2, LogMoment::Recycled), (4, LogMoment::Unused)];
            let moment = dice.weighted(&moments).unwrap_or(LogMoment::Cut);
            // Few logs are cut and many recycled.
            let window = if moment == LogMoment::Cut { 30_000 } else { 4_000 };
            let (nth, power) = (dice.between(1, 3), dice.permille(700));
            (Fault::DeathAfter { moment, nth, power }, window)
        }
        _ => {
            let (area, key, down) = place(dice);
            (Fault::Rot { target, area, key, down }, dice.between(100, 2_500))
        }
    }
}

/// Where a disk is damaged, what keys the very place, and whether the member is down then.
pub(super) fn place(dice: &mut Dice) -> (DamageArea, u64, bool) {
    let area = dice
        .weighted(&[(3, DamageArea::SealedLog), (4, DamageArea::LogTail), (3, DamageArea::Engine)])
        .unwrap_or(DamageArea::LogTail);
    // Plans are JSON, and not every reader of it knows larger numbers.
    (area, dice.bits() >> 12, dice.permille(700))
}
