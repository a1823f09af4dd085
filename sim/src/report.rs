//! What one run says in the end: for people, and as one line of JSON for the sweep that started it.

use std::collections::BTreeMap;
use std::fmt;

use quorate_check::history::{History, Watch, WatchReceived};
use quorate_check::types::{Nanos, OpId, Revision, WatchNo};
use quorate_check::verdict::{Class, Violation};
use serde::{Deserialize, Serialize};

use crate::figures::Figures;

/// The outcome of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The plan's seed.
    pub seed: u64,
    /// The planted bug that was armed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// Whether its place in the code was reached.
    #[serde(default)]
    pub mutant_reached: bool,
    /// The verdict's class.
    pub class: Class,
    /// Every violation in a sentence, the gravest first, each with who found it.
    pub violations: Vec<Finding>,
    /// The run in numbers.
    pub figures: Figures,
    /// The hash over all events, in hex.
    pub trace: String,
    /// How many events there were.
    pub events: u64,
    /// How often each mark was reached.
    pub marks: BTreeMap<String, u64>,
    /// How many faults of each kind struck, by family and kind.
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    /// How often each legal disturbance was taken.
    #[serde(default)]
    pub disturbed: BTreeMap<String, u64>,
    /// Host time, milliseconds.
    pub wall_ms: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its class.
    pub class: Class,
    /// Who found it.
    pub by: String,
    /// What is wrong, in one sentence.
    pub sentence: String,
    /// More, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Where in the history it shows.
    #[serde(default, skip_serializing_if = "Spot::is_nowhere")]
    pub spot: Spot,
}

/// Where in a history a finding shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// When, if it was found while the run went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Nanos>,
    /// The operations involved, the one that is wrong first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OpId>,
    /// The watches involved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<WatchNo>,
    /// The revision, if it shows at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// What a report's line begins with on standard output, so that nothing else is taken for one.
pub const LINE_PREFIX: &str = "quorate-sim-report ";
/// How many findings the first screen shows.
const SHOWN_MAX: usize = 6;

/// Which class counts when there are several: broken promises before silence before trouble of our own.
pub fn gravity(class: Class) -> u8 {
    match class {
        Class::Safety => 5,
        Class::Crash => 4,
        Class::Liveness => 3,
        Class::Nondeterminism => 2,
        Class::Harness => 1,
        Class::Pass => 0,
    }
}

/// Sorts findings, the gravest first; the class of all of them.
pub fn gravest_first(findings: &mut [Finding]) -> Class {
    findings.sort_by_key(|finding| std::cmp::Reverse(gravity(finding.class)));
    findings.first().map(|finding| finding.class).unwrap_or_default()
}

impl Finding {
    /// A finding of the runner itself.
    pub fn new(class: Class, by: &str, sentence: impl Into<String>) -> Finding {
        Finding {
            class,
            by: by.to_owned(),
            sentence: sentence.into(),
            details: Vec::new(),
            spot: Spot::default(),
        }
    }

    /// When it shows, in simulated milliseconds, rounded up.
    pub fn at_ms(&self) -> Option<u64> {
        self.spot.at.map(|at| at.0.div_ceil(1_000_000))
    }

    /// The finding with the moment at which the last of what is involved was seen, where it has none; of what involves
    /// nobody, with the moment at which its revision was first answered.
    pub fn located(mut self, history: &History) -> Finding {
        let Spot { at, operations, watches, revision } = &self.spot;
        // What is missing at the end shows at no earlier moment.
        if at.is_some() || self.class != Class::Safety {
            return self;
        }
        let involved = history.operations.iter().filter(|operation| operations.contains(&operation.id));
        let ends = involved.map(|operation| operation.returned);
        // A watch goes on long after what was wrong with it, so it tells a time only at the revision that is named.
        let shows = |watch: &Watch| {
            let named = (*revision)?;
            let shows = |response: &&WatchReceived| {
                response.events.iter().any(|event| event.kv.mod_revision >= named)
            };
            watch.received.iter().find(shows).map(|response| response.at)
        };
        let watched = history.watches.iter().filter(|watch| watches.contains(&watch.id)).filter_map(shows);
        let nobody = operations.is_empty() && watches.is_empty();
        let first_answered = || {
            let named = (*revision)?;
            let answered =
                history.operations.iter().filter_map(|operation| Some((operation, operation.answer()?)));
            let reached = answered.filter(|(_, (header, _))| header.revision >= named);
            reached.map(|(operation, _)| operation.returned).min()
        };
        self.spot.at = ends.chain(watched).max().or_else(|| nobody.then(first_answered).flatten());
        self
    }

    /// Whether both are about the same thing, wherever it was seen.
    pub fn says_the_same(&self, other: &Finding) -> bool {
        (self.class, &self.by, &self.sentence, &self.details)
            == (other.class, &other.by, &other.sentence, &other.details)
    }
}

impl From<&Violation> for Finding {
    fn from(violation: &Violation) -> Finding {
        Finding {
            class: violation.class,
            by: violation.oracle.to_string(),
            sentence: violation.sentence.clone(),
            details: violation.details.clone(),
            spot: Spot {
                at: None,
                operations: violation.operations.clone(),
                watches: violation.watches.clone(),
                revision: violation.revision,
            },
        }
    }
}

impl Spot {
    fn is_nowhere(&self) -> bool {
        *self == Spot::default()
    }
}

