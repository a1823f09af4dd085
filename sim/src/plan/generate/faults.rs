//! Draws the families of a seed, then its faults: spread over the run, with every third one meant to take the
//! leader away.

use std::collections::BTreeSet;

use super::{atlas, cluster, focus, guard, links, opening, repair, upkeep};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::{Direction, DiskArea, DiskCall, Unseat};
use crate::plan::{Family, Fault, Focus, MemberIndex, PlannedFault, Target};

/// No fault before this: the cluster has to come up first. Milliseconds.
pub(super) const QUIET_START_MS: u64 = 3_000;
/// No fault in the last part of the run, milliseconds.
pub(super) const QUIET_END_MS: u64 = 6_000;

/// Keys the draws of rates among those of the swarm.
const RATES: u64 = 2;
/// By how much a family may strike more often than another.
const RATE_MAX: u64 = 5;
/// Of a thousand changes of the cluster, those in whose midst the leader is killed.
const AIMED_PERMILLE: u64 = 500;
/// Where the numbers of these kills begin.
const AIMED_IDS: u64 = 1_000;

/// The families of a seed: a random half, with at least one that can take a leader away, and what its focus needs.
pub(super) fn families(seed: u64, focused: Option<Focus>) -> BTreeSet<Family> {
    let mut dice = Dice::keyed(seed, Purpose::Swarm, 0);
    let rate = dice.between(300, 700);
    // The atlas draws for itself, and so do those who are asked who they are, and those who lose their disks.
    let apart =
        |family: &Family| Family::ATLAS.contains(family) || [Family::Auth, Family::Repair].contains(family);
    let others = Family::ALL.into_iter().filter(|family| !apart(family));
    let mut families: BTreeSet<Family> = others.filter(|_| dice.permille(rate)).collect();
    if !Family::UNSEATING.iter().any(|family| families.contains(family)) {
        families.extend(dice.pick(&Family::UNSEATING));
    }
    families.extend(atlas::families(seed));
    families.extend(guard::family(seed));
    families.extend(focus::families(focused));
    // Kills are aimed into the midst of a change.
    families.extend(families.contains(&Family::Cluster).then_some(Family::Kill));
    families
}

/// How often a family strikes in a seed, against the others.
fn rate(seed: u64, family: Family) -> usize {
    let number = Family::ALL.iter().position(|other| *other == family).unwrap_or(0);
    let mut dice = Dice::keyed_twice(seed, Purpose::Swarm, RATES, u64::try_from(number).unwrap_or(0));
    usize::try_from(dice.between(1, RATE_MAX)).unwrap_or(1)
}

