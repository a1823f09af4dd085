//! A running member, as its services see it: commands, reads, watches, leases and its own state of health.
//!
//! It is put together by `node`, which starts everything it refers to. Nothing here speaks gRPC: requests come in
//! as the machine's own types.

mod auth;
mod config;
mod corruption;
mod downgrade;
#[cfg(not(madsim))]
pub mod jwt;
mod leases;
mod maintain;
mod membership;
mod passwords;
mod reads;
mod security;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use crate::config::limits;
use crate::env::Env;
use crate::machine::command::{AlarmKind, Answer, Caller, Command, CommandError};
use crate::machine::effects::RecordsError;
use crate::machine::quota;
use crate::member::passwords::Passwords;
use crate::member::turns::TurnWaits;
use crate::peer::Peers;
use crate::raft::handle::{RaftHandle, RaftStatus, Reign};
use crate::raft::lease::requests::LeaseRequests;
use crate::raft::pending::ProposeError;
use crate::raft::proposer::Proposer;
use crate::raft::read_index::{ReadError, ReadIndex};
use crate::raft::replica::Replica;
use crate::raft::watch_stream::WatchStream;
use crate::storage::defragment::DefragmentError;
use crate::storage::engine::{EngineSize, Reader};
use crate::storage::state_dir::StateDir;
use crate::storage::wal::WalHandle;
use crate::types::{ApiLevel, ClusterId, LogId, MemberId, Revision, Term};

pub use auth::{AuthError, Credential};
pub use config::{Knobs, MemberConfig};
pub use downgrade::DowngradeError;
pub use leases::LeaseLife;
pub use membership::ChangeError;
pub use passwords::PasswordError;
pub use reads::{Piece, Pieces, Read};
pub use security::{Claims, Security, SignedTokens};
pub use turns::{Leaders, Place, Turn, TurnError};

/// What a member is made of, all of it started.
pub struct Parts {
    /// What it was told.
    pub config: MemberConfig,
    /// The seams.
    pub env: Env,
    /// The consensus core.
    pub raft: RaftHandle,
    /// Its state.
    pub replica: Arc<Replica>,
    /// Its way into the log.
    pub proposer: Proposer,
    /// Its way to linearizable reads.
    pub reads: ReadIndex,
    /// Its way to the leader's lease keeper.
    pub leases: LeaseRequests,
    /// Its log.
    pub wal: WalHandle,
    /// Its address book.
    pub peers: Peers,
    /// Where its state lives.
    pub state_dir: StateDir,
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
    peers: Peers,
    passwords: Passwords,
    state_dir: StateDir,
    /// Held while the state is written anew.
    defragmenting: tokio::sync::Mutex<()>,
    /// Places of those who wait for a session that is not known yet.
    session_waits: Semaphore,
    turn_waits: TurnWaits,
    stopping: AtomicBool,
    /// Whether its state has been found to cover the moment in which it joined.
    covers_joining: AtomicBool,
}

/// What a member knows of itself.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub member: MemberId,
    /// Its view of the consensus, in which a leader stands until there is another.
    pub raft: RaftStatus,
    /// The leader, if this member is in touch with it.
    pub leader: Option<MemberId>,
    /// The store's revision.
    pub revision: Revision,
    /// The oldest readable revision.
    pub compacted: Revision,
    /// The state's hash, and the applied entry it stands at.
    pub hash: (Option<LogId>, u128),
    /// The alarms that are raised, and who raised them.
    pub alarms: Vec<(AlarmKind, MemberId)>,
    /// The level that the cluster is prepared to go down to, if it is.
    pub downgrade: Option<ApiLevel>,
}

impl Member {
    /// Begins the member's own chores over started parts.
    pub fn start(parts: Parts) -> Arc<Member> {
        let Parts { config, env, raft, replica, proposer, reads, leases, wal, peers, state_dir } = parts;
        let passwords = Passwords::new(env.clone(), config.knobs.bcrypt_cost);
        let stopping = AtomicBool::new(false);
        let member = Arc::new(Member {
            config,
            env,
            raft,
            replica,
            proposer,
            reads,
            leases,
            wal,
            peers,
            passwords,
            state_dir,
            defragmenting: tokio::sync::Mutex::default(),
            session_waits: Semaphore::new(limits::SESSION_WAITS_MAX),
            turn_waits: TurnWaits::default(),
            stopping,
            covers_joining: AtomicBool::new(false),
        });
        tokio::spawn(member.clone().maintain());
        member.watch_for_corruption();
        member
    }

