//! The naive reference model: what the key space must be at every revision, by the API's own rules.
//!
//! It is written from the API's semantics and shares nothing with the product: every key keeps its whole history in
//! a sorted map, nothing is ever compacted, and a change can be taken back (the search for the order of unknown
//! operations tries several). It knows which keys hang on which lease, and which leases are dead; it knows no time.
//!
//! Invariants: revisions only grow; a key's history is ordered by revision; `attached` mirrors the live keys.

mod expected;
mod range;
mod txn;

pub(crate) use expected::show;
pub use expected::{Expected, ExpectedRange};

use crate::bytes::Bytes;
use crate::history::{DeleteRange, Event, EventKind, KeyValue, Put, Request};
use crate::span;
use crate::types::{LeaseId, Revision};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a live key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    created: Revision,
    version: i64,
    value: Bytes,
    lease: LeaseId,
}

/// One entry of a key's history; `None` is a deletion.
#[derive(Clone, Debug)]
struct Version {
    modified: Revision,
    live: Option<Live>,
}

/// What has to be taken back to undo a change.
#[derive(Debug)]
enum Undo {
    Key(Bytes),
    Dead(LeaseId),
}

/// Why the model refuses a request; the store must refuse it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lease is gone.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// `ignore_value` or `ignore_lease` on a key that is not there.
    #[error("key not found")]
    KeyNotFound,
    /// A range at a revision that is not there yet.
    #[error("required revision is a future revision")]
    FutureRevision,
    /// A lease of that id exists.
    #[error("lease already exists")]
    LeaseExists,
    /// A revision that is compacted.
    #[error("required revision has been compacted")]
    Compacted,
    /// The alarm about space is raised.
    #[error("database space exceeded")]
    NoSpace,
    /// The alarm about members that differ is raised.
    #[error("corrupt cluster")]
    Corrupt,
    /// The cluster is prepared for a lower version already.
    #[error("downgrade in progress")]
    DowngradeInProgress,
    /// The cluster is prepared for no lower version.
    #[error("no downgrade in progress")]
    NoDowngrade,
    /// The request never changes keys and has no answer in the model.
    #[error("not a request of the key space")]
    NotModelled,
}

/// What a request does: its answer and its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The whole answer.
    pub expected: Expected,
    /// The changes in order, each with the pair before it; none means that the revision did not move.
    pub events: Vec<Event>,
}

/// The state of the key space, with all of its past.
#[derive(Debug)]
pub struct Model {
    revision: Revision,
    keys: BTreeMap<Bytes, Vec<Version>>,
    attached: BTreeMap<LeaseId, BTreeSet<Bytes>>,
    dead: BTreeMap<LeaseId, Revision>,
    regranted: BTreeSet<LeaseId>,
    log: Vec<(Revision, Undo)>,
    exact: Option<Exact>,
}

/// What is known where the log tells of every lease and every compaction. It cannot be taken back.
#[derive(Debug, Default)]
struct Exact {
    leases: BTreeSet<LeaseId>,
    compacted: Revision,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            revision: Revision::FIRST,
            keys: BTreeMap::new(),
            attached: BTreeMap::new(),
            dead: BTreeMap::new(),
            regranted: BTreeSet::new(),
            log: Vec::new(),
            exact: None,
        }
    }
}

impl Model {
    /// An empty store. Leases whose ids were granted more than once are never taken for dead, because the key
    /// space alone does not tell which life of the lease a write means.
    pub fn new(regranted: BTreeSet<LeaseId>) -> Model {
        Model { regranted, ..Model::default() }
    }

    /// An empty store that is told of every grant, every end of a lease, and every compaction: it refuses exactly
    /// what has to be refused for them.
    pub fn exact() -> Model {
        Model { exact: Some(Exact::default()), ..Model::default() }
    }

    /// Notes a grant.
    ///
    /// # Errors
    /// [`Refusal::LeaseExists`].
    pub fn grant(&mut self, lease: LeaseId) -> Result<(), Refusal> {
        let Some(exact) = &mut self.exact else { return Ok(()) };
        if exact.leases.insert(lease) { Ok(()) } else { Err(Refusal::LeaseExists) }
    }

    /// Notes the end of a lease, and says whether there was one; its keys go with [`Model::expire`].
    pub fn end_known_lease(&mut self, lease: LeaseId) -> bool {
        self.exact.as_mut().is_some_and(|exact| exact.leases.remove(&lease))
    }

    /// Notes a compaction.
    ///
    /// # Errors
    /// [`Refusal::Compacted`] or [`Refusal::FutureRevision`].
    pub fn compact(&mut self, revision: Revision) -> Result<(), Refusal> {
        let present = self.revision;
        let Some(exact) = &mut self.exact else { return Ok(()) };
        if revision <= exact.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > present {
            return Err(Refusal::FutureRevision);
        }
        exact.compacted = revision;
        Ok(())
    }

