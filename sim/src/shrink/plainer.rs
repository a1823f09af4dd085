//! Plainer plans: fewer members, plain knobs, exact clocks, simpler requests.
//!
//! Each function gives the ways in which one plan can be made plainer, the boldest first; a way that leads to a
//! plan that cannot be run is left out. Knobs are handled by their names in JSON, so a knob that is added to a plan
//! is made plain without a word here.

use serde_json::Value;

use super::forms;
use crate::plan::operation::{Ask, PATIENCE_MS, PutAsk, RangeAsk, RevisionAt, StepAsk, TxnAsk};
use crate::plan::{Ending, Knobs, MemberIndex, MemberPlan, Plan, PlannedFault, Target};

/// Cluster sizes worth a try.
const SIZES: [u8; 2] = [1, 3];

/// One way to make a plan plainer; `None` where it would change nothing.
pub type Way = Box<dyn Fn(&Plan) -> Option<Plan>>;

fn way(change: impl Fn(&mut Plan) + 'static) -> Way {
    Box::new(move |plan| {
        let mut changed = plan.clone();
        change(&mut changed);
        (changed != *plan && changed.check().is_ok()).then_some(changed)
    })
}

/// Fewer members, the fewest first.
pub fn fewer_members(plan: &Plan) -> Vec<Way> {
    let present = u8::try_from(plan.members.len()).unwrap_or(u8::MAX);
    SIZES.into_iter().filter(|size| *size < present).map(|size| way(move |plan| resize(plan, size))).collect()
}

/// Leaves the first members; who named another names one of them.
fn resize(plan: &mut Plan, size: u8) {
    let fold = |index: u8| index.checked_rem(size).unwrap_or(0);
    plan.members.truncate(usize::from(size));
    plan.founders = plan.founders.map(|founders| founders.min(size)).filter(|founders| *founders < size);
    for operation in plan.clients.iter_mut().flat_map(|client| &mut client.operations) {
        operation.member = MemberIndex(fold(operation.member.0));
    }
    let everybody =
        1_u16.checked_shl(u32::from(size)).map_or(u8::MAX, |bit| u8::try_from(bit - 1).unwrap_or(u8::MAX));
    let faults = std::mem::take(&mut plan.faults).into_iter();
    let faults = faults.filter_map(|planned| {
        rewritten(
            &planned,
            &|name, value| match (name, value.as_u64().and_then(|it| u8::try_from(it).ok())) {
                ("member", Some(index)) => Some(Value::from(fold(index))),
                ("side", Some(side)) => Some(Value::from(side & everybody)),
                _ => None,
            },
        )
    });
    // A cut between nobody and everybody cuts nothing.
    let idle = |planned: &PlannedFault| {
        let side = serde_json::to_value(planned.fault).ok().and_then(|fault| fault.get("side")?.as_u64());
        side.is_some_and(|side| side == 0 || side == u64::from(everybody))
    };
    plan.faults = faults.filter(|planned| !idle(planned)).collect();
    plan.ending.broken.retain(|broken| match broken.target {
        Target::Member(index) => index.0 < size,
        Target::Leader | Target::Follower(_) => true,
    });
    plan.ending.broken.truncate(usize::from(size.saturating_sub(1) / 2));
}

/// The fault with the fields that `change` has something for; `None` when nothing can be made of it.
fn rewritten(planned: &PlannedFault, change: &dyn Fn(&str, &Value) -> Option<Value>) -> Option<PlannedFault> {
    fn walk(value: &mut Value, change: &dyn Fn(&str, &Value) -> Option<Value>) {
        let Value::Object(fields) = value else { return };
        for (name, value) in fields {
            match change(name, value) {
                Some(changed) => *value = changed,
                None => walk(value, change),
            }
        }
    }
    let mut value = serde_json::to_value(planned).ok()?;
    walk(&mut value, change);
    serde_json::from_value(value).ok()
}

/// Plain knobs: all of them, no focus, then one knob at a time.
pub fn plain_knobs() -> Vec<Way> {
    let mut ways = vec![way(|plan| plan.knobs = Knobs::default()), way(|plan| plan.focus = None)];
    let Ok(Value::Object(plain)) = serde_json::to_value(Knobs::default()) else { return ways };
    ways.extend(plain.into_iter().map(|(name, plain)| {
        way(move |plan| {
            let Ok(mut knobs) = serde_json::to_value(plan.knobs) else { return };
            if let Some(knob) = knobs.get_mut(&name) {
                *knob = plain.clone();
            }
            plan.knobs = serde_json::from_value(knobs).unwrap_or(plan.knobs);
        })
    }));
    // Not even mentioned where it is plain.
    ways.push(way(|plan| plan.knobs.self_repair = Knobs::default().self_repair));
    ways
}

