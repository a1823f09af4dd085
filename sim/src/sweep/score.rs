//! The mutation score: how many seeds it takes until each planted bug is caught, over ranges of seeds that do not
//! meet.
//!
//! A range's result is the number of seeds run until the first that fails with the bug and passes without it. A
//! median or worst that lies beyond a range is shown as more than the range's length: what was not caught in so
//! many seeds is not known to be caught in any number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;

use quorate_check::verdict::Class;

use super::ledger::{Ledger, Small};
use crate::mutants::{Area, Mutant};

/// The ranges of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// The first seed of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Seeds in each.
    pub seeds: u64,
}

impl Ranges {
    /// The `nth` range, from 0.
    pub fn nth(&self, nth: u64) -> Range<u64> {
        let start = self.first.saturating_add(nth.saturating_mul(self.seeds));
        start..start.saturating_add(self.seeds)
    }
}

/// What became of one bug in one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first seed that caught it was the `seeds`th; all runs up to it took so long.
    Caught {
        /// Seeds run, that one included.
        seeds: u64,
        /// Host time of these runs, milliseconds.
        wall_ms: u64,
        /// Who caught it.
        by: String,
    },
    /// All seeds were run, and none caught it.
    Survived,
    /// Not all seeds were run yet: this one is next.
    Open(u64),
    /// The seed's run with the bug failed, and its clean run is to be made.
    Unconfirmed(u64),
}

/// What is known of a bug in a range.
pub fn outcome(ledger: &Ledger, mutant: &str, range: Range<u64>) -> Outcome {
    let mut wall_ms = 0_u64;
    for (seed, count) in range.zip(1_u64..) {
        let Some(run) = ledger.run(Some(mutant), seed) else { return Outcome::Open(seed) };
        wall_ms = wall_ms.saturating_add(run.wall_ms);
        if !run.finds() || !run.reached {
            continue;
        }
        match ledger.run(None, seed) {
            None => return Outcome::Unconfirmed(seed),
            Some(clean) if clean.class == Class::Pass => {
                return Outcome::Caught { seeds: count, wall_ms, by: run.by };
            }
            Some(_) => {}
        }
    }
    Outcome::Survived
}

/// The first seed of all ranges that caught it; none while a range before that is not run to its end.
pub fn first_catch(ledger: &Ledger, mutant: &str, ranges: Ranges) -> Option<u64> {
    for range in (0..ranges.count).map(|nth| ranges.nth(nth)) {
        let start = range.start;
        match outcome(ledger, mutant, range) {
            Outcome::Caught { seeds, .. } => return Some(start.saturating_add(seeds).saturating_sub(1)),
            Outcome::Survived => {}
            Outcome::Open(_) | Outcome::Unconfirmed(_) => return None,
        }
    }
    None
}

/// One bug's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    area: Area,
    name: &'static str,
    /// Ranges that were run to their end.
    measured: u64,
    /// Seeds until caught, of each range measured, in order; `None` for a range that the bug survived.
    seeds: Vec<Option<u64>>,
    /// Host time until caught, in order, milliseconds.
    wall_ms: Vec<u64>,
    oracles: BTreeMap<String, u64>,
    /// How small the first plan that caught it became.
    small: Option<Small>,
}

impl Score {
    /// What the ledger says of a bug.
    pub fn of(ledger: &Ledger, mutant: &Mutant, ranges: Ranges) -> Score {
        let mut score = Score {
            area: mutant.area,
            name: mutant.name,
            measured: 0,
            seeds: Vec::new(),
            wall_ms: Vec::new(),
            oracles: BTreeMap::new(),
            // Of another measurement's seeds it would tell nothing here.
            small: ledger
                .small(mutant.name)
                .filter(|small| first_catch(ledger, mutant.name, ranges) == Some(small.seed)),
        };
        for nth in 0..ranges.count {
            match outcome(ledger, mutant.name, ranges.nth(nth)) {
                Outcome::Caught { seeds, wall_ms, by } => {
                    score.measured += 1;
                    score.seeds.push(Some(seeds));
                    score.wall_ms.push(wall_ms);
                    *score.oracles.entry(by).or_default() += 1;
                }
                Outcome::Survived => {
                    score.measured += 1;
                    score.seeds.push(None);
                }
                Outcome::Open(_) | Outcome::Unconfirmed(_) => {}
            }
        }
        // What survived takes longer than anything that was caught.
        score.seeds.sort_by_key(|seeds| seeds.unwrap_or(u64::MAX));
        score.wall_ms.sort_unstable();
        score
    }