impl Report {
    /// The report of a run that ended before it could say anything itself.
    pub fn lost(seed: u64, class: Class, sentence: impl Into<String>) -> Report {
        Report {
            seed,
            mutant: None,
            mutant_reached: false,
            class,
            violations: vec![Finding::new(class, "runner", sentence)],
            figures: Figures::default(),
            trace: String::new(),
            events: 0,
            marks: BTreeMap::new(),
            faults: BTreeMap::new(),
            disturbed: BTreeMap::new(),
            wall_ms: 0,
        }
    }

    /// Adds what was found when all else was said.
    pub fn add(&mut self, finding: Finding) {
        self.violations.push(finding);
        self.class = gravest_first(&mut self.violations);
    }

    /// The line for the sweep.
    ///
    /// # Errors
    /// When the report has no JSON form, which would be a fault of this program.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{LINE_PREFIX}{}", serde_json::to_string(self)?))
    }

    /// Finds the report in what a run wrote to standard output.
    pub fn from_output(output: &str) -> Option<Report> {
        let line = output.lines().find_map(|line| line.strip_prefix(LINE_PREFIX))?;
        serde_json::from_str(line).ok()
    }

    /// The first finding in one line.
    pub fn headline(&self) -> String {
        match self.violations.first() {
            Some(first) => format!("[{}] {}", first.by, first.sentence),
            None => "nothing is wrong".to_owned(),
        }
    }
}

/// A report with every finding, for a file; the report itself shows as many as fit a screen.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a>(pub &'a Report);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f, usize::MAX)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, SHOWN_MAX)
    }
}

impl Report {
    fn show(&self, f: &mut fmt::Formatter<'_>, findings_max: usize) -> fmt::Result {
        let figures = &self.figures;
        writeln!(f, "seed {}: {}", self.seed, self.class)?;
        for finding in self.violations.iter().take(findings_max) {
            writeln!(f, "  {} [{}] {}", finding.class, finding.by, finding.sentence)?;
            for line in finding.details.iter().take(4) {
                writeln!(f, "      {line}")?;
            }
        }
        if let Some(more) = self.violations.len().checked_sub(findings_max).filter(|more| *more > 0) {
            writeln!(f, "  and {more} more")?;
        }
        if let Some(mutant) = &self.mutant {
            let reached =
                if self.mutant_reached { "its place was reached" } else { "its place was never reached" };
            writeln!(f, "  planted: {mutant}; {reached}")?;
        }
        writeln!(
            f,
            "  {} ms simulated in {} ms: {} operations ({}.{} % known), {} faults, {} crashes, {} leader changes",
            figures.simulated_ms,
            self.wall_ms,
            figures.operations,
            figures.known_permille / 10,
            figures.known_permille % 10,
            figures.faults,
            figures.crashes,
            figures.leader_changes
        )?;
        writeln!(
            f,
            "  {} WAL segments, {} snapshots, {} installs and purges, {} messages",
            figures.wal_segments, figures.snapshots_built, figures.installs_and_purges, figures.messages
        )?;
        write!(f, "  trace {} over {} events", self.trace, self.events)
    }
}

#[cfg(test)]
mod tests {
    use quorate_check::history::{
        Header, MemberAsked, Operation, Outcome, Put, PutResponse, Request, Response,
    };
    use quorate_check::types::{ClientId, MemberId};

    use super::*;

    fn answered(id: u64, returned: u64, revision: i64) -> Operation {
        Operation {
            id: OpId(id),
            client: ClientId(1),
            member: MemberAsked { id: MemberId(1), index: 0 },
            invoked: Nanos(0),
            returned: Nanos(returned),
            request: Request::Put(Put::default()),
            outcome: Outcome::Ok {
                header: Header { revision: Revision(revision), ..Header::default() },
                response: Response::Put(PutResponse::default()),
            },
        }
    }

    #[test]
    fn a_finding_shows_where_what_is_involved_was_seen_last_or_its_revision_first() {
        let history = History {
            operations: vec![answered(1, 10, 2), answered(2, 40, 3), answered(3, 30, 4)],
            ..History::default()
        };
        let at = |class, operations: &[u64], revision: Option<i64>| {
            let operations = operations.iter().copied().map(OpId).collect();
            let revision = revision.map(Revision);
            let watched = Spot { watches: vec![WatchNo(7)], revision, ..Spot::default() };
            let claim = Finding { spot: watched, ..Finding::new(class, "watch", "claims what has not come") };
            assert_eq!(
                claim.located(&history).spot.at,
                None,
                "it was not seen when its revision was answered"
            );
            let spot = Spot { operations, revision, ..Spot::default() };
            Finding { spot, ..Finding::new(class, "log-order", "wrong") }.located(&history).spot.at
        };
        assert_eq!(at(Class::Safety, &[1, 2], Some(4)), Some(Nanos(40)));
        assert_eq!(at(Class::Safety, &[], Some(3)), Some(Nanos(30)), "a later revision was answered before");
        assert_eq!(at(Class::Safety, &[], Some(5)), None, "nobody was told of it");
        assert_eq!(at(Class::Safety, &[], None), None);
        assert_eq!(at(Class::Liveness, &[1], Some(2)), None, "what is missing shows at no moment");
    }

    #[test]
    fn a_report_is_found_again_among_other_output() {
        let report = Report::lost(7, Class::Safety, "two leaders in term 3");
        let output = format!("noise\n{}\nmore noise\n", report.to_line().unwrap());
        assert_eq!(Report::from_output(&output), Some(report));
        assert_eq!(Report::from_output("noise"), None);
    }
}
