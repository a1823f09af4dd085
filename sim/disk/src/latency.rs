//! How long the calls would have taken.
//!
//! The disk never waits. It draws each call's time and adds it up; whoever runs blocking work in simulated time
//! takes the sum after each job and sleeps it off ([`crate::SimDisk::take_latency`]).

use std::time::Duration;

use crate::dice::Draw;
use crate::faults::Call;

/// From one time to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The quickest.
    pub least: Duration,
    /// The slowest.
    pub most: Duration,
}

impl Range {
    /// A range in microseconds.
    pub const fn micros(least: u64, most: u64) -> Self {
        Self { least: Duration::from_micros(least), most: Duration::from_micros(most) }
    }

    fn draw(self, draw: &mut Draw) -> Duration {
        let span = u64::try_from(self.most.saturating_sub(self.least).as_nanos()).unwrap_or(u64::MAX);
        self.least + Duration::from_nanos(draw.below(span.saturating_add(1)))
    }
}

/// The times of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// `read_at`.
    pub read: Range,
    /// `write_at`, `set_len`, `allocate`: the page cache, so quick.
    pub write: Range,
    /// `sync_data`, `sync_dir`.
    pub sync: Range,
    /// Creating, renaming, removing.
    pub name: Range,
    /// One sync in this many takes [`Latency::slow_factor`] times as long; 0 for none.
    pub slow_one_in: u64,
    /// See [`Latency::slow_one_in`].
    pub slow_factor: u32,
}

impl Default for Latency {
    /// A decent NVMe device with power-loss protection turned off.
    fn default() -> Self {
        Self {
            read: Range::micros(5, 100),
            write: Range::micros(2, 20),
            sync: Range::micros(100, 2_000),
            name: Range::micros(5, 50),
            slow_one_in: 200,
            slow_factor: 20,
        }
    }
}

impl Latency {
    /// No time at all, for tests.
    pub const NONE: Self = {
        let none = Range::micros(0, 0);
        Self { read: none, write: none, sync: none, name: none, slow_one_in: 0, slow_factor: 1 }
    };

    pub(crate) fn draw(&self, call: Call, mut draw: Draw) -> Duration {
        match call {
            Call::Read => self.read.draw(&mut draw),
            Call::Write => self.write.draw(&mut draw),
            Call::Name => self.name.draw(&mut draw),
            Call::Sync | Call::SyncDir => {
                let time = self.sync.draw(&mut draw);
                if self.slow_one_in > 0 && draw.chance(1, self.slow_one_in) {
                    time * self.slow_factor
                } else {
                    time
                }
            }
        }
    }
}
