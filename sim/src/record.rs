//! Everything that is written down while a run goes on: history, trace, findings, counts.
//!
//! One record a run, shared by clients, faults, disks and the monitor. It outlives a panic of the run, so that
//! even then there is something to show.

mod later;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_check::history::{
    AskedBy, Asker, Contender, Fault, History, Image, Incarnation, Logged, MemberAsked, Observer, Operation,
    Outcome, Request, RightsAre, RightsChange, Settled, Watch, WatchEnd, WatchReceived,
};
use quorate_check::types::{ClientId, LeaseId, MemberId, Nanos, OpId, Revision, WatchNo};
use quorate_check::verdict::Class;

use self::later::Later;
use crate::figures::Figures;
use crate::plan::MemberIndex;
use crate::report::Finding;
use crate::timeline::Timeline;
use crate::trace::Trace;

/// The record of a run.
#[derive(Debug, Default)]
pub struct Record(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    history: History,
    /// Operations that have been sent and not ended; what is left here when the run ends is unknown.
    open: BTreeMap<OpId, Operation>,
    /// Watches that have not ended.
    watches: BTreeMap<WatchNo, Watch>,
    newcomers: Newcomers,
    /// Changes of rights; those that were refused are taken out.
    rights: Vec<Option<RightsChange>>,
    /// The time of the last event.
    last: Nanos,
    trace: Trace,
    findings: Vec<Finding>,
    figures: Figures,
    timeline: Timeline,
    /// What no client knew when it asked.
    later: Later,
    /// What is judged, once the books are closed.
    closed: Option<Closed>,
}

/// A history as it stood when the books were closed.
#[derive(Debug)]
struct Closed {
    history: History,
    open: BTreeMap<OpId, Operation>,
    watches: BTreeMap<WatchNo, Watch>,
    rights: Vec<Option<RightsChange>>,
    last: Nanos,
}

/// What a run leaves behind.
#[derive(Debug)]
pub struct Written {
    /// The history for the oracles.
    pub history: History,
    /// What the runner itself found.
    pub findings: Vec<Finding>,
    /// The counts.
    pub figures: Figures,
    /// The trace.
    pub trace: Trace,
    /// What the members went through.
    pub timeline: Timeline,
}

/// A fault in the history that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct OpenFault(usize);

/// A change of rights of which more may be known later.
#[derive(Clone, Copy, Debug)]
pub struct OpenRights(usize);

/// Who moved into which place, and when.
#[derive(Debug, Default)]
struct Newcomers(Vec<(u32, MemberId, Nanos)>);

impl Newcomers {
    /// Calls go to places. Who moves into one while a call is on its way there is the one that was asked.
    fn correct(&self, asked: &mut MemberAsked, invoked: Nanos, answered: MemberId) {
        let mut moved = self.0.iter();
        if moved.any(|(place, id, since)| *place == asked.index && *id == answered && *since >= invoked) {
            asked.id = answered;
        }
    }
}

impl Inner {
    fn event(&mut self, at: Nanos, what: &impl Hash, text: fmt::Arguments<'_>) {
        self.last = self.last.max(at);
        self.trace.event(at.0, what, text);
    }

    fn note(&mut self, at: Nanos, text: fmt::Arguments<'_>) {
        self.last = self.last.max(at);
        self.trace.note(at.0, text);
    }
}