/// The faults of a seed, by time.
pub(super) fn draw(
    seed: u64,
    members: u8,
    duration_ms: u64,
    families: &BTreeSet<Family>,
    focused: Option<Focus>,
) -> Vec<PlannedFault> {
    let mut dice = Dice::keyed(seed, Purpose::Fault, 0);
    let count = dice.between(14, 26);
    let room = duration_ms.saturating_sub(QUIET_START_MS + QUIET_END_MS);
    let slot = (room / count).max(1);
    // Crashes inside calls reach what no other fault does, so they come more often than the rest.
    // Changes of the cluster take several steps, one built on the other.
    let often = [Family::DiskDeath, Family::DiskDeath, Family::Cluster, Family::Cluster];
    let often = often.into_iter().filter(|family| families.contains(family));
    let by_themselves = [Family::Ambush, Family::Auth, Family::Repair];
    let apart = |family: &Family| Family::ATLAS.contains(family) || by_themselves.contains(family);
    let others = families.iter().copied().filter(|family| !apart(family));
    let tickets = |family| std::iter::repeat_n(family, rate(seed, family));
    let all: Vec<Family> = others.chain(often).flat_map(tickets).collect();
    let unseating: Vec<Family> =
        all.iter().copied().filter(|family| Family::UNSEATING.contains(family)).collect();
    let drawn = (0..count).flat_map(|nth| {
        let mut dice = Dice::keyed(seed, Purpose::Fault, nth + 1);
        let at_ms = QUIET_START_MS + nth * slot + dice.below(slot);
        let unseat = nth % 3 == 0;
        let family = dice.pick(if unseat { &unseating } else { &all }).copied().unwrap_or(Family::Kill);
        let target = if unseat { Target::Leader } else { anyone(&mut dice, members) };
        let (fault, for_ms) = fault(&mut dice, family, target, members, unseat);
        let struck = PlannedFault { id: nth + 1, at_ms, for_ms, fault };
        // A change of the cluster is over in a moment: what strikes in its midst has to be aimed.
        let aimed = (family == Family::Cluster && dice.permille(AIMED_PERMILLE)).then(|| PlannedFault {
            id: AIMED_IDS + nth,
            at_ms: at_ms + dice.between(5, 400),
            for_ms: dice.between(500, 3_000),
            fault: Fault::Kill { target: Target::Leader },
        });
        std::iter::once(struck).chain(aimed)
    });
    let mut faults: Vec<PlannedFault> =
        drawn.chain(atlas::faults(seed, members, duration_ms, families, focused)).collect();
    if families.contains(&Family::Auth) {
        faults.extend(guard::episodes(seed, duration_ms));
    }
    if families.contains(&Family::Repair) {
        faults.extend(repair::faults(seed, members, duration_ms));
    }
    if families.contains(&Family::Ambush) {
        faults.extend(focus::ambushes(seed, duration_ms, focused));
    }
    if focused == Some(Focus::Membership) {
        faults.extend(cluster::stories(seed, members, duration_ms));
    }
    let spares = if families.contains(&Family::Cluster) { cluster::spares(seed) } else { 0 };
    let founders = members.saturating_sub(spares);
    faults.extend(upkeep::faults(seed, founders, duration_ms));
    if let Some(opening) = opening::draw(seed, founders, focused) {
        faults.retain(|planned| planned.at_ms >= opening.until_ms);
        faults.extend(opening.faults);
    }
    faults.sort_by_key(|planned| (planned.at_ms, planned.id));
    faults
}

pub(super) fn anyone(dice: &mut Dice, members: u8) -> Target {
    let number = u8::try_from(dice.below(u64::from(members))).unwrap_or(0);
    match dice.below(10) {
        0..=2 => Target::Leader,
        3..=6 => Target::Follower(number),
        _ => Target::Member(MemberIndex(number)),
    }
}

pub(super) fn direction(dice: &mut Dice) -> Direction {
    dice.weighted(&[(6, Direction::Both), (2, Direction::In), (2, Direction::Out)]).unwrap_or(Direction::Both)
}

fn unseat_by(dice: &mut Dice) -> Unseat {
    dice.weighted(&[(5, Unseat::Isolate), (3, Unseat::Pause), (3, Unseat::Kill)]).unwrap_or(Unseat::Isolate)
}

fn call(dice: &mut Dice) -> DiskCall {
    if dice.permille(500) { DiskCall::Write } else { DiskCall::Sync }
}

fn area(dice: &mut Dice) -> DiskArea {
    if dice.permille(500) { DiskArea::Any } else { DiskArea::Wal }
}

