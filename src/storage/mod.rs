//! What survives: the write-ahead log, the state engine, snapshots, and recovery from all of them.
//!
//! Invariant over all: the WAL may lead the engine, never the reverse (see `docs/storage.md`).

pub mod bolt;
pub mod data_dir;
pub mod defragment;
pub mod engine;
pub mod full_snapshot;
pub mod lost_member;
pub mod snapshot_file;
pub mod state_dir;
pub mod store;
pub mod wal;
