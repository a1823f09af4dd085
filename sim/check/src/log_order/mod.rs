//! White-box mode: every command against the replicated log's own order.
//!
//! Where somebody can look inside (`history.log`), nothing has to be guessed: the log says which command came when,
//! client operations of unknown fate, lease expiries and compactions included. So leases and compactions, which
//! black-box mode judges by intervals, are judged exactly; each command is carried out at most once; its position
//! agrees with real time; its whole answer is what the model says there.
//!
//! Both modes explain the same revisions. Where they name different causes one of them is wrong about a run that both
//! saw: that is the harness's failure, never a pass (`modes`).
//!
//! It does not judge what never goes through the log (reads, keep-alives, lists, watches), nor when a lease's time is
//! up: the lease oracle does. A history without a log is not judged here at all.

mod image;
mod modes;
mod real_time;
mod replay;
mod told;
mod upkeep;

use crate::history::{AlarmAction, DowngradeAction, History, Logged, Operation, Request};
use crate::options::Options;
use crate::revision_order::Replayed;
use crate::types::{OpId, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// A logged command with the operation that asked for it.
#[derive(Clone, Copy, Debug)]
struct Command<'h> {
    logged: &'h Logged,
    operation: Option<&'h Operation>,
}

/// Judges the log, and whether it agrees with what clients' answers alone showed.
pub fn check(history: &History, black: &Replayed<'_>, options: &Options) -> Vec<Violation> {
    if history.log.is_empty() {
        return Vec::new();
    }
    let (commands, mut violations) = in_order(history);
    violations.extend(real_time::check(&commands));
    violations.extend(unlogged(history, &commands));
    // Revisions that no command made are not known to the log's replay.
    if history.jumps.is_empty() {
        let mut replayed = replay::run(&commands);
        if let Some(violation) = replayed.violation.take() {
            violations.push(violation);
        } else {
            violations.extend(told::check(history, &replayed));
            violations.extend(modes::check(history, black, &replayed.changes));
            violations.extend(image::check(history, &commands));
            violations.extend(upkeep::check(history, &commands, &replayed.stages));
        }
    }
    violations.truncate(options.violations_max);
    violations
}

/// The commands in the log's order; what is carried out twice is a violation.
fn in_order(history: &History) -> (Vec<Command<'_>>, Vec<Violation>) {
    let operations: BTreeMap<OpId, &Operation> =
        history.operations.iter().map(|operation| (operation.id, operation)).collect();
    let mut violations = Vec::new();
    let mut commands: Vec<Command<'_>> = Vec::with_capacity(history.log.len());
    // What is denied changes nothing, and by what right is not for the log to say.
    for logged in history.log.iter().filter(|logged| !logged.denied) {
        let operation = logged.operation.and_then(|id| operations.get(&id).copied());
        if let (Some(id), None) = (logged.operation, operation) {
            violations
                .push(Violation::harness(format!("the log names operation {id}, which is not recorded")));
        }
        commands.push(Command { logged, operation });
    }
    commands.sort_by_key(|command| (command.logged.entry.index, command.logged.place));
    let mut first: BTreeMap<OpId, &Logged> = BTreeMap::new();
    for command in &commands {
        let Some(id) = command.logged.operation else { continue };
        if let Some(before) = first.insert(id, command.logged) {
            let sentence = format!(
                "operation {id} was carried out twice: in entry {} and in entry {}",
                before.entry, command.logged.entry
            );
            violations.push(broken(sentence).operation(id).at(command.logged.revision));
        }
    }
    (commands, violations)
}

/// Operations that were answered as if carried out, though no log has them.
fn unlogged(history: &History, commands: &[Command<'_>]) -> Option<Violation> {
    let logged: std::collections::BTreeSet<OpId> =
        commands.iter().filter_map(|command| command.logged.operation).collect();
    let missing = history.operations.iter().find(|operation| {
        operation.answer().is_some() && must_be_logged(&operation.request) && !logged.contains(&operation.id)
    })?;
    let sentence =
        format!("{} {} was answered, but no log carried it out", missing.request.name(), missing.id);
    Some(broken(sentence).operation(missing.id))
}

/// Whether the answer can only come out of the log.
fn must_be_logged(request: &Request) -> bool {
    match request {
        // One that only reads, at whatever depth, is a read: a member may answer it without the log.
        Request::Txn(_) => request.may_change(),
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_) => true,
        // Of no kind in particular nothing is raised.
        Request::Alarm(ask) => ask.action != AlarmAction::List && ask.kind.is_some(),
        Request::Downgrade(ask) => ask.action != DowngradeAction::Validate,
        _ => false,
    }
}

fn broken(sentence: String) -> Violation {
    Violation::safety(Oracle::LogOrder, sentence)
}

fn say(command: &Command<'_>, operation: &Operation, what: impl std::fmt::Display) -> Violation {
    let Logged { entry, revision, .. } = command.logged;
    let sentence = format!("{} {} in entry {entry} {what}", operation.request.name(), operation.id);
    broken(sentence).operation(operation.id).at(at_least_one(*revision))
}

fn at_least_one(revision: Revision) -> Revision {
    revision.max(Revision::FIRST)
}
