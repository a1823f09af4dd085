//! The applied side of the consensus core: hands committed entries to the [`Replica`], makes and takes
//! snapshots.
//!
//! "Building a snapshot" makes a pinned view durable ([`Store::secure`](crate::storage::store::Store::secure)): by
//! a flush, if the engine is durable by itself, else by a snapshot file; then the log may be purged up to it.
//! What peers are sent comes from a pinned view of its own, whenever one asks.
//!
//! Every failure here ends the process at once; what the consensus core makes of the error comes too late.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, SnapshotMeta};

use crate::env::{Observation, Witness, digest};
use crate::machine::persist::Bucket;
use crate::machine::state::State;
use crate::raft::codec::{batch_to_apply, encode_payload};
use crate::raft::replica::{Committed, Replica, load_membership, membership_key};
use crate::raft::snapshot::SnapshotData;
use crate::raft::types::{RaftLogId, RaftMembership, TypeConfig, log_id, raft_log_id};
use crate::storage::engine::{EngineError, PageLimit, Reader};
use crate::storage::wal::WalHandle;

/// Entries applied in one pass at most: publishing waits for the whole pass.
const APPLY_ENTRIES_MAX: usize = 64;
/// Views that a snapshot is tried from. One that became too old saw hundreds of megabytes overwritten while the
/// file was being written; a disk that is too slow for that time after time cannot carry this member.
const SNAPSHOT_VIEWS_MAX: u32 = 5;

/// The state machine of one member. Clones share the replica.
#[derive(Clone)]
pub struct StateMachine {
    replica: Arc<Replica>,
    wal: WalHandle,
}

impl StateMachine {
    /// A state machine over `replica`, whose log is in `wal`.
    pub fn new(replica: Arc<Replica>, wal: WalHandle) -> StateMachine {
        StateMachine { replica, wal }
    }

    /// A pinned view of everything applied so far, with what it holds.
    async fn pin(&self) -> Result<(SnapshotMetaOf<TypeConfig>, Box<dyn Reader>), io::Error> {
        crate::disturb!("a snapshot's view is taken late", self.replica.clock());
        self.replica.store().drained().await;
        let reader = self.replica.store().pin().map_err(io::Error::other)?;
        let (applied, membership) =
            contents(&*reader).inspect_err(|error| self.replica.fatal(error)).map_err(io::Error::other)?;
        Ok((SnapshotMeta { last_log_id: applied, last_membership: membership }, reader))
    }

    async fn install(
        &self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Incoming(staging) = snapshot else {
            return Err(io::Error::other("a snapshot to be sent is not installed"));
        };
        // The WAL must be durable through every truncation accepted before the new state can be.
        crate::disturb!("a snapshot is installed late", self.replica.clock());
        self.wal.barrier().await?;
        // From here on the disk names the new engine, and soon the member uses it: nobody may come in between.
        let _exchange = self.replica.store().exclusively().await;
        let engine = staging.finish().await.map_err(io::Error::other)?;
        crate::disturb!("an installed snapshot is put to use late", self.replica.clock());
        let reader = engine.reader().map_err(io::Error::other)?;
        let (applied, membership) = contents(&*reader).map_err(io::Error::other)?;
        assert_eq!(applied, meta.last_log_id, "the snapshot is what its header said");
        let state = State::load(|bucket, from, limit| reader.page(bucket, from, PageLimit::of(limit)))
            .map_err(|error| io::Error::other(error.to_string()))?;
        drop(reader);
        self.replica.install(state, membership, engine).map_err(io::Error::other)?;
        crate::sometimes!("snapshot installed");
        Ok(())
    }
}

/// What an engine's view holds: the applied entry and the membership.
fn contents(reader: &dyn Reader) -> Result<(Option<RaftLogId>, RaftMembership), String> {
    let get = |key: &[u8]| reader.get(Bucket::Meta, key).map_err(|error| error.to_string());
    let applied = get(crate::machine::state::APPLIED_KEY)?
        .map(crate::machine::state::decode_applied)
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok((applied.map(raft_log_id), load_membership(get(membership_key())?)?))
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        for _ in 0..SNAPSHOT_VIEWS_MAX {
            let (meta, reader) = self.pin().await?;
            let Some(applied) = meta.last_log_id.as_ref().map(log_id) else {
                let snapshot = SnapshotData::Outgoing(reader);
                return Ok(SnapshotOf::<TypeConfig, SnapshotData> { meta, snapshot });
            };
            match self.replica.store().secure(applied, reader, &self.wal).await {
                Ok(reader) => {
                    crate::disturb!("a snapshot is told of late", self.replica.clock());
                    crate::sometimes!("snapshot built");
                    let snapshot = SnapshotData::Outgoing(reader);
                    return Ok(SnapshotOf::<TypeConfig, SnapshotData> { meta, snapshot });
                }
                Err(EngineError::ReaderTooOld { .. }) => {
                    tracing::warn!(
                        "the state changed too fast to be written to its snapshot file: once more"
                    );
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let reason = "the state changes faster than its snapshot file can be written";
        self.replica.fatal(reason);
        Err(io::Error::other(reason))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = StateMachine;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, RaftMembership), io::Error> {
        let applied = self.replica.state().applied();
        Ok((applied.map(raft_log_id), self.replica.membership().clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let witness = Witness::of(self.replica.member());
        let mut chunks = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(chunk) = chunks.next().await {
            self.replica.store().room().await;
            let mut committed = Vec::with_capacity(chunk.len());
            let mut responders = Vec::with_capacity(chunk.len());
            for item in chunk {
                let (entry, responder) = item?;
                let at = log_id(&entry.log_id);
                witness.tell(|| Observation::Applied {
                    entry: at,
                    digest: digest(&encode_payload(&entry.payload)),
                });
                let content = match entry.payload {
                    EntryPayload::Blank => Committed::Blank,
                    EntryPayload::Normal(batch) => {
                        Committed::Batch(batch_to_apply(&batch).map_err(io::Error::other)?)
                    }
                    EntryPayload::Membership(membership) => {
                        Committed::Membership(RaftMembership::new(Some(entry.log_id), membership))
                    }
                };
                committed.push((at, content));
                responders.extend(responder);
            }
            crate::disturb!("apply begins late", self.replica.clock());
            if crate::buggify!("entries are applied one at a time") {
                for one in committed {
                    self.replica.apply(vec![one]).map_err(io::Error::other)?;
                    tokio::task::yield_now().await;
                }
            } else {
                self.replica.apply(committed).map_err(io::Error::other)?;
            }
            crate::disturb!("the core hears late of what was applied", self.replica.clock());
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> StateMachine {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        self.install(meta, snapshot).await.inspect_err(|error| self.replica.fatal(&error.to_string()))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        let (meta, reader) = self.pin().await?;
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        Ok(Some(SnapshotOf::<TypeConfig, SnapshotData> { meta, snapshot: SnapshotData::Outgoing(reader) }))
    }
}
