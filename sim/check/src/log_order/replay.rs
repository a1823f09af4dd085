//! The replay of the log: each command through the model, with exactly the leases and the compaction it met.
//!
//! It stops at the first command that does not fit, because all that follows would rest on a wrong state.
//!
//! What a raised alarm refuses is not modelled: a refusal without another reason is believed where the history shows
//! that the store was full.

use super::{Command, say};
use crate::error_table::{
    COMPACTED, FUTURE_REVISION, KEY_NOT_FOUND, LEASE_EXISTS, LEASE_NOT_FOUND, NO_SPACE,
};
use crate::history::{Event, History, Operation, Request, Response};
use crate::model::{Expected, Model, Refusal};
use crate::types::{LeaseId, OpId, Revision};
use crate::verdict::Violation;
use std::collections::BTreeMap;

/// What made a revision, by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A client's operation.
    Operation(OpId),
    /// The end of a lease whose time was up.
    Expiry(LeaseId),
}

/// A revision, by the log.
pub struct Change {
    /// What made it.
    pub by: Made,
    /// What it changed; never empty.
    pub events: Vec<Event>,
}

/// The replayed log.
pub struct Replayed {
    /// Each revision.
    pub changes: BTreeMap<Revision, Change>,
    /// What stood at each.
    pub model: Model,
    /// The first command that did not fit.
    pub violation: Option<Violation>,
}

struct Replay {
    model: Model,
    changes: BTreeMap<Revision, Change>,
    /// A lease of unknown id may have been granted: what is refused for want of a lease is not judged any more.
    unknown_lease: bool,
    /// The store was full at some time.
    was_full: bool,
}

/// Replays the commands.
pub fn run(history: &History, commands: &[Command<'_>]) -> Replayed {
    let was_full = history.operations.iter().any(|operation| operation.refusal() == Some(NO_SPACE));
    let mut replay =
        Replay { model: Model::exact(), changes: BTreeMap::new(), unknown_lease: false, was_full };
    let violation = commands.iter().find_map(|command| replay.step(command));
    Replayed { changes: replay.changes, model: replay.model, violation }
}

impl Replay {
    fn step(&mut self, command: &Command<'_>) -> Option<Violation> {
        for lease in &command.logged.expired {
            self.expire(*lease);
        }
        let found = command.operation.and_then(|operation| self.operation(command, operation));
        let revision = self.model.revision();
        found.or_else(|| {
            (revision != command.logged.revision).then(|| {
                super::broken(format!(
                    "the store is at revision {} behind entry {}, but all before it makes {revision}",
                    command.logged.revision, command.logged.entry
                ))
                .at(command.logged.revision)
            })
        })
    }

    /// A lease that is gone already is passed over in silence.
    fn expire(&mut self, lease: LeaseId) {
        if self.model.end_known_lease(lease) {
            let at = self.model.revision().next();
            let events = self.model.expire(lease, at);
            self.changed(Made::Expiry(lease), events);
        }
    }

    /// Notes what was changed, if anything was.
    fn changed(&mut self, by: Made, events: Vec<Event>) {
        if !events.is_empty() {
            self.changes.insert(self.model.revision(), Change { by, events });
        }
    }

    fn operation(&mut self, command: &Command<'_>, operation: &Operation) -> Option<Violation> {
        let before = self.model.revision();
        let outcome = self.carry_out(operation);
        let refused = command.logged.refused;
        let (expected, events) = match (outcome, refused) {
            (Err(Refusal::NotModelled), _) => {
                let what = format!("operation {} has no business in the log", operation.id);
                return Some(Violation::harness(what).operation(operation.id));
            }
            (Err(Refusal::LeaseNotFound), _) if self.unknown_lease => return None,
            (Err(why), false) => {
                return Some(say(
                    command,
                    operation,
                    format_args!("was carried out, but had to be refused: {why}"),
                ));
            }
            (Ok(_), true) => {
                self.model.undo_to(before);
                if self.was_full {
                    return None;
                }
                return Some(say(command, operation, "was refused, though nothing spoke against it"));
            }
            (Err(why), true) => return refusal_fits(command, operation, why),
            (Ok(done), false) => done,
        };
        self.changed(Made::Operation(operation.id), events);
        if let Some(text) = operation.refusal() {
            return Some(say(
                command,
                operation,
                format_args!("was carried out, but refused to its client: {text}"),
            ));
        }
        let (header, response) = operation.answer()?;
        if header.revision != command.logged.revision {
            let what = format_args!("was answered with revision {}", header.revision);
            return Some(say(command, operation, what));
        }
        expected
            .and_then(|expected| expected.compare(response).err())
            .map(|what| say(command, operation, what))
    }

    /// Carries a request out, or says why it must be refused: what it must answer, where that is known, and what it
    /// changes.
    fn carry_out(&mut self, operation: &Operation) -> Result<(Option<Expected>, Vec<Event>), Refusal> {
        let next = self.model.revision().next();
        match &operation.request {
            Request::Compact(compact) => self.model.compact(compact.revision).map(|()| (None, Vec::new())),
            Request::LeaseGrant(grant) => {
                let chosen = match operation.answer() {
                    Some((_, Response::LeaseGrant(got))) => got.id,
                    _ => grant.id,
                };
                if chosen == LeaseId::NONE {
                    self.unknown_lease = true;
                    return Ok((None, Vec::new()));
                }
                self.model.grant(chosen).map(|()| (None, Vec::new()))
            }
            Request::LeaseRevoke(revoke) => {
                if !self.model.end_known_lease(revoke.id) {
                    return Err(Refusal::LeaseNotFound);
                }
                Ok((Some(Expected::Nothing), self.model.expire(revoke.id, next)))
            }
            Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) => {
                let applied = self.model.apply(&operation.request, next)?;
                Ok((Some(applied.expected), applied.events))
            }
            _ => Err(Refusal::NotModelled),
        }
    }
}

/// The client was told what the log decided. A transaction may be refused for several reasons at once.
fn refusal_fits(command: &Command<'_>, operation: &Operation, why: Refusal) -> Option<Violation> {
    if operation.answer().is_some() {
        return Some(say(command, operation, format_args!("was answered, but the log refused it: {why}")));
    }
    let told = operation.refusal()?;
    let expected = match why {
        Refusal::LeaseNotFound => LEASE_NOT_FOUND,
        Refusal::LeaseExists => LEASE_EXISTS,
        Refusal::KeyNotFound => KEY_NOT_FOUND,
        Refusal::FutureRevision => FUTURE_REVISION,
        Refusal::Compacted => COMPACTED,
        Refusal::NotModelled => return None,
    };
    let fits = told == expected || told == NO_SPACE || matches!(operation.request, Request::Txn(_));
    (!fits).then(|| {
        say(command, operation, format_args!("was refused with \"{told}\" instead of \"{expected}\""))
    })
}
