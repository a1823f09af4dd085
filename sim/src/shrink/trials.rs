//! Tries candidates: each a process of its own, several at a time, the first one in order that still fails wins.
//!
//! Which candidate wins does not depend on how many run at a time: those behind the winner are forgotten. A trial
//! that was made before is not made again, because a plan with its schedule seed always ends the same.

use std::collections::BTreeSet;
use std::hash::Hasher as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_check::verdict::Class;

use crate::plan::Plan;
use crate::plan::dice::{Dice, Purpose};
use crate::report::Report;
use crate::signature::Signature;
use crate::sweep::child::{Children, Files, Subject, Surroundings};
use crate::trace::TraceHash;

/// Schedules under which a candidate is tried at most, its own one included.
pub const SCHEDULES_MAX: u64 = 20;
/// Trials that may be under way at once, whatever was asked for.
const JOBS_MAX: usize = 64;
/// A trial that takes longer, in host time, counts as one that does not fail.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(120);

/// The plan under the `nth` schedule; 0 is its own.
pub fn scheduled(plan: &Plan, nth: u64) -> Plan {
    let schedule_seed = match nth {
        0 => plan.schedule_seed,
        nth => Dice::keyed(plan.seed, Purpose::Schedule, nth).bits(),
    };
    Plan { schedule_seed, ..plan.clone() }
}

/// A candidate that still fails.
#[derive(Clone, Debug)]
pub struct Failing {
    /// Its place among the candidates.
    pub nth: usize,
    /// The plan, under the schedule that failed.
    pub plan: Plan,
    /// What its run said.
    pub report: Report,
}

/// Tries candidates.
#[derive(Debug)]
pub struct Trials {
    children: Children,
    jobs: usize,
    deadline: Instant,
    /// Plans that were tried and did not fail.
    passed: BTreeSet<u128>,
    made: u64,
}

impl Trials {
    /// Trials with this planted bug, so many at a time, none of which begins after the deadline.
    ///
    /// # Errors
    /// When this program cannot find itself, or has no place for its files.
    pub fn new(mutant: Option<String>, jobs: u16, deadline: Instant) -> Result<Trials, String> {
        let children = Children::new(mutant, TRIAL_TIMEOUT)?;
        let jobs = usize::from(jobs).clamp(1, JOBS_MAX);
        Ok(Trials { children, jobs, deadline, passed: BTreeSet::new(), made: 0 })
    }

    /// How many runs there were.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Whether the time is up.
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Trials may begin until then from now on.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Runs one plan under its own schedule.
    pub(crate) fn run(&mut self, plan: &Plan, files: Files<'_>) -> Report {
        self.made += 1;
        self.child(0, plan, files)
    }

    /// The first of these plans that passes under its own schedule; `None` too when the time is up.
    pub fn first_passing(&mut self, plans: impl Iterator<Item = Plan>) -> Option<Plan> {
        let mut plans = plans.peekable();
        while plans.peek().is_some() && !self.is_late() {
            let batch: Vec<Plan> = plans.by_ref().take(self.jobs).collect();
            let reports = self.run_batch(batch.iter());
            let mut tried = batch.into_iter().zip(reports);
            if let Some((plan, _)) = tried.find(|(_, report)| report.class == Class::Pass) {
                return Some(plan);
            }
        }
        None
    }

    /// The first candidate, in order, that fails in this way under one of its first `schedules` schedules. `None`
    /// too when the time is up.
    pub fn first_failing(
        &mut self,
        signature: &Signature,
        schedules: u64,
        candidates: &mut dyn Iterator<Item = Plan>,
    ) -> Option<Failing> {
        let tries = candidates.enumerate().flat_map(|(nth, plan)| {
            (0..schedules.clamp(1, SCHEDULES_MAX)).map(move |schedule| (nth, scheduled(&plan, schedule)))
        });
        let mut tries = tries.peekable();
        while tries.peek().is_some() && !self.is_late() {
            let mut batch: Vec<(usize, Plan, u128)> = Vec::new();
            while batch.len() < self.jobs
                && let Some((nth, plan)) = tries.next()
            {
                let key = key(&plan);
                if !self.passed.contains(&key) {
                    batch.push((nth, plan, key));
                }
            }
            let reports = self.run_batch(batch.iter().map(|(_, plan, _)| plan));
            for ((nth, plan, key), report) in batch.into_iter().zip(reports) {
                if signature.is_in(&report) {
                    return Some(Failing { nth, plan, report });
                }
                self.passed.insert(key);
            }
        }
        None
    }

    /// Of `schedules` runs, each under another schedule, those that fail in this way.
    pub fn count_failing(&mut self, signature: &Signature, plan: &Plan, schedules: u64) -> Option<u64> {
        let plans: Vec<Plan> = (0..schedules).map(|nth| scheduled(plan, nth)).collect();
        let mut failed = 0;
        for plans in plans.chunks(self.jobs) {
            if self.is_late() {
                return None;
            }
            let reports = self.run_batch(plans.iter());
            failed += reports.iter().map(|report| u64::from(signature.is_in(report))).sum::<u64>();
        }
        Some(failed)
    }

    fn run_batch<'p>(&mut self, plans: impl ExactSizeIterator<Item = &'p Plan>) -> Vec<Report> {
        self.made += u64::try_from(plans.len()).unwrap_or(0);
        let trials = &*self;
        std::thread::scope(|scope| {
            let runs: Vec<_> = plans
                .enumerate()
                .map(|(slot, plan)| scope.spawn(move || trials.child(slot, plan, Files::default())))
                .collect();
            let lost = |_| Report::lost(0, Class::Harness, "a trial was lost");
            runs.into_iter().map(|run| run.join().unwrap_or_else(lost)).collect()
        })
    }

    fn child(&self, slot: usize, plan: &Plan, files: Files<'_>) -> Report {
        let path = self.scratch(&format!("{slot}.json"));
        match plan.save(&path) {
            Ok(()) => self.children.run_subject(Subject::Plan(&path), Surroundings::Plain, files),
            Err(error) => Report::lost(plan.seed, Class::Harness, error.to_string()),
        }
    }

    /// A file of no lasting use.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.children.scratch().join(name)
    }
}

fn key(plan: &Plan) -> u128 {
    let mut hash = TraceHash::default();
    // A plan always has a JSON form; if not, it is merely tried again.
    hash.write(&serde_json::to_vec(plan).unwrap_or_default());
    hash.value()
}