    /// What the member was started with.
    pub fn config(&self) -> &MemberConfig {
        &self.config
    }

    /// The member's state.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Gets a caller's command into the log and waits until this member has applied it. What would exceed the quota is
    /// refused before that, and raises the alarm. What clients ask for comes by way of [`Member::propose_for`].
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, caller: Caller, command: Command) -> Result<Answer, ProposeError> {
        if let Some(refused) = self.over_quota(&command) {
            let member = self.config.member;
            let raised = (AlarmKind::NoSpace, member);
            if !self.replica.state().alarms().iter().any(|alarm| alarm == raised) {
                let alarm = Command::Alarm { raise: true, member, kind: AlarmKind::NoSpace };
                self.proposer.propose(Caller::Member, alarm).await?;
            }
            return Ok(refused);
        }
        self.proposer.propose(caller, command).await
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

    /// Opens a stream of watches.
    pub fn watch(&self) -> WatchStream {
        WatchStream::open(self.replica.clone())
    }

    /// Whether the member is being stopped.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// State or history that cannot be read is fatal: the process is told to end.
    pub fn unreadable(&self, error: &RecordsError) -> ReadError {
        self.replica.fatal(&error.to_string());
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
            leader: self.raft.present_leader(),
            revision: state.revision(),
            compacted: state.compacted(),
            hash: (state.applied(), state.hash()),
            alarms: state.alarms().iter().collect(),
            downgrade: state.downgrade(),
        }
    }

    /// Waits until `holds` is true of who leads, as this member knows it; for ever, when the member stops before.
    pub async fn reign_when(&self, holds: impl FnMut(Reign) -> bool) -> Reign {
        self.raft.reign_when(holds).await
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.raft.term()
    }

    /// Whether this member is in touch with a leader.
    pub fn has_leader(&self) -> bool {
        self.raft.present_leader().is_some()
    }

    /// The store's revision now.
    pub fn revision(&self) -> Revision {
        self.replica.state().revision()
    }

    /// Space that the state takes on the disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn size(&self) -> Result<EngineSize, ReadError> {
        self.replica.store().size().map_err(|error| self.unreadable(&RecordsError(error.to_string())))
    }

    /// Has the state take no more space on the disk than it needs, while it is read and written; returns when that is
    /// done.
    ///
    /// # Errors
    /// See [`DefragmentError`].
    pub async fn defragment(&self) -> Result<(), DefragmentError> {
        let Ok(_alone) = self.defragmenting.try_lock() else { return Err(DefragmentError::UnderWay) };
        let before = self.replica.store().size()?;
        self.replica.store().defragment(&self.state_dir, &self.wal).await?;
        let after = self.replica.store().size()?;
        tracing::info!(
            before_bytes = before.file_bytes,
            after_bytes = after.file_bytes,
            "space was given back"
        );
        Ok(())
    }

    /// A view of everything that this member has applied, for as long as it is held.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn pinned_state(&self) -> Result<Box<dyn Reader>, ReadError> {
        // The planted bug takes the engine for all there is.
        if !crate::mutant!("image-behind-what-was-answered") {
            self.replica.store().drained().await;
        }
        self.replica.store().pin().map_err(|error| self.unreadable(&RecordsError(error.to_string())))
    }

    /// Waits until the entry at `index` is applied here; false when the member ended first.
    pub async fn applied(&self, index: u64) -> bool {
        self.replica.applied().reached(index).await
    }

    /// Stops the member: no new work is taken, what is accepted becomes durable, and the state engine is closed.
    /// Returns when all that is done; only the peer server still answers, and only to refuse.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.replica.watches().stop();
        self.raft.shutdown().await;
        if let Err(error) = self.replica.store().close(&self.wal).await {
            tracing::error!(%error, "the state engine could not be closed");
        }
    }
}
