//! Where everything stands: which answered change holds which revision, who observed which, and when each revision
//! was first seen to exist.

use crate::history::{History, Operation, Request, Response, TxnOp};
use crate::lease::LeaseBook;
use crate::types::{Nanos, OpId, Revision, WatchNo};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// Who saw something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// A client operation.
    Operation(OpId),
    /// A watch.
    Watch(WatchNo),
}

/// The earliest known moment at which a revision existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// When.
    pub at: Nanos,
    /// Who saw it, or a later revision.
    pub by: Witness,
}

/// The places of a history's operations.
#[derive(Debug, Default)]
pub struct Slots<'h> {
    /// Answered changes, by their revision.
    pub changes: BTreeMap<Revision, &'h Operation>,
    /// Answered lease revokes, by their header's revision: their answer does not say whether keys went.
    pub revokes: BTreeMap<Revision, Vec<&'h Operation>>,
    /// Answers to compare with the model, by the revision whose state they show.
    pub observers: BTreeMap<Revision, Vec<&'h Operation>>,
    /// The earliest sight of each revision or a later one.
    pub seen: BTreeMap<Revision, Seen>,
    /// The largest revision anybody saw.
    pub top: Revision,
}

impl<'h> Slots<'h> {
    /// Gives every answered operation its place.
    pub fn new(history: &'h History, book: &LeaseBook<'_>) -> (Slots<'h>, Vec<Violation>) {
        let mut slots = Slots { top: Revision::FIRST, ..Slots::default() };
        let mut violations = Vec::new();
        for operation in &history.operations {
            slots.place(operation, &mut violations);
        }
        for watch in &history.watches {
            for response in &watch.received {
                let last = response.events.iter().map(|event| event.kv.mod_revision).max();
                let revision = last.unwrap_or_default().max(response.header.revision);
                slots.see(revision, Seen { at: response.at, by: Witness::Watch(watch.id) });
            }
        }
        slots.bound_top(history, book, &mut violations);
        slots.spread_sights();
        (slots, violations)
    }

    /// When this revision was first seen to exist, and by whom.
    pub fn first_sight(&self, revision: Revision) -> Option<Seen> {
        self.seen.range(revision..).next().map(|(_, seen)| *seen)
    }

    fn place(&mut self, operation: &'h Operation, violations: &mut Vec<Violation>) {
        let Some((header, response)) = operation.answer() else { return };
        let mut largest = header.revision;
        response.pairs(&mut |kv| largest = largest.max(kv.mod_revision));
        let seen = Seen { at: operation.returned, by: Witness::Operation(operation.id) };
        self.see(largest, seen);
        let changed = response.tells_change() == Some(true);
        let of_keys = content_revision(&operation.request, header.revision).is_some();
        if of_keys && (header.revision < Revision::FIRST || changed && header.revision == Revision::FIRST) {
            let name = operation.request.name();
            let sentence = format!(
                "{name} {} was answered with revision {}, but the empty store is at revision {}",
                operation.id,
                header.revision,
                Revision::FIRST
            );
            let violation = Violation::safety(Oracle::RevisionOrder, sentence);
            violations.push(violation.operation(operation.id).at(header.revision));
            return;
        }
        match response.tells_change() {
            Some(true) => match self.changes.get(&header.revision) {
                Some(first) => violations.push(
                    Violation::safety(
                        Oracle::RevisionOrder,
                        format!(
                            "{} {} and {} {} were both answered with revision {}",
                            first.request.name(),
                            first.id,
                            operation.request.name(),
                            operation.id,
                            header.revision
                        ),
                    )
                    .operation(first.id)
                    .operation(operation.id)
                    .at(header.revision),
                ),
                None => {
                    self.changes.insert(header.revision, operation);
                }
            },
            None => self.revokes.entry(header.revision).or_default().push(operation),
            Some(false) => {
                if let Some(revision) = content_revision(&operation.request, header.revision) {
                    if revision > header.revision {
                        violations.push(
                            Violation::safety(
                                Oracle::RevisionOrder,
                                format!(
                                    "read {} asked for revision {revision} and was answered at revision {}, \
                                     which is before it",
                                    operation.id, header.revision
                                ),
                            )
                            .operation(operation.id)
                            .at(header.revision),
                        );
                    } else {
                        self.observers.entry(revision).or_default().push(operation);
                    }
                }
            }
        }
    }

