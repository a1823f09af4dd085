//! Rebuilding the state from what was persisted, and holding it against its own sums.
//!
//! Leftovers of a compaction that a crash interrupted are recognised and left to the next sweep. Anything that
//! contradicts the persisted sums is corruption: the state is refused, never mended.

use std::fmt::{Debug, Display};

use bytes::Bytes;

use crate::machine::alarm::parse_alarm_key;
use crate::machine::auth::UserKey;
use crate::machine::codec::auth::{decode_auth_status, decode_role, decode_user};
use crate::machine::codec::items::decode_member;
use crate::machine::dedupe::{Sender, parse_dedupe_key};
use crate::machine::downgrade::decode_level;
use crate::machine::effects::{Event, Tally};
use crate::machine::lease::{Lease, parse_lease_key};
use crate::machine::members::MemberKey;
use crate::machine::mvcc::compact::Sweep;
use crate::machine::mvcc::history::{Change, Latest};
use crate::machine::mvcc::record::{decode_record, parse_record_key, record_tally};
use crate::machine::mvcc::{KV_META_KEY, Mvcc};
use crate::machine::persist::Bucket;
use crate::machine::state::{APPLIED_KEY, State, decode_applied};
use crate::types::{LeaseId, Revision};

/// Pairs read at a time.
const CHUNK_PAIRS: usize = 1000;

/// Meta first: what is live depends on the compacted revision. All else before the records that name it.
const LOAD_ORDER: [Bucket; 8] = [
    Bucket::Meta,
    Bucket::Leases,
    Bucket::Members,
    Bucket::Dedupe,
    Bucket::Alarms,
    Bucket::AuthUsers,
    Bucket::AuthRoles,
    Bucket::Records,
];

/// Why a state could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError<E: Debug + Display> {
    /// The store failed.
    #[error("{0}")]
    Store(E),
    /// What is stored contradicts itself.
    #[error("stored state, bucket {bucket}: {what}")]
    Corrupt {
        /// The bucket's name.
        bucket: &'static str,
        /// What was found.
        what: String,
    },
}

