//! Member-to-member transport: who the peers are, how they are called, how their calls come in.
//!
//! It carries messages and knows nothing of consensus: [`PeerApi`] is what stands behind the server. Every
//! call has a deadline on this member's own clock, because a partition does not break a stream, it only
//! delays it.

mod client;
mod dial;
pub mod join;
pub mod listen;
mod removal;
mod server;

pub use client::{PeerError, Peers};
pub use dial::Dialer;
pub use server::{AppendAnswers, AppendRequests, PeerApi, PeerServer, SentSnapshot, SnapshotParts};
