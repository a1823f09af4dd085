//! What a view of sled needs to see its own moment: the old values of all that changed since.
//!
//! sled has no snapshots. So while a reader is open, the writer records, before it changes a key, the value that
//! the reader must go on seeing (a *pre-image*), or that there was none. A reader looks into sled *first* and into
//! its pre-images *afterwards*: whatever it saw in sled that is newer than its moment, the pre-image was there
//! before it, and wins. Neither side waits for the other but for the instant of a map lookup.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

/// The most memory the pre-images of one reader may take, in bytes; a reader that is held while more than this
/// is overwritten fails with `ReaderTooOld`.
pub const PRE_IMAGE_BYTES_MAX: usize = 256 << 20;
/// What a pre-image costs beside its key and value, in bytes.
const ENTRY_BYTES: usize = 96;

/// The reader was held too long.
#[derive(Debug, PartialEq, Eq)]
pub struct Overrun;

/// The pre-images of one reader.
#[derive(Debug)]
pub struct Overlay {
    limit_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    old: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
    overrun: bool,
}

impl Overlay {
    /// An overlay of at most this many bytes.
    pub fn new(limit_bytes: usize) -> Overlay {
        Overlay { limit_bytes, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what stands under `key` now, unless an older value is kept already. Called before the change.
    pub fn record(&self, key: &Bytes, old: Option<&Bytes>) {
        let mut state = self.state();
        if state.overrun || state.old.contains_key(key) {
            return;
        }
        let cost = key.len().saturating_add(old.map_or(0, Bytes::len)).saturating_add(ENTRY_BYTES);
        state.bytes = state.bytes.saturating_add(cost);
        if state.bytes > self.limit_bytes {
            *state = State { overrun: true, ..State::default() };
            return;
        }
        state.old.insert(key.clone(), old.cloned());
    }

    /// What the reader sees under `key`, given what sled said when asked before this call.
    ///
    /// # Errors
    /// [`Overrun`].
    pub fn over(&self, key: &[u8], stored: Option<Bytes>) -> Result<Option<Bytes>, Overrun> {
        let state = self.state();
        if state.overrun {
            return Err(Overrun);
        }
        Ok(match state.old.get(key) {
            Some(old) => old.clone(),
            None => stored,
        })
    }

    /// Lays the pre-images of keys from `from` up to and including `last` (or all above, when `None`) over pairs
    /// that sled gave before this call for exactly that stretch.
    ///
    /// # Errors
    /// [`Overrun`].
    pub fn over_range(
        &self,
        from: &[u8],
        last: Option<&[u8]>,
        pairs: &mut BTreeMap<Bytes, Bytes>,
    ) -> Result<(), Overrun> {
        let state = self.state();
        if state.overrun {
            return Err(Overrun);
        }
        let end = last.map_or(Bound::Unbounded, Bound::Included);
        for (key, old) in state.old.range::<[u8], _>((Bound::Included(from), end)) {
            match old {
                Some(value) => pairs.insert(key.clone(), value.clone()),
                None => pairs.remove(key),
            };
        }
        Ok(())
    }
}

/// Records pre-images with every reader that is still there, and forgets the others.
pub fn record_with_all(readers: &mut Vec<Weak<Overlay>>, changes: &BTreeMap<Bytes, Option<Bytes>>) {
    readers.retain(|reader| {
        let Some(overlay) = reader.upgrade() else { return false };
        changes.iter().for_each(|(key, old)| overlay.record(key, old.as_ref()));
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn the_oldest_value_wins_and_absence_is_a_value() {
        let overlay = Overlay::new(1 << 20);
        overlay.record(&b("k"), Some(&b("1")));
        overlay.record(&b("k"), Some(&b("2")));
        overlay.record(&b("new"), None);
        assert_eq!(overlay.over(b"k", Some(b("3"))), Ok(Some(b("1"))));
        assert_eq!(overlay.over(b"new", Some(b("3"))), Ok(None));
        assert_eq!(overlay.over(b"other", Some(b("3"))), Ok(Some(b("3"))));
        let mut pairs = BTreeMap::from([(b("a"), b("x")), (b("new"), b("3"))]);
        overlay.over_range(b"a", Some(b"new"), &mut pairs).expect("within its limit");
        assert_eq!(pairs, BTreeMap::from([(b("a"), b("x")), (b("k"), b("1"))]));
    }

    #[test]
    fn past_its_limit_a_reader_fails_instead_of_growing() {
        let overlay = Overlay::new(300);
        overlay.record(&b("k"), Some(&b("v")));
        assert_eq!(overlay.over(b"k", None), Ok(Some(b("v"))));
        overlay.record(&b("l"), Some(&Bytes::from(vec![0; 400])));
        assert_eq!(overlay.over(b"k", None), Err(Overrun));
        assert_eq!(overlay.over_range(b"", None, &mut BTreeMap::new()), Err(Overrun));
    }
}
