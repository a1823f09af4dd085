//! Applied state on its way to the engine: a write buffer in front of it, and reads through both.
//!
//! Applying a batch does not wait for the engine: its writes go into the buffer, from which a background task
//! feeds the engine in order. A read looks into the buffer first and then into the engine as of the newest
//! drained batch, so that every record the index knows is found in one of them at any moment.
//!
//! Invariants: the engine never becomes durable ahead of the WAL ([`Store::flush`] waits for the WAL first). The
//! first failure of the engine ends the process, at once and from here: nobody else has to notice it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::env::{Env, Worker, run};
use crate::machine::effects::{Record, Records, RecordsError};
use crate::machine::mvcc::record::{decode_record, parse_record_key, record_key};
use crate::machine::persist::{Bucket, Write};
use crate::storage::engine::{Engine, EngineError, EngineSize, PageLimit, Pair, Reader};
use crate::storage::full_snapshot::FullSnapshot;
use crate::storage::wal::WalHandle;
use crate::types::{LogId, RevPair};

/// A smaller bite waits for more: one transaction of the engine costs as much as the writes of hundreds of requests.
const BITE_BYTES_MIN: usize = 1 << 20;
/// How long it waits. Nobody waits with it: what is buffered is readable, and durable in the log.
const BITE_WAIT: Duration = Duration::from_millis(50);
/// While this many bytes wait for the engine, [`Store::room`] holds the applier back.
const BUFFER_BYTES_MAX: usize = 16 << 20;
/// The engine is given at most this many bytes in one batch.
const DRAIN_BYTES_MAX: usize = 4 << 20;
/// What a write costs in the buffer beside its key and value, bytes.
const WRITE_OVERHEAD_BYTES: usize = 64;

/// How long a close waits for views that are still held. An engine closed under one is rebuilt at its next start.
const VIEWS_RETURN_MAX: Duration = Duration::from_secs(2);
/// How often it looks.
const VIEWS_RETURN_STEP: Duration = Duration::from_millis(5);

/// The state's storage. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    worker: Arc<dyn Worker>,
    /// Of an engine that does not survive a power loss.
    full: Option<FullSnapshot>,
    inner: RwLock<Inner>,
    /// Told whenever the buffer shrank.
    drained: Notify,
    /// Held by whoever puts another engine in the place of this one, from before the first name on the disk changes.
    exchange: tokio::sync::Mutex<()>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    reader: Arc<Mutex<Box<dyn Reader>>>,
    /// Views that were given out, as far as they are still held.
    pins: Vec<Weak<()>>,
    closed: bool,
    /// Batches that the engine has not got, oldest first, each with its number.
    buffer: VecDeque<(u64, Vec<Write>)>,
    /// The newest buffered write to each record, and the number of its batch.
    records: BTreeMap<Bytes, (u64, Option<Bytes>)>,
    next: u64,
    /// The newest batch that the engine has got, or that will never reach it.
    fed: u64,
    buffered_bytes: usize,
    draining: bool,
    /// A bite is in the engine's hands.
    feeding: bool,
    /// Flushes under way: until they are done the engine gets nothing, see [`Store::flush`].
    flushes: u32,
    /// Keys of batches that the engine was given since this was last asked for, while somebody copies it.
    changed: Option<BTreeSet<Place>>,
}

/// Where a pair stands.
pub type Place = (Bucket, Bytes);

/// Keeps the engine from getting more, until it is dropped.
pub struct Held(Store);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.write().flushes -= 1;
        self.0.shared.drained.notify_waiters();
    }
}

fn cost(write: &Write) -> usize {
    write.key.len() + write.value.as_ref().map_or(0, Bytes::len) + WRITE_OVERHEAD_BYTES
}

/// A view that the store knows to be held.
struct Pinned {
    reader: Box<dyn Reader>,
    _held: Arc<()>,
}

impl Reader for Pinned {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.reader.get(bucket, key)
    }

    fn page(&self, bucket: Bucket, from: &[u8], limit: PageLimit) -> Result<Vec<Pair>, EngineError> {
        self.reader.page(bucket, from, limit)
    }
}

/// What is read once the store is closed.
struct Closed;

impl Reader for Closed {
    fn get(&self, _: Bucket, _: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Err(closed())
    }

    fn page(&self, _: Bucket, _: &[u8], _: PageLimit) -> Result<Vec<Pair>, EngineError> {
        Err(closed())
    }
}

fn closed() -> EngineError {
    let source = std::io::Error::other("the member has stopped");
    EngineError::Io { path: "state engine".to_owned(), source }
}