/// Plainer endings: everything healed at once, then without one of its demands, or with one member fewer that stays
/// broken.
pub fn plainer_ending(plan: &Plan) -> Vec<Way> {
    let mut ways = vec![
        way(|plan| plan.ending = Ending::default()),
        way(|plan| plan.ending.writes = 0),
        way(|plan| plan.ending.outlives_leases = false),
        way(|plan| plan.ending.power = false),
        way(|plan| plan.ending.changes = false),
        way(|plan| plan.ending.parts = false),
    ];
    ways.extend((0..plan.ending.broken.len()).map(|nth| {
        way(move |plan| {
            if nth < plan.ending.broken.len() {
                plan.ending.broken.remove(nth);
            }
        })
    }));
    ways
}

/// Plainer forms of each fault.
pub fn plainer_faults(plan: &Plan) -> Vec<Way> {
    let ways = plan.faults.iter().flat_map(|planned| {
        let (id, was) = (planned.id, planned.fault);
        forms::plainer(was, planned.for_ms).into_iter().map(move |(form, for_ms)| {
            way(move |plan| {
                // Where it was made plainer already, that form has ways of its own.
                for planned in
                    plan.faults.iter_mut().filter(|planned| planned.id == id && planned.fault == was)
                {
                    (planned.fault, planned.for_ms) = (form, for_ms);
                }
            })
        })
    });
    ways.collect()
}

/// Exact clocks: everybody's, then one member's at a time.
pub fn exact_clocks(plan: &Plan) -> Vec<Way> {
    let mut ways = vec![way(|plan| plan.members.fill(MemberPlan::default()))];
    ways.extend((0..plan.members.len()).map(|index| {
        way(move |plan| {
            if let Some(member) = plan.members.get_mut(index) {
                *member = MemberPlan::default();
            }
        })
    }));
    ways
}

/// Simpler requests: of all operations at once, then of each; transactions lose a step or a condition at a time.
pub fn simpler_requests(plan: &Plan) -> Vec<Way> {
    let mut ways = vec![way(|plan| {
        for operation in plan.clients.iter_mut().flat_map(|client| &mut client.operations) {
            operation.timeout_ms = PATIENCE_MS;
            simplify(&mut operation.ask);
        }
    })];
    for (_, operation) in plan.operations() {
        let id = operation.id;
        let steps = if let Ask::Txn(txn) = &operation.ask { parts_of(txn) } else { 0 };
        for step in (0..steps).rev() {
            ways.push(way(move |plan| {
                on(plan, id, |ask| {
                    if let Ask::Txn(txn) = ask {
                        drop_part(txn, &mut step.clone());
                    }
                });
            }));
        }
        ways.push(way(move |plan| on(plan, id, simplify)));
        ways.push(way(move |plan| on(plan, id, unwrap_transaction)));
    }
    ways
}

fn on(plan: &mut Plan, id: quorate_check::types::OpId, change: impl Fn(&mut Ask)) {
    let operations = plan.clients.iter_mut().flat_map(|client| &mut client.operations);
    for operation in operations.filter(|operation| operation.id == id) {
        change(&mut operation.ask);
    }
}

/// The request without what a plain one does not have.
fn simplify(ask: &mut Ask) {
    match ask {
        Ask::Put(put) => plain_put(put),
        Ask::Range(range) => plain_range(range),
        Ask::Delete(delete) => delete.prev_kv = false,
        Ask::Txn(txn) => plain_txn(txn),
        Ask::LeaseTimeToLive { keys, .. } => *keys = false,
        Ask::Compact { .. }
        | Ask::LeaseGrant { .. }
        | Ask::LeaseRevoke { .. }
        | Ask::LeaseKeepAlive { .. }
        | Ask::LeaseList {}
        | Ask::HashKv { .. }
        | Ask::Status {}
        | Ask::MakeRoom {}
        | Ask::Image {}
        | Ask::Defragment {}
        | Ask::ListAlarms { .. }
        | Ask::RaiseAlarm { .. }
        | Ask::ClearAlarm { .. }
        | Ask::ClearAlarms { .. }
        | Ask::Downgrade { .. }
        | Ask::Lead { .. }
        | Ask::Observe { .. } => {}
        Ask::Stream { range, .. } => *ask = Ask::Range(*range),
        Ask::Hold(hold) => hold.guarded = hold.guarded.min(1),
    }
}

fn plain_put(put: &mut PutAsk) {
    *put = PutAsk { key: put.key, lease: put.lease, ..PutAsk::default() };
}

fn plain_range(range: &mut RangeAsk) {
    *range = RangeAsk {
        limit: 0,
        count_only: false,
        keys_only: false,
        sort_order: quorate_check::history::SortOrder::None,
        sort_target: quorate_check::history::SortTarget::Key,
        modified_since: None,
        ..*range
    };
}

