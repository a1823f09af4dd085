//! [`WalHandle`]: group commit. Requests that wait while one commit is syncing become the next commit.
//!
//! Invariants: requests become durable, and are answered, strictly in the order they were handed in; a request
//! is answered with success only after the sync that covers it; after the first failure the process is told to
//! end, and every request that is open or comes later is answered with an error, never tried again.
//! When nothing follows a commit for [`SEAL_AFTER`], a seal is appended off the answer path. Recycling and the
//! making of spare segments happen off the answer path too.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::batch::batch_bytes;
use super::error::WalError;
use super::record::WalRecord;
use super::recycle::SparePlan;
use super::state::further;
use super::writer::Wal;
use crate::env::{Clock, Env, Worker};
use crate::types::LogId;

/// How long a last batch may stand without something durable behind it that vouches for it. The window in which
/// a torn batch and a rotten one cannot be told apart.
pub const SEAL_AFTER: Duration = Duration::from_millis(5);
/// One commit takes no further request once it holds this many bytes; a single larger request goes alone.
pub const COMMIT_BYTES_MAX: u64 = 8 << 20;
/// One commit takes at most this many requests.
pub const COMMIT_REQUESTS_MAX: usize = 1024;

/// What is called when a request is durable, or never will be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What a job leaves to do once its time has passed.
type AfterJob = Box<dyn FnOnce() + Send>;

struct Request {
    /// Empty for a barrier.
    records: Vec<WalRecord>,
    done: Done,
}

/// Cheap to clone; when the last handle is gone the log is closed as soon as its open requests are answered.
#[derive(Clone)]
pub struct WalHandle {
    front: Arc<Front>,
}

/// Closes the seal timer when the last handle goes.
struct Front {
    shared: Arc<Shared>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.quiet.notify_one();
    }
}

struct Shared {
    env: Env,
    queue: Mutex<Queue>,
    /// Locked only inside jobs and their completions; one commit runs at a time.
    wal: Mutex<Wal>,
    commits: Arc<dyn Worker>,
    spares: Arc<dyn Worker>,
    /// Told when a commit ended and nothing follows.
    quiet: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Request>,
    committed: Option<LogId>,
    /// A commit or seal is under way.
    busy: bool,
    /// Whether the last batch has no seal behind it.
    unsealed: bool,
    /// Counts commits.
    commits: u64,
    size_bytes: u64,
    failed: Option<(io::ErrorKind, String)>,
    closed: bool,
}

impl Queue {
    fn failure(&self) -> Option<io::Error> {
        let (kind, reason) = self.failed.as_ref()?;
        Some(io::Error::new(*kind, reason.clone()))
    }

    /// The requests of the next commit.
    fn next(&mut self) -> Vec<Request> {
        let mut taken = Vec::new();
        let mut bytes = 0_u64;
        while taken.len() < COMMIT_REQUESTS_MAX {
            let Some(request) = self.waiting.front() else { break };
            let more = bytes.saturating_add(batch_bytes(&request.records));
            if !taken.is_empty() && more > COMMIT_BYTES_MAX {
                break;
            }
            bytes = more;
            taken.extend(self.waiting.pop_front());
        }
        taken
    }
}

/// What a job under the log's lock found to do afterwards.
struct Chores {
    recycle: bool,
    plan: Option<SparePlan>,
    size_bytes: u64,
}

