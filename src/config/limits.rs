//! Limits that options set or that more than one part of the server keeps, by name and with the unit last.
//!
//! Those of one part stand beside it. A queue, buffer, batch or retry without a limit is a bug. Values marked *default*
//! can be set by a flag; the others are the API's or ours. Nothing here is computed at run time.

use std::time::Duration;

// Requests.

/// Default: the largest request a client may send, in bytes of its encoding.
pub const REQUEST_BYTES_MAX: usize = 1_572_864;
/// What a gRPC message may be larger than the request in it, in bytes.
pub const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;
/// Above this a request limit is accepted with a warning, in bytes.
pub const REQUEST_BYTES_WARN: usize = 10 * 1024 * 1024;
/// The largest request limit that can be set, in bytes: the log entry and the record of such a request must each fit into
/// a message between members, [`PEER_MESSAGE_BYTES_MAX`].
pub const REQUEST_BYTES_LARGEST: usize = 32 << 20;
/// The largest message between members, in bytes.
pub const PEER_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Default: operations in a transaction, on each level of nesting.
pub const TXN_OPS_MAX: usize = 128;
/// What a request may take on top of two election timeouts.
pub const REQUEST_TIMEOUT_BASE: Duration = Duration::from_secs(5);

// Ranges and snapshots for clients.

/// Keys in the first piece of a streamed range.
pub const RANGE_STREAM_FIRST_KEYS: usize = 10;
/// Images of the state that are sent at once.
pub const IMAGES_MAX: usize = 2;
/// A client that takes nothing of an image for this long is given up.
pub const IMAGE_STALL_MAX: Duration = Duration::from_secs(60);
/// A peer that takes nothing of the state that it fetches for this long is given up: until then a view of it is held.
pub const FETCH_STALL_MAX: Duration = Duration::from_secs(60);

// Connections.

/// Open files that a process may commonly have: what is counted on where nobody has asked.
pub const FILES_COMMON: u64 = 1_024;
/// Open files that no connection to a member may take: those of the disk, and of its calls to its peers. Where a process
/// may have few, it is half of them.
pub const FILES_KEPT: u64 = 256;
/// Connections of peers to the members of a process, of which others' may take none. Where there are few for all, it is a
/// quarter of them.
pub const PEER_CONNECTIONS_MAX: usize = 256;
/// Connections of clients to the members of a process, however many files it may have open.
pub const CLIENT_CONNECTIONS_MAX: usize = 1 << 20;
/// Connections of one kind at once that have not said anything to the point yet. Where there are places for few, it is
/// half of them.
pub const ARRIVING_MAX: usize = 512;

// Watches.

/// Default: how often an idle watcher is told the revision.
pub const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// The shortest progress interval that may be asked for.
pub const WATCH_PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

// Upkeep.

/// How often a member looks after itself: bootstrap, compaction, purging.
pub const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(100);

// Leases.

/// Expired leases that one step proposes to revoke.
pub const LEASE_EXPIRIES_PER_STEP_MAX: usize = 500;
/// How often a leader looks for expired leases: with the step above, a thousand may end in a second, so that a mass
/// expiry leaves room for clients.
pub const LEASE_TICK: Duration = Duration::from_millis(500);
/// Steps of expiry that may wait for the quorum at once.
pub const LEASE_EXPIRY_BATCHES_IN_FLIGHT_MAX: usize = 2;
/// After an expiry that was refused or lost, the lease is tried again.
pub const LEASE_EXPIRY_RETRY_AFTER: Duration = Duration::from_secs(3);
/// Remainders that one step checkpoints.
pub const LEASE_CHECKPOINTS_PER_STEP_MAX: usize = 1_000;
/// Default: the least time between two checkpoints of one lease; leases that live no longer have none.
pub const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// Leases that a new leader takes over at a time; applying waits for that long.
pub const LEASE_TAKE_OVER_STEP: usize = 256;
/// Keep-alives (or questions) that share one quorum round and one call to the leader.
pub const LEASE_GROUP_MAX: usize = 1_000;
/// Groups of keep-alives, and of questions, on their way at once.
pub const LEASE_GROUPS_IN_FLIGHT_MAX: usize = 4;

// Locks and elections.

/// Calls that wait at a member for a lock, or to be elected: each has a task and a watch.
pub const TURN_WAITS_MAX: usize = 65_536;

// Users.

/// Default: a session ends at a member when its token was not shown there for this long.
pub const SESSION_TTL: Duration = Duration::from_secs(300);
/// Sessions that a member knows; beyond it the one that would end first makes room.
pub const SESSIONS_MAX: usize = 100_000;
/// How long a token is waited for whose session a member may not have heard of yet.
pub const SESSION_WAIT: Duration = Duration::from_secs(2);
/// Calls that wait for that at a member; others take what is known.
pub const SESSION_WAITS_MAX: usize = 256;
/// Default: how dear it is to check a password, as a power of two.
pub const BCRYPT_COST: u32 = 10;
/// Passwords that wait to be checked at a member, and as many to be hashed; whoever comes then is told to come back.
pub const PASSWORDS_WAITING_MAX: usize = 64;

// Space.

/// Default: logical bytes that the store may hold.
pub const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Above this a quota is accepted with a warning, in bytes.
pub const QUOTA_BYTES_WARN: u64 = 8 * 1024 * 1024 * 1024;

// Consensus.

/// Default: time between heartbeats.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
/// Default: silence after which a follower stands for election.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(1_000);
/// The longest election timeout that makes sense: beyond it a cluster is down rather than careful.
pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(50_000);
/// An election timeout is at least this many heartbeats.
pub const ELECTION_HEARTBEATS_MIN: u32 = 5;
/// Default: log entries between snapshots.
pub const SNAPSHOT_ENTRIES: u64 = 10_000;
/// Bytes of the log after which a snapshot is taken whatever the count of entries. The log since then is in memory.
pub const SNAPSHOT_WAL_BYTES: u64 = 64 * 1024 * 1024;
/// Default: log entries kept behind a snapshot for members that lag. An entry is a batch of up to a thousand requests.
pub const SNAPSHOT_CATCHUP_ENTRIES: u64 = 500;
/// Default: learners in a cluster.
pub const LEARNERS_MAX: u32 = 1;

// Members compared with each other.

/// Compactions of which a member remembers the state's hash.
pub const COMPACTION_HASHES_MAX: usize = 10;
/// How long a peer may take over a checksum: it reads all of its history. One that takes longer says nothing.
pub const CHECKSUM_TIMEOUT: Duration = Duration::from_secs(60);
/// How often one comparison begins anew because a member has compacted its history meanwhile; the next one is due soon.
pub const COMPARISON_ATTEMPTS_MAX: u32 = 4;

// Compaction.

/// Default: revisions removed in one step.
pub const COMPACTION_BATCH_REVISIONS: u64 = 1_000;
/// Default: pause between two steps.
pub const COMPACTION_PAUSE: Duration = Duration::from_millis(10);
