//! Histories, oracles and a naive reference model: this crate says whether a run kept the store's promises.
//!
//! It judges from what clients saw alone, so the same oracles serve the simulator and tests of real processes.
//!
//! - `history`: the recorded form; `error_table`: which error leaves an operation's fate open;
//! - `model`: the reference model of the key space;
//! - `revision_order`: every change in revision order, replayed, and held against real time;
//! - `watch`, `lease`, `header`, `hash`: the other oracles;
//! - `judge`: runs them all; `verdict`: what they say.
//!
//! Invariants: the server is never imported; nothing here reads a clock, draws a random number, or iterates an
//! unordered map, so that one history always has one verdict; what cannot be decided is never a pass.

pub mod bytes;
pub mod equality;
pub mod error_table;
pub mod hash;
pub mod header;
pub mod history;
mod judge;
pub mod lease;
mod lives;
pub mod lock;
pub mod log_order;
pub mod model;
mod options;
pub mod raft;
pub mod revision_order;
pub mod rights;
pub mod span;
pub mod types;
pub mod verdict;
pub mod watch;

pub use judge::judge;
pub use options::Options;
