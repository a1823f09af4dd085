//! The replay of the log: each command through the model, with exactly the leases and the compaction it met.
//!
//! It stops at the first command that does not fit, because all that follows would rest on a wrong state.

use super::upkeep::{self, Stages, Upkeep};
use super::{Command, say};
use crate::error_table::{
    COMPACTED, CORRUPT, DOWNGRADE_IN_PROGRESS, FUTURE_REVISION, KEY_NOT_FOUND, LEASE_EXISTS, LEASE_NOT_FOUND,
    NO_DOWNGRADE, NO_SPACE,
};
use crate::history::{Event, Logged, Operation, Request, Response};
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
    /// The cluster's upkeep, as it stood over time.
    pub stages: Stages,
    /// The first command that did not fit.
    pub violation: Option<Violation>,
}

struct Replay {
    model: Model,
    changes: BTreeMap<Revision, Change>,
    /// A lease of unknown id may have been granted: what is refused for want of a lease is not judged any more.
    unknown_lease: bool,
    upkeep: Upkeep,
}

/// Replays the commands.
pub fn run(commands: &[Command<'_>]) -> Replayed {
    let (model, changes, upkeep) = (Model::exact(), BTreeMap::new(), Upkeep::default());
    let mut stages: Stages = vec![(0, upkeep.clone())];
    let mut replay = Replay { model, changes, unknown_lease: false, upkeep };
    let violation = commands.iter().enumerate().find_map(|(place, command)| {
        let violation = replay.step(command);
        if stages.last().is_none_or(|(_, last)| *last != replay.upkeep) {
            stages.push((place + 1, replay.upkeep.clone()));
        }
        violation
    });
    Replayed { changes: replay.changes, model: replay.model, stages, violation }
}

impl Replay {
    fn step(&mut self, command: &Command<'_>) -> Option<Violation> {
        let Logged { expired, refused, alarm, .. } = command.logged;
        let put_off = self.upkeep.is_corrupt();
        if !expired.is_empty() && *refused != put_off {
            let what = if put_off { "though an alarm puts that off" } else { "and nothing spoke against it" };
            let ends = if put_off { "ends" } else { "does not end" };
            let sentence = format!("entry {} {ends} leases whose time is up, {what}", command.logged.entry);
            return Some(super::broken(sentence).at(super::at_least_one(command.logged.revision)));
        }
        if !refused {
            expired.iter().for_each(|lease| self.expire(*lease));
            alarm.iter().for_each(|change| self.upkeep.change(*change));
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
        let outcome = match self.upkeep.stops(&operation.request) {
            Some(why) => Err(why),
            None => self.carry_out(command, operation),
        };
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
        // The answer to what is no change of keys names the member's present revision.
        let fits = match operation.request {
            Request::Alarm(_) | Request::Downgrade(_) => header.revision >= command.logged.revision,
            _ => header.revision == command.logged.revision,
        };
        if !fits {
            let what = format_args!("was answered with revision {}", header.revision);
            return Some(say(command, operation, what));
        }
        expected
            .and_then(|expected| expected.compare(response).err())
            .map(|what| say(command, operation, what))
    }

    /// Carries a request out, or says why it must be refused: what it must answer, where that is known, and what it
    /// changes.
    fn carry_out(
        &mut self,
        command: &Command<'_>,
        operation: &Operation,
    ) -> Result<(Option<Expected>, Vec<Event>), Refusal> {
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
            // The alarm itself has changed already, as those do that no operation asked for.
            Request::Alarm(ask) => match command.logged.alarm {
                Some(change) if upkeep::is_asked_by(change, ask) => Ok((None, Vec::new())),
                _ => Err(Refusal::NotModelled),
            },
            Request::Downgrade(ask) => self.upkeep.prepare(ask).map(|()| (None, Vec::new())),
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
        Refusal::NoSpace => NO_SPACE,
        Refusal::Corrupt => CORRUPT,
        Refusal::DowngradeInProgress => DOWNGRADE_IN_PROGRESS,
        Refusal::NoDowngrade => NO_DOWNGRADE,
        Refusal::NotModelled => return None,
    };
    // An alarm comes before every other reason.
    let by_alarm = matches!(why, Refusal::NoSpace | Refusal::Corrupt);
    let fits = told == expected || (matches!(operation.request, Request::Txn(_)) && !by_alarm);
    (!fits).then(|| {
        say(command, operation, format_args!("was refused with \"{told}\" instead of \"{expected}\""))
    })
}
