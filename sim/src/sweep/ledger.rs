//! What was measured so far, in a file that outlives the measurement: one JSON line a run, or a plan that was shrunk.
//!
//! A measurement takes hours, so it goes on in several sittings: every run is written down as it ends, with the build
//! it was made with. Lines of another build count for nothing, for another build is another product. A last line
//! that a kill cut short is passed over.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_check::verdict::Class;
use serde::{Deserialize, Serialize};

use crate::shrink::Size;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The planted bug; none in a clean run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// The seed.
    pub seed: u64,
    /// The verdict.
    pub class: Class,
    /// Whether the bug's place was reached.
    #[serde(default)]
    pub reached: bool,
    /// Who found what is wrong, if anything is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Host time, milliseconds.
    pub wall_ms: u64,
}

impl Run {
    /// Whether something about the product was found.
    pub fn finds(&self) -> bool {
        super::finds(self.class)
    }
}

/// What is left of the first plan that caught a planted bug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Small {
    /// The planted bug.
    pub planted: String,
    /// The seed of the plan.
    pub seed: u64,
    /// How large the plan is now.
    pub size: Size,
    /// Runs that it took.
    pub runs: u64,
    /// Whether nothing more could be taken away; otherwise the time was up.
    pub minimal: bool,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    build: String,
    #[serde(flatten)]
    noted: Noted,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Noted {
    Run(Run),
    Small(Small),
}

/// The file and what it holds of this build.
#[derive(Debug)]
pub struct Ledger {
    build: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    runs: BTreeMap<(Option<String>, u64), Run>,
    small: BTreeMap<String, Small>,
}

impl Inner {
    fn keep(&mut self, noted: Noted) {
        match noted {
            Noted::Run(run) => drop(self.runs.insert((run.mutant.clone(), run.seed), run)),
            Noted::Small(small) => drop(self.small.insert(small.planted.clone(), small)),
        }
    }
}

impl Ledger {
    /// Opens the file, making it when it is absent.
    ///
    /// # Errors
    /// What the host says.
    pub fn open(path: &Path, build: &str) -> Result<Ledger, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        let text = fs::read_to_string(path).map_err(failed)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let own = lines.filter(|line| line.build == build).map(|line| line.noted);
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(failed)?;
        }
        let mut inner = Inner { file, runs: BTreeMap::new(), small: BTreeMap::new() };
        own.for_each(|noted| inner.keep(noted));
        Ok(Ledger { build: build.to_owned(), inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run that was made.
    pub fn run(&self, mutant: Option<&str>, seed: u64) -> Option<Run> {
        self.inner().runs.get(&(mutant.map(str::to_owned), seed)).cloned()
    }

    /// What is left of the first plan that caught this bug, if it was shrunk.
    pub fn small(&self, planted: &str) -> Option<Small> {
        self.inner().small.get(planted).cloned()
    }

    /// Writes a run down.
    ///
    /// # Errors
    /// What the host says.
    pub fn note(&self, run: Run) -> Result<(), String> {
        self.write(Noted::Run(run))
    }

    /// Writes down how small a plan became.
    ///
    /// # Errors
    /// What the host says.
    pub fn note_small(&self, small: Small) -> Result<(), String> {
        self.write(Noted::Small(small))
    }

    fn write(&self, noted: Noted) -> Result<(), String> {
        let line = Line { build: self.build.clone(), noted: noted.clone() };
        let mut line = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        line.push('\n');
        let mut inner = self.inner();
        inner.file.write_all(line.as_bytes()).map_err(|error| format!("the results' file: {error}"))?;
        inner.keep(noted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mutant: Option<&str>, seed: u64, class: Class) -> Run {
        let mutant = mutant.map(str::to_owned);
        Run { mutant, seed, class, reached: true, by: "watch".to_owned(), wall_ms: 1 }
    }

    #[test]
    fn what_was_written_is_found_again_by_the_same_build_alone() {
        let path = std::env::temp_dir().join(format!("quorate-ledger-{}.jsonl", std::process::id()));
        let bad = run(Some("a-bug"), 3, Class::Safety);
        {
            let ledger = Ledger::open(&path, "one").unwrap();
            ledger.note(bad.clone()).unwrap();
            ledger.note(run(None, 3, Class::Pass)).unwrap();
        }
        // As a kill in the middle of a line leaves it.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"build\":\"one\",\"se").unwrap();
        let ledger = Ledger::open(&path, "one").unwrap();
        assert_eq!(ledger.run(Some("a-bug"), 3), Some(bad));
        assert_eq!(ledger.run(Some("a-bug"), 4), None);
        ledger.note(run(None, 5, Class::Crash)).unwrap();
        let size = Size { faults: 1, operations: 2, members: 3, simulated_ms: 4 };
        let small = Small { planted: "a-bug".to_owned(), seed: 3, size, runs: 5, minimal: true };
        ledger.note_small(small.clone()).unwrap();
        let again = Ledger::open(&path, "one").unwrap();
        assert!(again.run(None, 5).is_some_and(|run| run.finds()));
        assert_eq!(again.small("a-bug"), Some(small));
        assert!(again.run(None, 3).is_some_and(|run| !run.finds()));
        assert_eq!(Ledger::open(&path, "two").unwrap().run(None, 3), None);
        fs::remove_file(&path).unwrap();
    }
}
