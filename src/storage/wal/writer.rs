//! [`Wal`]: the open log, synchronous. One commit is one write and one sync.
//!
//! Invariants: one batch is in flight at a time, so a batch is written only after the one before it was synced;
//! a segment is used only after its checkpoint is durable, and its predecessor's link names it only then; a
//! segment is recycled only after the purge that makes it useless is durable; after a failed write or sync
//! nothing more is accepted. What is absent: no retry, no thread, no queue (see [`super::WalHandle`]).

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::{Content, batch_bytes};
use super::checkpoint::{Checkpoint, Link, PreviousEnd};
use super::directory::Directory;
use super::error::WalError;
use super::format::{BATCH_BODY_BYTES_MAX, BLOCK_BYTES, Salt, bytes_of};
use super::header::{SegmentHeader, SegmentId, Sequence};
use super::live::LiveBytes;
use super::record::{Identity, WalRecord};
use super::recycle::{Closed, Spare, SparePlan, Spares};
use super::segment::{Active, Founding, found, highest_index, segment_bytes_for};
use super::state::{LogState, further, index_after};
use crate::env::{Entropy, Lock};
use crate::types::{Incarnation, LogId};

/// How large a buffer is kept from one commit to the next, in bytes.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

/// How the log uses its folder.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// The size of a segment in bytes: a multiple of 4096, at least [`super::SEGMENT_BYTES_MIN`]. A batch that
    /// is larger gets a larger segment of its own.
    pub segment_bytes: u64,
    /// How many segments are kept ready, already written.
    pub prepared_segments: usize,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions { segment_bytes: 64 << 20, prepared_segments: 2 }
    }
}

/// A place in the log through which everything is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable {
    /// The segment's number.
    pub segment: u64,
    /// The offset in it, in bytes.
    pub offset: u64,
}

/// The open log of one member.
#[derive(Debug)]
pub struct Wal {
    pub(super) dir: Directory,
    pub(super) _lock: Box<dyn Lock>,
    pub(super) identity: Identity,
    pub(super) options: WalOptions,
    pub(super) entropy: Salts,
    pub(super) incarnation: Incarnation,
    pub(super) state: LogState,
    /// The newest commit mark handed in; it may be ahead of the log's end for a while.
    pub(super) committed: Option<LogId>,
    /// Oldest first.
    pub(super) closed: VecDeque<Closed>,
    pub(super) active: Active,
    pub(super) spares: Spares,
    pub(super) live: LiveBytes,
    /// Whether something that is durable vouches for the last batch.
    pub(super) sealed: bool,
    pub(super) failed: bool,
    pub(super) buffer: Vec<u8>,
}

/// Where salts come from.
pub(super) struct Salts(pub(super) Arc<dyn Entropy>);

impl std::fmt::Debug for Salts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salts")
    }
}

impl Salts {
    pub(super) fn next(&self) -> Salt {
        Salt(self.0.next_u64())
    }
}

impl Wal {
    /// Makes `records` durable as one batch: after a crash all of them are there or none. `committed` rides in
    /// the batch's header.
    ///
    /// # Errors
    /// [`WalError::Refused`] and [`WalError::NoSpace`] leave the log as it was. After any other error the log
    /// accepts nothing more, and the caller must stop the process: whether the records are durable is unknown.
    pub fn commit(&mut self, records: &[WalRecord], committed: Option<LogId>) -> Result<Durable, WalError> {
        self.guarded(|wal| wal.try_commit(records, committed))
    }

    /// Appends and syncs an empty batch that vouches for everything before it. Does nothing when something
    /// durable vouches already.
    ///
    /// # Errors
    /// As [`Wal::commit`].
    pub fn seal(&mut self) -> Result<Durable, WalError> {
        self.guarded(Wal::try_seal)
    }

    /// Notes the newest committed entry. It becomes durable with the next batch or seal, at no cost.
    pub fn note_committed(&mut self, committed: LogId) {
        self.committed = further(self.committed, Some(committed));
    }

