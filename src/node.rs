//! One member, wired: storage, machine, consensus, peers. Production, `quorate dev` and the simulator all call
//! [`start`]; nothing here knows which of them did.
//!
//! Order of a start: the WAL is recovered and durable first; then the engine, which must not be ahead of it;
//! then the consensus core; then the peers may call.

mod leases;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::limits;
use crate::env::{Env, Worker};
use crate::machine::command::{
    AlarmKind, Answer, Command, CommandError, Member as MemberInfo, Range, RangeReply,
};
use crate::machine::effects::RecordsError;
use crate::machine::persist::Bucket;
use crate::machine::quota;
use crate::machine::state::State;
use crate::machine::watch::{CatchUpBudget, WatchLimits};
use crate::pb::peer::peer_server::PeerServer as PeerGrpc;
use crate::peer::{PeerServer, Peers};
use crate::raft::applied::Applied;
use crate::raft::core::{CoreConfig, start_core};
use crate::raft::handle::{RaftHandle, RaftStatus};
use crate::raft::lease::keeper::LeaseKeeper;
use crate::raft::lease::requests::LeaseRequests;
use crate::raft::log_store::LogStore;
use crate::raft::network::{Network, NetworkTimeouts};
use crate::raft::pending::{Pending, ProposeError};
use crate::raft::proposer::{Proposer, ProposerLimits};
use crate::raft::read_index::{ReadError, ReadIndex, ReadLimits};
use crate::raft::replica::{Replica, load_membership, membership_key};
use crate::raft::serve::PeerFront;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::PeerNode;
use crate::raft::watch_driver;
use crate::raft::watch_stream::WatchStream;
use crate::storage::engine::EngineKind;
use crate::storage::state_dir::StateDir;
use crate::storage::store::Store;
use crate::storage::wal::{Identity, Wal, WalHandle, WalOptions};
use crate::types::{ClusterId, LogId, MemberId, Revision};

/// How often a member looks after itself: bootstrap, compaction, purging.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a peer may take to say whether it knows this member.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);
/// Keys and records that one step of physical compaction touches; the state is locked for that long.
const COMPACT_STEP_BUDGET: usize = 200;

pub use leases::LeaseLife;

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
    /// The initial cluster, the same on every member.
    pub members: Vec<MemberInfo>,
    /// Where its peers reach it.
    pub peer_listen: SocketAddr,
    /// Where its clients reach it, as other members and clients are told.
    pub client_urls: Vec<String>,
    /// Which engine holds its state.
    pub engine: EngineKind,
    /// Everything that can be tuned.
    pub knobs: Knobs,
}

/// Everything that can be tuned; the defaults are production's.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// How often a leader says that it lives.
    pub heartbeat_interval: Duration,
    /// A follower that hears nothing for this long, up to twice of it, thinks of an election.
    pub election_timeout: Duration,
    /// Size of one WAL segment, bytes.
    pub wal_segment_bytes: u64,
    /// A snapshot is taken, and the log purged, after this many applied entries.
    pub snapshot_entries: u64,
    /// Or after this many bytes of WAL.
    pub snapshot_wal_bytes: u64,
    /// Entries kept behind a snapshot, for followers that lag a little.
    pub keep_entries: u64,
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
    /// What watches may hold in memory.
    pub watch_limits: WatchLimits,
    /// How much history one step of a watch's catch-up reads.
    pub watch_catch_up: CatchUpBudget,
    /// How often an idle watcher that asked for it is told the revision.
    pub watch_progress_interval: Duration,
    /// How often a leader looks for expired leases.
    pub lease_tick: Duration,
    /// The least time between two checkpoints of what a lease has left. A change of leader can give a lease back
    /// this much life, or a tenth of its TTL if that is more.
    pub lease_checkpoint_interval: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs {
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            wal_segment_bytes: 64 << 20,
            snapshot_entries: 100_000,
            snapshot_wal_bytes: 256 << 20,
            keep_entries: 5_000,
            quota_bytes: Some(2 << 30),
            max_txn_ops: 128,
            batch_requests_max: 1_000,
            batch_bytes_max: 1 << 20,
            request_bytes_max: 1_572_864,
            batches_in_flight_max: 4,
            open_requests_max: 5_000,
            request_timeout: Duration::from_secs(7),
            watch_limits: WatchLimits::default(),
            watch_catch_up: CatchUpBudget::default(),
            watch_progress_interval: limits::WATCH_PROGRESS_INTERVAL,
            lease_tick: limits::LEASE_TICK,
            lease_checkpoint_interval: limits::LEASE_CHECKPOINT_INTERVAL,
        }
    }
}

