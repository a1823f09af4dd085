//! Plans as a seed makes them: the same every time, the same after a trip through JSON, and varied enough.

use std::collections::BTreeSet;

use quorate_sim::plan::generate::generate;
use quorate_sim::plan::operation::{Ask, op_parts};
use quorate_sim::plan::{Family, Plan, Target};

/// Seeds within which everything must have come up.
const SEEDS: u64 = 200;

#[test]
fn a_seed_makes_one_plan() {
    for seed in [0, 1, 7, u64::MAX] {
        let first = serde_json::to_string(&generate(seed)).unwrap();
        assert_eq!(first, serde_json::to_string(&generate(seed)).unwrap(), "seed {seed}");
    }
    assert_ne!(generate(1).clients, generate(2).clients);
    assert_ne!(generate(1).faults, generate(2).faults);
}

#[test]
fn a_plan_survives_json() {
    for seed in 0..20 {
        let plan = generate(seed);
        let text = serde_json::to_string_pretty(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan, "seed {seed}");
    }
}

#[test]
fn a_plan_survives_a_file_and_nonsense_is_refused() {
    let path = std::env::temp_dir().join(format!("quorate-plan-{}.json", std::process::id()));
    let mut plan = generate(3);
    plan.save(&path).unwrap();
    assert_eq!(Plan::load(&path).unwrap(), plan);
    let refused = |plan: &Plan, what: &str| {
        plan.save(&path).unwrap();
        let error = Plan::load(&path).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    plan.founders = Some(0);
    refused(&plan, "founders do not fit");
    (plan.founders, plan.ending.broken) = (None, Vec::new());
    plan.members.truncate(1);
    refused(&plan, "not there");
    plan.version += 1;
    refused(&plan, "version");
    std::fs::remove_file(&path).unwrap();
}

/// Every object within, with the path to it; lists are passed through by their members' places.
fn objects(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            found.push(path.to_owned());
            for (name, value) in fields {
                objects(value, &format!("{path}/{name}"), found);
            }
        }
        serde_json::Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                objects(item, &format!("{path}/{place}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_misspelt_field_is_refused_wherever_it_stands() {
    // One object of each shape: the same path but for the places in lists, the same kind.
    let mut shapes = BTreeSet::new();
    for seed in 0..12 {
        let plan = serde_json::to_value(generate(seed)).unwrap();
        let mut paths = Vec::new();
        objects(&plan, "", &mut paths);
        for path in paths {
            let kind = |tag: &str| plan.pointer(&format!("{path}/{tag}")).map(ToString::to_string);
            let names = path.split('/').filter(|part| part.parse::<u64>().is_err());
            let shape = (names.collect::<Vec<_>>().join("/"), kind("kind").or(kind("call")).or(kind("op")));
            if !shapes.insert(shape) {
                continue;
            }
            let mut wrong = plan.clone();
            let object = wrong.pointer_mut(&path).and_then(|it| it.as_object_mut()).unwrap();
            object.insert("mispelt".to_owned(), 7.into());
            let read = serde_json::from_value::<Plan>(wrong);
            assert!(read.is_err(), "a field of {path} that nobody knows was passed over");
        }
    }
    assert!(shapes.len() > 60, "{}", shapes.len());
}

#[test]
fn every_plan_can_be_run_and_is_eventful() {
    for seed in 0..SEEDS {
        let plan = generate(seed);
        assert_eq!(plan.check(), Ok(()), "seed {seed}");
        let founders = plan.founders.map_or(plan.members.len(), usize::from);
        assert!([1, 3, 5].contains(&founders) && plan.members.len() <= founders + 2, "seed {seed}");
        assert!(plan.duration_ms >= 60_000, "seed {seed}");
        assert!(plan.operations().count() >= 2_500, "seed {seed}: {}", plan.operations().count());
        assert!(plan.faults.len() >= 10, "seed {seed}");
        let unseating = |fault: &&quorate_sim::plan::PlannedFault| {
            fault.fault.target() == Some(Target::Leader) && Family::UNSEATING.contains(&fault.fault.family())
        };
        assert!(plan.faults.iter().filter(unseating).count() >= 4, "seed {seed}");
        assert!(plan.faults.is_sorted_by_key(|fault| fault.at_ms), "seed {seed}");
        for fault in &plan.faults {
            assert!(plan.families.contains(&fault.fault.family()), "seed {seed}: {fault:?}");
            assert!(fault.at_ms < plan.duration_ms, "seed {seed}: {fault:?}");
        }
    }
}

#[test]
fn the_swarm_covers_every_family_and_every_kind_and_leaves_each_out_too() {
    let mut drawn = BTreeSet::new();
    let mut left_out = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for seed in 0..SEEDS {
        let plan = generate(seed);
        for family in Family::ALL {
            if plan.families.contains(&family) { &mut drawn } else { &mut left_out }.insert(family);
        }
        kinds.extend(plan.faults.iter().map(|fault| fault.fault.name()));
        calls.extend(plan.operations().map(|(_, op)| match op.ask {
            Ask::Put(_) => "put",
            Ask::Range(_) => "range",
            Ask::Delete(_) => "delete",
            Ask::Txn(_) => "txn",
            Ask::Compact { .. } => "compact",
            Ask::LeaseGrant { .. } => "grant",
            Ask::LeaseRevoke { .. } => "revoke",
            Ask::LeaseKeepAlive { .. } => "keep-alive",
            Ask::LeaseTimeToLive { .. } => "time-to-live",
            Ask::LeaseList {} => "leases",
            Ask::Stream { .. } => "stream",
            Ask::HashKv { .. } => "hash",
            Ask::Status {} => "status",
            Ask::MakeRoom {} => "make room",
            Ask::Image {} => "image",
            Ask::Defragment {} => "defragment",
            Ask::ListAlarms { .. } => "list alarms",
            Ask::RaiseAlarm { .. } => "raise alarm",
            Ask::ClearAlarm { .. } => "clear alarm",
            Ask::ClearAlarms { .. } => "clear alarms",
            Ask::Downgrade { .. } => "downgrade",
            Ask::Hold(_) => "hold",
            Ask::Lead { .. } => "lead",
            Ask::Observe { .. } => "observe",
        }));
    }
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), Family::ALL);
    assert_eq!(left_out.into_iter().collect::<Vec<_>>(), Family::ALL);
    assert_eq!(kinds.len(), 53, "{kinds:?}");
    assert_eq!(calls.len(), 24, "{calls:?}");
}

