//! Whether this member is in touch with a leader, now rather than when it last heard.
//!
//! A follower goes on naming its leader until there is another; clients that ask for a leader want to know whether
//! one is there. For display and early refusals only: no answer becomes linearizable by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::env::Clock;

/// When a leader was last heard. Clones share it.
#[derive(Clone)]
pub struct Contact {
    clock: Arc<dyn Clock>,
    /// In microseconds of the monotonic clock, plus one; 0 is never.
    heard_at: Arc<AtomicU64>,
    patience: Duration,
}

impl Contact {
    /// Nothing heard yet; a leader counts as gone after one and a half election timeouts of silence, in which a
    /// follower on average begins to stand for election.
    pub fn new(clock: Arc<dyn Clock>, election_timeout: Duration) -> Contact {
        Contact { clock, heard_at: Arc::default(), patience: election_timeout * 3 / 2 }
    }

    /// A leader was heard just now.
    pub fn heard(&self) {
        self.heard_at.store(self.now().saturating_add(1), Ordering::Relaxed);
    }

    /// Whether a leader was heard lately.
    pub fn is_fresh(&self) -> bool {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        heard_at > 0 && self.is_recent(Duration::from_micros(self.now().saturating_sub(heard_at)))
    }

    /// Whether silence of this length leaves a leader known.
    pub fn is_recent(&self, silence: Duration) -> bool {
        silence <= self.patience
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_micros()).unwrap_or(u64::MAX)
    }
}
