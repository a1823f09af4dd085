//! The chances of a message: how long it takes and how often it is lost, drawn by what it is and by nothing else.
//!
//! The key is the plan's schedule seed, the link, the call, the direction, and the message's number in the call.
//! So a call that is taken out of a plan re-rolls neither other calls nor other links.

use std::time::Duration;

use super::Link;
use super::weather::Conditions;
use crate::plan::dice::{Dice, Purpose};

/// A lost message is sent again after this long at the earliest, milliseconds.
const AGAIN_LEAST_MS: u64 = 20;
/// And after this long at the latest, milliseconds; twice as long after each further loss.
const AGAIN_MOST_MS: u64 = 200;
/// The most times in a row that one message is lost.
const LOSSES_MAX: u32 = 8;

/// Which way a message of a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the caller.
    There,
    /// To the caller.
    Back,
}

/// The chances of one call's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chances {
    seed: u64,
    link: u64,
    call: u64,
}

/// A number that stands for a text.
pub fn key_of(text: &str) -> u64 {
    text.bytes().fold(0, |key, byte| key.wrapping_mul(257).wrapping_add(u64::from(byte)))
}

/// One key of two.
fn mixed(first: u64, second: u64) -> u64 {
    // An odd multiplier and a rotation keep pairs of small numbers apart.
    (first ^ second.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

impl Chances {
    /// The chances of the `nth` call with this `path` over a link, or of a call with this `name`.
    pub fn new(seed: u64, link: Link, path: &str, nth: u64) -> Chances {
        let ends = u64::from(u32::from(link.from)) << 32 | u64::from(u32::from(link.to));
        Chances { seed, link: ends, call: mixed(key_of(path), nth) }
    }

    /// What happens to message `number` the `time`th time that it sets out.
    pub fn message(&self, direction: Direction, number: u64, time: u64) -> Dice {
        let way = match direction {
            Direction::There => 0,
            Direction::Back => 1,
        };
        let message = number << 8 | time.min(127) << 1 | way;
        Dice::keyed_twice(self.seed, Purpose::Delivery, self.link, mixed(self.call, message))
    }
}

/// How long a message takes under these conditions, losses included.
pub fn travel(dice: &mut Dice, conditions: Conditions) -> Duration {
    let mut micros = conditions.latency_us.draw(dice);
    for losses in 0..LOSSES_MAX {
        if !dice.permille(conditions.loss_permille) {
            break;
        }
        micros = micros.saturating_add(again_micros(dice) << losses);
    }
    Duration::from_micros(micros)
}

/// How long a message that found its link cut waits after the link is there again.
pub fn resume(dice: &mut Dice, conditions: Conditions) -> Duration {
    Duration::from_micros(again_micros(dice)) + travel(dice, conditions)
}

fn again_micros(dice: &mut Dice) -> u64 {
    dice.between(AGAIN_LEAST_MS, AGAIN_MOST_MS) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Span;

    fn link(from: u8, to: u8) -> Link {
        Link { from: [10, 0, 0, from].into(), to: [10, 0, 0, to].into() }
    }

    #[test]
    fn chances_depend_on_seed_link_call_direction_and_number() {
        let base = Chances::new(1, link(1, 2), "/a", 0);
        let first = base.message(Direction::There, 0, 0).bits();
        assert_eq!(first, Chances::new(1, link(1, 2), "/a", 0).message(Direction::There, 0, 0).bits());
        for mut other in [
            Chances::new(2, link(1, 2), "/a", 0).message(Direction::There, 0, 0),
            Chances::new(1, link(2, 1), "/a", 0).message(Direction::There, 0, 0),
            Chances::new(1, link(1, 2), "/b", 0).message(Direction::There, 0, 0),
            Chances::new(1, link(1, 2), "/a", 1).message(Direction::There, 0, 0),
            base.message(Direction::Back, 0, 0),
            base.message(Direction::There, 1, 0),
            base.message(Direction::There, 0, 1),
        ] {
            assert_ne!(first, other.bits());
        }
    }

    #[test]
    fn nothing_is_lost_in_fair_weather_and_losses_cost_time() {
        let span = Span::new(100, 300);
        let chances = Chances::new(1, link(1, 2), "/a", 0);
        let took = |loss, number| {
            travel(&mut chances.message(Direction::There, number, 0), Conditions::new(span, loss))
        };
        let fair = (0..500).map(|number| took(0, number));
        assert!(fair.clone().all(|took| (100..=300).contains(&took.as_micros())));
        assert!(fair.collect::<std::collections::BTreeSet<_>>().len() > 50, "they differ");
        let late = (0..500).filter(|number| took(400, *number) >= Duration::from_millis(AGAIN_LEAST_MS));
        assert!((150..250).contains(&late.count()), "about four of ten");
        assert!(took(1000, 0) < Duration::from_secs(60), "not even then for ever");
    }
}
