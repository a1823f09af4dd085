//! The log, as the consensus core asks for it: entries in memory for reading, the WAL for durability.
//!
//! Order is everything: votes, entries and truncations go to the WAL through one queue, in the order the core
//! asked, and each is answered only once it is durable. All entries above the purged one are kept in memory;
//! purging by WAL bytes bounds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, Vote};

use crate::env::{Ballot, Observation, Witness, digest};
use crate::raft::codec::{EntryError, from_wal, to_wal};
use crate::raft::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig, log_id, raft_log_id};
use crate::storage::full_snapshot::FullSnapshot;
use crate::storage::wal::{self, Recovered, WalHandle, WalRecord};
use crate::types::{LogId, MemberId, Term};

/// The log of one member. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    witness: Witness,
    wal: WalHandle,
    memory: Arc<Mutex<Memory>>,
    /// What alone may let this log forget, with an engine that does not survive a power loss.
    full: Option<FullSnapshot>,
}

/// Where replication asked for entries that are purged and was given none. Clones share it.
#[derive(Clone)]
pub struct Refusals(Arc<Mutex<Memory>>);

impl Refusals {
    /// Whether the entry after `prev` was asked for and refused since this was last asked.
    pub fn take(&self, prev: Option<&RaftLogId>) -> bool {
        let next = prev.map_or(0, |prev| prev.index + 1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused.remove(&next)
    }
}

struct Memory {
    entries: BTreeMap<u64, RaftEntry>,
    purged: Option<RaftLogId>,
    vote: Option<RaftVote>,
    committed: Option<RaftLogId>,
    /// The first index of each question that was refused because it is purged.
    refused: BTreeSet<u64>,
}

impl LogStore {
    /// The log of `member` as the WAL gave it back. With `full` it is never purged beyond what that file holds.
    ///
    /// # Errors
    /// [`EntryError`] when an entry is of a kind that this version does not know.
    pub fn new(
        member: MemberId,
        wal: WalHandle,
        recovered: Recovered,
        full: Option<FullSnapshot>,
    ) -> Result<LogStore, EntryError> {
        let witness = Witness::of(member);
        witness.tell(|| Observation::Recovered {
            purged: recovered.purged,
            vote: recovered.vote.as_ref().map(|vote| ballot(&vote_from_wal(vote))),
            entries: recovered.entries.iter().map(|entry| (entry.log_id, digest(&entry.payload))).collect(),
        });
        let mut entries = BTreeMap::new();
        for entry in recovered.entries {
            entries.insert(entry.log_id.index.0, from_wal(entry.log_id, entry.payload)?);
        }
        let last = entries.last_key_value().map(|(index, _)| *index);
        if last > recovered.committed.map(|committed| committed.index.0) {
            crate::sometimes!("entries not known to be committed found at start");
        }
        let memory = Memory {
            entries,
            purged: recovered.purged.map(raft_log_id),
            vote: recovered.vote.map(|vote| vote_from_wal(&vote)),
            committed: recovered.committed.map(raft_log_id),
            refused: BTreeSet::new(),
        };
        Ok(LogStore { witness, wal, memory: Arc::new(Mutex::new(memory)), full })
    }

    /// What replication was refused.
    pub fn refusals(&self) -> Refusals {
        Refusals(self.memory.clone())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry's id, or the purged one when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.memory().last().as_ref().map(log_id)
    }

    /// How many entries stand in the log.
    pub fn len(&self) -> u64 {
        u64::try_from(self.memory().entries.len()).unwrap_or(u64::MAX)
    }

    /// Whether the log holds no entry.
    pub fn is_empty(&self) -> bool {
        self.memory().entries.is_empty()
    }

    /// Writes `records` and waits until they are durable.
    async fn persist(&self, records: Vec<WalRecord>) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // The receiver is gone when the core was dropped: nobody is left to tell.
        self.wal.append(records, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::BrokenPipe, "the log has ended")))
    }
}

impl Memory {
    fn last(&self) -> Option<RaftLogId> {
        self.entries.values().next_back().map(|entry| entry.log_id).or(self.purged)
    }
}

fn vote_from_wal(vote: &wal::Vote) -> RaftVote {
    let member = vote.voted_for.unwrap_or(MemberId(0)).0;
    if vote.committed { Vote::new_committed(vote.term.0, member) } else { Vote::new(vote.term.0, member) }
}

fn ballot(vote: &RaftVote) -> Ballot {
    let leader = vote.leader_id();
    Ballot { term: Term(leader.term), candidate: MemberId(leader.voted_for), won: vote.is_committed() }
}

fn vote_to_wal(vote: &RaftVote) -> wal::Vote {
    let leader = vote.leader_id();
    wal::Vote {
        term: Term(leader.term),
        voted_for: Some(MemberId(leader.voted_for)),
        committed: vote.is_committed(),
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        Ok(self.memory().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        crate::disturb!("entries are read late for a peer", &*self.wal.clock());
        // Bounded, so that one message stays small; at least one entry always goes.
        const BATCH_BYTES_MAX: usize = 1 << 20;
        let bytes_max = if crate::buggify!("one entry in a message") { 0 } else { BATCH_BYTES_MAX };
        let mut memory = self.memory();
        // A stream may still ask for what was purged meanwhile. It must not get a later entry in its place. The
        // core makes an empty message of this answer, and would ask again for ever: the network knows that
        // message by the refusal and ends the stream, upon which the core looks at the follower anew.
        if memory.purged.is_some_and(|purged| start <= purged.index)
            && !crate::mutant!("replication-skips-purged-entries")
        {
            crate::sometimes!("a replication stream asked for purged entries");
            memory.refused.insert(start);
            return Ok(Vec::new());
        }
        let mut bytes = 0;
        let entries = memory.entries.range(start..end).map(|(_, entry)| entry.clone());
        Ok(entries
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += payload_bytes(entry);
                first || bytes <= bytes_max
            })
            .collect())
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.memory().vote)
    }
}

