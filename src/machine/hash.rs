//! The state hash: 128 bits that are equal on all members at equal log id, and differ when states do.
//!
//! It is a set hash: each persisted item of the logical state is hashed alone and the hashes are added,
//! wrapping, so that every change costs work for the items changed and nothing else. Records have running sums
//! of their own (`mvcc::Sums`), by which a compaction subtracts one number; leases, members, alarms and
//! request ids are summed here. Physical deletion, caches and the way entries were grouped on their way to the
//! disk touch none of it.
//!
//! The hash finds accidents, not attackers: additive hashes can be forged.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::machine::effects::Effects;
use crate::machine::persist::{Bucket, Write};
use crate::machine::state::State;

/// The sum over the small items, and the only way to persist one: so the sum cannot be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemSum(u128);

impl ItemSum {
    /// Persists `new` in place of `old` under `key`; equal values cost nothing.
    pub(crate) fn replace(
        &mut self,
        effects: &mut Effects,
        bucket: Bucket,
        key: Bytes,
        old: Option<Bytes>,
        new: Option<Bytes>,
    ) {
        if old == new {
            return;
        }
        if let Some(old) = &old {
            self.0 = self.0.wrapping_sub(item_hash(bucket, &key, old));
        }
        if let Some(new) = &new {
            self.add(bucket, &key, new);
        }
        effects.writes.push(Write { bucket, key, value: new });
    }

    /// Counts in an item that is persisted already.
    pub(crate) fn add(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(item_hash(bucket, key, value));
    }
}

fn item_hash(bucket: Bucket, key: &[u8], value: &[u8]) -> u128 {
    let key_len = u64::try_from(key.len()).unwrap_or(u64::MAX);
    let mut item = Vec::with_capacity(9_usize.saturating_add(key.len()).saturating_add(value.len()));
    item.push(bucket.number());
    item.extend_from_slice(&key_len.to_be_bytes());
    item.extend_from_slice(key);
    item.extend_from_slice(value);
    xxh3_128(&item)
}

impl State {
    /// The hash of the whole logical state. Compare it between members at equal log ids only.
    pub fn hash(&self) -> u128 {
        let sums = &self.kv.sums;
        let mut numbers = Vec::with_capacity(160);
        numbers.extend_from_slice(&self.kv.revision.0.to_be_bytes());
        numbers.extend_from_slice(&self.kv.compacted.0.to_be_bytes());
        for tally in [sums.live, sums.superseded, sums.compacted, sums.tombstones] {
            numbers.extend_from_slice(&tally.hash.to_be_bytes());
            numbers.extend_from_slice(&tally.bytes.to_be_bytes());
        }
        numbers.extend_from_slice(&self.items.0.to_be_bytes());
        xxh3_128(&numbers)
    }
}