/// A fault of this family, and how long it lasts in milliseconds.
fn fault(dice: &mut Dice, family: Family, target: Target, members: u8, unseat: bool) -> (Fault, u64) {
    // Long enough that the others notice, short enough that a quorum is there most of the time.
    let down = if unseat { dice.between(1_500, 4_000) } else { dice.between(50, 3_000) };
    match family {
        Family::Kill => match if unseat { 0 } else { dice.below(12) } {
            0..=5 => (Fault::Kill { target }, down),
            6 | 7 => (Fault::KillInStart { target, after_ms: dice.between(1, 60) }, down),
            8 | 9 => (Fault::KillAll {}, dice.between(20, 1_000)),
            _ => {
                let down_ms = dice.between(20, 1_000);
                (Fault::RollingRestart { down_ms }, dice.between(1_500, 8_000))
            }
        },
        Family::Power => match if unseat { 0 } else { dice.below(10) } {
            0..=2 => (Fault::PowerLoss { target }, down),
            3 | 4 => (Fault::PowerLossInStall { target, stall_ms: dice.between(50, 1_500) }, down),
            5..=7 => (Fault::KillThenPowerLoss { target, after_ms: dice.between(1, 1_500) }, down),
            _ => (Fault::PowerLossAll {}, dice.between(20, 1_000)),
        },
        Family::Pause => (Fault::Pause { target }, dice.between(100, 5_000)),
        Family::Partition => {
            let long = dice.between(1_500, 5_000);
            match if unseat { 0 } else { dice.below(10) } {
                0..=4 => (Fault::Isolate { target, direction: direction(dice) }, long),
                5..=7 => {
                    // Neither nobody nor everybody.
                    let everybody = (1_u64 << members) - 1;
                    let side = u8::try_from(dice.between(1, (everybody - 1).max(1))).unwrap_or(1);
                    (Fault::Split { side, direction: direction(dice) }, long)
                }
                8 => (Fault::Ring { order: u8::try_from(dice.below(2)).unwrap_or(0) }, long),
                _ => (Fault::Bridge { target }, long),
            }
        }
        Family::Loss => (Fault::Loss { permille: dice.between(20, 400) }, dice.between(500, 5_000)),
        Family::Delay => {
            let most_us = dice.between(20, 600) * 1000;
            (Fault::Delay { least_us: 1_000, most_us }, dice.between(500, 5_000))
        }
        Family::Clock => match dice.below(3) {
            0 => (Fault::ClockJump { target, by_ms: dice.between(100, 20_000) }, 0),
            1 => {
                (Fault::ClockRate { target, ppm: dice.signed(-10_000, 10_000) }, dice.between(1_000, 15_000))
            }
            _ => (Fault::WallJump { target, by_ms: dice.signed(-86_400_000, 86_400_000) }, 0),
        },
        Family::DiskDeath => {
            let (call, power) = (call(dice), dice.permille(600));
            let nth = if dice.permille(700) { dice.between(1, 8) } else { dice.between(1, 60) };
            let again = !power && dice.permille(500);
            let power_after_ms = again.then(|| dice.between(1, 400));
            let area = area(dice);
            (Fault::DiskDeath { target, call, area, nth, power, power_after_ms }, dice.between(50, 2_000))
        }
        Family::DiskError => {
            let (call, area, nth) = (call(dice), area(dice), dice.between(1, 40));
            let power_after_ms = dice.permille(500).then(|| dice.between(1, 1_500));
            (Fault::DiskError { target, call, area, nth, power_after_ms }, dice.between(200, 2_000))
        }
        Family::Flap | Family::Link | Family::Reset | Family::Copies | Family::Client => {
            links::fault(dice, family, target, members)
        }
        Family::Cluster => cluster::fault(dice, target),
        Family::Succession => {
            let first = unseat_by(dice);
            let second = dice.permille(650).then(|| unseat_by(dice));
            let (dwell_ms, gap_ms) = (dice.between(50, 1_200), dice.between(50, 2_500));
            let most_us = if dice.permille(600) { dice.between(20, 400) * 1000 } else { 0 };
            (Fault::Succession { first, second, dwell_ms, gap_ms, most_us }, dice.between(2_000, 4_000))
        }
        Family::DiskStall => (Fault::DiskStall { target, call: call(dice) }, dice.between(50, 4_000)),
        // Laid apart: they are not drawn one by one.
        Family::Ambush => (Fault::Pause { target }, down),
        Family::Auth => (Fault::Guard {}, down),
        Family::Repair => (Fault::LoseDisk { target }, down),
        Family::Space | Family::Rot | Family::Latent | Family::Astray | Family::Edge => {
            atlas::fault(dice, family, target)
        }
    }
}
