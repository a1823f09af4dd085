//! Where two runs part: the first event that differs, and what differs in the world a little later.
//!
//! Traces are streamed, never held: memory does not grow with their length.

pub mod command;
pub mod seen;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};

use quorate_check::types::Nanos;

use seen::Seen;

/// Events shown before the first that differs.
const CONTEXT_BEFORE: usize = 5;
/// Events shown of each run from there on.
const CONTEXT_AFTER: usize = 5;
/// Characters of an event that are shown.
const SHOWN_CHARS: usize = 180;
/// How long after the first difference the two worlds are compared, simulated nanoseconds.
const LATER: u64 = 1_000_000_000;

/// How two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// When the runs part: the simulated time of the first event that only one has, nanoseconds.
    at: u64,
    /// The last events that both have.
    before: Vec<String>,
    /// The events of each from the first that differs.
    sides: [Vec<String>; 2],
    /// The world up to the last event that both have.
    common: Seen,
    /// Each world a little later.
    later: [Seen; 2],
}

/// Compares two traces, one event a line; `None` when they are the same.
///
/// # Errors
/// When one cannot be read.
pub fn diff(one: impl BufRead, other: impl BufRead) -> io::Result<Option<Difference>> {
    let (mut one, mut other) = (one.lines(), other.lines());
    let mut before = VecDeque::new();
    let mut common = Seen::default();
    loop {
        match (one.next().transpose()?, other.next().transpose()?) {
            (None, None) => return Ok(None),
            (Some(line), Some(same)) if line == same => {
                common.take(&line);
                before.push_back(line);
                if before.len() > CONTEXT_BEFORE {
                    before.pop_front();
                }
            }
            (first, second) => {
                let times = [&first, &second].into_iter().flatten().filter_map(|line| seen::time(line));
                let at = times.min().unwrap_or(common.at());
                let until = at.saturating_add(LATER);
                let (first, after_first) = follow(&common, first, &mut one, until)?;
                let (second, after_second) = follow(&common, second, &mut other, until)?;
                return Ok(Some(Difference {
                    at,
                    before: before.into(),
                    sides: [first, second],
                    common,
                    later: [after_first, after_second],
                }));
            }
        }
    }
}

/// Goes on with one run until then; its first events, and the world after them.
fn follow(
    common: &Seen,
    line: Option<String>,
    rest: &mut impl Iterator<Item = io::Result<String>>,
    until: u64,
) -> io::Result<(Vec<String>, Seen)> {
    let mut seen = common.clone();
    let mut shown = Vec::new();
    let mut next = line;
    while let Some(line) = next {
        if seen::time(&line).is_some_and(|at| at > until) {
            // A run that says nothing for so long has not ended.
            if shown.is_empty() {
                shown.push(line);
            }
            break;
        }
        seen.take(&line);
        if shown.len() < CONTEXT_AFTER {
            shown.push(line);
        }
        next = rest.next().transpose()?;
    }
    Ok((shown, seen))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.common.events() + 1;
        writeln!(f, "the runs part at event {number}, at {}", Nanos(self.at).as_secs())?;
        for line in &self.before {
            writeln!(f, "      {}", shown(line))?;
        }
        for (name, side) in ["A", "B"].into_iter().zip(&self.sides) {
            for line in side {
                writeln!(f, "  {name} > {}", shown(line))?;
            }
            if side.is_empty() {
                writeln!(f, "  {name} > (the run ended)")?;
            }
        }
        writeln!(f, "the world before that, the same in both")?;
        for (name, fact) in self.common.facts() {
            writeln!(f, "  {name}: {fact}")?;
        }
        let [one, other] = &self.later;
        let (one, other) = (one.facts(), other.facts());
        writeln!(f, "what differs {} s later", LATER / 1_000_000_000)?;
        let unknown = || "-".to_owned();
        let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        for name in names.into_iter().filter(|name| one.get(*name) != other.get(*name)) {
            writeln!(f, "  A {name}: {}", one.get(name).cloned().unwrap_or_else(unknown))?;
            writeln!(f, "  B {name}: {}", other.get(name).cloned().unwrap_or_else(unknown))?;
        }
        Ok(())
    }
}

fn shown(line: &str) -> String {
    crate::story::clipped(line, SHOWN_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(one: &[String], other: &[String]) -> Option<Difference> {
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        diff(text(one).as_bytes(), text(other).as_bytes()).unwrap()
    }

    fn common() -> Vec<String> {
        let mut lines = vec!["0 start a1".to_owned(), "3 up m1".to_owned()];
        lines.extend((10..40).map(|at| format!("{at} messages {at}")));
        lines
    }

    #[test]
    fn equal_traces_do_not_differ() {
        assert_eq!(traces(&common(), &common()), None);
        assert_eq!(traces(&[], &[]), None);
    }

    #[test]
    fn the_first_event_that_differs_is_shown_with_both_sides() {
        let (mut one, mut other) = (common(), common());
        one.extend(["51000000 leader m1".to_owned(), "60000000 end a1 killed".to_owned()]);
        other.extend(["52000000 leader m2".to_owned(), "2000000000 end a1 killed".to_owned()]);
        let shown = traces(&one, &other).expect("they differ").to_string();
        assert!(shown.contains("part at event 33, at 0.051 s"), "{shown}");
        assert!(shown.contains("      39 messages 39") && !shown.contains("34 messages"), "{shown}");
        assert!(
            shown.contains("A > 51000000 leader m1") && shown.contains("B > 52000000 leader m2"),
            "{shown}"
        );
        assert!(
            shown.contains("A m1: down, killed") && shown.contains("B m1: up"),
            "a second later: {shown}"
        );
    }

    #[test]
    fn a_run_that_is_silent_for_long_has_not_ended() {
        let (mut one, mut other) = (common(), common());
        one.push("51000000 leader m1".to_owned());
        other.push("3000000000 leader m2".to_owned());
        let shown = traces(&one, &other).expect("they differ").to_string();
        assert!(shown.contains("B > 3000000000 leader m2") && !shown.contains("the run ended"), "{shown}");
        let later = shown.split("1 s later").nth(1).expect("what differs later");
        assert!(later.contains("B leader seen last: nobody so far"), "{shown}");
    }

    #[test]
    fn a_run_that_ended_differs_from_one_that_went_on_however_late() {
        let mut longer = common();
        longer.push("60000000000 leader m1".to_owned());
        let shown = traces(&common(), &longer).expect("they differ").to_string();
        assert!(shown.contains("at event 33, at 60.000 s"), "{shown}");
        assert!(
            shown.contains("A > (the run ended)") && shown.contains("B > 60000000000 leader m1"),
            "{shown}"
        );
    }
}