impl Record {
    /// A record with this trace.
    pub fn new(trace: Trace) -> Record {
        Record(Mutex::new(Inner { trace, ..Inner::default() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event into the trace: all that it says, and its text for people.
    pub fn event(&self, at: Nanos, what: &impl Hash, text: fmt::Arguments<'_>) {
        self.inner().event(at, what, text);
    }

    /// Takes an event into the trace whose text says it all.
    pub fn note(&self, at: Nanos, text: fmt::Arguments<'_>) {
        self.inner().note(at, text);
    }

    /// Notes an operation that is about to be sent; its outcome is a guess until it ends.
    pub fn sent(&self, operation: Operation) {
        let mut inner = self.inner();
        let Operation { id, client, member, request, .. } = &operation;
        inner.event(
            operation.invoked,
            &("invoke", id, client, member.index, request),
            format_args!("invoke {id} {client} {} {request:?}", member.index),
        );
        inner.open.insert(operation.id, operation);
    }

    /// Writes down how an operation has ended; `None` when it was never sent after all.
    pub fn ended(&self, id: OpId, at: Nanos, outcome: Option<Outcome>) {
        let mut inner = self.inner();
        inner.event(at, &("return", id, &outcome), format_args!("return {id} {outcome:?}"));
        let operation = inner.open.remove(&id);
        if let Some((mut operation, outcome)) = operation.zip(outcome) {
            if let Outcome::Ok { header, .. } = &outcome {
                inner.newcomers.correct(&mut operation.member, operation.invoked, header.member_id);
            }
            inner.history.operations.push(Operation { returned: at, outcome, ..operation });
        }
    }

    /// Writes down that an operation gives up the place that another has taken: it means the revision at which that was.
    pub fn gives_up(&self, leave: OpId, placed: OpId) {
        self.inner().later.gives_up(leave, placed);
    }

    /// Writes down that an operation is on the lease that a member makes in another's call.
    pub fn on_a_lease_of(&self, operation: OpId, call: OpId) {
        self.inner().later.on_a_lease_of(operation, call);
    }

    /// Writes down which lease a member makes in an operation's call.
    pub fn made_lease(&self, call: OpId, lease: LeaseId) {
        self.inner().later.made(call, lease);
    }

    /// Writes down that who may do what is about to be changed; its place, for when more is known.
    pub fn rights_change(&self, what: RightsAre, at: Nanos) -> OpenRights {
        let mut inner = self.inner();
        inner.note(at, format_args!("rights {what:?}"));
        inner.rights.push(Some(RightsChange { invoked: at, returned: None, lost: None, what }));
        OpenRights(inner.rights.len() - 1)
    }

    /// Writes down what came of a change of rights: it was made, or will never be; or nobody knows, and it is given up.
    pub fn rights_changed(&self, change: OpenRights, at: Nanos, made: Option<bool>) {
        let mut inner = self.inner();
        inner.note(at, format_args!("rights {} made {made:?}", change.0));
        if let Some(known) = inner.rights.get_mut(change.0) {
            *known = known.take().filter(|_| made != Some(false));
            if let Some(change) = known {
                let when = if made.is_some() { &mut change.returned } else { &mut change.lost };
                *when = Some(at);
            }
        }
    }

    /// Writes down who asks for an operation.
    pub fn asked_by(&self, operation: OpId, asker: Asker) {
        self.inner().history.askers.push(AskedBy { operation, asker });
    }

    /// Writes down that a watch was asked for.
    pub fn watch_begins(&self, watch: Watch) {
        let mut inner = self.inner();
        let Watch { id, client, member, create, .. } = &watch;
        inner.event(
            watch.invoked,
            &("watch", id, client, member.index, create),
            format_args!("watch {id} {client} {} {create:?}", member.index),
        );
        inner.watches.insert(watch.id, watch);
    }

    /// Writes down that progress of a watch's stream was asked for.
    pub fn watch_asks_progress(&self, id: WatchNo, at: Nanos) {
        let mut inner = self.inner();
        inner.event(at, &("progress asked", id), format_args!("progress asked of {id}"));
        if let Some(watch) = inner.watches.get_mut(&id) {
            watch.progress_requests.push(at);
        }
    }

    /// Writes down a response of a watch.
    pub fn watch_received(&self, id: WatchNo, received: WatchReceived) {
        let mut inner = self.inner();
        inner.event(received.at, &("watched", id, &received), format_args!("watched {id} {received:?}"));
        let Inner { watches, newcomers, .. } = &mut *inner;
        if let Some(watch) = watches.get_mut(&id) {
            if watch.received.is_empty() {
                newcomers.correct(&mut watch.member, watch.invoked, received.header.member_id);
            }
            watch.received.push(received);
        }
    }

    /// Writes down how a watch ended; what it was.
    pub fn watch_ends(&self, id: WatchNo, end: WatchEnd) -> Option<Watch> {
        let mut inner = self.inner();
        let mut watch = inner.watches.remove(&id)?;
        watch.end = end;
        inner.history.watches.push(watch.clone());
        Some(watch)
    }

    /// Writes down that a member has moved into a place.
    pub fn moves_in(&self, at: Nanos, index: MemberIndex, member: MemberId) {
        let mut inner = self.inner();
        inner.note(at, format_args!("added {index}"));
        inner.newcomers.0.push((u32::from(index.0), member, at));
    }

    /// Writes down that a member has the place of another by one change.
    pub fn takes_over(&self, at: Nanos, index: MemberIndex, member: MemberId) {
        let mut inner = self.inner();
        inner.note(at, format_args!("replaced {index} by {member}"));
        inner.newcomers.0.push((u32::from(index.0), member, at));
    }

    /// Writes down that a process goes on as another member.
    pub fn lives_on_as(&self, at: Nanos, before: MemberId, member: MemberId) {
        let mut inner = self.inner();
        inner.note(at, format_args!("{before} goes on as {member}"));
        let last = inner.history.incarnations.iter_mut().rev().find(|life| life.member == before);
        if let Some(life) = last {
            life.stopped.get_or_insert(at);
        }
        inner.history.incarnations.push(Incarnation { member, started: at, stopped: None });
    }

    /// Writes down that a fault began.
    pub fn fault_begins(&self, at: Nanos, kind: &str, member: Option<MemberId>, note: String) -> OpenFault {
        let mut inner = self.inner();
        inner.note(at, format_args!("fault {kind} {member:?} {note}"));
        inner.figures.faults += 1;
        inner.history.faults.push(Fault { from: at, until: None, kind: kind.to_owned(), member, note });
        OpenFault(inner.history.faults.len() - 1)
    }

    /// Writes down that a fault ended.
    pub fn fault_ends(&self, at: Nanos, fault: OpenFault) {
        let mut inner = self.inner();
        let Some(fault) = inner.history.faults.get_mut(fault.0) else { return };
        fault.until = Some(at);
        let kind = fault.kind.clone();
        inner.note(at, format_args!("end of {kind}"));
    }

    /// Writes down that a member's process started.
    pub fn life_begins(&self, at: Nanos, member: MemberId) {
        let mut inner = self.inner();
        inner.note(at, format_args!("start {member}"));
        inner.history.incarnations.push(Incarnation { member, started: at, stopped: None });
    }

    /// Writes down that a member's process ended.
    pub fn life_ends(&self, at: Nanos, member: MemberId, how: &str) {
        let mut inner = self.inner();
        inner.note(at, format_args!("end {member} {how}"));
        inner.figures.crashes += 1;
        let last = inner.history.incarnations.iter_mut().rev().find(|life| life.member == member);
        if let Some(life) = last {
            life.stopped.get_or_insert(at);
        }
    }

    /// Writes down a command that the log carried out.
    pub fn logged(&self, logged: Logged) {
        self.inner().history.log.push(logged);
    }

    /// Writes down one attempt to hold a lock.
    pub fn contended(&self, at: Nanos, contender: Contender) {
        let mut inner = self.inner();
        inner.event(
            at,
            &("contender", format!("{contender:?}")),
            format_args!("contender {} {}", contender.client, contender.key),
        );
        inner.history.contenders.push(contender);
    }

    /// Writes down what an observer of an election saw.
    pub fn observed(&self, observer: Observer) {
        self.inner().history.observers.push(observer);
    }

    /// Writes down what an image holds.
    pub fn image(&self, image: Image) {
        let mut inner = self.inner();
        let Image { client, member, received, applied, .. } = &image;
        let member = member.index;
        inner.event(
            *received,
            &("image", format!("{image:?}")),
            format_args!("image {client} {member} {applied}"),
        );
        inner.history.images.push(image);
    }

    /// Writes down a rest.
    pub fn settled(&self, settled: Settled) {
        self.inner().history.settled.push(settled);
    }

    /// Writes down something that is wrong.
    ///
    /// A panic cannot say when it happened; it happened right after the last that was seen.
    pub fn finding(&self, at: Nanos, mut finding: Finding) {
        let mut inner = self.inner();
        inner.note(at, format_args!("finding {}", finding.sentence));
        if finding.spot.at.is_none() {
            let last = inner.last.max(inner.timeline.end());
            finding.spot.at = Some(if at == Nanos::default() { last } else { at });
        }
        if !inner.findings.iter().any(|known| known.says_the_same(&finding)) {
            inner.findings.push(finding);
        }
    }

    /// What was found so far.
    pub fn findings(&self) -> Vec<Finding> {
        self.inner().findings.clone()
    }

    /// Changes the timeline.
    pub fn watch_members(&self, change: impl FnOnce(&mut Timeline)) {
        change(&mut self.inner().timeline);
    }

    /// Whether something so wrong was found that going on is of no use.
    pub fn is_over(&self) -> bool {
        self.inner().findings.iter().any(|finding| finding.class != Class::Liveness)
    }

    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.inner().figures);
    }

    /// The largest revision that any answer carried.
    pub fn newest_revision(&self) -> Revision {
        let inner = self.inner();
        let answers = inner.history.operations.iter().filter_map(Operation::answer);
        answers.map(|(header, _)| header.revision).max().unwrap_or_default()
    }

    /// Whether this client has a watch on this member that was created and has not ended.
    pub fn is_watching(&self, client: ClientId, member: MemberId) -> bool {
        let inner = self.inner();
        let mut watches = inner.watches.values();
        watches.any(|watch| watch.client == client && watch.member.id == member && watch.created().is_some())
    }

    /// The longest time to live that a lease may have, in seconds; 0 when nobody asked for one.
    pub fn longest_lease_secs(&self) -> u64 {
        let inner = self.inner();
        let operations = inner.history.operations.iter().chain(inner.open.values());
        let asked = operations.filter_map(|operation| match &operation.request {
            Request::LeaseGrant(grant) => Some(grant.ttl_secs),
            _ => None,
        });
        asked.max().and_then(|secs| u64::try_from(secs).ok()).unwrap_or(0)
    }

    /// When one of the watches that have not ended last delivered a change up to `revision`.
    pub fn last_delivery(&self, revision: Revision) -> Option<Nanos> {
        let inner = self.inner();
        let delivers =
            |response: &&WatchReceived| response.events.iter().any(|event| event.kv.mod_revision <= revision);
        inner
            .watches
            .values()
            .filter_map(|watch| watch.received.iter().rfind(delivers))
            .map(|last| last.at)
            .max()
    }

    /// The largest revision that an answered compaction asked for.
    pub fn last_compaction(&self) -> Revision {
        let inner = self.inner();
        let answered = inner.history.operations.iter().filter(|operation| operation.answer().is_some());
        let compacted = answered.filter_map(|operation| match &operation.request {
            Request::Compact(compact) => Some(compact.revision),
            _ => None,
        });
        compacted.max().unwrap_or_default()
    }

    /// Closes the books: what comes later is in the trace, and no part of the history any more.
    pub fn close(&self) {
        let mut inner = self.inner();
        let closed = Closed {
            history: inner.history.clone(),
            open: inner.open.clone(),
            watches: inner.watches.clone(),
            rights: inner.rights.clone(),
            last: inner.last,
        };
        inner.closed.get_or_insert(closed);
    }

    /// Takes everything out.
    pub fn take(&self) -> Written {
        let mut inner = std::mem::take(&mut *self.inner());
        inner.trace.flush();
        inner.figures.simulated_ms = inner.last.0 / 1_000_000;
        if let Some(closed) = inner.closed.take() {
            (inner.history, inner.open, inner.watches) = (closed.history, closed.open, closed.watches);
            (inner.rights, inner.last) = (closed.rights, closed.last);
        }
        let last = inner.last;
        let open = std::mem::take(&mut inner.open).into_values();
        inner.history.operations.extend(open.map(|operation| Operation {
            returned: last.max(operation.invoked),
            outcome: Outcome::Unknown { reason: "the run ended".to_owned() },
            ..operation
        }));
        inner.later.write_into(&mut inner.history);
        inner.history.rights = std::mem::take(&mut inner.rights).into_iter().flatten().collect();
        let live = std::mem::take(&mut inner.watches).into_values();
        inner.history.watches.extend(live);
        Written {
            history: inner.history,
            findings: inner.findings,
            figures: inner.figures,
            trace: inner.trace,
            timeline: inner.timeline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_check::history::{Header, Response, StatusResponse};
    use quorate_check::types::ClientId;

    fn operation(id: u64, invoked: u64) -> Operation {
        Operation {
            id: OpId(id),
            client: ClientId(1),
            member: MemberAsked::default(),
            invoked: Nanos(invoked),
            returned: Nanos(invoked),
            request: Request::Status,
            outcome: Outcome::Unknown { reason: String::new() },
        }
    }

    #[test]
    fn who_moves_into_a_place_while_a_call_is_on_its_way_is_the_one_that_was_asked() {
        let answer = |member| Outcome::Ok {
            header: Header { member_id: MemberId(member), ..Header::default() },
            response: Response::Status(StatusResponse::default()),
        };
        let record = Record::default();
        for id in 1..=4 {
            record.sent(operation(id, id * 10));
        }
        record.moves_in(Nanos(25), MemberIndex(0), MemberId(7));
        // A stranger's answer, and one to a call that began after the move, stay what they are.
        for (id, member) in [(1, 7), (2, 8), (3, 7)] {
            record.ended(OpId(id), Nanos(50), Some(answer(member)));
        }
        let asked: Vec<u64> = record.take().history.operations.iter().map(|it| it.member.id.0).collect();
        assert_eq!(asked, [7, 0, 0, 0]);
    }

    #[test]
    fn what_was_under_way_when_the_run_ended_is_in_the_history_as_unknown() {
        let record = Record::default();
        for id in 1..=3 {
            record.sent(operation(id, id));
        }
        record.ended(OpId(1), Nanos(8), Some(Outcome::Unknown { reason: "no answer in time".to_owned() }));
        record.ended(OpId(2), Nanos(9), None);
        let written = record.take();
        let seen: Vec<(u64, u64)> = written
            .history
            .operations
            .iter()
            .map(|operation| (operation.id.0, operation.returned.0))
            .collect();
        assert_eq!(seen, [(1, 8), (3, 9)], "operation 2 was never sent");
        assert!(written.history.operations.iter().all(Operation::is_unknown));
    }

    #[test]
    fn what_comes_after_the_books_are_closed_is_not_judged() {
        let record = Record::default();
        (1..=2).for_each(|id| record.sent(operation(id, id)));
        record.close();
        record.sent(operation(3, 5));
        for id in 1..=3 {
            record.ended(OpId(id), Nanos(9), Some(Outcome::Unknown { reason: String::new() }));
        }
        record.close();
        let seen = record.take().history.operations;
        let seen: Vec<_> = seen.iter().map(|operation| (operation.id.0, operation.returned.0)).collect();
        assert_eq!(seen, [(1, 2), (2, 2)], "both were under way");
    }

    #[test]
    fn liveness_trouble_does_not_end_a_run_and_anything_graver_does() {
        let record = Record::default();
        record.finding(Nanos(1), Finding::new(Class::Liveness, "settle", "slow"));
        assert!(!record.is_over());
        record.finding(Nanos(2), Finding::new(Class::Safety, "monitor", "they differ"));
        record.finding(Nanos(3), Finding::new(Class::Safety, "monitor", "they differ"));
        assert!(record.is_over());
        let findings = record.take().findings;
        assert_eq!(findings.len(), 2, "the same finding counts once");
        assert_eq!(findings.last().unwrap().spot.at, Some(Nanos(2)), "and shows where it was found first");
    }
}
