//! The history of one key: every change to it that is still kept, oldest first, without the values.
//!
//! Invariants: changes ascend; there is always a latest one. The latest carries what the next change needs to
//! know (lease, tally), so that superseding it reads nothing back.

use crate::machine::effects::Tally;
use crate::types::{LeaseId, RevPair, Revision};

/// One change to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: RevPair,
    /// The revision that created the key's life this change belongs to.
    pub created: Revision,
    /// Writes since creation; 0 for a deletion.
    pub version: i64,
}

impl Change {
    /// Whether the change deleted the key.
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }
}

/// A key's latest change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The change.
    pub change: Change,
    /// The lease the key is attached to now.
    pub lease: LeaseId,
    /// Hash and size of the change's record.
    pub tally: Tally,
}

/// All kept changes of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHistory {
    latest: Latest,
    older: Vec<Change>,
}

impl KeyHistory {
    /// The history of a key that has seen one change.
    pub fn new(latest: Latest) -> KeyHistory {
        KeyHistory { latest, older: Vec::new() }
    }

    /// The latest change.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// Adds a change; answers the one it supersedes.
    pub fn push(&mut self, latest: Latest) -> Latest {
        assert!(latest.change.at > self.latest.change.at, "a key's changes ascend");
        self.older.push(self.latest.change);
        std::mem::replace(&mut self.latest, latest)
    }

    /// The key's life now: its latest change unless that is a deletion.
    pub fn live(&self) -> Option<&Latest> {
        Some(&self.latest).filter(|latest| !latest.change.is_tombstone())
    }

    /// The change that `revision` sees, deletions included.
    pub fn change_at(&self, revision: Revision) -> Option<&Change> {
        if self.latest.change.at.main <= revision {
            return Some(&self.latest.change);
        }
        let seen = self.older.partition_point(|change| change.at.main <= revision);
        seen.checked_sub(1).and_then(|last| self.older.get(last))
    }

    /// The change that `revision` reads: none before the key's first, none where it was deleted.
    pub fn visible_at(&self, revision: Revision) -> Option<&Change> {
        self.change_at(revision).filter(|change| !change.is_tombstone())
    }

    /// Whether compacting at `compacted` leaves anything to take away here.
    pub fn needs_pruning(&self, compacted: Revision) -> bool {
        self.older.first().is_some_and(|oldest| self.keep_from(compacted) > oldest.at)
            || (self.older.is_empty() && self.keep_from(compacted) > self.latest.change.at)
    }

    /// Takes away, oldest first, up to `limit` changes that no revision from `compacted` on can see; whether
    /// nothing is left of the key. A deletion at `compacted` itself stays: a watch from there delivers it.
    pub fn prune(&mut self, compacted: Revision, limit: usize, removed: &mut Vec<RevPair>) -> bool {
        let keep_from = self.keep_from(compacted);
        let doomed = self.older.partition_point(|change| change.at < keep_from).min(limit);
        removed.extend(self.older.drain(..doomed).map(|change| change.at));
        if self.older.is_empty() {
            self.older.shrink_to_fit();
        }
        let gone = self.older.is_empty() && self.latest.change.at < keep_from && doomed < limit;
        if gone {
            removed.push(self.latest.change.at);
        }
        gone
    }

    /// Everything before this place is superseded at `compacted`.
    fn keep_from(&self, compacted: Revision) -> RevPair {
        match self.change_at(compacted) {
            None => RevPair::default(),
            // The planted bug takes a deletion at the compacted revision along.
            Some(change)
                if change.is_tombstone()
                    && (change.at.main < compacted || crate::mutant!("compact-takes-its-own-deletion")) =>
            {
                RevPair { main: change.at.main, sub: change.at.sub.saturating_add(1) }
            }
            Some(change) => change.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(main: i64, version: i64) -> Latest {
        let at = RevPair { main: Revision(main), sub: 0 };
        let change = Change { at, created: Revision(2), version };
        Latest { change, lease: LeaseId::NONE, tally: Tally::default() }
    }

    /// Written at 2 and 4, deleted at 6, written again at 9.
    fn history() -> KeyHistory {
        let mut history = KeyHistory::new(latest(2, 1));
        for change in [latest(4, 2), latest(6, 0), latest(9, 1)] {
            history.push(change);
        }
        history
    }

    fn pruned(mut history: KeyHistory, compacted: i64) -> (Vec<i64>, bool) {
        let mut removed = Vec::new();
        let needed = history.needs_pruning(Revision(compacted));
        let gone = history.prune(Revision(compacted), 100, &mut removed);
        assert_eq!(needed, !removed.is_empty());
        (removed.into_iter().map(|at| at.main.0).collect(), gone)
    }

    #[test]
    fn each_revision_sees_the_latest_change_up_to_it() {
        let seen: Vec<_> =
            (1..=10).map(|rev| history().visible_at(Revision(rev)).map(|c| c.at.main.0)).collect();
        let (two, four, nine) = (Some(2), Some(4), Some(9));
        assert_eq!(seen, [None, two, two, four, four, None, None, None, nine, nine]);
    }

    #[test]
    fn compaction_keeps_what_it_can_read_and_a_deletion_exactly_at_it() {
        assert_eq!(pruned(history(), 3), (vec![], false));
        assert_eq!(pruned(history(), 5), (vec![2], false));
        assert_eq!(pruned(history(), 6), (vec![2, 4], false));
        assert_eq!(pruned(history(), 7), (vec![2, 4, 6], false));
        assert_eq!(pruned(history(), 9), (vec![2, 4, 6], false));
        let mut deleted = history();
        deleted.push(latest(11, 0));
        assert_eq!(pruned(deleted.clone(), 11), (vec![2, 4, 6, 9], false));
        assert_eq!(pruned(deleted, 12), (vec![2, 4, 6, 9, 11], true));
    }

    #[test]
    fn bounded_pruning_takes_the_oldest_first_and_ends_at_the_same_place() {
        let mut history = history();
        history.push(latest(11, 0));
        let mut removed = Vec::new();
        let mut rounds = 0;
        while !history.prune(Revision(20), 2, &mut removed) {
            rounds += 1;
        }
        assert_eq!(rounds, 2);
        assert_eq!(removed.iter().map(|at| at.main.0).collect::<Vec<_>>(), [2, 4, 6, 9, 11]);
    }
}
