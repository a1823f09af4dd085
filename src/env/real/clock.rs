//! The host's clocks.
//!
//! The monotonic one stands still while a Linux host is suspended, so a lease may outlive its time by as long
//! as the machine slept; it never ends early for that.

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::env::Clock;

/// Counts from the moment it was made.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock that reads zero now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for RealClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        // A host whose clock stands before 1970 has no time worth showing.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_ends_when_the_monotonic_clock_has_advanced_by_it() {
        let clock = RealClock::start();
        let before = clock.monotonic();
        clock.sleep(Duration::from_millis(20)).await;
        assert!(clock.monotonic() - before >= Duration::from_millis(20));
    }

    #[test]
    fn the_wall_clock_is_in_milliseconds() {
        let wall = RealClock::start().wall_ms();
        let (year_2020, year_2200) = (1_577_836_800_000, 7_258_118_400_000);
        assert!((year_2020..year_2200).contains(&wall), "{wall}");
    }
}
