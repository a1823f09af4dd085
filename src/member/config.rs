//! What a member is told when it starts: who it is, whom it belongs to, and everything that can be tuned.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{CorruptionChecks, limits};
use crate::machine::command::Member as MemberInfo;
use crate::machine::watch::{CatchUpBudget, WatchLimits};
use crate::member::Security;
use crate::storage::engine::{ENGINE_CACHE_BYTES_DEFAULT, EngineKind};
use crate::types::{ClusterId, MemberId};

/// What one member is and whom it belongs to.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// Its human-readable name.
    pub name: String,
    /// Its id.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The members that it starts with: the initial cluster, the same on every member, or those of the cluster that
    /// it joins. What its disk knows is newer.
    pub members: Vec<MemberInfo>,
    /// Whether it joins a cluster that runs already: with an empty disk it then waits to be led, and founds nothing.
    pub joins: bool,
    /// Where members of the cluster were reached when it was set up: asked while nobody leads, for a member that
    /// joined and has heard of no other yet. Of those whom its list knows, the list decides. May be empty.
    pub seeds: Vec<String>,
    /// Where its peers reach it, as other members are told.
    pub peer_urls: Vec<String>,
    /// Where its peers reach it: the address to bind.
    pub peer_listen: SocketAddr,
    /// Where its clients reach it: the addresses to bind.
    pub client_listen: Vec<SocketAddr>,
    /// Where its clients reach it, as other members and clients are told.
    pub client_urls: Vec<String>,
    /// Which engine holds its state.
    pub engine: EngineKind,
    /// Who may connect, how others are connected to, and what shows who a client is.
    pub security: Security,
    /// Everything that can be tuned.
    pub knobs: Knobs,
}

/// Everything that can be tuned; the defaults are production's.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// How often a leader says that it lives.
    pub heartbeat_interval: Duration,
    /// A follower that hears nothing for this long, or a little longer, thinks of an election.
    pub election_timeout: Duration,
    /// Size of one WAL segment, bytes.
    pub wal_segment_bytes: u64,
    /// A snapshot is taken, and the log purged, after this many applied entries.
    pub snapshot_entries: u64,
    /// Or after this many bytes of WAL.
    pub snapshot_wal_bytes: u64,
    /// Entries kept behind a snapshot, for followers that lag a little.
    pub keep_entries: u64,
    /// Memory the state engine may use for its pages, bytes.
    pub engine_cache_bytes: usize,
    /// Logical bytes that the state may take; `None` is no limit.
    pub quota_bytes: Option<u64>,
    /// Operations at one level of a transaction.
    pub max_txn_ops: usize,
    /// Requests in one batch.
    pub batch_requests_max: usize,
    /// Bytes of one batch.
    pub batch_bytes_max: usize,
    /// Bytes of one request.
    pub request_bytes_max: usize,
    /// Batches in flight.
    pub batches_in_flight_max: usize,
    /// Unanswered requests before new ones are refused.
    pub open_requests_max: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether changes of the members are refused that would leave too few of them started or in touch.
    pub strict_reconfig: bool,
    /// Learners in the cluster.
    pub learners_max: u32,
    /// Whether a member that has lost its log may have itself taken back under another id.
    pub self_repair: bool,
    /// What watches may hold in memory.
    pub watch_limits: WatchLimits,
    /// How much history one step of a watch's catch-up reads.
    pub watch_catch_up: CatchUpBudget,
    /// How often an idle watcher that asked for it is told the revision.
    pub watch_progress_interval: Duration,
    /// How often the member looks after itself: deletes what is compacted, lets the log be purged.
    pub maintenance_interval: Duration,
    /// How often a leader looks for expired leases.
    pub lease_tick: Duration,
    /// The least time between two checkpoints of what a lease has left. A change of leader can give a lease back
    /// this much life, or a tenth of its TTL if that is more.
    pub lease_checkpoint_interval: Duration,
    /// A session ends at a member when its token was not shown there for this long.
    pub session_ttl: Duration,
    /// How dear it is to check a password: each step doubles it. From 4 to 31.
    pub bcrypt_cost: u32,
    /// Which comparisons with other members are made.
    pub corruption_checks: CorruptionChecks,
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs {
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            wal_segment_bytes: 64 << 20,
            snapshot_entries: 100_000,
            snapshot_wal_bytes: limits::SNAPSHOT_WAL_BYTES,
            keep_entries: limits::SNAPSHOT_CATCHUP_ENTRIES,
            engine_cache_bytes: ENGINE_CACHE_BYTES_DEFAULT,
            quota_bytes: Some(2 << 30),
            max_txn_ops: 128,
            batch_requests_max: 1_000,
            batch_bytes_max: 1 << 20,
            request_bytes_max: 1_572_864,
            batches_in_flight_max: 4,
            open_requests_max: 5_000,
            request_timeout: Duration::from_secs(7),
            strict_reconfig: true,
            learners_max: 1,
            self_repair: false,
            watch_limits: WatchLimits::default(),
            watch_catch_up: CatchUpBudget::default(),
            watch_progress_interval: limits::WATCH_PROGRESS_INTERVAL,
            maintenance_interval: limits::MAINTENANCE_INTERVAL,
            lease_tick: limits::LEASE_TICK,
            lease_checkpoint_interval: limits::LEASE_CHECKPOINT_INTERVAL,
            session_ttl: limits::SESSION_TTL,
            bcrypt_cost: limits::BCRYPT_COST,
            corruption_checks: CorruptionChecks::default(),
        }
    }
}
