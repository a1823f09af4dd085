//! The product's knobs and the world's base conditions for one run.
//!
//! Product knobs are small on purpose: a minute of simulated time must see segments change, snapshots and purges.
//! Plain knobs, the default, are those of a quiet day: a plan that leaves a knob out gets the plain one, and a plan
//! that is shrunk gets as many of them as its failure allows.

use serde::{Deserialize, Serialize};

/// From one number to another, both included; the unit is in the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Span {
    /// A span.
    pub const fn new(least: u64, most: u64) -> Span {
        Span { least, most }
    }

    /// A number from the span.
    pub fn draw(self, dice: &mut super::dice::Dice) -> u64 {
        dice.between(self.least.min(self.most), self.most)
    }
}

/// Everything that is set once for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// How often a leader says that it lives.
    pub heartbeat_ms: u64,
    /// Silence after which a follower thinks of an election; what is drawn is a little longer.
    pub election_ms: u64,
    /// Size of a WAL segment.
    pub wal_segment_bytes: u64,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Or WAL bytes between two snapshots.
    pub snapshot_wal_bytes: u64,
    /// Entries kept behind a snapshot.
    pub keep_entries: u64,
    /// The most requests in one batch.
    pub batch_requests_max: u64,
    /// How long a message between members is under way.
    pub latency_us: Span,
    /// Messages lost of a thousand, all the time.
    pub loss_permille: u64,
    /// How long a message between a client and a member is under way.
    pub client_latency_us: Span,
    /// How long a sync of the disk takes.
    pub disk_sync_us: Span,
    /// How long a read of the disk takes.
    pub disk_read_us: Span,
    /// Jobs of a thousand that a worker starts late.
    pub late_job_permille: u64,
    /// How late such a job starts.
    pub late_job_us: Span,
    /// Legal disturbances taken, of a thousand that product code offers.
    pub disturbance_permille: u64,
    /// Memory of the state engine's cache; none is the product's own default, which holds all of a run's state, so
    /// that nothing is ever read from the disk again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_cache_bytes: Option<u64>,
    /// How often a member looks after itself: deletes what is compacted, lets its log be purged.
    pub maintenance_ms: u64,
    /// How often an idle watcher that asks for it is told of progress.
    pub watch_progress_ms: u64,
    /// How long the cluster has at the end for each thing that it must come to: one state, or an answer. What has not
    /// come by then is a violation of liveness.
    pub settle_ms: u64,
    /// Logical bytes that the state may take; none is the product's own default, which no run comes near to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// How often the leader compares members with each other; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_ms: Option<u64>,
    /// Whether a member that starts compares itself with the others before it serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compare_at_start: bool,
    /// Whether a member that has lost its log has itself taken back; otherwise its operator puts the disk right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_repair: bool,
}

impl Default for Knobs {
    /// Plain knobs: nothing is lost, late or disturbed, and no snapshot comes by itself.
    fn default() -> Knobs {
        Knobs {
            heartbeat_ms: 100,
            election_ms: 500,
            wal_segment_bytes: 64 << 10,
            snapshot_entries: 100_000,
            snapshot_wal_bytes: 64 << 20,
            keep_entries: 100,
            batch_requests_max: 64,
            latency_us: Span::new(500, 1_000),
            loss_permille: 0,
            client_latency_us: Span::new(1_000, 2_000),
            disk_sync_us: Span::new(200, 1_000),
            disk_read_us: Span::new(5, 100),
            late_job_permille: 0,
            late_job_us: Span::new(1_000, 1_000),
            disturbance_permille: 0,
            engine_cache_bytes: None,
            maintenance_ms: 100,
            watch_progress_ms: 700,
            settle_ms: 20_000,
            quota_bytes: None,
            compare_ms: None,
            compare_at_start: false,
            self_repair: false,
        }
    }
}
