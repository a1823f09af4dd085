//! The measurement of planted bugs: range by range, every bug in each, several at a time.
//!
//! The first range is run with every bug before the second begins, so that a measurement that is cut short says
//! something of all. Every run goes to the ledger at once; what stands there is not run again. Last, if it is asked for,
//! the first plan that caught each is shrunk.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate_check::verdict::Class;

use super::HUNT_TIMEOUT;
use super::child::{Children, Files, Surroundings};
use super::finds;
use super::ledger::{Ledger, Run, Small};
use super::score::{Outcome, Ranges, Score, first_catch, outcome, table};
use crate::cli::MutantsArgs;
use crate::mutants::{CATALOGUE, Mutant};
use crate::plan::generate;
use crate::shrink::Shrink;
use crate::shrink::trials::Trials;

const SECS_A_DAY: u64 = 86_400;
/// Where the whole table stands, from the repository's root.
const TABLE: &str = "docs/mutants.md";
/// What stands behind the table begins so.
const NOTES: &str = "\n## Notes\n";

/// A measurement to come.
struct Measurement<'a> {
    ledger: &'a Ledger,
    children: BTreeMap<Option<&'static str>, Children>,
    deadline: Option<Instant>,
}

/// Measures `mutants` as the arguments say, writes the table to its file, and returns it, with whether each bug that
/// was measured was caught.
///
/// # Errors
/// When a file cannot be used, or this program cannot find itself.
pub fn measure(
    mutants: &[&'static Mutant],
    ranges: u64,
    args: &MutantsArgs,
) -> Result<(String, bool), String> {
    let ledger = Ledger::open(&args.results, &build()?)?;
    let mut children = BTreeMap::new();
    for name in std::iter::once(None).chain(mutants.iter().map(|mutant| Some(mutant.name))) {
        children.insert(name, Children::new(name.map(str::to_owned), HUNT_TIMEOUT)?);
    }
    let minutes = args.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let deadline = minutes.map(|minutes| Instant::now() + minutes);
    let ranges = Ranges { first: args.seeds.start, count: ranges, seeds: args.range_seeds };
    let measurement = Measurement { ledger: &ledger, children, deadline };
    measurement.run(mutants, ranges, args.jobs)?;
    if let Some(minutes) = args.shrink {
        let (plans, each) = (args.results.with_extension("plans"), Duration::from_secs(minutes * 60));
        measurement.shrink(mutants, ranges, args.jobs, each, &plans)?;
    }
    let scores: Vec<Score> = CATALOGUE.iter().map(|mutant| Score::of(&ledger, mutant, ranges)).collect();
    // The ledger may tell of others, measured before.
    let survived = mutants.iter().any(|mutant| Score::of(&ledger, mutant, ranges).survived());
    let text = table(&scores, ranges, &commit(), &date(SystemTime::now()));
    let all = args.sample.is_none() && args.mutant.is_none();
    if let Some(path) = args.table.as_deref().or(all.then_some(Path::new(TABLE))) {
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let with_notes = [&text, notes_of(&before)].concat();
        std::fs::write(path, with_notes).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok((text, !survived))
}

/// What people have written behind a table, which a new one leaves as it is.
fn notes_of(page: &str) -> &str {
    page.find(NOTES).and_then(|at| page.get(at..)).unwrap_or_default()
}

impl Measurement<'_> {
    fn run(&self, mutants: &[&'static Mutant], ranges: Ranges, jobs: u16) -> Result<(), String> {
        let pairs = (0..ranges.count).flat_map(|nth| mutants.iter().map(move |mutant| (*mutant, nth)));
        self.each(pairs.collect(), jobs, |(mutant, nth)| self.hunt(mutant, nth, ranges))
    }

    /// Shrinks the first plan that caught each, and keeps it in the folder `plans`.
    fn shrink(
        &self,
        mutants: &[&'static Mutant],
        ranges: Ranges,
        jobs: u16,
        each: Duration,
        plans: &Path,
    ) -> Result<(), String> {
        std::fs::create_dir_all(plans).map_err(|error| format!("{}: {error}", plans.display()))?;
        let caught = mutants
            .iter()
            .filter_map(|mutant| Some((*mutant, first_catch(self.ledger, mutant.name, ranges)?)));
        let open = caught
            .filter(|(mutant, seed)| self.ledger.small(mutant.name).is_none_or(|small| small.seed != *seed));
        self.each(open.collect(), jobs, |(mutant, seed)| {
            match shrunk(mutant, seed, each, plans)? {
                Ok(small) => {
                    eprintln!("{}, seed {seed}: {}, {} runs", mutant.name, small.size, small.runs);
                    self.ledger.note_small(small)
                }
                // One bug's story less; the others are still worth telling.
                Err(why) => {
                    eprintln!("{}, seed {seed}: not shrunk: {why}", mutant.name);
                    Ok(())
                }
            }
        })
    }

    /// Does the work, so many at a time, until it is done, time is up or some of it failed.
    fn each<T: Send>(
        &self,
        work: VecDeque<T>,
        jobs: u16,
        one: impl Fn(T) -> Result<(), String> + Sync,
    ) -> Result<(), String> {
        let work = Mutex::new(work);
        let failed: Mutex<Option<String>> = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while !self.is_late() {
                        let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(next) = next else { break };
                        if let Err(error) = one(next) {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            break;
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Runs what is open of one bug in one range, until it is caught or time is up.
    fn hunt(&self, mutant: &'static Mutant, nth: u64, ranges: Ranges) -> Result<(), String> {
        let name = mutant.name;
        loop {
            match outcome(self.ledger, name, ranges.nth(nth)) {
                Outcome::Open(_) | Outcome::Unconfirmed(_) if self.is_late() => return Ok(()),
                Outcome::Open(seed) => self.make(Some(name), seed)?,
                Outcome::Unconfirmed(seed) => self.make(None, seed)?,
                Outcome::Caught { seeds, by, .. } => {
                    eprintln!("{name}, range {nth}: caught after {seeds} seeds by {by}");
                    return Ok(());
                }
                Outcome::Survived => {
                    eprintln!("{name}, range {nth}: NOT caught in {} seeds", ranges.seeds);
                    return Ok(());
                }
            }
        }
    }

    /// Makes one run and writes it down.
    fn make(&self, mutant: Option<&'static str>, seed: u64) -> Result<(), String> {
        let children = self.children.get(&mutant).ok_or("a bug without its runner")?;
        let report = children.run(seed, Surroundings::Plain, None);
        self.ledger.note(Run {
            mutant: mutant.map(str::to_owned),
            seed,
            class: report.class,
            reached: report.mutant_reached,
            by: report.violations.first().map(|first| first.by.clone()).unwrap_or_default(),
            wall_ms: report.wall_ms,
        })
    }
}

/// Shrinks the plan of a seed that caught a bug, and keeps what is left in the folder `plans`; else why there is nothing
/// to tell.
///
/// # Errors
/// When a file cannot be used, or this program cannot find itself.
fn shrunk(mutant: &Mutant, seed: u64, time: Duration, plans: &Path) -> Result<Result<Small, String>, String> {
    let mut trials = Trials::new(Some(mutant.name.to_owned()), 1, Instant::now() + time)?;
    let plan = generate::generate(seed);
    let report = trials.run(&plan, Files::default());
    if !finds(report.class) || !report.mutant_reached {
        return Ok(Err(format!("it ends as {} now", report.class)));
    }
    let Some(shrink) = Shrink::new(&mut trials, plan, report) else {
        return Ok(Err("its report names no failure".to_owned()));
    };
    let shrunk = shrink.run();
    let clean = Trials::new(None, 1, Instant::now())?.run(&shrunk.plan, Files::default());
    if clean.class != Class::Pass {
        return Ok(Err(format!("what is left of it ends as {} without the bug too", clean.class)));
    }
    shrunk.plan.save(&plans.join(format!("{}.json", mutant.name))).map_err(|error| error.to_string())?;
    let (planted, size) = (mutant.name.to_owned(), shrunk.after);
    Ok(Ok(Small { planted, seed, size, runs: shrunk.runs, minimal: shrunk.minimal }))
}

/// The mutants of a rotation: `count` of them, beginning where the one before `number` ended.
pub fn sample(mutants: &[&'static Mutant], count: usize, number: u64) -> Vec<&'static Mutant> {
    let len = mutants.len().max(1);
    let turn = usize::try_from(number % u64::try_from(len).unwrap_or(1)).unwrap_or(0);
    let start = turn * (count % len) % len;
    mutants.iter().cycle().skip(start).take(count.min(mutants.len())).copied().collect()
}

/// A number that is another one every day, for a rotation.
pub fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECS_A_DAY)
}

/// What tells this build from others: the length of this program and a checksum over it (FNV-1a, 64 bits).
fn build() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    Ok(format!("{}-{sum:016x}", bytes.len()))
}

/// The commit that is checked out, and whether something was changed since.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with local changes"),
    }
}

/// The day of a moment in UTC, as year, month, day. (Days to a civil date, in eras of 400 years from 1 March.)
fn date(moment: SystemTime) -> String {
    let days = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECS_A_DAY);
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_civil_dates() {
        let at = |days: u64| date(UNIX_EPOCH + Duration::from_secs(days * SECS_A_DAY + 3));
        assert_eq!(
            [at(0), at(59), at(11_016), at(20_778)],
            ["1970-01-01", "1970-03-01", "2000-02-29", "2026-11-21"]
        );
    }

    #[test]
    fn a_rotation_comes_to_every_bug() {
        let all: Vec<&'static Mutant> = CATALOGUE.iter().collect();
        let mut names: Vec<&str> =
            (7..7 + 60).flat_map(|number| sample(&all, 6, number)).map(|mutant| mutant.name).collect();
        assert_eq!(sample(&all, 6, 3).len(), 6);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert_eq!(sample(&all, 1000, 3).len(), all.len());
        assert!(sample(&[], 3, 3).is_empty());
    }

    #[test]
    fn what_people_have_written_stays_behind_a_new_table() {
        let page = "# Mutation score\n\n| a |\n\n## Notes\n\nSee seed 7.\n";
        assert_eq!(notes_of(page), "\n## Notes\n\nSee seed 7.\n");
        assert_eq!(notes_of("# Mutation score\n"), "");
    }
}
