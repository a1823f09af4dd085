//! When the leader's leases end: the bookkeeping, without clock, lock or consensus.
//!
//! Time is handed in by the caller, from one monotonic clock. The table is empty while the member does not
//! lead. A new leader takes the leases over from its state bit by bit; only then is the table *complete* and
//! may be asked.
//!
//! Invariants:
//! - a complete table holds exactly the leases of the applied state;
//! - a lease is in `due` exactly when it is not busy: whatever was proposed for it must first come out;
//! - `checkpoint` is set whenever the replicated remainder may be below the TTL.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::types::{LeaseId, Term, TtlSecs};

/// A lease whose remainder is checkpointed at all loses at least this part of its TTL before the next
/// checkpoint: that bounds the log entries of one life, however long, to this number.
const CHECKPOINTS_PER_LIFE_MAX: u32 = 10;

/// The deadlines of every lease, while this member leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deadlines {
    /// The least time between two checkpoints of a lease; shorter leases have none.
    checkpoint_interval: Duration,
    term: Option<Term>,
    /// The lease to go on at while the table is not complete.
    resume: Option<LeaseId>,
    leases: BTreeMap<LeaseId, Tracked>,
    due: BTreeSet<(Duration, LeaseId)>,
    checkpoints: BTreeSet<(Duration, LeaseId)>,
    serial: u64,
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tracked {
    ttl: TtlSecs,
    deadline: Duration,
    /// Where it stands in `due`.
    due_at: Duration,
    /// Where it stands in `checkpoints`.
    checkpoint_at: Option<Duration>,
    /// The last checkpoint that the replicated state holds, or may hold.
    checkpoint: Option<u64>,
    busy: Option<Busy>,
}

/// What is proposed for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Busy {
    Expiring,
    Checkpointing,
}

/// What a lease is, as the replicated state knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its id.
    pub id: LeaseId,
    /// Its full life.
    pub ttl: TtlSecs,
    /// What the last checkpoint left of it.
    pub remaining: Option<TtlSecs>,
}

/// A checkpoint that must be cleared before a renewal is acknowledged. It names the checkpoint, so that the
/// clearing of one is not taken for that of a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reset(u64);

/// What became of a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There is no such lease.
    Gone,
    /// Something is proposed for the lease: ask again when it is settled.
    Busy,
    /// The lease lives on for its full TTL.
    Renewed {
        /// The full TTL.
        ttl: TtlSecs,
        /// What must be committed first.
        reset: Option<Reset>,
    },
}

fn seconds(ttl: TtlSecs) -> Duration {
    Duration::from_secs(u64::try_from(ttl.0).unwrap_or_default())
}

/// Whole seconds, rounded up: a checkpoint must not take life away.
fn whole_seconds(left: Duration) -> TtlSecs {
    let secs = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    TtlSecs(i64::try_from(secs).unwrap_or(i64::MAX))
}

impl Deadlines {
    /// The table of a member that does not lead.
    pub fn new(checkpoint_interval: Duration) -> Deadlines {
        Deadlines {
            checkpoint_interval,
            term: None,
            resume: None,
            leases: BTreeMap::new(),
            due: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            serial: 0,
        }
    }

    /// The term this member leads, as far as this table knows.
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// Whether every lease of the state is known.
    pub fn is_complete(&self) -> bool {
        self.term.is_some() && self.resume.is_none()
    }

    /// How many leases are known.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// This member leads `term`: nothing of an earlier office counts.
    pub fn lead(&mut self, term: Term) {
        self.resign();
        self.term = Some(term);
        self.resume = Some(LeaseId(i64::MIN));
    }

    /// This member does not lead.
    pub fn resign(&mut self) {
        self.term = None;
        self.resume = None;
        // The planted bug keeps what it knows for the next time in office.
        if crate::mutant!("lease-timer-of-an-earlier-office") {
            return;
        }
        self.leases.clear();
        self.due.clear();
        self.checkpoints.clear();
    }

    /// The lowest lease that is not taken over yet; `None` when all are.
    pub fn resume(&self) -> Option<LeaseId> {
        self.resume
    }

    /// Takes over the next leases of the state, in order; they count from `now`, which must not be earlier than
    /// the moment the state was read. `resume` is the next to go on at.
    pub fn take_over(
        &mut self,
        leases: impl IntoIterator<Item = Granted>,
        resume: Option<LeaseId>,
        now: Duration,
    ) {
        assert!(resume > self.resume || resume.is_none(), "leases are taken over upward");
        self.resume = resume;
        for lease in leases {
            self.granted(lease, now);
        }
    }

    /// The state holds this lease. It counts from `now` unless it is known already.
    pub fn granted(&mut self, lease: Granted, now: Duration) {
        let Granted { id, ttl, remaining } = lease;
        if self.term.is_none() || self.leases.contains_key(&id) {
            return;
        }
        let checkpoint = remaining.map(|_| self.next_serial());
        let deadline = now.saturating_add(seconds(remaining.unwrap_or(ttl)));
        let tracked =
            Tracked { ttl, deadline, due_at: deadline, checkpoint_at: None, checkpoint, busy: None };
        self.leases.insert(id, tracked);
        self.due.insert((deadline, id));
        self.plan_checkpoint(id, now);
    }

