//! Where in the run each violation shows: a moment, and the operations and watch responses that contradict it.

use std::collections::BTreeMap;

use quorate_check::history::{History, Operation, Watch, WatchReceived};
use quorate_check::types::{Nanos, OpId, Revision, WatchNo};
use serde::Serialize;

use crate::report::{Finding, Report};

/// Violations that are pinned; whoever has more has one problem.
const PINS_MAX: usize = 200;

/// One violation on the page.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pin {
    class: String,
    by: String,
    sentence: String,
    details: Vec<String>,
    /// When it shows.
    pub(super) at: Nanos,
    /// The operations involved, the wrong one first, by their places in the page's table.
    pub(super) operations: Vec<usize>,
    /// The watches involved, by their places in the page's table, each with the response that tells.
    pub(super) watches: Vec<(usize, Option<usize>)>,
}

/// The tables that pins point into.
pub(super) struct Places<'a> {
    operations: &'a [&'a Operation],
    by_id: BTreeMap<OpId, usize>,
    watches: &'a [Watch],
    by_number: BTreeMap<WatchNo, usize>,
    end: Nanos,
}

impl<'a> Places<'a> {
    /// The places of these operations, in the page's order, and of the history's watches.
    pub(super) fn new(operations: &'a [&'a Operation], history: &'a History, end: Nanos) -> Places<'a> {
        let by_id = operations.iter().enumerate().map(|(place, operation)| (operation.id, place)).collect();
        let watches = history.watches.as_slice();
        let by_number = watches.iter().enumerate().map(|(place, watch)| (watch.id, place)).collect();
        Places { operations, by_id, watches, by_number, end }
    }

    /// The pins of a report, in its order.
    pub(super) fn pins(&self, report: &Report) -> Vec<Pin> {
        report.violations.iter().take(PINS_MAX).map(|finding| self.pin(finding)).collect()
    }

    fn pin(&self, finding: &Finding) -> Pin {
        let spot = &finding.spot;
        let operations: Vec<usize> =
            spot.operations.iter().filter_map(|id| self.by_id.get(id).copied()).collect();
        let wrong = operations.first().and_then(|place| self.operations.get(*place)).copied();
        let telling = |place: usize| {
            let watch = self.watches.get(place)?;
            telling(watch, wrong, spot.revision)
        };
        let watches: Vec<(usize, Option<usize>)> = spot
            .watches
            .iter()
            .filter_map(|number| self.by_number.get(number).copied())
            .map(|place| (place, telling(place)))
            .collect();
        let received = watches.iter().find_map(|(place, nth)| {
            let watch = self.watches.get(*place)?;
            Some(nth.and_then(|nth| watch.received.get(nth)).map_or(watch.invoked, |response| response.at))
        });
        let at = spot.at.or(wrong.map(|operation| operation.returned)).or(received).unwrap_or(self.end);
        Pin {
            class: finding.class.to_string(),
            by: finding.by.clone(),
            sentence: finding.sentence.clone(),
            details: finding.details.clone(),
            at,
            operations,
            watches,
        }
    }
}

/// The response of a watch that tells of the violation: when an operation is wrong, the newest that came before it
/// was sent; else the first that reaches the revision.
fn telling(watch: &Watch, wrong: Option<&Operation>, revision: Option<Revision>) -> Option<usize> {
    let reached = |response: &WatchReceived| {
        let events = response.events.iter().map(|event| event.kv.mod_revision);
        events.max().unwrap_or(if response.created { Revision(0) } else { response.header.revision })
    };
    let indexed = || watch.received.iter().enumerate();
    match (wrong, revision) {
        (Some(wrong), _) => indexed()
            .filter(|(_, response)| response.at <= wrong.invoked)
            .max_by_key(|(nth, response)| (reached(response), std::cmp::Reverse(*nth)))
            .map(|(nth, _)| nth),
        (None, Some(revision)) => {
            indexed().find(|(_, response)| reached(response) >= revision).map(|(nth, _)| nth)
        }
        (None, None) => watch.received.len().checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Spot;
    use quorate_check::history::{Event, EventKind, KeyValue, MemberAsked, Outcome, Request};
    use quorate_check::types::ClientId;
    use quorate_check::verdict::Class;

    fn operation(id: u64, invoked: u64, returned: u64) -> Operation {
        Operation {
            id: OpId(id),
            client: ClientId(1),
            member: MemberAsked::default(),
            invoked: Nanos(invoked),
            returned: Nanos(returned),
            request: Request::Status,
            outcome: Outcome::Unknown { reason: String::new() },
        }
    }

    fn response(at: u64, revision: i64) -> WatchReceived {
        let kv = KeyValue { mod_revision: Revision(revision), ..KeyValue::default() };
        let events = vec![Event { kind: EventKind::Put, kv, prev_kv: None }];
        WatchReceived { at: Nanos(at), events, ..WatchReceived::default() }
    }

    fn history() -> History {
        let received = vec![response(10, 4), response(20, 5), response(40, 9)];
        let watch = Watch { id: WatchNo(7), received, ..Watch::default() };
        History {
            operations: vec![operation(1, 0, 5), operation(2, 30, 50)],
            watches: vec![watch],
            ..History::default()
        }
    }

    fn pin(spot: Spot) -> Pin {
        let history = history();
        let operations: Vec<&Operation> = history.operations.iter().collect();
        let finding = Finding { spot, ..Finding::new(Class::Safety, "real-time", "a stale read") };
        Places::new(&operations, &history, Nanos(99)).pin(&finding)
    }

    #[test]
    fn a_stale_read_is_pinned_at_its_answer_with_what_was_seen_before() {
        let spot = Spot { operations: vec![OpId(2)], watches: vec![WatchNo(7)], ..Spot::default() };
        let pin = pin(spot);
        assert_eq!((pin.at, pin.operations), (Nanos(50), vec![1]));
        assert_eq!(pin.watches, [(0, Some(1))], "the newest response before the read was sent");
    }

    #[test]
    fn a_watch_is_pinned_where_it_reaches_the_revision() {
        let spot = Spot { watches: vec![WatchNo(7)], revision: Some(Revision(5)), ..Spot::default() };
        assert_eq!(pin(spot).at, Nanos(20));
    }

    #[test]
    fn what_names_nothing_is_pinned_when_it_was_found_or_at_the_end() {
        assert_eq!(pin(Spot { at: Some(Nanos(33)), ..Spot::default() }).at, Nanos(33));
        assert_eq!(pin(Spot::default()).at, Nanos(99));
        assert_eq!(pin(Spot { operations: vec![OpId(404)], ..Spot::default() }).at, Nanos(99));
    }
}
