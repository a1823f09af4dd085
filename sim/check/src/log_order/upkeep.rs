//! Alarms, and the preparation for a lower version: what stands behind each command of the log, and what clients are told
//! of it.
//!
//! Whoever raised an alarm, it is a command of the log, and from that command until the one that clears it every command
//! that it concerns is refused, and no other (the replay holds each command against it).
//!
//! What is answered without a place in the log was so at some moment while it was asked: behind all that was answered before
//! it was sent, and before all that was sent after it was answered. What an alarm's end is answered with was read before.

use super::{Command, broken};
use crate::error_table::DOWNGRADE_IN_PROGRESS;
use crate::history::{
    Alarm, AlarmAction, AlarmChange, AlarmKind, Downgrade, DowngradeAction, History, Operation, Raised,
    Request, Response, TxnOp,
};
use crate::model::Refusal;
use crate::types::OpId;
use crate::verdict::Violation;
use std::collections::{BTreeMap, BTreeSet};

/// A version's major and minor number.
type Level = (u64, u64);

/// What operators, and members themselves, have made of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    alarms: BTreeSet<Raised>,
    /// The version that the cluster is prepared for.
    downgrade: Option<Level>,
}

impl Upkeep {
    /// What the log makes of an alarm.
    pub fn change(&mut self, change: AlarmChange) {
        let AlarmChange { raise, kind, member } = change;
        if raise {
            self.alarms.insert(Raised { kind, member });
        } else {
            self.alarms.retain(|raised| raised.kind != kind || (member.0 != 0 && raised.member != member));
        }
    }

    /// What the log makes of the preparation for a lower version.
    ///
    /// # Errors
    /// Why it must refuse to.
    pub fn prepare(&mut self, ask: &Downgrade) -> Result<(), Refusal> {
        self.downgrade = match (ask.action, self.downgrade) {
            (DowngradeAction::Validate, _) => return Err(Refusal::NotModelled),
            (DowngradeAction::Enable, Some(_)) => return Err(Refusal::DowngradeInProgress),
            (DowngradeAction::Enable, None) => level(&ask.version),
            (DowngradeAction::Cancel, None) => return Err(Refusal::NoDowngrade),
            (DowngradeAction::Cancel, Some(_)) => None,
        };
        Ok(())
    }

    /// The alarm that stops a request, if one does.
    pub fn stops(&self, request: &Request) -> Option<Refusal> {
        let (touches_keys, needs_space) = match request {
            Request::Put(_) | Request::LeaseGrant(_) => (true, true),
            Request::Txn(txn) => (true, txn.every_op().into_iter().any(|op| matches!(op, TxnOp::Put(_)))),
            Request::DeleteRange(_) | Request::Compact(_) | Request::LeaseRevoke(_) => (true, false),
            _ => (false, false),
        };
        if touches_keys && self.is_corrupt() {
            return Some(Refusal::Corrupt);
        }
        (needs_space && self.is_raised(AlarmKind::NoSpace)).then_some(Refusal::NoSpace)
    }

    /// Whether the ends of leases are put off.
    pub fn is_corrupt(&self) -> bool {
        self.is_raised(AlarmKind::Corrupt)
    }

    fn is_raised(&self, kind: AlarmKind) -> bool {
        self.alarms.iter().any(|raised| raised.kind == kind)
    }

    /// Whether these are the alarms that a call about them means.
    fn is_answered_with(&self, ask: &Alarm, alarms: &[Raised]) -> bool {
        let of_kind = |raised: &&Raised| ask.kind.is_none_or(|kind| kind == raised.kind);
        let of_member = |raised: &&Raised| {
            ask.action == AlarmAction::List || ask.member.0 == 0 || ask.member == raised.member
        };
        let meant: Vec<&Raised> = self.alarms.iter().filter(of_kind).filter(of_member).collect();
        let mut told: Vec<&Raised> = alarms.iter().collect();
        told.sort_unstable();
        meant == told
    }
}