fn payload_bytes(entry: &RaftEntry) -> usize {
    const ENTRY_OVERHEAD_BYTES: usize = 64;
    match &entry.payload {
        openraft::EntryPayload::Normal(batch) => batch.bytes.len() + ENTRY_OVERHEAD_BYTES,
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => ENTRY_OVERHEAD_BYTES,
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.memory();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        crate::disturb!("a vote is written late", &*self.wal.clock());
        self.memory().vote = Some(*vote);
        let records = vec![WalRecord::Vote(vote_to_wal(vote))];
        // The planted bug answers as soon as the log has been told.
        if crate::mutant!("raft-vote-answered-before-sync") {
            self.wal.append(records, Box::new(drop));
        } else {
            self.persist(records).await?;
        }
        self.witness.tell(|| Observation::Voted(ballot(vote)));
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        self.memory().committed = committed;
        if let Some(committed) = committed {
            self.witness.tell(|| Observation::Committed { upto: log_id(&committed) });
            self.wal.note_committed(log_id(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        // The planted bug takes all that it finds for committed.
        if crate::mutant!("raft-uncommitted-tail-applied-at-start") {
            return Ok(self.memory().last());
        }
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let last;
        {
            let mut memory = self.memory();
            for entry in entries {
                let expected = memory.last().map_or(0, |last| last.index + 1);
                assert_eq!(entry.log_id.index, expected, "the log has no holes");
                let record = to_wal(&entry);
                self.witness
                    .tell(|| Observation::Appended { entry: record.log_id, digest: digest(&record.payload) });
                records.push(WalRecord::Entry(record));
                memory.entries.insert(entry.log_id.index, entry);
            }
            last = memory.last();
        }
        let witness = self.witness;
        let done = move |result: io::Result<()>| {
            if let (Ok(()), Some(last)) = (&result, &last) {
                witness.tell(|| Observation::Durable { upto: log_id(last) });
            }
            callback.io_completed(result);
        };
        self.wal.append(records, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> Result<(), io::Error> {
        {
            let mut memory = self.memory();
            let from = last.map_or(0, |last| last.index + 1);
            if !memory.entries.split_off(&from).is_empty() {
                crate::sometimes!("a conflicting suffix was cut off the log");
            }
        }
        self.witness.tell(|| Observation::Truncated { after: last.as_ref().map(log_id) });
        self.persist(vec![WalRecord::TruncateAfter(last.as_ref().map(log_id))]).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        assert!(
            self.full.as_ref().is_none_or(|full| full.covers(log_id(&upto))),
            "the log is purged only up to a durable snapshot file"
        );
        {
            let mut memory = self.memory();
            memory.entries = memory.entries.split_off(&(upto.index + 1));
            memory.purged = memory.purged.max(Some(upto));
        }
        self.witness.tell(|| Observation::Purged { upto: log_id(&upto) });
        crate::disturb!("a purge is written late", &*self.wal.clock());
        self.persist(vec![WalRecord::Purge(log_id(&upto))]).await
    }
}

#[cfg(all(test, not(madsim)))]
pub(super) mod tests {
    use openraft::Entry;
    use openraft::entry::RaftEntry as _;

    use super::*;
    use crate::env::{Env, Process};
    use crate::storage::wal::{Identity, Wal, WalOptions};
    use crate::types::{ClusterId, LogIndex};

    /// Outlives its log, whose folder goes while it still makes itself ready for more.
    struct Undying;

    impl Process for Undying {
        fn fatal(&self, _: &str) {}
    }

    pub(crate) fn entry(index: u64) -> RaftEntry {
        Entry::new_blank(id(index))
    }

    pub(crate) fn id(index: u64) -> RaftLogId {
        raft_log_id(LogId { term: Term(2), index: LogIndex(index) })
    }

    /// A log of the entries 4 to 8: what was before is purged.
    pub(crate) fn purged_up_to_3(dir: &std::path::Path) -> Result<LogStore, Box<dyn std::error::Error>> {
        let env = Env { process: Arc::new(Undying), ..Env::real()? };
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let (wal, recovered) =
            Wal::open(env.disk.clone(), dir, identity, WalOptions::default(), env.entropy.clone())?;
        let store = LogStore::new(MemberId(1), WalHandle::start(wal, env), recovered, None)?;
        let mut memory = store.memory();
        memory.purged = Some(id(3));
        memory.entries = (4..=8).map(|index| (index, entry(index))).collect();
        drop(memory);
        Ok(store)
    }

    #[tokio::test]
    async fn who_asks_for_purged_entries_gets_none_and_the_refusal_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = purged_up_to_3(dir.path()).unwrap();
        let indices =
            |entries: Vec<RaftEntry>| entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>();
        assert_eq!(indices(store.limited_get_log_entries(4, 7).await.unwrap()), [4, 5, 6]);
        // Not a later one in place of those that are gone.
        assert_eq!(indices(store.limited_get_log_entries(3, 9).await.unwrap()), [0; 0]);
        let refusals = store.refusals();
        assert!(!refusals.take(Some(&id(3))), "those behind the purged one were given");
        assert!(refusals.take(Some(&id(2))));
        assert!(!refusals.take(Some(&id(2))), "once");
    }
}