/// Why a member did not start. One line, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The write-ahead log cannot be used.
    #[error(transparent)]
    Wal(#[from] crate::storage::wal::WalError),
    /// The state engine cannot be used.
    #[error(transparent)]
    Engine(#[from] crate::storage::engine::EngineError),
    /// WAL and engine do not belong together.
    #[error("data directory {dir}: {what}")]
    Mismatch {
        /// The data directory.
        dir: String,
        /// What does not fit.
        what: String,
    },
    /// What is stored cannot be understood.
    #[error("data directory {dir}: {what}")]
    Corrupt {
        /// The data directory.
        dir: String,
        /// What was found.
        what: String,
    },
    /// The member took part in the cluster before, and its disk is empty.
    #[error(
        "member {member} has already been bootstrapped (says member {peer}), but its data directory is empty: \
         remove it from the cluster and add it anew"
    )]
    Wiped {
        /// This member.
        member: MemberId,
        /// The peer that knows it.
        peer: MemberId,
    },
    /// The consensus core refused.
    #[error("consensus: {0}")]
    Core(String),
    /// The disk failed.
    #[error("data directory {dir}: {source}")]
    Io {
        /// The data directory.
        dir: String,
        /// What the disk said.
        source: std::io::Error,
    },
}

/// A running member.
pub struct Member {
    config: MemberConfig,
    env: Env,
    raft: RaftHandle,
    replica: Arc<Replica>,
    proposer: Proposer,
    reads: ReadIndex,
    leases: LeaseRequests,
    wal: WalHandle,
    stopping: AtomicBool,
}

/// What a member knows of itself.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub member: MemberId,
    /// Its view of the consensus.
    pub raft: RaftStatus,
    /// The store's revision.
    pub revision: Revision,
    /// The oldest readable revision.
    pub compacted: Revision,
    /// The state's hash, and the applied entry it stands at.
    pub hash: (Option<LogId>, u128),
}

/// Recovers and starts one member. Returns when its log and state are loaded and its peers may call; there need
/// not be a leader yet.
///
/// # Errors
/// [`StartError`]: nothing was repaired or discarded in silence.
pub async fn start(config: MemberConfig, env: Env) -> Result<Arc<Member>, StartError> {
    let dir = config.data_dir.display().to_string();
    let io = |source| StartError::Io { dir: dir.clone(), source };
    let engine_worker = env.workers.start("engine");
    let identity = Identity { cluster: config.cluster, member: config.member };

    let (wal, recovered) = open_wal(&config, &env).await?;
    let state_dir =
        StateDir::new(env.clone(), engine_worker.clone(), &config.data_dir, config.engine, identity);
    let engine = state_dir.open().await?;

    let (state, membership, installed) = {
        let reader = engine.reader()?;
        let state = State::load(|bucket, from, limit| reader.range(bucket, from, limit))
            .map_err(|error| StartError::Corrupt { dir: dir.clone(), what: error.to_string() })?;
        let membership = load_membership(reader.get(Bucket::Meta, membership_key())?)
            .map_err(|what| StartError::Corrupt { dir: dir.clone(), what })?;
        (state, membership, state_dir.installed_at(&*reader)?)
    };
    let log_end = recovered.entries.last().map(|entry| entry.log_id).or(recovered.purged);
    if state.applied() > log_end && state.applied() != installed {
        let what = format!(
            "the state engine holds entry {:?}, but the write-ahead log ends at {:?}: they do not belong together",
            state.applied(),
            log_end
        );
        return Err(StartError::Mismatch { dir, what });
    }

    let blank = recovered.vote.is_none() && log_end.is_none() && state.applied().is_none();
    let incarnation = recovered.incarnation;
    let pending = Arc::new(Pending::default());
    let store = Store::new(env.clone(), engine_worker, engine)?;
    let replica = Arc::new(Replica::new(
        env.clone(),
        config.member,
        incarnation,
        state,
        membership,
        store,
        config.knobs.watch_limits,
        config.knobs.lease_checkpoint_interval,
        Arc::new(Applied::default()),
        pending.clone(),
    ));
    let peers = Peers::new(env.clock.clone(), config.cluster, config.member);
    for member in &config.members {
        peers.learn(member.id, member.peer_urls.clone());
    }
    if blank {
        refuse_if_wiped(&config, &peers).await?;
    }
    let log_store = LogStore::new(wal.clone(), recovered)
        .map_err(|error| StartError::Corrupt { dir: dir.clone(), what: error.to_string() })?;
    let timeouts = NetworkTimeouts {
        append: config.knobs.election_timeout,
        snapshot: config.knobs.election_timeout * 60,
    };
    let network = Network::new(peers.clone(), env.clock.clone(), timeouts, log_store.purge_point());
    let voters = config
        .members
        .iter()
        .filter(|member| !member.is_learner)
        .map(|member| (member.id.0, PeerNode { urls: member.peer_urls.clone() }))
        .collect();
    let core_config = CoreConfig {
        member: config.member,
        heartbeat_interval: config.knobs.heartbeat_interval,
        election_timeout: config.knobs.election_timeout,
        snapshot_entries: config.knobs.snapshot_entries,
        keep_entries: config.knobs.keep_entries,
        voters,
    };
    let state_machine = StateMachine::new(replica.clone(), wal.clone());
    let raft = start_core(core_config, network, log_store, state_machine).await.map_err(StartError::Core)?;

    let attempt_timeout = config.knobs.election_timeout * 2;
    let retry_pause = config.knobs.heartbeat_interval / 2;
    let limits = ProposerLimits {
        open_requests_max: config.knobs.open_requests_max,
        batch_requests_max: config.knobs.batch_requests_max,
        batch_bytes_max: config.knobs.batch_bytes_max,
        request_bytes_max: config.knobs.request_bytes_max,
        batches_in_flight_max: config.knobs.batches_in_flight_max,
        request_timeout: config.knobs.request_timeout,
        attempt_timeout,
        retry_pause,
    };
    let proposer = Proposer::start(
        env.clone(),
        config.member,
        incarnation,
        limits,
        raft.clone(),
        peers.clone(),
        pending,
    );
    let read_limits = ReadLimits { read_timeout: config.knobs.request_timeout, attempt_timeout, retry_pause };
    let reads = ReadIndex::start(
        env.clone(),
        config.member,
        read_limits,
        raft.clone(),
        peers.clone(),
        replica.applied().clone(),
    );
    let keeper = LeaseKeeper::start(
        env.clone(),
        config.knobs.lease_tick,
        raft.clone(),
        replica.clone(),
        proposer.clone(),
        reads.clone(),
    );
    let leases =
        LeaseRequests::start(env.clone(), config.member, read_limits, raft.clone(), peers, keeper.clone());
    let front = PeerFront {
        cluster: config.cluster,
        member: config.member,
        raft: raft.clone(),
        replica: replica.clone(),
        state_dir,
        leases: keeper,
        read_timeout: attempt_timeout,
    };
    serve_peers(&config, &env, front).await.map_err(io)?;
    watch_driver::start(&env, &replica, config.knobs.watch_catch_up, config.knobs.watch_progress_interval);
    let stopping = AtomicBool::new(false);
    let member = Arc::new(Member { config, env, raft, replica, proposer, reads, leases, wal, stopping });
    tokio::spawn(member.clone().maintain());
    Ok(member)
}