/// Whether a command is what its operation has asked about an alarm.
pub fn is_asked_by(change: AlarmChange, ask: &Alarm) -> bool {
    let AlarmChange { raise, kind, member } = change;
    let action = if raise { AlarmAction::Raise } else { AlarmAction::Clear };
    (action, Some(kind), member) == (ask.action, ask.kind, ask.member)
}

/// The first two numbers of a version.
fn level(version: &str) -> Option<Level> {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// How it stood, each time from behind so many commands on.
pub type Stages = Vec<(usize, Upkeep)>;

/// What is wrong with what clients were told.
pub fn check(history: &History, commands: &[Command<'_>], stages: &Stages) -> Vec<Violation> {
    let told = Told { commands, places: places(commands), stages };
    history.operations.iter().filter_map(|operation| told.judge(operation)).collect()
}

fn places(commands: &[Command<'_>]) -> BTreeMap<OpId, usize> {
    let named = commands.iter().enumerate();
    named.filter_map(|(place, command)| Some((command.operation?.id, place))).collect()
}

struct Told<'a, 'h> {
    commands: &'a [Command<'h>],
    places: BTreeMap<OpId, usize>,
    stages: &'a Stages,
}

impl Told<'_, '_> {
    fn judge(&self, operation: &Operation) -> Option<Violation> {
        let what = match (&operation.request, operation.answer()) {
            (Request::Alarm(ask), Some((_, Response::Alarm(told)))) => {
                let fits = match (ask.action, ask.kind) {
                    (AlarmAction::Raise, Some(kind)) => told.alarms == [Raised { kind, member: ask.member }],
                    (AlarmAction::Raise, None) => told.alarms.is_empty(),
                    _ => self.was_ever(operation, |stage| stage.is_answered_with(ask, &told.alarms)),
                };
                (!fits)
                    .then(|| format!("was answered with {:?}, which never stood meanwhile", told.alarms))?
            }
            (Request::Downgrade(Downgrade { action: DowngradeAction::Cancel, .. }), _) => return None,
            (Request::Downgrade(ask), Some((_, Response::Downgrade(told)))) => {
                let below = |(major, minor): Level| Some((major, minor.checked_sub(1)?));
                if level(&told.version).and_then(below) != level(&ask.version) {
                    format!("to {} was granted from version {}", ask.version, told.version)
                } else if self.was_ever(operation, |stage| stage.downgrade.is_none()) {
                    return None;
                } else {
                    "was found possible, though another was prepared all the while".to_owned()
                }
            }
            (Request::Downgrade(_), None) if operation.refusal() == Some(DOWNGRADE_IN_PROGRESS) => {
                let prepared = self.was_ever(operation, |stage| stage.downgrade.is_some());
                (!prepared).then(|| "was refused for another, though none was prepared".to_owned())?
            }
            _ => return None,
        };
        let sentence = format!("{} {} {what}", operation.request.name(), operation.id);
        Some(broken(sentence).operation(operation.id))
    }

    /// Whether it stood so at some moment at which this may have been answered.
    fn was_ever(&self, operation: &Operation, stood: impl Fn(&Upkeep) -> bool) -> bool {
        let before = |command: &Command<'_>| {
            let earlier = command.operation.filter(|earlier| !earlier.is_unknown());
            earlier.is_some_and(|earlier| earlier.returned < operation.invoked)
        };
        let after =
            |command: &Command<'_>| command.operation.is_some_and(|later| later.invoked > operation.returned);
        let low = self.commands.iter().rposition(before).map_or(0, |place| place + 1);
        let high = self.commands.iter().position(after).unwrap_or(self.commands.len());
        let high = self.places.get(&operation.id).map_or(high, |place| high.min(*place));
        let first = self.stages.partition_point(|(from, _)| *from <= low).saturating_sub(1);
        let possible = self.stages.iter().skip(first).take_while(|(from, _)| *from <= high.max(low));
        possible.map(|(_, stage)| stage).any(stood)
    }
}
