//! The replicated state machine: pure, deterministic, complete.
//!
//! Given the same batches in the same order, every member's [`State`] is the same, byte for byte, and so are
//! the records it asks to persist and the answers it gives.
//!
//! What is absent, and why: no async, I/O, clock, randomness, engine, consensus library or gRPC, so that it can
//! be model-checked, replayed and read alone; time and ids come inside the command. No iteration over a
//! HashMap, because its order is nobody's. No configuration of a member either: limits that members may set
//! differently are checked before a request is proposed ([`check`], [`quota`]).
//!
//! Read first: [`command`] (what can be asked), [`effects`] (what comes of it), [`apply`] (how).

pub mod alarm;
pub mod apply;
pub mod auth;
pub mod check;
pub mod codec;
pub mod command;
pub mod dedupe;
pub mod downgrade;
pub mod effects;
pub mod hash;
pub mod lease;
pub mod load;
pub mod members;
pub mod membership;
pub mod mvcc;
pub mod overlay;
pub mod persist;
pub mod quota;
pub mod state;
pub mod txn;
pub mod watch;

pub use codec::snapshot;
pub use overlay::Overlay;
pub use state::State;
