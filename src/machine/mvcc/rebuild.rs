//! A history that was kept elsewhere, made this machine's own: its records, and the running sums over them.
//!
//! Changes come in the order of history. Of those up to the compacted revision only what that revision still reads is
//! given, and deletions at that very revision; behind it nothing is missing. So the sums begin at nothing superseded, and
//! the same history gives the same records and the same state hash, whoever kept it and however far it had been swept.
//!
//! What does not fit is refused, never mended: a gap, a change out of order, a value that no write could have made.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::machine::effects::{Event, Tally};
use crate::machine::mvcc::history::{Change, Latest};
use crate::machine::mvcc::record::{append_superseded, encode_record, record_key};
use crate::machine::mvcc::{Mvcc, NEVER_COMPACTED, Sums};
use crate::machine::persist::Write;
use crate::types::{LeaseId, RevPair, Revision};

/// The highest revision that a store is brought back at: it must have room to go on.
pub const REVISION_MAX: Revision = Revision(1 << 62);

/// A record as it is stored: key and value.
pub type StoredRecord = (Bytes, Bytes);

/// The history so far.
#[derive(Debug)]
pub struct Rebuild {
    compacted: Revision,
    last: Option<RevPair>,
    latest: BTreeMap<Bytes, Latest>,
    sums: Sums,
    /// Changes of the last revision, whose first record waits for what all of them supersede.
    open: Vec<(RevPair, Vec<u8>)>,
    superseded: Tally,
    tombstones: Tally,
}

impl Rebuild {
    /// Nothing yet, of a history that was compacted at `compacted`.
    pub fn new(compacted: Revision) -> Rebuild {
        Rebuild {
            compacted: compacted.max(NEVER_COMPACTED),
            last: None,
            latest: BTreeMap::new(),
            sums: Sums::default(),
            open: Vec::new(),
            superseded: Tally::default(),
            tombstones: Tally::default(),
        }
    }

    /// Takes in the next change; answers the records of the revision before, when it begins a new one.
    ///
    /// # Errors
    /// What does not fit, in one line.
    pub fn add(&mut self, at: RevPair, event: &Event) -> Result<Vec<StoredRecord>, String> {
        self.check_place(at)?;
        check_event(at, event)?;
        let ready = match self.last {
            Some(last) if last.main != at.main => self.end_revision(last.main),
            _ => Vec::new(),
        };
        self.last = Some(at);
        self.change(at, event)?;
        Ok(ready)
    }

    fn check_place(&self, at: RevPair) -> Result<(), String> {
        let here = || format!("revision {}/{}", at.main, at.sub);
        if at.main <= Revision::FIRST {
            return Err(format!("{} is before the first one that can change anything", here()));
        }
        if self.last.is_some_and(|last| last >= at) {
            return Err(format!("{} comes twice, or too late", here()));
        }
        if at.main <= self.compacted {
            return Ok(());
        }
        let ground = self.compacted.max(Revision::FIRST);
        let before = self.last.map_or(ground, |last| last.main.max(ground));
        let follows = match self.last {
            Some(last) if last.main == at.main => at.sub == last.sub.saturating_add(1),
            _ => at.main == before.next() && at.sub == 0,
        };
        let missing = || format!("what lies between revision {before} and {} is missing", here());
        if follows { Ok(()) } else { Err(missing()) }
    }

