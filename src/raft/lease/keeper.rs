//! The leader's side of leases: takes office, lets leases expire, checkpoints remainders, renews.
//!
//! The table of deadlines belongs to the [`Replica`], which keeps it in step with the leases bucket as batches
//! are applied, before their answers: so a complete table is the applied state, at the cost of one map entry a
//! grant and nothing on members that do not lead. (To compare with the state at every tick instead would cost
//! a walk over all leases.)
//!
//! The keeper looks once a tick whether this member leads. It takes office when the first entry of its own term
//! is applied: then all of its predecessors' grants, expiries and checkpoints are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::config::limits;
use crate::env::{Env, within};
use crate::machine::command::{Caller, Command};
use crate::raft::RaftHandle;
use crate::raft::lease::deadlines::{Granted, Renewal, Reset};
use crate::raft::proposer::{Proposer, WriteError};
use crate::raft::read_index::ReadIndex;
use crate::raft::replica::Replica;
use crate::types::{LeaseId, Term, TtlSecs};

/// Keeps the leases while its member leads. Clones share it.
#[derive(Clone)]
pub struct LeaseKeeper {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    tick: Duration,
    raft: RaftHandle,
    replica: Arc<Replica>,
    proposer: Proposer,
    reads: ReadIndex,
    /// Told when something that was proposed came out, or the office changed.
    settled: Notify,
    /// Told when the keeper should look around before its tick.
    wake: Notify,
    expiries: Arc<Semaphore>,
    checkpoints: Arc<Semaphore>,
}

impl LeaseKeeper {
    /// Starts keeping leases, looking around once a `tick`.
    pub fn start(
        env: Env,
        tick: Duration,
        raft: RaftHandle,
        replica: Arc<Replica>,
        proposer: Proposer,
        reads: ReadIndex,
    ) -> LeaseKeeper {
        let expiries = Arc::new(Semaphore::new(limits::LEASE_EXPIRY_BATCHES_IN_FLIGHT_MAX));
        let (settled, wake, checkpoints) = (Notify::new(), Notify::new(), Arc::new(Semaphore::new(1)));
        let inner = Inner { env, tick, raft, replica, proposer, reads, settled, wake, expiries, checkpoints };
        let keeper = LeaseKeeper { inner: Arc::new(inner) };
        tokio::spawn(keeper.clone().drive());
        keeper
    }

    /// Renews leases, if this member leads: for each its full TTL, or 0 when it is gone. `None` when this
    /// member does not lead; nothing was acknowledged then.
    pub async fn renew(&self, ids: &[LeaseId]) -> Option<Vec<TtlSecs>> {
        let term = if crate::mutant!("lease-renewed-without-quorum") {
            self.inner.replica.deadlines().term()?
        } else {
            self.confirmed_term().await?
        };
        crate::disturb!("a keep-alive waits behind its quorum", &*self.inner.env.clock);
        let mut ttls = vec![TtlSecs(0); ids.len()];
        let mut waiting: Vec<_> = ids.iter().copied().zip(0..).collect();
        let mut resets = Vec::new();
        self.in_office(term, |replica, now| {
            let mut deadlines = replica.deadlines();
            waiting.retain(|(id, place): &(LeaseId, usize)| match deadlines.renew(*id, now) {
                Renewal::Gone => false,
                Renewal::Busy => {
                    crate::sometimes!("keep-alive waited for an expiry or checkpoint");
                    true
                }
                Renewal::Renewed { ttl, reset } => {
                    if let Some(slot) = ttls.get_mut(*place) {
                        *slot = ttl;
                    }
                    resets.extend(reset.map(|reset| (*id, reset)));
                    false
                }
            });
            waiting.is_empty().then_some(())
        })
        .await?;
        self.commit_resets(term, resets).await?;
        Some(ttls)
    }

