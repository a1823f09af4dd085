//! Revisions that somebody is reading in steps: physical compaction stays behind the lowest of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::Revision;

/// The readers of one member. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    readers: Arc<Mutex<BTreeMap<Revision, u64>>>,
}

/// Keeps a revision readable until it is dropped.
#[derive(Debug)]
pub struct Pin {
    pins: Pins,
    revision: Revision,
}

impl Pins {
    fn readers(&self) -> MutexGuard<'_, BTreeMap<Revision, u64>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `revision` readable. To be called while the state is held, so that no sweep can begin in between.
    pub fn pin(&self, revision: Revision) -> Pin {
        *self.readers().entry(revision).or_default() += 1;
        Pin { pins: self.clone(), revision }
    }

    /// The lowest revision that is being read.
    pub fn lowest(&self) -> Option<Revision> {
        self.readers().keys().next().copied()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut readers = self.pins.readers();
        if let Some(count) = readers.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.revision);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_reader_counts_until_the_last_of_its_revision_is_gone() {
        let pins = Pins::default();
        let (one, two, later) = (pins.pin(Revision(5)), pins.pin(Revision(5)), pins.pin(Revision(9)));
        drop(one);
        assert_eq!(pins.lowest(), Some(Revision(5)));
        drop(two);
        assert_eq!(pins.lowest(), Some(Revision(9)));
        drop(later);
        assert_eq!(pins.lowest(), None);
    }
}
