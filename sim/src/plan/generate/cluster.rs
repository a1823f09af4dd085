//! Members that come and go.

use crate::plan::dice::{Dice, Purpose};
use crate::plan::{Fault, Target};

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
        5 | 6 => Fault::PromoteMember,
        7 | 8 => Fault::RemoveMember { target },
        _ => Fault::ReplaceMember { target },
    };
    (fault, 0)
}