#[test]
fn operations_refer_only_to_earlier_ones_of_their_client() {
    for seed in 0..20 {
        for (client, op) in generate(seed).operations() {
            let (owner, nth) = op_parts(op.id);
            assert_eq!(owner, client.id);
            let referred = match &op.ask {
                Ask::LeaseRevoke { grant }
                | Ask::LeaseKeepAlive { grant }
                | Ask::LeaseTimeToLive { grant, .. } => Some(*grant),
                Ask::Put(put) => put.lease,
                _ => None,
            };
            if let Some(referred) = referred {
                assert_eq!(op_parts(referred).0, client.id);
                assert!(op_parts(referred).1 < nth, "{referred} before {}", op.id);
            }
        }
    }
}

#[test]
fn the_plan_written_by_hand_is_sound_and_is_the_one_that_is_documented() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("plans/leader-loses-power.json");
    let plan = Plan::load(&path).unwrap();
    assert_eq!((plan.members.len(), plan.operations().count(), plan.faults.len()), (3, 5, 2));
    assert_eq!(
        plan.knobs.heartbeat_ms,
        quorate_sim::plan::Knobs::default().heartbeat_ms,
        "left out, so plain"
    );
    assert_eq!(plan.knobs.snapshot_entries, 3);
    let documented = std::fs::read_to_string(here.join("../docs/simulator.md")).unwrap();
    assert!(
        documented.contains(&std::fs::read_to_string(&path).unwrap()),
        "docs/simulator.md shows another plan"
    );
}

#[test]
fn plans_of_the_corpus_can_be_read_and_are_listed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let listed = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let plans: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    assert!(!plans.is_empty());
    for path in plans {
        Plan::load(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(listed.contains(&*name), "tests/corpus/README.md does not say what {name} found");
    }
}
