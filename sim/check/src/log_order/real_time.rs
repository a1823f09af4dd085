//! The log's order against real time: what was sent after an answer came stands behind the answered command.
//!
//! One sweep over all logged operations, sorted by the time they were sent, leases and compactions included.

use super::{Command, broken};
use crate::history::{Operation, Outcome};
use crate::types::Nanos;
use crate::verdict::Violation;

/// The first command that the log has before one that was answered before it was sent.
pub fn check(commands: &[Command<'_>]) -> Option<Violation> {
    let placed: Vec<(usize, &Operation)> = commands
        .iter()
        .enumerate()
        .filter_map(|(place, command)| Some((place, command.operation?)))
        .collect();
    let mut sent = placed.clone();
    sent.sort_by_key(|(place, operation)| (operation.invoked, *place));
    let mut answered: Vec<(Nanos, usize, &Operation)> = placed
        .into_iter()
        .filter(|(_, operation)| !matches!(operation.outcome, Outcome::Unknown { .. }))
        .map(|(place, operation)| (operation.returned, place, operation))
        .collect();
    answered.sort_by_key(|(at, place, _)| (*at, *place));
    let mut past = answered.iter().peekable();
    let mut last: Option<(usize, &Operation)> = None;
    for (place, operation) in sent {
        while let Some((_, place, earlier)) = past.next_if(|(at, ..)| *at < operation.invoked) {
            if last.is_none_or(|(last, _)| *place > last) {
                last = Some((*place, earlier));
            }
        }
        let Some((_, earlier)) = last.filter(|(last, _)| *last > place) else { continue };
        let (name, other) = (operation.request.name(), earlier.request.name());
        let sentence = format!(
            "the log has {name} {} before {other} {}, which was answered before it was sent",
            operation.id, earlier.id
        );
        return Some(broken(sentence).operation(earlier.id).operation(operation.id));
    }
    None
}
