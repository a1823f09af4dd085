//! Shrinks a failing plan to a story short enough to read: fewer clients, faults, operations and members, plain
//! knobs, less time, and still the same kind of failure.
//!
//! [`chunks`] the delta debugging, [`parts`], [`plainer`], [`forms`] and [`pace`] what can be changed in a plan, [`trials`]
//! the runs, [`rank`] the guilt of each fault that is left. The parent's side: it runs outside any simulation and
//! may use threads, processes and host time.
//!
//! Invariants: every plan that is kept has failed in the same way as the first ([`Signature`]); the order of trials
//! is fixed, so only the time budget can make two shrinks of one plan differ.

pub mod chunks;
pub mod command;
pub mod forms;
pub mod pace;
pub mod parts;
pub mod plainer;
pub mod rank;
mod size;
pub mod trials;

use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Finding, Report};
use crate::signature::Signature;
use parts::Part;
use plainer::Way;
use trials::{Failing, SCHEDULES_MAX, Trials};

pub use size::Size;

/// Schedules that each round tries a candidate under. The first rounds are coarse, because a candidate that does
/// not fail costs as many runs as there are schedules.
const ROUNDS: [u64; 3] = [1, 4, SCHEDULES_MAX];
/// How much of the time before its failure a run may need, milliseconds, and the schedules that each is tried under:
/// short runs are cheap.
const BEFORE_FAILURE_MS: [(u64, u64); 5] = [(1_500, 6), (4_000, 3), (10_000, 2), (20_000, 1), (40_000, 1)];
/// What is left of a run after its failure, in the boldest cuts, milliseconds.
const AFTER_FAILURE_MS: [u64; 4] = [0, 300, 2_000, 10_000];

/// A plan that was shrunk.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan, under the schedule that failed.
    pub plan: Plan,
    /// What its run said.
    pub report: Report,
    /// The kind of failure.
    pub signature: Signature,
    /// How large the plan was.
    pub before: Size,
    /// How large it is.
    pub after: Size,
    /// Runs that it took.
    pub runs: u64,
    /// Host time that it took.
    pub took: Duration,
    /// Whether nothing more could be taken away; otherwise the time was up.
    pub minimal: bool,
}

/// Shrinks one plan.
#[derive(Debug)]
pub struct Shrink<'t> {
    trials: &'t mut Trials,
    signature: Signature,
    plan: Plan,
    report: Report,
    before: Size,
    schedules: u64,
    started: Instant,
    shown: Progress,
}

impl<'t> Shrink<'t> {
    /// A shrink of this plan, whose run said this; `None` when nothing is wrong with the run.
    pub fn new(trials: &'t mut Trials, plan: Plan, report: Report) -> Option<Shrink<'t>> {
        let signature = Signature::of_report(&report)?;
        let before = Size::of(&plan, &report);
        let (started, shown) = (Instant::now(), Progress::default());
        Some(Shrink { trials, signature, plan, report, before, schedules: 1, started, shown })
    }

    /// Shrinks until nothing more can go or the time is up.
    pub fn run(mut self) -> Shrunk {
        self.cut_tail();
        for schedules in ROUNDS {
            self.schedules = schedules;
            loop {
                let before = self.plan.clone();
                self.round();
                if self.plan == before || self.trials.is_late() {
                    break;
                }
            }
        }
        self.shown.end();
        Shrunk {
            after: Size::of(&self.plan, &self.report),
            minimal: !self.trials.is_late(),
            runs: self.trials.made(),
            took: self.started.elapsed(),
            plan: self.plan,
            report: self.report,
            signature: self.signature,
            before: self.before,
        }
    }

    /// Everything that can be tried, the parts that make runs quick first.
    fn round(&mut self) {
        self.take_out(Part::Clients);
        self.take_out(Part::Faults);
        self.take_out(Part::Operations);
        self.make_plainer(plainer::fewer_members(&self.plan), true);
        self.make_plainer(plainer::plainer_faults(&self.plan), false);
        self.make_plainer(plainer::plainer_ending(&self.plan), false);
        self.make_plainer(plainer::plain_knobs(), false);
        self.make_plainer(plainer::exact_clocks(&self.plan), false);
        self.make_plainer(plainer::simpler_requests(&self.plan), false);
        self.make_plainer(pace::closer(&self.plan), false);
    }

    /// Cuts off what came after the failure, and what came long before it.
    fn cut_tail(&mut self) {
        let Some(failed_ms) = self.signature.finding_in(&self.report).and_then(Finding::at_ms) else {
            return;
        };
        let plan = self.plan.clone();
        // What shows only when everything has settled came of what was planned last.
        let failed_ms = failed_ms.min(pace::end(&plan));
        for (span_ms, schedules) in BEFORE_FAILURE_MS {
            self.schedules = schedules;
            if self.first(&mut pace::window(&plan, failed_ms, span_ms).into_iter()).is_some() {
                return;
            }
        }
        self.schedules = 1;
        let cuts = AFTER_FAILURE_MS.into_iter();
        let cuts: Vec<Plan> =
            cuts.filter_map(|more| pace::cut(&plan, failed_ms.saturating_add(more))).collect();
        self.first(&mut cuts.into_iter());
    }

    fn take_out(&mut self, part: Part) {
        chunks::reduce(part.names(&self.plan), |candidates| {
            let base = self.plan.clone();
            self.first(&mut candidates.map(|names| pace::fitted(&part.keep(&base, &names))))
        });
    }

    /// Goes each of these ways once, in order; of ways that exclude each other only the first that can be gone.
    fn make_plainer(&mut self, ways: Vec<Way>, only_one: bool) {
        let mut ways = ways.as_slice();
        while !ways.is_empty() && !self.trials.is_late() {
            let base = self.plan.clone();
            let mut gone = Vec::new();
            let mut candidates = ways.iter().enumerate().filter_map(|(nth, way)| {
                let plan = way(&base)?;
                gone.push(nth);
                Some(plan)
            });
            let failing = self.first(&mut candidates);
            let Some(nth) = failing.and_then(|failing| gone.get(failing)).filter(|_| !only_one) else {
                break;
            };
            ways = ways.get(nth + 1..).unwrap_or_default();
        }
    }

    /// Takes the first candidate that still fails; its place.
    fn first(&mut self, candidates: &mut dyn Iterator<Item = Plan>) -> Option<usize> {
        let mut sound = candidates.inspect(|plan| assert_eq!(plan.check(), Ok(()), "a plan stays valid"));
        let Failing { nth, plan, report } =
            self.trials.first_failing(&self.signature, self.schedules, &mut sound)?;
        self.plan = plan;
        self.report = report;
        self.progress();
        Some(nth)
    }

    fn progress(&self) {
        let now = Size::of(&self.plan, &self.report);
        let line = format!(
            "{}; {} runs, {} s",
            self.before.to(&now),
            self.trials.made(),
            self.started.elapsed().as_secs()
        );
        self.shown.show(&line);
    }
}
