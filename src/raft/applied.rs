//! How far this member has applied the log, and waiting for it to get further.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::types::LogId;

/// The applied position, which only grows. It advances after a batch is published: whoever waited for it sees
/// the batch's state, events and answers.
#[derive(Default)]
pub struct Applied {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: Option<LogId>,
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

impl Applied {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last applied entry.
    pub fn last(&self) -> Option<LogId> {
        self.inner().last
    }

    /// Moves on to `last` and wakes those who waited for it.
    pub fn advance(&self, last: LogId) {
        let due = {
            let mut inner = self.inner();
            assert!(inner.last.is_none_or(|before| before <= last), "the applied position never goes back");
            inner.last = Some(last);
            let later = inner.waiting.split_off(&(last.index.0 + 1));
            std::mem::replace(&mut inner.waiting, later)
        };
        for waiter in due.into_values().flatten() {
            // A waiter that gave up is gone.
            let _gone = waiter.send(());
        }
    }

    /// Waits until the entry at `index` is applied; false when the member ended first.
    pub async fn reached(&self, index: u64) -> bool {
        let receiver = {
            let mut inner = self.inner();
            if inner.last.is_some_and(|last| last.index.0 >= index) {
                return true;
            }
            let (sender, receiver) = oneshot::channel();
            inner.waiting.entry(index).or_default().push(sender);
            receiver
        };
        receiver.await.is_ok()
    }
}
