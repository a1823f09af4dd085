//! The state engine at a start: opened, loaded, held against the log, and built anew when it is rotten.
//!
//! What a member promised stands in its log. So an engine that is damaged, or behind the place where the log begins, is
//! no reason to ask anybody for help: the log fills a new one, and where it does not reach back far enough a peer's state
//! does, which holds nothing but committed entries. Until such a state is here, whole, nothing of the old one is touched;
//! then the old one is set aside.
//!
//! What it does not do: it never makes a log fit an engine. An engine ahead of its log means that the log has lost
//! something, and that is not to be repaired here; it is found before anything of that log is written.

use std::sync::Arc;
use std::time::Duration;

use crate::env::{Env, Observation, Witness, within};
use crate::machine::persist::Bucket;
use crate::machine::state::State;
use crate::node::StartError;
use crate::pb::peer as pb;
use crate::pb::peer::snapshot_part::Part;
use crate::peer::{PeerError, Peers};
use crate::raft::replica::{load_membership, membership_key};
use crate::raft::snapshot::Receiving;
use crate::raft::types::RaftMembership;
use crate::storage::engine::{Engine, EngineError, PageLimit};
use crate::storage::state_dir::{Staging, StateDir};
use crate::storage::wal::{Reach, Recovered, WalHandle, WalRecord};
use crate::types::{LogId, LogIndex, MemberId, Term};

/// How long peers are asked for a state before the start is refused: long enough for them to have started too.
const FETCH_PATIENCE: Duration = Duration::from_secs(20);
/// The pause before they are asked again.
const FETCH_PAUSE: Duration = Duration::from_millis(200);
/// How long a peer may take for one part of its state, and where it is not known who the peers are, to say so.
const PART_TIMEOUT: Duration = Duration::from_secs(5);

/// An engine with what it holds.
pub struct Loaded {
    /// The engine; nothing was written to it.
    pub engine: Arc<dyn Engine>,
    /// The state.
    pub state: State,
    /// Who votes, as of the state.
    pub membership: RaftMembership,
    /// The entry of the snapshot that the engine was made of, if it was.
    pub installed: Option<LogId>,
}

/// What opening an engine takes.
pub struct Opening<'o> {
    /// The seams.
    pub env: &'o Env,
    /// The data directory, for errors.
    pub dir: &'o str,
    /// Where the state lives.
    pub state_dir: &'o StateDir,
    /// Whom to ask for a state: the address book with those who are known by their ids.
    pub peers: &'o Peers,
    /// Where others are asked who belongs to the cluster.
    pub seeds: &'o [String],
}

