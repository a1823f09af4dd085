//! The real machine with a store of its own: one member's applied state, as a value.
//!
//! # Identity
//! Two replicas are equal when their stores are, and the sweeps made in them. That is sound: `State::load` builds
//! the whole state from the store, but for how far physical compaction has come, and that is decided by the log
//! and the sweeps. The store is hashed once a change, not once a look.
//!
//! Whatever the machine refuses to do here stops the search: a model never asks for the impossible.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use quorate::machine::State;
use quorate::machine::command::{Answer, Batch, Command, KeyValue, Range, RangeReply, Request};
use quorate::machine::effects::{Effects, Event, Record, Records, RecordsError};
use quorate::machine::mvcc::NEVER_COMPACTED;
use quorate::machine::mvcc::record::{decode_record, parse_record_key, record_key};
use quorate::machine::persist::{Bucket, Write};
use quorate::machine::snapshot::{SnapshotDecoder, SnapshotEncoder, SnapshotFrame, SnapshotPair};
use quorate::machine::state::applied_write;
use quorate::machine::watch::Previous;
use quorate::types::{Incarnation, KeyRange, LogId, LogIndex, MemberId, RevPair, Revision, Term};

/// One member's applied state. Cheap to clone: what is not changed is shared.
#[derive(Clone, Default)]
pub struct Replica {
    inner: Arc<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    state: State,
    store: Store,
    applied: u64,
    sweeps: Sweeps,
    digest: u64,
}

/// How far physical compaction has come, as far as the store does not tell: what decides the machine's own record
/// of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sweeps {
    /// What was compacted when the state was loaded.
    inherited: Revision,
    /// Swept whole up to here.
    swept: Revision,
    /// Single steps since: after which entry, and the pin.
    steps: Vec<(u64, Option<Revision>)>,
}

impl Default for Sweeps {
    fn default() -> Sweeps {
        Sweeps { inherited: NEVER_COMPACTED, swept: NEVER_COMPACTED, steps: Vec::new() }
    }
}

/// What the member persists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Store(BTreeMap<(Bucket, Bytes), Bytes>);

/// What an honest machine never refuses.
///
/// # Panics
/// When it did: the search ends there, with the reason.
#[expect(
    clippy::panic,
    reason = "a machine that contradicts itself ends the search; there is nothing to go on with"
)]
pub fn must<T, E: Display>(outcome: Result<T, E>, what: &str) -> T {
    outcome.unwrap_or_else(|error| panic!("{what}: {error}"))
}

impl Store {
    fn write(&mut self, writes: &[Write]) {
        for write in writes {
            let place = (write.bucket, write.key.clone());
            match &write.value {
                Some(value) => self.0.insert(place, value.clone()),
                None => self.0.remove(&place),
            };
        }
    }

    fn read(&self, bucket: Bucket, from: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
        let from = (bucket, Bytes::copy_from_slice(from));
        let pairs = self.0.range(from..).take_while(|((found, _), _)| *found == bucket).take(limit);
        pairs.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }
}

impl Records for Store {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        let value = self.0.get(&(Bucket::Records, record_key(at)));
        decode_record(at, value.ok_or_else(|| RecordsError(format!("{at:?} is not stored")))?.clone())
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        let decode = |(key, value): (Bytes, Bytes)| {
            let at = parse_record_key(&key)?;
            Ok((at, decode_record(at, value)?))
        };
        self.read(Bucket::Records, &record_key(from), limit).into_iter().map(decode).collect()
    }
}

impl Replica {
    /// The machine's state.
    pub fn state(&self) -> &State {
        &self.inner.state
    }

    /// Where its records are read.
    pub fn records(&self) -> &dyn Records {
        &self.inner.store
    }

    /// How many log entries were applied.
    pub fn applied(&self) -> u64 {
        self.inner.applied
    }

    /// Applies the next log entry and stores what it changed.
    pub fn apply(&mut self, batch: &Batch) -> Effects {
        let inner = Arc::make_mut(&mut self.inner);
        let log_id = LogId { term: Term(1), index: LogIndex(inner.applied) };
        let effects = must(inner.state.apply(&inner.store, log_id, batch), "apply");
        inner.store.write(&effects.writes);
        inner.store.write(&[applied_write(log_id)]);
        inner.applied = inner.applied.saturating_add(1);
        inner.rehash();
        effects
    }

