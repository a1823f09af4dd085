//! The real world: the host's clocks, file system, threads and entropy. Plain build only.
//!
//! The only place in the server that may call them. Each file wraps one and decides nothing: policy stays with
//! the callers, who cannot tell this world from the simulated one.

mod clock;
mod disk;
mod entropy;
mod process;
mod workers;

use std::io;
use std::sync::Arc;

pub use clock::RealClock;
pub use disk::RealDisk;
pub use entropy::RealEntropy;
pub use process::RealProcess;
pub use workers::RealWorkers;

use super::Env;

impl Env {
    /// The host itself.
    ///
    /// # Errors
    /// When the host gives no randomness to seed from.
    pub fn real() -> io::Result<Self> {
        Ok(Self {
            clock: Arc::new(RealClock::start()),
            disk: Arc::new(RealDisk),
            entropy: Arc::new(RealEntropy::from_host()?),
            workers: Arc::new(RealWorkers),
            process: Arc::new(RealProcess),
        })
    }
}
