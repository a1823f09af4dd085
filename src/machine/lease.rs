//! Leases: how long they live, what is left of them, and which keys die with them.
//!
//! The machine knows no clock. It stores the TTL granted and, where the leader has checkpointed one, the
//! remainder; deadlines are the leader's own business. Attachments are not persisted: every record names its
//! lease, so they are rebuilt from the key space.
//!
//! Invariant: a key is attached to a lease exactly when the key's current record names that lease, and a lease
//! that a living key names exists.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::machine::command::CommandError;
use crate::types::{LeaseId, TtlSecs};

/// The longest TTL the API allows, seconds.
pub const TTL_SECS_MAX: TtlSecs = TtlSecs(9_000_000_000);

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Seconds it lives without a keep-alive.
    pub ttl: TtlSecs,
    /// Seconds it had left at the last checkpoint, if there was one since its last renewal.
    pub remaining: Option<TtlSecs>,
    keys: BTreeSet<Bytes>,
}

impl Lease {
    /// The attached keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.keys.iter()
    }

    /// A lease with no keys yet: they are attached as the key space is loaded.
    pub(crate) fn restored(ttl: TtlSecs, remaining: Option<TtlSecs>) -> Lease {
        Lease { ttl, remaining, keys: BTreeSet::new() }
    }

    /// Seconds a new leader gives this lease.
    pub fn left(&self) -> TtlSecs {
        self.remaining.unwrap_or(self.ttl)
    }
}

/// The leases bucket's key for a lease.
pub fn lease_key(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

/// The lease that a leases bucket's key names.
pub fn parse_lease_key(key: &[u8]) -> Option<LeaseId> {
    <[u8; 8]>::try_from(key).ok().map(|id| LeaseId(i64::from_be_bytes(id)))
}

/// All leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// One lease.
    pub fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// All leases by id.
    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.by_id.iter().map(|(id, lease)| (*id, lease))
    }

    /// The leases with this id and above, by id.
    pub fn from(&self, id: LeaseId) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.by_id.range(id..).map(|(id, lease)| (*id, lease))
    }

    /// Creates a lease.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl: TtlSecs) -> Result<&Lease, CommandError> {
        if !id.is_some() {
            return Err(CommandError::LeaseNotFound);
        }
        if ttl > TTL_SECS_MAX {
            return Err(CommandError::LeaseTtlTooLarge);
        }
        if self.by_id.contains_key(&id) {
            return Err(CommandError::LeaseExists);
        }
        let ttl = TtlSecs(ttl.0.max(1));
        Ok(self.by_id.entry(id).or_insert(Lease { ttl, remaining: None, keys: BTreeSet::new() }))
    }

    /// Takes over a persisted lease.
    pub(crate) fn restore(&mut self, id: LeaseId, lease: Lease) {
        self.by_id.insert(id, lease);
    }

    /// Sets or clears what is left; `None` when there is no such lease.
    pub(crate) fn checkpoint(&mut self, id: LeaseId, remaining: TtlSecs) -> Option<&Lease> {
        let lease = self.by_id.get_mut(&id)?;
        let remaining = TtlSecs(remaining.0.min(lease.ttl.0));
        lease.remaining = Some(remaining).filter(|remaining| remaining.0 > 0);
        Some(lease)
    }

    /// Removes a lease whose keys are all detached.
    pub(crate) fn remove(&mut self, id: LeaseId) {
        let lease = self.by_id.remove(&id);
        assert!(lease.is_none_or(|lease| lease.keys.is_empty()), "a lease goes after its keys");
    }

    /// Attaches a key; does nothing for no lease.
    pub(crate) fn attach(&mut self, id: LeaseId, key: &Bytes) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
    }

    /// Detaches a key; does nothing for no lease.
    pub(crate) fn detach(&mut self, id: LeaseId, key: &Bytes) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.remove(key);
        }
    }
}
