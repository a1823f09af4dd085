//! `cargo sim replay`: one saved plan or one seed again, whole or up to a moment, with the log of a window.
//!
//! Its exit codes suit `git bisect run`: what says nothing about the product (a plan that this build cannot read,
//! wrong arguments, trouble of the harness) is 125, which skips the commit.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use quorate_check::types::Nanos;
use quorate_check::verdict::Class;

use crate::diff::seen::Seen;
use crate::log::Filter;
use crate::moment::Moment;

/// What `git bisect run` takes for "this commit cannot be judged".
pub const CANNOT_JUDGE: u8 = 125;
/// Events that are shown before the moment at which a run stops.
const EVENTS_SHOWN: usize = 20;
/// Characters of an event that are shown.
const EVENT_CHARS: usize = 240;

/// Arguments of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// A plan file, or a seed.
    #[arg(value_name = "PLAN|SEED")]
    pub what: String,
    /// Stop there and show what came last: an event's number, or a simulated time such as 3.2s or 250ms.
    #[arg(long, value_name = "MOMENT")]
    pub until: Option<Moment>,
    /// Print the log from there on only.
    #[arg(long, value_name = "MOMENT", requires = "log")]
    pub from: Option<Moment>,
    /// Give the same story another course.
    #[arg(long, value_name = "N")]
    pub schedule_seed: Option<u64>,
    /// Arm a planted bug.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Write every event of the trace here.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write the history here, one JSON record a line.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// The product's log on standard error: a level, or target=level, by commas.
    #[arg(long, value_name = "LEVEL", value_parser = |text: &str| Filter::parse(text))]
    pub log: Option<Filter>,
}

impl ReplayArgs {
    /// The seed, or else the plan's file.
    pub fn subject(&self) -> (Option<u64>, Option<PathBuf>) {
        match self.what.parse() {
            Ok(seed) => (Some(seed), None),
            Err(_) => (None, Some(PathBuf::from(&self.what))),
        }
    }
}

impl ReplayArgs {
    /// Says what of the window makes no sense, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self) -> Result<(), String> {
        match (self.from, self.until) {
            (Some(Moment::Time(from)), Some(Moment::Time(until))) if from > until => {}
            (Some(Moment::Event(from)), Some(Moment::Event(until))) if from > until => {}
            _ => return Ok(()),
        }
        Err("--from is behind --until: there is no log between them".to_owned())
    }
}

/// The exit code of a replay.
pub fn exit_code(class: Class) -> u8 {
    match class {
        Class::Harness => CANNOT_JUDGE,
        other => other.exit_code(),
    }
}

/// A part of a run, and how far the run has come.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Where it begins; the start of the run if nothing is said.
    pub from: Option<Moment>,
    /// Events of the trace so far.
    pub events: Arc<AtomicU64>,
}

impl Window {
    /// Whether it has begun at this simulated time.
    pub fn is_open(&self, now: Nanos) -> bool {
        self.from.is_none_or(|from| from.has_come(self.events.load(Ordering::Relaxed), now))
    }
}

/// Watches for the moment at which a run is to stop, and remembers what came last.
#[derive(Clone, Debug)]
pub struct Stop {
    until: Moment,
    last: VecDeque<String>,
    seen: Seen,
}

impl Stop {
    /// A stop at this moment.
    pub fn at(until: Moment) -> Stop {
        Stop { until, last: VecDeque::new(), seen: Seen::default() }
    }

    /// Takes in an event, which happened at `at`; true when the moment has come. What happens after a time is no
    /// longer taken in.
    pub fn take(&mut self, line: &str, at: Nanos) -> bool {
        if matches!(self.until, Moment::Time(until) if at > until) {
            return true;
        }
        let line = line.trim_end();
        self.seen.take(line);
        self.last.push_back(format!(
            "{:>9} {}",
            self.seen.events(),
            crate::story::clipped(line, EVENT_CHARS)
        ));
        if self.last.len() > EVENTS_SHOWN {
            self.last.pop_front();
        }
        matches!(self.until, Moment::Event(until) if self.seen.events() >= until)
    }

    /// The last events, and what the trace tells of the world.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for line in &self.last {
            // Writing into a string cannot fail.
            let _ = writeln!(shown, "{line}");
        }
        let _ = writeln!(shown, "stopped at {}; the world, as far as the trace tells", self.until);
        for (name, fact) in self.seen.facts() {
            let _ = writeln!(shown, "  {name}: {fact}");
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stops_at_its_moment_and_shows_what_came_last() {
        let mut stop = Stop::at(Moment::Event(30));
        for number in 1..30 {
            assert!(!stop.take(&format!("{number} messages {number}\n"), Nanos(number)));
        }
        assert!(stop.take("30 leader m2\n", Nanos(30)));
        let shown = stop.shown();
        assert!(
            shown.contains("       30 30 leader m2") && shown.contains("       11 11 messages 11"),
            "{shown}"
        );
        assert!(!shown.contains("10 messages 10") && shown.contains("leader seen last: m2"), "{shown}");
    }

    #[test]
    fn what_happens_after_a_time_is_not_shown() {
        let mut stop = Stop::at(Moment::Time(Nanos(7)));
        assert!(!stop.take("7 leader m2\n", Nanos(7)));
        assert!(stop.take("8 leader m3\n", Nanos(8)));
        assert!(stop.shown().contains("leader m2") && !stop.shown().contains("m3"), "{}", stop.shown());
    }

    #[test]
    fn a_window_opens_at_an_event_or_a_time() {
        let window = Window { from: Some(Moment::Event(5)), ..Window::default() };
        assert!(!window.is_open(Nanos(1_000)));
        window.events.store(5, Ordering::Relaxed);
        assert!(window.is_open(Nanos(0)));
        let window = Window { from: Some(Moment::Time(Nanos(7))), ..Window::default() };
        assert!(!window.is_open(Nanos(6)) && window.is_open(Nanos(7)));
        assert!(Window::default().is_open(Nanos(0)));
    }

    #[test]
    fn what_cannot_be_judged_skips_a_commit() {
        assert_eq!(exit_code(Class::Pass), 0);
        assert_eq!(exit_code(Class::Harness), 125);
        for bad in [Class::Safety, Class::Liveness, Class::Crash, Class::Nondeterminism] {
            assert!((1..125).contains(&exit_code(bad)), "{bad}");
        }
    }

    #[test]
    fn a_number_is_a_seed_and_anything_else_a_file() {
        let args = |what: &str| ReplayArgs {
            what: what.to_owned(),
            until: None,
            from: None,
            schedule_seed: None,
            mutant: None,
            trace: None,
            history: None,
            log: None,
        };
        assert_eq!(args("17").subject(), (Some(17), None));
        assert_eq!(args("17.json").subject(), (None, Some(PathBuf::from("17.json"))));
    }
}
