//! One run in a process of its own, and the comparison of two.
//!
//! The first run keeps the parent's surroundings; the second gets another folder and an environment of another
//! size, which moves the stack. A run that reads anything of that has another trace.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use quorate_check::verdict::Class;

use crate::report::{Finding, Report};

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// Bytes that the other surroundings have in their environment.
const BALLAST_BYTES: usize = 3_000;
/// Lines of context before the first event that differs.
const CONTEXT_LINES: usize = 3;

/// What a child runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// A seed's plan.
    Seed(u64),
    /// A saved plan.
    Plan(&'a Path),
}

/// What a child writes down beside its report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files<'a> {
    /// The events of the trace.
    pub(crate) trace: Option<&'a Path>,
    /// The history.
    pub(crate) history: Option<&'a Path>,
}

/// Where a run takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// As the parent's.
    Plain,
    /// Another folder, another size of environment.
    Other,
}

/// Starts runs.
#[derive(Debug)]
pub(crate) struct Children {
    program: PathBuf,
    mutant: Option<String>,
    timeout: Duration,
    scratch: PathBuf,
}

impl Children {
    pub(crate) fn new(mutant: Option<String>, timeout: Duration) -> Result<Children, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
        let which = mutant.as_deref().unwrap_or("clean");
        let scratch = std::env::temp_dir().join(format!("quorate-sim-{}-{which}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        Ok(Children { program, mutant, timeout, scratch })
    }

    /// Runs a seed; whatever becomes of the process, there is a report.
    pub(super) fn run(&self, seed: u64, surroundings: Surroundings, trace: Option<&Path>) -> Report {
        self.run_subject(Subject::Seed(seed), surroundings, Files { trace, history: None })
    }

    /// Runs a seed or a saved plan; whatever becomes of the process, there is a report.
    pub(crate) fn run_subject(
        &self,
        subject: Subject<'_>,
        surroundings: Surroundings,
        files: Files<'_>,
    ) -> Report {
        let seed = if let Subject::Seed(seed) = subject { seed } else { 0 };
        match self.output(subject, surroundings, files) {
            Ok((output, ended)) => Report::from_output(&output).unwrap_or_else(|| {
                Report::lost(seed, Class::Harness, format!("the run ended without a report: {ended}"))
            }),
            Err(error) => Report::lost(seed, Class::Harness, error),
        }
    }

    /// A folder for files of no lasting use; it goes with this value.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What the process wrote, and how it ended.
    fn output(
        &self,
        subject: Subject<'_>,
        surroundings: Surroundings,
        files: Files<'_>,
    ) -> Result<(String, String), String> {
        let mut command = Command::new(&self.program);
        command.args(["run", "--json"]);
        match subject {
            Subject::Seed(seed) => command.args(["--seed", &seed.to_string()]),
            Subject::Plan(path) => command.arg("--plan").arg(path),
        };
        if let Some(mutant) = &self.mutant {
            command.args(["--mutant", mutant]);
        }
        if let Some(trace) = files.trace {
            command.arg("--trace").arg(trace);
        }
        if let Some(history) = files.history {
            command.arg("--history").arg(history);
        }
        if surroundings == Surroundings::Other {
            command.current_dir(&self.scratch).env("QUORATE_SIM_BALLAST", "x".repeat(BALLAST_BYTES));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("the run cannot be started: {error}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            let output = scope.spawn(move || read_all(stdout));
            let errors = scope.spawn(move || read_all(stderr));
            let deadline = Instant::now() + self.timeout;
            let ended = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break status.to_string(),
                    Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                    Ok(None) => {
                        // It may have ended this very moment, which is as good.
                        drop(child.kill());
                        drop(child.wait());
                        break format!("hung for {} s", self.timeout.as_secs());
                    }
                    Err(error) => break format!("lost: {error}"),
                }
            };
            let errors = errors.join().unwrap_or_default();
            let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Ok((output.join().unwrap_or_default(), format!("{ended}; {last}")))
        })
    }

    /// The report of a seed that ran twice and differed: shows the first event that does.
    pub(super) fn nondeterminism(&self, first: Report, second: &Report) -> Report {
        let seed = first.seed;
        let paths = [self.scratch.join(format!("{seed}.first")), self.scratch.join(format!("{seed}.second"))];
        let [one, two] = &paths;
        drop(self.run(seed, Surroundings::Plain, Some(one)));
        drop(self.run(seed, Surroundings::Other, Some(two)));
        let details = first_difference(one, two);
        for path in &paths {
            // Left behind, it is only in the way.
            drop(fs::remove_file(path));
        }
        let sentence = format!(
            "two runs differ: {} over {} events ({}) and {} over {} events ({})",
            first.trace, first.events, first.class, second.trace, second.events, second.class
        );
        let mut finding = Finding::new(Class::Nondeterminism, "doubled run", sentence);
        finding.details = details;
        let mut report = first;
        report.add(finding);
        report
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.scratch));
    }
}

fn read_all(source: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        // What came before an error is still worth showing.
        drop(source.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first line in which two traces differ, with what came before.
fn first_difference(one: &Path, two: &Path) -> Vec<String> {
    let (Ok(one), Ok(two)) = (fs::File::open(one), fs::File::open(two)) else {
        return vec!["the traces of a third and fourth run are missing".to_owned()];
    };
    let mut context: Vec<String> = Vec::new();
    let (mut one, mut two) = (BufReader::new(one).lines(), BufReader::new(two).lines());
    for number in 1_u64.. {
        let line = |next: Option<std::io::Result<String>>| next.and_then(Result::ok);
        match (line(one.next()), line(two.next())) {
            (None, None) => break,
            (first, second) if first == second => {
                context.extend(first.map(|line| format!("     {line}")));
                if context.len() > CONTEXT_LINES {
                    context.remove(0);
                }
            }
            (first, second) => {
                context.push(format!("first difference in event {number}:"));
                let shown = |line: Option<String>| line.unwrap_or_else(|| "(the run ended)".to_owned());
                context.push(format!("  1: {}", shown(first)));
                context.push(format!("  2: {}", shown(second)));
                return context;
            }
        }
    }
    vec!["a third and fourth run did not differ".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_shown_with_what_came_before() {
        let dir = std::env::temp_dir().join(format!("quorate-sim-test-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (one, two) = (dir.join("one"), dir.join("two"));
        fs::write(&one, "1 a\n2 b\n3 c\n").unwrap();
        fs::write(&two, "1 a\n2 b\n3 d\n").unwrap();
        let shown = first_difference(&one, &two).join("\n");
        assert!(shown.contains("2 b") && shown.contains("event 3") && shown.contains("2: 3 d"), "{shown}");
        fs::write(&two, "1 a\n2 b\n").unwrap();
        assert!(first_difference(&one, &two).join("\n").contains("(the run ended)"));
        fs::write(&two, "1 a\n2 b\n3 c\n").unwrap();
        assert!(first_difference(&one, &two).join("\n").contains("did not differ"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