    fn caught(&self) -> u64 {
        u64::try_from(self.seeds.iter().flatten().count()).unwrap_or(u64::MAX)
    }

    /// Whether it was measured, and no range caught it.
    pub fn survived(&self) -> bool {
        self.measured > 0 && self.caught() == 0
    }

    fn row(&self, range_seeds: u64) -> String {
        let shown = |seeds: Option<&Option<u64>>| match seeds {
            None => "-".to_owned(),
            Some(None) => format!("> {range_seeds}"),
            Some(Some(seeds)) => seeds.to_string(),
        };
        let median = shown(self.seeds.get(middle(self.seeds.len())));
        let worst = shown(self.seeds.last());
        let seconds = self
            .wall_ms
            .get(middle(self.wall_ms.len()))
            .map_or("-".to_owned(), |wall_ms| wall_ms.div_ceil(1000).to_string());
        let mut oracles: Vec<_> = self.oracles.iter().collect();
        oracles.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let oracles: Vec<String> = oracles.into_iter().map(|(by, count)| format!("{by} ({count})")).collect();
        let small = self.small.as_ref().map_or("-".to_owned(), |small| {
            format!("{}{}", small.size, if small.minimal { "" } else { "; time was up" })
        });
        format!(
            "| {} | {} | {} of {} | {median} | {worst} | {seconds} | {} | {small} |",
            self.area,
            self.name,
            self.caught(),
            self.measured,
            oracles.join(", ")
        )
    }
}

/// The place of the median among so many, the lower of two.
fn middle(len: usize) -> usize {
    len.saturating_sub(1) / 2
}

