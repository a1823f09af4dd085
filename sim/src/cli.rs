//! The command line: what `cargo sim` is told.

use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::diff::command::DiffArgs;
use crate::log::Filter;
use crate::replay::ReplayArgs;
use crate::shrink::command::ShrinkArgs;

/// The deterministic simulator: any failure is a seed, and any seed replays exactly.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one seed, or one saved plan, and judge it.
    Run(RunArgs),
    /// Run a saved plan or a seed again, whole or up to a moment; fit for `git bisect run`.
    Replay(ReplayArgs),
    /// Show the plan of a seed without running it, or name in a line each what many seeds plan.
    Plan(PlanArgs),
    /// Find where two runs part: seeds, plans or traces.
    Diff(DiffArgs),
    /// Run many seeds, one process each, and sum up.
    Sweep(SweepArgs),
    /// Run one seed, or one saved plan, and write the page that shows the run.
    Page(PageArgs),
    /// Shrink a failing seed or plan to a story short enough to read.
    Shrink(ShrinkArgs),
    /// Measure how fast the simulator is: simulated seconds a wall second, on one core.
    Speed(SpeedArgs),
    /// List the planted bugs, or measure how soon each is caught.
    Mutants(MutantsArgs),
    /// Look at a model of the pure code in the browser; without a name, list the models.
    #[command(disable_help_flag = true)]
    Explore(ExploreArgs),
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The seed to make the plan from.
    #[arg(long, value_name = "N", required_unless_present = "plan")]
    pub seed: Option<u64>,
    /// Run this plan instead of a seed's.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub plan: Option<PathBuf>,
    /// Give the same story another course.
    #[arg(long, value_name = "N")]
    pub schedule_seed: Option<u64>,
    /// Arm a planted bug.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Write the plan here before it runs.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Write every event of the trace here.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write the history here, one JSON record a line.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Write what the members went through here, one JSON record a line.
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write a page for the browser here that shows the whole run; it needs no other file.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// The product's log on standard error: a level, or target=level, by commas.
    #[arg(long, value_name = "LEVEL", value_parser = |text: &str| Filter::parse(text))]
    pub log: Option<Filter>,
    /// Shrink a failing run for at most so many seconds: 120 on a terminal, otherwise 0.
    #[arg(long, value_name = "SECS")]
    pub shrink_secs: Option<u64>,
    /// Print the report as one line of JSON too.
    #[arg(long, hide = true)]
    pub json: bool,
}

/// Arguments of `plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// The seed whose plan is printed as JSON.
    #[arg(long, value_name = "N", required_unless_present = "seeds")]
    pub seed: Option<u64>,
    /// Or the seeds that are named in a line each, the last one left out.
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, conflicts_with = "seed")]
    pub seeds: Option<Range<u64>>,
}

/// Arguments of `page`.
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// The seed to make the plan from.
    #[arg(long, value_name = "N", required_unless_present = "plan")]
    pub seed: Option<u64>,
    /// Show this plan instead of a seed's.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub plan: Option<PathBuf>,
    /// Arm a planted bug.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Where to write the page.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Arguments of `sweep`.
#[derive(Args, Clone, Debug)]
pub struct SweepArgs {
    /// The seeds, the last one left out.
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    pub seeds: Range<u64>,
    /// Processes at a time.
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Arm a planted bug in every run.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Start no more seeds after this many minutes.
    #[arg(long, value_name = "M")]
    pub minutes: Option<u64>,
    /// Run one seed in so many twice and compare the traces; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub double_every: u64,
    /// Take a run for hung after so many seconds of host time.
    #[arg(long, value_name = "SECS", default_value_t = 600)]
    pub seed_timeout: u64,
    /// Stop at the first seed that fails.
    #[arg(long)]
    pub stop_at_first: bool,
    /// Shrink the seed that failed most gravely, for at most so many seconds; 120 on a terminal, 0 elsewhere.
    #[arg(long, value_name = "SECS")]
    pub shrink_secs: Option<u64>,
    /// Write a page for the browser here that shows the whole sweep; it needs no other file.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

/// Arguments of `speed`.
#[derive(Args, Clone, Debug)]
pub struct SpeedArgs {
    /// Simulated seconds of load.
    #[arg(long, value_name = "SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=600))]
    pub secs: u64,
}

/// Arguments of `mutants`.
#[derive(Args, Clone, Debug)]
pub struct MutantsArgs {
    /// Run each until it is caught.
    #[arg(long)]
    pub check: bool,
    /// Only this one.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// The seeds to try, the last one left out.
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, default_value = "0..50")]
    pub seeds: Range<u64>,
    /// Processes at a time.
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Measure each in this many ranges of seeds, the first beginning where --seeds does, and write the table.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "check")]
    pub ranges: Option<u64>,
    /// Seeds in a range.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub range_seeds: u64,
    /// Shrink the first plan that caught each, for at most so many minutes each, and say in the table how small they
    /// became; the plans go to a folder beside the results.
    #[arg(long, value_name = "M", requires = "ranges")]
    pub shrink: Option<u64>,
    /// Start no more runs of a measurement after this many minutes; it goes on from there the next time.
    #[arg(long, value_name = "M")]
    pub minutes: Option<u64>,
    /// Where a measurement keeps its runs.
    #[arg(long, value_name = "FILE", default_value = "target/mutants.jsonl")]
    pub results: PathBuf,
    /// Write the table of a measurement here, as Markdown; docs/mutants.md when all of them are measured.
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Only this many, in rotation.
    #[arg(long, value_name = "K", conflicts_with = "mutant")]
    pub sample: Option<usize>,
    /// Which turn of the rotation; the number of the day if not given.
    #[arg(long, value_name = "N", requires = "sample")]
    pub turn: Option<u64>,
}

/// Arguments of `explore`: those of the program `quorate-explore`.
#[derive(Args, Clone, Debug)]
pub struct ExploreArgs {
    /// A model, `--address ADDRESS`, `--planted BUG`, `--check`; `--help` says more.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Reads `A..B`.
fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?}: two numbers are wanted, as 0..100, the first the smaller");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let range = first.parse().map_err(|_| wrong())?..end.parse().map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn seeds_are_a_range_that_holds_something() {
        assert_eq!(parse_seeds("3..5"), Ok(3..5));
        for wrong in ["5..3", "3..3", "3", "a..b", "..", "3...5"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn explore_takes_the_arguments_of_another_program() {
        let cli = Cli::try_parse_from(["sim", "explore", "lease", "--check", "--help"]).expect("it parses");
        let Command::Explore(args) = cli.command else { panic!("another command") };
        assert_eq!(args.args, ["lease", "--check", "--help"]);
    }

    #[test]
    fn a_run_needs_a_seed_or_a_plan_and_not_both() {
        assert!(Cli::try_parse_from(["sim", "run", "--seed", "7"]).is_ok());
        assert!(Cli::try_parse_from(["sim", "run", "--plan", "p.json"]).is_ok());
        assert!(
            Cli::try_parse_from(["sim", "replay", "7", "--until", "3.2s", "--log", "raft=trace"]).is_ok()
        );
        assert!(Cli::try_parse_from(["sim", "replay", "p.json", "--until", "soon"]).is_err());
        assert!(Cli::try_parse_from(["sim", "shrink"]).is_err());
        assert!(Cli::try_parse_from(["sim", "diff", "7"]).is_err());
        assert!(Cli::try_parse_from(["sim", "run"]).is_err());
        assert!(Cli::try_parse_from(["sim", "run", "--seed", "7", "--plan", "p.json"]).is_err());
    }
}
