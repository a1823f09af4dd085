//! Blocking work: in production a named thread, in the simulator a task that is charged simulated time.

use std::io;
use std::sync::Arc;

/// What is left to do once a job's time has passed: hand over its result.
pub type Completion = Box<dyn FnOnce() + Send>;

/// A job: runs to its end without yielding and returns its completion.
pub type Job = Box<dyn FnOnce() -> Completion + Send>;

/// One sequential place for blocking work. Jobs run one after the other, in the order submitted.
pub trait Worker: Send + Sync + 'static {
    /// Queues a job. A worker that has ended (its process is dying) drops it.
    fn submit(&self, job: Job);
}

/// Makes workers.
pub trait Workers: Send + Sync + 'static {
    /// Starts a worker of this name; it ends when the last handle is dropped and its queue is empty.
    fn start(&self, name: &str) -> Arc<dyn Worker>;
}

/// Runs `job` on `worker` and waits for what it returns.
///
/// # Errors
/// `BrokenPipe` when the worker ended before the job was done.
pub async fn run<T: Send + 'static>(
    worker: &dyn Worker,
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    worker.submit(Box::new(move || {
        let result = job();
        // The receiver is gone when the caller was cancelled; the work is done all the same.
        Box::new(move || drop(sender.send(result)))
    }));
    receiver.await.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the worker has ended"))
}
