//! A sweep in one screen: verdicts, medians against what is due, marks and disturbances, those never reached too.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate_check::verdict::Class;

use super::worst;
use crate::figures::{Figures, median_of};
use crate::hooks;
use crate::report::Report;

/// Failed seeds that are listed.
const LISTED_MAX: usize = 10;

/// What a sweep found.
#[derive(Clone, Debug)]
pub struct Summary {
    reports: Vec<Report>,
    doubled: u64,
    wall: Duration,
}

impl Summary {
    /// The summary of these reports, `doubled` of which were run twice.
    pub fn new(reports: Vec<Report>, doubled: u64, wall: Duration) -> Summary {
        Summary { reports, doubled, wall }
    }

    /// The gravest class.
    pub fn class(&self) -> Class {
        worst(&self.reports)
    }

    /// The reports, by seed.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// How many seeds were run twice.
    pub fn doubled(&self) -> u64 {
        self.doubled
    }

    /// How long it all took, host time.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// Marks with how often all runs together reached them, those never reached included.
    pub fn marks(&self) -> BTreeMap<&str, u64> {
        let mut marks: BTreeMap<&str, u64> = hooks::MARKS.iter().map(|place| (place.name, 0)).collect();
        for (mark, count) in self.reports.iter().flat_map(|report| &report.marks) {
            *marks.entry(mark).or_default() += count;
        }
        marks
    }

    /// Disturbances with how often all runs together took them, those never taken included.
    fn disturbances(&self) -> BTreeMap<&str, u64> {
        let mut places: BTreeMap<&str, u64> = hooks::PLACES.iter().map(|place| (place.name, 0)).collect();
        for (place, count) in self.reports.iter().flat_map(|report| &report.disturbed) {
            *places.entry(place).or_default() += count;
        }
        places
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.reports.len();
        let simulated: u64 = self.reports.iter().map(|report| report.figures.simulated_ms).sum();
        let wall_ms = u64::try_from(self.wall.as_millis()).unwrap_or(u64::MAX).max(1);
        let tenths = simulated * 10 / wall_ms;
        writeln!(
            f,
            "{seeds} seeds ({} of them twice), {} s simulated in {} s: {}.{} s a second",
            self.doubled,
            simulated / 1000,
            wall_ms / 1000,
            tenths / 10,
            tenths % 10
        )?;
        let mut classes: BTreeMap<Class, Vec<&Report>> = BTreeMap::new();
        for report in &self.reports {
            classes.entry(report.class).or_default().push(report);
        }
        for (class, reports) in &classes {
            writeln!(f, "  {class:<16} {:>6}", reports.len())?;
        }
        let figures: Vec<Figures> = self.reports.iter().map(|report| report.figures).collect();
        writeln!(f, "medians")?;
        for due in &Figures::DUE {
            let median = median_of(&figures, due.of);
            let short = if median < due.least { "  TOO FEW" } else { "" };
            writeln!(f, "  {:<20} {median:>8} (due {}){short}", due.name, due.least)?;
        }
        show(f, "marks", "reached", &self.marks())?;
        show(f, "disturbances", "taken", &self.disturbances())?;
        write!(f, "worst: {}", self.class())?;
        // Last, where who scrolls to the end, and a log that is cut, still has them.
        for report in self.reports.iter().filter(|report| report.class != Class::Pass).take(LISTED_MAX) {
            write!(f, "\n  seed {}: {} {}", report.seed, report.class, report.headline())?;
        }
        Ok(())
    }
}

/// A list of hooks with their counts, those that stand at 0 last.
fn show(f: &mut fmt::Formatter<'_>, what: &str, done: &str, counts: &BTreeMap<&str, u64>) -> fmt::Result {
    let reached = counts.values().filter(|count| **count > 0).count();
    writeln!(f, "{what}: {reached} of {} {done}", counts.len())?;
    for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
        writeln!(f, "  {name:<56} {count:>8}")?;
    }
    for (name, _) in counts.iter().filter(|(_, count)| **count == 0) {
        writeln!(f, "  {name:<56}    never")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, class: Class, operations: u64) -> Report {
        let mut report = Report::lost(seed, class, "what was seen");
        report.figures.operations = operations;
        report
    }

    #[test]
    fn safety_is_worse_than_any_trouble_of_ours() {
        let mut reports = vec![report(1, Class::Pass, 10), report(2, Class::Harness, 20)];
        assert_eq!(worst(&reports), Class::Harness);
        reports.push(report(3, Class::Safety, 30));
        assert_eq!(worst(&reports), Class::Safety);
        assert_eq!(worst(&[]), Class::Pass);
    }

    #[test]
    fn failed_seeds_come_last() {
        let reports =
            vec![report(1, Class::Pass, 10), report(7, Class::Safety, 20), report(9, Class::Harness, 20)];
        let shown = Summary::new(reports, 0, Duration::from_secs(1)).to_string();
        let end: Vec<&str> = shown.lines().rev().take(3).collect();
        assert_eq!(end[2], "worst: safety");
        assert_eq!(end[1], "  seed 7: safety [runner] what was seen");
        assert!(end[0].starts_with("  seed 9:"), "{shown}");
    }

    #[test]
    fn medians_below_what_is_due_are_called_out() {
        let reports = (0..3).map(|seed| report(seed, Class::Pass, 2_000 + seed)).collect();
        let shown = Summary::new(reports, 1, Duration::from_secs(3)).to_string();
        let line = |name: &str| shown.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert!(line("operations").contains("2001") && !line("operations").contains("TOO FEW"), "{shown}");
        assert!(line("faults").contains("TOO FEW"), "{shown}");
    }

    #[test]
    fn marks_that_nobody_reached_are_listed() {
        let mut reached = report(1, Class::Pass, 1);
        reached.marks.insert("a mark".to_owned(), 3);
        let summary = Summary::new(vec![reached], 0, Duration::from_secs(1));
        assert_eq!(summary.marks().get("a mark"), Some(&3));
        for place in hooks::MARKS {
            assert_eq!(summary.marks().get(place.name), Some(&0), "{}", place.name);
        }
    }
}
