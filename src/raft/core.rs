//! Starting the consensus core: its configuration, and the bootstrap of a new cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, Raft, SnapshotPolicy, StepDownPolicy};

use crate::raft::contact::Contact;
use crate::raft::handle::RaftHandle;
use crate::raft::leadership::Leadership;
use crate::raft::log_store::LogStore;
use crate::raft::network::Network;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{PeerNode, TypeConfig};
use crate::types::MemberId;

/// What the consensus core needs to know.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This member.
    pub member: MemberId,
    /// How often a leader says that it lives.
    pub heartbeat_interval: Duration,
    /// Silence after which a follower thinks of an election; it is drawn a little above this.
    pub election_timeout: Duration,
    /// A snapshot after this many entries.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub keep_entries: u64,
    /// The voters of a new cluster, with where they are reached; `None` for who joins one that runs already.
    pub founders: Option<BTreeMap<u64, PeerNode>>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Starts the core; a founder whose log is empty takes the initial voters for its first entry, the same on every
/// founder.
///
/// # Errors
/// One line that says what was refused.
pub async fn start_core(
    config: CoreConfig,
    network: Network,
    log_store: LogStore,
    state_machine: StateMachine,
) -> Result<RaftHandle, String> {
    let core = Config {
        cluster_name: "quorate".to_owned(),
        heartbeat_interval: millis(config.heartbeat_interval),
        // The core waits for the greater of the two (it calls that the leader's lease), and on top of it for a
        // time drawn between both: together between 1.1 and 1.4 of what is meant.
        election_timeout_min: millis(config.election_timeout * 2 / 5),
        election_timeout_max: millis(config.election_timeout * 7 / 10),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: config.keep_entries,
        purge_batch_size: 1,
        // A follower is caught up from the log for as long as the log holds what it needs.
        replication_lag_threshold: u64::MAX,
        enable_pre_vote: Some(true),
        // A restarted leader asks for votes again: what it had not made durable may be gone.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // A leader that was removed hands over before it falls silent, and no later than this after it.
        removed_leader_step_down: StepDownPolicy::After(millis(config.heartbeat_interval)),
        ..Config::default()
    };
    let core = Arc::new(core.validate().map_err(|error| error.to_string())?);
    let (clock, peers) = (network.clock(), network.peers());
    let raft =
        Raft::<TypeConfig, StateMachine>::new(config.member.0, core, network, log_store, state_machine)
            .await
            .map_err(|error| error.to_string())?;
    let initialized = raft.is_initialized().await.map_err(|error| error.to_string())?;
    if let Some(founders) = config.founders.filter(|_| !initialized) {
        match raft.initialize(founders).await {
            // A peer's message came first: the cluster is there already.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let contact = Contact::new(clock.clone(), config.election_timeout);
    let leadership = Leadership::new(raft.clone(), clock, peers, config.member);
    Ok(RaftHandle::new(raft, leadership, contact))
}
