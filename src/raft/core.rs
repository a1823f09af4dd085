//! Starting the consensus core: its configuration, and the bootstrap of a new cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, Raft, SnapshotPolicy};

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
    /// Silence after which a follower thinks of an election; drawn between this and twice of it.
    pub election_timeout: Duration,
    /// A snapshot after this many entries.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub keep_entries: u64,
    /// The voters of a new cluster, with where they are reached.
    pub voters: BTreeMap<u64, PeerNode>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Starts the core; a member whose log is empty takes the initial voters for its first entry, the same on every
/// member.
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
        election_timeout_min: millis(config.election_timeout),
        election_timeout_max: millis(config.election_timeout * 2),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: config.keep_entries,
        purge_batch_size: 1,
        // A follower is caught up from the log for as long as the log holds what it needs.
        replication_lag_threshold: u64::MAX,
        enable_pre_vote: Some(true),
        // A restarted leader asks for votes again: what it had not made durable may be gone.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        ..Config::default()
    };
    let core = Arc::new(core.validate().map_err(|error| error.to_string())?);
    let (clock, peers) = (network.clock(), network.peers());
    let raft =
        Raft::<TypeConfig, StateMachine>::new(config.member.0, core, network, log_store, state_machine)
            .await
            .map_err(|error| error.to_string())?;
    let initialized = raft.is_initialized().await.map_err(|error| error.to_string())?;
    if !initialized {
        match raft.initialize(config.voters).await {
            // A peer's message came first: the cluster is there already.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let contact = Contact::new(clock.clone(), config.election_timeout);
    let leadership = Leadership::new(raft.clone(), clock, peers, config.member);
    Ok(RaftHandle::new(raft, leadership, contact))
}
