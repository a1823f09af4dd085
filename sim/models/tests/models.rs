//! Every model is searched whole, every planted bug is found, and every property that must always hold is violated by
//! one of them.
//!
//! The figures stand in the crate's README.md; a search that finds other figures fails, so that the table is true. A
//! search has no randomness: one thread, breadth first, a fixed hash.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helper: it fails by panicking, and shows what it found"
)]

use std::collections::BTreeSet;

use quorate_models::catalogue;
use quorate_models::planted::Planted;

const README: &str = include_str!("../README.md");

fn holds(name: &str) {
    let model = catalogue::find(name).expect("the model is in the catalogue");
    let mut rows = Vec::new();
    let figures = (model.exhaust)(Planted::Nothing);
    println!("{name}: {} states, {} steps, depth {}", figures.states, figures.steps, figures.depth);
    assert!(figures.violated.is_empty(), "{name} is violated: {:#?}", figures.violated);
    assert!(figures.missed.is_empty(), "{name} never reaches {:?}", figures.missed);
    rows.push(format!("| `{name}` | {} | {} | {} |", figures.states, figures.steps, figures.depth));
    let mut can_fail = BTreeSet::new();
    for bug in model.planted {
        let found = (model.hunt)(*bug).unwrap_or_else(|| panic!("{name} does not notice {bug}"));
        println!("{name}: {bug} violates {:?} in {} steps", found.property, found.steps.len());
        rows.push(format!("| `{name}` | `{bug}` | {} | {} |", found.property, found.steps.len()));
        can_fail.insert(found.property);
    }
    let always = (model.always)().into_iter();
    let unproved: Vec<&str> = always.filter(|property| !can_fail.contains(property)).collect();
    assert!(unproved.is_empty(), "no bug planted in {name} violates {unproved:?}");
    rows.retain(|row| !README.contains(row));
    assert!(rows.is_empty(), "the README should say:\n{}", rows.join("\n"));
}

macro_rules! models {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                holds($name);
            }
        )*

        #[test]
        fn every_model_is_searched() {
            let listed: Vec<&str> = catalogue::ALL.iter().map(|model| model.name).collect();
            assert_eq!(listed, [$($name),*]);
        }
    };
}

models! {
    no_live_lease_dies_early: "lease",
    a_watcher_sees_every_event_once_or_a_cancel: "watch",
    a_linearizable_read_misses_no_acknowledged_write: "read-index",
    a_request_is_applied_at_most_once: "dedupe",
    a_snapshot_is_as_good_as_its_log: "snapshot",
    a_newcomer_costs_no_quorum: "learner",
    a_lock_has_one_holder: "lock",
    the_machine_behind_the_log_is_linearizable: "linear",
    a_long_read_sees_its_revision: "pinned",
    a_transaction_compares_before_it_writes: "txn",
}
