//! What happened in a run, in numbers, and the medians of many runs.
//!
//! A sweep counts only when its median run was eventful enough ([`Figures::DUE`]).

use serde::{Deserialize, Serialize};

/// One run in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Client operations that were answered or refused.
    pub operations: u64,
    /// Of a thousand operations, those whose outcome is known.
    pub known_permille: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Times that another member led than before.
    pub leader_changes: u64,
    /// WAL segments opened, all members together.
    pub wal_segments: u64,
    /// Snapshots built, all members together.
    pub snapshots_built: u64,
    /// Snapshots installed or logs purged, all members together.
    pub installs_and_purges: u64,
    /// Messages between members.
    pub messages: u64,
    /// Crashes of members, planned ones included.
    pub crashes: u64,
}

/// One number of [`Figures`], and what the median run must reach.
#[derive(Clone, Copy)]
pub struct Due {
    /// Its name for people.
    pub name: &'static str,
    /// Takes it out.
    pub of: fn(&Figures) -> u64,
    /// The least that counts.
    pub least: u64,
}

impl Figures {
    /// What the median run must reach for a sweep to count.
    pub const DUE: [Due; 7] = [
        Due { name: "simulated ms", of: |figures| figures.simulated_ms, least: 60_000 },
        Due { name: "operations", of: |figures| figures.operations, least: 2_000 },
        Due { name: "faults", of: |figures| figures.faults, least: 10 },
        Due { name: "leader changes", of: |figures| figures.leader_changes, least: 3 },
        Due { name: "WAL segments", of: |figures| figures.wal_segments, least: 5 },
        Due { name: "installs and purges", of: |figures| figures.installs_and_purges, least: 2 },
        Due { name: "known of 1000", of: |figures| figures.known_permille, least: 900 },
    ];
}

/// The median of some numbers, the lower one of the two in the middle; `None` of nothing.
pub fn median(mut numbers: Vec<u64>) -> Option<u64> {
    numbers.sort_unstable();
    let middle = numbers.len().checked_sub(1)? / 2;
    numbers.get(middle).copied()
}

/// The median of one number over many runs; 0 of no run.
pub fn median_of(runs: &[Figures], of: fn(&Figures) -> u64) -> u64 {
    median(runs.iter().map(of).collect()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![7]), Some(7));
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(vec![9, 1, 5, 6]), Some(5), "of two in the middle, the lower: no rounding up");
    }

    #[test]
    fn medians_are_taken_figure_by_figure() {
        let runs: Vec<Figures> = [(1, 30), (2, 20), (3, 10)]
            .map(|(operations, faults)| Figures { operations, faults, ..Figures::default() })
            .to_vec();
        let medians: Vec<(&str, u64)> =
            Figures::DUE.iter().map(|due| (due.name, median_of(&runs, due.of))).collect();
        assert!(medians.contains(&("operations", 2)), "{medians:?}");
        assert!(medians.contains(&("faults", 20)), "{medians:?}");
        assert!(medians.contains(&("leader changes", 0)), "{medians:?}");
    }
}
