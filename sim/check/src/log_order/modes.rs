//! The two modes agree: what clients' answers alone show to have made a revision is what the log says.
//!
//! Compared up to the first revision that black-box mode could only guess. Two requests that ask for the very same
//! thing stand for each other there, and so do the two ways in which a lease may end.

use super::replay::{Change, Made};
use crate::history::{History, Operation, Request};
use crate::revision_order::{Cause, Replayed};
use crate::types::{LeaseId, OpId, Revision};
use crate::verdict::Violation;
use std::collections::BTreeMap;

/// The first revision with two explanations.
pub fn check(
    history: &History,
    black: &Replayed<'_>,
    changes: &BTreeMap<Revision, Change>,
) -> Option<Violation> {
    let operations: BTreeMap<OpId, &Operation> =
        history.operations.iter().map(|operation| (operation.id, operation)).collect();
    let sure = black.ambiguous_from.unwrap_or(Revision(i64::MAX));
    black.causes.range(..sure).find_map(|(revision, cause)| {
        let log = changes.get(revision)?.by;
        (!same(cause, log, &operations)).then(|| {
            let sentence = format!(
                "the two modes disagree about revision {revision}: by the answers it is {}, by the log {}",
                by_answers(cause),
                by_log(log)
            );
            Violation::harness(sentence).at(*revision)
        })
    })
}

fn same(cause: &Cause<'_>, log: Made, operations: &BTreeMap<OpId, &Operation>) -> bool {
    let logged = match log {
        Made::Operation(id) => operations.get(&id).copied(),
        Made::Expiry(_) => None,
    };
    match cause {
        Cause::Expiry(lease) => ended(log, logged) == Some(*lease),
        Cause::Answered(operation) | Cause::Unknown(operation) => {
            match (ended_by(&operation.request), logged) {
                (Some(lease), _) => ended(log, logged) == Some(lease),
                (None, Some(logged)) => {
                    let interchangeable =
                        logged.is_unknown() && operation.is_unknown() && logged.request == operation.request;
                    logged.id == operation.id || interchangeable
                }
                (None, None) => false,
            }
        }
        Cause::Jump | Cause::Unexplained => false,
    }
}

fn ended(log: Made, logged: Option<&Operation>) -> Option<LeaseId> {
    match log {
        Made::Expiry(lease) => Some(lease),
        Made::Operation(_) => logged.and_then(|operation| ended_by(&operation.request)),
    }
}

fn ended_by(request: &Request) -> Option<LeaseId> {
    match request {
        Request::LeaseRevoke(revoke) => Some(revoke.id),
        _ => None,
    }
}

fn by_answers(cause: &Cause<'_>) -> String {
    match cause {
        Cause::Answered(operation) | Cause::Unknown(operation) => {
            format!("{} {}", operation.request.name(), operation.id)
        }
        Cause::Expiry(lease) => format!("the end of lease {lease}"),
        Cause::Jump => "a jump".to_owned(),
        Cause::Unexplained => "nothing that was asked".to_owned(),
    }
}

fn by_log(log: Made) -> String {
    match log {
        Made::Operation(id) => format!("operation {id}"),
        Made::Expiry(lease) => format!("the end of lease {lease}"),
    }
}
