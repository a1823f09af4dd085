//! A member's two clocks: a monotonic one that runs at a rate of its own and may jump forward, and a wall clock
//! that may show anything.
//!
//! Invariant: the monotonic clock never goes backwards, across restarts too. A jump wakes sleepers whose time has
//! come, as the end of a suspend does.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use quorate::env::Clock;
use tokio::sync::Notify;

use super::time::Time;
use crate::plan::MemberPlan;

/// What a wall clock without error shows when the run begins: 1 January 2026, Unix milliseconds.
const WALL_START_MS: u64 = 1_767_225_600_000;
/// Parts of a rate.
const MILLION: i64 = 1_000_000;

/// One host's clocks.
pub struct HostClock {
    time: Time,
    own_ppm: i64,
    face: Mutex<Face>,
    changed: Notify,
}

/// A straight line: what the clock showed at some simulated time, and its slope from there.
#[derive(Clone, Copy, Debug)]
struct Face {
    anchor: Duration,
    shown: Duration,
    ppm: i64,
    wall_offset_ms: i64,
}

/// How a host's clocks stand.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The simulated time of the last change.
    pub since: Duration,
    /// What the monotonic clock showed beyond simulated time then, nanoseconds.
    pub offset_ns: i64,
    /// How much too fast it has run since, in millionths.
    pub ppm: i64,
    /// By how much the wall clock is wrong, milliseconds.
    pub wall_offset_ms: i64,
}

/// `span` times a ratio, rounded down.
fn scaled(span: Duration, by: i64, of: i64) -> Duration {
    let by = u128::from(by.max(1).unsigned_abs());
    let of = u128::from(of.max(1).unsigned_abs());
    Duration::from_nanos(u64::try_from(span.as_nanos() * by / of).unwrap_or(u64::MAX))
}

impl Face {
    fn at(&self, simulated: Duration) -> Duration {
        self.shown + scaled(simulated.saturating_sub(self.anchor), MILLION + self.ppm, MILLION)
    }

    /// Starts a new line where the clock stands.
    fn anchor(&mut self, simulated: Duration) {
        self.shown = self.at(simulated);
        self.anchor = simulated;
    }
}

impl HostClock {
    /// The clocks of a member.
    pub fn new(time: Time, plan: MemberPlan) -> HostClock {
        let face = Face {
            anchor: Duration::ZERO,
            shown: Duration::ZERO,
            ppm: plan.clock_ppm,
            wall_offset_ms: plan.wall_offset_ms,
        };
        HostClock { time, own_ppm: plan.clock_ppm, face: Mutex::new(face), changed: Notify::new() }
    }

    fn face(&self) -> MutexGuard<'_, Face> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the monotonic clock run at another rate from now on; `None` is its own.
    pub fn set_rate(&self, ppm: Option<i64>) {
        let now = self.time.elapsed();
        {
            let mut face = self.face();
            face.anchor(now);
            face.ppm = ppm.unwrap_or(self.own_ppm);
        }
        self.changed.notify_waiters();
    }

    /// Lets the monotonic clock jump forward.
    pub fn jump(&self, by: Duration) {
        let now = self.time.elapsed();
        {
            let mut face = self.face();
            face.anchor(now);
            face.shown += by;
        }
        self.changed.notify_waiters();
    }

    /// Sets the wall clock by so much.
    pub fn jump_wall(&self, by_ms: i64) {
        let mut face = self.face();
        face.wall_offset_ms = face.wall_offset_ms.saturating_add(by_ms);
    }

    /// How the clocks stand, for people.
    pub fn reading(&self) -> Reading {
        let face = *self.face();
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Reading {
            since: face.anchor,
            offset_ns: nanos(face.shown) - nanos(face.anchor),
            ppm: face.ppm,
            wall_offset_ms: face.wall_offset_ms,
        }
    }

    fn monotonic(&self) -> Duration {
        self.face().at(self.time.elapsed())
    }

    /// Simulated time until the clock shows `moment`, if nothing changes; `None` when it does already.
    fn until(&self, moment: Duration) -> Option<Duration> {
        let now = self.time.elapsed();
        let face = self.face();
        let left = moment.checked_sub(face.at(now)).filter(|left| !left.is_zero())?;
        // One nanosecond for the rounding, or the clock might show just less.
        Some(scaled(left, MILLION, MILLION + face.ppm) + Duration::from_nanos(1))
    }
}

/// The clocks as a member holds them.
pub struct SimClock(pub Arc<HostClock>);

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wall_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.0.time.elapsed().as_millis()).unwrap_or(u64::MAX);
        let offset = self.0.face().wall_offset_ms;
        (WALL_START_MS + elapsed).saturating_add_signed(offset)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let host = self.0.clone();
        let wake = host.monotonic().saturating_add(duration);
        Box::pin(async move {
            loop {
                // Listening begins before the look at the clock, so that no change is missed.
                let changed = host.changed.notified();
                let Some(left) = host.until(wake) else { return };
                let sleep = host.time.sleep(left);
                match select(std::pin::pin!(sleep), std::pin::pin!(changed)).await {
                    Either::Left(_) | Either::Right(_) => {}
                }
            }
        })
    }
}
