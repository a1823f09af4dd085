//! Does what the command line says, and turns the outcome into an exit code.

use std::io::Write;
use std::process::ExitCode;

use quorate_check::verdict::Class;

use crate::cli::{Cli, Command, MutantsArgs, RunArgs, SpeedArgs};
use crate::log::Printer;
use crate::mutants;
use crate::plan::{Plan, generate};
use crate::run::{RunOptions, run};
use crate::sweep::{self, Sweep};

/// Wrong arguments, or files that cannot be used.
const USAGE: u8 = 2;

/// Does what the command line says.
pub fn obey(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Run(args) => run_one(&args),
        Command::Sweep(args) => known(args.mutant.as_deref()).and_then(|()| {
            let sweep = Sweep::new(args)?.run();
            print(&sweep.to_string());
            Ok(sweep.class().exit_code())
        }),
        Command::Speed(args) => Ok(speed(&args)),
        Command::Mutants(args) => list_or_check(&args),
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

fn known(mutant: Option<&str>) -> Result<(), String> {
    match mutant {
        Some(name) if mutants::find(name).is_none() => Err(format!("no planted bug is called {name:?}")),
        _ => Ok(()),
    }
}

fn run_one(args: &RunArgs) -> Result<u8, String> {
    known(args.mutant.as_deref())?;
    if let Some(filter) = &args.log {
        let now = || madsim::time::TimeHandle::try_current().map(|time| time.elapsed());
        tracing::subscriber::set_global_default(Printer::new(filter.clone(), now))
            .map_err(|error| error.to_string())?;
    }
    let mut plan = match (&args.plan, args.seed) {
        (Some(path), _) => Plan::load(path).map_err(|error| error.to_string())?,
        (None, Some(seed)) => generate::generate(seed),
        (None, None) => return Err("a seed or a plan is wanted".to_owned()),
    };
    if let Some(seed) = args.schedule_seed {
        plan.schedule_seed = seed;
    }
    plan.check()?;
    if let Some(path) = &args.save {
        plan.save(path).map_err(|error| error.to_string())?;
    }
    let options =
        RunOptions { mutant: args.mutant.clone(), trace: args.trace.clone(), history: args.history.clone() };
    let report = run(plan, &options);
    if args.json {
        print(&report.to_line().map_err(|error| error.to_string())?);
    } else {
        print(&report.to_string());
    }
    Ok(report.class.exit_code())
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
    let wanted = |name: &str| args.mutant.as_deref().is_none_or(|only| only == name);
    let mut code = Class::Pass.exit_code();
    for mutant in mutants::CATALOGUE.iter().filter(|mutant| wanted(mutant.name)) {
        let places = mutant.places().join(", ");
        let places = if places.is_empty() { "not in the product yet".to_owned() } else { places };
        print(&format!("{:<32} {places}\n    {}", mutant.name, mutant.breaks));
        if args.check {
            let hunt = sweep::hunt(mutant.name, args)?;
            print(&format!("    {hunt}"));
            if !hunt.caught() {
                code = Class::Harness.exit_code();
            }
        }
    }
    Ok(code)
}
