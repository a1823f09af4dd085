//! One revision in the making: the changes of one transaction, in order, which see each other.
//!
//! Nothing fails half-way for a reason of the request: whoever writes has checked before. Only the store can
//! fail, and then the whole machine is given up by its caller.

use bytes::Bytes;

use crate::machine::command::KeyValue;
use crate::machine::effects::{Effects, Event, Record, Records, RecordsError, Tally};
use crate::machine::lease::Leases;
use crate::machine::mvcc::Mvcc;
use crate::machine::mvcc::history::{Change, Latest};
use crate::machine::mvcc::record::{append_superseded, encode_record, record_key};
use crate::machine::overlay::Overlay;
use crate::machine::persist::{Bucket, Write};
use crate::types::{KeyRange, LeaseId, RevPair, Revision};

/// A transaction's changes, collected until [`Writer::commit`].
#[derive(Debug)]
pub(crate) struct Writer<'a, 'r> {
    pub(crate) kv: &'a mut Mvcc,
    pub(crate) leases: &'a mut Leases,
    overlay: &'a mut Overlay<'r>,
    /// Each change, and its record's canonical form.
    events: Vec<(Event, Vec<u8>)>,
    /// Taken over by this transaction's changes.
    superseded: Tally,
    /// This transaction's deletions.
    tombstones: Tally,
}

impl<'a, 'r> Writer<'a, 'r> {
    pub(crate) fn new(
        kv: &'a mut Mvcc,
        leases: &'a mut Leases,
        overlay: &'a mut Overlay<'r>,
    ) -> Writer<'a, 'r> {
        let (superseded, tombstones) = (Tally::default(), Tally::default());
        Writer { kv, leases, overlay, events: Vec::new(), superseded, tombstones }
    }

    /// The revision that the next change belongs to.
    fn next_revision(&self) -> Revision {
        self.kv.revision.next()
    }

    fn next_place(&self) -> RevPair {
        let sub = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        assert!(sub < u32::MAX, "a transaction's changes are limited by its size");
        RevPair { main: self.next_revision(), sub }
    }

    /// What reads in this transaction see: the next revision once something has changed.
    pub(crate) fn read_revision(&self) -> Revision {
        if self.events.is_empty() { self.kv.revision } else { self.next_revision() }
    }

    /// The key's current value, seen with this transaction's own changes.
    pub(crate) fn current(&self, key: &[u8]) -> Result<Option<KeyValue>, RecordsError> {
        match self.kv.index.get(key).and_then(|history| history.live()) {
            Some(latest) => self.key_value(latest.change.at).map(Some),
            None => Ok(None),
        }
    }

    fn key_value(&self, at: RevPair) -> Result<KeyValue, RecordsError> {
        match self.record(at)?.event {
            Event::Put(kv) => Ok(kv),
            Event::Delete { .. } => Err(RecordsError(format!(
                "record {}/{} is a deletion, the index says a value",
                at.main, at.sub
            ))),
        }
    }

    /// Writes a key; the lease, if any, exists.
    pub(crate) fn put(&mut self, key: &Bytes, value: Bytes, lease: LeaseId) {
        let at = self.next_place();
        let before = self.kv.index.get(key).and_then(|history| history.live()).copied();
        let (created, version) = match before {
            Some(latest) => (latest.change.created, latest.change.version.saturating_add(1)),
            None => (at.main, 1),
        };
        let key_value = KeyValue {
            key: key.clone(),
            create_revision: created,
            mod_revision: at.main,
            version,
            value,
            lease,
        };
        self.change(at, Event::Put(key_value), Change { at, created, version }, lease);
        let detached = before.map_or(LeaseId::NONE, |latest| latest.lease);
        if detached != lease {
            // The planted bug thinks of the lease only when there is a new one.
            if lease.is_some() || !crate::mutant!("lease-kept-by-a-put-without-one") {
                self.leases.detach(detached, key);
            }
            if let Some((own_key, _)) = self.kv.index.get_entry(key) {
                self.leases.attach(lease, own_key);
            }
        }
    }

    /// Deletes one key, if it lives.
    pub(crate) fn delete(&mut self, key: &Bytes) -> bool {
        let Some(before) = self.kv.index.get(key).and_then(|history| history.live()).copied() else {
            return false;
        };
        let at = self.next_place();
        let event = Event::Delete { key: key.clone(), mod_revision: at.main };
        self.change(at, event, Change { at, created: Revision(0), version: 0 }, LeaseId::NONE);
        self.leases.detach(before.lease, key);
        true
    }

    /// Deletes the living keys of a range, in key order; answers how many.
    pub(crate) fn delete_range(&mut self, range: &KeyRange) -> i64 {
        let keys: Vec<Bytes> = self
            .kv
            .index
            .range(range, None)
            .filter(|(_, history)| history.live().is_some())
            .map(|(key, _)| key.clone())
            .collect();
        let deleted = keys.iter().filter(|key| self.delete(key)).count();
        i64::try_from(deleted).unwrap_or(i64::MAX)
    }

    fn change(&mut self, at: RevPair, event: Event, change: Change, lease: LeaseId) {
        let encoded = encode_record(at.sub, &event);
        let tally = encoded.tally;
        let latest = Latest { change, lease, tally };
        let before = match self.kv.index.get_mut(event.key()) {
            Some(history) => Some(history.push(latest)),
            None => {
                self.kv.index.insert(event.key(), latest);
                None
            }
        };
        match before {
            Some(before) if !before.change.is_tombstone() => {
                self.superseded = self.superseded.plus(before.tally);
            }
            // A deletion and a write of one key in one revision: the deletion goes with this revision.
            Some(before) if before.change.at.main == at.main => {
                self.tombstones = self.tombstones.minus(before.tally);
                self.superseded = self.superseded.plus(before.tally);
            }
            _ => {}
        }
        if change.is_tombstone() {
            self.tombstones = self.tombstones.plus(tally);
        }
        if !change.is_tombstone() || !crate::mutant!("hash-skips-deletions") {
            self.kv.sums.live = self.kv.sums.live.plus(tally);
        }
        self.events.push((event, encoded.bytes));
    }

    /// Ends the transaction: with changes the store's revision rises, and they become effects.
    pub(crate) fn commit(self, effects: &mut Effects) {
        if self.events.is_empty() {
            return;
        }
        let main = self.next_revision();
        let sums = &mut self.kv.sums;
        sums.superseded = sums.superseded.plus(sums.tombstones).plus(self.superseded);
        sums.tombstones = self.tombstones;
        let mut superseded = Some(sums.superseded);
        self.kv.revision = main;
        for (sub, (event, mut encoded)) in (0_u32..).zip(self.events) {
            let at = RevPair { main, sub };
            if let Some(superseded) = superseded.take() {
                append_superseded(&mut encoded, superseded);
            }
            let encoded = Bytes::from(encoded);
            self.overlay.insert(at, encoded.clone());
            effects.writes.push(Write { bucket: Bucket::Records, key: record_key(at), value: Some(encoded) });
            effects.events.push(event);
        }
    }
}

impl Records for Writer<'_, '_> {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        if at.main == self.next_revision() {
            let own = usize::try_from(at.sub).ok().and_then(|sub| self.events.get(sub));
            return own
                .map(|(event, _)| Record { event: event.clone(), superseded_sum: None })
                .ok_or_else(|| RecordsError(format!("no change {} in this transaction", at.sub)));
        }
        self.overlay.record(at)
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        self.overlay.scan(from, limit)
    }
}