    /// The state holds this lease no more.
    pub fn ended(&mut self, id: LeaseId) {
        if let Some(tracked) = self.leases.remove(&id) {
            self.due.remove(&(tracked.due_at, id));
            if let Some(at) = tracked.checkpoint_at {
                self.checkpoints.remove(&(at, id));
            }
        }
    }

    /// Up to `max` leases whose time is up, for expiry to be proposed: they are busy until it is settled.
    pub fn take_due(&mut self, now: Duration, max: usize) -> Vec<LeaseId> {
        let mut taken = Vec::new();
        while let Some(&(at, id)) = self.due.first()
            && at <= now
            && taken.len() < max
        {
            self.due.remove(&(at, id));
            if let Some(tracked) = self.leases.get_mut(&id) {
                assert!(tracked.busy.is_none(), "lease {id} is due and busy");
                tracked.busy = Some(Busy::Expiring);
                taken.push(id);
            }
        }
        taken
    }

    /// Expiry of these leases came out. Those that are still there may be renewed again, or are tried again at
    /// `retry_at`.
    pub fn expiry_settled(&mut self, term: Term, ids: &[LeaseId], retry_at: Duration) {
        if self.term == Some(term) {
            for id in ids {
                self.release(*id, Busy::Expiring, Some(retry_at));
            }
        }
    }

    /// Up to `max` leases whose remainder is worth a checkpoint, with that remainder: they are busy until it is
    /// settled.
    pub fn take_checkpoints(&mut self, now: Duration, max: usize) -> Vec<(LeaseId, TtlSecs)> {
        let mut taken = Vec::new();
        while let Some(&(at, id)) = self.checkpoints.first()
            && at <= now
            && taken.len() < max
        {
            self.checkpoints.remove(&(at, id));
            let serial = self.next_serial();
            let Some(tracked) = self.leases.get_mut(&id) else { continue };
            tracked.checkpoint_at = None;
            // A lease that is being expired, or is about to be, has no use for it.
            if tracked.busy.is_some() || tracked.deadline <= now {
                continue;
            }
            tracked.checkpoint = Some(serial);
            tracked.busy = Some(Busy::Checkpointing);
            self.due.remove(&(tracked.due_at, id));
            taken.push((id, whole_seconds(tracked.deadline.saturating_sub(now))));
        }
        taken
    }

    /// The checkpoint of these leases came out, one way or the other.
    pub fn checkpoints_settled(&mut self, term: Term, ids: impl IntoIterator<Item = LeaseId>, now: Duration) {
        if self.term == Some(term) {
            for id in ids {
                self.release(id, Busy::Checkpointing, None);
                self.plan_checkpoint(id, now);
            }
        }
    }

    /// A keep-alive, confirmed by a quorum: the lease counts anew from `now`.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Renewal {
        let Some(tracked) = self.leases.get_mut(&id) else { return Renewal::Gone };
        match tracked.busy {
            None => {}
            Some(Busy::Expiring) if crate::mutant!("lease-renewed-while-expiring") => {
                return Renewal::Renewed { ttl: tracked.ttl, reset: None };
            }
            Some(_) => return Renewal::Busy,
        }
        if tracked.deadline <= now {
            crate::sometimes!("a keep-alive came when a lease's time was up");
        }
        self.due.remove(&(tracked.due_at, id));
        tracked.deadline = now.saturating_add(seconds(tracked.ttl));
        tracked.due_at = tracked.deadline;
        self.due.insert((tracked.due_at, id));
        let (ttl, mut reset) = (tracked.ttl, tracked.checkpoint.map(Reset));
        if crate::mutant!("lease-checkpoint-not-reset") {
            reset = None;
        }
        self.plan_checkpoint(id, now);
        Renewal::Renewed { ttl, reset }
    }

    /// A reset was committed.
    pub fn reset_done(&mut self, term: Term, id: LeaseId, reset: Reset) {
        if self.term == Some(term)
            && let Some(tracked) = self.leases.get_mut(&id)
            && tracked.checkpoint == Some(reset.0)
        {
            tracked.checkpoint = None;
        }
    }

    /// How long a lease has left; zero when its time is up but it is still there.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<Duration> {
        self.leases.get(&id).map(|tracked| tracked.deadline.saturating_sub(now))
    }

    fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.saturating_add(1);
        self.serial
    }

    /// What was proposed for a lease is settled, if it was that: the lease falls due again at `due_at`, or at
    /// its deadline.
    fn release(&mut self, id: LeaseId, settled: Busy, due_at: Option<Duration>) {
        if let Some(tracked) = self.leases.get_mut(&id)
            && tracked.busy == Some(settled)
        {
            tracked.busy = None;
            tracked.due_at = due_at.unwrap_or(tracked.deadline);
            self.due.insert((tracked.due_at, id));
        }
    }

    /// Plans the next checkpoint of a lease that is long enough to need one.
    fn plan_checkpoint(&mut self, id: LeaseId, now: Duration) {
        let Some(tracked) = self.leases.get_mut(&id) else { return };
        if let Some(at) = tracked.checkpoint_at.take() {
            self.checkpoints.remove(&(at, id));
        }
        let life = seconds(tracked.ttl);
        let step = self.checkpoint_interval.max(life / CHECKPOINTS_PER_LIFE_MAX);
        if life > step {
            let at = now.saturating_add(step);
            tracked.checkpoint_at = Some(at);
            self.checkpoints.insert((at, id));
        }
    }
}
