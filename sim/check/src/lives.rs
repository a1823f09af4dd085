//! Which life of a member answered, and how far the store can have been at a moment.

use crate::history::{History, Operation};
use crate::revision_order::{Cause, Replayed};
use crate::types::{MemberId, Nanos, Revision};

/// The lives of all members.
#[derive(Debug)]
pub struct Lives<'h> {
    history: &'h History,
}

impl<'h> Lives<'h> {
    /// Reads the lives from a history.
    pub fn new(history: &'h History) -> Lives<'h> {
        Lives { history }
    }

    /// The life of a member that must have served something between two moments: the only one that touches the
    /// span. `None` if several do, for then nobody can tell. A member without recorded lives has had one.
    pub fn serving(&self, member: MemberId, from: Nanos, until: Nanos) -> Option<Nanos> {
        let mut own = self.history.incarnations.iter().filter(|life| life.member == member).peekable();
        if own.peek().is_none() {
            return Some(Nanos(0));
        }
        let mut touching =
            own.filter(|life| life.started <= until && life.stopped.is_none_or(|stopped| stopped >= from));
        let only = touching.next()?;
        touching.next().is_none().then_some(only.started)
    }
}

/// Between which revisions the store must have been while something was under way.
#[derive(Debug)]
pub struct Bounds {
    /// The largest revision acknowledged by each moment.
    acknowledged: Vec<(Nanos, Revision)>,
    /// For each revision, the latest sending time of any change up to it.
    sent: Vec<(Nanos, Revision)>,
}

impl Bounds {
    /// Collects the bounds of a replayed history.
    pub fn new(history: &History, replayed: &Replayed<'_>) -> Bounds {
        let answer = |operation: &Operation| {
            operation.answer().map(|(header, _)| (operation.returned, header.revision))
        };
        let mut acknowledged: Vec<_> = history.operations.iter().filter_map(answer).collect();
        acknowledged.sort_unstable();
        let mut largest = Revision(0);
        for (_, revision) in &mut acknowledged {
            largest = largest.max(*revision);
            *revision = largest;
        }
        let mut latest = Nanos(0);
        let sent = replayed
            .causes
            .iter()
            .map(|(revision, cause)| {
                if let Cause::Answered(operation) | Cause::Unknown(operation) = cause {
                    latest = latest.max(operation.invoked);
                }
                (latest, *revision)
            })
            .collect();
        Bounds { acknowledged, sent }
    }

    /// The revision that the store had surely reached before a moment.
    pub fn at_least(&self, moment: Nanos) -> Revision {
        let passed = self.acknowledged.partition_point(|(at, _)| *at < moment);
        let last = passed.checked_sub(1).and_then(|last| self.acknowledged.get(last));
        last.map_or(Revision::FIRST, |(_, revision)| *revision)
    }

    /// The largest revision that the store can have reached by a moment.
    pub fn at_most(&self, moment: Nanos) -> Revision {
        let possible = self.sent.partition_point(|(at, _)| *at <= moment);
        let last = possible.checked_sub(1).and_then(|last| self.sent.get(last));
        last.map_or(Revision::FIRST, |(_, revision)| *revision)
    }
}
