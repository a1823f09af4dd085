//! Linearizable reads: an index that covers every write acknowledged before the question, from a leader that
//! has just heard from a quorum.
//!
//! All reads waiting share one round, and one round is in flight at a time: while it runs, the next readers
//! gather. A reader that arrives during a round must not join it, because the round's index may be older than
//! a write acknowledged before the reader came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::env::{Env, within};
use crate::peer::Peers;
use crate::raft::RaftHandle;
use crate::raft::applied::Applied;
use crate::raft::pending::ProposeError;
use crate::raft::wire::own_log_id_in;
use crate::types::{LogId, MemberId};

/// Why a linearizable read could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No quorum confirmed a leader in time.
    #[error("request timed out")]
    Timeout,
    /// A snapshot replaced the state under a read that was under way; it may be asked again.
    #[error("the state was replaced")]
    Replaced,
    /// The member is stopping.
    #[error("server stopped")]
    Stopped,
}

impl From<ReadError> for ProposeError {
    fn from(error: ReadError) -> ProposeError {
        match error {
            ReadError::Timeout | ReadError::Replaced => ProposeError::Timeout,
            ReadError::Stopped => ProposeError::Stopped,
        }
    }
}

/// How long the steps of a read may take.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// A whole read, from question to applied index.
    pub read_timeout: Duration,
    /// One attempt to learn the index.
    pub attempt_timeout: Duration,
    /// The pause before the next attempt.
    pub retry_pause: Duration,
}

/// Confirms reads for one member. Clones share it.
#[derive(Clone)]
pub struct ReadIndex {
    inner: Arc<Inner>,
}

type Waiter = oneshot::Sender<Result<LogId, ReadError>>;

struct Inner {
    env: Env,
    member: MemberId,
    limits: ReadLimits,
    raft: RaftHandle,
    peers: Peers,
    applied: Arc<Applied>,
    waiting: Mutex<Vec<Waiter>>,
    arrived: Notify,
}

impl ReadIndex {
    /// Starts confirming reads for `member`.
    pub fn start(
        env: Env,
        member: MemberId,
        limits: ReadLimits,
        raft: RaftHandle,
        peers: Peers,
        applied: Arc<Applied>,
    ) -> ReadIndex {
        let (waiting, arrived) = (Mutex::default(), Notify::new());
        let inner = Inner { env, member, limits, raft, peers, applied, waiting, arrived };
        let reads = ReadIndex { inner: Arc::new(inner) };
        tokio::spawn(reads.clone().drive());
        reads
    }

    /// Returns once this member's applied state covers every write that was acknowledged before the call.
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read.
    pub async fn linearizable(&self) -> Result<(), ReadError> {
        if crate::mutant!("read-index-skipped") {
            return Ok(());
        }
        self.confirmed().await.map(|_| ())
    }

    /// As [`ReadIndex::linearizable`], and tells the entry that the state covers. Its term is that of the leader
    /// that a quorum confirmed, in a round that began after the call.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn confirmed(&self) -> Result<LogId, ReadError> {
        let clock = &*self.inner.env.clock;
        let confirmed = async {
            let at = self.confirmed_index().await?;
            crate::disturb!("a read waits behind its index", clock);
            // The planted bug does not wait for its own state to get there.
            let waits = !crate::mutant!("read-before-applied");
            if !waits || self.inner.applied.reached(at.index.0).await {
                Ok(at)
            } else {
                Err(ReadError::Stopped)
            }
        };
        within(clock, self.inner.limits.read_timeout, confirmed).await.unwrap_or(Err(ReadError::Timeout))
    }

    /// The index of the next round.
    async fn confirmed_index(&self) -> Result<LogId, ReadError> {
        let (sender, receiver) = oneshot::channel();
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.inner.arrived.notify_one();
        receiver.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// One round after the other, for as long as the member lives.
    async fn drive(self) {
        loop {
            self.inner.arrived.notified().await;
            let mut waiters =
                std::mem::take(&mut *self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if waiters.is_empty() {
                continue;
            }
            crate::disturb!("a round of read index begins late", &*self.inner.env.clock);
            let outcome = within(&*self.inner.env.clock, self.inner.limits.read_timeout, self.round())
                .await
                .ok_or(ReadError::Timeout);
            // The planted bug lets those share a round who came while it was under way.
            if crate::mutant!("read-joins-a-round-under-way") {
                waiters.append(&mut self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            }
            for waiter in waiters {
                // A reader that gave up is gone.
                let _gone = waiter.send(outcome);
            }
        }
    }

    /// Asks until an index is confirmed.
    async fn round(&self) -> LogId {
        loop {
            if let Some(index) = self.attempt().await {
                return index;
            }
            crate::sometimes!("read index asked again");
            self.inner.env.clock.sleep(self.inner.limits.retry_pause).await;
        }
    }

    async fn attempt(&self) -> Option<LogId> {
        let timeout = self.inner.limits.attempt_timeout;
        if crate::buggify!("a round of read index is lost") {
            return None;
        }
        match self.inner.raft.leader()? {
            leader if leader == self.inner.member => self.inner.raft.read_index(timeout).await,
            leader => {
                let response = self.inner.peers.read_index(leader, timeout).await.ok()?;
                if response.leading { response.id.as_ref().map(own_log_id_in) } else { None }
            }
        }
    }
}