impl Store {
    /// A store over `engine`, whose work runs on `worker`; `full` is the snapshot file that an engine needs which
    /// does not survive a power loss.
    ///
    /// # Errors
    /// When the engine cannot be read.
    pub fn new(
        env: Env,
        worker: Arc<dyn Worker>,
        engine: Arc<dyn Engine>,
        full: Option<FullSnapshot>,
    ) -> Result<Store, EngineError> {
        assert_eq!(
            engine.survives_power_loss(),
            full.is_none(),
            "the log may be purged up to a flush, or up to a snapshot file"
        );
        let reader = Arc::new(Mutex::new(engine.reader()?));
        let inner = Inner {
            engine,
            reader,
            pins: Vec::new(),
            closed: false,
            buffer: VecDeque::new(),
            records: BTreeMap::new(),
            next: 1,
            fed: 0,
            buffered_bytes: 0,
            draining: false,
            feeding: false,
            flushes: 0,
            changed: None,
        };
        let (inner, drained) = (RwLock::new(inner), Notify::new());
        let shared = Shared { env, worker, full, inner, drained, exchange: tokio::sync::Mutex::default() };
        Ok(Store { shared: Arc::new(shared) })
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.shared.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.shared.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process for a failure of the state's storage. After a close there is no failure: then it is only
    /// said why something late came to nothing.
    pub fn fatal(&self, reason: &str) {
        if self.read().closed {
            tracing::debug!(reason, "not done any more");
            return;
        }
        self.shared.env.process.fatal(reason);
    }

    fn or_fatal<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        // A view that got too old is the one failure that is nobody's fault.
        result.inspect_err(|error| match error {
            EngineError::ReaderTooOld { .. } => {}
            error => self.fatal(&error.to_string()),
        })
    }

    /// Takes one atomic batch: readable at once, in the engine soon, durable after the next flush. A closed
    /// store takes nothing: the log has what counts.
    pub fn push(&self, writes: Vec<Write>) {
        let mut inner = self.write();
        if inner.closed {
            return;
        }
        let number = inner.next;
        inner.next += 1;
        for write in &writes {
            inner.buffered_bytes += cost(write);
            if write.bucket == Bucket::Records {
                inner.records.insert(write.key.clone(), (number, write.value.clone()));
            }
        }
        inner.buffer.push_back((number, writes));
        if !inner.draining {
            inner.draining = true;
            tokio::spawn(self.clone().drain());
        }
    }

    /// Feeds the engine until the buffer is empty, in bites that are worth a transaction of the engine.
    async fn drain(self) {
        loop {
            let (empty, bytes) = {
                let inner = self.read();
                (inner.buffer.is_empty(), inner.buffered_bytes)
            };
            if !empty && bytes < BITE_BYTES_MIN && !crate::buggify!("the engine is fed at once") {
                self.shared.env.clock.sleep(BITE_WAIT).await;
            }
            crate::disturb!("the engine is fed late", &*self.shared.env.clock);
            self.until(|inner| inner.flushes == 0).await;
            let (engine, last, writes) = {
                let mut inner = self.write();
                let Some(taken) = inner.take() else {
                    inner.draining = false;
                    self.shared.drained.notify_waiters();
                    return;
                };
                inner.feeding = true;
                // The planted bug forgets them here, before the engine can be asked for them.
                if crate::mutant!("engine-records-forgotten-while-fed") {
                    let last = taken.1;
                    inner.records.retain(|_, (number, _)| *number > last);
                }
                taken
            };
            let bytes: usize = writes.iter().map(cost).sum();
            let fed = engine.clone();
            let applied = run(&*self.shared.worker, move || {
                fed.apply(&writes)?;
                fed.reader()
            });
            match applied.await {
                Ok(Ok(reader)) => {
                    let mut inner = self.write();
                    inner.feeding = false;
                    // A snapshot may have replaced the engine meanwhile: then this batch is history.
                    if Arc::ptr_eq(&inner.engine, &engine) {
                        inner.reader = Arc::new(Mutex::new(reader));
                        inner.fed = last;
                        inner.records.retain(|_, (number, _)| *number > last);
                        inner.buffered_bytes = inner.buffered_bytes.saturating_sub(bytes);
                    }
                    drop(inner);
                    self.shared.drained.notify_waiters();
                }
                // Not through `fatal`: whoever closes the store waits for this task.
                Ok(Err(error)) => return self.shared.env.process.fatal(&error.to_string()),
                Err(error) => return self.shared.env.process.fatal(&format!("state engine: {error}")),
            }
        }
    }

