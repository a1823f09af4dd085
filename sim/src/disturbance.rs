//! Which of the product's offers of a legal disturbance a run takes, and for how long it delays.
//!
//! Swarm: every seed has places that are off, places that are taken now and then, and a few that are taken very
//! often, because a rare situation wants one place pressed hard while all else runs smoothly. Some seeds press all
//! places of one source file, or of the files of their focus: what stands together is rare together. Whether a place is on depends on the seed and
//! its name; each offer is drawn by name and count, so that one offer more or less elsewhere changes nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::hooks::PLACES;
use crate::plan::Plan;
use crate::plan::dice::{Dice, Purpose};

/// How often a place that is pressed hard is taken, of a thousand. Below a thousand, so that code that offers until
/// it is not taken goes on.
const HARD_PERMILLE: u64 = 300;

/// Places of a thousand that are slow in a seed: what passes there takes as long as a tick, a heartbeat or an election.
const SLOW_PERMILLE: u64 = 90;

/// Seeds of a thousand that press all places of one file.
const PRESSED_FILE_PERMILLE: u64 = 500;

/// What a run does with the offers.
#[derive(Debug)]
pub struct Disturbances {
    seed: u64,
    schedule_seed: u64,
    permille: u64,
    /// All places of these files are pressed hard.
    pressed: Vec<&'static str>,
    places: BTreeMap<&'static str, Place>,
}

/// One place in this run.
#[derive(Clone, Copy, Debug)]
struct Place {
    key: u64,
    permille: u64,
    /// Whether delays may be long enough for an election.
    long: bool,
    /// Whether most are.
    slow: bool,
    offers: u64,
}

impl Disturbances {
    /// The disturbances of a plan.
    pub fn new(plan: &Plan) -> Disturbances {
        let files: BTreeSet<&'static str> = PLACES.iter().map(|place| place.file).collect();
        let files: Vec<&'static str> = files.into_iter().collect();
        // No name has this key.
        let mut dice = Dice::keyed_twice(plan.seed, Purpose::Disturbance, 0, 0);
        let pressed = dice.permille(PRESSED_FILE_PERMILLE);
        Disturbances {
            pressed: match plan.focus {
                Some(focus) => focus.files().to_vec(),
                None => dice.pick(&files).copied().filter(|_| pressed).into_iter().collect(),
            },
            seed: plan.seed,
            schedule_seed: plan.schedule_seed,
            permille: plan.knobs.disturbance_permille,
            places: BTreeMap::new(),
        }
    }

    /// Whether the disturbance at `name` happens now, and how long it takes where it is a delay.
    pub fn decide(&mut self, name: &'static str) -> Option<Duration> {
        if self.permille == 0 {
            return None;
        }
        let (seed, permille, pressed) = (self.seed, self.permille, &self.pressed);
        let place = self.places.entry(name).or_insert_with(|| {
            let hard = PLACES.iter().any(|place| place.name == name && pressed.contains(&place.file));
            Place::draw(seed, name, if hard { HARD_PERMILLE } else { permille }, hard)
        });
        place.offers += 1;
        let mut dice = Dice::keyed_twice(self.schedule_seed, Purpose::Disturbance, place.key, place.offers);
        dice.permille(place.permille).then(|| place.delay(&mut dice))
    }
}

impl Place {
    fn draw(seed: u64, name: &str, permille: u64, hard: bool) -> Place {
        let mut key = 0_u64;
        for byte in name.bytes() {
            key = key.wrapping_mul(257).wrapping_add(u64::from(byte));
        }
        // Offers count from 1: this draw is none of theirs.
        let mut dice = Dice::keyed_twice(seed, Purpose::Disturbance, key, 0);
        let slow = dice.permille(SLOW_PERMILLE);
        let drawn = dice
            .weighted(&[
                (if hard { 0 } else { 4 }, 0),
                (3, permille),
                (2, permille.saturating_mul(3)),
                (1, HARD_PERMILLE),
            ])
            .unwrap_or(0)
            .min(HARD_PERMILLE);
        let permille = if slow { dice.between(50, 200) } else { drawn };
        Place { key, permille, long: dice.permille(if hard { 600 } else { 300 }), slow, offers: 0 }
    }

    fn delay(&self, dice: &mut Dice) -> Duration {
        let micros = match dice.below(100) {
            0..=79 if self.slow => dice.between(20_000, 400_000),
            0..=69 => dice.between(500, 5_000),
            99 if self.long => dice.between(300_000, 2_000_000),
            94..=99 if self.long => dice.between(50_000, 300_000),
            _ => dice.between(5_000, 50_000),
        };
        Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks;
    use crate::plan::generate;

    fn taken(seed: u64, permille: u64) -> Vec<u64> {
        let mut plan = generate::generate(seed);
        plan.knobs.disturbance_permille = permille;
        let mut disturbances = Disturbances::new(&plan);
        let count = |place: &hooks::Place, disturbances: &mut Disturbances| {
            (0..200).filter(|_| disturbances.decide(place.name).is_some()).count()
        };
        hooks::PLACES
            .iter()
            .map(|place| u64::try_from(count(place, &mut disturbances)).unwrap_or_default())
            .collect()
    }

    #[test]
    fn a_seed_presses_some_places_and_leaves_others_alone() {
        let taken_now = taken(3, 20);
        assert_eq!(taken_now, taken(3, 20), "the same offers are taken again");
        assert_ne!(taken_now, taken(4, 20));
        assert!(taken_now.contains(&0) && taken_now.iter().any(|count| *count > 20), "{taken_now:?}");
        assert!(taken(3, 0).iter().all(|count| *count == 0), "switched off is off");
    }

    #[test]
    fn a_delay_is_never_longer_than_two_seconds() {
        let mut plan = generate::generate(1);
        plan.knobs.disturbance_permille = HARD_PERMILLE;
        for seed in 0..20 {
            plan.seed = seed;
            let mut disturbances = Disturbances::new(&plan);
            let delays = (0..500).filter_map(|_| disturbances.decide("apply begins late"));
            assert!(delays.into_iter().all(|delay| delay <= Duration::from_secs(2)));
        }
    }

    #[test]
    fn every_place_has_a_name_of_its_own() {
        let mut names: Vec<_> = hooks::PLACES.iter().map(|place| place.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
