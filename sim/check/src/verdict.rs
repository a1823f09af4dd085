//! What a judgement says: its class, its exit code, and every violation in one sentence each.

use crate::types::{OpId, Revision, WatchNo, is_default};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of outcome of a run, the gravest last but one; each has an exit code of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing is wrong.
    #[default]
    Pass,
    /// A promise about data was broken.
    Safety,
    /// Something due did not come in time after all faults were healed.
    Liveness,
    /// The product panicked or stopped by itself. The runner says so, not these oracles.
    Crash,
    /// One seed gave two different runs. The runner says so, not these oracles.
    Nondeterminism,
    /// The harness itself failed, or could not decide. Never a pass.
    Harness,
}

impl Class {
    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Pass => 0,
            Class::Safety => 10,
            Class::Liveness => 11,
            Class::Crash => 12,
            Class::Nondeterminism => 13,
            Class::Harness => 14,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Pass => "pass",
            Class::Safety => "safety",
            Class::Liveness => "liveness",
            Class::Crash => "crash",
            Class::Nondeterminism => "nondeterminism",
            Class::Harness => "harness",
        })
    }
}

/// Who found a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oracle {
    /// The replay of all changes in revision order.
    RevisionOrder,
    /// The sweep that holds revision order against real time.
    RealTime,
    /// The register of compactions.
    Compaction,
    /// Ids, terms and revisions in headers.
    Header,
    /// Hashes across members.
    Hash,
    /// The guarantees of watches.
    Watch,
    /// The guarantees of leases.
    Lease,
    /// Raft: at most one leader a term.
    ElectionSafety,
    /// Raft: a leader never takes back its own entries.
    LeaderAppendOnly,
    /// Raft: logs that share an entry share all before it.
    LogMatching,
    /// Raft: later leaders hold what was committed.
    LeaderCompleteness,
    /// Raft: no two members apply different entries at one index.
    StateMachineSafety,
    /// Raft: what was committed or durable is not lost.
    CommittedNeverLost,
    /// Raft: what a member tells its leader to have is durable.
    AcknowledgedDurable,
    /// Who was replaced never acts again, and no id is given twice.
    GoneForGood,
    /// Who is put in another's place has its vote before the next one is.
    OneByOne,
    /// Equal states at equal log entries.
    Equality,
    /// Every logged command against the log's own order.
    LogOrder,
    /// The guarantees of locks and elections.
    Lock,
    /// Images of members' states against the log.
    Image,
    /// Who may do what.
    Rights,
    /// The harness's own consistency.
    Harness,
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Oracle::RevisionOrder => "revision-order",
            Oracle::RealTime => "real-time",
            Oracle::Compaction => "compaction",
            Oracle::Header => "header",
            Oracle::Hash => "hash",
            Oracle::Watch => "watch",
            Oracle::Lease => "lease",
            Oracle::ElectionSafety => "election-safety",
            Oracle::LeaderAppendOnly => "leader-append-only",
            Oracle::LogMatching => "log-matching",
            Oracle::LeaderCompleteness => "leader-completeness",
            Oracle::StateMachineSafety => "state-machine-safety",
            Oracle::CommittedNeverLost => "committed-never-lost",
            Oracle::AcknowledgedDurable => "acknowledged-durable",
            Oracle::GoneForGood => "gone-for-good",
            Oracle::OneByOne => "one-by-one",
            Oracle::Equality => "equality",
            Oracle::LogOrder => "log-order",
            Oracle::Lock => "lock",
            Oracle::Image => "image",
            Oracle::Rights => "rights",
            Oracle::Harness => "harness",
        })
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its class.
    pub class: Class,
    /// Who found it.
    pub oracle: Oracle,
    /// What is wrong, in one sentence.
    pub sentence: String,
    /// The operations involved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub operations: Vec<OpId>,
    /// The watches involved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub watches: Vec<WatchNo>,
    /// The revision where it shows, if it shows at one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revision: Option<Revision>,
    /// More, a line each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub details: Vec<String>,
}

