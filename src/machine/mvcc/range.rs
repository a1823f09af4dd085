//! Ranges: what the key space holds at a revision, in the API's order, cut and filtered as it defines.
//!
//! The index is walked first, in steps whose length the caller chooses, so that nobody has to hold the state
//! still for long; values are read afterwards, from records, which never change. A reader that lets go of the
//! state between steps must keep physical compaction behind its revision (see `compact.rs`); if it did not, a
//! step answers "compacted" and never something wrong.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::machine::command::{CommandError, KeyValue, Range, RangeReply, SortOrder, SortTarget};
use crate::machine::effects::{Event, Records, RecordsError};
use crate::machine::mvcc::Mvcc;
use crate::types::{KeyRange, LeaseId, RevPair, Revision};

/// A key as a range found it in the index: everything but value and lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: Bytes,
    /// Where its value lies.
    pub at: RevPair,
    /// The revision that created it.
    pub created: Revision,
    /// Its version.
    pub version: i64,
}

/// One step's outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Keys living at the revision, in key order.
    pub found: Vec<Found>,
    /// Where the next step starts; `None` at the end of the range.
    pub resume: Option<Bytes>,
}

impl Mvcc {
    /// The revision a read means: 0 and below are the current one.
    ///
    /// # Errors
    /// The revision lies in the future or has been compacted.
    pub(crate) fn read_revision(&self, asked: Revision, current: Revision) -> Result<Revision, CommandError> {
        if asked > current {
            return Err(CommandError::FutureRevision);
        }
        let revision = if asked.0 <= 0 { current } else { asked };
        // The planted bug refuses the compacted revision itself, which can still be read.
        let refused = revision < self.compacted
            || (revision == self.compacted && crate::mutant!("compact-refuses-its-own-revision"));
        if refused { Err(CommandError::Compacted(self.compacted)) } else { Ok(revision) }
    }

    /// Walks at most `budget` keys of the index, from `resume` on, and answers those living at `revision`.
    ///
    /// # Errors
    /// Physical compaction has passed the revision.
    pub fn chunk(
        &self,
        range: &KeyRange,
        revision: Revision,
        resume: Option<&[u8]>,
        budget: usize,
    ) -> Result<Chunk, CommandError> {
        if revision < self.sweep.pruned() {
            return Err(CommandError::Compacted(self.compacted));
        }
        let mut chunk = Chunk::default();
        for (walked, (key, history)) in self.index.range(range, resume).enumerate() {
            if walked >= budget {
                chunk.resume = Some(key.clone());
                break;
            }
            if let Some(change) = history.visible_at(revision) {
                let (created, version) = (change.created, change.version);
                chunk.found.push(Found { key: key.clone(), at: change.at, created, version });
            }
        }
        Ok(chunk)
    }
}

/// A range on its way: first `State::range_step` until done, then [`RangeCursor::arrange`], and values are read.
#[derive(Clone, Debug)]
pub struct RangeCursor {
    query: Range,
    revision: Revision,
    resume: Option<Bytes>,
    found: Vec<Found>,
    count: i64,
    /// Keys to keep while walking; `None` keeps all.
    keep: Option<usize>,
}

impl RangeCursor {
    /// Begins `query` at the revision it means while the store is at `current`.
    ///
    /// # Errors
    /// The revision lies in the future or has been compacted.
    pub(crate) fn begin(kv: &Mvcc, query: Range, current: Revision) -> Result<RangeCursor, CommandError> {
        let revision = kv.read_revision(query.revision, current)?;
        let keep = if query.count_only { Some(0) } else { keep(&query) };
        Ok(RangeCursor { query, revision, resume: None, found: Vec::new(), count: 0, keep })
    }

    /// The revision the range reads at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Walks at most `budget` more keys of the index; whether the walk is done.
    ///
    /// # Errors
    /// Physical compaction has passed the range's revision.
    pub(crate) fn step_in(&mut self, kv: &Mvcc, budget: usize) -> Result<bool, CommandError> {
        let mut chunk = kv.chunk(&self.query.range, self.revision, self.resume.as_deref(), budget.max(1))?;
        self.count = self.count.saturating_add(i64::try_from(chunk.found.len()).unwrap_or(i64::MAX));
        if let Some(keep) = self.keep {
            chunk.found.truncate(keep.saturating_sub(self.found.len()));
        }
        let passes = |found: &Found| passes(&self.query, found);
        self.found.extend(chunk.found.into_iter().filter(passes));
        self.resume = chunk.resume;
        Ok(self.resume.is_none())
    }

