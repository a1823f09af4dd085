//! Leader completeness: an entry committed in a term is present in the logs of the leaders of all later terms.
//!
//! Source: the paper, figure 3 ("Leader Completeness", sections 5.4.1 to 5.4.3); the dissertation, section 3.6.
//!
//! Held against each leader's log as it stood when its election became durable at itself: both what was known to be
//! committed by then, and what turns out later to have been committed in an earlier term. A log is remembered as runs
//! of one term each, so that a look costs the logarithm of the number of elections.
//!
//! Entries below a purged one count as present: a snapshot holds them, and what it holds is state-machine safety's
//! matter. A leader that is deposed before its own vote is durable is not seen.

use crate::raft::committed::{Committed, Known, id};
use crate::raft::ground::{Ground, Log};
use crate::raft::observation::Observation;
use crate::types::{LogId, LogIndex, MemberId, Term};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// A log at one moment.
#[derive(Debug)]
struct Shape {
    leader: MemberId,
    purged: Option<LogId>,
    /// For each run of entries of one term: its last index, and the term.
    runs: BTreeMap<LogIndex, Term>,
}

/// Every leader's log at its election.
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    elected: BTreeMap<Term, Shape>,
}

impl LeaderCompleteness {
    /// Judges an observation; `news` is what it says to be committed.
    pub fn check(
        &mut self,
        ground: &Ground,
        committed: &Committed,
        news: &[(LogIndex, Known)],
        member: MemberId,
        seen: &Observation,
    ) -> Option<Violation> {
        match seen {
            Observation::Voted(ballot) if ballot.won && ballot.candidate == member => {
                let empty = Log::default();
                let log = ground.log(member).unwrap_or(&empty);
                self.elected.entry(ballot.term).or_insert_with(|| Shape::of(member, log));
                // What was committed last in an earlier term is enough: the rest follows by log matching.
                let (index, known) = committed.newest_first().find(|(_, known)| known.by < ballot.term)?;
                let shape = self.elected.get(&ballot.term)?;
                (!shape.holds(id(index, known)))
                    .then(|| broken(shape.leader, ballot.term, id(index, known), known))
            }
            _ => news.iter().find_map(|(index, known)| {
                let mut later = self.elected.range(known.by..).filter(|(term, _)| **term > known.by);
                let (term, shape) = later.find(|(_, shape)| !shape.holds(id(*index, known)))?;
                Some(broken(shape.leader, *term, id(*index, known), known))
            }),
        }
    }
}

impl Shape {
    fn of(leader: MemberId, log: &Log) -> Shape {
        let mut runs = BTreeMap::new();
        let mut run: Option<(LogIndex, Term)> = None;
        for (index, held) in &log.entries {
            if let Some((last, term)) = run.filter(|(_, term)| *term != held.term) {
                runs.insert(last, term);
            }
            run = Some((*index, held.term));
        }
        runs.extend(run);
        Shape { leader, purged: log.purged, runs }
    }

    fn holds(&self, entry: LogId) -> bool {
        match self.purged {
            Some(purged) if entry.index < purged.index => true,
            Some(purged) if entry.index == purged.index => entry.term == purged.term,
            _ => self.runs.range(entry.index..).next().is_some_and(|(_, term)| *term == entry.term),
        }
    }
}

fn broken(leader: MemberId, term: Term, entry: LogId, known: &Known) -> Violation {
    let sentence = format!(
        "entry {entry} was committed by term {}, but member {leader} was elected in term {term} without it",
        known.by
    );
    Violation::safety(Oracle::LeaderCompleteness, sentence)
        .detail(format!("member {} knew that it was committed", known.told))
}