fn plain_txn(txn: &mut TxnAsk) {
    for step in txn.success.iter_mut().chain(&mut txn.failure) {
        match step {
            StepAsk::Put(put) => plain_put(put),
            StepAsk::Range(range) => plain_range(range),
            StepAsk::Delete(delete) => delete.prev_kv = false,
            StepAsk::Txn(inner) => plain_txn(inner),
        }
    }
}

/// Conditions and steps, at every depth.
fn parts_of(txn: &TxnAsk) -> usize {
    let within = |step: &StepAsk| if let StepAsk::Txn(inner) = step { parts_of(inner) } else { 0 };
    let steps = txn.success.iter().chain(&txn.failure);
    txn.compares.len() + steps.map(|step| 1 + within(step)).sum::<usize>()
}

/// Takes out the part that `left` counts down to.
fn drop_part(txn: &mut TxnAsk, left: &mut usize) {
    if *left < txn.compares.len() {
        txn.compares.remove(*left);
        *left = usize::MAX;
        return;
    }
    *left -= txn.compares.len();
    for branch in [&mut txn.success, &mut txn.failure] {
        let mut at = 0;
        while let Some(step) = branch.get_mut(at) {
            if *left == 0 {
                branch.remove(at);
                *left = usize::MAX;
                return;
            }
            *left -= 1;
            if let StepAsk::Txn(inner) = step {
                drop_part(inner, left);
                if *left == usize::MAX {
                    return;
                }
            }
            at += 1;
        }
    }
}

/// A transaction of one step and no condition is that step.
fn unwrap_transaction(ask: &mut Ask) {
    let Ask::Txn(txn) = ask else { return };
    let [step] = txn.success.as_slice() else { return };
    if !txn.compares.is_empty() {
        return;
    }
    let step = match step {
        StepAsk::Put(put) => Ask::Put(*put),
        StepAsk::Range(range) => Ask::Range(RangeAsk { at: RevisionAt::Now, ..*range }),
        StepAsk::Delete(delete) => Ask::Delete(*delete),
        StepAsk::Txn(inner) => Ask::Txn(inner.clone()),
    };
    *ask = step;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Fault;
    use crate::plan::generate::generate;

    #[test]
    fn every_way_leads_to_a_plan_that_can_be_run() {
        for seed in 0..6 {
            let mut plan = generate(seed);
            for client in &mut plan.clients {
                client.operations.truncate(12);
            }
            let ways = fewer_members(&plan).into_iter().chain(plain_knobs()).chain(exact_clocks(&plan));
            let ways = ways.chain(plainer_ending(&plan)).chain(plainer_faults(&plan));
            for way in ways.chain(simpler_requests(&plan)) {
                if let Some(plainer) = way(&plan) {
                    assert_eq!(plainer.check(), Ok(()), "seed {seed}");
                    assert!(plainer != plan, "seed {seed}: a way that leads nowhere");
                }
            }
        }
    }

    #[test]
    fn a_smaller_cluster_has_nobody_left_over() {
        for seed in 0..20 {
            let plan = generate(seed);
            for way in fewer_members(&plan) {
                let fewer = way(&plan).expect("a generated plan has more members than that");
                let members = fewer.members.len();
                assert!(members < plan.members.len());
                for fault in &fewer.faults {
                    if let Fault::Split { side, .. } = fault.fault {
                        assert!(side > 0 && u32::from(side) < (1 << members) - 1, "seed {seed}: {fault:?}");
                    }
                    if let Some(Target::Member(index)) = fault.fault.target() {
                        assert!(usize::from(index.0) < members, "seed {seed}: {fault:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_ways_together_lead_to_plain_knobs() {
        let mut plan = generate(7);
        for way in plain_knobs().into_iter().skip(1) {
            plan = way(&plan).unwrap_or(plan);
        }
        assert_eq!(plan.knobs, Knobs::default(), "one at a time reaches the same as all at once");
    }

    #[test]
    fn a_transaction_loses_one_part_at_a_time() {
        let put = |key| StepAsk::Put(PutAsk { key, ..PutAsk::default() });
        let inner = TxnAsk { success: vec![put(3)], ..TxnAsk::default() };
        let txn =
            TxnAsk { success: vec![put(1), StepAsk::Txn(inner)], failure: vec![put(4)], ..TxnAsk::default() };
        assert_eq!(parts_of(&txn), 4);
        for part in 0..4 {
            let mut smaller = txn.clone();
            drop_part(&mut smaller, &mut part.clone());
            // The inner transaction goes with what is in it.
            assert_eq!(parts_of(&smaller), if part == 1 { 2 } else { 3 }, "part {part}");
        }
        let mut ask = Ask::Txn(TxnAsk { success: vec![put(9)], ..TxnAsk::default() });
        unwrap_transaction(&mut ask);
        assert_eq!(ask, Ask::Put(PutAsk { key: 9, ..PutAsk::default() }));
    }
}