/// A member whose disk is empty, but which its peers know as started, has lost its disk: it must not come back
/// as if it were new, because it would vote twice.
async fn refuse_if_wiped(config: &MemberConfig, peers: &Peers) -> Result<(), StartError> {
    for member in config.members.iter().filter(|member| member.id != config.member) {
        // A peer that cannot be asked says nothing: at the first start of a cluster nobody answers.
        let Ok(answer) = peers.hello(member.id, HELLO_TIMEOUT).await else { continue };
        if answer.known {
            return Err(StartError::Wiped { member: config.member, peer: member.id });
        }
    }
    Ok(())
}

/// Where a member with this data directory keeps its write-ahead log.
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("wal")
}

/// Opens the WAL on a worker of its own, which then carries its group commits.
async fn open_wal(
    config: &MemberConfig,
    env: &Env,
) -> Result<(WalHandle, crate::storage::wal::Recovered), StartError> {
    let worker: Arc<dyn Worker> = env.workers.start("wal");
    let identity = Identity { cluster: config.cluster, member: config.member };
    let options = WalOptions { segment_bytes: config.knobs.wal_segment_bytes, ..WalOptions::default() };
    let (disk, entropy) = (env.disk.clone(), env.entropy.clone());
    let dir = wal_dir(&config.data_dir);
    let opened = crate::env::run(&*worker, move || Wal::open(disk, &dir, identity, options, entropy)).await;
    let shown = config.data_dir.display().to_string();
    let (wal, recovered) = opened.map_err(|source| StartError::Io { dir: shown, source })??;
    Ok((WalHandle::start(wal, env.clone()), recovered))
}

/// Binds the peer port and serves it for as long as the member lives.
async fn serve_peers(config: &MemberConfig, env: &Env, front: PeerFront) -> std::io::Result<()> {
    let service = PeerGrpc::new(PeerServer::new(Arc::new(front)))
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let (address, env) = (config.peer_listen, env.clone());
    tokio::spawn(async move {
        let served = tonic::transport::Server::builder().add_service(service).serve(address).await;
        let why = served.err().map_or("it ended".to_owned(), |error| error.to_string());
        env.process.fatal(&format!("peer server on {address}: {why}"));
    });
    Ok(())
}

/// The largest message between peers, bytes.
const PEER_MESSAGE_BYTES_MAX: usize = 64 << 20;

