//! Seed to plan. Swarm: every seed draws a subset of fault families, rates and knobs of its own, so that rare
//! combinations come up and no family drowns another.
//!
//! The same seed gives the same plan on every machine: integers and [`Dice`] alone.

mod atlas;
mod cluster;
mod ending;
mod faults;
mod focus;
mod guard;
mod knobs;
mod links;
mod opening;
mod repair;
mod speed;
mod upkeep;
mod workload;

use super::dice::{Dice, Purpose};
use super::{ClientPath, Family, Knobs, MemberPlan, Plan, VERSION};

/// Seeds of a thousand whose cluster begins with a single member.
const ALONE_PERMILLE: u64 = 60;
/// Seeds of a thousand whose clients call members as objects.
const DIRECT_CLIENTS_PERMILLE: u64 = 100;
/// Seeds of a thousand whose observers do. Nothing on the simulated wire holds up a sender, so only these have members
/// with watchers that are too slow.
const DIRECT_OBSERVERS_PERMILLE: u64 = 500;

pub use speed::speed;

/// The plan of a seed.
pub fn generate(seed: u64) -> Plan {
    let mut shape = Dice::keyed(seed, Purpose::Shape, 0);
    let many: u8 = if shape.permille(650) { 3 } else { 5 };
    let members = if Dice::keyed(seed, Purpose::Shape, 6).permille(ALONE_PERMILLE) { 1 } else { many };
    let duration_ms = shape.between(70, 85) * 1000;
    let focus = focus::draw(seed);
    let mut families = faults::families(seed, focus);
    let self_repair = repair::is_allowed(seed, members);
    families.extend(self_repair.then_some(repair::FAMILIES).into_iter().flatten());
    let places = members + if families.contains(&Family::Cluster) { cluster::spares(seed) } else { 0 };
    let faults = faults::draw(seed, places, duration_ms, &families, focus);
    let operators = upkeep::clients(seed, members, duration_ms);
    Plan {
        version: VERSION,
        seed,
        schedule_seed: Dice::keyed(seed, Purpose::Schedule, 0).bits(),
        duration_ms,
        members: (0..u64::from(places)).map(|index| member(seed, index)).collect(),
        founders: (places > members).then_some(members),
        knobs: Knobs { self_repair, ..knobs::draw(seed) },
        focus,
        client_path: path(seed, 2, DIRECT_CLIENTS_PERMILLE),
        observer_path: path(seed, 3, DIRECT_OBSERVERS_PERMILLE),
        clients: workload::clients(seed, places, duration_ms).into_iter().chain(operators).collect(),
        ending: ending::draw(seed, members, &families),
        // With those of what strikes beside what the seed has drawn.
        families: families.into_iter().chain(faults.iter().map(|fault| fault.fault.family())).collect(),
        faults,
    }
}

/// How clients, or observers, reach members.
fn path(seed: u64, number: u64, direct_permille: u64) -> ClientPath {
    let mut dice = Dice::keyed(seed, Purpose::Shape, number);
    if dice.permille(direct_permille) { ClientPath::Direct } else { ClientPath::Wire }
}

/// A member's clock: most run nearly right, some as wrong as the stated bound of 1 % allows.
fn member(seed: u64, index: u64) -> MemberPlan {
    let mut dice = Dice::keyed(seed, Purpose::Member, index);
    let bound = if dice.permille(200) { 10_000 } else { 200 };
    let clock_ppm = dice.signed(-bound, bound);
    let wall_bound = if dice.permille(300) { 86_400_000 } else { 500 };
    MemberPlan { clock_ppm, wall_offset_ms: dice.signed(-wall_bound, wall_bound) }
}
