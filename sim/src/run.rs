//! One run: a plan, a world, a history, a verdict. One process runs one, because some of what it depends on
//! counts for the whole process.

use std::any::Any;
use std::cell::RefCell;
use std::io::BufWriter;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use madsim::runtime::Runtime;
use quorate::env::armed;
use quorate_check::types::Nanos;
use quorate_check::verdict::{Class, Verdict};
use quorate_check::{Options, judge};

use crate::client::{Session, Ways, observer};
use crate::plan::Plan;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::Fault;
use crate::record::{Record, Written};
use crate::report::{Finding, Report, gravity};
use crate::settle::Settle;
use crate::trace::Trace;
use crate::world::{World, product};

/// Simulated time after which a run is given up as the harness's failure, beyond the plan's duration.
const TIME_LIMIT_EXTRA: Duration = Duration::from_secs(600);
/// How wrong a clock's rate may be by a fault, in millionths.
const CLOCK_FAULT_PPM_MAX: u64 = 10_000;

/// What a run is told beside its plan.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The planted bug to arm.
    pub mutant: Option<String>,
    /// Where to write the trace's events.
    pub trace: Option<PathBuf>,
    /// Where to write the history.
    pub history: Option<PathBuf>,
}

/// Runs a plan to its end and judges it.
pub fn run(plan: Plan, options: &RunOptions) -> Report {
    let started = Instant::now();
    let seed = plan.seed;
    let trace = match options.trace.as_ref().map(std::fs::File::create) {
        None => Trace::default(),
        Some(Ok(file)) => Trace::written(Box::new(BufWriter::new(file))),
        Some(Err(error)) => return Report::lost(seed, Class::Harness, format!("the trace's file: {error}")),
    };
    if let Some(mutant) = &options.mutant {
        let armed = armed::arm_mutant(mutant);
        assert!(armed, "one process runs one seed, with one planted bug");
    }
    arm_disturbances(&plan);
    let record = Arc::new(Record::new(trace));
    simulate(&plan, &record);
    let written = record.take();
    let mut findings = written.findings.clone();
    if let Some(path) = &options.history {
        let saved = std::fs::File::create(path).map_err(|error| error.to_string());
        let saved = saved
            .and_then(|file| written.history.write(BufWriter::new(file)).map_err(|error| error.to_string()));
        if let Err(error) = saved {
            findings.push(Finding::new(Class::Harness, "runner", format!("the history's file: {error}")));
        }
    }
    let verdict = judge(&written.history, &judge_options(&plan, &written));
    report(&plan, options, written, findings, &verdict, started.elapsed())
}

