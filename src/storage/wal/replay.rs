//! Adds up the records of a log as recovery reads them, oldest first.
//!
//! Every record is held against the same rules that the writer held it against, and every checkpoint against
//! what the records before it added up to: a contradiction is corruption, never smoothed over.

use std::collections::BTreeMap;

use super::checkpoint::Checkpoint;
use super::error::WalError;
use super::live::LiveBytes;
use super::record::{Decoded, Entry, WalRecord};
use super::recovery::TornTail;
use super::scan::Batch;
use super::state::{LogState, further, index_after};
use crate::types::{Incarnation, LogIndex};

/// What was read so far.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) state: LogState,
    pub(super) incarnation: Incarnation,
    entries: BTreeMap<LogIndex, Entry>,
    /// Whether a vote's own record was read.
    pub(super) vote_read: bool,
}

impl Replay {
    /// Begins at the checkpoint of the oldest segment.
    pub(super) fn new(oldest: &Checkpoint) -> Replay {
        Replay {
            state: LogState::of_checkpoint(oldest),
            incarnation: oldest.incarnation,
            entries: BTreeMap::new(),
            vote_read: false,
        }
    }

    /// Takes in the batches of one segment; returns the highest index of an entry among them.
    pub(super) fn take(
        &mut self,
        file: &str,
        batches: Vec<Batch>,
        live: &mut LiveBytes,
    ) -> Result<Option<LogIndex>, WalError> {
        let mut highest = None;
        for batch in batches {
            let (offset, span, committed) = (batch.offset, batch.header.span(), batch.header.committed);
            let mut highest_here = None;
            for record in batch.records {
                let taken = match record {
                    Decoded::Log(record) => {
                        if let WalRecord::Entry(entry) = &record {
                            highest_here = highest_here.max(Some(entry.log_id.index));
                        }
                        self.record(record)
                    }
                    Decoded::Checkpoint(checkpoint) => self.checkpoint(&checkpoint),
                    Decoded::Link(_) => Ok(()),
                };
                taken.map_err(|what| WalError::Corrupt { file: file.to_owned(), offset, what })?;
            }
            self.state.commit(committed);
            live.wrote(highest_here, span);
            highest = highest.max(highest_here);
        }
        Ok(highest)
    }

    fn record(&mut self, record: WalRecord) -> Result<(), String> {
        self.state.apply(&record)?;
        match record {
            WalRecord::Entry(entry) => {
                self.entries.insert(entry.log_id.index, entry);
            }
            // The planted bug trusts later entries to take the place of those cut.
            WalRecord::TruncateAfter(_) if crate::mutant!("wal-cut-suffix-kept-in-recovery") => {}
            WalRecord::TruncateAfter(last) => {
                self.entries.split_off(&index_after(last));
            }
            WalRecord::Purge(upto) => {
                self.entries = self.entries.split_off(&index_after(Some(upto)));
            }
            WalRecord::Vote(_) => self.vote_read = true,
        }
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        if checkpoint.last != self.state.last || checkpoint.purged != self.state.purged {
            return Err("the checkpoint contradicts the records before it".to_owned());
        }
        if checkpoint.incarnation < self.incarnation {
            return Err("the checkpoint's incarnation is lower than an earlier one".to_owned());
        }
        self.incarnation = checkpoint.incarnation;
        self.state.committed = further(self.state.committed, checkpoint.committed);
        if let Some(vote) = checkpoint.vote
            && self.state.vote.is_none_or(|held| vote.is_at_least(&held))
        {
            self.state.vote = Some(vote);
        }
        Ok(())
    }

    /// Holds the entries against what is purged and what is last: none may be missing.
    pub(super) fn complete(
        &self,
        oldest: &str,
        torn: Option<&TornTail>,
        missing: impl FnOnce() -> String,
    ) -> Result<(), WalError> {
        let first = index_after(self.state.purged);
        let count = index_after(self.state.last).0.saturating_sub(first.0);
        let held = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let starts = self.entries.first_key_value().is_none_or(|(index, _)| *index == first);
        if held == count && starts {
            return Ok(());
        }
        // Entries follow one another by the rules of `LogState`, so only older segments can hold the others.
        Err(WalError::MissingSegment {
            file: missing(),
            named_by: oldest.to_owned(),
            offset: super::format::DATA_OFFSET,
            // The purge may have stood in what was taken for a torn tail.
            unless: torn.map(|torn| (torn.file.clone(), torn.offset)),
        })
    }

    /// The entries, in order.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries.into_values().collect()
    }
}
