//! Does what the command line says, and turns the outcome into an exit code.

use std::cmp::Reverse;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use quorate_check::verdict::Class;

use crate::cli::{Cli, Command, MutantsArgs, PageArgs, PlanArgs, RunArgs, SpeedArgs};
use crate::diff;
use crate::explore::explore;
use crate::failure::Failure;
use crate::log::{Filter, Printer};
use crate::mutants::{self, Mutant};
use crate::page::SweepPage;
use crate::plan::{Plan, generate};
use crate::replay::{self, ReplayArgs, Window};
use crate::report::{Report, gravity};
use crate::run::{RunOptions, run};
use crate::shrink;
use crate::sweep::{self, Sweep};

/// Wrong arguments, or files that cannot be used.
const USAGE: u8 = 2;
/// When set, every run reads the host's clock: the test of what runs every hundredth seed twice.
const LEAK: &str = "QUORATE_SIM_LEAK_HOST_CLOCK";
/// How long a failing run is shrunk on a terminal, seconds.
const SHRINK_SECS: u64 = 120;

/// Does what the command line says.
pub fn obey(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Run(args) => run_one(&args),
        Command::Replay(args) => return ExitCode::from(replay_one(&args)),
        Command::Diff(args) => {
            known(args.mutant.as_deref()).and_then(|()| diff::command::compare(&args, print))
        }
        Command::Sweep(args) => known(args.mutant.as_deref()).and_then(|()| {
            let (page, told) = (args.page.clone(), args.clone());
            page.iter().try_for_each(writable)?;
            let sweep = Sweep::new(args)?.run();
            print(&sweep.to_string());
            if let Some(path) = page {
                let text = SweepPage::new(&sweep, &told).render().map_err(|error| error.to_string())?;
                std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            let failed = sweep.reports().iter().filter(|report| report.class != Class::Pass);
            if let Some(report) = failed.max_by_key(|report| (gravity(report.class), Reverse(report.seed))) {
                let plan = generate::generate(report.seed);
                print(&format!("\n{}", tell(&plan, None, report, told.mutant.as_deref(), told.shrink_secs)));
            }
            Ok(sweep.class().exit_code())
        }),
        Command::Plan(args) => plan(&args),
        Command::Page(args) => page(&args),
        Command::Shrink(args) => {
            known(args.mutant.as_deref()).and_then(|()| shrink::command::shrink(&args, print))
        }
        Command::Speed(args) => Ok(speed(&args)),
        Command::Mutants(args) => list_or_check(&args),
        Command::Explore(args) => explore(&args.args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cargo sim: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn print(text: &str) {
    // Whoever reads may have seen enough; the exit code still says how it went.
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn plan(args: &PlanArgs) -> Result<u8, String> {
    if let Some(seed) = args.seed {
        print(generate::generate(seed).to_json().map_err(|error| error.to_string())?.trim_end());
    }
    for seed in args.seeds.clone().unwrap_or_default() {
        print(&generate::generate(seed).in_a_line());
    }
    Ok(0)
}

fn known(mutant: Option<&str>) -> Result<(), String> {
    match mutant {
        Some(name) if mutants::find(name).is_none() => Err(format!("no planted bug is called {name:?}")),
        _ => Ok(()),
    }
}

/// Prints the log of this part of the run, if one is wanted.
fn print_log(filter: Option<&Filter>, window: &Window) -> Result<(), String> {
    let Some(filter) = filter else { return Ok(()) };
    let now = || madsim::time::TimeHandle::try_current().map(|time| time.elapsed());
    tracing::subscriber::set_global_default(Printer::new(filter.clone(), window.clone(), now))
        .map_err(|error| error.to_string())
}

/// Replays, and says with its exit code whether a commit is good, bad, or cannot be judged.
fn replay_one(args: &ReplayArgs) -> u8 {
    let replayed = std::panic::catch_unwind(|| {
        known(args.mutant.as_deref())?;
        args.check()?;
        [&args.trace, &args.history].into_iter().flatten().try_for_each(writable)?;
        let (seed, path) = args.subject();
        let plan = planned(seed, path.as_deref(), args.schedule_seed)?;
        let window = Window { from: args.from, ..Window::default() };
        print_log(args.log.as_ref(), &window)?;
        let (mutant, until) = (args.mutant.clone(), args.until);
        let (trace, history) = (args.trace.clone(), args.history.clone());
        Ok(run(plan, &RunOptions { mutant, trace, history, window, until, ..RunOptions::default() }))
    });
    match replayed.unwrap_or_else(|_| Err("the simulator itself panicked".to_owned())) {
        Ok(report) => {
            print(&report.to_string());
            replay::exit_code(report.class)
        }
        Err(error) => {
            eprintln!("cargo sim: {error}");
            replay::CANNOT_JUDGE
        }
    }
}

/// The plan that was asked for.
fn planned(seed: Option<u64>, path: Option<&Path>, schedule_seed: Option<u64>) -> Result<Plan, String> {
    let mut plan = match (path, seed) {
        (Some(path), _) => Plan::load(path).map_err(|error| error.to_string())?,
        (None, Some(seed)) => generate::generate(seed),
        (None, None) => return Err("a seed or a plan is wanted".to_owned()),
    };
    if let Some(seed) = schedule_seed {
        plan.schedule_seed = seed;
    }
    plan.check()?;
    Ok(plan)
}

fn run_one(args: &RunArgs) -> Result<u8, String> {
    known(args.mutant.as_deref())?;
    let window = Window::default();
    print_log(args.log.as_ref(), &window)?;
    let plan = planned(args.seed, args.plan.as_deref(), args.schedule_seed)?;
    if let Some(path) = &args.save {
        plan.save(path).map_err(|error| error.to_string())?;
    }
    [&args.trace, &args.history, &args.timeline, &args.page].into_iter().flatten().try_for_each(writable)?;
    let options = RunOptions {
        mutant: args.mutant.clone(),
        trace: args.trace.clone(),
        history: args.history.clone(),
        timeline: args.timeline.clone(),
        page: args.page.clone(),
        window,
        until: None,
        leaks_host_clock: std::env::var_os(LEAK).is_some(),
    };
    let report = run(plan.clone(), &options);
    if args.json {
        print(&report.to_line().map_err(|error| error.to_string())?);
    } else if report.class == Class::Pass {
        print(&report.to_string());
    } else {
        let source = args.plan.as_deref();
        print(&tell(&plan, source, &report, args.mutant.as_deref(), args.shrink_secs));
    }
    Ok(report.class.exit_code())
}

/// Runs and writes the page, whatever the verdict is; nothing else is written, and nothing shrunk.
fn page(args: &PageArgs) -> Result<u8, String> {
    known(args.mutant.as_deref())?;
    let plan = planned(args.seed, args.plan.as_deref(), None)?;
    writable(&args.out)?;
    let (mutant, page) = (args.mutant.clone(), Some(args.out.clone()));
    let report = run(plan, &RunOptions { mutant, page, ..RunOptions::default() });
    print(&format!("{report}\n  the page is {}", args.out.display()));
    Ok(report.class.exit_code())
}

/// Says before a run, not after it, that a file cannot be written.
fn writable(path: &PathBuf) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

/// The story of a failing run, shrunk for at most so many seconds. The verdict stands, whatever becomes of the story.
fn tell(
    plan: &Plan,
    source: Option<&Path>,
    report: &Report,
    mutant: Option<&str>,
    shrink_secs: Option<u64>,
) -> String {
    let default = if std::io::stdout().is_terminal() { SHRINK_SECS } else { 0 };
    let time = Duration::from_secs(shrink_secs.unwrap_or(default));
    if !time.is_zero() {
        eprintln!("seed {}: {} {}; shrinking", report.seed, report.class, report.headline());
    }
    let told = Failure::new(plan, source, report, mutant).tell(time);
    told.unwrap_or_else(|error| format!("{report}\n  the story cannot be told: {error}"))
}

/// Runs the plan that the speed is stated for.
fn speed(args: &SpeedArgs) -> u8 {
    let report = run(generate::speed(args.secs), &RunOptions::default());
    let tenths = report.figures.simulated_ms * 10 / report.wall_ms.max(1);
    print(&format!("{report}\nspeed: {}.{} simulated seconds a wall second", tenths / 10, tenths % 10));
    report.class.exit_code()
}

fn list_or_check(args: &MutantsArgs) -> Result<u8, String> {
    known(args.mutant.as_deref())?;
    args.table.iter().try_for_each(writable)?;
    let wanted = |name: &str| args.mutant.as_deref().is_none_or(|only| only == name);
    let mut chosen: Vec<&'static Mutant> =
        mutants::CATALOGUE.iter().filter(|mutant| wanted(mutant.name)).collect();
    if let Some(count) = args.sample {
        let turn = args.turn.unwrap_or_else(sweep::today);
        chosen.retain(|mutant| mutant.is_known_to_be_caught());
        chosen = sweep::sample(&chosen, count, turn);
        print(&format!("sample of {} of the planted bugs, turn {turn}", chosen.len()));
    }
    let mut all_caught = true;
    if let Some(ranges) = args.ranges {
        let (table, caught) = sweep::measure(&chosen, ranges, args)?;
        print(&table);
        all_caught = caught;
    } else {
        for mutant in chosen {
            let places = mutant.places().join(", ");
            print(&format!("{:<44} {:<12} {places}\n    {}", mutant.name, mutant.area, mutant.breaks));
            if args.check {
                let hunt = sweep::hunt(mutant.name, args)?;
                print(&format!("    {hunt}"));
                all_caught &= hunt.caught();
            }
        }
    }
    Ok(if all_caught { Class::Pass } else { Class::Harness }.exit_code())
}