    /// How long leases have left, if this member leads: whole seconds, `None` for one that is gone.
    pub async fn remaining(&self, ids: &[LeaseId]) -> Option<Vec<Option<TtlSecs>>> {
        let term = self.confirmed_term().await?;
        self.in_office(term, |replica, now| {
            let deadlines = replica.deadlines();
            let left = ids.iter().map(|id| deadlines.remaining(*id, now));
            let secs = left.map(|left| Some(TtlSecs(i64::try_from(left?.as_secs()).unwrap_or(i64::MAX))));
            Some(secs.collect())
        })
        .await
    }

    /// The term in which this member led in a quorum round that began after the call; everything acknowledged
    /// before the call is applied. (It may be another member's term: then this one holds no office in it.)
    async fn confirmed_term(&self) -> Option<Term> {
        self.inner.reads.confirmed().await.ok().map(|at| at.term)
    }

    /// Asks again and again, each time something was settled, for as long as this member keeps the leases of
    /// `term`.
    async fn in_office<T>(
        &self,
        term: Term,
        mut ask: impl FnMut(&Replica, Duration) -> Option<T>,
    ) -> Option<T> {
        loop {
            let mut settled = std::pin::pin!(self.inner.settled.notified());
            // Registered before asking, so that nothing is missed in between.
            settled.as_mut().enable();
            let (office, complete) = {
                let deadlines = self.inner.replica.deadlines();
                (deadlines.term(), deadlines.is_complete())
            };
            if office == Some(term) && complete {
                if let Some(answer) = ask(&self.inner.replica, self.inner.env.clock.monotonic()) {
                    return Some(answer);
                }
            } else if office > Some(term) || self.inner.raft.leader() != Some(self.inner.replica.member()) {
                return None;
            } else {
                // Elected, but the tick has not come: hurry.
                self.inner.wake.notify_one();
            }
            settled.await;
        }
    }

    /// Clears checkpoints, and returns once that is committed.
    async fn commit_resets(&self, term: Term, resets: Vec<(LeaseId, Reset)>) -> Option<()> {
        if resets.is_empty() {
            return Some(());
        }
        crate::sometimes!("keep-alive cleared a checkpoint");
        crate::disturb!("a lease's reset is proposed late", &*self.inner.env.clock);
        let remaining = resets.iter().map(|(id, _)| (*id, TtlSecs(0))).collect();
        let command = Command::LeaseCheckpoint { remaining };
        let answer = self.inner.proposer.propose_as_leader(command, term).await.ok()?;
        answer.result.ok()?;
        let mut deadlines = self.inner.replica.deadlines();
        for (id, reset) in resets {
            deadlines.reset_done(term, id, reset);
        }
        Some(())
    }

    /// Looks around for as long as the member lives.
    async fn drive(self) {
        while !self.inner.replica.watches().is_stopped() {
            crate::disturb!("a leader looks late for expired leases", &*self.inner.env.clock);
            self.look_around().await;
            let (clock, tick) = (&*self.inner.env.clock, self.inner.tick);
            // Woken or not: the next round looks at everything.
            let _woken = within(clock, tick, self.inner.wake.notified()).await;
        }
    }

    async fn look_around(&self) {
        let leading = self.leading();
        let held = self.inner.replica.deadlines().term();
        if held != leading {
            let mut deadlines = self.inner.replica.deadlines();
            match leading {
                Some(term) => deadlines.lead(term),
                None => deadlines.resign(),
            }
            drop(deadlines);
            self.inner.settled.notify_waiters();
        }
        let Some(term) = leading else { return };
        if !self.inner.replica.deadlines().is_complete() {
            while self.take_over() {
                tokio::task::yield_now().await;
            }
            self.inner.settled.notify_waiters();
        }
        self.expire(term);
        self.checkpoint(term);
    }

    /// The term that this member leads, once all that came before is applied.
    fn leading(&self) -> Option<Term> {
        let status = self.inner.raft.status();
        let applied = self.inner.replica.applied().last()?;
        (status.is_leader && applied.term == status.term).then_some(status.term)
    }

