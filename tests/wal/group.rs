//! Group commit: order, batching, barriers, the seal, and the end after a failure. Workers and clock move only
//! when a test says so.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::env::{Clock, Disk, Entropy, Env, Process, Worker, Workers};
use quorate::storage::wal::{
    COMMIT_REQUESTS_MAX, SEAL_AFTER, Wal, WalError, WalHandle, WalOptions, WalRecord,
};
use quorate::types::LogIndex;
use quorate_disk::{Call, Config, Fault, FaultKind, SimDisk};
use tokio::sync::oneshot;

use crate::harness::{Dice, IDENTITY, dir, entry, log_id, open_on};

const OPTIONS: WalOptions = WalOptions { segment_bytes: 64 << 10, prepared_segments: 1 };

type Job = Box<dyn FnOnce() -> Box<dyn FnOnce() + Send> + Send>;

/// All workers as one queue that the test drains.
#[derive(Clone, Default)]
struct Jobs(Arc<Mutex<VecDeque<Job>>>);

impl Jobs {
    fn waiting(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn run_one(&self) -> bool {
        let job = self.0.lock().unwrap().pop_front();
        job.map(|job| job()()).is_some()
    }

    fn run_all(&self) {
        while self.run_one() {}
    }
}

impl Worker for Jobs {
    fn submit(&self, job: Job) {
        self.0.lock().unwrap().push_back(job);
    }
}

impl Workers for Jobs {
    fn start(&self, _: &str) -> Arc<dyn Worker> {
        Arc::new(self.clone())
    }
}

/// A clock that stands still until it is moved.
#[derive(Default)]
struct Still {
    sleepers: Mutex<Vec<(Duration, oneshot::Sender<()>)>>,
}

impl Still {
    /// Wakes everyone who sleeps; returns how long each wanted to.
    fn wake_all(&self) -> Vec<Duration> {
        let sleepers = std::mem::take(&mut *self.sleepers.lock().unwrap());
        sleepers
            .into_iter()
            .map(|(duration, sleeper)| {
                assert_eq!(sleeper.send(()), Ok(()), "nobody stops sleeping early");
                duration
            })
            .collect()
    }
}

impl Clock for Still {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (sender, receiver) = oneshot::channel();
        self.sleepers.lock().unwrap().push((duration, sender));
        Box::pin(async move {
            // A clock that is gone wakes its sleepers.
            drop(receiver.await);
        })
    }
}

#[derive(Default)]
struct Obituary(Mutex<Vec<String>>);

impl Process for Obituary {
    fn fatal(&self, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }
}

/// Which request, and how it ended.
type Answer = (u64, Result<(), io::ErrorKind>);

struct World {
    disk: SimDisk,
    mounted: Arc<dyn Disk>,
    jobs: Jobs,
    clock: Arc<Still>,
    process: Arc<Obituary>,
    handle: WalHandle,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl World {
    fn start() -> World {
        let disk = SimDisk::new(Config::new(1));
        let mounted: Arc<dyn Disk> = disk.mount();
        let entropy: Arc<dyn Entropy> = Dice::new(1);
        let (wal, _) =
            Wal::open(Arc::clone(&mounted), &dir(), IDENTITY, OPTIONS, Arc::clone(&entropy)).unwrap();
        let (jobs, clock, process) =
            (Jobs::default(), Arc::new(Still::default()), Arc::new(Obituary::default()));
        let env = Env {
            clock: clock.clone(),
            disk: Arc::clone(&mounted),
            entropy,
            workers: Arc::new(jobs.clone()),
            process: process.clone(),
        };
        let handle = WalHandle::start(wal, env);
        jobs.run_all();
        World { disk, mounted, jobs, clock, process, handle, answers: Arc::default() }
    }

    fn append(&self, number: u64, records: Vec<WalRecord>) {
        let answers = Arc::clone(&self.answers);
        self.handle.append(
            records,
            Box::new(move |result| {
                answers.lock().unwrap().push((number, result.map_err(|error| error.kind())));
            }),
        );
    }

    fn append_entry(&self, index: u64) {
        self.append(index, vec![entry(1, index, b"x")]);
    }

    fn answered(&self) -> Vec<u64> {
        let answers = self.answers.lock().unwrap();
        assert!(answers.iter().all(|(_, result)| result.is_ok()), "{answers:?}");
        answers.iter().map(|(number, _)| *number).collect()
    }

    fn recovered_last(self) -> Option<LogIndex> {
        drop(self.handle);
        self.disk.power_loss(1);
        let (_, recovered) = open_on(&self.disk, IDENTITY).unwrap();
        recovered.entries.last().map(|entry| entry.log_id.index)
    }
}

/// Lets the seal timer's task run until it waits again.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_while_one_commit_syncs_becomes_the_next() {
    let world = World::start();
    for index in 0..10 {
        world.append_entry(index);
    }
    assert_eq!(world.jobs.waiting(), 1, "one commit is under way");
    let before = world.disk.counters();
    world.jobs.run_one();
    assert_eq!(world.answered(), [0]);
    assert_eq!(world.disk.counters().syncs - before.syncs, 1);
    world.jobs.run_one();
    assert_eq!(world.answered(), (0..10).collect::<Vec<u64>>(), "in order");
    assert_eq!(world.disk.counters().syncs - before.syncs, 2, "nine requests, one sync");
    assert_eq!(world.recovered_last(), Some(LogIndex(9)));
}

#[tokio::test]
async fn one_commit_takes_a_bounded_number_of_requests() {
    let world = World::start();
    let requests = COMMIT_REQUESTS_MAX as u64 + 10;
    for index in 0..=requests {
        world.append_entry(index);
    }
    world.jobs.run_one();
    world.jobs.run_one();
    assert_eq!(world.answered().len(), 1 + COMMIT_REQUESTS_MAX);
    world.jobs.run_all();
    assert_eq!(world.answered().len() as u64, requests + 1);
}

