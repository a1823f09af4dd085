//! Blocking work in simulated time: a task a worker, which runs a job, sleeps off what the disk says it took, and
//! only then hands over the result.
//!
//! So a kill can land between the work and its result, and, with the drawn delay before a job, before the work.
//! A sleep lasts at least a millisecond; smaller debts are kept and paid together.

use std::sync::Arc;
use std::time::Duration;

use madsim::runtime::NodeHandle;
use quorate::env::{Job, Worker, Workers};
use quorate_disk::SimDisk;
use tokio::sync::mpsc;

use super::time::Time;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::{Knobs, MemberIndex};

/// The shortest sleep there is.
const SLEEP_LEAST: Duration = Duration::from_millis(1);

/// Makes the workers of one process life.
pub struct SimWorkers {
    /// Where they run.
    pub node: NodeHandle,
    /// Whose disk they use.
    pub disk: SimDisk,
    /// Simulated time.
    pub time: Time,
    /// Delays.
    pub knobs: Knobs,
    /// Keys the delays.
    pub schedule_seed: u64,
    /// Whose workers.
    pub member: MemberIndex,
    /// Of which life.
    pub life: u64,
}

struct SimWorker {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Worker for SimWorker {
    fn submit(&self, job: Job) {
        // The worker is gone only when its process is dying; then the job is dropped.
        drop(self.jobs.send(job));
    }
}

impl Workers for SimWorkers {
    fn start(&self, name: &str) -> Arc<dyn Worker> {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let (disk, time, knobs) = (self.disk.clone(), self.time.clone(), self.knobs);
        let (seed, life) = (self.schedule_seed, self.life);
        let mut place = u64::from(self.member.0);
        for byte in name.bytes() {
            place = place.wrapping_mul(257).wrapping_add(u64::from(byte));
        }
        self.node.spawn(async move {
            let mut owed = Duration::ZERO;
            let mut count = 0_u64;
            while let Some(job) = queue.recv().await {
                count += 1;
                let mut dice =
                    Dice::keyed_twice(seed, Purpose::Job, place, life.wrapping_mul(1 << 32) + count);
                if dice.permille(knobs.late_job_permille) {
                    time.sleep(Duration::from_micros(knobs.late_job_us.draw(&mut dice))).await;
                }
                let completion = job();
                owed += disk.take_latency();
                if owed >= SLEEP_LEAST {
                    time.sleep(std::mem::take(&mut owed)).await;
                }
                completion();
            }
        });
        Arc::new(SimWorker { jobs })
    }
}