/// The whole table, as Markdown.
pub fn table(scores: &[Score], ranges: Ranges, commit: &str, date: &str) -> String {
    let mut text = String::new();
    let measured: Vec<&Score> = scores.iter().filter(|score| score.measured > 0).collect();
    let caught = measured.iter().filter(|score| score.caught() > 0).count();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# Mutation score\n");
    let _ = writeln!(
        text,
        "Measured on {date} at commit {commit}: {caught} of {} planted bugs measured are caught; the catalogue had {}.\n",
        measured.len(),
        scores.len()
    );
    let _ = writeln!(
        text,
        "Each bug is hunted from seed {} on, in ranges of {} seeds, {} at most. A range's result is the number of seeds\n\
         run until the first that fails with the bug and passes without it. `cargo sim mutants` says what each bug\n\
         breaks and where it stands; no oracle knows of any.\n",
        ranges.first, ranges.seeds, ranges.count
    );
    let small: Vec<&Small> = scores.iter().filter_map(|score| score.small.as_ref()).collect();
    let median = |mut sizes: Vec<usize>| {
        sizes.sort_unstable();
        sizes.get(middle(sizes.len())).copied()
    };
    let faults = median(small.iter().map(|small| small.size.faults).collect());
    let operations = median(small.iter().map(|small| small.size.operations).collect());
    if let (Some(faults), Some(operations)) = (faults, operations) {
        let _ = writeln!(
            text,
            "The first plan that caught it was shrunk for {} of them: in the median to {faults} faults and {operations} \
             operations;\nfrom {} of these plans nothing more could be taken away.\n",
            small.len(),
            small.iter().filter(|small| small.minimal).count()
        );
    }
    let _ = writeln!(text, "| area | planted | measured | caught |\n| --- | ---: | ---: | ---: |");
    for area in scores.iter().map(|score| score.area).collect::<BTreeSet<_>>() {
        let of = scores.iter().filter(|score| score.area == area);
        let done = measured.iter().filter(|score| score.area == area);
        let found = done.clone().filter(|score| score.caught() > 0);
        let _ = writeln!(text, "| {area} | {} | {} | {} |", of.count(), done.count(), found.count());
    }
    let _ = writeln!(
        text,
        "\n| area | planted bug | caught in ranges | median seeds | worst seeds | median seconds | by (ranges) | shrunk to |\n\
         | --- | --- | --- | ---: | ---: | ---: | --- | --- |"
    );
    let mut rows: Vec<&Score> = scores.iter().collect();
    rows.sort_by_key(|score| (score.area, score.name));
    for score in rows {
        let _ = writeln!(text, "{}", score.row(ranges.seeds));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::CATALOGUE;
    use crate::shrink::Size;
    use crate::sweep::ledger::Run;

    const RANGES: Ranges = Ranges { first: 0, count: 3, seeds: 4 };

    fn note(ledger: &Ledger, mutant: Option<&str>, seed: u64, class: Class) {
        let mutant = mutant.map(str::to_owned);
        let by = "watch".to_owned();
        ledger.note(Run { mutant, seed, class, reached: true, by, wall_ms: 2_000 }).unwrap();
    }

    #[test]
    fn a_range_counts_seeds_until_the_first_real_catch() {
        let path = std::env::temp_dir().join(format!("quorate-score-{}.jsonl", std::process::id()));
        let ledger = Ledger::open(&path, "build").unwrap();
        let mutant = &CATALOGUE[0];
        let known = |nth| outcome(&ledger, mutant.name, RANGES.nth(nth));
        assert_eq!(known(0), Outcome::Open(0));
        note(&ledger, Some(mutant.name), 0, Class::Safety);
        assert_eq!(known(0), Outcome::Unconfirmed(0));
        // The seed fails anyway: it proves nothing.
        note(&ledger, None, 0, Class::Liveness);
        assert_eq!(known(0), Outcome::Open(1));
        note(&ledger, Some(mutant.name), 1, Class::Harness);
        note(&ledger, Some(mutant.name), 2, Class::Crash);
        note(&ledger, None, 2, Class::Pass);
        assert_eq!(known(0), Outcome::Caught { seeds: 3, wall_ms: 6_000, by: "watch".to_owned() });
        for seed in 4..8 {
            note(&ledger, Some(mutant.name), seed, Class::Pass);
        }
        assert_eq!((known(1), known(2)), (Outcome::Survived, Outcome::Open(8)));
        let scores: Vec<Score> = CATALOGUE.iter().map(|mutant| Score::of(&ledger, mutant, RANGES)).collect();
        assert!(!scores[0].survived());
        let table = table(&scores, RANGES, "abc", "2026-01-02");
        assert!(table.contains("2026-01-02 at commit abc: 1 of 1 planted bugs measured"), "{table}");
        let row = format!("| {} | {} | 1 of 2 | 3 | > 4 | 6 | watch (1) |", mutant.area, mutant.name);
        assert!(table.contains(&format!("{row} - |")), "{table}");
        assert!(!table.contains("shrunk: in the median"), "{table}");
        assert_eq!(first_catch(&ledger, mutant.name, RANGES), Some(2));
        let size = Size { faults: 2, operations: 7, members: 3, simulated_ms: 4_100 };
        let small = Small { planted: mutant.name.to_owned(), seed: 2, size, runs: 9, minimal: true };
        ledger.note_small(small).unwrap();
        let scores: Vec<Score> = CATALOGUE.iter().map(|mutant| Score::of(&ledger, mutant, RANGES)).collect();
        let table = super::table(&scores, RANGES, "abc", "2026-01-02");
        assert!(table.contains(&format!("{row} 2 faults, 7 operations, 3 members, 4.1 s |")), "{table}");
        assert!(table.contains("in the median to 2 faults and 7 operations;\nfrom 1 of"), "{table}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn ranges_do_not_meet() {
        assert_eq!((RANGES.nth(0), RANGES.nth(1)), (0..4, 4..8));
    }
}
