//! Compaction as a register that only grows.
//!
//! After Compact(C) was answered, no linearizable read below C may succeed and no compaction at or below C either.
//! "Compacted" may only be said once a compaction above the revision was asked for, and never to who reads the present.
//! Reads from a member's own state may lag and are exempt from the first rule. Watches are judged by the watch oracle.

use crate::error_table::COMPACTED;
use crate::history::{History, Operation, Outcome, Request};
use crate::options::Options;
use crate::revision_order::slots::explicit_revisions;
use crate::types::{Nanos, Revision};
use crate::verdict::{Oracle, Violation};

/// The largest revision of all compactions up to a moment.
#[derive(Debug, Default)]
pub struct Register {
    steps: Vec<(Nanos, Revision)>,
}

impl Register {
    /// Compactions that were answered, by the time of the answer.
    pub fn answered(history: &History) -> Register {
        Register::new(compactions(history).filter_map(|(operation, revision)| {
            matches!(operation.outcome, Outcome::Ok { .. }).then_some((operation.returned, revision))
        }))
    }

    /// Compactions that may have been applied, by the time they were asked.
    pub fn asked(history: &History) -> Register {
        Register::new(compactions(history).filter_map(|(operation, revision)| {
            operation.may_have_applied().then_some((operation.invoked, revision))
        }))
    }

    fn new(steps: impl Iterator<Item = (Nanos, Revision)>) -> Register {
        let mut steps: Vec<_> = steps.collect();
        steps.sort_unstable();
        let mut largest = Revision(0);
        for (_, revision) in &mut steps {
            largest = largest.max(*revision);
            *revision = largest;
        }
        Register { steps }
    }

    /// The largest revision strictly before a moment; 0 if there is none.
    pub fn before(&self, moment: Nanos) -> Revision {
        self.at(self.steps.partition_point(|(at, _)| *at < moment))
    }

    /// The largest revision up to and including a moment; 0 if there is none.
    pub fn until(&self, moment: Nanos) -> Revision {
        self.at(self.steps.partition_point(|(at, _)| *at <= moment))
    }

    fn at(&self, passed: usize) -> Revision {
        let last = passed.checked_sub(1).and_then(|last| self.steps.get(last));
        last.map(|(_, revision)| *revision).unwrap_or_default()
    }
}

fn compactions(history: &History) -> impl Iterator<Item = (&Operation, Revision)> {
    history.operations.iter().filter_map(|operation| match &operation.request {
        Request::Compact(compact) => Some((operation, compact.revision)),
        _ => None,
    })
}

/// Judges every read at an explicit revision, and every compaction.
pub fn check(history: &History, options: &Options) -> Vec<Violation> {
    let answered = Register::answered(history);
    let asked = Register::asked(history);
    let mut violations = Vec::new();
    for operation in &history.operations {
        let found = match &operation.request {
            Request::Compact(compact) => {
                check_compact(operation, compact.revision, &answered, &asked, options)
            }
            request => check_read(operation, &explicit_revisions(request), &answered, &asked, options),
        };
        if violations.len() < options.violations_max {
            violations.extend(found);
        }
    }
    violations
}

fn check_compact(
    operation: &Operation,
    revision: Revision,
    answered: &Register,
    asked: &Register,
    options: &Options,
) -> Option<Violation> {
    let say = |sentence: String| {
        Some(Violation::safety(Oracle::Compaction, sentence).operation(operation.id).at(revision))
    };
    if let Some((header, _)) = operation.answer() {
        let before = answered.before(operation.invoked);
        if revision <= before {
            return say(format!(
                "compaction {} to {revision} succeeded after compaction to {before} had",
                operation.id
            ));
        }
        if revision > header.revision {
            return say(format!(
                "compaction {} to {revision} succeeded although the store was at revision {}",
                operation.id, header.revision
            ));
        }
    }
    let refused = operation.refusal() == Some(COMPACTED) && revision > Revision(0);
    if refused && !options.auto_compaction && asked.until(operation.returned) < revision {
        return say(format!(
            "compaction {} to {revision} was refused as compacted, but nobody had asked for such a compaction",
            operation.id
        ));
    }
    None
}

fn check_read(
    operation: &Operation,
    revisions: &[Revision],
    answered: &Register,
    asked: &Register,
    options: &Options,
) -> Option<Violation> {
    let name = operation.request.name();
    let Some(lowest) = revisions.iter().min().copied() else {
        let reads = matches!(operation.request, Request::Range(_) | Request::Txn(_));
        return (reads && operation.refusal() == Some(COMPACTED)).then(|| {
            let sentence = format!(
                "{name} {} of the present was refused as compacted, which the present never is",
                operation.id
            );
            Violation::safety(Oracle::Compaction, sentence).operation(operation.id)
        });
    };
    let say = |sentence: String| {
        Some(Violation::safety(Oracle::Compaction, sentence).operation(operation.id).at(lowest))
    };
    if operation.refusal() == Some(COMPACTED)
        && !options.auto_compaction
        && asked.until(operation.returned) <= lowest
    {
        return say(format!(
            "{name} {} at revision {lowest} was refused as compacted, but nobody had asked for a compaction above it",
            operation.id
        ));
    }
    // A transaction may have taken the branch without the old read; only a plain read surely read it.
    let surely_read = matches!(operation.request, Request::Range(_));
    let before = answered.before(operation.invoked);
    if operation.answer().is_some() && operation.request.is_linearizable() && surely_read && lowest < before {
        return say(format!(
            "{name} {} at revision {lowest} succeeded after compaction to {before} was acknowledged",
            operation.id
        ));
    }
    None
}
