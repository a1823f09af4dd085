//! The folder of a failing run: its plan, its shrunk plan, and what was said about it.
//!
//! Written below `target/`, because it can be made again from the seed; what is to stay goes into the corpus.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::report::{Report, Whole};
use crate::shrink::Shrink;
use crate::shrink::command::{passing_path, screen};
use crate::shrink::trials::Trials;

/// Where the folders are, from the present one.
const FOLDERS: &str = "target/sim-failures";
/// The plan that failed, in its folder.
const PLAN: &str = "plan.json";
/// What it was shrunk to, beside it.
pub const SHRUNK: &str = "shrunk.json";
/// Runs at a time, where the machine has as many processors.
const JOBS_MAX: usize = 4;
/// Of the time for shrinking, one part in so many goes into ranking the faults afterwards.
const RANK_PART: u32 = 3;

/// A failing run.
#[derive(Debug)]
pub struct Failure<'a> {
    plan: &'a Plan,
    source: Option<&'a Path>,
    report: &'a Report,
    mutant: Option<&'a str>,
}

/// Makes the folder of a failing seed, or plan that was read from a file: that file's own folder if it is one of these.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(seed: u64, source: Option<&Path>, mutant: Option<&str>) -> Result<PathBuf, String> {
    let folder = folder(seed, source, mutant);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn folder(seed: u64, source: Option<&Path>, mutant: Option<&str>) -> PathBuf {
    let planted = mutant.map_or(String::new(), |mutant| format!("-{mutant}"));
    let Some(source) = source else { return Path::new(FOLDERS).join(format!("seed-{seed}{planted}")) };
    match source.parent() {
        Some(own) if own.parent().is_some_and(|above| above.ends_with(FOLDERS)) && source.ends_with(PLAN) => {
            own.to_owned()
        }
        _ => {
            // What is there already stays: a shrunk plan is no reason to forget what it was shrunk from.
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            Path::new(FOLDERS).join(format!("plan-{stem}{planted}"))
        }
    }
}

impl<'a> Failure<'a> {
    /// The failure that this report tells of; `source` is the file that the plan was read from, if it was.
    pub fn new(
        plan: &'a Plan,
        source: Option<&'a Path>,
        report: &'a Report,
        mutant: Option<&'a str>,
    ) -> Failure<'a> {
        Failure { plan, source, report, mutant }
    }

    /// Writes the folder, shrinks for at most `time`, and gives the screen to show.
    ///
    /// # Errors
    /// When the folder cannot be written or no run can be started.
    pub fn tell(&self, time: Duration) -> Result<String, String> {
        let folder = make_folder(self.plan.seed, self.source, self.mutant)?;
        let (path, shrunk) = (folder.join(PLAN), folder.join(SHRUNK));
        let is_another = Plan::load(&path).map_or(true, |before| before != *self.plan);
        if is_another {
            self.plan.save(&path).map_err(|error| error.to_string())?;
            // Of the plan that was here before.
            drop(fs::remove_file(passing_path(&shrunk)));
            drop(fs::remove_file(&shrunk));
        }
        let shown = if time.is_zero() { None } else { self.shrunk(time, &shrunk)? };
        let report = self.report.to_string();
        let all = Whole(self.report);
        let whole = shown.as_ref().map_or(format!("{all}\n"), |shown| format!("{shown}\n\n{all}\n"));
        let path = folder.join("report.txt");
        fs::write(&path, whole).map_err(|error| format!("{}: {error}", path.display()))?;
        let kept = folder.display();
        Ok(shown.unwrap_or_else(|| {
            let armed = self.mutant.map_or(String::new(), |mutant| format!(" --mutant {mutant}"));
            format!("{report}\n  kept in {kept}; next: cargo sim shrink --plan {kept}/{PLAN}{armed}")
        }))
    }

    fn shrunk(&self, time: Duration, path: &Path) -> Result<Option<String>, String> {
        let jobs = std::thread::available_parallelism().map_or(1, |jobs| jobs.get().min(JOBS_MAX));
        let ranking = time / RANK_PART;
        let deadline = Instant::now() + time.saturating_sub(ranking);
        let jobs = u16::try_from(jobs).unwrap_or(1);
        let mut trials = Trials::new(self.mutant.map(ToOwned::to_owned), jobs, deadline)?;
        let shrink = Shrink::new(&mut trials, self.plan.clone(), self.report.clone());
        let Some(shrunk) = shrink.map(Shrink::run) else { return Ok(None) };
        shrunk.plan.save(path).map_err(|error| error.to_string())?;
        screen(&mut trials, &shrunk, self.mutant, path, ranking).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_plan_takes_the_folder_of_another() {
        let of = |source: &str, mutant| folder(7, Some(Path::new(source)), mutant).display().to_string();
        assert_eq!(folder(7, None, Some("bug")), Path::new("target/sim-failures/seed-7-bug"));
        assert_eq!(of("target/sim-failures/seed-7/plan.json", None), "target/sim-failures/seed-7");
        assert_eq!(of("/r/target/sim-failures/seed-7/plan.json", None), "/r/target/sim-failures/seed-7");
        assert_eq!(of("target/sim-failures/seed-7/shrunk.json", None), "target/sim-failures/plan-shrunk");
        assert_eq!(
            of("tests/corpus/stale-read.json", Some("bug")),
            "target/sim-failures/plan-stale-read-bug"
        );
        assert_eq!(of("plan.json", None), "target/sim-failures/plan-plan");
    }
}
