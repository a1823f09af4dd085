//! A sweep in one screen: verdicts, medians against what is due, marks and disturbances, those never reached too.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate_check::verdict::Class;

use super::worst;
use crate::figures::{Due, Figures, median_of};
use crate::hooks;
use crate::report::{Report, gravity};

/// Failed seeds that are listed.
const LISTED_MAX: usize = 10;
/// From so many seeds on a sweep whose medians are too low does not pass.
const SEEDS_FOR_MEDIANS: usize = 200;
/// From so many seeds on a sweep that never reached some mark does not pass, the rare ones aside.
const SEEDS_FOR_MARKS: usize = 200;
/// Marks that one seed in a hundred reaches, or fewer; the next rarest comes up some ten times in 200 seeds.
const RARE: [&str; 5] = [
    "a removed segment came back",
    "a replication stream asked for purged entries",
    "a snapshot replaced the state under a range",
    "a start found another's log beside the note",
    "an engine was rebuilt from the log",
];
/// From so many seeds on the rare ones are due too.
const SEEDS_FOR_RARE_MARKS: usize = 1_000;

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

    /// The gravest class; a sweep in which too little happened proves too little, which is trouble of our own.
    pub fn class(&self) -> Class {
        let trouble = (!self.shortfalls().is_empty()).then_some(Class::Harness);
        let worst = worst(&self.reports);
        trouble.into_iter().chain([worst]).max_by_key(|class| gravity(*class)).unwrap_or_default()
    }

    /// What a sweep of this size must show and this one does not, a sentence each. Runs with a planted bug are not
    /// held to it: they end where they fail.
    fn shortfalls(&self) -> Vec<String> {
        let seeds = self.reports.len();
        if self.reports.iter().any(|report| report.mutant.is_some()) {
            return Vec::new();
        }
        let mut shortfalls = Vec::new();
        if seeds >= SEEDS_FOR_MEDIANS {
            let low = self.medians().into_iter().filter(|(due, median)| *median < due.least);
            shortfalls.extend(low.map(|(due, median)| {
                format!("too little happened: {median} {} in the median, of {}", due.name, due.least)
            }));
        }
        if seeds >= SEEDS_FOR_MARKS {
            let marks = self.marks();
            let due = |mark: &str| seeds >= SEEDS_FOR_RARE_MARKS || !RARE.contains(&mark);
            let never = marks.iter().filter(|(mark, count)| **count == 0 && due(mark));
            shortfalls.extend(never.map(|(mark, _)| format!("in {seeds} seeds nobody reached: {mark}")));
        }
        shortfalls
    }

    fn medians(&self) -> Vec<(&'static Due, u64)> {
        let figures: Vec<Figures> = self.reports.iter().map(|report| report.figures).collect();
        Figures::DUE.iter().map(|due| (due, median_of(&figures, due.of))).collect()
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
        let total =
            |of: fn(&Figures) -> u64| self.reports.iter().map(|report| of(&report.figures)).sum::<u64>();
        let simulated = total(|it| it.simulated_ms);
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
        writeln!(
            f,
            "{} operations, {} faults, {} crashes, {} leader changes, {} messages",
            total(|it| it.operations),
            total(|it| it.faults),
            total(|it| it.crashes),
            total(|it| it.leader_changes),
            total(|it| it.messages)
        )?;
        let mut classes: BTreeMap<Class, Vec<&Report>> = BTreeMap::new();
        for report in &self.reports {
            classes.entry(report.class).or_default().push(report);
        }
        for (class, reports) in &classes {
            writeln!(f, "  {class:<16} {:>6}", reports.len())?;
        }
        writeln!(f, "medians")?;
        for (due, median) in self.medians() {
            let short = if median < due.least { "  TOO FEW" } else { "" };
            writeln!(f, "  {:<20} {median:>8} (due {}){short}", due.name, due.least)?;
        }
        show(f, "marks", "reached", &self.marks())?;
        show(f, "disturbances", "taken", &self.disturbances())?;
        write!(f, "worst: {}", self.class())?;
        for shortfall in self.shortfalls() {
            write!(f, "\n  {shortfall}")?;
        }
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
    fn a_large_sweep_in_which_too_little_happened_does_not_pass() {
        let often = || hooks::MARKS.iter().map(|place| place.name).filter(|mark| !RARE.contains(mark));
        let reports = |seeds: u64, fill: bool| -> Vec<Report> {
            let mut reports: Vec<Report> = (0..seeds).map(|seed| report(seed, Class::Pass, 9_000)).collect();
            for report in reports.iter_mut().filter(|_| fill) {
                let (simulated_ms, faults, leader_changes, wal_segments) = (80_000, 40, 9, 90);
                let (installs_and_purges, known_permille) = (90, 950);
                report.marks = often().map(|mark| (mark.to_owned(), 1)).collect();
                report.figures = Figures {
                    simulated_ms,
                    faults,
                    leader_changes,
                    wal_segments,
                    installs_and_purges,
                    known_permille,
                    ..report.figures
                };
            }
            reports
        };
        let summary = |reports| Summary::new(reports, 0, Duration::from_secs(1));
        assert_eq!(summary(reports(199, false)).class(), Class::Pass);
        assert_eq!(summary(reports(200, false)).class(), Class::Harness);
        assert_eq!(summary(reports(999, true)).class(), Class::Pass);
        for (seeds, missing) in [(1_000, RARE[0]), (200, often().next().expect("the product has marks"))] {
            let mut reports = reports(seeds, true);
            reports.iter_mut().for_each(|report| _ = report.marks.remove(missing));
            let summary = summary(reports);
            assert_eq!(summary.class(), Class::Harness);
            let want = format!("in {seeds} seeds nobody reached: {missing}");
            assert!(summary.to_string().contains(&want), "{summary}");
        }
        assert!(RARE.iter().all(|mark| hooks::MARKS.iter().any(|place| place.name == *mark)));
        let mut planted = reports(200, false);
        planted[0].mutant = Some("a planted bug".to_owned());
        assert_eq!(summary(planted).class(), Class::Pass);
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
