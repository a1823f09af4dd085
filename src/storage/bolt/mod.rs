//! bbolt files: the form in which etcd keeps its state, and in which clients take it away and bring it back.
//!
//! Only the file's own structure is here: pages, B+ trees, named buckets of ordered pairs. What the buckets of a store
//! hold is [`crate::service`]'s business. A file is written in one go, every page once and in the order of its place, so
//! that it can be sent while it is made; nothing is ever changed in one.
//!
//! Absent, because no store of etcd's has them: buckets in buckets, pages of another size than 4 KiB, big-endian files.

mod format;
mod read;
mod write;

pub use format::PAGE_BYTES;
pub use read::{BoltError, BoltFile};
pub use write::{BoltWriter, Layout};
