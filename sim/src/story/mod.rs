//! The story of a failing run on one screen: what is wrong, what happened in lanes by member and client, which
//! faults are guilty, what to type next.
//!
//! Invariant: at most [`LINES_MAX`] lines of at most [`COLUMNS_MAX`] columns, whatever the run was like; only a command
//! with a longer path in it is longer.

mod lanes;
mod told;

use std::fmt;
use std::path::Path;

use crate::report::Finding;
use crate::shrink::Shrunk;
use crate::shrink::rank::Guilt;

pub use lanes::clipped;
pub use told::{Lane, Note, Told};

/// Lines of a screen.
pub const LINES_MAX: usize = 25;
/// Columns of a screen.
pub const COLUMNS_MAX: usize = 110;
/// Guilty faults that are shown.
const GUILTY_MAX: usize = 3;
/// Lines that the story has at least, whatever else is to be said.
const STORY_MIN: usize = 4;

/// What a screen is made of.
#[derive(Clone, Copy, Debug)]
pub struct Screen<'a> {
    /// The shrunk plan.
    pub shrunk: &'a Shrunk,
    /// What is wrong with its run.
    pub finding: Option<&'a Finding>,
    /// What happened in its run.
    pub told: &'a Told,
    /// Its faults, the guiltiest first; empty when they were not ranked.
    pub guilt: &'a [Guilt],
    /// The planted bug.
    pub mutant: Option<&'a str>,
    /// The file that the shrunk plan is in.
    pub kept: &'a Path,
    /// The file of a plan that passes and is as near to it as can be.
    pub passing: Option<&'a Path>,
}

impl Screen<'_> {
    fn head(&self) -> Vec<String> {
        let Screen { shrunk, finding, mutant, .. } = self;
        let planted = mutant.map_or(String::new(), |mutant| format!(", planted: {mutant}"));
        let mut head = vec![format!("seed {}: {}{planted}", shrunk.plan.seed, shrunk.report.class)];
        if let Some(finding) = finding {
            head.extend(wrapped(&format!("[{}] {}", finding.by, near(&finding.sentence)), 3));
        }
        let ended = if shrunk.minimal { "nothing more can go" } else { "the time was up" };
        let (before, runs) = (shrunk.before.to(&shrunk.after), shrunk.runs);
        head.extend(wrapped(&format!("{before} ({runs} runs in {} s; {ended})", shrunk.took.as_secs()), 2));
        head
    }

    fn guilty(&self) -> Vec<String> {
        if self.guilt.is_empty() {
            let said = match (&self.shrunk.plan.faults[..], &self.shrunk.plan.ending.broken[..]) {
                ([], []) => "no fault is needed for this failure",
                ([], _) => "no fault is needed for this failure but what is broken at the end",
                (_, _) => "the faults were not ranked: the time was up",
            };
            return vec![said.to_owned()];
        }
        let mut guilty = vec!["guilty".to_owned()];
        guilty.extend(self.guilt.iter().take(GUILTY_MAX).map(|guilt| format!("  {guilt}")));
        if let Some(more) = self.guilt.len().checked_sub(GUILTY_MAX).filter(|more| *more > 0) {
            guilty.push(format!("  and {more} more"));
        }
        guilty
    }

    fn next(&self) -> Vec<String> {
        let armed = self.mutant.map_or(String::new(), |mutant| format!("--mutant {mutant}"));
        let plan = self.kept.display().to_string();
        let folder = self.kept.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.map_or(".".to_owned(), |folder| folder.display().to_string());
        let until = self.finding.and_then(Finding::at_ms).unwrap_or(self.shrunk.after.simulated_ms);
        let from = until.saturating_sub(200);
        let mut next = vec![format!("next (kept in {folder})")];
        let window = format!("--log raft=debug --from {from}ms --until {until}ms");
        next.extend(command(&["replay", &plan, &armed, &window]));
        match (self.mutant, self.passing) {
            (Some(_), _) => next.extend(command(&["diff", &plan, &plan, "--only-a", &armed])),
            (None, Some(passing)) => {
                next.extend(command(&["diff", &plan, &passing.display().to_string()]));
            }
            (None, None) => {}
        }
        let (shown, out) = (format!("--plan {plan}"), format!("--out {folder}/page.html"));
        next.extend(command(&["page", &shown, &armed, &out]));
        next
    }
}

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, guilty, next) = (self.head(), self.guilty(), self.next());
        let taken = head.len() + guilty.len() + next.len() + 1;
        let room = LINES_MAX.saturating_sub(taken).max(STORY_MIN);
        let involved = |id| self.finding.is_some_and(|finding| finding.spot.operations.contains(&id));
        let story = lanes::drawn(self.told, room, COLUMNS_MAX, involved);
        let told = head.into_iter().chain([String::new()]).chain(story).chain(guilty);
        let told = told.map(|line| lanes::clipped(&line, COLUMNS_MAX));
        // A command that is cut cannot be typed.
        let lines: Vec<String> = told.chain(next).take(LINES_MAX).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A command of these parts, the empty ones left out, broken between them where a shell goes on with the next line if it
