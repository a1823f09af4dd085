//! Simulated time, as the harness sees it: nanoseconds since the run began. Members have clocks of their own.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use madsim::time::{Sleep, TimeHandle};
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

    /// Completes then, to the microsecond: the least of a millisecond does not hold here. For a future among others
    /// in one task, which is polled for their sakes too.
    pub fn alarm(&self, moment: Nanos) -> Alarm {
        let left = Duration::from_nanos(moment.0.saturating_sub(self.now().0));
        let mut sleep = self.handle.sleep(left);
        Pin::new(&mut sleep).reset(self.handle.now_instant() + left);
        Alarm { sleep, set: false }
    }

    /// What the future answers, if it does in time.
    pub async fn within<T>(&self, span: Duration, future: impl Future<Output = T>) -> Option<T> {
        madsim::time::timeout(span, future).await.ok()
    }

    /// Waits until then; not at all when it has passed.
    pub async fn sleep_until(&self, moment: Nanos) {
        let left = moment.0.saturating_sub(self.now().0);
        if left > 0 {
            self.sleep(Duration::from_nanos(left)).await;
        }
    }
}

/// A moment to come. It sets one timer, however often it is polled (the simulator's own sleep sets one each time, and
/// every timer wakes the task). It stays in one task, whose waker does not change.
pub struct Alarm {
    sleep: Sleep,
    set: bool,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_elapsed() {
            return Poll::Ready(());
        }
        if !self.set {
            self.set = true;
            return Pin::new(&mut self.sleep).poll(context);
        }
        Poll::Pending
    }
}
