//! Shorter plans: cuts the tail off, and moves what is left closer together.
//!
//! Only times change. The order in which operations and faults begin and end stays what it was.

use std::collections::{BTreeMap, BTreeSet};

use super::plainer::Way;
use crate::plan::Plan;

/// Gaps worth a try, the boldest first, milliseconds.
const GAPS_MS: [u64; 7] = [10, 50, 150, 400, 1_000, 2_000, 5_000];
/// Times at which the story may begin: a cluster needs some time to come up. Milliseconds.
const STARTS_MS: [u64; 4] = [100, 500, 1_000, 1_500];
/// Where a window of a plan begins, milliseconds.
const WINDOW_START_MS: u64 = 1_500;
/// What operations have after the last planned moment, to be asked and answered late, milliseconds.
const SLACK_MS: u64 = 5_000;
/// Gaps up to this are not worth a trial of their own, milliseconds.
const GAP_SMALL_MS: u64 = 60;

/// The plan without anything that begins after `at_ms`; `None` when nothing does.
pub fn cut(plan: &Plan, at_ms: u64) -> Option<Plan> {
    let mut cut = plan.clone();
    for client in &mut cut.clients {
        client.operations.retain(|operation| operation.at_ms <= at_ms);
    }
    cut.faults.retain(|fault| fault.at_ms <= at_ms);
    cut.families = cut.faults.iter().map(|fault| fault.fault.family()).collect();
    cut.duration_ms = duration(&cut).min(plan.duration_ms);
    (cut != *plan).then_some(cut)
}

/// What is under way or begins in the `span_ms` before `at_ms`, and no more, soon after the start; `None` when that is
/// everything.
pub fn window(plan: &Plan, at_ms: u64, span_ms: u64) -> Option<Plan> {
    let from_ms = at_ms.checked_sub(span_ms).filter(|from_ms| *from_ms > WINDOW_START_MS)?;
    let mut window = cut(plan, at_ms).unwrap_or_else(|| plan.clone());
    for client in &mut window.clients {
        client.operations.retain(|operation| operation.at_ms >= from_ms);
    }
    window.faults.retain(|fault| fault.at_ms.saturating_add(fault.for_ms) >= from_ms);
    for fault in window.faults.iter_mut().filter(|fault| fault.at_ms < from_ms) {
        fault.for_ms = fault.at_ms.saturating_add(fault.for_ms).saturating_sub(from_ms);
        fault.at_ms = from_ms;
    }
    window.families = window.faults.iter().map(|fault| fault.fault.family()).collect();
    moved(&window, |nth, gap| if nth == 0 { gap.min(WINDOW_START_MS) } else { gap })
}

/// The plan with no more time behind it than it needs.
pub fn fitted(plan: &Plan) -> Plan {
    Plan { duration_ms: duration(plan).min(plan.duration_ms), ..plan.clone() }
}

/// The ways to move a plan closer together: all gaps at once, then each of the larger ones alone.
pub fn closer(plan: &Plan) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for gap_ms in GAPS_MS {
        for start_ms in STARTS_MS {
            ways.push(Box::new(move |plan| {
                moved(plan, |nth, gap| gap.min(if nth == 0 { start_ms } else { gap_ms }))
            }));
        }
    }
    for start_ms in STARTS_MS {
        ways.push(Box::new(move |plan| {
            moved(plan, |nth, gap| if nth == 0 { gap.min(start_ms) } else { gap })
        }));
    }
    let instants = instants(plan);
    let gaps = instants.iter().skip(1).zip(&instants).map(|(later, earlier)| later.abs_diff(*earlier));
    for (which, _) in gaps.enumerate().skip(1).filter(|(_, gap)| *gap > GAP_SMALL_MS) {
        for part in [8, 2] {
            ways.push(Box::new(move |plan| {
                moved(plan, |nth, gap| if nth == which && gap > GAP_SMALL_MS { gap / part } else { gap })
            }));
        }
    }
    ways
}

/// The start, and every moment at which something planned begins or ends.
fn instants(plan: &Plan) -> Vec<u64> {
    let begins = plan.operations().map(|(_, operation)| operation.at_ms);
    let faults = plan.faults.iter().flat_map(|fault| [fault.at_ms, fault.at_ms.saturating_add(fault.for_ms)]);
    let all: BTreeSet<u64> = begins.chain(faults).chain([0]).collect();
    all.into_iter().collect()
}