    /// The present revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The keys that hang on a lease now, sorted.
    pub fn attached(&self, lease: LeaseId) -> Vec<Bytes> {
        self.attached.get(&lease).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Every lease that has keys now.
    pub fn leases_with_keys(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.attached.keys().copied()
    }

    /// The lease a key hangs on now.
    pub fn lease_of(&self, key: &Bytes) -> LeaseId {
        self.live(key).map_or(LeaseId::NONE, |live| live.lease)
    }

    /// When a lease ended, if it did.
    pub fn dead_since(&self, lease: LeaseId) -> Option<Revision> {
        self.dead.get(&lease).copied()
    }

    /// The leases that there are, where the model is told of every one.
    pub fn leases(&self) -> impl Iterator<Item = LeaseId> + '_ {
        self.exact.iter().flat_map(|exact| exact.leases.iter().copied())
    }

    /// The compacted revision, where the model is told of every compaction; 0 if there was none.
    pub fn compacted(&self) -> Revision {
        self.exact.as_ref().map_or(Revision(0), |exact| exact.compacted)
    }

    /// Every key's pair as of a revision, where it has one.
    pub fn pairs_at(&self, at: Revision) -> impl Iterator<Item = KeyValue> + '_ {
        self.keys.iter().filter_map(move |(key, versions)| pair_of(key, versions, at))
    }

    /// A key's pair as of a revision.
    pub fn pair_at(&self, key: &Bytes, at: Revision) -> Option<KeyValue> {
        pair_of(key, self.keys.get(key)?, at)
    }

    /// Runs a request so that its changes, if any, get revision `at`; says what it must answer.
    ///
    /// A refused request changes nothing.
    pub fn apply(&mut self, request: &Request, at: Revision) -> Result<Applied, Refusal> {
        assert!(at > self.revision, "a change must get a new revision");
        let mut events = Vec::new();
        let expected = match request {
            Request::Put(put) => {
                self.check_put(put)?;
                self.put(put, at, &mut events)
            }
            Request::DeleteRange(delete) => self.delete_range(delete, at, &mut events),
            Request::Txn(txn) => self.txn(txn, at, &mut events)?,
            Request::Range(range) => self.range(range, self.revision)?,
            Request::LeaseRevoke(revoke) => {
                self.end_lease(revoke.id, at, &mut events);
                Expected::Nothing
            }
            _ => return Err(Refusal::NotModelled),
        };
        if !events.is_empty() {
            self.revision = at;
        }
        Ok(Applied { expected, events })
    }

    /// Lets a lease run out at `at`: all its keys go at once.
    pub fn expire(&mut self, lease: LeaseId, at: Revision) -> Vec<Event> {
        let mut events = Vec::new();
        self.end_lease(lease, at, &mut events);
        if !events.is_empty() {
            self.revision = at;
        }
        events
    }

    /// Writes down changes that nobody asked for, so that a replay can go on after it has reported them.
    pub fn force(&mut self, events: &[Event], at: Revision) -> Vec<Event> {
        let mut done = Vec::new();
        for event in events {
            let live = match event.kind {
                EventKind::Delete => None,
                EventKind::Put => Some(Live {
                    created: event.kv.create_revision,
                    version: event.kv.version,
                    value: event.kv.value.clone(),
                    lease: event.kv.lease,
                }),
            };
            self.set(&event.kv.key, live, at, &mut done);
        }
        self.revision = at;
        done
    }

    /// Moves to a revision that changed no key.
    pub fn skip_to(&mut self, at: Revision) {
        assert!(at >= self.revision, "revisions only grow");
        self.revision = at;
    }

    /// Marks a lease as ended without keys at the present revision.
    pub fn mark_dead(&mut self, lease: LeaseId) {
        self.bury(lease, self.revision);
    }

    /// A number that two states share only if they hold the same pairs and the same dead leases (but for a
    /// vanishing chance of collision).
    pub fn fingerprint(&self) -> (u64, u64) {
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            salt.hash(&mut hasher);
            for (key, history) in &self.keys {
                if let Some(kv) = history.last().and_then(|version| pair(key, version)) {
                    (kv.key, kv.mod_revision, kv.create_revision, kv.version).hash(&mut hasher);
                    (kv.value, kv.lease).hash(&mut hasher);
                }
            }
            for lease in self.dead.keys() {
                lease.hash(&mut hasher);
            }
            hasher.finish()
        };
        (hash(0), hash(1))
    }

    /// Takes back everything above `revision`.
    pub fn undo_to(&mut self, revision: Revision) {
        while let Some((at, undo)) = self.log.pop_if(|(at, _)| *at > revision) {
            match undo {
                Undo::Dead(lease) => {
                    self.dead.remove(&lease);
                }
                Undo::Key(key) => self.undo_key(&key, at),
            }
        }
        self.revision = self.revision.min(revision);
    }

    fn undo_key(&mut self, key: &Bytes, at: Revision) {
        let Some(history) = self.keys.get_mut(key) else { return };
        let gone = history.pop();
        assert!(gone.as_ref().is_some_and(|version| version.modified == at), "undo must meet its own change");
        let before = history.last().and_then(|version| version.live.as_ref()).map(|live| live.lease);
        if history.is_empty() {
            self.keys.remove(key);
        }
        if let Some(live) = gone.and_then(|version| version.live) {
            self.detach(key, live.lease);
        }
        if let Some(lease) = before {
            self.attach(key, lease);
        }
    }

    fn live(&self, key: &Bytes) -> Option<&Live> {
        self.keys.get(key)?.last()?.live.as_ref()
    }

    fn current(&self, key: &Bytes) -> Option<KeyValue> {
        pair(key, self.keys.get(key)?.last()?)
    }

    fn attach(&mut self, key: &Bytes, lease: LeaseId) {
        if lease != LeaseId::NONE {
            self.attached.entry(lease).or_default().insert(key.clone());
        }
    }

    fn detach(&mut self, key: &Bytes, lease: LeaseId) {
        if let Some(keys) = self.attached.get_mut(&lease) {
            keys.remove(key);
            if keys.is_empty() {
                self.attached.remove(&lease);
            }
        }
    }

    /// The one place where a key changes.
    fn set(&mut self, key: &Bytes, live: Option<Live>, at: Revision, events: &mut Vec<Event>) {
        let prev_kv = self.current(key);
        if let Some(before) = &prev_kv {
            self.detach(key, before.lease);
        }
        if let Some(live) = &live {
            self.attach(key, live.lease);
        }
        let version = Version { modified: at, live };
        let kind = if version.live.is_some() { EventKind::Put } else { EventKind::Delete };
        let kv = pair(key, &version).unwrap_or_else(|| KeyValue {
            key: key.clone(),
            mod_revision: at,
            ..KeyValue::default()
        });
        events.push(Event { kind, kv, prev_kv });
        self.keys.entry(key.clone()).or_default().push(version);
        self.log.push((at, Undo::Key(key.clone())));
    }

    fn check_put(&self, put: &Put) -> Result<(), Refusal> {
        if (put.ignore_value || put.ignore_lease) && self.live(&put.key).is_none() {
            return Err(Refusal::KeyNotFound);
        }
        let gone = match &self.exact {
            Some(exact) => !exact.leases.contains(&put.lease),
            None => self.dead.contains_key(&put.lease),
        };
        if put.lease != LeaseId::NONE && gone {
            return Err(Refusal::LeaseNotFound);
        }
        Ok(())
    }

    fn put(&mut self, put: &Put, at: Revision, events: &mut Vec<Event>) -> Expected {
        let before = self.current(&put.key);
        let (created, version) = match &before {
            Some(kv) => (kv.create_revision, kv.version + 1),
            None => (at, 1),
        };
        let kept_value = before.as_ref().filter(|_| put.ignore_value).map(|kv| kv.value.clone());
        let kept_lease = before.as_ref().filter(|_| put.ignore_lease).map(|kv| kv.lease);
        let live = Live {
            created,
            version,
            value: kept_value.unwrap_or_else(|| put.value.clone()),
            lease: kept_lease.unwrap_or(put.lease),
        };
        self.set(&put.key, Some(live), at, events);
        Expected::Put { prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete_range(&mut self, delete: &DeleteRange, at: Revision, events: &mut Vec<Event>) -> Expected {
        let doomed = self.live_pairs(&delete.key, &delete.range_end, at);
        for kv in &doomed {
            self.set(&kv.key, None, at, events);
        }
        let deleted = i64::try_from(doomed.len()).unwrap_or(i64::MAX);
        Expected::DeleteRange { deleted, prev_kvs: if delete.prev_kv { doomed } else { Vec::new() } }
    }

    fn end_lease(&mut self, lease: LeaseId, at: Revision, events: &mut Vec<Event>) {
        for key in self.attached(lease) {
            self.set(&key, None, at, events);
        }
        self.bury(lease, at);
    }

    fn bury(&mut self, lease: LeaseId, at: Revision) {
        if !self.dead.contains_key(&lease) && !self.regranted.contains(&lease) {
            self.dead.insert(lease, at);
            self.log.push((at, Undo::Dead(lease)));
        }
    }

    /// The pairs of a range as of a revision, by key.
    fn live_pairs(&self, key: &Bytes, range_end: &Bytes, at: Revision) -> Vec<KeyValue> {
        let Some(bounds) = span::bounds(key, range_end) else { return Vec::new() };
        self.keys.range::<Bytes, _>(bounds).filter_map(|(key, history)| pair_of(key, history, at)).collect()
    }
}

/// The pair that a key's history shows at a revision; mostly the last one is asked for.
fn pair_of(key: &Bytes, history: &[Version], at: Revision) -> Option<KeyValue> {
    let last = history.last()?;
    if last.modified <= at {
        return pair(key, last);
    }
    let past = history.partition_point(|version| version.modified <= at);
    pair(key, history.get(past.checked_sub(1)?)?)
}

fn pair(key: &Bytes, version: &Version) -> Option<KeyValue> {
    let live = version.live.as_ref()?;
    Some(KeyValue {
        key: key.clone(),
        create_revision: live.created,
        mod_revision: version.modified,
        version: live.version,
        value: live.value.clone(),
        lease: live.lease,
    })
}
