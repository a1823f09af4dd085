//! Compaction: history below a revision is forgotten at once, its space is given back bit by bit.
//!
//! The logical part is replicated: reads below the compacted revision are refused from that log entry on, and
//! one subtraction takes the forgotten records out of hash and size. The physical part is each member's own: a
//! sweep over the index in bounded steps, which names the records to delete. Nothing about it is replicated,
//! persisted or hashed; a member that restarts in the middle sweeps again.
//!
//! Order matters: a key's records are named oldest first, a deletion after everything it deleted. As long as
//! the caller deletes in the order named and the engine keeps a prefix of it across a crash, no old value can
//! come back to life.

use bytes::Bytes;

use crate::machine::command::CommandError;
use crate::machine::effects::{Records, RecordsError, Tally};
use crate::machine::mvcc::{Mvcc, NEVER_COMPACTED};
use crate::types::{RevPair, Revision};

/// What one step of the sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactProgress {
    /// Records to delete, in this order.
    pub remove: Vec<RevPair>,
    /// Whether nothing is left to do, for now.
    pub done: bool,
}

/// How far the physical part has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Every key has been swept up to here.
    swept: Revision,
    /// The sweep under way: its revision, and the key it goes on at.
    running: Option<(Revision, Bytes)>,
    /// What an earlier life may have swept.
    inherited: Revision,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep::after_load(NEVER_COMPACTED)
    }
}

impl Sweep {
    /// Nothing swept in this life, anything below `compacted` perhaps in an earlier one.
    pub(crate) fn after_load(compacted: Revision) -> Sweep {
        Sweep { swept: NEVER_COMPACTED, running: None, inherited: compacted }
    }

    /// Below this revision the index may have holes.
    pub(crate) fn pruned(&self) -> Revision {
        let swept = self.running.as_ref().map_or(self.swept, |(target, _)| *target);
        swept.max(self.inherited)
    }
}

impl Mvcc {
    /// Forgets, logically, what no revision from `revision` on can see.
    pub(crate) fn compact(
        &mut self,
        records: &dyn Records,
        revision: Revision,
    ) -> Result<Result<(), CommandError>, RecordsError> {
        if revision <= self.compacted {
            return Ok(Err(CommandError::Compacted(self.compacted)));
        }
        if revision > self.revision {
            return Ok(Err(CommandError::FutureRevision));
        }
        let superseded = self.superseded_at(records, revision)?;
        self.sums.live = self.sums.live.minus(superseded.minus(self.sums.compacted));
        self.sums.compacted = superseded;
        self.compacted = revision;
        Ok(Ok(()))
    }

    fn superseded_at(&self, records: &dyn Records, revision: Revision) -> Result<Tally, RecordsError> {
        if revision == self.revision {
            return Ok(self.sums.superseded);
        }
        if revision <= Revision::FIRST {
            return Ok(Tally::default());
        }
        let first = records.record(RevPair { main: revision, sub: 0 })?;
        first.superseded_sum.ok_or_else(|| {
            RecordsError(format!("the first record of revision {revision} lacks the superseded sum"))
        })
    }

    /// Sweeps on: walks at most about `budget` keys and names at most about `budget` records. What revisions
    /// from `pinned` on read is left alone.
    pub(crate) fn compact_step(&mut self, budget: usize, pinned: Option<Revision>) -> CompactProgress {
        let budget = budget.max(1);
        let goal = pinned.map_or(self.compacted, |pinned| pinned.min(self.compacted));
        let (target, from) = match self.sweep.running.take() {
            // A pin taken below a sweep under way comes too late for it: the pinned reader is told.
            Some(running) => running,
            None if goal <= self.sweep.swept => return CompactProgress { remove: Vec::new(), done: true },
            None => (goal, Bytes::new()),
        };
        let mut remove = Vec::new();
        let mut emptied = Vec::new();
        let mut resume = None;
        for (walked, (key, history)) in self.index.from_key_mut(&from).enumerate() {
            if walked >= budget || remove.len() >= budget {
                resume = Some(key.clone());
                break;
            }
            if !history.needs_pruning(target) {
                continue;
            }
            if history.prune(target, budget, &mut remove) {
                emptied.push(key.clone());
            } else if history.needs_pruning(target) {
                resume = Some(key.clone());
                break;
            }
        }
        for key in emptied {
            self.index.remove(&key);
        }
        match resume {
            Some(key) => self.sweep.running = Some((target, key)),
            None => self.sweep.swept = target,
        }
        let done = self.sweep.running.is_none() && goal <= self.sweep.swept;
        CompactProgress { remove, done }
    }
}
