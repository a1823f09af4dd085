//! Draws who stays broken at the end, and how.

use std::collections::BTreeSet;

use super::atlas::place;
use super::faults::direction;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::ending::{Breakage, Broken, Ending};
use crate::plan::fault::Direction;
use crate::plan::{Family, MemberIndex, Target};

/// Keys these draws among those of shape.
const ENDING: u64 = 4;
/// Seeds of a thousand that heal everything at once.
const WHOLE_PERMILLE: u64 = 150;
/// Seeds of a thousand that wait for the end of every lease: it takes as long as the longest was granted for.
const OUTLIVES_LEASES_PERMILLE: u64 = 250;

/// Seeds of a thousand in which a member parts, where members are compared.
const PARTS_PERMILLE: u64 = 600;

/// The ending of a seed: mostly as many stay broken as a quorum can bear.
pub(super) fn draw(seed: u64, members: u8, families: &BTreeSet<Family>) -> Ending {
    let mut dice = Dice::keyed(seed, Purpose::Shape, ENDING);
    let most = u64::from(members.saturating_sub(1) / 2);
    // Whoever could say that clients need not be asked any more might be one who stays broken.
    let count = match dice.permille(WHOLE_PERMILLE) || families.contains(&Family::Auth) {
        true => 0,
        false if dice.permille(700) => most,
        false => dice.between(most.min(1), most),
    };
    let mut left: Vec<u8> = (0..members).collect();
    let broken = (0..count).map(|nth| {
        let place = usize::try_from(dice.below(u64::try_from(left.len()).unwrap_or(1))).unwrap_or(0);
        let member = Target::Member(MemberIndex(left.remove(place)));
        // A leader that is half alive is the worst of all.
        let leads = nth == 0 && dice.permille(400);
        Broken { target: if leads { Target::Leader } else { member }, how: breakage(&mut dice) }
    });
    Ending {
        broken: broken.collect(),
        writes: if dice.permille(500) { dice.between(10, 60) } else { 0 },
        outlives_leases: dice.permille(OUTLIVES_LEASES_PERMILLE),
        power: dice.permille(500),
        changes: families.contains(&Family::Cluster),
        parts: dice.permille(PARTS_PERMILLE),
    }
}

fn breakage(dice: &mut Dice) -> Breakage {
    match dice.below(27) {
        0 => Breakage::Down { power: dice.permille(500) },
        1 | 4 => {
            let (area, key, _) = place(dice);
            Breakage::RottenDisk { area, key, unreadable: dice.permille(300) }
        }
        2 | 3 => Breakage::Paused {},
        5..=6 => Breakage::Cut { direction: direction(dice), from: u8::MAX },
        // One way: it hears and is not heard, or the other way round, by all or by some.
        7..=12 => {
            let direction = if dice.permille(500) { Direction::In } else { Direction::Out };
            let some = u8::try_from(dice.below(256)).unwrap_or(u8::MAX);
            Breakage::Cut { direction, from: if dice.permille(500) { u8::MAX } else { some } }
        }
        13..=16 => {
            let most_us = dice.between(20, 1_500) * 1000;
            Breakage::Slow { least_us: most_us / 4, most_us }
        }
        17..=19 => Breakage::Lossy { permille: dice.between(100, 900) },
        20 | 21 => {
            let permille = if dice.permille(300) { 1_000 } else { dice.between(1, 200) };
            Breakage::FailingDisk { permille: u32::try_from(permille).unwrap_or(1_000) }
        }
        // A start is one job of some ten syncs, which nothing ends early: a member that starts as all is healed is slow
        // for as long as that takes, which must be well within the 60 s that it has to come up.
        22..=24 => Breakage::SlowDisk { sync_ms: dice.between(100, 1_500) },
        _ => Breakage::FullDisk { free_bytes: dice.below(1 << 18) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_left_and_every_breakage_comes_up() {
        let mut kinds = BTreeSet::new();
        for seed in 0..200 {
            for members in [1, 3, 5] {
                let ending = draw(seed, members, &BTreeSet::new());
                assert_eq!(ending.check(usize::from(members)), Ok(()), "seed {seed}, {members} members");
                kinds.extend(ending.broken.iter().map(|broken| broken.how.name()));
            }
        }
        assert_eq!(kinds.len(), 9, "{kinds:?}");
    }
}
