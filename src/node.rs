//! One member, wired: storage, machine, consensus, peers. Production, `quorate dev` and the simulator all call
//! [`start`]; nothing here knows which of them did.
//!
//! Order of a start: the WAL is read; then the engine, which must not be ahead of it (`engine`), and to which nothing is
//! given before what was read is durable; then the consensus core; then the peers may call. A member whose log is lost does not start: `repair` has
//! what becomes of it.

mod asking;
mod engine;
pub mod repair;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::limits::PEER_MESSAGE_BYTES_MAX;
use crate::config::tls::Whom;
use crate::env::{Env, Worker};
use crate::member::Parts;
use crate::node::engine::{Loaded, Opening};
use crate::pb::peer::Fate;
use crate::pb::peer::peer_server::PeerServer as PeerGrpc;
use crate::peer::{PeerError, PeerServer, Peers, listen};
use crate::raft::abdication;
use crate::raft::applied::Applied;
use crate::raft::core::{CoreConfig, start_core};
use crate::raft::lease::keeper::LeaseKeeper;
use crate::raft::lease::requests::LeaseRequests;
use crate::raft::log_store::LogStore;
use crate::raft::membership::Steward;
use crate::raft::network::{Network, NetworkTimeouts};
use crate::raft::pending::Pending;
use crate::raft::proposer::{Proposer, ProposerLimits};
use crate::raft::read_index::{ReadIndex, ReadLimits};
use crate::raft::readmission::Readmission;
use crate::raft::replica::Replica;
use crate::raft::serve::{AppendGate, FETCHES_MAX, PeerFront};
use crate::raft::state_machine::StateMachine;
use crate::raft::types::PeerNode;
use crate::raft::watch_driver;
use crate::service;
use crate::storage::data_dir;
use crate::storage::engine::EngineOptions;
use crate::storage::state_dir::StateDir;
use crate::storage::store::Store;
use crate::storage::wal::{Identity, ReadLog, Recovered, Wal, WalHandle, WalOptions};
use crate::types::MemberId;

/// How long a peer may take to say whether it knows this member.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

pub use crate::member::{Credential, Knobs, Member, MemberConfig, MemberStatus, Security};
pub use crate::storage::data_dir::wal_dir;

/// Why a member did not start. One line, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The write-ahead log cannot be used.
    #[error(transparent)]
    Wal(#[from] crate::storage::wal::WalError),
    /// The state engine cannot be used.
    #[error(transparent)]
    Engine(#[from] crate::storage::engine::EngineError),
    /// The engine is behind the place where the WAL begins.
    #[error("data directory {dir}: {what}")]
    Mismatch {
        /// The data directory.
        dir: String,
        /// What does not fit.
        what: String,
    },
    /// The WAL has lost what the engine still holds.
    #[error("data directory {dir}: {what}")]
    LogBehind {
        /// The data directory.
        dir: String,
        /// What does not fit.
        what: String,
    },
    /// The engine is damaged, the WAL does not reach back far enough, and no peer helps.
    #[error("{why}; nobody gave a state to build it anew from: {peers}")]
    NotRebuilt {
        /// What is wrong with the engine.
        why: Box<StartError>,
        /// What the peers said.
        peers: String,
    },
    /// The log is lost, and the member may not, or cannot, have itself taken back.
    #[error("{why}: {advice}")]
    LogLost {
        /// What is wrong with the log.
        why: Box<StartError>,
        /// What can be done.
        advice: String,
    },
    /// An earlier start has given the member up, and this one may not go on with that.
    #[error(
        "member {member} has lost its log or its place in the cluster, and gave itself up before: {advice}"
    )]
    GivenUp {
        /// The member that was given up.
        member: MemberId,
        /// What can be done.
        advice: String,
    },
    /// The cluster did not take the member back in time.
    #[error("{why}; the member is not taken back yet, the next start asks again: {said}")]
    NotReadmitted {
        /// What is wrong with its log.
        why: String,
        /// What the cluster said last.
        said: String,
    },
    /// What is stored cannot be understood.
    #[error("data directory {dir}: {what}")]
    Corrupt {
        /// The data directory.
        dir: String,
        /// What was found.
        what: String,
    },
    /// The member took part in the cluster before, and its log is gone.
    #[error(
        "member {member} has already been bootstrapped (says member {peer}), but its data directory holds no log of that"
    )]
    Wiped {
        /// This member.
        member: MemberId,
        /// The peer that knows it.
        peer: MemberId,
    },
    /// The member has no place in the cluster any more.
    #[error(
        "member {member} was removed from the cluster: its data directory {dir} is of no use; add a member anew, with \
         an empty one"
    )]
    Removed {
        /// This member.
        member: MemberId,
        /// The data directory.
        dir: String,
    },
    /// Another member has its place, and has run.
    #[error(
        "member {member} was replaced by member {by}, which has run since: what is in data directory {dir} is of no use; \
         start member {by} on its own data directory, or, if that is lost, with --self-repair on an empty one"
    )]
    Replaced {
        /// This member.
        member: MemberId,
        /// Who has its place.
        by: MemberId,
        /// The data directory.
        dir: String,
    },
    /// Its state is not what other members have.
    #[error(
        "member {member} is corrupt: {what}; remove it from the cluster and add it anew, or start it without the check"
    )]
    Differs {
        /// This member.
        member: MemberId,
        /// What was compared, and with whom.
        what: String,
    },
    /// Somebody began to restore an image into the data directory.
    #[error(
        "data directory {dir}: an image is being restored into it, or that ended half way: remove it and restore again"
    )]
    Unfinished {
        /// The data directory.
        dir: String,
    },
    /// The consensus core refused.
    #[error("consensus: {0}")]
    Core(String),
    /// An address cannot be listened on.
    #[error("listen {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk failed.
    #[error("data directory {dir}: {source}")]
    Io {
        /// The data directory.
        dir: String,
        /// What the disk said.
        source: std::io::Error,
    },
}

