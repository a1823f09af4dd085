//! Who asks when: threads with connections and clients of their own, in a closed or in an open loop.

use std::io::{IsTerminal as _, Write as _};
use std::process::id as own_pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use super::args::{Shape, Work};
use super::process::Costs;
use super::tally::{Tally, to_f64};
use super::watcher::Watcher;
use super::work::Worker;
use crate::cli::ctl::client::{Client, Target};
use crate::cli::ctl::error::{CtlError, Exit};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Characters of the bar that shows it.
const BAR: u64 = 30;

/// When what happens.
#[derive(Clone, Copy, Debug)]
struct Times {
    begin: Instant,
    /// From here on is measured.
    from: Instant,
    /// Until here; for ever where the work itself ends.
    until: Option<Instant>,
}

/// What all threads share.
struct Shared {
    /// All are connected; and then, all know the times.
    gate: Barrier,
    times: OnceLock<Times>,
    /// Operations that have ended, for progress.
    done: AtomicU64,
    filled: Arc<AtomicU64>,
    /// Threads that are at work.
    running: AtomicU64,
}

/// Carries out the load; what came of it.
///
/// # Errors
/// No connection, or no threads.
pub fn run(target: &Target, shape: &Shape, work: &Work) -> Result<Tally, CtlError> {
    let threads = usize::try_from(shape.threads).unwrap_or(usize::MAX);
    let shared = Shared {
        gate: Barrier::new(threads + 1),
        times: OnceLock::new(),
        done: AtomicU64::new(0),
        filled: Arc::default(),
        running: AtomicU64::new(u64::from(shape.threads)),
    };
    std::thread::scope(|scope| {
        let mut parts = Vec::new();
        for nth in 0..shape.threads {
            let (shared, work) = (&shared, *work);
            parts.push(scope.spawn(move || {
                let part = on_a_thread(target, shape, work, nth, shared);
                shared.running.fetch_sub(1, Ordering::Release);
                part
            }));
        }
        shared.gate.wait();
        let begin = Instant::now();
        let times = match work {
            Work::Fill => Times { begin, from: begin, until: None },
            _ => {
                let from = begin + shape.warm_up;
                Times { begin, from, until: Some(from + shape.duration) }
            }
        };
        // Set once, here.
        let _first = shared.times.set(times);
        shared.gate.wait();
        let (costs, ended) = watch_over(times, shape, &shared);
        let mut tally = Tally::default();
        for part in parts {
            let part = part.join().map_err(|_| CtlError::new(Exit::Error, "a thread of the load died"))?;
            tally.add(&part?);
        }
        tally.costs = costs;
        tally.measured = ended.saturating_duration_since(times.from);
        Ok(tally)
    })
}

/// Tells how far the load is, and looks at processes when the measurement begins and when it ends; when that was.
fn watch_over(times: Times, shape: &Shape, shared: &Shared) -> (Costs, Instant) {
    let mut pids = shape.pids.clone();
    pids.push(own_pid());
    let mut costs = None;
    let tells = !shape.quiet && std::io::stderr().is_terminal();
    loop {
        let now = Instant::now();
        if costs.is_none() && now >= times.from {
            costs = Some(Costs::begin(&pids));
        }
        if times.until.is_some_and(|until| now >= until) || shared.running.load(Ordering::Acquire) == 0 {
            let mut costs = costs.unwrap_or_else(|| Costs::begin(&pids));
            costs.end();
            if tells {
                eprint!("\r\x1b[K");
            }
            return (costs, now);
        }
        if tells {
            tell(times, shape, shared, now);
        }
        let next = [Some(now + TELL_EVERY), times.until, costs.is_none().then_some(times.from)];
        let next = next.into_iter().flatten().min().unwrap_or(now);
        std::thread::sleep(next.saturating_duration_since(now));
    }
}