    /// Forgets entries up to and including `upto`, durably, and recycles segments that hold nothing else.
    ///
    /// # Errors
    /// As [`Wal::commit`].
    pub fn purge(&mut self, upto: LogId) -> Result<Durable, WalError> {
        let durable = self.commit(&[WalRecord::Purge(upto)], None)?;
        self.recycle()?;
        Ok(durable)
    }

    /// Recycles segments wholly at or below what is durably purged.
    ///
    /// # Errors
    /// As [`Wal::commit`].
    pub fn recycle(&mut self) -> Result<(), WalError> {
        self.guarded(|wal| {
            while let Some(oldest) = wal.recyclable() {
                wal.spares.retire(&wal.dir, &oldest)?;
                wal.closed.pop_front();
            }
            Ok(())
        })
    }

    /// Whether [`Wal::recycle`] has something to do.
    pub fn can_recycle(&self) -> bool {
        self.recyclable().is_some()
    }

    fn recyclable(&self) -> Option<Closed> {
        let oldest = *self.closed.front()?;
        let needed = oldest.last_index.is_some_and(|last| {
            // The planted bug is off by one.
            let first_kept = index_after(self.state.purged);
            last > first_kept || (last == first_kept && !crate::mutant!("wal-recycles-an-entry-too-many"))
        });
        // Until something is written into the active segment, its predecessor's link is the only proof that the
        // active segment's name is durable.
        // The planted bug recycles it all the same.
        let proof =
            self.closed.len() == 1 && !self.active.used && !crate::mutant!("wal-proof-of-segment-recycled");
        (!needed && !proof).then_some(oldest)
    }