    /// Applies one command as an entry of its own that nobody repeats: its answer, and what happened to keys.
    pub fn run(&mut self, command: Command) -> (Answer, Vec<Event>) {
        let sequence = self.inner.applied.saturating_add(1);
        let mut effects = self.apply(&batch(1, 1, sequence, sequence, command));
        let answer = effects.answers.pop().map(|(_, answer)| answer);
        (must(answer.ok_or("it was taken for a repetition"), "a fresh request"), effects.events)
    }

    /// Deletes everything that compaction allows to delete now.
    pub fn sweep(&mut self) {
        while !self.sweep_step(None) {}
        let inner = Arc::make_mut(&mut self.inner);
        inner.sweeps.swept = inner.state.compacted();
        inner.sweeps.steps.clear();
        inner.rehash();
    }

    /// One step of a sweep that leaves alone what `pinned` reads; whether nothing is left to do.
    pub fn sweep_step(&mut self, pinned: Option<Revision>) -> bool {
        let inner = Arc::make_mut(&mut self.inner);
        let progress = inner.state.compact_step(1, pinned);
        for at in progress.remove {
            let removed = inner.store.0.remove(&(Bucket::Records, record_key(at)));
            assert!(removed.is_some(), "{at:?} was to be deleted, but is not stored");
        }
        inner.sweeps.steps.push((inner.applied, pinned));
        inner.rehash();
        progress.done
    }

    /// Whether [`Replica::sweep`] has nothing to do.
    pub fn is_swept(&self) -> bool {
        self.state().compacted() <= self.inner.sweeps.swept
    }

    /// Whether all that compaction allows to delete is deleted, as a member finds it that starts from this store and
    /// knows of no sweep before.
    pub fn holds_nothing_compacted(&self) -> bool {
        let mut anew = must(Replica::install(&self.snapshot(3, None)), "install");
        anew.sweep();
        anew.same_store(self)
    }

    /// The snapshot stream of this state, `chunk_pairs` pairs a frame, without the buckets in `leave_out` (which
    /// only a planted bug names).
    pub fn snapshot(&self, chunk_pairs: usize, leave_out: Option<Bucket>) -> Vec<u8> {
        let applied = must(self.state().applied().ok_or("nothing is applied"), "snapshot");
        let mut encoder = SnapshotEncoder::default();
        let mut stream = encoder.header(applied).to_vec();
        let pairs: Vec<SnapshotPair> = (self.inner.store.0.iter())
            .filter(|((bucket, _), _)| Some(*bucket) != leave_out)
            .map(|((bucket, key), value)| (*bucket, key.clone(), value.clone()))
            .collect();
        for chunk in pairs.chunks(chunk_pairs) {
            stream.extend_from_slice(&encoder.chunk(chunk));
        }
        stream.extend_from_slice(&encoder.end());
        stream
    }

    /// The replica that a snapshot stream makes, read in pieces of an odd size.
    ///
    /// # Errors
    /// What decoder or loader have against it.
    pub fn install(stream: &[u8]) -> Result<Replica, String> {
        let mut decoder = SnapshotDecoder::default();
        let mut store = Store::default();
        let mut applied = None;
        for piece in stream.chunks(61) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? {
                match frame {
                    SnapshotFrame::Header(at) => applied = Some(at),
                    SnapshotFrame::Chunk(pairs) => {
                        store.0.extend(pairs.into_iter().map(|(bucket, key, value)| ((bucket, key), value)));
                    }
                    SnapshotFrame::End => {}
                }
            }
        }
        if !decoder.is_complete() {
            return Err("the stream broke off".to_owned());
        }
        let state = State::load(|bucket, from, limit| Ok::<_, String>(store.read(bucket, from, limit)))
            .map_err(|error| error.to_string())?;
        if state.applied() != applied {
            return Err("the header's log id is not the state's".to_owned());
        }
        let applied = applied.map_or(0, |at| at.index.0.saturating_add(1));
        let sweeps = Sweeps { inherited: state.compacted(), ..Sweeps::default() };
        let mut inner = Inner { state, store, applied, sweeps, digest: 0 };
        inner.rehash();
        Ok(Replica { inner: Arc::new(inner) })
    }

    /// The living key-values of a range at a revision (0 is now).
    pub fn range(&self, range: KeyRange, revision: Revision) -> RangeReply {
        let query = Range { revision, ..query(range) };
        must(must(self.state().range(self.records(), &query), "range"), "range")
    }

    /// One living key.
    pub fn get(&self, key: &'static str) -> Option<KeyValue> {
        self.range(KeyRange::single(key), Revision(0)).kvs.pop()
    }

    /// Every living key.
    pub fn all(&self, revision: Revision) -> RangeReply {
        self.range(everything(), revision)
    }

    /// Whether both hold the same state, physically too.
    pub fn same_store(&self, other: &Replica) -> bool {
        self.inner.store == other.inner.store
    }
}