#[tokio::test]
async fn a_barrier_waits_for_everything_before_it_and_nothing_after() {
    let world = World::start();
    world.handle.barrier().await.unwrap();
    world.append_entry(0);
    world.append_entry(1);
    let mut barrier = Box::pin(world.handle.barrier());
    world.jobs.run_one();
    assert!(futures_util::poll!(&mut barrier).is_pending(), "the second is not durable yet");
    world.jobs.run_one();
    world.append_entry(2);
    assert!(futures_util::poll!(&mut barrier).is_ready(), "the third does not matter");
    assert_eq!(world.answered(), [0, 1]);
}

#[tokio::test]
async fn a_barrier_that_nobody_polls_holds_its_place_all_the_same() {
    let world = World::start();
    world.append_entry(0);
    let barrier = world.handle.barrier();
    world.append_entry(1);
    world.jobs.run_all();
    barrier.await.unwrap();
}

#[tokio::test]
async fn quiet_is_sealed_once_and_only_quiet() {
    let world = World::start();
    world.append_entry(0);
    world.jobs.run_all();
    settle().await;
    // Something follows in time: no seal.
    world.append_entry(1);
    assert_eq!(world.clock.wake_all(), [SEAL_AFTER]);
    settle().await;
    assert_eq!(world.jobs.waiting(), 1, "the commit alone");
    world.jobs.run_all();
    settle().await;
    world.handle.note_committed(log_id(1, 1));
    let before = world.disk.counters();
    world.clock.wake_all();
    settle().await;
    assert_eq!(world.jobs.waiting(), 1, "the seal");
    world.jobs.run_all();
    assert_eq!(world.disk.counters().syncs - before.syncs, 1);
    settle().await;
    assert!(world.clock.wake_all().is_empty(), "nobody waits for a second seal");
    drop(world.handle);
    world.disk.power_loss(1);
    let (_, recovered) = open_on(&world.disk, IDENTITY).unwrap();
    assert_eq!(recovered.committed, Some(log_id(1, 1)), "the seal took the commit mark along");
}

#[tokio::test]
async fn a_failed_sync_ends_the_process_and_answers_nobody_with_success() {
    let world = World::start();
    world.append_entry(0);
    world.jobs.run_all();
    world.disk.inject(Fault { call: Call::Sync, path: None, nth: 1, kind: FaultKind::Eio });
    world.append_entry(1);
    world.append_entry(2);
    let barrier = world.handle.barrier();
    world.jobs.run_all();
    assert!(barrier.await.is_err());
    world.append_entry(3);
    assert!(world.handle.barrier().await.is_err());
    assert_eq!(world.jobs.waiting(), 0, "nothing is tried again");
    let answers = world.answers.lock().unwrap().clone();
    let numbers: Vec<(u64, bool)> =
        answers.iter().map(|(number, result)| (*number, result.is_ok())).collect();
    assert_eq!(numbers, [(0, true), (1, false), (2, false), (3, false)]);
    let reasons = world.process.0.lock().unwrap().clone();
    assert_eq!(reasons.len(), 1, "told once: {reasons:?}");
    assert!(reasons[0].contains("cannot sync at offset"), "{reasons:?}");
}

#[tokio::test]
async fn a_purge_recycles_off_the_answer_path_and_shrinks_the_log() {
    let world = World::start();
    for index in 0..40 {
        world.append(index, vec![entry(1, index, &[1; 3000])]);
        world.jobs.run_all();
    }
    let (size, names) = (world.handle.size_bytes(), world.disk.counters().names);
    world.append(40, vec![WalRecord::Purge(log_id(1, 38))]);
    world.jobs.run_one();
    assert_eq!(world.answered().last(), Some(&40));
    assert_eq!(world.disk.counters().names, names, "answered before anything is recycled");
    world.jobs.run_all();
    assert!(world.disk.counters().names > names, "recycled");
    assert!(world.handle.size_bytes() < size / 4);
    assert_eq!(world.recovered_last(), Some(LogIndex(39)));
}

#[tokio::test]
async fn a_disk_too_full_for_a_spare_is_no_failure_yet() {
    let world = World::start();
    let used: usize = crate::harness::files_of(&world.disk).iter().map(|(_, bytes)| bytes.len()).sum();
    world.disk.set_capacity(used as u64);
    let mut index = 0;
    while world.process.0.lock().unwrap().is_empty() {
        assert!(index < 100, "the disk never fills");
        world.append(index, vec![entry(1, index, &[1; 3000])]);
        world.jobs.run_all();
        index += 1;
    }
    // Ten blocks were left in the first segment, eleven in the spare.
    assert_eq!(index, 22, "both segments are filled first");
    let reasons = world.process.0.lock().unwrap().clone();
    assert!(reasons[0].starts_with("no space for write-ahead log segment"), "{reasons:?}");
}

#[tokio::test]
async fn the_log_is_let_go_when_the_last_handle_is() {
    let world = World::start();
    let open = || Wal::open(Arc::clone(&world.mounted), &dir(), IDENTITY, OPTIONS, Dice::new(2));
    world.append_entry(0);
    let clone = world.handle.clone();
    drop(world.handle);
    world.jobs.run_all();
    settle().await;
    assert!(matches!(open(), Err(WalError::Locked { .. })), "a handle is left");
    drop(clone);
    // The seal timer may be asleep; it ends when it wakes.
    settle().await;
    world.clock.wake_all();
    settle().await;
    let (_, recovered) = open().unwrap();
    assert_eq!(recovered.entries.len(), 1);
}