/// The plan with its gaps, counted from the start, as long as `length` says; `None` when that changes nothing.
fn moved(plan: &Plan, length: impl Fn(usize, u64) -> u64) -> Option<Plan> {
    let instants = instants(plan);
    let mut places = BTreeMap::from([(0, 0)]);
    let mut place = 0;
    for (nth, (later, earlier)) in instants.iter().skip(1).zip(&instants).enumerate() {
        place += length(nth, later.abs_diff(*earlier)).max(1);
        places.insert(*later, place);
    }
    let place_of = |at: u64| places.get(&at).copied().unwrap_or(at);
    let mut moved = plan.clone();
    for operation in moved.clients.iter_mut().flat_map(|client| &mut client.operations) {
        operation.at_ms = place_of(operation.at_ms);
    }
    for fault in &mut moved.faults {
        let end = place_of(fault.at_ms.saturating_add(fault.for_ms));
        fault.at_ms = place_of(fault.at_ms);
        fault.for_ms = end.saturating_sub(fault.at_ms);
    }
    let moved = fitted(&moved);
    (moved != *plan).then_some(moved)
}

/// When the last thing that is planned begins or ends, milliseconds.
pub fn end(plan: &Plan) -> u64 {
    instants(plan).last().copied().unwrap_or(0)
}

fn duration(plan: &Plan) -> u64 {
    end(plan).saturating_add(SLACK_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::generate::generate;

    /// What begins or ends, in order of time; what happens at one moment in order of names.
    fn order(plan: &Plan) -> Vec<(u64, &'static str)> {
        let mut all: Vec<(u64, u64, &'static str)> =
            plan.operations().map(|(_, operation)| (operation.at_ms, operation.id.0, "operation")).collect();
        for fault in &plan.faults {
            all.push((fault.at_ms, fault.id, "begins"));
            all.push((fault.at_ms + fault.for_ms, fault.id, "ends"));
        }
        all.sort_unstable();
        all.into_iter().map(|(_, name, what)| (name, what)).collect()
    }

    fn small(seed: u64) -> Plan {
        let mut plan = generate(seed);
        for client in &mut plan.clients {
            client.operations = client.operations.iter().step_by(40).cloned().collect();
        }
        plan
    }

    #[test]
    fn moving_closer_keeps_the_order_and_never_takes_longer() {
        for seed in 0..4 {
            let plan = small(seed);
            for way in closer(&plan) {
                let Some(moved) = way(&plan) else { continue };
                assert_eq!(order(&moved), order(&plan), "seed {seed}");
                assert!(moved.duration_ms <= plan.duration_ms, "seed {seed}");
                assert_eq!(moved.check(), Ok(()), "seed {seed}");
            }
        }
    }

    #[test]
    fn the_boldest_way_leaves_no_large_gap() {
        let plan = small(3);
        let moved = closer(&plan).first().and_then(|way| way(&plan)).expect("a generated plan has gaps");
        let instants = instants(&moved);
        assert!(instants.windows(2).skip(1).all(|pair| pair[1] - pair[0] <= GAPS_MS[0]), "{instants:?}");
        assert!(instants[1] <= STARTS_MS[0]);
    }

    #[test]
    fn a_window_holds_what_led_up_to_a_moment_and_begins_early() {
        let plan = small(2);
        for (at_ms, span_ms) in [(40_000, 5_000), (60_000, 20_000)] {
            let window = window(&plan, at_ms, span_ms).expect("a generated plan goes on for longer");
            assert_eq!(window.check(), Ok(()));
            let moved = at_ms - span_ms - WINDOW_START_MS;
            let names = |plan: &Plan, from: u64, to: u64| -> Vec<u64> {
                let inside = plan.operations().filter(|(_, it)| (from..=to).contains(&it.at_ms));
                inside.map(|(_, operation)| operation.id.0).collect()
            };
            assert_eq!(names(&window, 0, u64::MAX), names(&plan, at_ms - span_ms, at_ms));
            assert!(window.faults.iter().all(|fault| fault.at_ms <= at_ms - moved));
            assert!(window.duration_ms < plan.duration_ms);
        }
        assert_eq!(window(&plan, 3_000, 5_000), None, "there is nothing before it to leave out");
    }

    #[test]
    fn a_cut_keeps_what_began_before_it() {
        let plan = small(5);
        let cut = cut(&plan, 20_000).expect("a generated plan goes on for longer");
        assert!(cut.operations().all(|(_, operation)| operation.at_ms <= 20_000));
        assert!(cut.faults.iter().all(|fault| fault.at_ms <= 20_000) && !cut.faults.is_empty());
        assert!(cut.duration_ms < plan.duration_ms);
        assert_eq!(super::cut(&cut, 20_000), None, "a second cut finds nothing");
    }
}
