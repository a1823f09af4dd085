//! The page of a sweep: what was simulated, what was reached, and failures grouped by signature.

use std::collections::BTreeMap;
use std::path::Path;

use quorate_check::verdict::Class;
use serde::Serialize;

use super::PageError;
use super::document::Document;
use crate::cli::SweepArgs;
use crate::figures::{Figures, median_of};
use crate::report::{Report, gravity};
use crate::signature::Signature;
use crate::sweep::Summary;

/// Seeds of a group that are listed.
const SEEDS_MAX: usize = 12;

/// The page of a sweep.
pub struct SweepPage<'a> {
    summary: &'a Summary,
    told: &'a SweepArgs,
}

/// One seed.
#[derive(Serialize)]
struct Seed<'a> {
    seed: u64,
    class: Class,
    wall_ms: u64,
    operations: u64,
    faults: u64,
    simulated_ms: u64,
    headline: Option<&'a str>,
}

/// Failures that are of a kind.
#[derive(Serialize)]
struct Group {
    signature: String,
    class: Class,
    count: usize,
    seeds: Vec<u64>,
    sentence: String,
    command: String,
}

/// A median against what is due.
#[derive(Serialize)]
struct Median {
    name: &'static str,
    median: u64,
    due: u64,
}

/// All that the page holds.
#[derive(Serialize)]
struct Data<'a> {
    class: Class,
    first: u64,
    end: u64,
    mutant: Option<&'a str>,
    doubled: u64,
    wall_ms: u128,
    totals: BTreeMap<&'static str, u64>,
    classes: BTreeMap<Class, usize>,
    seeds: Vec<Seed<'a>>,
    groups: Vec<Group>,
    medians: Vec<Median>,
    faults: BTreeMap<&'a str, u64>,
    marks: BTreeMap<&'a str, u64>,
}

impl<'a> SweepPage<'a> {
    /// The page of a sweep that was told `told`.
    pub fn new(summary: &'a Summary, told: &'a SweepArgs) -> SweepPage<'a> {
        SweepPage { summary, told }
    }

    /// The page's text.
    ///
    /// # Errors
    /// [`PageError::Json`].
    pub fn render(&self) -> Result<String, PageError> {
        self.document(&self.title()).render(&self.data())
    }

    /// Writes the page.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn write(&self, path: &Path) -> Result<(), PageError> {
        self.document(&self.title()).write(&self.data(), path)
    }

    fn title(&self) -> String {
        format!("seeds {}..{}: {}", self.told.seeds.start, self.told.seeds.end, self.summary.class())
    }

    fn document<'t>(&self, title: &'t str) -> Document<'t> {
        Document {
            title,
            style: include_str!("assets/sweep.css"),
            body: include_str!("assets/sweep.html"),
            scripts: &[include_str!("assets/sweep.js")],
        }
    }

    fn data(&self) -> Data<'_> {
        let reports = self.summary.reports();
        let figures: Vec<Figures> = reports.iter().map(|report| report.figures).collect();
        let total = |of: fn(&Figures) -> u64| figures.iter().map(of).sum::<u64>();
        let mut classes: BTreeMap<Class, usize> = BTreeMap::new();
        let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
        for report in reports {
            *classes.entry(report.class).or_default() += 1;
            for (kind, count) in &report.faults {
                *faults.entry(kind).or_default() += count;
            }
        }
        Data {
            class: self.summary.class(),
            first: self.told.seeds.start,
            end: self.told.seeds.end,
            mutant: self.told.mutant.as_deref(),
            doubled: self.summary.doubled(),
            wall_ms: self.summary.wall().as_millis(),
            totals: BTreeMap::from([
                ("simulated_ms", total(|figures| figures.simulated_ms)),
                ("operations", total(|figures| figures.operations)),
                ("faults", total(|figures| figures.faults)),
                ("crashes", total(|figures| figures.crashes)),
                ("leader_changes", total(|figures| figures.leader_changes)),
                ("messages", total(|figures| figures.messages)),
            ]),
            classes,
            seeds: reports.iter().map(seed).collect(),
            groups: self.groups(),
            medians: Figures::DUE
                .iter()
                .map(|due| Median { name: due.name, median: median_of(&figures, due.of), due: due.least })
                .collect(),
            faults,
            marks: self.summary.marks(),
        }
    }

    /// The failures by signature, the gravest first, and then those that came most often.
    fn groups(&self) -> Vec<Group> {
        let mut kinds: BTreeMap<String, Vec<&Report>> = BTreeMap::new();
        for report in self.summary.reports().iter().filter(|report| report.class != Class::Pass) {
            let kind = Signature::of_report(report).map_or(report.class.to_string(), |kind| kind.to_string());
            kinds.entry(kind).or_default().push(report);
        }
        let mut groups: Vec<Group> = kinds
            .into_iter()
            .filter_map(|(signature, reports)| {
                let first = reports.first()?;
                Some(Group {
                    signature,
                    class: first.class,
                    count: reports.len(),
                    seeds: reports.iter().take(SEEDS_MAX).map(|report| report.seed).collect(),
                    sentence: first.headline(),
                    command: self.command(first.seed),
                })
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse((gravity(group.class), group.count)));
        groups
    }

    fn command(&self, seed: u64) -> String {
        let mutant = self.told.mutant.as_ref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
        format!("cargo sim page --seed {seed}{mutant} --out seed-{seed}.html")
    }
}

fn seed(report: &Report) -> Seed<'_> {
    let Figures { operations, faults, simulated_ms, .. } = report.figures;
    Seed {
        seed: report.seed,
        class: report.class,
        wall_ms: report.wall_ms,
        operations,
        faults,
        simulated_ms,
        headline: report.violations.first().map(|finding| finding.sentence.as_str()),
    }
}
