//! What the records add up to, apart from the entries' content: the one set of rules that both the writer,
//! before it writes, and recovery, as it reads, hold every record against.

use super::checkpoint::Checkpoint;
use super::record::{Vote, WalRecord};
use crate::types::{LogId, LogIndex};

/// The log's state at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogState {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    /// The newest committed entry known; never behind `purged`, never ahead of `last`.
    pub(super) committed: Option<LogId>,
    /// The last entry, or `purged` when none is behind it.
    pub(super) last: Option<LogId>,
}

/// The index that follows a position.
pub(super) fn index_after(id: Option<LogId>) -> LogIndex {
    LogIndex(id.map_or(0, |id| id.index.0.saturating_add(1)))
}

/// Whichever is further in the log.
pub(super) fn further(a: Option<LogId>, b: Option<LogId>) -> Option<LogId> {
    if index_after(b) > index_after(a) { b } else { a }
}

impl LogState {
    /// What a checkpoint states.
    pub(super) fn of_checkpoint(checkpoint: &Checkpoint) -> LogState {
        LogState {
            vote: checkpoint.vote,
            purged: checkpoint.purged,
            committed: checkpoint.committed,
            last: checkpoint.last,
        }
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// The rule that the record breaks.
    pub(super) fn apply(&mut self, record: &WalRecord) -> Result<(), String> {
        match record {
            WalRecord::Entry(entry) => self.append(entry.log_id),
            WalRecord::Vote(vote) => self.vote(*vote),
            WalRecord::TruncateAfter(last) => self.truncate_after(*last),
            WalRecord::Purge(upto) => {
                self.purge(*upto);
                Ok(())
            }
        }
    }

    /// Notes what is committed; only as far as the log reaches, so it never names an absent entry.
    pub(super) fn commit(&mut self, committed: Option<LogId>) {
        if index_after(committed) <= index_after(self.last) {
            self.committed = further(self.committed, committed);
        }
    }

    fn append(&mut self, id: LogId) -> Result<(), String> {
        if id.index != index_after(self.last) {
            return Err(format!(
                "entry {id} does not follow the last one, expected index {}",
                index_after(self.last).0
            ));
        }
        if self.last.is_some_and(|last| id.term < last.term) {
            return Err(format!("entry {id} has a lower term than the one before it"));
        }
        self.last = Some(id);
        Ok(())
    }

    fn vote(&mut self, vote: Vote) -> Result<(), String> {
        if self.vote.is_some_and(|held| vote.term < held.term) {
            return Err(format!("a vote in term {} after one in a later term", vote.term.0));
        }
        self.vote = Some(vote);
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), String> {
        if index_after(last) < index_after(self.purged) {
            return Err("a cut below what is purged".to_owned());
        }
        if index_after(last) < index_after(self.last) {
            self.last = last;
        }
        if index_after(self.committed) > index_after(self.last) {
            self.committed = self.last;
        }
        Ok(())
    }

    fn purge(&mut self, upto: LogId) {
        self.purged = further(self.purged, Some(upto));
        self.last = further(self.last, self.purged);
        // Only committed entries are ever purged.
        self.committed = further(self.committed, self.purged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::wal::record::Entry;
    use crate::types::Term;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    fn entry(term: u64, index: u64) -> WalRecord {
        WalRecord::Entry(Entry { log_id: id(term, index), payload: bytes::Bytes::new() })
    }

    fn vote(term: u64) -> WalRecord {
        WalRecord::Vote(Vote { term: Term(term), ..Vote::default() })
    }

    #[test]
    fn entries_follow_one_another() {
        let mut state = LogState::default();
        assert!(state.apply(&entry(1, 1)).is_err(), "the first index is 0");
        assert_eq!(state.apply(&entry(1, 0)), Ok(()));
        assert!(state.apply(&entry(1, 2)).is_err(), "a gap");
        assert!(state.apply(&entry(0, 1)).is_err(), "a falling term");
        assert_eq!(state.apply(&entry(2, 1)), Ok(()));
        assert_eq!(state.last, Some(id(2, 1)));
    }

    #[test]
    fn votes_never_fall() {
        let mut state = LogState::default();
        assert_eq!(state.apply(&vote(3)), Ok(()));
        assert!(state.apply(&vote(2)).is_err());
        assert_eq!(state.apply(&vote(3)), Ok(()));
    }

    #[test]
    fn a_cut_moves_the_end_back_and_takes_the_commit_mark_along() {
        let mut state = LogState::default();
        for index in 0..5 {
            state.apply(&entry(1, index)).unwrap();
        }
        state.commit(Some(id(1, 9)));
        assert_eq!(state.committed, None, "not known beyond the end");
        state.commit(Some(id(1, 3)));
        state.apply(&WalRecord::TruncateAfter(Some(id(1, 7)))).unwrap();
        assert_eq!(state.last, Some(id(1, 4)), "nothing to cut");
        state.apply(&WalRecord::TruncateAfter(Some(id(1, 1)))).unwrap();
        assert_eq!((state.last, state.committed), (Some(id(1, 1)), Some(id(1, 1))));
        state.apply(&WalRecord::TruncateAfter(None)).unwrap();
        assert_eq!((state.last, state.committed), (None, None));
    }

    #[test]
    fn a_purge_may_pass_the_end_and_is_never_undone() {
        let mut state = LogState::default();
        state.apply(&entry(1, 0)).unwrap();
        state.apply(&WalRecord::Purge(id(2, 8))).unwrap();
        assert_eq!((state.last, state.purged), (Some(id(2, 8)), Some(id(2, 8))));
        state.apply(&WalRecord::Purge(id(1, 3))).unwrap();
        assert_eq!(state.purged, Some(id(2, 8)));
        assert!(state.apply(&WalRecord::TruncateAfter(Some(id(1, 3)))).is_err());
        assert_eq!(state.apply(&entry(2, 9)), Ok(()));
    }
}