impl State {
    /// Loads the state. `read` answers up to `limit` pairs of a bucket, in key order, from a key on; none only at the
    /// bucket's end.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load<E: Debug + Display>(
        mut read: impl FnMut(Bucket, &[u8], usize) -> Result<Vec<(Bytes, Bytes)>, E>,
    ) -> Result<State, LoadError<E>> {
        let mut state = State::empty();
        let mut history = HistoryLoader::default();
        for bucket in LOAD_ORDER {
            let mut from = Vec::new();
            loop {
                let pairs = read(bucket, &from, CHUNK_PAIRS).map_err(LoadError::Store)?;
                let Some((last, _)) = pairs.last() else { break };
                from = last.to_vec();
                from.push(0);
                for (key, value) in pairs {
                    state
                        .load_pair(&mut history, bucket, &key, value)
                        .map_err(|what| LoadError::Corrupt { bucket: bucket.name(), what })?;
                }
            }
        }
        state
            .finish_load(&history)
            .map_err(|what| LoadError::Corrupt { bucket: Bucket::Records.name(), what })?;
        Ok(state)
    }

    fn load_pair(
        &mut self,
        history: &mut HistoryLoader,
        bucket: Bucket,
        key: &Bytes,
        value: Bytes,
    ) -> Result<(), String> {
        let bad_key = || format!("unknown key {key:02x?}");
        let bad_value = |error: prost::DecodeError| format!("key {key:02x?}: {error}");
        match bucket {
            Bucket::Meta if key == KV_META_KEY => {
                self.kv.restore_meta(value).map_err(bad_value)?;
                self.kv.sweep = Sweep::after_load(self.kv.compacted);
                return Ok(());
            }
            Bucket::Meta if key == APPLIED_KEY => {
                self.applied = Some(decode_applied(value).map_err(bad_value)?);
                return Ok(());
            }
            // Other numbers in there belong to others.
            Bucket::Meta => return Ok(()),
            Bucket::Records => return history.record(&mut self.kv, key, value),
            Bucket::Leases
            | Bucket::Members
            | Bucket::Dedupe
            | Bucket::Alarms
            | Bucket::AuthUsers
            | Bucket::AuthRoles => {}
        }
        self.items.add(bucket, key, &value);
        match bucket {
            Bucket::Leases => {
                let id = parse_lease_key(key).ok_or_else(bad_key)?;
                let mut lease = Lease::decode(value).map_err(bad_value)?;
                if crate::mutant!("lease-remainder-not-loaded") {
                    lease.remaining = None;
                }
                self.leases.restore(id, lease);
            }
            Bucket::Members => match MemberKey::decode(key).ok_or_else(bad_key)? {
                MemberKey::Present(_) => {
                    self.members.put(decode_member(value).map_err(bad_value)?);
                }
                MemberKey::Removed(id) => self.members.restore_removed(id),
                MemberKey::Downgrade => {
                    let target = decode_level(value).map_err(bad_value)?;
                    if !crate::mutant!("downgrade-forgotten-at-restart") {
                        self.members.set_downgrade(Some(target));
                    }
                }
            },
            Bucket::Dedupe => {
                let (member, incarnation) = parse_dedupe_key(key).ok_or_else(bad_key)?;
                let sender = Sender::decode(incarnation, value).map_err(bad_value)?;
                if !crate::mutant!("dedupe-not-loaded") {
                    self.dedupe.restore(member, sender);
                }
            }
            Bucket::Alarms => {
                let (kind, member) = parse_alarm_key(key).ok_or_else(bad_key)?;
                if !crate::mutant!("quota-alarm-forgotten-at-restart") {
                    self.alarms.raise(kind, member);
                }
            }
            Bucket::AuthUsers => match UserKey::decode(key).ok_or_else(bad_key)? {
                UserKey::Status => {
                    let (enabled, revision) = decode_auth_status(value).map_err(bad_value)?;
                    self.auth.enabled = enabled && !crate::mutant!("auth-nobody-asked-after-a-start");
                    self.auth.revision = revision;
                }
                UserKey::User(name) => {
                    self.auth.set_user(&name, Some(decode_user(value).map_err(bad_value)?));
                }
            },
            Bucket::AuthRoles => {
                let name = str::from_utf8(key).map_err(|_| bad_key())?;
                let role = decode_role(value).map_err(|what| format!("role {name:?}: {what}"))?;
                self.auth.set_role(name, Some(role));
            }
            Bucket::Meta | Bucket::Records => {}
        }
        Ok(())
    }

    fn finish_load(&mut self, history: &HistoryLoader) -> Result<(), String> {
        let found = history.all.minus(history.forgotten(&self.kv));
        if found != self.kv.sums.live {
            return Err(format!(
                "the records sum up to {found:x?}, but {:x?} was stored with them",
                self.kv.sums.live
            ));
        }
        for (key, key_history) in self.kv.index.from_key(&[]) {
            let Some(latest) = key_history.live().filter(|latest| latest.lease.is_some()) else { continue };
            if self.leases.get(latest.lease).is_none() {
                return Err(format!("key {key:?} names lease {}, which does not exist", latest.lease));
            }
            self.leases.attach(latest.lease, key);
        }
        Ok(())
    }
}

/// Collects records, which come in the order of history.
#[derive(Default)]
struct HistoryLoader {
    all: Tally,
    superseded: Tally,
}

impl HistoryLoader {
    fn record(&mut self, kv: &mut Mvcc, key: &Bytes, value: Bytes) -> Result<(), String> {
        let at = parse_record_key(key).map_err(|error| error.to_string())?;
        if at.main > kv.revision {
            return Err(format!("record {}/{} lies beyond revision {}", at.main, at.sub, kv.revision));
        }
        let event = decode_record(at, value).map_err(|error| error.to_string())?.event;
        let tally = record_tally(at.sub, &event);
        let (change, lease) = match &event {
            Event::Put(put) => (Change { at, created: put.create_revision, version: put.version }, put.lease),
            Event::Delete { .. } => (Change { at, created: Revision(0), version: 0 }, LeaseId::NONE),
        };
        self.all = self.all.plus(tally);
        let latest = Latest { change, lease, tally };
        match kv.index.get_mut(event.key()) {
            None => kv.index.insert(event.key(), latest),
            Some(history) => {
                let before = history.push(latest);
                let forgotten = at.main <= kv.compacted || is_forgotten_deletion(&before, kv.compacted);
                if forgotten {
                    self.superseded = self.superseded.plus(before.tally);
                }
            }
        }
        Ok(())
    }

    /// The sum of records still stored that no readable revision can see.
    fn forgotten(&self, kv: &Mvcc) -> Tally {
        kv.index
            .from_key(&[])
            .map(|(_, history)| *history.latest())
            .filter(|latest| is_forgotten_deletion(latest, kv.compacted))
            .fold(self.superseded, |sum, latest| sum.plus(latest.tally))
    }
}

fn is_forgotten_deletion(latest: &Latest, compacted: Revision) -> bool {
    latest.change.is_tombstone() && latest.change.at.main < compacted
}
