//! Draws which part of the product a seed strikes hardest, and the ambushes that it lays.

use std::collections::BTreeSet;

use super::faults::{QUIET_END_MS, QUIET_START_MS};
use crate::hooks::{PLACES, Place};
use crate::plan::ambush::{Blow, PlaceName};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::Direction;
use crate::plan::{Family, Fault, Focus, PlannedFault, Target};

/// Seeds of a thousand that have a focus.
const FOCUSED_PERMILLE: u64 = 700;
/// Ambushes of a thousand, in a seed with a focus, that are laid there.
const THERE_PERMILLE: u64 = 850;
/// Places at which a seed without a focus lays its ambushes: few, so that each is tried in several ways.
const PLACES_WITHOUT: usize = 4;
/// Names of ambushes begin here, and end below those of a story's changes.
const FIRST_ID: u64 = 3_000;
/// Room for ambushes among the names.
const IDS_MAX: u64 = 500;
/// Slow links and late reads at the end of a run in which members have to catch up.
const LAGGING_MAX: u64 = 10;
/// Where a leader reads what it sends to a follower.
const READ_FOR_A_PEER: PlaceName = PlaceName("entries are read late for a peer");

/// The focus of a seed.
pub(super) fn draw(seed: u64) -> Option<Focus> {
    let mut dice = Dice::keyed(seed, Purpose::Focus, 0);
    let focused = dice.permille(FOCUSED_PERMILLE);
    dice.pick(&Focus::ALL).copied().filter(|_| focused)
}

/// The families that a focus needs.
pub(super) fn families(focus: Option<Focus>) -> BTreeSet<Family> {
    let needed: &[Family] = match focus {
        None => &[],
        Some(Focus::Handover) => &[Family::Ambush, Family::Succession, Family::Kill],
        Some(Focus::CatchUp) => {
            &[Family::Ambush, Family::Link, Family::Pause, Family::Partition, Family::Reset, Family::Cluster]
        }
        Some(Focus::Storage) => &[Family::Ambush, Family::Power, Family::DiskStall],
        Some(Focus::Membership) => &[Family::Ambush, Family::Cluster, Family::Pause, Family::Partition],
        Some(Focus::Rot) => &[Family::Ambush, Family::Rot],
        Some(Focus::History | Focus::Leases | Focus::Writes) => &[Family::Ambush],
    };
    needed.iter().copied().collect()
}

/// What fits a focus: the past is lost to whoever is held up in it, leaders to who is cut off, and what is durable to
/// who loses power.
fn blows(focus: Option<Focus>) -> [(u64, Blow); 5] {
    let [held, kill, power, isolate, stall] = match focus {
        None => [5, 3, 3, 3, 3],
        Some(Focus::History) => [12, 1, 1, 1, 1],
        Some(Focus::Handover | Focus::CatchUp) => [6, 3, 1, 5, 1],
        Some(Focus::Storage) => [2, 2, 5, 1, 7],
        Some(Focus::Leases | Focus::Writes) => [5, 3, 1, 4, 1],
        Some(Focus::Membership) => [6, 4, 1, 3, 1],
        // What rots is found by who goes on.
        Some(Focus::Rot) => [10, 1, 1, 1, 1],
    };
    [
        (held, Blow::None),
        (kill, Blow::Kill),
        (power, Blow::Power),
        (isolate, Blow::Isolate),
        (stall, Blow::StallLog),
    ]
}

/// The ambushes of a seed that has the family, in no order.
pub(super) fn ambushes(seed: u64, duration_ms: u64, focus: Option<Focus>) -> Vec<PlannedFault> {
    let mut dice = Dice::keyed(seed, Purpose::Focus, 1);
    let there: Vec<&Place> = match focus {
        Some(focus) => PLACES.iter().filter(|place| focus.files().contains(&place.file)).collect(),
        None => (0..PLACES_WITHOUT).filter_map(|_| dice.pick(PLACES)).collect(),
    };
    let room = duration_ms.saturating_sub(QUIET_START_MS + QUIET_END_MS).max(1);
    let ids = FIRST_ID..FIRST_ID + dice.between(12, 32);
    let lagging =
        if focus == Some(Focus::CatchUp) { lagging_to_the_end(seed, duration_ms) } else { Vec::new() };
    let laid = ids.filter_map(|id| {
        let mut dice = Dice::keyed(seed, Purpose::Focus, id);
        let place =
            if dice.permille(THERE_PERMILLE) { dice.pick(&there).copied() } else { dice.pick(PLACES) };
        let place = place?;
        let at_ms = QUIET_START_MS + dice.below(room);
        let (fault, for_ms) = ambush(&mut dice, place, focus);
        let for_ms = for_ms.min(duration_ms - QUIET_END_MS / 2 - at_ms);
        Some(PlannedFault { id, at_ms, for_ms, fault })
    });
    laid.chain(lagging).collect()
}

/// An ambush at this place, and how long it lasts in milliseconds.
fn ambush(dice: &mut Dice, place: &Place, focus: Option<Focus>) -> (Fault, u64) {
    let fault = Fault::Ambush {
        member: None,
        place: PlaceName(place.name),
        nth: if dice.permille(750) { dice.between(1, 4) } else { dice.between(1, 100) },
        // Beyond a few round trips, or beyond an election; what is shorter, disturbances do.
        hold_ms: if dice.permille(600) { dice.between(60, 400) } else { dice.between(400, 1_500) },
        blow: dice.weighted(&blows(focus)).unwrap_or(Blow::None),
        down_ms: dice.between(50, 2_000),
    };
    (fault, dice.between(1_000, 8_000))
}

/// Links from the leader that are slow, and entries that are read late for followers, to the very end, under load: who
/// then needs what is purged meanwhile, and does not get past it, will not by itself.
fn lagging_to_the_end(seed: u64, duration_ms: u64) -> Vec<PlannedFault> {
    let first = FIRST_ID + IDS_MAX;
    let ids = first..first + LAGGING_MAX;
    let lagging = ids.map(|id| {
        let mut dice = Dice::keyed(seed, Purpose::Focus, id);
        let at_ms = duration_ms.saturating_sub(dice.between(500, 12_000));
        let for_ms = duration_ms - at_ms;
        if dice.permille(600) {
            let (nth, hold_ms) = (dice.between(1, 20), dice.between(200, 1_500));
            let (place, blow) = (READ_FOR_A_PEER, Blow::None);
            let fault = Fault::Ambush { member: None, place, nth, hold_ms, blow, down_ms: 0 };
            return PlannedFault { id, at_ms, for_ms, fault };
        }
        let most_us = dice.between(50, 1_000) * 1000;
        let fault = Fault::SlowLink {
            target: Target::Leader,
            other: u8::try_from(dice.below(8)).unwrap_or(0),
            direction: Direction::Out,
            least_us: most_us / 4,
            most_us,
        };
        PlannedFault { id, at_ms, for_ms, fault }
    });
    lagging.collect()
}
