//! The way of a write into the log: requests gather into batches, batches go to the leader.
//!
//! Batching is the throughput: a batch takes whatever is waiting, bounded in count and bytes; while a few
//! batches are in flight the next one fills. No timer is involved.
//!
//! A batch is sent again, byte for byte, until it is known to be committed or its requests' time is up. That is
//! safe because the machine knows every request by its id: whatever was appended twice is applied once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::env::{Env, Observation, Witness, within};
use crate::machine::command::{Answer, Batch, Caller, Command, Request};
use crate::pb::peer::forward_response::Outcome as Forwarded;
use crate::peer::Peers;
use crate::raft::RaftHandle;
use crate::raft::codec::encode_batch;
use crate::raft::pending::{Pending, ProposeError};
use crate::raft::types::{LogBatch, TypeConfig};
use crate::types::{Incarnation, MemberId, RequestId, Term};

/// Limits of the proposer.
#[derive(Clone, Copy, Debug)]
pub struct ProposerLimits {
    /// Unanswered requests before new ones are refused.
    pub open_requests_max: usize,
    /// Requests in one batch.
    pub batch_requests_max: usize,
    /// Bytes of one batch; a single larger request makes a batch of its own.
    pub batch_bytes_max: usize,
    /// Bytes of one request.
    pub request_bytes_max: usize,
    /// Batches in flight.
    pub batches_in_flight_max: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long one attempt to reach the leader may take.
    pub attempt_timeout: Duration,
    /// The pause before a batch is sent again.
    pub retry_pause: Duration,
}

/// Proposes the requests of one member's clients. Clones share it.
#[derive(Clone)]
pub struct Proposer {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    member: MemberId,
    incarnation: Incarnation,
    limits: ProposerLimits,
    raft: RaftHandle,
    peers: Peers,
    pending: Arc<Pending>,
    queue: Mutex<VecDeque<Queued>>,
    waiting: Notify,
    in_flight: Arc<Semaphore>,
}

struct Queued {
    sequence: u64,
    caller: Caller,
    command: Command,
    bytes: usize,
    deadline: Duration,
}

/// What became of one attempt to get a batch committed.
enum Attempt {
    Committed,
    TryAgain,
    Stopped,
}

/// A batch on its way to the leader.
struct Load {
    batch: LogBatch,
    /// The sequences of its requests.
    sequences: Vec<u64>,
    /// When the last of their times is up.
    deadline: Duration,
}

impl Proposer {
    /// A proposer for `member` in this `incarnation`, which must be durable already.
    pub fn start(
        env: Env,
        member: MemberId,
        incarnation: Incarnation,
        limits: ProposerLimits,
        raft: RaftHandle,
        peers: Peers,
        pending: Arc<Pending>,
    ) -> Proposer {
        let in_flight = Arc::new(Semaphore::new(limits.batches_in_flight_max));
        let inner = Inner {
            env,
            member,
            incarnation,
            limits,
            raft,
            peers,
            pending,
            queue: Mutex::default(),
            waiting: Notify::new(),
            in_flight,
        };
        let proposer = Proposer { inner: Arc::new(inner) };
        tokio::spawn(proposer.clone().drive());
        proposer
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets a caller's command into the log and waits until this member has applied it.
    ///
    /// # Errors
    /// [`ProposeError`]: only `TooManyRequests` and `TooLarge` mean that nothing was, or will be, done.
    pub async fn propose(&self, caller: Caller, command: Command) -> Result<Answer, ProposeError> {
        let limits = &self.inner.limits;
        let bytes = command.size_bytes() + caller.size_bytes();
        if bytes > limits.request_bytes_max {
            return Err(ProposeError::TooLarge);
        }
        if self.inner.pending.waiting() >= limits.open_requests_max {
            return Err(ProposeError::TooManyRequests);
        }
        let (sequence, answer) = self.inner.pending.open();
        // An alarm may be a client's as well as a member's own.
        if command.is_a_clients() || caller != Caller::Member {
            let (member, incarnation) = (self.inner.member, self.inner.incarnation);
            let id = RequestId { member, incarnation, sequence };
            Witness::of(member).tell(|| Observation::Proposed { id });
        }
        let deadline = self.inner.env.clock.monotonic() + limits.request_timeout;
        self.queue().push_back(Queued { sequence, caller, command, bytes, deadline });
        self.inner.waiting.notify_one();
        match within(&*self.inner.env.clock, limits.request_timeout, answer).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(ProposeError::Stopped),
            None => {
                self.inner.pending.forget(sequence);
                Err(ProposeError::Timeout)
            }
        }
    }

    /// Forms batches and sends each on its way, for as long as the member lives.
    async fn drive(self) {
        loop {
            while self.queue().is_empty() {
                self.inner.waiting.notified().await;
            }
            let Ok(permit) = self.inner.in_flight.clone().acquire_owned().await else { return };
            crate::disturb!("a batch goes late", &*self.inner.env.clock);
            let Some(load) = self.next_load() else { continue };
            let proposer = self.clone();
            tokio::spawn(async move {
                proposer.carry(load).await;
                drop(permit);
            });
        }
    }