/// is too long for one.
fn command(parts: &[&str]) -> Vec<String> {
    let mut lines = vec!["  cargo sim".to_owned()];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let Some(line) = lines.last_mut() else { break };
        // Two columns stay free for what says that the command goes on.
        if line.chars().count() + 1 + part.chars().count() + 2 <= COLUMNS_MAX {
            line.push(' ');
            line.push_str(part);
        } else {
            line.push_str(" \\");
            lines.push(format!("      {part}"));
        }
    }
    lines
}

/// The sentence with places in source files named by their last parts alone.
fn near(sentence: &str) -> String {
    let words = sentence.split(' ').map(|word| {
        let parts: Vec<&str> = word.rsplitn(4, '/').collect();
        match parts.as_slice() {
            [file, folder, above, _] if word.contains(".rs:") => format!("{above}/{folder}/{file}"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The text in lines of a screen, at most so many; what is too long ends in dots.
fn wrapped(text: &str, lines_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let Some(line) = lines.get_mut(last) else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= COLUMNS_MAX {
            line.push(' ');
            line.push_str(word);
        } else if last + 1 < lines_max {
            lines.push(format!("  {word}"));
        } else {
            line.push_str(" ...");
            break;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::generate::generate;
    use crate::report::Report;
    use crate::shrink::Size;
    use crate::signature::Signature;
    use quorate_check::types::{ClientId, Nanos, OpId};
    use quorate_check::verdict::Class;

    /// A run with far more to tell than fits.
    fn shrunk(sentence: &str) -> Shrunk {
        let plan = generate(7);
        let report = Report::lost(7, Class::Safety, sentence);
        let size = Size::of(&plan, &report);
        let signature = Signature::of_report(&report).expect("a lost run has a finding");
        let took = std::time::Duration::from_secs(7);
        Shrunk { plan, report, signature, before: size, after: size, runs: 9, took, minimal: true }
    }

    #[test]
    fn whatever_there_is_to_tell_fits_a_screen() {
        let sentence = "a sentence that goes on and on without coming to any point ".repeat(9);
        let shrunk = shrunk(&sentence);
        let note = |nth: u64| Note {
            at: Nanos(nth * 1_000_000),
            lane: Lane::Client(ClientId(nth % 9)),
            text: sentence.clone(),
            operation: Some((OpId(nth), false)),
        };
        let told = Told { members: 5, notes: (0..500).map(note).collect() };
        let faults = shrunk.plan.faults.iter();
        let guilt: Vec<Guilt> = faults.map(|fault| Guilt { fault: *fault, with: 20, without: 3 }).collect();
        let kept = Path::new("target/sim-failures/seed-7-watch-drop-event-at-catch-up/shrunk.json");
        for passing in [None, Some(kept)] {
            for mutant in [None, Some("watch-drop-event-at-catch-up")] {
                let finding = shrunk.report.violations.first();
                let (told, guilt) = (&told, guilt.as_slice());
                let screen = Screen { shrunk: &shrunk, finding, told, guilt, mutant, kept, passing };
                let shown = screen.to_string();
                let compared = passing.is_some() || mutant.is_some();
                assert_eq!(shown.contains("cargo sim diff"), compared, "{shown}");
                for whole in ["/page.html", "/shrunk.json"].into_iter().chain(mutant) {
                    assert!(shown.contains(whole), "{whole} is cut: {shown}");
                }
                assert!(shown.lines().count() <= LINES_MAX, "{shown}");
                assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{shown}");
                assert!(shown.contains("fails 20 of 20 with it, 3 of 20 without"), "{shown}");
                assert!(shown.lines().last().is_some_and(|line| line.contains("--out")), "{shown}");
            }
        }
    }

    #[test]
    fn a_command_that_is_too_long_goes_on_in_the_next_line() {
        assert_eq!(command(&["replay 7", "--until 3s"]), ["  cargo sim replay 7 --until 3s"]);
        let long = "x".repeat(90);
        assert_eq!(
            command(&[&long, "--until 3s"]),
            [format!("  cargo sim {long} \\"), "      --until 3s".to_owned()]
        );
    }

    #[test]
    fn places_in_source_files_are_named_by_their_ends() {
        let sentence = "it broke (at /somewhere/deep/package-1.2/src/progress/update.rs:104:13)";
        assert_eq!(near(sentence), "it broke (at src/progress/update.rs:104:13)");
        assert_eq!(near("a plain sentence of 1/2 a mile"), "a plain sentence of 1/2 a mile");
    }
}
