//! Quorate: a replicated, strongly consistent key-value store that speaks the etcd v3 API.
//!
//! # Code map
//! - [`types`]: newtypes for everything that is counted or named.
//! - [`machine`]: the replicated state machine; pure.
//! - `cli`: the programs in the binary (plain build).
//! - [`config`]: options of the server, typed and checked, and every limit.
//! - [`env`]: the seams to clock, disk, entropy and threads.
//! - [`pb`]: the wire types, generated.
//! - [`peer`]: member-to-member transport.
//! - [`raft`]: adapters of the consensus core.
//! - [`member`]: a running member, as its services see it.
//! - [`node`]: wires one member.
//! - `restore`: makes a data directory of a store's image (plain build).
//! - [`service`]: the client API.
//! - `tls`: what clients and peers show each other (plain build).
//! - [`storage`]: write-ahead log, state engines, snapshots, recovery.
//!
//! # The dependency rule
//! Imports only go down: `main, cli -> node, restore -> service, http -> member -> raft, peer -> storage, tls -> env -> machine ->
//! types`.
//! `tests/tidy.rs` enforces it.

// A call of the API is futures in futures, from the service down to the consensus core: the compiler's bound of 128
// on computing their layout is met in the simulated build, where tasks and timers nest deeper.
#![recursion_limit = "256"]

#[cfg(not(madsim))]
pub mod cli;
pub mod config;
pub mod env;
pub mod machine;
pub mod member;
pub mod node;
pub mod pb;
pub mod peer;
pub mod raft;
pub mod restore;
pub mod service;
pub mod storage;
#[cfg(not(madsim))]
pub mod tls;
pub mod types;
