//! Requests of this member's clients that have not been answered, by sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::machine::command::Answer;

/// Why a request got no answer from the machine. In every case but the first it may still be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The member holds too many unanswered requests: nothing was done.
    #[error("too many requests")]
    TooManyRequests,
    /// The request is larger than a log entry may be: nothing was done.
    #[error("request is too large")]
    TooLarge,
    /// Time is up.
    #[error("request timed out")]
    Timeout,
    /// A snapshot carried this member past the request: it was applied, but its answer is lost.
    #[error("request timed out, possibly due to previous leader failure")]
    AnswerLost,
    /// The member is stopping.
    #[error("server stopped")]
    Stopped,
}

/// What a waiting client is told.
pub type Outcome = Result<Answer, ProposeError>;

/// The requests of one incarnation. Two things are kept of each: whether its batch is still *open* (it may be
/// sent again, so the machine must remember its id), and who *waits* for its answer.
#[derive(Default)]
pub struct Pending {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    open: BTreeSet<u64>,
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
}

impl Pending {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a request: its sequence, and where its answer will come.
    pub fn open(&self) -> (u64, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.inner();
        inner.last += 1;
        let sequence = inner.last;
        inner.open.insert(sequence);
        inner.waiting.insert(sequence, sender);
        (sequence, receiver)
    }

    /// How many requests wait for an answer.
    pub fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }

    /// The sequences that wait for an answer.
    pub fn waiting_sequences(&self) -> Vec<u64> {
        self.inner().waiting.keys().copied().collect()
    }

    /// No batch with a sequence below this one will be sent again.
    pub fn lowest_open(&self) -> u64 {
        let inner = self.inner();
        inner.open.first().copied().unwrap_or(inner.last + 1)
    }

    /// Answers a request, if somebody still waits.
    pub fn answer(&self, sequence: u64, outcome: Outcome) {
        let sender = self.inner().waiting.remove(&sequence);
        if let Some(sender) = sender {
            // The client may have gone this very moment.
            drop(sender.send(outcome));
        }
    }

    /// The batch that holds `sequences` is in the log for good: it will not be sent again.
    pub fn committed(&self, sequences: impl Iterator<Item = u64>) {
        let mut inner = self.inner();
        for sequence in sequences {
            inner.open.remove(&sequence);
        }
    }

    /// The batch that holds `sequences` will not be sent again, and nobody knows what became of it.
    pub fn given_up(&self, sequences: impl Iterator<Item = u64>, why: ProposeError) {
        for sequence in sequences {
            self.inner().open.remove(&sequence);
            self.answer(sequence, Err(why));
        }
    }

    /// Nobody waits for this answer any more.
    pub fn forget(&self, sequence: u64) {
        self.inner().waiting.remove(&sequence);
    }
}