fn tell(times: Times, shape: &Shape, shared: &Shared, now: Instant) {
    let done = shared.done.load(Ordering::Relaxed);
    let passed = now.saturating_duration_since(times.begin);
    let share = match times.until {
        Some(until) => passed.as_secs_f64() / (until - times.begin).as_secs_f64(),
        None => to_f64(done) / to_f64(shape.keys),
    };
    let full = (0..BAR).filter(|mark| to_f64(*mark) < share * to_f64(BAR)).count();
    let rate = to_f64(done) / passed.as_secs_f64().max(0.001);
    let bar = format!("{:.<width$}", "#".repeat(full), width = usize::try_from(BAR).unwrap_or(0));
    eprint!("\r[{bar}] {:.0} s, {done} operations, {rate:.0}/s\x1b[K", passed.as_secs_f64());
    // Where nobody can be told, nothing is lost.
    let _ = std::io::stderr().flush();
}

/// How many of `all` things the `nth` of `parts` has, dealt out in turn.
fn share(all: u32, parts: u32, nth: u32) -> u32 {
    let (each, left) = (all.checked_div(parts).unwrap_or(0), all.checked_rem(parts).unwrap_or(0));
    each + u32::from(nth < left)
}

fn on_a_thread(
    target: &Target,
    shape: &Shape,
    work: Work,
    thread: u32,
    shared: &Shared,
) -> Result<Tally, CtlError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let connected = runtime.map_err(CtlError::from).and_then(|runtime| {
        let parties = runtime.block_on(gather(target, shape, work, thread, shared))?;
        Ok((runtime, parties))
    });
    // All come to the gate, whatever they bring: nobody waits for who has failed.
    shared.gate.wait();
    shared.gate.wait();
    let (runtime, Parties { workers, watchers }) = connected?;
    let times = shared.times.get().copied();
    let times = times.ok_or_else(|| CtlError::new(Exit::Error, "the load has no times"))?;
    runtime.block_on(async {
        let asking = workers.into_iter().map(|(number, worker)| {
            // Where writes are watched it is their way to the watchers that is measured.
            let measured = !matches!(work, Work::Watch { .. });
            client(worker, shape, number, times, measured, &shared.done)
        });
        let watching =
            watchers.into_iter().map(|watcher| watcher.follow(shape.epoch, times.from, times.until));
        let (asked, watched) =
            tokio::join!(futures_util::future::join_all(asking), futures_util::future::join_all(watching));
        let mut whole = Tally::default();
        asked.iter().chain(&watched).for_each(|part| whole.add(part));
        Ok(whole)
    })
}

/// Who acts on a thread.
struct Parties {
    /// Clients, each with its number among those of all threads.
    workers: Vec<(u64, Worker)>,
    watchers: Vec<Watcher>,
}

async fn gather(
    target: &Target,
    shape: &Shape,
    work: Work,
    thread: u32,
    shared: &Shared,
) -> Result<Parties, CtlError> {
    let connections = connect(target, shape, thread, share(shape.connections, shape.threads, thread)).await?;
    let (mut workers, mut watchers) = (Vec::new(), Vec::new());
    let clients = share(shape.clients, shape.threads, thread);
    for (nth, connection) in (0..clients).zip(connections.iter().cycle()) {
        // Numbered over all threads: no two draw alike.
        let number = u64::from(nth) * u64::from(shape.threads) + u64::from(thread);
        let mut worker = Worker::new(connection.clone(), work, shape, number, shared.filled.clone());
        worker.prepare().await?;
        workers.push((number, worker));
    }
    if let Work::Watch { watchers: all } = work {
        for (_, connection) in (0..share(all, shape.threads, thread)).zip(connections.iter().cycle()) {
            watchers.push(Watcher::open(connection).await?);
        }
    }
    Ok(Parties { workers, watchers })
}

async fn connect(target: &Target, shape: &Shape, thread: u32, own: u32) -> Result<Vec<Client>, CtlError> {
    let mut clients = Vec::new();
    for nth in 0..own {
        let number = usize::try_from(nth * shape.threads + thread).unwrap_or(0);
        let endpoint = number.checked_rem(target.endpoints.len()).and_then(|at| target.endpoints.get(at));
        let endpoint = endpoint.ok_or_else(|| CtlError::bad_args("no endpoint given"))?;
        clients.push(target.connect_to(endpoint).await?);
    }
    Ok(clients)
}

