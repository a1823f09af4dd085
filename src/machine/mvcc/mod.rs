//! The multi-version key space: an index in memory, records in the store, and running sums over them.
//!
//! Invariants: the revision rises by one with each transaction that changes anything; at any revision from the
//! compacted one on, the index and the records answer what the key space was then; `sums.live` is the tally of
//! exactly the records that some such revision can see.

pub mod compact;
pub mod hash_kv;
pub mod history;
pub mod index;
pub mod range;
pub mod rebuild;
pub mod write;

pub use crate::machine::codec::items::decode_revisions;
pub use crate::machine::codec::record;

use crate::machine::effects::Tally;
use crate::machine::mvcc::compact::Sweep;
use crate::machine::mvcc::index::Index;
use crate::types::Revision;

/// The meta bucket's key for the key space's numbers.
pub const KV_META_KEY: &[u8] = b"kv";

/// The compacted revision of a store that never was compacted, as the API shows it.
pub const NEVER_COMPACTED: Revision = Revision(-1);

/// The key space.
#[derive(Clone, Debug)]
pub struct Mvcc {
    pub(crate) index: Index,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) sums: Sums,
    pub(crate) sweep: Sweep,
}

/// Running sums over records. `superseded` counts each record from the first revision R on for which
/// compacting at R takes it away: a value from its successor's revision on, a deletion from the revision after
/// its own on. So compacting at R takes away exactly what `superseded` was at R.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What is logically stored.
    pub live: Tally,
    /// Everything superseded up to the current revision, from the beginning of time.
    pub superseded: Tally,
    /// What `superseded` was at the compacted revision.
    pub compacted: Tally,
    /// Deletions of the current revision: superseded from the next one on.
    pub tombstones: Tally,
}

impl Default for Mvcc {
    fn default() -> Mvcc {
        Mvcc {
            index: Index::default(),
            revision: Revision::FIRST,
            compacted: NEVER_COMPACTED,
            sums: Sums::default(),
            sweep: Sweep::default(),
        }
    }
}
