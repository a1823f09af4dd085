//! The hash of the whole state at each of the last compactions, as one member remembers it.
//!
//! A compaction is an entry that every member applies: at it all must have the same state, however far each has come by
//! now. So hashes kept from then can be compared at any later time, between members that are never at one entry at once.
//! Kept in memory alone: what a member has not applied in this life it says nothing of.

use std::collections::VecDeque;

use crate::config::limits;
use crate::types::{LogId, Revision};

/// What a member's state was at one compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionHash {
    /// The entry that compacted.
    pub entry: LogId,
    /// Up to where.
    pub compacted: Revision,
    /// The state's hash behind it.
    pub hash: u128,
}

/// The last of them, oldest first.
#[derive(Debug, Default)]
pub struct CompactionHashes {
    kept: VecDeque<CompactionHash>,
}

impl CompactionHashes {
    /// Remembers one more; the oldest makes room.
    pub fn push(&mut self, hash: CompactionHash) {
        while self.kept.len() >= limits::COMPACTION_HASHES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(hash);
    }

    /// Forgets all: the state that they were of was replaced.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// All that are remembered, oldest first.
    pub fn all(&self) -> Vec<CompactionHash> {
        self.kept.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, Term};

    #[test]
    fn the_oldest_makes_room() {
        let mut hashes = CompactionHashes::default();
        let hash = |index| CompactionHash {
            entry: LogId { term: Term(1), index: LogIndex(index) },
            compacted: Revision(7),
            hash: u128::from(index),
        };
        (1..=15).for_each(|index| hashes.push(hash(index)));
        assert_eq!(hashes.all(), (6..=15).map(hash).collect::<Vec<_>>());
        hashes.clear();
        assert_eq!(hashes.all(), []);
    }
}
