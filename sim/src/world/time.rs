//! Simulated time, as the harness sees it: nanoseconds since the run began. Members have clocks of their own.

use std::time::Duration;

use madsim::time::TimeHandle;
use quorate_check::types::Nanos;

/// Simulated time. Works in destructors too, when the simulation itself is gone.
#[derive(Clone)]
pub struct Time {
    handle: TimeHandle,
}

impl Time {
    /// The time of the running simulation.
    pub fn current() -> Time {
        Time { handle: TimeHandle::current() }
    }

    /// Now.
    pub fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.handle.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.handle.elapsed()
    }

    /// Waits; at least a millisecond.
    pub async fn sleep(&self, duration: Duration) {
        self.handle.sleep(duration).await;
    }

    /// Waits until then; not at all when it has passed.
    pub async fn sleep_until(&self, moment: Nanos) {
        let left = moment.0.saturating_sub(self.now().0);
        if left > 0 {
            self.sleep(Duration::from_nanos(left)).await;
        }
    }
}