impl StartError {
    /// Whether the state engine is of no use, while the log is whole.
    fn is_engine_damage(&self) -> bool {
        match self {
            StartError::Engine(error) => error.is_damage(),
            StartError::Corrupt { .. } | StartError::Mismatch { .. } => true,
            _ => false,
        }
    }

    /// Whether the log has lost something, so that the member does not know any more what it promised.
    fn is_log_lost(&self) -> bool {
        match self {
            StartError::Wal(error) => error.is_damage(),
            StartError::LogBehind { .. } | StartError::Wiped { .. } => true,
            // It was taken back before, and its options, or a log that its owner has put right, name who it was.
            StartError::Removed { .. } => true,
            _ => false,
        }
    }
}

/// Recovers and starts one member. Returns when its log and state are loaded and its peers may call; there need
/// not be a leader yet. One that has lost its log is taken back as another, if its knobs allow it.
///
/// # Errors
/// [`StartError`]: nothing was repaired or discarded in silence.
pub async fn start(config: MemberConfig, env: Env) -> Result<Arc<Member>, StartError> {
    let config = repair::resume(config, &env).await?;
    let started = start_as(config.clone(), env.clone()).await;
    let (config, member) = match started {
        Err(why) if why.is_log_lost() => {
            let config = repair::begin(config, &env, why).await?;
            (config.clone(), start_as(config, env.clone()).await?)
        }
        started => (config, started?),
    };
    repair::finish(&config, &env)?;
    Ok(member)
}

