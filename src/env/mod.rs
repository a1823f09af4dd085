//! The seams between Quorate and the world: clock, disk, entropy, blocking work, the end of the process.
//!
//! Everything that differs between production and the simulator comes in through [`Env`]. Product code uses
//! these traits and nothing else: no `Instant::now`, no `std::fs`, no random source, no thread of its own.
//! This module holds the traits and, in the plain build, the real implementations. The simulated ones live
//! in the `sim` crates; nothing here names them.

mod deadline;
mod disk;
mod hooks;
#[cfg(not(madsim))]
pub mod real;
mod witness;
mod work;

use std::sync::Arc;
use std::time::Duration;

pub use deadline::within;
pub use disk::{Disk, File, Lock, OpenMode, Space};
#[cfg(madsim)]
pub use hooks::armed;
pub use hooks::{after_it, in_its_name};
#[cfg(not(madsim))]
pub use hooks::{undisturbed, undisturbed_then};
pub use witness::{Ballot, Observation, Witness, digest};
pub use work::{Completion, Job, Worker, Workers, run};

/// A member's two clocks.
pub trait Clock: Send + Sync + 'static {
    /// Time since an arbitrary fixed point of this process; never goes backwards. Leases and timeouts use it.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since the Unix epoch, as the host believes. For display and ids only: no safety property
    /// may depend on it.
    fn wall_ms(&self) -> u64;

    /// Completes when [`Clock::monotonic`] has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The one source of randomness.
pub trait Entropy: Send + Sync + 'static {
    /// Sixty-four uniformly random bits.
    fn next_u64(&self) -> u64;
}

/// The process that a member runs in.
pub trait Process: Send + Sync + 'static {
    /// Ends the process at once because it must not go on: a failed sync, corruption, a broken invariant.
    /// Nothing is flushed and no destructor of importance runs: what is durable stays so. In the simulator the
    /// call returns to its caller after the member was fenced off; callers must do nothing more.
    fn fatal(&self, reason: &str);
}

/// Everything one member needs from its world. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// The member's clocks.
    pub clock: Arc<dyn Clock>,
    /// The member's disk.
    pub disk: Arc<dyn Disk>,
    /// The member's source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where blocking work runs.
    pub workers: Arc<dyn Workers>,
    /// How the process ends when it must.
    pub process: Arc<dyn Process>,
}