impl WalHandle {
    /// Takes the log over and starts its workers and its seal timer. Call inside the runtime.
    pub fn start(wal: Wal, env: Env) -> WalHandle {
        let queue = Queue { size_bytes: wal.size_bytes(), ..Queue::default() };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            wal: Mutex::new(wal),
            commits: env.workers.start("wal"),
            spares: env.workers.start("wal-spares"),
            quiet: Notify::new(),
            env,
        });
        tokio::spawn(seal_when_quiet(Arc::clone(&shared)));
        // What the last start left to recycle or to prepare.
        shared.maintain();
        WalHandle { front: Arc::new(Front { shared }) }
    }

    /// Hands in records that become durable together; `done` is called once they are, on the log's worker, so
    /// it must be short. Requests become durable in the order of these calls.
    pub fn append(&self, records: Vec<WalRecord>, done: Done) {
        let shared = &self.front.shared;
        let mut queue = shared.queue();
        if let Some(error) = queue.failure() {
            drop(queue);
            return done(Err(error));
        }
        queue.waiting.push_back(Request { records, done });
        drop(queue);
        shared.pump();
    }

    /// Notes the newest committed entry. It rides in the next batch's header and costs no sync.
    pub fn note_committed(&self, committed: LogId) {
        let mut queue = self.front.shared.queue();
        queue.committed = further(queue.committed, Some(committed));
    }

    /// Completes when every request accepted before this call is durable, with an error when one never will be.
    /// The place in the order is taken by the call, not by the first poll.
    pub fn barrier(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may be gone; the order is kept all the same.
        self.append(Vec::new(), Box::new(move |result| drop(sender.send(result))));
        async move {
            receiver.await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "the write-ahead log's worker has ended"))
            })
        }
    }

    /// The member's clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.front.shared.env.clock.clone()
    }

    /// Bytes written since the oldest entry that is not purged, as of the last commit.
    pub fn size_bytes(&self) -> u64 {
        self.front.shared.queue().size_bytes
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wal(&self) -> MutexGuard<'_, Wal> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the next commit unless one is under way.
    fn pump(self: &Arc<Self>) {
        loop {
            let mut queue = self.queue();
            if queue.busy || queue.failed.is_some() || queue.waiting.is_empty() {
                return;
            }
            let requests = queue.next();
            if requests.iter().all(|request| request.records.is_empty()) {
                // Barriers alone: everything before them is durable, for nothing is under way. Still busy while
                // they are answered, so that no later request overtakes them.
                queue.busy = true;
                drop(queue);
                requests.into_iter().for_each(|request| (request.done)(Ok(())));
                self.queue().busy = false;
                continue;
            }
            queue.busy = true;
            queue.commits = queue.commits.saturating_add(1);
            let committed = queue.committed;
            drop(queue);
            let shared = Arc::clone(self);
            let commits = Arc::clone(&self.commits);
            let submit = move || commits.submit(Box::new(move || shared.commit(requests, committed)));
            crate::disturb_then!("a commit of the log begins late", &self.env.clock, submit);
            return;
        }
    }

    /// The job: one batch, one sync.
    fn commit(self: Arc<Self>, requests: Vec<Request>, committed: Option<LogId>) -> AfterJob {
        let mut records = Vec::new();
        let mut dones = Vec::with_capacity(requests.len());
        for request in requests {
            records.extend(request.records);
            dones.push(request.done);
        }
        let (result, chores) = {
            let mut wal = self.wal();
            let mut result = wal.commit(&records, committed).map(drop);
            // The planted bug goes on, because the log can, and forgets that the records are nowhere.
            if result.as_ref().is_err_and(WalError::is_harmless)
                && crate::mutant!("wal-no-space-answered-as-done")
            {
                result = Ok(());
            }
            (result, chores(&mut wal))
        };
        Box::new(move || {
            let clock = self.env.clock.clone();
            let ended = move || self.ended(result, dones, true, chores);
            crate::disturb_then!("a commit of the log is told of late", &clock, ended);
        })
    }

    /// The job of a seal.
    fn seal(self: Arc<Self>, committed: Option<LogId>) -> AfterJob {
        let (result, chores) = {
            let mut wal = self.wal();
            if let Some(committed) = committed {
                wal.note_committed(committed);
            }
            let result = wal.seal().map(drop);
            (result, chores(&mut wal))
        };
        Box::new(move || self.ended(result, Vec::new(), false, chores))
    }

    /// After a commit or seal: the next one is started before this one's requests are answered, so that the
    /// disk does not wait for the answers.
    fn ended(
        self: Arc<Self>,
        result: Result<(), WalError>,
        dones: Vec<Done>,
        unsealed: bool,
        chores: Chores,
    ) {
        if let Err(error) = result {
            return self.fail(error, dones);
        }
        {
            let mut queue = self.queue();
            queue.busy = false;
            queue.unsealed = unsealed;
            queue.size_bytes = chores.size_bytes;
        }
        if chores.recycle {
            self.maintain();
        }
        self.make_spare(chores.plan);
        self.pump();
        dones.into_iter().for_each(|done| done(Ok(())));
        self.quiet.notify_one();
    }

    /// Recycles what is purged, in a job of its own: it delays later commits, never an answer due now.
    fn maintain(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.commits.submit(Box::new(move || {
            let (result, chores) = {
                let mut wal = shared.wal();
                let result = wal.recycle();
                (result, chores(&mut wal))
            };
            Box::new(move || match result {
                Ok(()) => shared.make_spare(chores.plan),
                Err(error) => shared.fail(error, Vec::new()),
            })
        }));
    }

    fn make_spare(self: &Arc<Self>, plan: Option<SparePlan>) {
        let Some(plan) = plan else { return };
        let shared = Arc::clone(self);
        self.spares.submit(Box::new(move || {
            let made = plan.carry_out();
            Box::new(move || match made {
                Ok(spare) => shared.wal().planned_spare(Some(spare)),
                Err(error) if error.is_harmless() => {
                    // Nothing was promised yet: the next full segment tries again, and only that is fatal.
                    tracing::warn!(%error, "cannot prepare a spare write-ahead log segment");
                    shared.wal().planned_spare(None);
                }
                Err(error) => shared.fail(error, Vec::new()),
            })
        }));
    }

    /// The end: the process is told, and nobody is told that anything succeeded.
    fn fail(self: &Arc<Self>, error: WalError, mut dones: Vec<Done>) {
        let reason = error.to_string();
        let kind = io::Error::from(error).kind();
        let first = {
            let mut queue = self.queue();
            let first = queue.failed.is_none();
            queue.failed.get_or_insert((kind, reason.clone()));
            dones.extend(queue.waiting.drain(..).map(|request| request.done));
            first
        };
        if first {
            self.env.process.fatal(&reason);
        }
        dones.into_iter().for_each(|done| done(Err(io::Error::new(kind, reason.clone()))));
        self.quiet.notify_one();
    }
}

fn chores(wal: &mut Wal) -> Chores {
    Chores { recycle: wal.can_recycle(), plan: wal.plan_spare(), size_bytes: wal.size_bytes() }
}

/// Appends a seal whenever nothing followed a commit for [`SEAL_AFTER`].
async fn seal_when_quiet(shared: Arc<Shared>) {
    loop {
        shared.quiet.notified().await;
        loop {
            let seen = {
                let queue = shared.queue();
                if queue.closed || queue.failed.is_some() {
                    return;
                }
                if !queue.unsealed {
                    break;
                }
                queue.commits
            };
            if !crate::buggify!("the log is sealed at once") {
                shared.env.clock.sleep(SEAL_AFTER).await;
            }
            crate::disturb!("the log is sealed late", &*shared.env.clock);
            let mut queue = shared.queue();
            if queue.closed || queue.busy || queue.commits != seen {
                // Something followed; its end is waited for again.
                continue;
            }
            queue.busy = true;
            queue.unsealed = false;
            let committed = queue.committed;
            drop(queue);
            let sealing = Arc::clone(&shared);
            shared.commits.submit(Box::new(move || sealing.seal(committed)));
        }
    }
}