impl Opening<'_> {
    /// What `loaded` is, or an engine that is built anew where that is damage; of the log, entries that contradict what a
    /// peer sent are cut.
    ///
    /// # Errors
    /// See [`StartError`]; an engine that could be rebuilt from nothing is as it was found.
    pub async fn or_rebuilt(
        &self,
        loaded: Result<Loaded, StartError>,
        wal: &WalHandle,
        recovered: &mut Recovered,
    ) -> Result<Loaded, StartError> {
        let why = match loaded {
            Err(why) if why.is_engine_damage() => why,
            other => return other,
        };
        Witness::of(self.peers.own()).tell(|| Observation::Rebuilding { why: why.to_string() });
        if recovered.purged.is_none() {
            tracing::warn!(%why, "the state engine is built anew from the log");
            self.state_dir.set_aside().await?;
            crate::sometimes!("an engine was rebuilt from the log");
            return self.load(recovered.reach()).await;
        }
        self.rebuild_from_a_peer(wal, recovered, why).await
    }

    /// Opens the engine, and holds it against a log that reaches so far.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn load(&self, log: Reach) -> Result<Loaded, StartError> {
        let (engine, origin) = self.state_dir.open(log.purged).await?;
        tracing::info!(?origin, engine = engine.name(), "the state engine is open");
        self.examine(engine, log)
    }

    /// Loads what the engine holds, and holds it against the log.
    fn examine(&self, engine: Arc<dyn Engine>, log: Reach) -> Result<Loaded, StartError> {
        let dir = || self.dir.to_owned();
        let reader = engine.reader()?;
        let state = State::load(|bucket, from, limit| reader.page(bucket, from, PageLimit::of(limit)))
            .map_err(|error| StartError::Corrupt { dir: dir(), what: self.state_dir.said(&error) })?;
        let membership = load_membership(reader.get(Bucket::Meta, membership_key())?)
            .map_err(|what| StartError::Corrupt { dir: dir(), what })?;
        let installed = self.state_dir.installed_at(&*reader)?;
        drop(reader);
        if state.applied() > log.last && state.applied() != installed {
            let what = format!(
                "the state engine {} holds entry {:?}, but the write-ahead log ends at {:?}: they do not belong together",
                self.state_dir.root(),
                state.applied(),
                log.last
            );
            return Err(StartError::LogBehind { dir: dir(), what });
        }
        // Rot in the one place of redb's file that has no checksum can make it come up one flush older.
        if let Some(purged) = log.purged.filter(|purged| state.applied() < Some(*purged)) {
            let holds = state.applied().map_or("nothing".to_owned(), |applied| format!("entry {applied}"));
            let what = format!(
                "the state engine {} holds {holds}, but the write-ahead log begins behind {purged}: what is between is \
                 gone",
                self.state_dir.root()
            );
            return Err(StartError::Mismatch { dir: dir(), what });
        }
        Ok(Loaded { engine, state, membership, installed })
    }

    /// Asks one peer after the other for its state, until one has given it or the time is over.
    async fn rebuild_from_a_peer(
        &self,
        wal: &WalHandle,
        recovered: &mut Recovered,
        why: StartError,
    ) -> Result<Loaded, StartError> {
        let clock = &*self.env.clock;
        let deadline = clock.monotonic() + FETCH_PATIENCE;
        loop {
            // Who is there may have a state to give where nobody can say, without this member, who belongs to the cluster.
            for seed in self.seeds {
                self.peers.meet(seed, PART_TIMEOUT).await;
            }
            let mut said = Vec::new();
            for peer in self.peers.members() {
                match self.fetch(peer, recovered).await {
                    Ok((staging, at)) => {
                        tracing::warn!(%why, %peer, %at, "the state engine is built anew from a peer's state");
                        return self.adopt(staging, at, wal, recovered).await;
                    }
                    Err(FetchError::Peer(PeerError::Removed(_))) => return Err(self.removed()),
                    Err(error) => said.push(format!("{peer}: {error}")),
                }
            }
            // Who is alone has nobody to wait for.
            if said.is_empty() && self.seeds.is_empty() {
                return Err(why);
            }
            if said.is_empty() {
                said.push("nobody says who the members are".to_owned());
            }
            if clock.monotonic() >= deadline {
                return Err(StartError::NotRebuilt { why: Box::new(why), peers: said.join("; ") });
            }
            for seed in self.seeds {
                self.peers.learn_from(seed, PART_TIMEOUT).await;
            }
            clock.sleep(FETCH_PAUSE).await;
        }
    }

    fn removed(&self) -> StartError {
        StartError::Removed { member: self.peers.own(), dir: self.dir.to_owned() }
    }

    /// Receives the state of a peer beside what is there, and the entry that it stands at.
    async fn fetch(&self, peer: MemberId, recovered: &Recovered) -> Result<(Staging, LogId), FetchError> {
        let clock = &*self.env.clock;
        let mut parts = self.peers.fetch_snapshot(peer, PART_TIMEOUT).await?;
        let mut at = None;
        let mut staging = self.state_dir.staging().await?;
        let mut receiving = Receiving::default();
        loop {
            let part = within(clock, PART_TIMEOUT, parts.message()).await.ok_or(FetchError::Slow)?;
            let part = part.map_err(|status| FetchError::Broken(status.message().to_owned()))?;
            match part.and_then(|part| part.part) {
                Some(Part::Header(header)) => at = Some(self.useful(&header, recovered)?),
                Some(Part::Chunk(bytes)) => {
                    if receiving.take(&mut staging, &bytes).await.map_err(FetchError::Broken)? {
                        break;
                    }
                }
                None => return Err(FetchError::Broken("it ended early".to_owned())),
            }
        }
        let at = at.ok_or_else(|| FetchError::Broken("it has no header".to_owned()))?;
        Ok((staging, at))
    }

    /// The entry that a state stands at, if the log goes on from there.
    fn useful(&self, header: &pb::SnapshotHeader, recovered: &Recovered) -> Result<LogId, FetchError> {
        let at = header.last.as_ref().map(|id| LogId { term: Term(id.term), index: LogIndex(id.index) });
        at.filter(|at| recovered.purged <= Some(*at)).ok_or(FetchError::Old)
    }

    /// Puts a received state in the place of the engine.
    ///
    /// Entries of the log from its own on that are not its own were never committed, and no log may hold them beside it:
    /// they are cut before it is durable, as they are when a leader sends a snapshot. A log that ends before it may end in
    /// such entries too, and nothing here tells which they are: all of it is forgotten, which says at the same time that no
    /// older state will do. What this member acknowledged is in that state, or was never committed.
    async fn adopt(
        &self,
        staging: Staging,
        at: LogId,
        wal: &WalHandle,
        recovered: &mut Recovered,
    ) -> Result<Loaded, StartError> {
        let io = |source| StartError::Io { dir: self.dir.to_owned(), source };
        let own = recovered.entries.iter().find(|entry| entry.log_id.index == at.index);
        let ends_before = recovered.reach().last.is_none_or(|last| last.index < at.index);
        if own.is_some_and(|entry| entry.log_id != at) {
            recovered.entries.retain(|entry| entry.log_id.index < at.index);
            let last = recovered.reach().last;
            if recovered.committed > last {
                let what = format!("entry {at} of a peer is not the one that this log knows as committed");
                return Err(StartError::Corrupt { dir: self.dir.to_owned(), what });
            }
            Witness::of(self.peers.own()).tell(|| Observation::Contradicted { after: last });
            wal.append(vec![WalRecord::TruncateAfter(last)], Box::new(drop));
        } else if ends_before {
            recovered.entries.clear();
            (recovered.purged, recovered.committed) = (Some(at), Some(at));
            wal.append(vec![WalRecord::Purge(at)], Box::new(drop));
        }
        wal.barrier().await.map_err(io)?;
        self.state_dir.set_aside().await?;
        let engine = staging.finish().await?;
        crate::sometimes!("an engine was rebuilt from a peer");
        self.examine(engine, recovered.reach())
    }
}

/// Why a peer's state is not here.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// It could not be asked, or refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It sends nothing any more.
    #[error("it takes too long")]
    Slow,
    /// What it sends is no state.
    #[error("its state is not whole: {0}")]
    Broken(String),
    /// The log has forgotten what comes behind its state.
    #[error("its state ends before the log begins")]
    Old,
    /// It cannot be stored.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
