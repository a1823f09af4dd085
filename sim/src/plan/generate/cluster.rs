//! Members that come and go.

use super::faults::{QUIET_END_MS, QUIET_START_MS};
use crate::plan::ambush::{Blow, PlaceName};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::{Fault, MemberIndex, PlannedFault, Target};

/// Names of the changes of a story begin here: other families never get so far.
const FIRST_ID: u64 = 4_000;
/// Room for the changes of one story among the names.
const IDS_PER_STORY: u64 = 10;

/// How many places stand free at the start.
pub(super) fn spares(seed: u64) -> u8 {
    let mut dice = Dice::keyed(seed, Purpose::Shape, 5);
    if dice.permille(500) { 1 } else { 2 }
}

/// A change of the cluster. None of them lasts: it is done when the cluster has done it.
pub(super) fn fault(dice: &mut Dice, target: Target) -> (Fault, u64) {
    let fault = match dice.below(12) {
        0 | 1 => Fault::MoveLeader { target },
        2..=4 => Fault::AddMember { learner: dice.permille(500) },
        5 | 6 => Fault::PromoteMember {},
        7 | 8 => Fault::RemoveMember { target },
        _ => Fault::ReplaceMember { target },
    };
    (fault, 0)
}

/// Where a newcomer is that has just begun to hear from its leader.
const FIRST_STEPS: [&str; 4] = [
    "a commit of the log begins late",
    "a commit of the log is told of late",
    "a vote is written late",
    "an append is taken in late",
];

/// Short stories of members that come and go, for a seed that strikes there, in no order: a newcomer that dies before it
/// has heard much and is removed while it is away, and a leader that is removed while a newcomer joins.
pub(super) fn stories(seed: u64, places: u8, duration_ms: u64) -> Vec<PlannedFault> {
    let count = Dice::keyed(seed, Purpose::Focus, FIRST_ID).between(4, 9);
    let room = duration_ms.saturating_sub(QUIET_START_MS + QUIET_END_MS).max(1);
    let stories = (1..=count).flat_map(|story| {
        let first = FIRST_ID + story * IDS_PER_STORY;
        let mut dice = Dice::keyed(seed, Purpose::Focus, first);
        let start_ms = QUIET_START_MS + dice.below(room);
        // Newcomers take the first place that is free.
        let free = if dice.permille(700) { spares(seed) } else { 1 };
        let spare = places - free;
        let newcomer = Target::Member(MemberIndex(spare));
        let learner = dice.permille(500);
        let add = Fault::AddMember { learner };
        let remove_leader = Fault::RemoveMember { target: Target::Leader };
        let steps = match dice.below(5) {
            0 => {
                let killed_ms = dice.between(1, 300);
                let removed_ms = killed_ms + dice.between(10, 1_000);
                vec![
                    (0, 0, add),
                    (killed_ms, dice.between(1_000, 4_000), Fault::Kill { target: newcomer }),
                    (removed_ms, 0, Fault::RemoveMember { target: newcomer }),
                ]
            }
            1 | 2 => {
                let place = dice.pick(&FIRST_STEPS).copied().unwrap_or_default();
                let ambush = Fault::Ambush {
                    member: Some(MemberIndex(spare)),
                    place: PlaceName(place),
                    nth: dice.between(1, 6),
                    hold_ms: dice.between(1, 40),
                    blow: Blow::Kill,
                    down_ms: dice.between(1_500, 5_000),
                };
                let removed_ms = dice.between(100, 1_500);
                vec![
                    (0, 4_000, ambush),
                    (1, 0, add),
                    (removed_ms, 0, Fault::RemoveMember { target: newcomer }),
                ]
            }
            3 => {
                let added_ms = dice.between(1, 100);
                let promoted_ms = added_ms + dice.between(1_000, 4_000);
                vec![(0, 0, remove_leader), (added_ms, 0, add), (promoted_ms, 0, Fault::PromoteMember {})]
            }
            // Is the newcomer ready for its vote while the leader goes?
            _ => vec![(0, 0, Fault::AddMember { learner: false }), (dice.between(20, 800), 0, remove_leader)],
        };
        (first..).zip(steps).map(move |(id, (after_ms, for_ms, fault))| PlannedFault {
            id,
            at_ms: start_ms + after_ms,
            for_ms,
            fault,
        })
    });
    stories.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::PLACES;

    #[test]
    fn the_places_named_here_are_the_products() {
        for named in FIRST_STEPS {
            assert!(PLACES.iter().any(|place| place.name == named), "{named}");
        }
    }
}
