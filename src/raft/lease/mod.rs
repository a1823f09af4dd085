//! Leases as a member serves them: deadlines at the leader, keep-alives through a quorum.
//!
//! The machine stores TTLs and checkpointed remainders; when a lease really ends is decided by the member that
//! leads, on its monotonic clock. Five rules keep a lease alive that somebody keeps alive:
//! 1. A keep-alive is acknowledged only after a quorum confirmed the leader in a round that began after the
//!    keep-alive arrived. So no other leader can have begun to count before it.
//! 2. If the replicated remainder is, or may be, below the TTL, a reset is committed before the answer: the next
//!    leader counts from the remainder.
//! 3. Expiry is a command that only the leader of the current term appends, never forwarded: the keys vanish at
//!    one revision everywhere, and never by a leader that was replaced.
//! 4. Once expiry (or a checkpoint) is proposed, a keep-alive for that lease waits for the outcome.
//! 5. A new leader counts from its own election on, from the remainder last checkpointed.
//!
//! # Parts
//! - [`deadlines`]: the bookkeeping, pure.
//! - [`keeper`]: the leader's side: takes office, expires, checkpoints, renews.
//! - [`requests`]: every member's side: gathers keep-alives and questions and takes them to the leader.

pub mod deadlines;
pub mod keeper;
pub mod requests;

#[cfg(test)]
mod tests;
