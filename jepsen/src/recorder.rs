//! Writes the history of a run: one clock for everybody, and nothing that was sent is left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use quorate_check::history::{
    History, Incarnation, Operation, Outcome, Settled, Watch, WatchEnd, WatchReceived,
};
use quorate_check::types::{MemberId, Nanos, OpId, Revision, WatchNo};

/// The history of a run, while it is written.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    history: History,
    /// Sent and not ended; what is left here when the run ends is unknown.
    open: BTreeMap<OpId, Operation>,
    /// Not ended.
    watches: BTreeMap<WatchNo, Watch>,
    /// The largest revision that an answer carried.
    newest: Revision,
    /// The last revision that each live watch has behind it: delivered, or before its start.
    delivered: BTreeMap<WatchNo, Revision>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { start: Instant::now(), inner: Mutex::default() }
    }
}

impl Recorder {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while recording")
    }

    /// The present, by the history's clock.
    pub fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).expect("a run ends within centuries"))
    }

    /// Notes an operation that is about to be sent.
    pub fn sent(&self, operation: Operation) {
        self.inner().open.insert(operation.id, operation);
    }

    /// Writes down how an operation ended, now.
    pub fn ended(&self, id: OpId, outcome: Outcome) {
        let returned = self.now();
        let mut inner = self.inner();
        let operation = inner.open.remove(&id).expect("only what was sent ends");
        if let Outcome::Ok { header, .. } = &outcome {
            inner.newest = inner.newest.max(header.revision);
        }
        inner.history.operations.push(Operation { returned, outcome, ..operation });
    }

    /// How many operations have ended, and how many of those with a known outcome.
    pub fn ended_and_known(&self) -> (usize, usize) {
        let inner = self.inner();
        let ended = &inner.history.operations;
        (ended.len(), ended.iter().filter(|operation| !operation.is_unknown()).count())
    }

    /// Writes down that a watch is about to be asked for.
    pub fn watch_begins(&self, watch: Watch) {
        self.inner().watches.insert(watch.id, watch);
    }

    /// Writes down a response of a watch.
    pub fn watch_received(&self, id: WatchNo, received: WatchReceived) {
        let inner = &mut *self.inner();
        let watch = inner.watches.get_mut(&id).expect("a watch that began");
        if let Some(last) = received.events.last() {
            inner.delivered.insert(id, last.kv.mod_revision);
        } else if received.created {
            inner.delivered.insert(id, watch.create.start_revision.previous());
        }
        watch.received.push(received);
    }

    /// Writes down how a watch ended.
    pub fn watch_ends(&self, id: WatchNo, end: WatchEnd) {
        let mut inner = self.inner();
        let watch = inner.watches.remove(&id).expect("a watch that began");
        inner.delivered.remove(&id);
        inner.history.watches.push(Watch { end, ..watch });
    }

    /// Writes down that a process is about to start.
    pub fn life_begins(&self, member: MemberId) {
        let started = self.now();
        self.inner().history.incarnations.push(Incarnation { member, started, stopped: None });
    }

    /// Writes down that a process has ended.
    pub fn life_ends(&self, member: MemberId) {
        let now = self.now();
        let mut inner = self.inner();
        let mut lives = inner.history.incarnations.iter_mut().rev();
        let life = lives.find(|life| life.member == member).expect("a life that began");
        assert!(life.stopped.is_none(), "a life ends once");
        life.stopped = Some(now);
    }

    /// The largest revision that any answer carried.
    pub fn newest(&self) -> Revision {
        self.inner().newest
    }

    /// How many live watches have this revision behind them.
    pub fn watches_at(&self, revision: Revision) -> usize {
        self.inner().delivered.values().filter(|delivered| **delivered >= revision).count()
    }

    /// Writes down the end of a run: all was healed at `healed`, from `still` on the cluster stood at `revision`, and
    /// everybody should now have it.
    pub fn settled(&self, healed: Nanos, still: Nanos, revision: Revision) {
        let at = self.now();
        self.inner().history.settled.push(Settled { healed, still, at, revision });
    }

    /// Takes the history out; what has no answer yet is unknown, what watches still is open.
    pub fn take(&self) -> History {
        let returned = self.now();
        let mut inner = std::mem::take(&mut *self.inner());
        let open = inner.open.into_values().map(|operation| Operation {
            returned,
            outcome: Outcome::Unknown { reason: "the run ended".to_owned() },
            ..operation
        });
        inner.history.operations.extend(open);
        inner.history.watches.extend(inner.watches.into_values());
        inner.history
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_check::history::{Event, EventKind, KeyValue, MemberAsked, Request, WatchCreate};
    use quorate_check::types::ClientId;

    fn ask(recorder: &Recorder, id: u64) {
        recorder.sent(Operation {
            id: OpId(id),
            client: ClientId(1),
            member: MemberAsked::default(),
            invoked: recorder.now(),
            returned: recorder.now(),
            request: Request::Status,
            outcome: Outcome::Unknown { reason: String::new() },
        });
    }

    #[test]
    fn what_was_sent_and_never_answered_is_in_the_history_as_unknown() {
        let recorder = Recorder::default();
        ask(&recorder, 1);
        ask(&recorder, 2);
        let refused =
            Outcome::Failed { code: quorate_check::error_table::Code::NotFound, message: "no".to_owned() };
        recorder.ended(OpId(1), refused);
        assert_eq!(recorder.ended_and_known(), (1, 1));
        ask(&recorder, 3);
        recorder.ended(OpId(3), Outcome::Unknown { reason: "no answer in time".to_owned() });
        assert_eq!(recorder.ended_and_known(), (2, 1));
        let history = recorder.take();
        let unknown: Vec<(u64, bool)> =
            history.operations.iter().map(|operation| (operation.id.0, operation.is_unknown())).collect();
        assert_eq!(unknown, [(1, false), (3, true), (2, true)]);
    }

    #[test]
    fn a_watch_has_behind_it_what_it_delivered_and_what_came_before_its_start() {
        let recorder = Recorder::default();
        let create = WatchCreate { start_revision: Revision(8), ..WatchCreate::default() };
        recorder.watch_begins(Watch { id: WatchNo(1), create, ..Watch::default() });
        assert_eq!(recorder.watches_at(Revision(1)), 0, "it was not created yet");
        recorder.watch_received(WatchNo(1), WatchReceived { created: true, ..WatchReceived::default() });
        assert_eq!((recorder.watches_at(Revision(7)), recorder.watches_at(Revision(8))), (1, 0));
        let kv = KeyValue { mod_revision: Revision(9), ..KeyValue::default() };
        let events = vec![Event { kind: EventKind::Put, kv, prev_kv: None }];
        recorder.watch_received(WatchNo(1), WatchReceived { events, ..WatchReceived::default() });
        assert_eq!((recorder.watches_at(Revision(9)), recorder.watches_at(Revision(10))), (1, 0));
        recorder.watch_ends(WatchNo(1), WatchEnd::Open);
        assert_eq!(recorder.watches_at(Revision(1)), 0, "it is over");
    }

    #[test]
    fn a_member_lives_as_often_as_it_starts() {
        let recorder = Recorder::default();
        recorder.life_begins(MemberId(1));
        recorder.life_ends(MemberId(1));
        recorder.life_begins(MemberId(1));
        let lives = recorder.take().incarnations;
        assert!(lives[0].stopped.is_some_and(|stopped| stopped >= lives[0].started));
        assert!(lives[1].stopped.is_none() && lives[1].started >= lives[0].started);
    }
}