    /// Makes the spares that are still wanted, here and now. Blocks; see [`Wal::plan_spare`] for the way that
    /// delays nobody.
    ///
    /// # Errors
    /// [`WalError::NoSpace`] when the disk is full; [`WalError::Io`] when it fails.
    pub fn prepare(&mut self) -> Result<(), WalError> {
        while let Some(plan) = self.plan_spare() {
            let made = plan.carry_out();
            let (made, error) = made.map_or_else(|error| (None, Some(error)), |spare| (Some(spare), None));
            self.planned_spare(made);
            error.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// A spare that should be made, when there is one; hand what became of it to [`Wal::planned_spare`].
    pub fn plan_spare(&mut self) -> Option<SparePlan> {
        self.spares.plan(&self.dir, &self.entropy)
    }

    /// Takes in the outcome of the plan that [`Wal::plan_spare`] gave out.
    pub fn planned_spare(&mut self, made: Option<Spare>) {
        self.spares.planned(made);
    }

    /// Bytes written since the oldest entry that is not purged: what a purge would let go, give or take a
    /// sixteenth of a segment.
    pub fn size_bytes(&self) -> u64 {
        self.live.total()
    }

    /// Through where everything committed so far is durable.
    pub fn durable(&self) -> Durable {
        Durable { segment: self.active.header.id.sequence.0, offset: self.active.offset }
    }

    /// This start's number, durable.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&mut Wal) -> Result<T, WalError>) -> Result<T, WalError> {
        if self.failed {
            return Err(WalError::Failed { dir: self.dir.path().display().to_string() });
        }
        let result = work(self);
        self.failed = result.as_ref().is_err_and(|error| !error.is_harmless());
        result
    }

    fn refuse(&self, what: String) -> WalError {
        WalError::Refused { dir: self.dir.path().display().to_string(), what }
    }

    fn try_commit(&mut self, records: &[WalRecord], committed: Option<LogId>) -> Result<Durable, WalError> {
        let mut state = self.state;
        for record in records {
            state.apply(record).map_err(|what| self.refuse(what))?;
        }
        let bytes = batch_bytes(records);
        if bytes > bytes_of(BATCH_BODY_BYTES_MAX) {
            return Err(self.refuse(format!("a batch of {bytes} bytes is too large")));
        }
        self.committed = further(self.committed, committed);
        if records.is_empty() {
            return Ok(self.durable());
        }
        state.commit(self.committed);
        if !self.active.fits(bytes) {
            self.roll(bytes)?;
        }
        self.append(Content::Records(records), state)?;
        let highest = highest_index(records);
        self.active.last_index = self.active.last_index.max(highest);
        self.live.wrote(highest, bytes);
        self.live.purged(state.purged);
        Ok(self.durable())
    }

    fn try_seal(&mut self) -> Result<Durable, WalError> {
        if self.sealed {
            return Ok(self.durable());
        }
        let mut state = self.state;
        state.commit(self.committed);
        if self.active.fits(BLOCK_BYTES) {
            self.append(Content::Seal, state)?;
            self.live.wrote(None, BLOCK_BYTES);
        } else {
            // The next segment's checkpoint vouches as well as a seal does.
            self.state = state;
            self.roll(BLOCK_BYTES)?;
        }
        self.sealed = true;
        crate::sometimes!("wal sealed");
        Ok(self.durable())
    }

    /// One write, one sync; only then is `state` what the log says.
    fn append(&mut self, content: Content<'_>, state: LogState) -> Result<(), WalError> {
        self.active.write(&mut self.buffer, content, state.committed)?;
        // The planted bug leaves the sync to whichever batch comes next.
        if !crate::mutant!("wal-ack-before-sync") || matches!(content, Content::Seal) {
            self.active.sync()?;
        }
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        self.state = state;
        self.sealed = false;
        Ok(())
    }

    /// Goes on in a new segment that has room for a batch of `bytes`.
    ///
    /// Order matters at every step: the space is there before anything is promised; the new segment, with a
    /// checkpoint of everything that is not an entry, is durable under its name before the old one names it;
    /// the old one names it before it is used. A crash between any two leaves either the old segment as the
    /// last, or the new one holding its checkpoint alone.
    fn roll(&mut self, bytes: u64) -> Result<(), WalError> {
        let length_bytes = segment_bytes_for(self.options.segment_bytes, bytes);
        let spare = self.spares.take(&self.dir, length_bytes, &self.entropy)?;
        let old = self.active.header;
        let next = SegmentId { sequence: old.id.sequence.next(), salt: self.entropy.next() };
        // The planted bug copies the vote out of the last checkpoint instead of the newest one.
        let stale_vote = crate::mutant!("wal-vote-lost-at-recycle");
        let founding = Founding {
            header: SegmentHeader {
                identity: self.identity,
                id: next,
                first_index: index_after(self.state.last),
                length_bytes,
            },
            checkpoint: Checkpoint {
                incarnation: self.incarnation,
                durable_through: 0,
                vote: if stale_vote { self.active.checkpoint_vote } else { self.state.vote },
                purged: self.state.purged,
                committed: self.state.committed,
                last: self.state.last,
                previous: Some(PreviousEnd { id: old.id, end: self.active.offset, chain: self.active.chain }),
            },
            tail: &[],
            committed: None,
        };
        let fresh = self.found(&spare, &founding)?;
        self.active.write(&mut self.buffer, Content::Link(&Link { next }), self.state.committed)?;
        self.active.sync()?;
        let closed = Closed {
            sequence: old.id.sequence,
            length_bytes: old.length_bytes,
            last_index: self.active.last_index,
        };
        self.closed.push_back(closed);
        self.active = fresh;
        self.sealed = true;
        Ok(())
    }

    /// Brings the spare into use. Its space is reserved, so a full disk here is a disk that breaks its word.
    fn found(&self, spare: &str, founding: &Founding<'_>) -> Result<Active, WalError> {
        assert!(founding.header.id.sequence > Sequence(0), "segments count from 1");
        found(&self.dir, spare, founding)
    }
}