/// Whether product code's offers of a legal disturbance are taken: drawn by place and count.
fn arm_disturbances(plan: &Plan) {
    let (seed, rate) = (plan.schedule_seed, plan.knobs.disturbance_permille);
    let counts = std::sync::Mutex::new(std::collections::BTreeMap::<&'static str, u64>::new());
    let armed = armed::arm_buggify(Box::new(move |place| {
        let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = counts.entry(place).or_default();
        *count += 1;
        let mut key = 0_u64;
        for byte in place.bytes() {
            key = key.wrapping_mul(257).wrapping_add(u64::from(byte));
        }
        Dice::keyed_twice(seed, Purpose::Disturbance, key, *count).permille(rate)
    }));
    assert!(armed, "one process runs one seed");
}

thread_local! {
    /// Message and place of the last panic of this thread.
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs the simulation; a panic becomes a finding.
fn simulate(plan: &Plan, record: &Arc<Record>) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = text_of(info.payload());
        // The first panic is the cause; others come from what it left behind.
        PANIC.with(|panic| panic.borrow_mut().get_or_insert((message, place)).0.len());
    }));
    let mut runtime = Runtime::with_seed_and_config(plan.schedule_seed, madsim::Config::default());
    runtime.set_time_limit(Duration::from_millis(plan.duration_ms) + TIME_LIMIT_EXTRA);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(story(plan.clone(), record.clone()));
    }));
    panic::set_hook(before);
    if let Err(payload) = outcome {
        let caught = PANIC.with(|panic| panic.borrow_mut().take());
        let (message, place) = caught.unwrap_or_else(|| (text_of(&*payload), String::new()));
        // A panic in this crate is ours; one in the product, or in what it uses, is the product's.
        let ours = place.starts_with("sim/") || place.contains("/madsim-") || place.contains("/sim/src/");
        let class = if ours { Class::Harness } else { Class::Crash };
        record.finding(Nanos::default(), Finding::new(class, "panic", format!("{message} (at {place})")));
    }
    // Members that are still alive are simply gone: their destructors have nothing more to say.
    std::mem::forget(runtime);
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// What happens in a run.
async fn story(plan: Plan, record: Arc<Record>) {
    let world = World::new(plan, record.clone());
    world.silence_the_simulators_network();
    let time = world.time().clone();
    let until = Nanos(world.plan().duration_ms * 1_000_000);
    world.start_all();
    world.start_monitor();
    let faults = world.start_faults();
    observer::start(&world, until);
    let ways = Ways::new(world.clone());
    let clients = world.plan().clients.clone();
    let sessions: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let mut session = Session::new(client.id, ways.api(), record.clone(), time.clone());
            ways.host(client.id).spawn(async move { session.run(&client, until).await })
        })
        .collect();
    for session in sessions {
        // A client's host never dies, so it cannot be cancelled, only panic, which ends the run itself.
        drop(session.await);
    }
    for fault in &faults {
        fault.abort();
    }
    if !record.is_over() {
        Settle::new(world.clone(), ways).run().await;
    }
}

/// What the oracles must know of a run beyond its history.
fn judge_options(plan: &Plan, written: &Written) -> Options {
    let own = plan.members.iter().map(|member| member.clock_ppm.unsigned_abs()).max().unwrap_or(0);
    let changed = plan.faults.iter().any(|fault| matches!(fault.fault, Fault::ClockRate { .. }));
    let jumps = written.history.faults.iter().filter(|fault| fault.kind == Fault::CLOCK_JUMP);
    Options {
        clock_rate_error_ppm: own.max(if changed { CLOCK_FAULT_PPM_MAX } else { 0 }),
        clock_jumps: jumps.map(|fault| fault.from).collect(),
        ..Options::default()
    }
}

fn report(
    plan: &Plan,
    options: &RunOptions,
    written: Written,
    mut findings: Vec<Finding>,
    verdict: &Verdict,
    wall: Duration,
) -> Report {
    findings.extend(verdict.violations.iter().map(|violation| Finding {
        class: violation.class,
        by: violation.oracle.to_string(),
        sentence: violation.sentence.clone(),
        details: violation.details.clone(),
    }));
    findings.sort_by_key(|finding| std::cmp::Reverse(gravity(finding.class)));
    let counts = &verdict.counts;
    let mut figures = written.figures;
    figures.operations = counts.answered + counts.refused;
    figures.known_permille = (figures.operations * 1000).checked_div(counts.operations).unwrap_or(1000);
    let marks = armed::marks();
    let mark = |name| marks.get(name).copied().unwrap_or(0);
    figures.snapshots_built = mark(product::MARK_SNAPSHOT_BUILT);
    figures.installs_and_purges += mark(product::MARK_SNAPSHOT_INSTALLED);
    let marks = marks.into_iter().map(|(mark, count)| (mark.to_owned(), count)).collect();
    Report {
        seed: plan.seed,
        mutant: options.mutant.clone(),
        mutant_reached: !armed::mutants_reached().is_empty(),
        class: findings.first().map(|finding| finding.class).unwrap_or_default(),
        violations: findings,
        figures,
        trace: written.trace.hash().to_string(),
        events: written.trace.events(),
        marks,
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}