    fn see(&mut self, revision: Revision, seen: Seen) {
        self.top = self.top.max(revision);
        self.seen.entry(revision).and_modify(|first| *first = (*first).min(seen)).or_insert(seen);
    }

    /// A sight of a revision is a sight of every one below it.
    fn spread_sights(&mut self) {
        let mut earliest: Option<Seen> = None;
        for seen in self.seen.values_mut().rev() {
            let best = earliest.map_or(*seen, |best| best.min(*seen));
            *seen = best;
            earliest = Some(best);
        }
    }

    /// More revisions than anybody asked for cannot be; and nobody should walk through a billion of them.
    fn bound_top(&mut self, history: &History, book: &LeaseBook<'_>, violations: &mut Vec<Violation>) {
        let askers = history
            .operations
            .iter()
            .filter(|operation| operation.request.may_change() && operation.may_have_applied())
            .count();
        let jumped: i64 = history.jumps.iter().map(|jump| jump.to.0.saturating_sub(jump.from.0)).sum();
        let changes = i64::try_from(askers.saturating_add(book.len())).unwrap_or(i64::MAX);
        let most = Revision(Revision::FIRST.0.saturating_add(changes).saturating_add(jumped));
        if self.top <= most {
            return;
        }
        let mut violation = Violation::safety(
            Oracle::RevisionOrder,
            format!(
                "revision {} was seen, but all that was asked can make at most revision {most}",
                self.top
            ),
        )
        .at(self.top);
        if let Some((_, seen)) = self.seen.iter().next_back() {
            violation = match seen.by {
                Witness::Operation(id) => violation.operation(id),
                Witness::Watch(id) => violation.watch(id),
            };
        }
        violations.push(violation);
        // One more than possible stays in, so that the replay also says what it cannot explain.
        self.top = most;
    }
}

/// The revision whose state an answer shows; `None` for calls that show nothing of the key space.
fn content_revision(request: &Request, header: Revision) -> Option<Revision> {
    match request {
        Request::Range(range) if range.revision > Revision(0) => Some(range.revision),
        Request::Range(_) | Request::DeleteRange(_) | Request::Txn(_) | Request::Put(_) => Some(header),
        _ => None,
    }
}

/// Every explicit revision that a request reads at.
pub fn explicit_revisions(request: &Request) -> Vec<Revision> {
    match request {
        Request::Range(range) => vec![range.revision],
        Request::Txn(txn) => txn
            .every_op()
            .into_iter()
            .filter_map(|op| match op {
                TxnOp::Range(range) => Some(range.revision),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
    .into_iter()
    .filter(|revision| *revision > Revision(0))
    .collect()
}

/// Whether an answer is of the kind that its request calls for.
pub fn kinds_match(request: &Request, response: &Response) -> bool {
    matches!(
        (request, response),
        (Request::Put(_), Response::Put(_))
            | (Request::Range(_), Response::Range(_))
            | (Request::DeleteRange(_), Response::DeleteRange(_))
            | (Request::Txn(_), Response::Txn(_))
            | (Request::Compact(_), Response::Compact)
            | (Request::LeaseGrant(_), Response::LeaseGrant(_))
            | (Request::LeaseRevoke(_), Response::LeaseRevoke)
            | (Request::LeaseKeepAlive(_), Response::LeaseKeepAlive(_))
            | (Request::LeaseTimeToLive(_), Response::LeaseTimeToLive(_))
            | (Request::LeaseLeases, Response::LeaseLeases(_))
            | (Request::Status, Response::Status(_))
            | (Request::HashKv(_), Response::HashKv(_))
            | (Request::Alarm(_), Response::Alarm(_))
            | (Request::Downgrade(_), Response::Downgrade(_))
    )
}

/// Whether some range of the request asks for keys without values.
pub fn hides_values(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.keys_only,
        Request::Txn(txn) => {
            txn.every_op().into_iter().any(|op| matches!(op, TxnOp::Range(range) if range.keys_only))
        }
        _ => false,
    }
}
