//! What can be taken out of a plan: clients, faults, operations.
//!
//! Nothing that is left changes its name or its draws. An operation may refer to one that is gone: a lease that
//! nobody grants and a value that nobody writes are things a client can ask about, so the plan stays valid.

use std::collections::BTreeSet;

use crate::plan::Plan;

/// The kinds of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whole clients.
    Clients,
    /// Faults.
    Faults,
    /// Operations, of whatever client.
    Operations,
}

impl Part {
    /// The names of all parts of this kind, by time; clients by name.
    pub fn names(self, plan: &Plan) -> Vec<u64> {
        match self {
            Part::Clients => plan.clients.iter().map(|client| client.id.0).collect(),
            Part::Faults => plan.faults.iter().map(|fault| fault.id).collect(),
            Part::Operations => {
                let mut operations: Vec<(u64, u64)> =
                    plan.operations().map(|(_, operation)| (operation.at_ms, operation.id.0)).collect();
                operations.sort_unstable();
                operations.into_iter().map(|(_, id)| id).collect()
            }
        }
    }

    /// The plan with these parts of the kind and no others.
    pub fn keep(self, plan: &Plan, names: &[u64]) -> Plan {
        let names: BTreeSet<u64> = names.iter().copied().collect();
        let mut plan = plan.clone();
        match self {
            Part::Clients => plan.clients.retain(|client| names.contains(&client.id.0)),
            Part::Faults => plan.faults.retain(|fault| names.contains(&fault.id)),
            Part::Operations => {
                for client in &mut plan.clients {
                    client.operations.retain(|operation| names.contains(&operation.id.0));
                }
            }
        }
        plan.families = plan.faults.iter().map(|fault| fault.fault.family()).collect();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::generate::generate;

    #[test]
    fn taking_any_half_out_leaves_a_plan_that_can_be_run() {
        for seed in 0..5 {
            let plan = generate(seed);
            for part in [Part::Clients, Part::Faults, Part::Operations] {
                let names = part.names(&plan);
                for parity in 0..2 {
                    let half: Vec<u64> = names
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| at % 2 == parity)
                        .map(|(_, name)| *name)
                        .collect();
                    let left = part.keep(&plan, &half);
                    assert_eq!(left.check(), Ok(()), "seed {seed}, {part:?}");
                    assert_eq!(part.names(&left), half, "seed {seed}, {part:?}");
                }
                let all = part.keep(&plan, &names);
                let same = all.clients == plan.clients && all.faults == plan.faults;
                assert!(same, "seed {seed}, {part:?}: keeping all changes nothing");
            }
        }
    }
}
