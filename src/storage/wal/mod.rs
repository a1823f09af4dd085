//! The write-ahead log: the one place where a member's promises become durable.
//!
//! # What is assumed of the disk
//! See [`crate::env::Disk`]: a completed sync makes earlier writes durable; until then a power loss keeps, loses
//! or tears any unsynced sector and any unsynced name; after a failed sync nothing is known; a process kill
//! loses nothing that was written. On top of that: what was durable may rot, one place at a time.
//!
//! # Layout
//! A folder of segment files, each: two header copies, a block for the successor's name, then batches, each
//! padded to 4 KiB, the first of them a checkpoint. `docs/wal.md` has the whole format.
//!
//! # The rules
//! 1. One commit is one batch: one write, one sync, all or nothing. The next is written only after that.
//! 2. A segment gets its name only when headers, checkpoint and rewritten tail are durable; a full segment's last
//!    record names the next, which is durable by then.
//! 3. Recovery never appends to a segment it found: it puts a fresh one behind, which states where the found one
//!    ends. Bytes past that are never read again.
//! 4. What was read at start and is not known to be durable is rewritten and synced before anyone is answered.
//! 5. A bad batch that anything valid vouches for is corruption: refused, never cut. A bad last batch that
//!    nothing vouches for is a torn tail: cut.
//! 6. A segment is recycled only after the purge that makes it useless is durable; checkpoints repeat all the
//!    rest, so nothing is lost with it.
//! 7. A failed write or sync is fatal and never retried.
//! 8. No name that is found is trusted until something written after its sync proves it: the newest segment must
//!    have been used or named by its predecessor, and spares of an earlier process are not used.
//!
//! What is absent: no cache of entries (the log store keeps them), no thread, no interpretation of payloads.

mod batch;
mod checkpoint;
mod directory;
mod error;
mod format;
mod group;
mod header;
mod identity;
mod inspect;
mod live;
mod reading;
mod record;
mod recovery;
mod recycle;
mod replay;
mod scan;
mod segment;
mod state;
mod writer;

pub use error::WalError;
pub use format::{BATCH_BODY_BYTES_MAX, FORMAT_VERSION, SEGMENT_BYTES_MIN};
pub use group::{COMMIT_BYTES_MAX, COMMIT_REQUESTS_MAX, Done, SEAL_AFTER, WalHandle};
pub use identity::identity_of;
pub use inspect::{Inspected, inspect};
pub use record::{Entry, Identity, Vote, WalRecord};
pub use recovery::{Reach, ReadLog, Recovered, TornTail};
pub use recycle::{Spare, SparePlan};
pub use writer::{Durable, Wal, WalOptions};