/// One client, until its time is over.
async fn client(
    mut worker: Worker,
    shape: &Shape,
    number: u64,
    times: Times,
    measured: bool,
    done: &AtomicU64,
) -> Tally {
    let mut tally = Tally::default();
    let mut schedule = shape.rate.map(|rate| Schedule::new(rate, shape.clients, number, times.begin));
    loop {
        let due = match &mut schedule {
            None => Instant::now(),
            Some(schedule) => schedule.next(),
        };
        if times.until.is_some_and(|until| due >= until) {
            return tally;
        }
        if schedule.is_some() {
            tokio::time::sleep_until(due.into()).await;
        }
        let counts = due >= times.from;
        let answer = match times.until {
            None => Some(worker.perform(due).await),
            Some(until) => tokio::time::timeout_at(until.into(), worker.perform(due)).await.ok(),
        };
        match answer {
            Some(Ok(None)) => return tally,
            Some(Ok(Some(keys))) => {
                done.fetch_add(1, Ordering::Relaxed);
                if counts && measured {
                    tally.latencies.record(due.elapsed());
                    tally.keys_read += keys;
                }
                tally.writes += u64::from(counts && !measured);
            }
            Some(Err(status)) if counts => tally.fail(&status),
            Some(Err(_)) => {}
            None => {
                // What was due in time and has not been answered by the end has taken at least that long.
                tally.unanswered += u64::from(counts && schedule.is_some());
                if let (Some(schedule), Some(until)) = (&schedule, times.until) {
                    tally.unanswered += schedule.due_before(until);
                }
                return tally;
            }
        }
    }
}

/// When a client's operations are due, in an open loop.
struct Schedule {
    first: Instant,
    /// Nanoseconds between two operations of all clients together, times the number of clients.
    every: Duration,
    nth: u32,
}

impl Schedule {
    /// Of the client of this number among `clients` that ask `rate` operations a second together.
    fn new(rate: u64, clients: u32, number: u64, begin: Instant) -> Schedule {
        let apart = Duration::from_nanos(1_000_000_000_u64.checked_div(rate).unwrap_or(0).max(1));
        let offset = apart.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        Schedule { first: begin + offset, every: apart.saturating_mul(clients), nth: 0 }
    }

    /// When the next is due.
    fn next(&mut self) -> Instant {
        let due = self.first + self.every.saturating_mul(self.nth);
        self.nth = self.nth.saturating_add(1);
        due
    }

    /// How many more are due before this.
    fn due_before(&self, end: Instant) -> u64 {
        let all = end.saturating_duration_since(self.first).as_nanos().div_ceil(self.every.as_nanos().max(1));
        u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(u64::from(self.nth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_connections_are_dealt_out() {
        assert_eq!([0, 1, 2].map(|nth| share(8, 3, nth)), [3, 3, 2]);
        assert_eq!(share(1, 1, 0), 1);
    }

    #[test]
    fn operations_of_an_open_loop_are_evenly_due_whoever_asks_them() {
        let begin = Instant::now();
        let mut due: Vec<Duration> = (0..4)
            .flat_map(|number| {
                let mut schedule = Schedule::new(100, 4, number, begin);
                [schedule.next(), schedule.next()]
            })
            .map(|due| due - begin)
            .collect();
        due.sort();
        assert_eq!(due, (0..8).map(|nth| Duration::from_millis(10 * nth)).collect::<Vec<_>>());
        let mut schedule = Schedule::new(100, 1, 0, begin);
        assert_eq!(schedule.due_before(begin + Duration::from_millis(45)), 5);
        assert_eq!(
            schedule.due_before(begin + Duration::from_millis(40)),
            4,
            "what is due then is due too late"
        );
        schedule.next();
        assert_eq!(schedule.due_before(begin + Duration::from_millis(45)), 4);
        assert_eq!(schedule.due_before(begin), 0);
        // More than anybody would count one by one.
        let often = Schedule::new(1_000_000_000, 1, 0, begin);
        assert_eq!(often.due_before(begin + Duration::from_secs(10)), 10_000_000_000);
    }
}