impl Inner {
    fn rehash(&mut self) {
        let mut hasher = DefaultHasher::new();
        (&self.store, &self.sweeps).hash(&mut hasher);
        self.digest = hasher.finish();
    }
}

impl PartialEq for Replica {
    fn eq(&self, other: &Replica) -> bool {
        self.inner.digest == other.inner.digest
            && self.inner.sweeps == other.inner.sweeps
            && self.inner.store == other.inner.store
    }
}

impl Eq for Replica {}

impl Hash for Replica {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.inner.digest.hash(hasher);
    }
}

impl Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |kv: &KeyValue| {
            let lease = if kv.lease.is_some() { format!(" lease {}", kv.lease.0) } else { String::new() };
            format!("{:?}={:?} rev {} v{}{lease}", kv.key, kv.value, kv.mod_revision, kv.version)
        };
        let lease = |(id, lease): (_, &quorate::machine::lease::Lease)| {
            let quorate::types::LeaseId(id) = id;
            format!("{id}: {} of {} s", lease.left().0, lease.ttl.0)
        };
        f.debug_struct("Replica")
            .field("applied", &self.inner.applied)
            .field("revision", &self.state().revision().0)
            .field("compacted", &self.state().compacted().0)
            .field("keys", &self.all(Revision(0)).kvs.iter().map(show).collect::<Vec<_>>())
            .field("leases", &self.state().leases().iter().map(lease).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Previous for Replica {
    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, RecordsError> {
        if at < Revision::FIRST {
            return Ok(None);
        }
        let Ok(Some(place)) = self.state().locate(key, at) else { return Ok(None) };
        match self.records().record(place)?.event {
            Event::Put(kv) => Ok(Some(kv)),
            Event::Delete { .. } => Ok(None),
        }
    }
}

/// One request of a member, as a log entry of its own.
pub fn batch(member: u64, incarnation: u64, lowest: u64, sequence: u64, command: Command) -> Batch {
    Batch {
        member: MemberId(member),
        incarnation: Incarnation(incarnation),
        lowest_unanswered: lowest,
        wall_ms: 0,
        requests: vec![Request::new(sequence, command)],
    }
}

/// A plain range.
pub fn query(range: KeyRange) -> Range {
    Range::of(range)
}

/// The range of all keys.
pub fn everything() -> KeyRange {
    KeyRange::from_wire(Bytes::from_static(&[0]), Bytes::from_static(&[0]))
}

#[cfg(test)]
mod tests {
    use quorate::machine::command::{Compact, Put};

    use super::*;

    fn put(key: &'static str) -> Command {
        Command::Put(Put { key: Bytes::from_static(key.as_bytes()), ..Put::default() })
    }

    fn fingerprint(replica: &Replica) -> u64 {
        let mut hasher = DefaultHasher::new();
        replica.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn the_store_decides_what_a_replica_is() {
        let mut one = Replica::default();
        one.run(put("a"));
        let mut other = one.clone();
        assert_eq!((&one, fingerprint(&one)), (&other, fingerprint(&other)));
        other.run(put("a"));
        assert_ne!(one, other);
        assert_ne!(fingerprint(&one), fingerprint(&other));
        one.run(put("a"));
        assert_eq!(
            (&one, fingerprint(&one)),
            (&other, fingerprint(&other)),
            "the same log, the same replica"
        );
        assert_eq!(must(Replica::install(&other.snapshot(1, None)), "install"), other, "its snapshot is it");
    }

    #[test]
    fn how_far_a_sweep_has_come_tells_replicas_apart() {
        let mut one = Replica::default();
        one.run(put("a"));
        one.run(Command::Compact(Compact { revision: Revision(2) }));
        assert!(!one.is_swept());
        let mut other = one.clone();
        other.sweep();
        assert!(other.is_swept());
        assert!(one.same_store(&other), "there was nothing to delete");
        assert_ne!(one, other, "yet they do not go on alike");
    }

    #[test]
    fn what_a_pin_held_back_is_found() {
        let mut one = Replica::default();
        one.run(put("a"));
        one.run(put("a"));
        assert!(one.holds_nothing_compacted(), "nothing is compacted");
        one.run(Command::Compact(Compact { revision: Revision(3) }));
        assert!(one.sweep_step(Some(Revision(2))), "no more is allowed");
        assert!(!one.holds_nothing_compacted());
        one.sweep();
        assert!(one.holds_nothing_compacted());
    }
}
