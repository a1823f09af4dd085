//! `cargo sim diff A B`: each a seed, a plan or a trace.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::diff;
use crate::sweep::child::{Children, Files, Subject, Surroundings};

/// A run that takes longer, in host time, is given up.
const RUN_TIMEOUT: Duration = Duration::from_secs(600);
/// The exit code when the runs differ.
const DIFFERENT: u8 = 1;

/// Arguments of `diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// A seed, a plan file, or a trace file that `--trace` wrote.
    #[arg(value_name = "A")]
    pub one: String,
    /// What to hold against it.
    #[arg(value_name = "B")]
    pub other: String,
    /// Arm a planted bug in what is run.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Arm it in A alone.
    #[arg(long, requires = "mutant")]
    pub only_a: bool,
}

/// Compares; 0 when the runs are the same, 1 when they differ.
///
/// # Errors
/// When a file cannot be read or a run leaves no trace.
pub fn compare(args: &DiffArgs, print: impl Fn(&str)) -> Result<u8, String> {
    let armed = Children::new(args.mutant.clone(), RUN_TIMEOUT)?;
    let clean = Children::new(None, RUN_TIMEOUT)?;
    let one = trace_of(&args.one, &armed, "a.trace")?;
    let other = trace_of(&args.other, if args.only_a { &clean } else { &armed }, "b.trace")?;
    let open = |path: &Path| {
        File::open(path).map(BufReader::new).map_err(|error| format!("{}: {error}", path.display()))
    };
    match diff(open(&one)?, open(&other)?).map_err(|error| format!("a trace: {error}"))? {
        None => {
            print("the runs are the same, event by event");
            Ok(0)
        }
        Some(difference) => {
            print(difference.to_string().trim_end());
            Ok(DIFFERENT)
        }
    }
}

/// The trace that an argument stands for; runs what has to be run.
fn trace_of(what: &str, children: &Children, name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(what);
    let subject = match what.parse() {
        Ok(seed) => Subject::Seed(seed),
        Err(_) if is_plan(&path)? => Subject::Plan(&path),
        Err(_) => return Ok(path),
    };
    let trace = children.scratch().join(name);
    let report =
        children.run_subject(subject, Surroundings::Plain, Files { trace: Some(&trace), history: None });
    if report.trace.is_empty() {
        return Err(format!("{what}: {}", report.headline()));
    }
    Ok(trace)
}

/// Whether a file holds a plan rather than a trace: JSON begins with a brace, an event with a time.
fn is_plan(path: &Path) -> Result<bool, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let mut start = Vec::new();
    File::open(path).map_err(failed)?.take(64).read_to_end(&mut start).map_err(failed)?;
    Ok(start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'))
}
