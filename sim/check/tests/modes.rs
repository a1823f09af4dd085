//! White-box mode: what only the log shows, and the two modes against each other.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

use quorate_check::error_table::{Code, LEASE_EXISTS, LEASE_NOT_FOUND};
use quorate_check::history::*;
use quorate_check::types::*;
use quorate_check::verdict::{Class, Oracle};
use quorate_check::{Options, judge};

const SEC: u64 = NANOS_PER_SEC;

#[derive(Default)]
struct Story(History);

fn put(key: &str, value: &str, lease: i64) -> Request {
    Request::Put(Put { key: key.into(), value: value.into(), lease: LeaseId(lease), ..Put::default() })
}

fn grant(id: i64) -> Request {
    Request::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_secs: 5 })
}

fn granted(id: i64) -> Response {
    Response::LeaseGrant(LeaseGrantResponse { id: LeaseId(id), ttl_secs: 5 })
}

fn revoke(id: i64) -> Request {
    Request::LeaseRevoke(LeaseRef { id: LeaseId(id) })
}

fn written() -> Response {
    Response::Put(PutResponse::default())
}

impl Story {
    fn push(mut self, from: u64, until: u64, request: Request, outcome: Outcome) -> Story {
        self.0.operations.push(Operation {
            id: OpId(self.0.operations.len() as u64 + 1),
            client: ClientId(1),
            member: MemberAsked { id: MemberId(1), index: 0 },
            invoked: Nanos(from * SEC),
            returned: Nanos(until * SEC),
            request,
            outcome,
        });
        self
    }

    fn ok(self, from: u64, until: u64, request: Request, revision: i64, response: Response) -> Story {
        let header = Header { revision: Revision(revision), member_id: MemberId(1), ..Header::default() };
        self.push(from, until, request, Outcome::Ok { header, response })
    }

    fn refused(self, from: u64, until: u64, request: Request, message: &str) -> Story {
        self.push(from, until, request, Outcome::Failed { code: Code::NotFound, message: message.into() })
    }

    fn lost(self, from: u64, until: u64, request: Request) -> Story {
        self.push(from, until, request, Outcome::Unknown { reason: "timeout".into() })
    }

    /// The log carries an operation out, or refuses it.
    fn log(mut self, operation: u64, revision: i64, refused: bool) -> Story {
        let logged = self.logged(revision);
        self.0.log.push(Logged { operation: Some(OpId(operation)), refused, ..logged });
        self
    }

    fn log_expiry(mut self, lease: i64, revision: i64) -> Story {
        let logged = self.logged(revision);
        self.0.log.push(Logged { expired: vec![LeaseId(lease)], ..logged });
        self
    }

    fn logged(&self, revision: i64) -> Logged {
        let index = LogIndex(self.0.log.len() as u64 + 1);
        Logged { entry: LogId { term: Term(1), index }, revision: Revision(revision), ..Logged::default() }
    }

    fn passes(&self) {
        let verdict = judge(&self.0, &Options::default());
        assert!(verdict.is_pass(), "{verdict}");
    }

    fn breaks(&self, class: Class, oracle: Oracle, words: &str) {
        let verdict = judge(&self.0, &Options::default());
        assert_eq!(verdict.class, class, "{verdict}");
        let said = verdict
            .violations
            .iter()
            .any(|violation| violation.oracle == oracle && violation.sentence.contains(words));
        assert!(said, "nobody said \"{words}\": {verdict}");
    }
}

#[test]
fn lease_calls_are_ordered_among_themselves_by_the_log_alone() {
    // Grant and revoke of one lease overlap; by their answers alone either order could be.
    let story = |first: u64, second: u64| {
        let story =
            Story::default().ok(1, 5, grant(7), 1, granted(7)).refused(2, 4, revoke(7), LEASE_NOT_FOUND);
        story.log(first, 1, first == 2).log(second, 1, second == 2)
    };
    story(2, 1).passes();
    story(1, 2).breaks(Class::Safety, Oracle::LogOrder, "was refused, though nothing spoke against it");
}

#[test]
fn a_lease_is_granted_once() {
    let story = |refused: bool| {
        let story = Story::default().ok(1, 2, grant(7), 1, granted(7)).log(1, 1, false);
        let story = if refused {
            story.refused(3, 4, grant(7), LEASE_EXISTS)
        } else {
            story.ok(3, 4, grant(7), 1, granted(7))
        };
        story.log(2, 1, refused)
    };
    story(true).passes();
    story(false).breaks(Class::Safety, Oracle::LogOrder, "lease already exists");
}

#[test]
fn a_write_on_a_lease_that_ended_before_it_in_the_log_is_refused() {
    // The renewal's promise is over at 6 s; the write is under way while the lease ends.
    let story = |ends_first: bool| {
        let story = Story::default().ok(0, 1, grant(7), 1, granted(7)).log(1, 1, false);
        let story = story.ok(5, 20, put("a", "1", 7), 2, written());
        if ends_first {
            story.log_expiry(7, 1).log(2, 2, false)
        } else {
            story.log(2, 2, false).log_expiry(7, 3)
        }
    };
    story(false).passes();
    story(true).breaks(Class::Safety, Oracle::LogOrder, "requested lease not found");
}

#[test]
fn the_log_agrees_with_real_time() {
    let story = |first: u64, second: u64| {
        let story = Story::default().ok(1, 2, grant(7), 1, granted(7)).ok(3, 4, grant(8), 1, granted(8));
        story.log(first, 1, false).log(second, 1, false)
    };
    story(1, 2).passes();
    story(2, 1).breaks(Class::Safety, Oracle::LogOrder, "which was answered before it was sent");
}

