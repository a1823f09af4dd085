//! A stream that is lent to somebody who may hold it longer than the loan lasts.
//!
//! A transport polls the requests of a call in a task of its own, and goes on for a while after the call has failed. The
//! consensus core's streams of requests to one follower share what is still to be sent, so an old one that is polled
//! behind a new one's back takes entries for sent that nobody has sent. So the stream is taken back, and dropped, the
//! moment the call is over.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::stream::{Stream, StreamExt};

struct Slot<S> {
    stream: Option<S>,
    waker: Option<Waker>,
}

/// The borrower's end: over once it is taken back.
pub struct Lent<S>(Arc<Mutex<Slot<S>>>);

/// The lender's end: takes the stream back when it is dropped.
#[must_use = "the stream is taken back when the loan is dropped"]
pub struct Loan<S>(Arc<Mutex<Slot<S>>>);

/// Lends a stream for as long as the loan lives.
pub fn lend<S: Stream + Unpin>(stream: S) -> (Lent<S>, Loan<S>) {
    let slot = Arc::new(Mutex::new(Slot { stream: Some(stream), waker: None }));
    (Lent(Arc::clone(&slot)), Loan(slot))
}

fn open<S>(slot: &Mutex<Slot<S>>) -> MutexGuard<'_, Slot<S>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Stream + Unpin> Stream for Lent<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut slot = open(&self.0);
        let Some(stream) = slot.stream.as_mut() else { return Poll::Ready(None) };
        let polled = stream.poll_next_unpin(context);
        slot.waker = polled.is_pending().then(|| context.waker().clone());
        polled
    }
}

impl<S> Drop for Loan<S> {
    fn drop(&mut self) {
        // The planted bug leaves it to whoever holds it.
        if crate::mutant!("stream-polled-after-its-call") {
            return;
        }
        let (stream, waker) = {
            let mut slot = open(&self.0);
            (slot.stream.take(), slot.waker.take())
        };
        drop(stream);
        // Whoever waits for the next item learns that there is none.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use futures_util::stream::{iter, pending};

    use super::*;

    #[tokio::test]
    async fn it_is_over_when_the_loan_is() {
        let (mut lent, loan) = lend(iter([1, 2, 3]));
        assert_eq!(lent.next().await, Some(1));
        drop(loan);
        assert_eq!(lent.next().await, None);
    }

    #[tokio::test]
    async fn who_waits_is_told_and_the_stream_is_dropped_though_it_is_still_held() {
        let held = Arc::new(());
        let witness = Arc::clone(&held);
        let (mut lent, loan) = lend(Box::pin(pending::<()>().map(move |()| drop(Arc::clone(&held)))));
        let waits = tokio::spawn(async move { (lent.next().await, lent) });
        tokio::task::yield_now().await;
        drop(loan);
        assert_eq!(Arc::strong_count(&witness), 1);
        let (next, _lent) = waits.await.expect("it ends");
        assert_eq!(next, None);
    }
}
