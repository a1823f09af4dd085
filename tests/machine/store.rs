//! A member's store as a plain map, and a member made of it and the machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::machine::command::{Answer, Batch, Command, Request};
use quorate::machine::effects::{Effects, Event, Record, Records, RecordsError};
use quorate::machine::mvcc::record::{decode_record, parse_record_key, record_key};
use quorate::machine::persist::{Bucket, Write};
use quorate::machine::state::applied_write;
use quorate::machine::{Overlay, State};
use quorate::types::{Incarnation, LogId, LogIndex, MemberId, RevPair, Term};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store(pub BTreeMap<(Bucket, Bytes), Bytes>);

impl Store {
    pub fn write(&mut self, writes: &[Write]) {
        for write in writes {
            let place = (write.bucket, write.key.clone());
            match &write.value {
                Some(value) => self.0.insert(place, value.clone()),
                None => self.0.remove(&place),
            };
        }
    }

    pub fn remove(&mut self, records: &[RevPair]) {
        for at in records {
            let removed = self.0.remove(&(Bucket::Records, record_key(*at)));
            assert!(removed.is_some(), "{at:?} was to be deleted, but is not stored");
        }
    }

    pub fn read(&self, bucket: Bucket, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, String> {
        let from = (bucket, Bytes::copy_from_slice(from));
        let pairs = self.0.range(from..).take_while(|((found, _), _)| *found == bucket).take(limit);
        Ok(pairs.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    pub fn load(&self) -> State {
        State::load(|bucket, from, limit| self.read(bucket, from, limit)).expect("what was stored loads")
    }
}

impl Records for Store {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        let value = self.0.get(&(Bucket::Records, record_key(at)));
        decode_record(at, value.ok_or(RecordsError(format!("{at:?} is not stored")))?.clone())
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        let pairs = self.read(Bucket::Records, &record_key(from), limit).map_err(RecordsError)?;
        let decode = |(key, value): (Bytes, Bytes)| {
            let at = parse_record_key(&key)?;
            Ok((at, decode_record(at, value)?))
        };
        pairs.into_iter().map(decode).collect()
    }
}

/// One member: a store that may lag behind the state by whole entries, as an engine does.
#[derive(Debug, Default)]
pub struct Node {
    pub state: State,
    pub store: Store,
    pending: Vec<Write>,
    index: u64,
    sequence: u64,
}

impl Node {
    /// Applies one entry; its writes wait for [`Node::flush`].
    pub fn apply(&mut self, batch: &Batch) -> Effects {
        self.index += 1;
        let log_id = LogId { term: Term(1), index: LogIndex(self.index) };
        let mut overlay = Overlay::new(&self.store);
        overlay.absorb(&self.pending).unwrap();
        let effects = self.state.apply(&overlay, log_id, batch).unwrap();
        self.pending.extend(effects.writes.clone());
        self.pending.push(applied_write(log_id));
        effects
    }

    /// A node at the same place in the log, over another store.
    pub fn twin(&self, store: Store) -> Node {
        Node { state: store.load(), store, pending: Vec::new(), index: self.index, sequence: self.sequence }
    }

    /// Brings the store up to the state.
    pub fn flush(&mut self) {
        self.store.write(&std::mem::take(&mut self.pending));
    }

    /// Applies one command as the next request of member 1; everything is stored.
    pub fn run(&mut self, command: Command) -> (Answer, Vec<Event>) {
        self.sequence += 1;
        let effects = self.apply(&batch(1, self.sequence, vec![command]));
        self.flush();
        let [(_, answer)] = effects.answers.as_slice() else {
            panic!("one request, one answer: {effects:?}")
        };
        (answer.clone(), effects.events)
    }

    /// A crash in the middle of a sweep's step: only the first of its deletions reached the store.
    pub fn sweep_torn(&mut self, budget: usize, deletions: usize) {
        self.flush();
        let progress = self.state.compact_step(budget, None);
        self.store.remove(progress.remove.get(..deletions).unwrap_or(&progress.remove));
        self.state = self.store.load();
    }

    /// A sweep's step with its deletions done.
    pub fn sweep(&mut self, budget: usize) -> bool {
        self.flush();
        let progress = self.state.compact_step(budget, None);
        self.store.remove(&progress.remove);
        progress.done
    }
}

/// Requests of one member's first incarnation, from a sequence on, everything below it answered.
pub fn batch(member: u64, sequence: u64, commands: Vec<Command>) -> Batch {
    let request = |(sequence, command)| Request::new(sequence, command);
    Batch {
        member: MemberId(member),
        incarnation: Incarnation(1),
        lowest_unanswered: sequence,
        wall_ms: 0,
        requests: (sequence..).zip(commands).map(request).collect(),
    }
}
