//! Many runs, a process each: what they found, whether they were eventful, whether a seed runs twice the same.
//!
//! This is the parent's side and runs outside any simulation, so it may use threads, processes and host time.

pub(crate) mod child;
mod ledger;
mod measure;
mod score;
mod summary;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use quorate_check::verdict::Class;

use crate::cli::{MutantsArgs, SweepArgs};
use crate::progress::Progress;
use crate::report::{Report, gravity};
use child::{Children, Surroundings};

pub use measure::{measure, sample, today};
pub use summary::Summary;

/// A sweep to come.
#[derive(Debug)]
pub struct Sweep {
    args: SweepArgs,
    children: Children,
}

/// What one job brings: a seed's report, and whether it was run twice.
struct Done {
    report: Report,
    doubled: bool,
}

impl Sweep {
    /// A sweep with these arguments.
    ///
    /// # Errors
    /// When this program cannot find itself, or has no place for its files.
    pub fn new(args: SweepArgs) -> Result<Sweep, String> {
        let children = Children::new(args.mutant.clone(), Duration::from_secs(args.seed_timeout))?;
        Ok(Sweep { args, children })
    }

    /// Runs it to its end.
    pub fn run(&self) -> Summary {
        self.run_until(|_| self.args.stop_at_first)
    }

    /// Runs until the seeds or the time are used up, or a failed report satisfies `enough`.
    fn run_until(&self, enough: impl Fn(&Report) -> bool) -> Summary {
        let (started, progress) = (Instant::now(), Progress::default());
        let deadline = self.args.minutes.map(|minutes| started + Duration::from_secs(minutes * 60));
        let seeds = Mutex::new(self.args.seeds.clone());
        let stop = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel::<Done>();
        let mut reports = BTreeMap::new();
        let mut doubled = 0;
        std::thread::scope(|scope| {
            for _ in 0..self.args.jobs {
                let sender = sender.clone();
                let (seeds, stop) = (&seeds, &stop);
                scope.spawn(move || {
                    let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
                    while !stop.load(Ordering::Relaxed) && !late() {
                        let next = seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(seed) = next else { break };
                        if sender.send(self.one(seed)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for done in receiver {
                doubled += u64::from(done.doubled);
                let report = done.report;
                if report.class != Class::Pass {
                    let line = format!("seed {}: {} {}", report.seed, report.class, report.headline());
                    progress.say(&line);
                    if enough(&report) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                reports.insert(report.seed, report);
                progress.show(&self.standing(&reports, started.elapsed()));
            }
        });
        progress.end();
        Summary::new(reports.into_values().collect(), doubled, started.elapsed())
    }

    /// Runs one seed, twice if it is one of those; the second run's surroundings differ on purpose.
    fn one(&self, seed: u64) -> Done {
        let report = self.children.run(seed, Surroundings::Plain, None);
        let nth = seed - self.args.seeds.start;
        let doubled = self.args.double_every > 0 && nth.is_multiple_of(self.args.double_every);
        if !doubled || report.trace.is_empty() {
            return Done { report, doubled: false };
        }
        let again = self.children.run(seed, Surroundings::Other, None);
        let same = (&again.trace, again.class, again.events) == (&report.trace, report.class, report.events);
        let report = if same { report } else { self.children.nondeterminism(report, &again) };
        Done { report, doubled: true }
    }

    /// How far the sweep is.
    fn standing(&self, reports: &BTreeMap<u64, Report>, elapsed: Duration) -> String {
        let done = u64::try_from(reports.len()).unwrap_or(u64::MAX);
        let all = self.args.seeds.end - self.args.seeds.start;
        let failed = reports.values().filter(|report| report.class != Class::Pass).count();
        let simulated: u64 = reports.values().map(|report| report.figures.simulated_ms).sum();
        let per_minute = done * 60_000 / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let simulated = simulated / 1000;
        format!("{done}/{all} seeds, {failed} failed, {per_minute} a minute, {simulated} s simulated")
    }
}

/// How long a run may take in a hunt, host time.
const HUNT_TIMEOUT: Duration = Duration::from_secs(600);

/// How the hunt for a planted bug ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunt {
    seeds: u64,
    reached: u64,
    caught: Option<(u64, String)>,
}

impl Hunt {
    /// Whether it was caught.
    pub fn caught(&self) -> bool {
        self.caught.is_some()
    }
}

impl std::fmt::Display for Hunt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Hunt { seeds, reached, caught } = self;
        match caught {
            Some((seed, how)) => {
                write!(f, "caught after {seeds} seeds ({reached} reached its place), by seed {seed}: {how}")
            }
            None => write!(f, "NOT caught in {seeds} seeds ({reached} reached its place)"),
        }
    }
}

/// Runs seeds with a planted bug until one catches it. Trouble of the harness itself catches nothing, and a seed
/// that fails without the bug neither.
///
/// # Errors
/// See [`Sweep::new`].
pub fn hunt(mutant: &str, args: &MutantsArgs) -> Result<Hunt, String> {
    let sweep = Sweep::new(SweepArgs {
        seeds: args.seeds.clone(),
        jobs: args.jobs,
        mutant: Some(mutant.to_owned()),
        minutes: None,
        double_every: 0,
        seed_timeout: HUNT_TIMEOUT.as_secs(),
        stop_at_first: true,
        shrink_secs: None,
        page: None,
    })?;
    let clean = Children::new(None, HUNT_TIMEOUT)?;
    let caught = RefCell::new(None);
    let summary = sweep.run_until(|report| {
        let catches = finds(report.class)
            && report.mutant_reached
            && clean.run(report.seed, Surroundings::Plain, None).class == Class::Pass;
        if catches {
            caught.borrow_mut().get_or_insert((report.seed, report.headline()));
        }
        catches
    });
    let reports = summary.reports();
    let reached = reports.iter().filter(|report| report.mutant_reached).count();
    Ok(Hunt {
        seeds: u64::try_from(reports.len()).unwrap_or(u64::MAX),
        reached: u64::try_from(reached).unwrap_or(u64::MAX),
        caught: caught.into_inner(),
    })
}

/// Whether a verdict is about the product; trouble of the harness itself finds nothing.
fn finds(class: Class) -> bool {
    matches!(class, Class::Safety | Class::Liveness | Class::Crash)
}

/// The gravest class among reports.
fn worst(reports: &[Report]) -> Class {
    reports.iter().map(|report| report.class).max_by_key(|class| gravity(*class)).unwrap_or_default()
}
