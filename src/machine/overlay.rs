//! Records not yet in the store, laid over those that are.
//!
//! Between `apply` and the engine lie batches already applied: whoever applies the next one reads through an
//! overlay that has absorbed their effects. `apply` itself lays one over it for its own batch.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::machine::effects::{Record, Records, RecordsError};
use crate::machine::mvcc::record::{decode_record, parse_record_key};
use crate::machine::persist::{Bucket, Write};
use crate::types::RevPair;

/// A store of records with newer ones in front.
pub struct Overlay<'a> {
    base: &'a dyn Records,
    /// Encoded records; decoded only when somebody reads them.
    newer: BTreeMap<RevPair, Bytes>,
}

impl<'a> Overlay<'a> {
    /// Nothing in front of `base` yet.
    pub fn new(base: &'a dyn Records) -> Overlay<'a> {
        Overlay { base, newer: BTreeMap::new() }
    }

    /// Takes in the records among `writes`.
    ///
    /// # Errors
    /// [`RecordsError`] when a write to the records bucket has no record's key.
    pub fn absorb(&mut self, writes: &[Write]) -> Result<(), RecordsError> {
        for write in writes.iter().filter(|write| write.bucket == Bucket::Records) {
            if let Some(value) = &write.value {
                self.newer.insert(parse_record_key(&write.key)?, value.clone());
            }
        }
        Ok(())
    }

    /// Puts one encoded record in front.
    pub fn insert(&mut self, at: RevPair, encoded: Bytes) {
        self.newer.insert(at, encoded);
    }

    /// Records in front of the base.
    pub fn len(&self) -> usize {
        self.newer.len()
    }

    /// Whether the base alone answers.
    pub fn is_empty(&self) -> bool {
        self.newer.is_empty()
    }
}

impl fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("newer", &self.newer.len()).finish_non_exhaustive()
    }
}

impl Records for Overlay<'_> {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        match self.newer.get(&at) {
            Some(encoded) => decode_record(at, encoded.clone()),
            None => self.base.record(at),
        }
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        // What is in front is newer than all of the base, but for a base that has taken it in meanwhile.
        let mut found = match self.newer.keys().next() {
            Some(first) if from >= *first => Vec::new(),
            first => {
                let mut below = self.base.scan(from, limit)?;
                if let Some(first) = first {
                    below.retain(|(at, _)| at < first);
                }
                below
            }
        };
        for (at, encoded) in self.newer.range(from..).take(limit.saturating_sub(found.len())) {
            found.push((*at, decode_record(*at, encoded.clone())?));
        }
        Ok(found)
    }
}
