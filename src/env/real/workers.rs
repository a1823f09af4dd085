//! Blocking work on named threads: one thread a worker, jobs in the order submitted.
//!
//! The queue has no limit of its own: who submits waits for the result, or bounds what is in flight.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::env::work::Job;
use crate::env::{Worker, Workers};

/// Starts threads.
#[derive(Debug)]
pub struct RealWorkers;

impl Workers for RealWorkers {
    fn start(&self, name: &str) -> Arc<dyn Worker> {
        let (sender, jobs) = channel::<Job>();
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Ends when the last handle is gone and the queue is empty.
            for job in jobs {
                let complete = job();
                complete();
            }
        });
        if let Err(error) = started {
            // The queue's other end is gone with the closure, so every job is dropped and its caller told.
            tracing::error!(name, %error, "cannot start a thread");
        }
        Arc::new(RealWorker { jobs: sender })
    }
}

#[derive(Debug)]
struct RealWorker {
    jobs: Sender<Job>,
}

impl Worker for RealWorker {
    fn submit(&self, job: Job) {
        // A thread that has ended drops the job; the caller learns it from the completion that never comes.
        drop(self.jobs.send(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::env::run;

    #[tokio::test]
    async fn jobs_run_one_after_the_other_on_the_named_thread() {
        let worker = RealWorkers.start("wal");
        let order = Arc::new(Mutex::new(Vec::new()));
        for nth in 0..10 {
            let order = Arc::clone(&order);
            worker.submit(Box::new(move || {
                order.lock().unwrap().push(nth);
                Box::new(|| {})
            }));
        }
        let name = run(&*worker, || thread::current().name().map(str::to_owned)).await.unwrap();
        assert_eq!(name.as_deref(), Some("wal"));
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_dropped_worker_finishes_its_queue_first() {
        let worker = RealWorkers.start("queue");
        let (sender, receiver) = mpsc::channel();
        for nth in 0..3 {
            let sender = sender.clone();
            worker.submit(Box::new(move || Box::new(move || sender.send(nth).unwrap())));
        }
        drop((worker, sender));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_caller_is_told_when_its_worker_died() {
        let worker = RealWorkers.start("short-lived");
        worker.submit(Box::new(|| panic!("a planted panic")));
        let error = run(&*worker, || ()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
}
