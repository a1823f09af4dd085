//! The whole replicated state of one member, and what may be read of it.
//!
//! Invariant: it is a function of the log alone. Nothing in it comes from a member's own configuration, clock
//! or disk, except how far physical compaction has come, which nothing replicated looks at.

use bytes::Bytes;

use crate::machine::alarm::Alarms;
use crate::machine::auth::Auth;
use crate::machine::command::{CommandError, Range, RangeReply, Txn, TxnReply};
use crate::machine::dedupe::Dedupe;
use crate::machine::effects::{Effects, Records, RecordsError};
use crate::machine::hash::ItemSum;
use crate::machine::lease::{Lease, Leases};
use crate::machine::members::Members;
use crate::machine::mvcc::Mvcc;
use crate::machine::mvcc::compact::CompactProgress;
use crate::machine::mvcc::range::{Chunk, RangeCursor};
use crate::machine::mvcc::write::Writer;
use crate::machine::overlay::Overlay;
use crate::machine::persist::{Bucket, Write};
use crate::machine::txn::{Plan, is_read_only};
use crate::types::{KeyRange, LeaseId, LogId, RevPair, Revision};

pub use crate::machine::codec::items::{applied_write, decode_applied};

/// The meta bucket's key for the applied log id.
pub const APPLIED_KEY: &[u8] = b"applied";

/// Everything replicated.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) kv: Mvcc,
    pub(crate) leases: Leases,
    pub(crate) members: Members,
    pub(crate) alarms: Alarms,
    pub(crate) auth: Auth,
    pub(crate) dedupe: Dedupe,
    pub(crate) items: ItemSum,
    pub(crate) applied: Option<LogId>,
}

impl State {
    /// The state before the first log entry.
    pub fn empty() -> State {
        State::default()
    }

    /// The last applied log entry. Entries that carry no batch count too: see [`State::set_applied`].
    pub fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// Notes an applied log entry that changes nothing here (an empty one, a membership change).
    pub fn set_applied(&mut self, log_id: LogId) {
        assert!(self.applied.is_none_or(|applied| applied < log_id), "entries are applied once, in order");
        self.applied = Some(log_id);
    }

    /// The store's revision.
    pub fn revision(&self) -> Revision {
        self.kv.revision
    }

    /// The oldest revision that can be read; -1 if history was never compacted.
    pub fn compacted(&self) -> Revision {
        self.kv.compacted
    }

    /// One lease.
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(id)
    }

    /// All leases.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The active alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Users, roles, and whether they matter.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The requests seen.
    pub fn dedupe(&self) -> &Dedupe {
        &self.dedupe
    }

    /// Keys living now or in history that is still indexed.
    pub fn indexed_keys(&self) -> usize {
        self.kv.index.len()
    }

    /// The whole answer to a range at once.
    ///
    /// # Errors
    /// Outer: a record could not be read. Inner: the revision is compacted or in the future.
    pub fn range(
        &self,
        records: &dyn Records,
        query: &Range,
    ) -> Result<Result<RangeReply, CommandError>, RecordsError> {
        let walk = self.range_begin(query.clone()).and_then(|mut cursor| {
            while !self.range_step(&mut cursor, usize::MAX)? {}
            Ok(cursor)
        });
        match walk {
            Ok(cursor) => cursor.finish(records).map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Begins a range whose walk over the index is done in steps: see [`RangeCursor`].
    ///
    /// # Errors
    /// The revision is compacted or in the future.
    pub fn range_begin(&self, query: Range) -> Result<RangeCursor, CommandError> {
        RangeCursor::begin(&self.kv, query, self.kv.revision)
    }

    /// Walks at most `budget` more keys; whether the walk is done and [`RangeCursor::finish`] may be called.
    ///
    /// # Errors
    /// Physical compaction, or a snapshot, has passed the revision that the range reads at.
    pub fn range_step(&self, cursor: &mut RangeCursor, budget: usize) -> Result<bool, CommandError> {
        cursor.step_in(&self.kv, budget)
    }

    /// The keys of `range` that live at `revision`, walking at most `budget` keys from `resume` on: for
    /// streams, which keep nothing but their place.
    ///
    /// # Errors
    /// Physical compaction, or a snapshot, has passed the revision.
    pub fn range_chunk(
        &self,
        range: &KeyRange,
        revision: Revision,
        resume: Option<&[u8]>,
        budget: usize,
    ) -> Result<Chunk, CommandError> {
        self.kv.chunk(range, revision, resume, budget)
    }

    /// The place of the record of `key` that `revision` sees, if the key lives then.
    ///
    /// # Errors
    /// The revision is compacted or in the future.
    pub fn locate(&self, key: &[u8], revision: Revision) -> Result<Option<RevPair>, CommandError> {
        let revision = self.kv.read_revision(revision, self.kv.revision)?;
        let history = self.kv.index.get(key);
        Ok(history.and_then(|history| history.visible_at(revision)).map(|change| change.at))
    }

    /// Answers a transaction that only reads, without the log.
    ///
    /// # Errors
    /// Outer: a record could not be read. Inner: a range of the branch taken is refused.
    pub fn read_txn(
        &self,
        records: &dyn Records,
        txn: &Txn,
    ) -> Result<Result<TxnReply, CommandError>, RecordsError> {
        assert!(is_read_only(txn), "a transaction that writes goes through the log");
        let plan = Plan::decide(&self.kv, records, txn)?;
        if let Err(refused) = plan.check(&self.kv, &self.leases) {
            return Ok(Err(refused));
        }
        plan.read(&self.kv, records).map(Ok)
    }

    /// Sweeps on after a compaction: at most about `budget` keys and records. Local to this member. What
    /// revisions from `pinned` on read stays. The records named must be deleted in their order, before those
    /// of the next step.
    pub fn compact_step(&mut self, budget: usize, pinned: Option<Revision>) -> CompactProgress {
        self.kv.compact_step(budget, pinned)
    }

    /// Raises the revision by `by` and makes all history before unreadable; answers what persists that. No request does
    /// this: a store that was brought back from an older state is made to, before it serves.
    ///
    /// # Errors
    /// The revision would be beyond all numbers.
    pub fn leap(&mut self, by: i64) -> Result<Write, String> {
        self.kv.leap(by)?;
        Ok(self.kv.meta_write())
    }

    /// A transaction's writer over this state.
    pub(crate) fn writer<'a, 'r>(&'a mut self, overlay: &'a mut Overlay<'r>) -> Writer<'a, 'r> {
        Writer::new(&mut self.kv, &mut self.leases, overlay)
    }

    /// Persists an item other than a record.
    pub(crate) fn replace(
        &mut self,
        effects: &mut Effects,
        bucket: Bucket,
        key: Bytes,
        old: Option<Bytes>,
        new: Option<Bytes>,
    ) {
        self.items.replace(effects, bucket, key, old, new);
    }
}
