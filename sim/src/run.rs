//! One run: a plan, a world, a history, a verdict. One process runs one, because some of what it depends on
//! counts for the whole process.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::BufWriter;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use madsim::runtime::Runtime;
use quorate::env::armed;
use quorate_check::types::Nanos;
use quorate_check::verdict::{Class, Verdict};
use quorate_check::{Options, judge};

use crate::client::guard::Guard;
use crate::client::{Session, Ways, observer};
use crate::disturbance::Disturbances;
use crate::moment::Moment;
use crate::page::RunPage;
use crate::plan::Plan;
use crate::plan::fault::Fault;
use crate::record::{Record, Written};
use crate::replay::{Stop, Window};
use crate::report::{Finding, Report, gravest_first};
use crate::settle::Settle;
use crate::trace::{Stopped, Trace};
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
    /// Where to write what the members went through.
    pub timeline: Option<PathBuf>,
    /// Where to write the page that shows it all.
    pub page: Option<PathBuf>,
    /// The part of the run that is looked at, which counts its events.
    pub window: Window,
    /// The moment at which to stop.
    pub until: Option<Moment>,
    /// Let the host's clock into the run, as a bug would: two runs of one seed must be seen to differ.
    pub leaks_host_clock: bool,
}

/// Runs a plan to its end and judges it.
pub fn run(mut plan: Plan, options: &RunOptions) -> Report {
    let started = Instant::now();
    if options.leaks_host_clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let rate = i64::from(since.subsec_nanos() % 1_000);
        plan.members.iter_mut().for_each(|member| member.clock_ppm += rate);
    }
    let seed = plan.seed;
    let trace = match options.trace.as_ref().map(std::fs::File::create) {
        None => Trace::default(),
        Some(Ok(file)) => Trace::written(Box::new(BufWriter::new(file))),
        Some(Err(error)) => return Report::lost(seed, Class::Harness, format!("the trace's file: {error}")),
    };
    let stop = options.until.map(|until| {
        (Stop::at(until), {
            let then: Stopped = Box::new(stop_here);
            then
        })
    });
    let trace = trace.watched(options.window.events.clone(), stop);
    if let Some(mutant) = &options.mutant {
        let armed = armed::arm_mutant(mutant);
        assert!(armed, "one process runs one seed, with one planted bug");
    }
    let record = Arc::new(Record::new(trace));
    simulate(&plan, &record);
    let written = record.take();
    let mut findings = written.findings.clone();
    let verdict = judge(&written.history, &judge_options(&plan, &written));
    // Without the log half of the oracles would have nothing to say, and say it in silence.
    if verdict.counts.answered > 0 && written.history.log.is_empty() {
        let sentence = "operations were answered, and no member was seen to carry anything out";
        findings.push(Finding::new(Class::Harness, "witness", sentence.to_owned()));
    }
    let faults = save(options, &written);
    findings.extend(faults.into_iter().map(|fault| Finding::new(Class::Harness, "runner", fault)));
    let mut report = report(&plan, options, &written, findings, &verdict, started.elapsed());
    if let Some(path) = &options.page {
        let page = RunPage::new(&plan, &written.history, &written.timeline, &report);
        let saved = page.render().map_err(std::io::Error::from).and_then(|text| std::fs::write(path, text));
        if let Err(error) = saved {
            report.add(Finding::new(Class::Harness, "runner", format!("the page's file: {error}")));
        }
    }
    report
}

/// Writes the files that were asked for; what went wrong.
fn save(options: &RunOptions, written: &Written) -> Vec<String> {
    let create = |path: &PathBuf| std::fs::File::create(path).map(BufWriter::new);
    let history = options.history.as_ref().map(|path| {
        let saved = create(path).map_err(|error| error.to_string());
        saved.and_then(|file| written.history.write(file).map_err(|error| error.to_string()))
    });
    let timeline = options.timeline.as_ref().map(|path| {
        create(path).and_then(|file| written.timeline.write(file)).map_err(|error| error.to_string())
    });
    let failed = |what: &str, saved: Option<Result<(), String>>| {
        saved.and_then(Result::err).map(|error| format!("the {what}'s file: {error}"))
    };
    failed("history", history).into_iter().chain(failed("timeline", timeline)).collect()
}

/// Shows what came last and ends the process: a run cannot be left half-way, and is not judged half-way either.
fn stop_here(stop: &Stop) {
    // Whoever reads may have seen enough.
    drop(std::io::Write::write_all(&mut std::io::stdout(), stop.shown().as_bytes()));
    std::process::exit(i32::from(Class::Pass.exit_code()));
}