impl Member {
    /// What the member was started with.
    pub fn config(&self) -> &MemberConfig {
        &self.config
    }

    /// The member's state.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Gets a command into the log and waits until this member has applied it. What would exceed the quota is
    /// refused before that, and raises the alarm.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: Command) -> Result<Answer, ProposeError> {
        if let Some(refused) = self.over_quota(&command) {
            let alarm = Command::Alarm { raise: true, member: self.config.member, kind: AlarmKind::NoSpace };
            self.proposer.propose(alarm).await?;
            return Ok(refused);
        }
        self.proposer.propose(command).await
    }

    /// The refusal of a command for which there is no space left.
    fn over_quota(&self, command: &Command) -> Option<Answer> {
        let state = self.replica.state();
        let over = state.would_exceed(quota::cost(command), self.config.knobs.quota_bytes);
        over.then(|| Answer { revision: state.revision(), result: Err(CommandError::NoSpace) })
    }

    /// Waits until this member's state covers every write acknowledged before the call.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn linearizable(&self) -> Result<(), ReadError> {
        self.reads.linearizable().await
    }

    /// Reads a range: linearizable, or from this member's state at once. Answers the store's revision with it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn range(
        &self,
        range: Range,
        linearizable: bool,
    ) -> Result<(Revision, Result<RangeReply, CommandError>), ReadError> {
        if linearizable {
            self.linearizable().await?;
        }
        self.replica.range(&range).map_err(|error| self.unreadable(&error))
    }

    /// Opens a stream of watches.
    pub fn watch(&self) -> WatchStream {
        WatchStream::open(self.replica.clone())
    }

    /// History that cannot be read is fatal.
    fn unreadable(&self, error: &RecordsError) -> ReadError {
        self.env.process.fatal(&error.to_string());
        ReadError::Stopped
    }

    /// What the member knows of itself now.
    pub fn status(&self) -> MemberStatus {
        let raft = self.raft.status();
        let state = self.replica.state();
        MemberStatus {
            cluster: self.config.cluster,
            member: self.config.member,
            raft,
            revision: state.revision(),
            compacted: state.compacted(),
            hash: (state.applied(), state.hash()),
        }
    }

    /// Waits until the entry at `index` is applied here; false when the member ended first.
    pub async fn applied(&self, index: u64) -> bool {
        self.replica.applied().reached(index).await
    }

    /// Stops the member: no new work is taken, what is accepted becomes durable.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.replica.watches().stop();
        self.raft.shutdown().await;
        if let Err(error) = self.replica.store().flush(&self.wal).await {
            tracing::error!(%error, "the state engine could not be flushed while stopping");
        }
    }

    /// Looks after the member for as long as it lives.
    async fn maintain(self: Arc<Self>) {
        while !self.stopping.load(Ordering::Relaxed) {
            self.env.clock.sleep(MAINTENANCE_INTERVAL).await;
            if let Some(reason) = self.raft.failure() {
                return self.env.process.fatal(&reason);
            }
            self.bootstrap().await;
            self.announce().await;
            self.compact().await;
            if self.wal.size_bytes() > self.config.knobs.snapshot_wal_bytes {
                self.raft.snapshot().await;
            }
        }
    }

    /// As the first leader: writes the initial member list into the state.
    async fn bootstrap(&self) {
        let bootstrapped = self.replica.state().members().is_bootstrapped();
        if !bootstrapped && self.raft.status().is_leader {
            // Names and client addresses come from the members themselves, once they have started.
            let unnamed = |member: &MemberInfo| MemberInfo {
                name: String::new(),
                client_urls: Vec::new(),
                ..member.clone()
            };
            let members = self.config.members.iter().map(unnamed).collect();
            if let Err(error) = self.propose(Command::Bootstrap { members }).await {
                tracing::warn!(%error, "the initial member list is not written yet");
            }
        }
    }

    /// Tells the cluster this member's name and where its clients reach it, when the state says otherwise.
    async fn announce(&self) {
        let MemberConfig { member, name, client_urls, .. } = &self.config;
        let outdated = self
            .replica
            .state()
            .members()
            .get(*member)
            .is_some_and(|known| known.name != *name || known.client_urls != *client_urls);
        if outdated && self.raft.leader().is_some() {
            let attributes = Command::MemberAttributes {
                member: *member,
                name: name.clone(),
                client_urls: client_urls.clone(),
            };
            if let Err(error) = self.propose(attributes).await {
                tracing::warn!(%error, "this member's name and addresses are not announced yet");
            }
        }
    }

    /// Deletes what a compaction has made unreadable, a step at a time.
    async fn compact(&self) {
        while self.replica.compact_step(COMPACT_STEP_BUDGET) {
            self.replica.store().room().await;
        }
    }
}
