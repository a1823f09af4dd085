//! Draws the faults of single links and calls.

use quorate_check::types::ClientId;

use super::faults::direction;
use crate::plan::dice::Dice;
use crate::plan::{Family, Fault, Target};

/// Clients that a fault may strike: every seed has at least so many.
const CLIENTS: u64 = 6;

/// A fault of one of these families, and how long it lasts in milliseconds.
pub(super) fn fault(dice: &mut Dice, family: Family, target: Target, members: u8) -> (Fault, u64) {
    let other = u8::try_from(dice.below(u64::from(members.saturating_sub(1)))).unwrap_or(0);
    let long = dice.between(1_000, 6_000);
    let fault = match family {
        Family::Flap if dice.permille(500) => {
            // Shorter and longer than an election.
            Fault::Flap { target, direction: direction(dice), period_ms: dice.between(20, 1_500) }
        }
        Family::Flap => Fault::Swizzle { key: dice.below(1 << 32), permille: dice.between(200, 1_000) },
        Family::Link if dice.permille(500) => {
            let most_us = dice.between(20, 1_500) * 1000;
            Fault::SlowLink { target, other, direction: direction(dice), least_us: most_us / 4, most_us }
        }
        Family::Link => {
            Fault::LossyLink { target, other, direction: direction(dice), permille: dice.between(100, 800) }
        }
        Family::Reset => Fault::Reset { target, every_ms: dice.between(20, 1_500) },
        Family::Copies => Fault::Copies { permille: dice.between(50, 600) },
        _ if dice.permille(600) => {
            let client = ClientId(1 + dice.below(CLIENTS));
            Fault::ClientCut { client, target, direction: direction(dice) }
        }
        _ => Fault::ClientReset { target, every_ms: dice.between(50, 1_500) },
    };
    (fault, long)
}