    /// Waits until the buffer has room.
    pub async fn room(&self) {
        self.until(|inner| inner.buffered_bytes < BUFFER_BYTES_MAX).await;
    }

    /// Waits until the engine holds everything pushed before this call.
    pub async fn drained(&self) {
        let target = self.read().next;
        self.until(|inner| inner.fed + 1 >= target).await;
    }

    async fn until(&self, holds: impl Fn(&Inner) -> bool) {
        loop {
            let notified = self.shared.drained.notified();
            let mut notified = std::pin::pin!(notified);
            // Registered before looking, so that a change in between is not missed.
            notified.as_mut().enable();
            if holds(&self.read()) {
                return;
            }
            notified.await;
        }
    }

    /// Makes everything pushed so far durable: first the WAL, then the engine.
    ///
    /// From before the WAL is asked until the engine is durable the engine gets nothing more: what was applied
    /// meanwhile may not be durable in the WAL yet, and must not become so in the engine first.
    ///
    /// # Errors
    /// When WAL or engine fail; the process has been told to end.
    pub async fn flush(&self, wal: &WalHandle) -> Result<(), EngineError> {
        let flushed = self.flush_engine(wal).await;
        self.or_fatal(flushed)
    }

    async fn flush_engine(&self, wal: &WalHandle) -> Result<(), EngineError> {
        self.drained().await;
        // The planted bug lets the engine be fed meanwhile.
        let hold = !crate::mutant!("engine-fed-during-a-flush");
        self.write().flushes += 1;
        let held = Held(self.clone());
        let _held = hold.then_some(held);
        self.until(|inner| !inner.feeding).await;
        crate::disturb!("a flush waits before the log", &*self.shared.env.clock);
        if !crate::mutant!("engine-flush-ahead-of-wal") {
            wal_durable(wal).await?;
        }
        crate::disturb!("a flush waits behind the log", &*self.shared.env.clock);
        let engine = self.read().engine.clone();
        run(&*self.shared.worker, move || engine.flush())
            .await
            .map_err(|source| EngineError::Io { path: "state engine".to_owned(), source })?
    }

    /// Makes what `view` sees, the state as of `applied`, durable so that the log may be purged up to there:
    /// by a flush, or by a snapshot file. Gives the view back.
    ///
    /// # Errors
    /// `ReaderTooOld` when so much was written meanwhile that the view is gone: try again with a new one. In
    /// every other case the process has been told to end.
    pub async fn secure(
        &self,
        applied: LogId,
        view: Box<dyn Reader>,
        wal: &WalHandle,
    ) -> Result<Box<dyn Reader>, EngineError> {
        let Some(full) = &self.shared.full else {
            // Perhaps something newer becomes durable with it.
            // The planted bug leaves the flush to the next one who needs it.
            if crate::mutant!("engine-not-durable-when-the-log-is-purged") {
                return Ok(view);
            }
            return self.flush(wal).await.map(|()| view);
        };
        let secured = async {
            wal_durable(wal).await?;
            Ok(full.write(applied, view).await?)
        };
        let secured = secured.await;
        self.or_fatal(secured)
    }

    /// Makes everything pushed so far durable and ends the engine for good: what comes later is not taken, and
    /// reads fail.
    ///
    /// # Errors
    /// When WAL or engine fail; the process has been told to end.
    pub async fn close(&self, wal: &WalHandle) -> Result<(), EngineError> {
        self.write().closed = true;
        let closed = self.close_engine(wal).await;
        // Not through `fatal`: what comes to nothing after this call is no failure, this call's own is one.
        closed.inspect_err(|error| self.shared.env.process.fatal(&error.to_string()))
    }

    async fn close_engine(&self, wal: &WalHandle) -> Result<(), EngineError> {
        if let Some(full) = &self.shared.full {
            full.stop().await;
        }
        self.flush_engine(wal).await?;
        let (engine, reader) = {
            let mut inner = self.write();
            let none: Arc<Mutex<Box<dyn Reader>>> = Arc::new(Mutex::new(Box::new(Closed)));
            (inner.engine.clone(), std::mem::replace(&mut inner.reader, none))
        };
        self.views_returned(&reader).await;
        let ended = run(&*self.shared.worker, move || {
            drop(reader);
            engine.close()
        });
        ended.await.map_err(|source| EngineError::Io { path: "state engine".to_owned(), source })?
    }

