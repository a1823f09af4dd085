//! Seeded draws: every choice of a run comes from its seed and from who chooses.
//!
//! Real processes do not repeat themselves, so a seed repeats the questions and the kills of a run, not its course.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws of one chooser.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The draws of `chooser` in the run of `seed`.
    pub fn new(seed: u64, chooser: u64) -> Dice {
        let mut key = [0_u8; 32];
        for (place, word) in key.chunks_exact_mut(8).zip([seed, chooser]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Dice(ChaCha8Rng::from_seed(key))
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        assert!(least <= most, "a draw needs a range that holds something");
        least + self.below((most - least).saturating_add(1))
    }

    /// True this many times out of a hundred.
    pub fn percent(&mut self, rate: u64) -> bool {
        self.below(100) < rate
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        let bound = u64::try_from(among.len()).expect("a list has fewer than 2^64 entries");
        let place = usize::try_from(self.below(bound)).expect("the draw is below a length");
        *among.get(place).expect("a draw needs something to draw from")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_choosers_differ() {
        let draws = |seed, chooser| {
            let mut dice = Dice::new(seed, chooser);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7, 1), draws(7, 1));
        assert_ne!(draws(7, 1), draws(7, 2));
        assert_ne!(draws(7, 1), draws(8, 1));
        assert!(draws(7, 1).iter().all(|draw| *draw < 1000));
    }
}