impl Violation {
    /// A broken promise about data.
    pub fn safety(oracle: Oracle, sentence: impl Into<String>) -> Violation {
        Violation {
            class: Class::Safety,
            oracle,
            sentence: sentence.into(),
            operations: Vec::new(),
            watches: Vec::new(),
            revision: None,
            details: Vec::new(),
        }
    }

    /// Something due that did not come.
    pub fn liveness(oracle: Oracle, sentence: impl Into<String>) -> Violation {
        Violation { class: Class::Liveness, ..Violation::safety(oracle, sentence) }
    }

    /// A failure of the harness.
    pub fn harness(sentence: impl Into<String>) -> Violation {
        Violation { class: Class::Harness, ..Violation::safety(Oracle::Harness, sentence) }
    }

    /// Names an operation involved.
    pub fn operation(mut self, id: OpId) -> Violation {
        self.operations.push(id);
        self
    }

    /// Names a watch involved.
    pub fn watch(mut self, id: WatchNo) -> Violation {
        self.watches.push(id);
        self
    }

    /// Says at which revision it shows.
    pub fn at(mut self, revision: Revision) -> Violation {
        self.revision = Some(revision);
        self
    }

    /// Adds a line.
    pub fn detail(mut self, line: impl Into<String>) -> Violation {
        self.details.push(line.into());
        self
    }
}

/// What was judged, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Client operations.
    pub operations: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those whose fate is unknown.
    pub unknown: u64,
    /// Unknown ones that the revision order shows to have been applied.
    pub revealed: u64,
    /// Watches.
    pub watches: u64,
    /// Events that watches delivered.
    pub events: u64,
    /// The largest revision that the replay reached.
    pub revisions: i64,
    /// Steps of the search beyond the straight replay; 0 if nothing was ambiguous.
    pub search_steps: u64,
}

impl Counts {
    /// How many of a hundred operations have a known outcome, rounded down.
    pub fn known_percent(&self) -> u64 {
        match self.operations {
            0 => 100,
            all => (all - self.unknown) * 100 / all,
        }
    }
}

/// The judgement of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its class.
    pub class: Class,
    /// Every violation found, the gravest first.
    pub violations: Vec<Violation>,
    /// What was judged.
    pub counts: Counts,
}

impl Verdict {
    /// Sorts the violations and takes the class from them: safety before liveness before harness trouble.
    pub fn new(mut violations: Vec<Violation>, counts: Counts) -> Verdict {
        violations.sort_by(|a, b| {
            (a.class, a.revision, a.oracle, &a.operations, &a.watches, &a.sentence).cmp(&(
                b.class,
                b.revision,
                b.oracle,
                &b.operations,
                &b.watches,
                &b.sentence,
            ))
        });
        violations.dedup();
        let class = violations.first().map(|violation| violation.class).unwrap_or_default();
        Verdict { class, violations, counts }
    }

    /// Whether nothing is wrong.
    pub fn is_pass(&self) -> bool {
        self.class == Class::Pass
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(
            f,
            "{}: {} operations ({} % known), {} watches with {} events, {} revisions",
            self.class,
            counts.operations,
            counts.known_percent(),
            counts.watches,
            counts.events,
            counts.revisions
        )?;
        for violation in &self.violations {
            writeln!(f, "  [{}] {}", violation.oracle, violation.sentence)?;
            for line in &violation.details {
                writeln!(f, "      {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_exit_codes_of_their_own() {
        let classes = [
            Class::Pass,
            Class::Safety,
            Class::Liveness,
            Class::Crash,
            Class::Nondeterminism,
            Class::Harness,
        ];
        let codes: std::collections::BTreeSet<u8> = classes.iter().map(|class| class.exit_code()).collect();
        assert_eq!(codes.len(), classes.len());
        assert_eq!(Class::Pass.exit_code(), 0);
    }

    #[test]
    fn safety_outranks_liveness_and_harness_trouble() {
        let verdict = Verdict::new(
            vec![
                Violation::harness("h"),
                Violation::liveness(Oracle::Watch, "l"),
                Violation::safety(Oracle::Watch, "s"),
            ],
            Counts::default(),
        );
        assert_eq!(verdict.class, Class::Safety);
        assert_eq!(Verdict::new(vec![Violation::harness("h")], Counts::default()).class, Class::Harness);
    }
}