    /// The next batch, encoded.
    fn next_load(&self) -> Option<Load> {
        let limits = &self.inner.limits;
        let requests_max =
            if crate::buggify!("a batch of one request") { 1 } else { limits.batch_requests_max };
        let mut requests = Vec::new();
        let (mut bytes, mut deadline) = (0, Duration::ZERO);
        {
            let mut queue = self.queue();
            while let Some(next) = queue.front() {
                let full = requests.len() >= requests_max || bytes + next.bytes > limits.batch_bytes_max;
                if full && !requests.is_empty() {
                    break;
                }
                if let Some(next) = queue.pop_front() {
                    bytes += next.bytes;
                    deadline = deadline.max(next.deadline);
                    let Queued { sequence, caller, command, .. } = next;
                    requests.push(Request { sequence, caller, command });
                }
            }
        }
        if requests.is_empty() {
            return None;
        }
        let sequences = requests.iter().map(|request| request.sequence).collect();
        Some(Load { batch: self.batch(requests), sequences, deadline })
    }

    /// A batch of these requests, encoded.
    fn batch(&self, requests: Vec<Request>) -> LogBatch {
        encode_batch(Batch {
            member: self.inner.member,
            incarnation: self.inner.incarnation,
            lowest_unanswered: self.inner.pending.lowest_open(),
            wall_ms: self.inner.env.clock.wall_ms(),
            requests,
        })
    }

    /// Appends a command of the leader's own, but only while this member leads `term`: it is neither forwarded
    /// nor tried again, and no limit on clients' requests holds it up. Returns when it is applied here, or known
    /// not to be coming; without a quorum that may take for ever.
    ///
    /// # Errors
    /// [`WriteError`]: `NotLeader` means that nothing was, or will be, done.
    pub async fn propose_as_leader(&self, command: Command, term: Term) -> Result<Answer, WriteError> {
        let (sender, outcome) = oneshot::channel();
        let proposer = self.clone();
        // In a task of its own: the request must be closed properly even if its caller is gone by then.
        tokio::spawn(async move {
            let _gone = sender.send(proposer.carry_as_leader(command, term).await);
        });
        outcome.await.unwrap_or(Err(WriteError::Stopped))
    }

    async fn carry_as_leader(&self, command: Command, term: Term) -> Result<Answer, WriteError> {
        let (sequence, answer) = self.inner.pending.open();
        let batch = self.batch(vec![Request { sequence, caller: Caller::Member, command }]);
        if let Err(error) = self.inner.raft.write_as_leader(batch, term).await {
            if matches!(error, WriteError::NotLeader(_)) {
                crate::sometimes!("a leader's own command came after its time");
            }
            self.inner.pending.given_up(std::iter::once(sequence), ProposeError::AnswerLost);
            return Err(error);
        }
        self.inner.pending.committed(std::iter::once(sequence));
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(WriteError::Unknown),
            Err(_) => Err(WriteError::Stopped),
        }
    }

    /// Brings one batch to the leader, again and again, until it is committed or too late. Its answers come from
    /// this member's own apply.
    async fn carry(&self, load: Load) {
        let Load { batch, sequences, deadline } = load;
        let clock = &*self.inner.env.clock;
        let sequences = sequences.into_iter();
        let mut asked = None;
        let why = loop {
            let left = deadline.saturating_sub(clock.monotonic());
            let leader = self.inner.raft.leader();
            if asked.is_some() && leader.is_some() && leader != asked {
                crate::sometimes!("a batch followed a change of leader");
            }
            asked = leader.or(asked);
            match within(clock, left, self.attempt(&batch)).await {
                // Whoever asks again cannot know; the machine passes over what it has seen.
                Some(Attempt::Committed) if crate::buggify!("a committed batch is sent again") => {}
                Some(Attempt::Committed) => return self.inner.pending.committed(sequences),
                Some(Attempt::Stopped) => break ProposeError::Stopped,
                Some(Attempt::TryAgain) => {
                    crate::sometimes!("batch sent again");
                    clock.sleep(self.inner.limits.retry_pause).await;
                }
                None => break ProposeError::Timeout,
            }
        };
        self.inner.pending.given_up(sequences, why);
    }

    /// Tries once: by itself when this member leads, else at whoever seems to.
    async fn attempt(&self, batch: &LogBatch) -> Attempt {
        match self.inner.raft.leader() {
            Some(leader) if leader == self.inner.member => match self.inner.raft.write(batch.clone()).await {
                Ok(()) => Attempt::Committed,
                Err(WriteError::NotLeader(_) | WriteError::Unknown) => Attempt::TryAgain,
                Err(WriteError::Stopped) => Attempt::Stopped,
            },
            Some(leader) => {
                let timeout = self.inner.limits.attempt_timeout;
                match self.inner.peers.forward(leader, timeout, batch.bytes.clone()).await {
                    Ok(response) if response.outcome() == Forwarded::Committed => Attempt::Committed,
                    Ok(_) => Attempt::TryAgain,
                    Err(_) => {
                        crate::sometimes!("a forwarded batch or its answer was lost");
                        Attempt::TryAgain
                    }
                }
            }
            None => Attempt::TryAgain,
        }
    }
}

type CoreWriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// Why the leader did not commit a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// Not appended: this member does not lead; who seems to, does.
    NotLeader(Option<MemberId>),
    /// Appended or not, committed or not: nobody knows.
    Unknown,
    /// The consensus core has stopped.
    Stopped,
}

impl From<CoreWriteError> for WriteError {
    fn from(error: CoreWriteError) -> Self {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                WriteError::NotLeader(forward.leader_id.map(MemberId))
            }
            RaftError::APIError(
                ClientWriteError::LogEntryDiscarded(_)
                | ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_),
            ) => WriteError::Unknown,
            RaftError::Fatal(_) => WriteError::Stopped,
        }
    }
}