    /// Sorts and cuts what the walk found. What is left is to read the values, which needs the state no more.
    pub fn arrange(mut self) -> RangeReading {
        assert!(self.resume.is_none(), "a range is arranged after its walk");
        let query = self.query;
        let limit = usize::try_from(query.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let more = !query.count_only && self.found.len() > limit;
        if query.count_only {
            self.found.clear();
        }
        if query.sort_target != SortTarget::Value {
            sort(&query, &mut self.found, |query, a, b| match query.sort_target {
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.created.cmp(&b.created),
                SortTarget::Mod => a.at.main.cmp(&b.at.main),
                SortTarget::Key | SortTarget::Value => a.key.cmp(&b.key),
            });
            self.found.truncate(limit);
        }
        let kvs = Vec::with_capacity(self.found.len());
        RangeReading { query, limit, more, count: self.count, found: self.found.into_iter(), kvs }
    }

    /// The whole answer at once, after the walk.
    ///
    /// # Errors
    /// A record could not be read.
    pub fn finish(self, records: &dyn Records) -> Result<RangeReply, RecordsError> {
        let mut reading = self.arrange();
        reading.step(records, usize::MAX)?;
        Ok(reading.reply())
    }
}

/// A range whose keys are known and whose values are being read: [`RangeReading::step`] until done, then
/// [`RangeReading::reply`].
#[derive(Debug)]
pub struct RangeReading {
    query: Range,
    limit: usize,
    more: bool,
    count: i64,
    found: std::vec::IntoIter<Found>,
    kvs: Vec<KeyValue>,
}

impl RangeReading {
    /// Reads at most `budget` more values; whether all are there.
    ///
    /// # Errors
    /// A record could not be read.
    pub fn step(&mut self, records: &dyn Records, budget: usize) -> Result<bool, RecordsError> {
        let from_index = self.query.keys_only && self.query.sort_target != SortTarget::Value;
        for found in self.found.by_ref().take(budget) {
            self.kvs.push(if from_index { found.without_value() } else { read(records, found)? });
        }
        Ok(self.found.len() == 0)
    }

    /// The answer.
    pub fn reply(mut self) -> RangeReply {
        assert_eq!(self.found.len(), 0, "a range is answered when all of it is read");
        if self.query.sort_target == SortTarget::Value {
            sort(&self.query, &mut self.kvs, |_, a, b| a.value.cmp(&b.value));
            self.kvs.truncate(self.limit);
            if self.query.keys_only {
                self.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
            }
        }
        RangeReply { kvs: self.kvs, more: self.more, count: self.count }
    }
}

impl Found {
    /// The key without value, and (as the API has it for such answers) without lease.
    pub fn without_value(self) -> KeyValue {
        KeyValue {
            key: self.key,
            create_revision: self.created,
            mod_revision: self.at.main,
            version: self.version,
            value: Bytes::new(),
            lease: LeaseId::NONE,
        }
    }
}

/// The key-value that the index found.
///
/// # Errors
/// The record cannot be read or is not the one the index knows.
pub fn read(records: &dyn Records, found: Found) -> Result<KeyValue, RecordsError> {
    match records.record(found.at)?.event {
        Event::Put(kv) if kv.key == found.key && kv.version == found.version => Ok(kv),
        other => Err(RecordsError(format!(
            "record {}/{} should write {:?} for the {}th time, but is {other:?}",
            found.at.main, found.at.sub, found.key, found.version
        ))),
    }
}

/// How many keys in key order decide the answer. The API cuts by key before it sorts when no order is asked
/// for, whatever the target; it looks one key further, to know of more.
fn keep(query: &Range) -> Option<usize> {
    let filtered = [
        query.min_mod_revision,
        query.max_mod_revision,
        query.min_create_revision,
        query.max_create_revision,
    ];
    let as_stored = query.sort_order == SortOrder::None
        || (query.sort_target == SortTarget::Key && query.sort_order == SortOrder::Ascend);
    // The planted bug cuts before it filters.
    let unfiltered =
        filtered.iter().all(|filter| filter.0 == 0) || crate::mutant!("mvcc-limit-before-filter");
    let cut_by_key = as_stored && unfiltered;
    let limit = usize::try_from(query.limit).ok().filter(|limit| *limit > 0);
    limit.filter(|_| cut_by_key).map(|limit| limit.saturating_add(1))
}

fn passes(query: &Range, found: &Found) -> bool {
    let (changed, created) = (found.at.main, found.created);
    let at_least = |revision: Revision, bound: Revision| bound.0 == 0 || revision >= bound;
    let at_most = |revision: Revision, bound: Revision| bound.0 == 0 || revision <= bound;
    at_least(changed, query.min_mod_revision)
        && at_most(changed, query.max_mod_revision)
        && at_least(created, query.min_create_revision)
        && at_most(created, query.max_create_revision)
}

/// Sorts in the order asked for; equals stay in key order. `items` come in key order.
fn sort<T>(query: &Range, items: &mut [T], compare: impl Fn(&Range, &T, &T) -> Ordering) {
    match (query.sort_target, query.sort_order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => {}
        (SortTarget::Key, SortOrder::Descend) => items.reverse(),
        (_, SortOrder::Descend) => items.sort_by(|a, b| compare(query, b, a)),
        (_, SortOrder::None | SortOrder::Ascend) => items.sort_by(|a, b| compare(query, a, b)),
    }
}