    fn change(&mut self, at: RevPair, event: &Event) -> Result<(), String> {
        let encoded = encode_record(at.sub, event);
        let tally = encoded.tally;
        let (change, lease) = match event {
            Event::Put(kv) => (Change { at, created: kv.create_revision, version: kv.version }, kv.lease),
            Event::Delete { .. } => (Change { at, created: Revision(0), version: 0 }, LeaseId::NONE),
        };
        let latest = Latest { change, lease, tally };
        let before = match self.latest.get_mut(event.key()) {
            Some(held) => Some(std::mem::replace(held, latest)),
            None => {
                // A copy, or the key would keep its whole record in memory.
                self.latest.insert(Bytes::copy_from_slice(event.key()), latest);
                None
            }
        };
        match before {
            Some(_) if at.main <= self.compacted => {
                return Err(format!(
                    "key {:?} has two values at the compacted revision {}",
                    event.key(),
                    self.compacted
                ));
            }
            Some(before) if !before.change.is_tombstone() => {
                self.superseded = self.superseded.plus(before.tally);
            }
            Some(before) if before.change.at.main == at.main => {
                self.tombstones = self.tombstones.minus(before.tally);
                self.superseded = self.superseded.plus(before.tally);
            }
            _ => {}
        }
        if change.is_tombstone() {
            if at.main < self.compacted {
                return Err(format!("key {:?} was deleted before history begins", event.key()));
            }
            self.tombstones = self.tombstones.plus(tally);
        }
        self.sums.live = self.sums.live.plus(tally);
        self.open.push((at, encoded.bytes));
        Ok(())
    }

    /// The revision `main` is over.
    fn end_revision(&mut self, main: Revision) -> Vec<StoredRecord> {
        let superseded = std::mem::take(&mut self.superseded);
        self.sums.superseded = self.sums.superseded.plus(self.sums.tombstones).plus(superseded);
        self.sums.tombstones = std::mem::take(&mut self.tombstones);
        let mut sum = (main > self.compacted).then_some(self.sums.superseded);
        let stored = |(at, mut encoded): (RevPair, Vec<u8>)| {
            if let Some(sum) = sum.take() {
                append_superseded(&mut encoded, sum);
            }
            (record_key(at), Bytes::from(encoded))
        };
        std::mem::take(&mut self.open).into_iter().map(stored).collect()
    }

    /// That was all: the last records, and what persists the numbers.
    pub fn finish(mut self) -> (Vec<StoredRecord>, Write) {
        let last = self.last.map_or(Revision::FIRST, |last| last.main);
        let records = self.end_revision(last);
        let revision = last.max(self.compacted).max(Revision::FIRST);
        let kv = Mvcc { revision, compacted: self.compacted, sums: self.sums, ..Mvcc::default() };
        (records, kv.meta_write())
    }
}

/// Whether a write of this machine could have made the change.
fn check_event(at: RevPair, event: &Event) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("revision {}/{}, key {:?}: {what}", at.main, at.sub, event.key()));
    if event.key().is_empty() {
        return wrong("it is empty");
    }
    match event {
        Event::Put(kv) if kv.mod_revision != at.main => wrong("its record says another revision"),
        Event::Put(kv) if kv.version < 1 => wrong("its version is not positive"),
        Event::Put(kv) if kv.create_revision < Revision(1) || kv.create_revision > at.main => {
            wrong("it was created at no revision of its history")
        }
        Event::Put(_) | Event::Delete { .. } => Ok(()),
    }
}

impl Mvcc {
    /// Raises the revision by `by` and forgets, logically, all history before: whoever saw revisions that this store never
    /// had sees none again, and whoever goes on watching from one is told that it is gone.
    ///
    /// # Errors
    /// The revision would be beyond all numbers.
    pub(crate) fn leap(&mut self, by: i64) -> Result<(), String> {
        let raised = self.revision.0.checked_add(by).filter(|raised| by > 0 && *raised <= REVISION_MAX.0);
        let revision =
            raised.map(Revision).ok_or(format!("revision {} cannot be raised by {by}", self.revision))?;
        let superseded = self.sums.superseded.plus(self.sums.tombstones);
        self.sums.live = self.sums.live.minus(superseded.minus(self.sums.compacted));
        self.sums =
            Sums { live: self.sums.live, superseded, compacted: superseded, tombstones: Tally::default() };
        (self.revision, self.compacted) = (revision, revision);
        self.sweep = crate::machine::mvcc::compact::Sweep::after_load(revision);
        Ok(())
    }
}
