//! Revision order against real time.
//!
//! Everything is sorted by the time it was asked; the sweep carries the largest position among all that had already
//! been answered by then. What is promised to reflect the past and stands before that position breaks the promise.
//! Local answers (serializable reads, keep-alives, watch deliveries) are only witnesses: what they saw was committed.
//! An operation of unknown fate that is known to have made a revision cannot have made it before it was sent.

use crate::error_table::FUTURE_REVISION;
use crate::history::{History, Operation, Request};
use crate::options::Options;
use crate::revision_order::replay::{Cause, Replayed};
use crate::revision_order::slots::{Witness, explicit_revisions};
use crate::types::{Nanos, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeSet;

/// A place in the order: the revision, and 0 for the change that made it, 1 for what observed it.
type Position = (Revision, u8);

struct Answered {
    at: Nanos,
    position: Position,
    by: Witness,
    what: &'static str,
    changed: bool,
}

enum Claim {
    /// The operation stands at this position.
    Stands(Position),
    /// The operation was refused because this revision was not there yet.
    NotYet(Revision),
    /// The operation of unknown fate was revealed to have made the revision.
    Revealed(Revision),
}

/// Holds every position against real time.
pub fn check(history: &History, replayed: &Replayed<'_>, options: &Options) -> Vec<Violation> {
    let revoked: BTreeSet<_> = replayed
        .causes
        .values()
        .filter_map(|cause| match cause {
            Cause::Answered(operation) => Some(operation.id),
            _ => None,
        })
        .collect();
    let mut answered = Vec::new();
    let mut claims: Vec<(Nanos, &Operation, Claim)> = Vec::new();
    for operation in &history.operations {
        if let Some((header, response)) = operation.answer() {
            let changed = response.tells_change().unwrap_or_else(|| revoked.contains(&operation.id));
            let position = (header.revision, if changed { 0 } else { 1 });
            answered.push(Answered {
                at: operation.returned,
                position,
                by: Witness::Operation(operation.id),
                what: operation.request.name(),
                changed,
            });
            if operation.request.is_linearizable() {
                claims.push((operation.invoked, operation, Claim::Stands(position)));
            }
        } else if operation.refusal() == Some(FUTURE_REVISION) && operation.request.is_linearizable() {
            let asked = match &operation.request {
                Request::Compact(compact) => Some(compact.revision),
                request => explicit_revisions(request).into_iter().max(),
            };
            claims.extend(asked.map(|asked| (operation.invoked, operation, Claim::NotYet(asked))));
        }
    }
    for (revision, cause) in &replayed.causes {
        if let Cause::Unknown(operation) = cause {
            claims.push((operation.invoked, operation, Claim::Revealed(*revision)));
        }
    }
    for watch in &history.watches {
        for response in &watch.received {
            let last = response.events.iter().map(|event| event.kv.mod_revision).max();
            answered.push(Answered {
                at: response.at,
                position: (last.unwrap_or(response.header.revision), 1),
                by: Witness::Watch(watch.id),
                what: "watch",
                changed: false,
            });
        }
    }
    answered.sort_by_key(|item| (item.at, item.position, item.by));
    claims.sort_by_key(|(invoked, operation, _)| (*invoked, operation.id));
    sweep(&answered, &claims, options.violations_max)
}

fn sweep(answered: &[Answered], claims: &[(Nanos, &Operation, Claim)], most: usize) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut past = answered.iter().peekable();
    let mut largest: Option<&Answered> = None;
    for (invoked, operation, claim) in claims {
        while let Some(item) = past.next_if(|item| item.at < *invoked) {
            if largest.is_none_or(|largest| item.position > largest.position) {
                largest = Some(item);
            }
        }
        let Some(before) = largest else { continue };
        let broken = match claim {
            Claim::Stands(position) => before.position > *position,
            Claim::Revealed(revision) => before.position > (*revision, 0),
            Claim::NotYet(asked) => before.position.0 >= *asked,
        };
        if broken && violations.len() < most {
            violations.push(complain(operation, claim, before));
        }
    }
    violations
}

fn complain(operation: &Operation, claim: &Claim, before: &Answered) -> Violation {
    let earlier = match before.changed {
        true => format!("{} {} was acknowledged", name_of_change(before.what), before.position.0),
        false => format!("revision {} had been seen by a {}", before.position.0, before.what),
    };
    let name = operation.request.name();
    let (sentence, revision) = match claim {
        Claim::Stands((revision, _)) => {
            (format!("{name} at revision {revision} returned after {earlier}"), *revision)
        }
        Claim::Revealed(revision) => (
            format!(
                "{name} {} took effect at revision {revision}, but was sent only after {earlier}",
                operation.id
            ),
            *revision,
        ),
        Claim::NotYet(asked) => (
            format!(
                "{name} {} was told that revision {asked} is in the future after {earlier}",
                operation.id
            ),
            *asked,
        ),
    };
    let violation =
        Violation::safety(Oracle::RealTime, sentence).operation(operation.id).at(revision).detail(format!(
            "{name} {} was asked at {}; the earlier answer came at {}",
            operation.id,
            operation.invoked.as_secs(),
            before.at.as_secs()
        ));
    match before.by {
        Witness::Operation(id) => violation.operation(id),
        Witness::Watch(id) => violation.watch(id),
    }
}

fn name_of_change(what: &'static str) -> &'static str {
    if what == "put" { "write" } else { what }
}
