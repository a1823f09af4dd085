//! The key index: every key that has a history, in key order, in memory.
//!
//! Keys are copied in, so that the index never keeps a receive buffer alive. Values are not here.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::machine::mvcc::history::{KeyHistory, Latest};
use crate::types::{KeyRange, RangeEnd};

/// Every key with its history.
#[derive(Clone, Debug, Default)]
pub struct Index {
    keys: BTreeMap<Bytes, KeyHistory>,
}

impl Index {
    /// Keys that have a history, deleted ones included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key has a history.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// One key's history.
    pub fn get(&self, key: &[u8]) -> Option<&KeyHistory> {
        self.keys.get(key)
    }

    /// One key's history, with the index's own copy of the key.
    pub fn get_entry(&self, key: &[u8]) -> Option<(&Bytes, &KeyHistory)> {
        self.keys.get_key_value(key)
    }

    /// One key's history, to be changed.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut KeyHistory> {
        self.keys.get_mut(key)
    }

    /// Begins the history of a key that has none.
    pub fn insert(&mut self, key: &[u8], latest: Latest) {
        let before = self.keys.insert(Bytes::copy_from_slice(key), KeyHistory::new(latest));
        assert!(before.is_none(), "only a key without history begins one");
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    /// The keys of a range in order, from `resume` on where given.
    pub fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        resume: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a Bytes, &'a KeyHistory)> {
        let start = resume.unwrap_or_default().max(range.start.as_ref());
        let end = match &range.end {
            RangeEnd::Single => Bound::Included(range.start.as_ref()),
            RangeEnd::Open => Bound::Unbounded,
            RangeEnd::Before(end) => Bound::Excluded(end.as_ref()),
        };
        // The tree refuses a range that ends before it starts.
        let holds_any = match end {
            Bound::Included(end) => start <= end,
            Bound::Excluded(end) => start < end,
            Bound::Unbounded => true,
        };
        holds_any.then(|| self.keys.range::<[u8], _>((Bound::Included(start), end))).into_iter().flatten()
    }

    /// All keys from `from` on.
    pub fn from_key(&self, from: &[u8]) -> impl Iterator<Item = (&Bytes, &KeyHistory)> {
        self.keys.range::<[u8], _>((Bound::Included(from), Bound::Unbounded))
    }

    /// All keys from `from` on, their histories to be changed.
    pub fn from_key_mut(&mut self, from: &[u8]) -> impl Iterator<Item = (&Bytes, &mut KeyHistory)> {
        self.keys.range_mut::<[u8], _>((Bound::Included(from), Bound::Unbounded))
    }
}