#[test]
fn an_answer_comes_out_of_the_log_once() {
    let one = || Story::default().ok(1, 2, put("a", "1", 0), 2, written());
    one().log(1, 2, false).passes();
    one().log(1, 2, true).breaks(Class::Safety, Oracle::LogOrder, "was refused");
    let twice =
        one().log(1, 2, false).ok(3, 4, put("b", "2", 0), 3, written()).log(1, 2, false).log(2, 3, false);
    twice.breaks(Class::Safety, Oracle::LogOrder, "carried out twice");
    let never = one().ok(3, 4, put("b", "2", 0), 3, written()).log(1, 2, false);
    never.breaks(Class::Safety, Oracle::LogOrder, "no log carried it out");
}

#[test]
fn watchers_are_told_what_the_log_made() {
    // Two writes of unknown fate and of one value: by the answers the first sent stands for both, and rightly so.
    let same = Story::default().lost(1, 2, put("a", "1", 0)).lost(3, 4, put("a", "1", 0)).ok(
        5,
        6,
        put("b", "2", 0),
        3,
        written(),
    );
    let same = same.log(2, 2, false).log(3, 3, false);
    same.passes();
    // Revision 2 shows the value that only the second wrote, but the log names the first.
    let event = |key: &str, value: &str, revision: i64| Event {
        kind: EventKind::Put,
        kv: created(key, value, revision),
        prev_kv: None,
    };
    let seen = |at: u64, events: Vec<Event>| WatchReceived {
        at: Nanos(at * SEC),
        header: Header { revision: Revision(3), member_id: MemberId(1), ..Header::default() },
        events,
        ..WatchReceived::default()
    };
    let differ = |logged: u64| {
        let story = two_lost_writes().ok(5, 6, put("b", "2", 0), 3, written());
        let mut story = story.log(logged, 2, false).log(3, 3, false);
        story.0.watches.push(Watch {
            member: MemberAsked { id: MemberId(1), index: 0 },
            create: WatchCreate {
                key: "\0".into(),
                range_end: "\0".into(),
                start_revision: Revision(1),
                ..WatchCreate::default()
            },
            received: vec![
                WatchReceived {
                    header: Header { revision: Revision(1), member_id: MemberId(1), ..Header::default() },
                    created: true,
                    ..WatchReceived::default()
                },
                seen(7, vec![event("a", "x", 2)]),
                seen(8, vec![event("b", "2", 3)]),
            ],
            ..Watch::default()
        });
        story
    };
    differ(2).passes();
    differ(1).breaks(Class::Safety, Oracle::LogOrder, "made there");
}

#[test]
fn readers_are_told_what_the_log_made() {
    // A read shows the value that only the second write wrote, but the log names the first.
    let get = Request::Range(Range { key: "a".into(), ..Range::default() });
    let got = Response::Range(RangeResponse { kvs: vec![created("a", "x", 2)], more: false, count: 1 });
    let read = |logged: u64| two_lost_writes().ok(5, 6, get.clone(), 2, got.clone()).log(logged, 2, false);
    read(2).passes();
    read(1).breaks(Class::Safety, Oracle::LogOrder, "does not show what the log's commands made");
}

#[test]
fn who_is_granted_a_lock_holds_it_by_the_log() {
    // Either of two writes of unknown fate may have made the key; by the answers alone nothing can be said.
    let granted = |key: &str, logged: u64| {
        let two = Story::default().lost(1, 2, put("l/a", "1", 0)).lost(1, 2, put("l/b", "1", 0));
        let mut story = two.ok(5, 6, put("z", "2", 0), 3, written()).log(logged, 2, false).log(3, 3, false);
        story.0.contenders.push(Contender {
            client: ClientId(1),
            prefix: "l/".into(),
            key: key.into(),
            granted: Some(Granted { at: Nanos(7 * SEC), revision: Revision(3) }),
            ..Contender::default()
        });
        story
    };
    granted("l/b", 2).passes();
    granted("l/a", 2).breaks(Class::Safety, Oracle::LogOrder, "where by the log l/b holds");
    granted("l/a", 1).passes();
}

#[test]
fn the_modes_may_not_disagree() {
    // A condition holds that only the second write made true, but the log names the first.
    let condition = Compare {
        key: "a".into(),
        range_end: "".into(),
        result: CompareResult::Equal,
        target: CompareTarget::Value("x".into()),
    };
    let txn = Request::Txn(Txn { compare: vec![condition], ..Txn::default() });
    let held = Response::Txn(TxnResponse { succeeded: true, responses: Vec::new() });
    let asked = |logged: u64| two_lost_writes().ok(5, 6, txn.clone(), 2, held.clone()).log(logged, 2, false);
    asked(2).passes();
    asked(1).breaks(Class::Harness, Oracle::Harness, "the two modes disagree about revision 2");
}

/// A key as the revision shows it that made it.
fn created(key: &str, value: &str, revision: i64) -> KeyValue {
    let revision = Revision(revision);
    let (create_revision, mod_revision) = (revision, revision);
    let (key, value) = (key.into(), value.into());
    KeyValue { key, value, create_revision, mod_revision, version: 1, lease: LeaseId::NONE }
}

/// Two writes of one key, both of unknown fate.
fn two_lost_writes() -> Story {
    Story::default().lost(1, 2, put("a", "1", 0)).lost(1, 2, put("a", "x", 0))
}

#[test]
fn a_history_without_a_log_is_judged_by_its_answers_alone() {
    Story::default().ok(1, 2, put("a", "1", 0), 2, written()).passes();
}