    /// Waits, not for ever, until nobody holds a view of the engine.
    async fn views_returned(&self, reader: &Arc<Mutex<Box<dyn Reader>>>) {
        let mut waited = Duration::ZERO;
        loop {
            let pinned = self.read().pins.iter().any(|held| held.strong_count() > 0);
            if (!pinned && Arc::strong_count(reader) == 1) || waited >= VIEWS_RETURN_MAX {
                return;
            }
            self.shared.env.clock.sleep(VIEWS_RETURN_STEP).await;
            waited += VIEWS_RETURN_STEP;
        }
    }

    /// A view of everything in the engine now, for as long as it is held.
    ///
    /// # Errors
    /// When the engine cannot be read; the process has been told to end.
    pub fn pin(&self) -> Result<Box<dyn Reader>, EngineError> {
        let engine = self.read().engine.clone();
        let reader = self.or_fatal(engine.reader())?;
        let held = Arc::new(());
        let mut inner = self.write();
        inner.pins.retain(|held| held.strong_count() > 0);
        inner.pins.push(Arc::downgrade(&held));
        Ok(Box::new(Pinned { reader, _held: held }))
    }

    /// Replaces the engine, as a snapshot install does. What still waits in the buffer belonged to the state
    /// that goes and is dropped with it.
    ///
    /// # Errors
    /// When the new engine cannot be read; nothing was replaced then.
    pub fn swap(&self, engine: Arc<dyn Engine>) -> Result<(), EngineError> {
        let reader = Arc::new(Mutex::new(engine.reader()?));
        let mut inner = self.write();
        let old =
            (std::mem::replace(&mut inner.engine, engine), std::mem::replace(&mut inner.reader, reader));
        inner.buffer.clear();
        inner.records.clear();
        inner.buffered_bytes = 0;
        inner.fed = inner.next - 1;
        inner.changed = None;
        drop(inner);
        self.shared.drained.notify_waiters();
        if self.shared.full.is_some() {
            // Such an engine may take long to end, and the caller holds the state.
            self.shared.worker.submit(Box::new(move || {
                drop(old);
                Box::new(|| ())
            }));
        }
        Ok(())
    }

    /// To be held by whoever puts another engine in the place of this one: two who did so at once could leave one on the
    /// disk and another in use.
    pub async fn exclusively(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared.exchange.lock().await
    }

    /// Begins to note what the engine is given, and answers the engine: a view of it that is opened now holds everything
    /// that is not noted from now on.
    pub(super) async fn note_changes(&self) -> Arc<dyn Engine> {
        self.write().changed = Some(BTreeSet::new());
        self.until(|inner| !inner.feeding).await;
        self.read().engine.clone()
    }

    /// How many keys have been noted since they were last asked for.
    pub(super) fn noted(&self) -> usize {
        self.read().changed.as_ref().map_or(0, BTreeSet::len)
    }

    /// Notes changes no longer.
    pub(super) fn forget_changes(&self) {
        self.write().changed = None;
    }

    /// What the engine was given since this was last asked: a view of it that is opened now holds all of it. `None` when
    /// the engine was replaced, or ended.
    pub(super) async fn changes(&self, engine: &Arc<dyn Engine>) -> Option<BTreeSet<Place>> {
        let changes = {
            let mut inner = self.write();
            let same = Arc::ptr_eq(&inner.engine, engine) && !inner.closed;
            inner.changed.as_mut().filter(|_| same).map(std::mem::take)?
        };
        self.until(|inner| !inner.feeding).await;
        Some(changes)
    }

    /// Keeps the engine from getting more, and waits until it has taken what it was given.
    pub(super) async fn hold(&self) -> Held {
        self.write().flushes += 1;
        let held = Held(self.clone());
        self.until(|inner| !inner.feeding).await;
        held
    }

    /// Waits until the log holds, durably, everything that the engine was given: call it while the engine is held.
    pub(super) async fn log_durable(&self, wal: &WalHandle) -> Result<(), EngineError> {
        wal_durable(wal).await
    }

    /// Puts `engine`, which holds exactly what `old` holds, in its place, while `old` is held; false when it is not the
    /// store's engine any more.
    ///
    /// # Errors
    /// When the new engine cannot be read; nothing was replaced then.
    pub(super) fn replace(
        &self,
        old: &Arc<dyn Engine>,
        engine: Arc<dyn Engine>,
        _held: &Held,
    ) -> Result<bool, EngineError> {
        let reader = Arc::new(Mutex::new(engine.reader()?));
        let mut inner = self.write();
        if !Arc::ptr_eq(&inner.engine, old) || inner.closed {
            return Ok(false);
        }
        inner.engine = engine;
        inner.reader = reader;
        inner.changed = None;
        Ok(true)
    }

    /// Whether the store has been closed.
    pub(super) fn is_closed(&self) -> bool {
        self.read().closed
    }

