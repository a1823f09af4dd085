//! The guilt of each fault that a shrunk plan still has: by how much the failure becomes rarer without it.

use std::fmt;

use super::parts::Part;
use super::trials::Trials;
use crate::plan::{Fault, Plan, PlannedFault, Target};
use crate::signature::Signature;

/// Schedules that each rate is taken over.
pub const SCHEDULES: u64 = 20;

/// How often a plan fails, with and without one of its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guilt {
    /// The fault.
    pub fault: PlannedFault,
    /// Runs that fail with it, of [`SCHEDULES`].
    pub with: u64,
    /// Runs that fail without it, of as many.
    pub without: u64,
}

impl Guilt {
    /// The drop in the rate, in runs of [`SCHEDULES`]; 0 when the plan fails no less without the fault.
    pub fn drop(&self) -> u64 {
        self.with.saturating_sub(self.without)
    }
}

impl fmt::Display for Guilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: fails {} of {SCHEDULES} with it, {} of {SCHEDULES} without",
            named(&self.fault),
            self.with,
            self.without
        )
    }
}

/// The faults of a plan, the guiltiest first; those that there was no time for are left out.
pub fn rank(trials: &mut Trials, signature: &Signature, plan: &Plan) -> Vec<Guilt> {
    let Some(with) = trials.count_failing(signature, plan, SCHEDULES) else { return Vec::new() };
    let mut guilt: Vec<Guilt> = Vec::new();
    for fault in &plan.faults {
        let others: Vec<u64> = Part::Faults.names(plan).into_iter().filter(|id| *id != fault.id).collect();
        let without = Part::Faults.keep(plan, &others);
        let Some(without) = trials.count_failing(signature, &without, SCHEDULES) else { break };
        guilt.push(Guilt { fault: *fault, with, without });
    }
    sort(&mut guilt);
    guilt
}

/// A passing plan as near to this failing one as can be: without one fault, the guiltiest first, or without one
/// operation, the latest first.
pub fn nearest_passing(trials: &mut Trials, plan: &Plan, guilt: &[Guilt]) -> Option<Plan> {
    let without = |part: Part, gone: u64| {
        let others: Vec<u64> = part.names(plan).into_iter().filter(|id| *id != gone).collect();
        part.keep(plan, &others)
    };
    let faults = guilt.iter().map(|guilt| without(Part::Faults, guilt.fault.id));
    let operations = Part::Operations.names(plan).into_iter().rev();
    trials.first_passing(faults.chain(operations.map(|id| without(Part::Operations, id))))
}

/// The guiltiest first, the earlier of equals.
fn sort(guilt: &mut [Guilt]) {
    guilt.sort_by_key(|guilt| (std::cmp::Reverse(guilt.drop()), guilt.fault.at_ms, guilt.fault.id));
}

/// The fault in words: `power loss of m2 at 3.2 s`.
pub fn named(planned: &PlannedFault) -> String {
    let whom = match planned.fault.target() {
        None => String::new(),
        Some(Target::Member(index)) => format!(" of {index}"),
        Some(Target::Leader) => " of the leader".to_owned(),
        Some(Target::Follower(nth)) => format!(" of follower {}", u32::from(nth) + 1),
    };
    let at = planned.at_ms;
    format!("{}{whom} at {}.{:03} s", words(&planned.fault), at / 1000, at % 1000)
}

/// What happens, in words.
fn words(fault: &Fault) -> String {
    let words = match fault {
        Fault::Kill { .. } => "kill",
        Fault::KillAll {} => "kill of all",
        Fault::RollingRestart { .. } => "rolling restart",
        Fault::KillInStart { .. } => "kill and kill in start",
        Fault::PowerLoss { .. } => "power loss",
        Fault::PowerLossAll {} => "power loss of all",
        Fault::KillThenPowerLoss { .. } => "kill, then power loss",
        Fault::Pause { .. } => "pause",
        Fault::Isolate { .. } => "isolation",
        Fault::DiskStall { .. } => "stuck disk",
        Fault::DiskError { .. } => "disk error",
        Fault::DiskDeath { .. } => "death in a disk call",
        Fault::DeathAfter { .. } => "death at an edge of the log",
        Fault::Ambush { place, .. } => return format!("ambush at \"{}\"", place.0),
        Fault::DiskFull { .. } => "full disk",
        Fault::Rot { .. } => "rot",
        Fault::RotBeyond { .. } => "rot of a majority",
        Fault::Unreadable { .. } => "unreadable sectors",
        Fault::WriteAstray { lost: true, .. } => "lost write",
        Fault::LoseDisk { .. } => "lost disk",
        Fault::DeathInRepair { .. } => "death in a repair",
        Fault::WriteAstray { lost: false, .. } => "misdirected write",
        other => return other.name().replace('/', ": "),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MemberIndex;

    fn guilt(id: u64, with: u64, without: u64) -> Guilt {
        let fault = Fault::PowerLoss { target: Target::Member(MemberIndex(1)) };
        Guilt { fault: PlannedFault { id, at_ms: 3_200, for_ms: 1, fault }, with, without }
    }

    #[test]
    fn guilt_is_told_as_a_rate() {
        assert_eq!(
            guilt(1, 20, 1).to_string(),
            "power loss of m2 at 3.200 s: fails 20 of 20 with it, 1 of 20 without"
        );
    }

    #[test]
    fn the_guiltiest_comes_first() {
        let mut all = vec![guilt(1, 15, 15), guilt(2, 15, 0), guilt(3, 15, 17), guilt(4, 15, 2)];
        sort(&mut all);
        let order: Vec<u64> = all.iter().map(|guilt| guilt.fault.id).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }
}
