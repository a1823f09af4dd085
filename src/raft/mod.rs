//! Consensus: adapters between the consensus core (openraft) and our storage, machine and peers.
//!
//! Only this module names openraft: the core is young, and every byte on disk and on the wire is ours, so that
//! it can be followed, or left, without touching a user's data.

pub mod codec;
pub mod log_store;
pub mod runtime;
pub mod types;
pub mod watch;