    /// The seams that the store was made with.
    pub(super) fn env(&self) -> &Env {
        &self.shared.env
    }

    /// Space taken by the engine.
    ///
    /// # Errors
    /// When the engine cannot tell.
    pub fn size(&self) -> Result<EngineSize, EngineError> {
        let engine = self.read().engine.clone();
        engine.size()
    }
}

async fn wal_durable(wal: &WalHandle) -> Result<(), EngineError> {
    wal.barrier().await.map_err(|source| EngineError::Io { path: "write-ahead log".to_owned(), source })
}

impl Inner {
    /// The next batches for the engine, merged: atomic together.
    fn take(&mut self) -> Option<(Arc<dyn Engine>, u64, Vec<Write>)> {
        let (mut last, mut writes) = self.buffer.pop_front()?;
        let mut bytes: usize = writes.iter().map(cost).sum();
        while let Some((_, next)) = self.buffer.front() {
            bytes += next.iter().map(cost).sum::<usize>();
            if bytes > DRAIN_BYTES_MAX {
                break;
            }
            if let Some((number, next)) = self.buffer.pop_front() {
                last = number;
                writes.extend(next);
            }
        }
        if let Some(changed) = &mut self.changed {
            changed.extend(writes.iter().map(|write| (write.bucket, write.key.clone())));
        }
        Some((self.engine.clone(), last, writes))
    }
}

fn engine_failed(error: &EngineError) -> RecordsError {
    RecordsError(error.to_string())
}

impl Records for Store {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        let key = record_key(at);
        let (buffered, reader) = {
            let inner = self.read();
            (inner.records.get(&key).map(|(_, value)| value.clone()), inner.reader.clone())
        };
        let value = match buffered {
            Some(value) => value,
            None => {
                let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.get(Bucket::Records, &key).map_err(|error| engine_failed(&error))?
            }
        };
        let value = value.ok_or_else(|| RecordsError(format!("no record at {}.{}", at.main, at.sub)))?;
        decode_record(at, value)
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        let mut key = record_key(from);
        let mut found = Vec::new();
        // Buffered removals can empty a whole page of the engine: go on until the limit or the end.
        while found.len() < limit {
            let wanted = limit - found.len();
            let (buffered, reader) = {
                let inner = self.read();
                let range = inner.records.range(key.clone()..).take(wanted);
                let buffered: Vec<_> = range.map(|(key, (_, value))| (key.clone(), value.clone())).collect();
                (buffered, inner.reader.clone())
            };
            let stored = {
                let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.range(Bucket::Records, &key, wanted).map_err(|error| engine_failed(&error))?
            };
            let Some(page) = merge(stored, buffered, wanted) else { break };
            for (record, value) in page.pairs {
                let at = parse_record_key(&record)?;
                found.push((at, decode_record(at, value)?));
            }
            match page.next {
                Some(next) => key = next,
                None => break,
            }
        }
        Ok(found)
    }
}

/// Part of a scan, and where the next part begins (`None` at the end).
struct Page {
    pairs: Vec<(Bytes, Bytes)>,
    next: Option<Bytes>,
}

/// Lays buffered writes over stored pairs. Either list may have been cut at `limit`; what lies past the end of
/// a cut list is not known yet and is left to the next page. `None` when there is nothing at all.
fn merge(stored: Vec<(Bytes, Bytes)>, buffered: Vec<(Bytes, Option<Bytes>)>, limit: usize) -> Option<Page> {
    let end_of = |len: usize, last: Option<Bytes>| if len == limit { last } else { None };
    let stored_end = end_of(stored.len(), stored.last().map(|(key, _)| key.clone()));
    let buffered_end = end_of(buffered.len(), buffered.last().map(|(key, _)| key.clone()));
    let horizon = match (stored_end, buffered_end) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    if stored.is_empty() && buffered.is_empty() {
        return None;
    }
    let mut merged: BTreeMap<Bytes, Option<Bytes>> =
        stored.into_iter().map(|(key, value)| (key, Some(value))).collect();
    merged.extend(buffered);
    let known = |key: &Bytes| horizon.as_ref().is_none_or(|horizon| key <= horizon);
    let mut pairs: Vec<(Bytes, Bytes)> = merged
        .into_iter()
        .filter(|(key, _)| known(key))
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let mut next = horizon;
    if pairs.len() > limit {
        pairs.truncate(limit);
        next = pairs.last().map(|(key, _)| key.clone());
    }
    let next = next.map(|key| Bytes::from([key.as_ref(), &[0]].concat()));
    Some(Page { pairs, next })
}
