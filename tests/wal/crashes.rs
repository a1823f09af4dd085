//! A crash at every single write, sync and name change of a story, and of the recovery that follows.

use quorate::storage::wal::WalRecord;
use quorate_disk::{Call, Crash};

use crate::harness::{Machine, Step, entry, log_id, vote};

/// Everything a log does, several times over, in few calls: votes, batches small and large, cuts, purges that
/// recycle, seals, changes of segment, a batch larger than a segment.
fn story() -> Vec<Step> {
    let commit = |records| Step::Commit(records, None);
    vec![
        commit(vec![WalRecord::Vote(vote(1, 1))]),
        commit(vec![entry(1, 0, b"zero"), entry(1, 1, &[1; 3000])]),
        Step::Commit(vec![entry(1, 2, &[2; 6000])], Some(log_id(1, 1))),
        Step::Seal,
        commit(vec![WalRecord::Vote(vote(2, 2)), WalRecord::TruncateAfter(Some(log_id(1, 1)))]),
        commit(vec![entry(2, 2, &[3; 100])]),
        commit(vec![entry(2, 3, &[4; 9000])]),
        Step::Commit(vec![entry(2, 4, b"four")], Some(log_id(2, 3))),
        commit(vec![WalRecord::Vote(vote(3, 3))]),
        Step::Purge(log_id(2, 2)),
        Step::Prepare,
        Step::Seal,
        commit(vec![entry(3, 5, &[5; 40_000])]),
        Step::Commit(vec![entry(3, 6, b"six")], Some(log_id(3, 6))),
        commit(vec![WalRecord::TruncateAfter(Some(log_id(3, 6))), entry(3, 7, &[6; 2000])]),
        Step::Purge(log_id(3, 6)),
        commit(vec![entry(3, 8, b"eight")]),
        Step::Seal,
    ]
}

fn run(machine: &mut Machine) {
    for step in story() {
        if !machine.step(&step) {
            return;
        }
    }
}

/// The story, with a crash at the `nth` call; `None` when the story has fewer.
fn crashed(seed: u64, call: Call, nth: u64, crash: Crash) -> Option<Machine> {
    let mut machine = Machine::new(seed);
    machine.arm(call, nth, crash);
    if machine.open("first start") {
        run(&mut machine);
    }
    machine.disk.died().then_some(machine)
}

fn each_crash() -> impl Iterator<Item = (Call, Crash)> {
    [Call::Write, Call::Sync, Call::Name]
        .into_iter()
        .flat_map(|call| [Crash::Kill, Crash::PowerLoss].map(|crash| (call, crash)))
}

#[test]
fn a_crash_at_every_call_of_the_story() {
    let (mut crashes, mut torn) = (0_u64, 0);
    for (call, crash) in each_crash() {
        for nth in 1.. {
            // Different seeds: other sectors survive.
            let mut ended = true;
            for seed in 0..2 {
                let Some(mut machine) = crashed(seed, call, nth, crash) else { continue };
                ended = false;
                let told = format!("seed {seed}, {crash:?} in {call:?} {nth}");
                if seed % 2 == 1 {
                    // What a kill leaves in the page cache is still lost later.
                    machine.power_loss();
                }
                assert!(machine.open(&told), "{told}: a start");
                machine.power_loss();
                assert!(machine.open(&told), "{told}: a start after a power loss");
                machine.still_works(&told);
                crashes += 1;
                torn += machine.torn;
            }
            if ended {
                break;
            }
        }
    }
    assert!(crashes > 250, "only {crashes} crashes");
    assert!(torn > 10, "only {torn} torn tails");
}

#[test]
fn a_crash_at_every_call_of_the_recovery_after_every_ninth_crash() {
    let mut crashes = 0_u64;
    for (call, crash) in each_crash() {
        for nth in (1..).step_by(9) {
            let mut ended = true;
            for (again, second) in each_crash() {
                for mth in 1.. {
                    let seed = nth * 7 + mth;
                    let Some(mut machine) = crashed(seed, call, nth, crash) else { break };
                    ended = false;
                    let told =
                        format!("seed {seed}, {crash:?} in {call:?} {nth}, {second:?} in {again:?} {mth}");
                    machine.arm(again, mth, second);
                    if machine.open(&told) {
                        break;
                    }
                    // A third start, on whatever two crashes left; then the power goes all the same.
                    assert!(machine.open(&told), "{told}: a start");
                    machine.power_loss();
                    assert!(machine.open(&told), "{told}: a start after a power loss");
                    machine.still_works(&told);
                    crashes += 1;
                }
            }
            if ended {
                break;
            }
        }
    }
    assert!(crashes > 400, "only {crashes} crashes");
}
