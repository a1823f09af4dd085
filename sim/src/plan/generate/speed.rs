//! The plan that the simulator's own speed is measured with: always the same cluster and load, and no fault.
//!
//! Three members, eight clients of fifty operations a second each, and the knobs of an ordinary run, so that
//! segments change and snapshots are built as they do there.

use super::workload;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::{ClientPath, Ending, Knobs, MemberPlan, Plan, Span, VERSION};

/// The seed that draws the operations.
const SEED: u64 = 0;
/// Members.
const MEMBERS: u8 = 3;
/// Clients.
const CLIENTS: u64 = 8;
/// From one operation of a client to its next in the mean, milliseconds.
const GAP_MS: u64 = 20;

/// The plan, for so many simulated seconds of load.
pub fn speed(secs: u64) -> Plan {
    let duration_ms = secs * 1000;
    Plan {
        version: VERSION,
        seed: SEED,
        schedule_seed: Dice::keyed(SEED, Purpose::Schedule, 0).bits(),
        duration_ms,
        founders: None,
        members: vec![MemberPlan::default(); usize::from(MEMBERS)],
        knobs: Knobs {
            heartbeat_ms: 100,
            election_ms: 1000,
            wal_segment_bytes: 64 << 10,
            snapshot_entries: 50,
            snapshot_wal_bytes: 256 << 10,
            keep_entries: 30,
            latency_us: Span::new(100, 1_500),
            client_latency_us: Span::new(1_000, 4_000),
            disk_sync_us: Span::new(100, 1_500),
            settle_ms: 60_000,
            ..Knobs::default()
        },
        focus: None,
        families: std::collections::BTreeSet::new(),
        client_path: ClientPath::Direct,
        observer_path: ClientPath::Direct,
        clients: workload::steady(SEED, MEMBERS, duration_ms, CLIENTS, 0, GAP_MS),
        faults: Vec::new(),
        ending: Ending::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_what_the_speed_is_stated_for() {
        let plan = speed(60);
        assert_eq!(plan.check(), Ok(()));
        assert_eq!((plan.members.len(), plan.clients.len(), plan.faults.len()), (3, 8, 0));
        let operations = plan.operations().count();
        let expected = 8 * 50 * 59;
        assert!(operations.abs_diff(expected) < expected / 20, "{operations}");
    }
}
