//! Keep-alives and questions about leases, from this member's clients to whoever leads.
//!
//! What waits is gathered into groups; a group shares one quorum round and, on a follower, one call to the
//! leader. A group is taken to the leader again and again until it is answered or its time is up: both kinds of
//! requests may be repeated freely.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};

use crate::config::limits;
use crate::env::{Env, within};
use crate::peer::Peers;
use crate::raft::RaftHandle;
use crate::raft::lease::keeper::LeaseKeeper;
use crate::raft::read_index::{ReadError, ReadLimits};
use crate::types::{LeaseId, MemberId, TtlSecs};

/// What the leader says of a lease that is gone, when it is asked for the remainder.
pub const REMAINING_GONE: i64 = -1;

/// Brings one member's lease requests to the leader. Clones share it.
#[derive(Clone)]
pub struct LeaseRequests {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    member: MemberId,
    limits: ReadLimits,
    raft: RaftHandle,
    peers: Peers,
    keeper: LeaseKeeper,
    renewals: Queue,
    questions: Queue,
}

type Waiters = BTreeMap<LeaseId, Vec<oneshot::Sender<i64>>>;

struct Queue {
    waiting: Mutex<Waiters>,
    arrived: Notify,
    in_flight: Arc<Semaphore>,
}

impl Default for Queue {
    fn default() -> Queue {
        let in_flight = Arc::new(Semaphore::new(limits::LEASE_GROUPS_IN_FLIGHT_MAX));
        Queue { waiting: Mutex::default(), arrived: Notify::new(), in_flight }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next group, bounded.
    fn take(&self) -> Waiters {
        let mut waiting = self.waiting();
        let rest = match waiting.keys().nth(limits::LEASE_GROUP_MAX).copied() {
            Some(first_left) => waiting.split_off(&first_left),
            None => Waiters::new(),
        };
        let taken = std::mem::replace(&mut *waiting, rest);
        if !waiting.is_empty() {
            self.arrived.notify_one();
        }
        taken
    }
}

/// What is asked of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Renew,
    Remaining,
}

impl LeaseRequests {
    /// Starts bringing `member`'s requests to the leader; `keeper` is asked while that is this member.
    pub fn start(
        env: Env,
        member: MemberId,
        limits: ReadLimits,
        raft: RaftHandle,
        peers: Peers,
        keeper: LeaseKeeper,
    ) -> LeaseRequests {
        let (renewals, questions) = (Queue::default(), Queue::default());
        let inner = Inner { env, member, limits, raft, peers, keeper, renewals, questions };
        let requests = LeaseRequests { inner: Arc::new(inner) };
        tokio::spawn(requests.clone().drive(Kind::Renew));
        tokio::spawn(requests.clone().drive(Kind::Remaining));
        requests
    }

    /// Renews a lease: its full TTL, or 0 when it is gone.
    ///
    /// # Errors
    /// [`ReadError`]; the lease may have been renewed all the same.
    pub async fn renew(&self, id: LeaseId) -> Result<TtlSecs, ReadError> {
        self.ask(Kind::Renew, id).await.map(TtlSecs)
    }

    /// How long a lease has left, `None` when it is gone.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn remaining(&self, id: LeaseId) -> Result<Option<TtlSecs>, ReadError> {
        let secs = self.ask(Kind::Remaining, id).await?;
        Ok((secs != REMAINING_GONE).then_some(TtlSecs(secs)))
    }

    fn queue(&self, kind: Kind) -> &Queue {
        match kind {
            Kind::Renew => &self.inner.renewals,
            Kind::Remaining => &self.inner.questions,
        }
    }

    async fn ask(&self, kind: Kind, id: LeaseId) -> Result<i64, ReadError> {
        let (sender, receiver) = oneshot::channel();
        {
            let queue = self.queue(kind);
            let mut waiting = queue.waiting();
            let waiters = waiting.entry(id).or_default();
            // Those who gave up would gather here while nobody leads.
            waiters.retain(|waiter| !waiter.is_closed());
            waiters.push(sender);
            queue.arrived.notify_one();
        }
        let answered = within(&*self.inner.env.clock, self.inner.limits.read_timeout, receiver).await;
        answered.and_then(Result::ok).ok_or(ReadError::Timeout)
    }

    /// Forms groups and sends each on its way, for as long as the member lives.
    async fn drive(self, kind: Kind) {
        loop {
            let queue = self.queue(kind);
            queue.arrived.notified().await;
            let Ok(permit) = queue.in_flight.clone().acquire_owned().await else { return };
            let group = queue.take();
            if group.is_empty() {
                continue;
            }
            let requests = self.clone();
            tokio::spawn(async move {
                requests.carry(kind, group).await;
                drop(permit);
            });
        }
    }

    /// Takes a group to the leader until it is answered or too late; those who wait then learn that time is up.
    async fn carry(&self, kind: Kind, group: Waiters) {
        let clock = &*self.inner.env.clock;
        let ids: Vec<LeaseId> = group.keys().copied().collect();
        let answered = async {
            loop {
                match self.attempt(kind, &ids).await {
                    Some(answers) if answers.len() == ids.len() => return answers,
                    Some(_) | None => clock.sleep(self.inner.limits.retry_pause).await,
                }
            }
        };
        let Some(answers) = within(clock, self.inner.limits.read_timeout, answered).await else { return };
        for (waiters, answer) in group.into_values().zip(answers) {
            for waiter in waiters {
                // Who gave up is gone.
                let _gone = waiter.send(answer);
            }
        }
    }

    async fn attempt(&self, kind: Kind, ids: &[LeaseId]) -> Option<Vec<i64>> {
        let leader = self.inner.raft.leader()?;
        if leader == self.inner.member {
            return match kind {
                Kind::Renew => self.inner.keeper.renew(ids).await.map(ttls_out),
                Kind::Remaining => self.inner.keeper.remaining(ids).await.map(remaining_out),
            };
        }
        let (timeout, leases): (Duration, Vec<i64>) =
            (self.inner.limits.attempt_timeout, ids.iter().map(|id| id.0).collect());
        let (leading, answers) = match kind {
            Kind::Renew => {
                let response = self.inner.peers.lease_renew(leader, timeout, leases).await.ok()?;
                (response.leading, response.ttls)
            }
            Kind::Remaining => {
                let response = self.inner.peers.lease_remaining(leader, timeout, leases).await.ok()?;
                (response.leading, response.remaining)
            }
        };
        leading.then_some(answers)
    }
}

/// TTLs as numbers.
pub fn ttls_out(ttls: Vec<TtlSecs>) -> Vec<i64> {
    ttls.into_iter().map(|ttl| ttl.0).collect()
}

/// Remainders as numbers.
pub fn remaining_out(remaining: Vec<Option<TtlSecs>>) -> Vec<i64> {
    remaining.into_iter().map(|left| left.map_or(REMAINING_GONE, |left| left.0)).collect()
}
