//! Opening scenes: what a seed with a focus stages in its first seconds, while nothing else goes wrong.
//!
//! A scene has several steps, and each must find the cluster as the one before it has left it. Among a seed's other
//! faults that hardly ever happens.

use super::faults::QUIET_START_MS;
use crate::plan::ambush::{Blow, PlaceName};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::{DamageArea, Direction};
use crate::plan::{Fault, Focus, MemberIndex, PlannedFault, Target};

/// Seeds of a thousand that open with a scene, of those whose focus knows one and whose cluster is large enough for it.
const OPENING_PERMILLE: u64 = 600;
/// How long the stage belongs to the scene, milliseconds.
const SCENE_MS: u64 = 13_000;
/// Names of a scene's faults begin here: other families never get so far.
const FIRST_ID: u64 = 5_000;
/// Where a member is about to make a received snapshot its state.
const BEFORE_THE_INSTALL: PlaceName = PlaceName("a snapshot is installed late");
/// Appends to a newcomer that are held up; heartbeats are some too.
const APPENDS_HELD: usize = 14;
/// Where a member is about to take in what its leader sends.
const BEFORE_AN_APPEND: PlaceName = PlaceName("an append is taken in late");

/// A scene.
pub(super) struct Opening {
    /// Its faults, in no order.
    pub(super) faults: Vec<PlannedFault>,
    /// No other fault strikes before this, milliseconds.
    pub(super) until_ms: u64,
}

/// A step of a scene: how long after its beginning, for how long, in milliseconds, and what.
type Step = (u64, u64, Fault);

/// The scene of a seed, if it has one.
pub(super) fn draw(seed: u64, founders: u8, focus: Option<Focus>) -> Option<Opening> {
    let mut dice = Dice::keyed(seed, Purpose::Focus, FIRST_ID);
    if !dice.permille(OPENING_PERMILLE) {
        return None;
    }
    // One member alone may not be damaged, and hears nobody.
    let focus = focus.filter(|_| founders >= 3)?;
    let steps = match focus {
        Focus::Membership => given_place(&mut dice, founders)?,
        Focus::CatchUp => doubted_install(&mut dice, founders),
        Focus::Rot => rotten_heads(&mut dice),
        Focus::History | Focus::Handover | Focus::Storage | Focus::Leases | Focus::Writes => return None,
    };
    let faults = (FIRST_ID..).zip(steps).map(|(id, (after_ms, for_ms, fault))| PlannedFault {
        id,
        at_ms: QUIET_START_MS + after_ms,
        for_ms,
        fault,
    });
    Some(Opening { faults: faults.collect(), until_ms: QUIET_START_MS + SCENE_MS })
}

/// A voter is cut off, a member added, another removed, and its place given to a newcomer. Before that one has taken
/// anything in, the voter hears it alone, and still takes it for the one before it.
fn given_place(dice: &mut Dice, founders: u8) -> Option<Vec<Step>> {
    // Among more, two of three places would have to be given away.
    if founders != 3 {
        return None;
    }
    // Operators ask the first member first, and lose their time where it hears nobody.
    let unaware = MemberIndex(if dice.permille(500) { 1 } else { 2 });
    let gone = MemberIndex(if dice.permille(500) { 0 } else { 3 - unaware.0 });
    let direction = Direction::Both;
    // A voter more, of whom the one that is cut off does not hear, and before the cluster has noticed that: it refuses one
    // from then on.
    let added_ms = dice.between(5, 100);
    // Who is removed ends some time after the cluster has agreed to it, and its place is free only then.
    let removed_ms = dice.between(1_200, 2_000);
    let given_ms = removed_ms + dice.between(4_500, 5_500);
    let split_ms = given_ms + dice.between(300, 2_000);
    let side = (1 << unaware.0) | (1 << gone.0);
    let mut steps = vec![
        (0, split_ms, Fault::Isolate { target: Target::Member(unaware), direction }),
        (added_ms, 0, Fault::AddMember { learner: false }),
        (removed_ms, 0, Fault::RemoveMember { target: Target::Member(gone) }),
        (given_ms, 0, Fault::AddMember { learner: true }),
        (split_ms, dice.between(2_500, 3_000), Fault::Split { side, direction }),
    ];
    for _ in 0..APPENDS_HELD {
        let (place, blow, hold_ms) = (BEFORE_AN_APPEND, Blow::None, dice.between(2_500, 4_500));
        let fault = Fault::Ambush { member: Some(gone), place, nth: 1, hold_ms, blow, down_ms: 0 };
        steps.push((given_ms - 10, 4_000, fault));
    }
    Some(steps)
}

/// A member falls behind and is sent a snapshot; the sync of its new state's name fails, and later the power goes.
fn doubted_install(dice: &mut Dice, founders: u8) -> Vec<Step> {
    let direction = Direction::Both;
    let steps = (0..3).flat_map(|round| {
        let behind = MemberIndex(u8::try_from(dice.below(u64::from(founders))).unwrap_or(0));
        let start_ms = round * 4_000;
        let away_ms = dice.between(1_000, 1_800);
        let fault = Fault::Ambush {
            member: Some(behind),
            place: BEFORE_THE_INSTALL,
            nth: 1,
            hold_ms: dice.between(1, 20),
            blow: Blow::FailSync,
            down_ms: dice.between(100, 1_500),
        };
        let isolated = Fault::Isolate { target: Target::Member(behind), direction };
        [(start_ms, away_ms, isolated), (start_ms + away_ms / 2, 3_500, fault)]
    });
    steps.collect()
}

/// One member after the other is killed, and the head of its state rots before it starts again.
fn rotten_heads(dice: &mut Dice) -> Vec<Step> {
    let steps = (0..6).map(|round| {
        let target = Target::Follower(u8::try_from(dice.below(4)).unwrap_or(0));
        let key = dice.bits() >> 12;
        let fault = Fault::Rot { target, area: DamageArea::EngineHead, key, down: true };
        (round * 2_000, dice.between(50, 300), fault)
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::PLACES;
    use crate::plan::generate::generate;

    #[test]
    fn the_places_named_here_are_the_products() {
        for named in [BEFORE_THE_INSTALL, BEFORE_AN_APPEND] {
            assert!(PLACES.iter().any(|place| place.name == named.0), "{named:?}");
        }
    }

    #[test]
    fn a_scene_has_the_stage_to_itself() {
        let mut scenes = 0;
        for plan in (0..100).map(generate) {
            let is_of_scene = |planned: &&PlannedFault| (FIRST_ID..FIRST_ID + 1_000).contains(&planned.id);
            if plan.faults.iter().any(|planned| is_of_scene(&planned)) {
                scenes += 1;
                let mut others = plan.faults.iter().filter(|planned| !is_of_scene(planned));
                assert!(others.all(|other| other.at_ms >= QUIET_START_MS + SCENE_MS), "seed {}", plan.seed);
            }
        }
        assert!(scenes > 5, "{scenes}");
    }
}
