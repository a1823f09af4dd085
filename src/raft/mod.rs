//! Consensus: adapters between the consensus core (openraft) and our storage, machine and peers.
//!
//! Only this module names openraft: the core is young, and every byte on disk and on the wire is ours, so that
//! it can be followed, or left, without touching a user's data.

pub mod abdication;
pub mod applied;
pub mod checksum;
pub mod codec;
pub mod compaction_hashes;
pub mod comparison;
pub mod contact;
pub mod core;
pub mod handle;
pub mod leadership;
pub mod lease;
mod lent;
pub mod log_store;
pub mod membership;
pub mod network;
pub mod pending;
pub mod pins;
pub mod proposer;
pub mod read_index;
pub mod readmission;
pub mod replica;
pub mod runtime;
pub mod serve;
pub mod sessions;
pub mod snapshot;
pub mod state_machine;
pub mod types;
pub mod watch;
pub mod watch_driver;
pub mod watch_hub;
pub mod watch_stream;
pub mod wire;

pub use handle::{RaftHandle, RaftStatus, Reign};
