//! The replicated state machine: pure, deterministic, complete.
//!
//! Given the same batches in the same order, every member's [`State`] is the same, byte for byte, and so are
//! the records it asks to persist and the answers it gives.
//!
//! What is absent, and why: no async, I/O, clock, randomness, engine, consensus library or gRPC, so that it can
//! be model-checked, replayed and read alone; time and ids come inside the command. No iteration over a
//! HashMap, because its order is nobody's.

pub mod command;
pub mod effects;
pub mod persist;
pub mod watch;
