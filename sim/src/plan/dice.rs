//! Seeded draws, keyed by what they are about.
//!
//! Every decision has a stream of its own: the key is the seed, a purpose, and a number (an operation's, a
//! fault's, a job's). So taking one thing out of a plan leaves every other draw as it was, which is what makes a
//! failing plan shrink. ChaCha8 alone, and integers alone: no floating point, no other source of chance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a draw is about. The numbers are part of what a seed means: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The schedule seed that a plan starts with.
    Schedule,
    /// Sizes: members, clients, duration.
    Shape,
    /// Product knobs and the world's base conditions.
    Knobs,
    /// One member's clock.
    Member,
    /// Which fault families and request kinds a seed uses.
    Swarm,
    /// One client as a whole.
    Client,
    /// One operation.
    Operation,
    /// One fault.
    Fault,
    /// The way of one call between client and member.
    CallDelay,
    /// One job of a worker.
    Job,
    /// A member's own randomness.
    Entropy,
    /// A member's disk.
    Disk,
    /// A legal disturbance in product code.
    Disturbance,
    /// One watch of an observer.
    Observer,
    /// The disk atlas: which of its families a seed uses, and its faults.
    Atlas,
    /// Where damage strikes.
    Damage,
    /// The part of the product that a seed strikes hardest, its ambushes, and its stories of members that come and go.
    Focus,
    /// One message on its way.
    Delivery,
    /// Whether and when clients are asked who they are, and what is then asked.
    Guard,
    /// Who keeps the line that an operation stands in.
    Keeper,
    /// Whether members have themselves taken back, and what is lost then.
    Repair,
    /// What an operator does for the members' upkeep, and what strikes them then.
    Upkeep,
}

impl Purpose {
    const fn number(self) -> u64 {
        match self {
            Purpose::Schedule => 1,
            Purpose::Shape => 2,
            Purpose::Knobs => 3,
            Purpose::Member => 4,
            Purpose::Swarm => 5,
            Purpose::Client => 6,
            Purpose::Operation => 7,
            Purpose::Fault => 8,
            Purpose::CallDelay => 9,
            Purpose::Job => 10,
            Purpose::Entropy => 11,
            Purpose::Disk => 12,
            Purpose::Disturbance => 13,
            Purpose::Observer => 14,
            Purpose::Atlas => 20,
            Purpose::Damage => 21,
            Purpose::Focus => 22,
            Purpose::Delivery => 40,
            Purpose::Guard => 41,
            Purpose::Keeper => 42,
            Purpose::Repair => 43,
            Purpose::Upkeep => 50,
        }
    }
}

/// The stream of draws that belongs to one key.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream for `purpose` and `number`.
    pub fn keyed(seed: u64, purpose: Purpose, number: u64) -> Dice {
        Dice::keyed_twice(seed, purpose, number, 0)
    }

    /// The stream for `purpose` and two numbers.
    pub fn keyed_twice(seed: u64, purpose: Purpose, first: u64, second: u64) -> Dice {
        let mut key = [0_u8; 32];
        let words = [seed, purpose.number(), first, second];
        for (place, word) in key.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Dice(ChaCha8Rng::from_seed(key))
    }

    /// Sixty-four bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        assert!(least <= most, "a draw needs a range that holds something");
        least + self.below((most - least).saturating_add(1))
    }

    /// A signed number from `least` to `most`, both included.
    pub fn signed(&mut self, least: i64, most: i64) -> i64 {
        assert!(least <= most, "a draw needs a range that holds something");
        let offset = self.below(least.abs_diff(most).saturating_add(1));
        least.saturating_add_unsigned(offset)
    }

    /// True this many times out of a thousand.
    pub fn permille(&mut self, rate: u64) -> bool {
        self.below(1000) < rate
    }

    /// One of the choices; `None` when there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).unwrap_or(u64::MAX);
        choices.get(usize::try_from(self.below(count)).unwrap_or(usize::MAX))
    }

    /// One of the choices, each as often as its weight says; `None` when all weights are 0.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> Option<T> {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        for (weight, choice) in choices {
            if left < *weight {
                return Some(*choice);
            }
            left -= weight;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_its_key_alone() {
        let first = Dice::keyed(1, Purpose::Fault, 2).bits();
        assert_eq!(first, Dice::keyed(1, Purpose::Fault, 2).bits());
        for other in [
            Dice::keyed(2, Purpose::Fault, 2),
            Dice::keyed(1, Purpose::Operation, 2),
            Dice::keyed(1, Purpose::Fault, 3),
            Dice::keyed_twice(1, Purpose::Fault, 2, 1),
        ] {
            assert_ne!(first, other.clone().bits());
        }
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_both_ends() {
        let mut dice = Dice::keyed(1, Purpose::Shape, 0);
        let drawn: std::collections::BTreeSet<u64> = (0..500).map(|_| dice.between(3, 7)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        let drawn: std::collections::BTreeSet<i64> = (0..500).map(|_| dice.signed(-2, 1)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1]);
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.weighted::<u8>(&[(0, 1)]), None);
        assert_eq!(dice.weighted(&[(0, 1), (5, 2)]), Some(2));
    }
}
