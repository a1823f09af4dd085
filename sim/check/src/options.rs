//! What the oracles have to know about a run beyond its history, and how long they may think.

use crate::types::Nanos;

/// Settings of a judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// By how much a member's monotonic clock may run fast or slow, in millionths.
    pub clock_rate_error_ppm: u64,
    /// When some member's monotonic clock jumped forward: a lease's time across such a moment is not judged.
    pub clock_jumps: Vec<Nanos>,
    /// Whether the store has a quota that it may run out of; without one nobody may be refused for space.
    pub has_quota: bool,
    /// Whether the store compacts by itself, so that a compaction needs no client.
    pub auto_compaction: bool,
    /// Whether time-to-live and lease lists are promised to reflect everything acknowledged before.
    pub lease_reads_linearizable: bool,
    /// How long after its last possible renewal and its time to live a lease may take to vanish once healthy.
    pub lease_gone_slack: Nanos,
    /// The most steps the search for the order of unknown operations may take beyond a straight replay.
    pub search_steps_max: u64,
    /// After how many violations an oracle stops looking.
    pub violations_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            clock_rate_error_ppm: 0,
            clock_jumps: Vec::new(),
            has_quota: true,
            auto_compaction: false,
            lease_reads_linearizable: true,
            lease_gone_slack: Nanos::default().plus_secs(10),
            search_steps_max: 1_000_000,
            violations_max: 20,
        }
    }
}
