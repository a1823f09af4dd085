//! The folder of a failing run: its plan, its shrunk plan, and what was said about it.
//!
//! Written below `target/`, because it can be made again from the seed; what is to stay goes into the corpus.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::report::Report;
use crate::shrink::Shrink;
use crate::shrink::command::{passing_path, screen};
use crate::shrink::trials::Trials;

/// Where the folders are, from the present one.
const FOLDERS: &str = "target/sim-failures";
/// Runs at a time, where the machine has as many processors.
const JOBS_MAX: usize = 4;
/// Of the time for shrinking, one part in so many goes into ranking the faults afterwards.
const RANK_PART: u32 = 3;

/// A failing run.
#[derive(Debug)]
pub struct Failure<'a> {
    plan: &'a Plan,
    report: &'a Report,
    mutant: Option<&'a str>,
    folder: PathBuf,
}

impl<'a> Failure<'a> {
    /// The failure that this report tells of.
    pub fn new(plan: &'a Plan, report: &'a Report, mutant: Option<&'a str>) -> Failure<'a> {
        let planted = mutant.map_or(String::new(), |mutant| format!("-{mutant}"));
        let folder = Path::new(FOLDERS).join(format!("seed-{}{planted}", plan.seed));
        Failure { plan, report, mutant, folder }
    }

    /// Writes the folder, shrinks for at most `time`, and gives the screen to show.
    ///
    /// # Errors
    /// When the folder cannot be written or no run can be started.
    pub fn tell(&self, time: Duration) -> Result<String, String> {
        fs::create_dir_all(&self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.plan.save(&self.folder.join("plan.json")).map_err(|error| error.to_string())?;
        // Of an earlier failure of this seed, perhaps on other code.
        let shrunk = self.folder.join("shrunk.json");
        drop(fs::remove_file(passing_path(&shrunk)));
        drop(fs::remove_file(&shrunk));
        let shown = if time.is_zero() { None } else { self.shrunk(time)? };
        let report = self.report.to_string();
        let whole = shown.as_ref().map_or(format!("{report}\n"), |shown| format!("{shown}\n\n{report}\n"));
        let path = self.folder.join("report.txt");
        fs::write(&path, whole).map_err(|error| format!("{}: {error}", path.display()))?;
        let kept = self.folder.display();
        Ok(shown.unwrap_or_else(|| {
            let armed = self.mutant.map_or(String::new(), |mutant| format!(" --mutant {mutant}"));
            format!("{report}\n  kept in {kept}; next: cargo sim shrink --plan {kept}/plan.json{armed}")
        }))
    }

    fn shrunk(&self, time: Duration) -> Result<Option<String>, String> {
        let jobs = std::thread::available_parallelism().map_or(1, |jobs| jobs.get().min(JOBS_MAX));
        let ranking = time / RANK_PART;
        let deadline = Instant::now() + time.saturating_sub(ranking);
        let jobs = u16::try_from(jobs).unwrap_or(1);
        let mut trials = Trials::new(self.mutant.map(ToOwned::to_owned), jobs, deadline)?;
        let shrink = Shrink::new(&mut trials, self.plan.clone(), self.report.clone());
        let Some(shrunk) = shrink.map(Shrink::run) else { return Ok(None) };
        let path = self.folder.join("shrunk.json");
        shrunk.plan.save(&path).map_err(|error| error.to_string())?;
        screen(&mut trials, &shrunk, self.mutant, Some(&path), ranking).map(Some)
    }
}