/// Starts the member that `config` names, on what its data directory holds.
async fn start_as(config: MemberConfig, env: Env) -> Result<Arc<Member>, StartError> {
    let dir = config.data_dir.display().to_string();
    let engine_worker = env.workers.start("engine");
    let identity = Identity { cluster: config.cluster, member: config.member };

    let unfinished = data_dir::is_unfinished(&*env.disk, &config.data_dir)
        .map_err(|source| StartError::Io { dir: dir.clone(), source })?;
    if unfinished {
        return Err(StartError::Unfinished { dir });
    }
    // One of which nobody can tell whose it is has lost something, too.
    let has_log = Wal::exists(&*env.disk, &wal_dir(&config.data_dir))
        .map_err(|source| StartError::Io { dir: dir.clone(), source })?;
    if !has_log {
        // Before there is one: a log that a refused start left behind would pass for that of a member that had started.
        refuse_if_wiped(&config, &env).await?;
    }
    let wal_worker = env.workers.start("wal");
    let log = read_wal(&config, &env, &wal_worker).await?;
    let state_dir =
        StateDir::new(env.clone(), engine_worker.clone(), &config.data_dir, config.engine, identity)
            .with_options(EngineOptions { cache_bytes: config.knobs.engine_cache_bytes });
    let dialer = config.security.dialer.clone();
    let peers = Peers::new(env.clock.clone(), dialer, config.cluster, config.member);
    let others = || config.members.iter().filter(|member| member.id != config.member);
    others().for_each(|member| peers.learn(member.id, &member.peer_urls));
    let opening =
        Opening { env: &env, dir: &dir, state_dir: &state_dir, peers: &peers, seeds: &config.seeds };
    let loaded = match opening.load(log.reach()).await {
        // A log that has lost something, above all, stays as it was found.
        Err(why) if !why.is_engine_damage() => return Err(why),
        loaded => loaded,
    };
    let (wal, mut recovered) = begin_wal(log, &config, &env, &wal_worker).await?;
    let Loaded { engine, state, membership, installed } =
        opening.or_rebuilt(loaded, &wal, &mut recovered).await?;
    let log_end = recovered.reach().last;

    if state.members().is_removed(config.member)
        && membership.membership().get_node(&config.member.0).is_none()
    {
        return Err(StartError::Removed { member: config.member, dir });
    }

    // Who was restored has a state and a place in the log to go on from, and has cast no vote either.
    let voteless = recovered.vote.is_none_or(|vote| vote.voted_for.is_none());
    let blank = voteless && recovered.entries.is_empty() && state.applied() == installed;
    if has_log && blank {
        // It has promised nothing yet, and peers that said nothing when it was made may answer now.
        refuse_if_wiped(&config, &env).await?;
    }
    state_dir.accept(&engine).await?;
    let incarnation = recovered.incarnation;
    let pending = Arc::new(Pending::default());
    let store = Store::new(env.clone(), engine_worker, engine, state_dir.full_snapshot().cloned())?;
    let replica = Arc::new(Replica::new(
        env.clone(),
        config.member,
        incarnation,
        state,
        membership,
        store,
        config.knobs.watch_limits,
        config.knobs.lease_checkpoint_interval,
        config.knobs.session_ttl,
        log_end,
        Arc::new(Applied::default()),
        pending.clone(),
    ));
    // A book of its own: whom the opening has asked need not belong to the cluster any more.
    let peers = Peers::new(env.clock.clone(), config.security.dialer.clone(), config.cluster, config.member);
    if replica.state().members().is_bootstrapped() {
        replica.state().members().iter().for_each(|member| peers.learn(member.id, &member.peer_urls));
    } else {
        config.members.iter().for_each(|member| peers.learn(member.id, &member.peer_urls));
    }
    crate::disturb!("a member is slow to start", &*env.clock);
    let log_store = LogStore::new(config.member, wal.clone(), recovered, state_dir.full_snapshot().cloned())
        .map_err(|error| StartError::Corrupt { dir: dir.clone(), what: error.to_string() })?;
    let timeouts = NetworkTimeouts {
        append: config.knobs.election_timeout,
        snapshot: config.knobs.election_timeout * 60,
    };
    let network = Network::new(peers.clone(), env.clock.clone(), timeouts, log_store.refusals());
    let founders = config.members.iter().filter(|member| !member.is_learner);
    let founders =
        founders.map(|member| (member.id.0, PeerNode { urls: member.peer_urls.clone() })).collect();
    let core_config = CoreConfig {
        member: config.member,
        heartbeat_interval: config.knobs.heartbeat_interval,
        election_timeout: config.knobs.election_timeout,
        snapshot_entries: config.knobs.snapshot_entries,
        keep_entries: config.knobs.keep_entries,
        founders: (!config.joins).then_some(founders),
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
    let leases = LeaseRequests::start(
        env.clone(),
        config.member,
        read_limits,
        raft.clone(),
        peers.clone(),
        keeper.clone(),
    );
    let front = PeerFront {
        cluster: config.cluster,
        member: config.member,
        raft: raft.clone(),
        replica: replica.clone(),
        state_dir: state_dir.clone(),
        leases: keeper,
        reads: reads.clone(),
        read_timeout: attempt_timeout,
        log: wal.clone(),
        gate: AppendGate::default(),
        checksums: tokio::sync::Mutex::default(),
        readmission: Readmission {
            clock: env.clock.clone(),
            raft: raft.clone(),
            replica: replica.clone(),
            reads: reads.clone(),
            proposer: proposer.clone(),
            election_timeout: config.knobs.election_timeout,
            change_timeout: config.knobs.request_timeout,
            at_work: Arc::default(),
        },
        fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
    };
    serve_peers(&config, &env, front)
        .await
        .map_err(|source| StartError::Listen { address: config.peer_listen, source })?;
    abdication::start(raft.clone(), env.clock.clone(), config.knobs.election_timeout);
    let steward = Steward {
        clock: env.clock.clone(),
        raft: raft.clone(),
        replica: replica.clone(),
        peers: peers.clone(),
        seeds: config.seeds.clone(),
        interval: config.knobs.heartbeat_interval,
        election_timeout: config.knobs.election_timeout,
        change_timeout: config.knobs.request_timeout,
    };
    steward.start();
    watch_driver::start(&env, &replica, config.knobs.watch_catch_up, config.knobs.watch_progress_interval);
    let listen = config.client_listen.clone();
    let member = Member::start(Parts {
        config,
        env: env.clone(),
        raft,
        replica,
        proposer,
        reads,
        leases,
        wal,
        peers,
        state_dir,
    });
    if let Err(what) = member.check_at_start().await {
        member.stop().await;
        return Err(StartError::Differs { member: member.config().member, what });
    }
    for address in listen {
        service::serve(member.clone(), &env, address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
    }
    Ok(member)
}

/// A member without a log or with an empty one, but which its peers know as started, or as removed, has lost its disk:
/// it must not come back as if it were new, because it would vote twice.
async fn refuse_if_wiped(config: &MemberConfig, env: &Env) -> Result<(), StartError> {
    let peers = Peers::new(env.clock.clone(), config.security.dialer.clone(), config.cluster, config.member);
    config.members.iter().for_each(|member| peers.learn(member.id, &member.peer_urls));
    for member in config.members.iter().filter(|member| member.id != config.member) {
        match peers.hello(member.id, HELLO_TIMEOUT).await {
            Ok(Fate::NotRun) => {}
            Ok(Fate::HasRun) => {
                return Err(StartError::Wiped { member: config.member, peer: member.id });
            }
            // It would vote wherever it is still counted.
            Ok(Fate::Leaving | Fate::Removed) | Err(PeerError::Removed(_)) => {
                let dir = config.data_dir.display().to_string();
                return Err(StartError::Removed { member: config.member, dir });
            }
            // A peer that cannot be asked says nothing: at the first start of a cluster nobody answers.
            Err(_) => {}
        }
    }
    Ok(())
}

/// Reads the WAL on a worker of its own.
async fn read_wal(config: &MemberConfig, env: &Env, worker: &Arc<dyn Worker>) -> Result<ReadLog, StartError> {
    let identity = Identity { cluster: config.cluster, member: config.member };
    let options = WalOptions { segment_bytes: config.knobs.wal_segment_bytes, ..WalOptions::default() };
    let (disk, entropy) = (env.disk.clone(), env.entropy.clone());
    let dir = wal_dir(&config.data_dir);
    let read = crate::env::run(&**worker, move || Wal::read(disk, &dir, identity, options, entropy)).await;
    let shown = config.data_dir.display().to_string();
    Ok(read.map_err(|source| StartError::Io { dir: shown, source })??)
}

/// Makes what was read of the WAL durable, and opens it.
async fn begin_wal(
    log: ReadLog,
    config: &MemberConfig,
    env: &Env,
    worker: &Arc<dyn Worker>,
) -> Result<(WalHandle, Recovered), StartError> {
    let opened = crate::env::run(&**worker, move || log.begin()).await;
    let shown = config.data_dir.display().to_string();
    let (wal, recovered) = opened.map_err(|source| StartError::Io { dir: shown, source })??;
    Ok((WalHandle::start(wal, env.clone()), recovered))
}

/// Binds the peer port and serves it for as long as the member lives.
async fn serve_peers(config: &MemberConfig, env: &Env, front: PeerFront) -> std::io::Result<()> {
    let service = PeerGrpc::new(PeerServer::new(Arc::new(front)))
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let gate = config.security.gate(config.peer_listen);
    listen::serve(listen::server().add_service(service), config.peer_listen, gate, env, Whom::Peers).await
}