/// Arms product code's offers of a legal disturbance. Where an ambush was laid it takes what is offered.
fn arm_disturbances(world: &World) {
    let disturbances = std::sync::Mutex::new(Disturbances::new(world.plan()));
    let world = world.clone();
    let armed = armed::arm_buggify(Box::new(move |place| {
        let drawn = disturbances.lock().unwrap_or_else(std::sync::PoisonError::into_inner).decide(place);
        world.came_by(place).or(drawn)
    }));
    assert!(armed, "one process runs one seed");
}

thread_local! {
    /// Message and place of this thread's panics, in order. The product catches some itself.
    static PANICS: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Runs the simulation; a panic becomes a finding.
fn simulate(plan: &Plan, record: &Arc<Record>) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = text_of(info.payload());
        PANICS.with(|panics| panics.borrow_mut().push((message, place)));
    }));
    let mut runtime = Runtime::with_seed_and_config(plan.schedule_seed, madsim::Config::default());
    runtime.set_time_limit(Duration::from_millis(plan.duration_ms) + TIME_LIMIT_EXTRA);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(story(plan.clone(), record.clone()));
    }));
    panic::set_hook(before);
    if let Err(payload) = outcome {
        // The one that ended the run; others come from what it left behind, or were caught where they belong.
        let message = text_of(&*payload);
        let caught = PANICS.with(|panics| std::mem::take(&mut *panics.borrow_mut()));
        let same = caught.into_iter().find(|(known, _)| *known == message);
        let place = same.map(|(_, place)| place).unwrap_or_default();
        // A panic in this crate is ours; one in the product, or in what it uses, is the product's.
        let ours = place.starts_with("sim/") || place.contains("/madsim-") || place.contains("/sim/src/");
        let class = if ours { Class::Harness } else { Class::Crash };
        let place = within_package(&place);
        record.finding(Nanos::default(), Finding::new(class, "panic", format!("{message} (at {place})")));
    }
    // Members that are still alive are simply gone: their destructors have nothing more to say.
    std::mem::forget(runtime);
}

/// A place in the source as its package knows it: where packages are kept differs from host to host.
fn within_package(place: &str) -> &str {
    let kept = place.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    kept.map_or(place, |(_, rest)| rest)
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
    arm_disturbances(&world);
    world.start_witness();
    world.start_all();
    world.start_monitor();
    let faults = world.start_faults();
    let guard = Guard::start(&world);
    observer::start(&world, until);
    let ways = Ways::new(world.clone());
    let clients = world.plan().clients.clone();
    let sessions: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let mut session = Session::new(client.id, ways.api(), record.clone(), time.clone());
            session = session.watching(&world);
            ways.host(client.id).spawn(async move { session.run(&client, until).await })
        })
        .collect();
    for session in sessions {
        // A client's host never dies, so it cannot be cancelled, only panic, which ends the run itself.
        drop(session.await);
    }
    // What has begun may end, and what is still to come may strike, before everything is healed.
    for fault in &world.plan().faults {
        let end = Nanos(fault.at_ms.saturating_add(fault.for_ms).saturating_mul(1_000_000));
        if !record.is_over() && time.now() < end.min(until) {
            time.sleep_until(end.min(until)).await;
        }
    }
    for fault in &faults {
        fault.abort();
    }
    if !record.is_over() {
        Settle::new(world.clone(), &ways, guard).run().await;
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
        has_quota: plan.knobs.quota_bytes.is_some(),
        ..Options::default()
    }
}

fn report(
    plan: &Plan,
    options: &RunOptions,
    written: &Written,
    mut findings: Vec<Finding>,
    verdict: &Verdict,
    wall: Duration,
) -> Report {
    findings.extend(
        verdict.violations.iter().map(|violation| Finding::from(violation).located(&written.history)),
    );
    let class = gravest_first(&mut findings);
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
        class,
        violations: findings,
        figures,
        trace: written.trace.hash().to_string(),
        events: written.trace.events(),
        marks,
        faults: written.history.faults.iter().fold(BTreeMap::new(), |mut faults, fault| {
            *faults.entry(fault.kind.clone()).or_default() += 1;
            faults
        }),
        disturbed: armed::disturbed().into_iter().map(|(place, count)| (place.to_owned(), count)).collect(),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}
