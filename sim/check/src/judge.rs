//! Runs every oracle over a history.

use crate::error_table::NO_SPACE;
use crate::history::{AlarmAction, AlarmKind, History, Operation, Outcome, Request};
use crate::lease::{self, LeaseBook};
use crate::options::Options;
use crate::revision_order::{self, Cause, Replayed};
use crate::types::{OpId, WatchNo};
use crate::verdict::{Counts, Oracle, Verdict, Violation};
use crate::{hash, header, lock, log_order, rights, watch};
use std::collections::BTreeSet;

/// Judges a history: all violations that the oracles find, sorted, and what was judged in numbers.
pub fn judge(history: &History, options: &Options) -> Verdict {
    let malformed = check_form(history);
    if !malformed.is_empty() {
        return Verdict::new(malformed, Counts::default());
    }
    let book = LeaseBook::new(history, options);
    let (replayed, mut violations) = revision_order::check(history, &book, options);
    violations.extend(header::check(history, options));
    violations.extend(without_a_quota(history, options));
    violations.extend(hash::check(history));
    violations.extend(watch::check(history, &replayed, options));
    violations.extend(lease::check(history, &book, &replayed, options));
    violations.extend(log_order::check(history, &replayed, options));
    violations.extend(lock::check(history, &replayed, options));
    violations.extend(rights::check(history));
    Verdict::new(violations, count(history, &replayed))
}

/// The first operation that was refused for space, where there is no quota and nobody says that there is no space.
fn without_a_quota(history: &History, options: &Options) -> Option<Violation> {
    let says_so = |operation: &Operation| {
        let Request::Alarm(ask) = &operation.request else { return false };
        (ask.action, ask.kind) == (AlarmAction::Raise, Some(AlarmKind::NoSpace))
    };
    if options.has_quota || history.operations.iter().any(says_so) {
        return None;
    }
    let refused = history.operations.iter().find(|operation| operation.refusal() == Some(NO_SPACE))?;
    let sentence = format!("{} was refused for space, and there is no quota", refused.request.name());
    Some(Violation::safety(Oracle::LogOrder, sentence).operation(refused.id))
}

/// A history that is not well formed says something about the harness, not about the store.
fn check_form(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut operations: BTreeSet<OpId> = BTreeSet::new();
    for operation in &history.operations {
        if !operations.insert(operation.id) {
            violations.push(Violation::harness(format!("operation {} is recorded twice", operation.id)));
        }
        if operation.returned < operation.invoked {
            violations
                .push(Violation::harness(format!("operation {} returned before it was sent", operation.id)));
        }
        if let Some((_, response)) = operation.answer()
            && !revision_order::kinds_match(&operation.request, response)
        {
            violations.push(Violation::harness(format!(
                "operation {} has an answer of another kind",
                operation.id
            )));
        }
    }
    let mut watches: BTreeSet<WatchNo> = BTreeSet::new();
    for watch in &history.watches {
        if !watches.insert(watch.id) {
            violations.push(Violation::harness(format!("watch {} is recorded twice", watch.id)));
        }
        let ordered = watch.received.is_sorted_by_key(|response| response.at);
        if !ordered || watch.received.first().is_some_and(|first| first.at < watch.invoked) {
            violations.push(Violation::harness(format!("the times of watch {} go backwards", watch.id)));
        }
    }
    violations.truncate(20);
    violations
}

fn count(history: &History, replayed: &Replayed<'_>) -> Counts {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut counts = Counts {
        operations: number(history.operations.len()),
        watches: number(history.watches.len()),
        revisions: replayed.reached.0,
        search_steps: replayed.search_steps,
        ..Counts::default()
    };
    for operation in &history.operations {
        match operation.outcome {
            Outcome::Ok { .. } => counts.answered += 1,
            Outcome::Failed { .. } => counts.refused += 1,
            Outcome::Unknown { .. } => counts.unknown += 1,
        }
    }
    counts.revealed =
        number(replayed.causes.values().filter(|cause| matches!(cause, Cause::Unknown(_))).count());
    counts.events = history
        .watches
        .iter()
        .flat_map(|watch| &watch.received)
        .map(|response| number(response.events.len()))
        .sum();
    counts
}