    /// Takes over some more leases from the state; whether there are more.
    fn take_over(&self) -> bool {
        let step = if crate::buggify!("leases are taken over in small steps") {
            1
        } else {
            limits::LEASE_TAKE_OVER_STEP
        };
        let mut deadlines = self.inner.replica.deadlines();
        let Some(from) = deadlines.resume() else { return false };
        let mut taken: Vec<Granted> = {
            let state = self.inner.replica.state();
            let leases = state.leases().from(from).take(step + 1);
            leases.map(|(id, lease)| Granted { id, ttl: lease.ttl, remaining: lease.remaining }).collect()
        };
        let resume = taken.get(step).map(|lease| {
            // The planted bug goes on behind the lease that it has only looked at.
            let skipped = i64::from(crate::mutant!("lease-skipped-at-take-over"));
            LeaseId(lease.id.0.saturating_add(skipped))
        });
        if resume.is_some() {
            crate::sometimes!("leases were taken over in more than one step");
        }
        taken.truncate(step);
        if taken.iter().any(|lease| lease.remaining.is_some()) {
            crate::sometimes!("new leader went on from a checkpointed lease");
        }
        // After the state was read: a lease granted just before counts from no earlier than its grant.
        let now = self.inner.env.clock.monotonic();
        deadlines.take_over(taken, resume, now);
        resume.is_some()
    }

    /// Proposes the expiry of leases whose time is up.
    fn expire(&self, term: Term) {
        let Ok(permit) = self.inner.expiries.clone().try_acquire_owned() else { return };
        let now = self.inner.env.clock.monotonic();
        let ids = self.inner.replica.deadlines().take_due(now, limits::LEASE_EXPIRIES_PER_STEP_MAX);
        if ids.is_empty() {
            return;
        }
        let keeper = self.clone();
        tokio::spawn(async move {
            let command = Command::LeaseExpire { ids: ids.clone() };
            crate::disturb!("an expiry is proposed late", &*keeper.inner.env.clock);
            // No deadline: while the command may still be committed, nobody may renew these leases.
            // The planted bug lets it be forwarded to whoever leads by then.
            let outcome = if crate::mutant!("lease-expiry-forwarded") {
                keeper.inner.proposer.propose(Caller::Member, command).await.map_err(|_| WriteError::Unknown)
            } else {
                keeper.inner.proposer.propose_as_leader(command, term).await
            };
            if outcome.is_ok_and(|answer| answer.result.is_ok()) {
                crate::sometimes!("lease expired");
            }
            let retry_at = keeper.inner.env.clock.monotonic() + limits::LEASE_EXPIRY_RETRY_AFTER;
            keeper.inner.replica.deadlines().expiry_settled(term, &ids, retry_at);
            keeper.inner.settled.notify_waiters();
            drop(permit);
        });
    }

    /// Proposes to remember what long leases have left.
    fn checkpoint(&self, term: Term) {
        let Ok(permit) = self.inner.checkpoints.clone().try_acquire_owned() else { return };
        let now = self.inner.env.clock.monotonic();
        let remaining =
            self.inner.replica.deadlines().take_checkpoints(now, limits::LEASE_CHECKPOINTS_PER_STEP_MAX);
        if remaining.is_empty() {
            return;
        }
        let keeper = self.clone();
        tokio::spawn(async move {
            let ids: Vec<LeaseId> = remaining.iter().map(|(id, _)| *id).collect();
            crate::disturb!("a checkpoint of leases is proposed late", &*keeper.inner.env.clock);
            let command = Command::LeaseCheckpoint { remaining };
            if keeper.inner.proposer.propose_as_leader(command, term).await.is_ok() {
                crate::sometimes!("lease checkpointed");
            }
            let now = keeper.inner.env.clock.monotonic();
            if !crate::mutant!("lease-busy-for-ever-after-a-checkpoint") {
                keeper.inner.replica.deadlines().checkpoints_settled(term, ids, now);
            }
            keeper.inner.settled.notify_waiters();
            drop(permit);
        });
    }
}
