//! Seed to plan. Swarm: every seed draws a subset of fault families, rates and knobs of its own, so that rare
//! combinations come up and no family drowns another.
//!
//! The same seed gives the same plan on every machine: integers and [`Dice`] alone.

mod faults;
mod knobs;
mod speed;
mod workload;

use super::dice::{Dice, Purpose};
use super::{MemberPlan, Plan, VERSION};

pub use speed::speed;

/// The plan of a seed.
pub fn generate(seed: u64) -> Plan {
    let mut shape = Dice::keyed(seed, Purpose::Shape, 0);
    let members: u8 = if shape.permille(650) { 3 } else { 5 };
    let duration_ms = shape.between(70, 85) * 1000;
    let families = faults::families(seed);
    Plan {
        version: VERSION,
        seed,
        schedule_seed: Dice::keyed(seed, Purpose::Schedule, 0).bits(),
        duration_ms,
        members: (0..u64::from(members)).map(|index| member(seed, index)).collect(),
        knobs: knobs::draw(seed),
        clients: workload::clients(seed, members, duration_ms),
        faults: faults::draw(seed, members, duration_ms, &families),
        families,
    }
}

/// A member's clock: most run nearly right, some as wrong as the stated bound of 1 % allows.
fn member(seed: u64, index: u64) -> MemberPlan {
    let mut dice = Dice::keyed(seed, Purpose::Member, index);
    let bound = if dice.permille(200) { 10_000 } else { 200 };
    let clock_ppm = dice.signed(-bound, bound);
    let wall_bound = if dice.permille(300) { 86_400_000 } else { 500 };
    MemberPlan { clock_ppm, wall_offset_ms: dice.signed(-wall_bound, wall_bound) }
}
