//! `cargo sim shrink`: from a seed or a plan to the shortest story of the same failure.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::rank::Guilt;
use super::trials::Trials;
use super::{Shrink, Shrunk, rank};
use crate::failure;
use crate::plan::{Plan, generate};
use crate::story;
use crate::sweep::child::Files;

/// Where plans that found something are kept, from the repository's root.
const CORPUS: &str = "tests/corpus";

/// The part of a screen's time that is left for the nearest plan that passes.
const PASSING_PART: u32 = 3;

/// Arguments of `shrink`.
#[derive(Args, Clone, Debug)]
pub struct ShrinkArgs {
    /// The seed whose plan fails.
    #[arg(long, value_name = "N", required_unless_present = "plan")]
    pub seed: Option<u64>,
    /// The plan that fails.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub plan: Option<PathBuf>,
    /// Arm a planted bug in every run.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Stop after this many minutes with what was reached.
    #[arg(long, value_name = "M", default_value_t = 3)]
    pub minutes: u64,
    /// Runs at a time.
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Write the shrunk plan here, and beside it the nearest plan that passes; if not given, into the failure's
    /// folder below target/sim-failures.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Write the shrunk plan into tests/corpus too, under a name made of the failure and the seed.
    #[arg(long)]
    pub corpus: bool,
}

/// Shrinks what the arguments say and prints the story; the exit code of the failure.
///
/// # Errors
/// When a file cannot be used, or this program cannot start itself.
pub fn shrink(args: &ShrinkArgs, print: impl Fn(&str)) -> Result<u8, String> {
    let plan = match (&args.plan, args.seed) {
        (Some(path), _) => Plan::load(path).map_err(|error| error.to_string())?,
        (None, Some(seed)) => generate::generate(seed),
        (None, None) => return Err("a seed or a plan is wanted".to_owned()),
    };
    if args.corpus && !Path::new(CORPUS).is_dir() {
        return Err(format!("{CORPUS} is not here: --corpus wants the repository's root"));
    }
    let deadline = Instant::now() + Duration::from_secs(args.minutes.saturating_mul(60));
    let mut trials = Trials::new(args.mutant.clone(), args.jobs, deadline)?;
    let report = trials.run(&plan, Files::default());
    let seed = plan.seed;
    let Some(shrink) = Shrink::new(&mut trials, plan, report) else {
        print(&format!("seed {seed} passes: there is nothing to shrink"));
        return Ok(0);
    };
    let shrunk = shrink.run();
    let code = shrunk.report.class.exit_code();
    if args.corpus {
        let path = Path::new(CORPUS).join(format!("{}-seed-{seed}.json", shrunk.signature.slug()));
        shrunk.plan.save(&path).map_err(|error| error.to_string())?;
        eprintln!("{}: say in {CORPUS}/README.md what it found", path.display());
    }
    let mutant = args.mutant.as_deref();
    let kept = match &args.save {
        Some(path) => path.clone(),
        None => failure::make_folder(seed, args.plan.as_deref(), mutant)?.join(failure::SHRUNK),
    };
    shrunk.plan.save(&kept).map_err(|error| error.to_string())?;
    print(&screen(&mut trials, &shrunk, mutant, &kept, Duration::from_secs(120))?);
    Ok(code)
}

/// The screen of a shrunk plan: runs it once more for the story, and takes at most `time` to rank its faults and to
/// find the nearest plan that passes.
///
/// # Errors
/// When the run's files cannot be used.
pub fn screen(
    trials: &mut Trials,
    shrunk: &Shrunk,
    mutant: Option<&str>,
    kept: &Path,
    time: Duration,
) -> Result<String, String> {
    let began = Instant::now();
    trials.set_deadline(began + time.saturating_sub(time / PASSING_PART));
    let (trace, history) = (trials.scratch("story.trace"), trials.scratch("story.history"));
    let report = trials.run(&shrunk.plan, Files { trace: Some(&trace), history: Some(&history) });
    let guilt = rank::rank(trials, &shrunk.signature, &shrunk.plan);
    let finding = shrunk.signature.finding_in(&report);
    let told = story::Told::read(&shrunk.plan, finding, &trace, &history)?;
    trials.set_deadline(began + time);
    // Whatever is in the corpus is to have found a bug.
    let beside = (!is_in_corpus(kept)).then_some(kept);
    let passing = beside.and_then(|beside| save_passing(trials, shrunk, &guilt, beside));
    let passing = passing.as_deref();
    Ok(story::Screen { shrunk, finding, told: &told, guilt: &guilt, mutant, kept, passing }.to_string())
}

fn is_in_corpus(path: &Path) -> bool {
    let folder = |path: &Path| std::fs::canonicalize(path).ok();
    let of = path.parent().and_then(folder);
    of.is_some() && of == folder(Path::new(CORPUS))
}

/// Saves the nearest plan that passes beside this one, if there is one. No story is lost for want of it.
fn save_passing(trials: &mut Trials, shrunk: &Shrunk, guilt: &[Guilt], beside: &Path) -> Option<PathBuf> {
    let path = passing_path(beside);
    // Of an earlier failure.
    drop(std::fs::remove_file(&path));
    let plan = rank::nearest_passing(trials, &shrunk.plan, guilt)?;
    plan.save(&path).inspect_err(|error| eprintln!("{error}")).ok().map(|()| path)
}

/// Where the nearest plan that passes is kept.
pub fn passing_path(shrunk: &Path) -> PathBuf {
    shrunk.with_extension("passing.json")
}
