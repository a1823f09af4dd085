//! Waiting with a deadline, on a member's own clock.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::env::Clock;

/// What `future` returned, or `None` when `duration` passed first. The future is asked first.
pub async fn within<T>(clock: &dyn Clock, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut sleep = clock.sleep(duration);
    let mut future = pin!(future);
    poll_fn(move |context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}
