//! One tiny history for each way to break a promise, and beside it the nearest history that keeps it.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

#[path = "common/judged.rs"]
mod judged;

use quorate_check::error_table::{COMPACTED, Code, FUTURE_REVISION, LEASE_NOT_FOUND, NO_SPACE};
use quorate_check::history::*;
use quorate_check::types::*;
use quorate_check::verdict::{Class, Oracle, Verdict};
use quorate_check::{Options, judge};

const SEC: u64 = NANOS_PER_SEC;

/// Writes a history by hand; times are in seconds.
#[derive(Default)]
struct Story(History);

fn header(member: u64, revision: i64) -> Header {
    Header {
        cluster_id: ClusterId(1),
        member_id: MemberId(member),
        revision: Revision(revision),
        raft_term: Term(3),
    }
}

fn kv(key: &str, value: &str, create: i64, modified: i64, version: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: Revision(create),
        mod_revision: Revision(modified),
        version,
        lease: LeaseId::NONE,
    }
}

fn put(key: &str, value: &str) -> Request {
    Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn leased(key: &str, value: &str, lease: i64) -> Request {
    let lease = LeaseId(lease);
    Request::Put(Put { key: key.into(), value: value.into(), lease, ..Put::default() })
}

fn get(key: &str) -> Request {
    Request::Range(Range { key: key.into(), ..Range::default() })
}

fn get_at(key: &str, revision: i64) -> Request {
    Request::Range(Range { key: key.into(), revision: Revision(revision), ..Range::default() })
}

fn local_get(key: &str) -> Request {
    Request::Range(Range { key: key.into(), serializable: true, ..Range::default() })
}

fn delete(key: &str) -> Request {
    Request::DeleteRange(DeleteRange { key: key.into(), ..DeleteRange::default() })
}

fn compact(revision: i64) -> Request {
    Request::Compact(Compact { revision: Revision(revision), physical: false })
}

fn grant(id: i64, ttl_secs: i64) -> Request {
    Request::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_secs })
}

fn written() -> Response {
    Response::Put(PutResponse::default())
}

fn found(kvs: &[KeyValue]) -> Response {
    Response::Range(RangeResponse { kvs: kvs.to_vec(), more: false, count: kvs.len() as i64 })
}

fn deleted(count: i64) -> Response {
    Response::DeleteRange(DeleteRangeResponse { deleted: count, prev_kvs: Vec::new() })
}

fn granted(id: i64, ttl_secs: i64) -> Response {
    Response::LeaseGrant(LeaseGrantResponse { id: LeaseId(id), ttl_secs })
}

fn put_event(kv: KeyValue) -> Event {
    Event { kind: EventKind::Put, kv, prev_kv: None }
}

fn delete_event(key: &str, revision: i64) -> Event {
    let kv = KeyValue { key: key.into(), mod_revision: Revision(revision), ..KeyValue::default() };
    Event { kind: EventKind::Delete, kv, prev_kv: None }
}

impl Story {
    fn push(mut self, member: u64, from: u64, until: u64, request: Request, outcome: Outcome) -> Story {
        let id = OpId(self.0.operations.len() as u64 + 1);
        self.0.operations.push(Operation {
            id,
            client: ClientId(1),
            member: MemberAsked { id: MemberId(member), index: member as u32 },
            invoked: Nanos(from * SEC),
            returned: Nanos(until * SEC),
            request,
            outcome,
        });
        self
    }

    /// An operation on member 1 that was answered at this revision.
    fn ok(self, from: u64, until: u64, request: Request, revision: i64, response: Response) -> Story {
        self.ok_on(1, from, until, request, revision, response)
    }

    fn ok_on(
        self,
        on: u64,
        from: u64,
        until: u64,
        request: Request,
        revision: i64,
        response: Response,
    ) -> Story {
        self.push(on, from, until, request, Outcome::Ok { header: header(on, revision), response })
    }

    fn refused(self, from: u64, until: u64, request: Request, message: &str) -> Story {
        let outcome = Outcome::Failed { code: Code::OutOfRange, message: message.into() };
        self.push(1, from, until, request, outcome)
    }

    fn lost(self, from: u64, until: u64, request: Request) -> Story {
        self.push(1, from, until, request, Outcome::Unknown { reason: "timeout".into() })
    }

    /// A watch of one key, or of everything for "", from a revision, created at second 0 under header 1.
    fn watch(mut self, key: &str, start: i64, received: Vec<WatchReceived>) -> Story {
        let everything = key.is_empty();
        let create = WatchCreate {
            key: if everything { "\0".into() } else { key.into() },
            range_end: if everything { "\0".into() } else { "".into() },
            start_revision: Revision(start),
            ..WatchCreate::default()
        };
        let created = WatchReceived { header: header(1, 1), created: true, ..WatchReceived::default() };
        self.0.watches.push(Watch {
            id: WatchNo(self.0.watches.len() as u64),
            member: MemberAsked { id: MemberId(1), index: 1 },
            create,
            received: std::iter::once(created).chain(received).collect(),
            ..Watch::default()
        });
        self
    }

    fn last_watch(mut self, change: impl FnOnce(&mut Watch)) -> Story {
        change(self.0.watches.last_mut().unwrap());
        self
    }

    fn settled(mut self, healed: u64, at: u64, revision: i64) -> Story {
        let (healed, at) = (Nanos(healed * SEC), Nanos(at * SEC));
        self.0.settled.push(Settled { healed, still: healed, at, revision: Revision(revision) });
        self
    }

    fn judge(&self) -> Verdict {
        judged::judged(&self.0)
    }

    fn passes(&self) {
        let verdict = self.judge();
        assert!(verdict.is_pass(), "{verdict}");
    }

    fn breaks(&self, class: Class, oracle: Oracle, words: &str) {
        let verdict = self.judge();
        assert_eq!(verdict.class, class, "{verdict}");
        let hit = |violation: &&quorate_check::verdict::Violation| {
            violation.oracle == oracle && violation.sentence.contains(words)
        };
        assert!(
            verdict.violations.iter().any(|violation| hit(&violation)),
            "wanted {oracle} {words:?}: {verdict}"
        );
    }
}

fn events(at: u64, revision: i64, events: Vec<Event>) -> WatchReceived {
    WatchReceived { at: Nanos(at * SEC), header: header(1, revision), events, ..WatchReceived::default() }
}

fn bookmark(at: u64, revision: i64) -> WatchReceived {
    events(at, revision, Vec::new())
}

fn two_writes() -> Story {
    Story::default().ok(1, 2, put("a", "1"), 2, written()).ok(3, 4, put("a", "2"), 3, written())
}

#[test]
fn a_read_after_an_acknowledged_write_must_see_it() {
    let old = found(&[kv("a", "1", 2, 2, 1)]);
    two_writes().ok(5, 6, get("a"), 2, old.clone()).breaks(
        Class::Safety,
        Oracle::RealTime,
        "read at revision 2 returned after write 3 was acknowledged",
    );
    // At the same time as the write it may miss it; from a member's own state it may lag.
    two_writes().ok(3, 6, get("a"), 2, old.clone()).passes();
    two_writes().ok_on(2, 5, 6, local_get("a"), 2, old).passes();
}

#[test]
fn a_write_must_not_go_behind_an_acknowledged_one() {
    Story::default().ok(1, 2, put("a", "1"), 3, written()).ok(3, 4, put("b", "1"), 2, written()).breaks(
        Class::Safety,
        Oracle::RealTime,
        "put at revision 2 returned after write 3 was acknowledged",
    );
}

#[test]
fn two_changes_never_share_a_revision() {
    Story::default().ok(1, 4, put("a", "1"), 2, written()).ok(1, 4, put("b", "1"), 2, written()).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "both answered with revision 2",
    );
}

#[test]
fn an_acknowledged_write_must_not_be_lost() {
    two_writes().ok(5, 6, get("a"), 3, found(&[kv("a", "1", 2, 2, 1)])).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "does not show that state",
    );
    two_writes().ok(5, 6, get("a"), 3, found(&[kv("a", "2", 2, 3, 2)])).passes();
}

#[test]
fn a_write_without_answer_may_or_may_not_be_there_and_never_before_it_was_sent() {
    let base = || Story::default().ok(1, 2, put("a", "1"), 2, written());
    let seen = found(&[kv("a", "2", 2, 3, 2)]);
    base().lost(3, 4, put("a", "2")).ok(5, 6, get("a"), 3, seen.clone()).passes();
    base().lost(3, 4, put("a", "2")).ok(5, 6, get("a"), 2, found(&[kv("a", "1", 2, 2, 1)])).passes();
    base().lost(7, 8, put("a", "2")).ok(5, 6, get("a"), 3, seen.clone()).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "that was sent later",
    );
    base().ok(5, 6, get("a"), 3, seen).breaks(Class::Safety, Oracle::RevisionOrder, "");
}

#[test]
fn a_retry_must_not_be_applied_twice() {
    let twice = vec![
        events(3, 2, vec![put_event(kv("a", "1", 2, 2, 1))]),
        events(4, 3, vec![put_event(kv("a", "1", 2, 3, 2))]),
    ];
    Story::default()
        .ok(1, 2, put("a", "1"), 2, written())
        .lost(1, 2, put("b", "1"))
        .watch("", 1, twice)
        .breaks(Class::Safety, Oracle::RevisionOrder, "took effect at another revision");
}

#[test]
fn a_refused_write_must_not_appear() {
    Story::default()
        .refused(1, 2, put("a", "1"), "etcdserver: too many requests")
        .lost(1, 2, put("b", "1"))
        .ok(3, 4, get("a"), 2, found(&[kv("a", "1", 2, 2, 1)]))
        .breaks(Class::Safety, Oracle::RevisionOrder, "that was refused");
}

#[test]
fn a_value_from_nowhere_is_noticed() {
    Story::default()
        .lost(1, 2, put("b", "1"))
        .ok(3, 4, get("a"), 2, found(&[kv("a", "ghost", 2, 2, 1)]))
        .breaks(Class::Safety, Oracle::RevisionOrder, "which nobody wrote");
}

#[test]
fn an_empty_delete_moves_no_revision() {
    two_writes().ok(5, 6, delete("zz"), 3, deleted(0)).passes();
    two_writes().ok(5, 6, delete("zz"), 4, deleted(0)).ok(7, 8, put("a", "3"), 5, written()).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "",
    );
    two_writes().ok(5, 6, delete("a"), 4, deleted(2)).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "deleted count should be 1, was 2",
    );
}

#[test]
fn a_compare_looks_at_the_state_before_its_writes() {
    let txn = |succeeded| {
        let compare = Compare {
            key: "a".into(),
            range_end: "".into(),
            result: CompareResult::Equal,
            target: CompareTarget::Create(Revision(0)),
        };
        let write = Put { key: "a".into(), value: "9".into(), ..Put::default() };
        let request = Request::Txn(Txn {
            compare: vec![compare],
            success: vec![TxnOp::Put(write.clone())],
            failure: vec![TxnOp::Put(write)],
        });
        let inner = InnerResponse { revision: Some(Revision(4)), response: written() };
        (request, Response::Txn(TxnResponse { succeeded, responses: vec![inner] }))
    };
    let (request, response) = txn(false);
    two_writes().ok(5, 6, request, 4, response).passes();
    let (request, response) = txn(true);
    two_writes().ok(5, 6, request, 4, response).breaks(Class::Safety, Oracle::RevisionOrder, "branch taken");
}

#[test]
fn compaction_is_a_register() {
    let base = || two_writes().ok(5, 6, compact(3), 3, Response::Compact);
    let old = found(&[kv("a", "1", 2, 2, 1)]);
    base().ok(7, 8, get_at("a", 2), 3, old.clone()).breaks(
        Class::Safety,
        Oracle::Compaction,
        "succeeded after compaction to 3",
    );
    base().ok(4, 8, get_at("a", 2), 3, old).passes();
    base().refused(7, 8, get_at("a", 2), COMPACTED).passes();
    base().refused(7, 8, get_at("a", 3), COMPACTED).breaks(
        Class::Safety,
        Oracle::Compaction,
        "nobody had asked",
    );
    base().refused(7, 8, get("a"), COMPACTED).breaks(
        Class::Safety,
        Oracle::Compaction,
        "which the present never is",
    );
    base().ok(7, 8, compact(2), 3, Response::Compact).breaks(
        Class::Safety,
        Oracle::Compaction,
        "succeeded after",
    );
    two_writes().ok(5, 6, compact(9), 3, Response::Compact).breaks(
        Class::Safety,
        Oracle::Compaction,
        "although the store was at",
    );
}

#[test]
fn a_revision_once_seen_is_not_in_the_future() {
    two_writes().refused(5, 6, get_at("a", 3), FUTURE_REVISION).breaks(
        Class::Safety,
        Oracle::RealTime,
        "is in the future",
    );
    two_writes().refused(5, 6, get_at("a", 4), FUTURE_REVISION).passes();
}

#[test]
fn a_members_own_reads_never_go_back_within_one_life() {
    let base = || {
        two_writes().ok_on(2, 5, 6, local_get("a"), 3, found(&[kv("a", "2", 2, 3, 2)])).ok_on(
            2,
            7,
            8,
            local_get("a"),
            2,
            found(&[kv("a", "1", 2, 2, 1)]),
        )
    };
    base().breaks(Class::Safety, Oracle::Header, "the revision of member 2 fell from 3 to 2");
    let mut restarted = base();
    let member = MemberId(2);
    restarted.0.incarnations = vec![
        Incarnation { member, started: Nanos(0), stopped: Some(Nanos(6 * SEC + 1)) },
        Incarnation { member, started: Nanos(6 * SEC + 2), stopped: None },
    ];
    restarted.passes();
}

#[test]
fn headers_name_the_cluster_and_the_member() {
    let mut wrong = two_writes();
    if let Outcome::Ok { header, .. } = &mut wrong.0.operations[1].outcome {
        header.member_id = MemberId(5);
    }
    wrong.breaks(Class::Safety, Oracle::Header, "the answer names member 5");
    let mut fell = two_writes();
    if let Outcome::Ok { header, .. } = &mut fell.0.operations[1].outcome {
        header.raft_term = Term(2);
    }
    fell.breaks(Class::Safety, Oracle::Header, "raft term of member 1 fell");
}

#[test]
fn what_a_member_has_applied_never_falls_within_a_life_and_is_in_its_log() {
    let status = |applied, last| {
        let leader = MemberId(1);
        Response::Status(StatusResponse { raft_applied_index: applied, raft_index: last, leader })
    };
    let base = |second| {
        two_writes().ok(5, 6, Request::Status, 3, status(8, 9)).ok(
            7,
            8,
            Request::Status,
            3,
            status(second, 9),
        )
    };
    base(8).passes();
    base(7).breaks(Class::Safety, Oracle::Header, "the applied index of member 1 fell from 8 to 7");
    base(10).breaks(Class::Safety, Oracle::Header, "but its log ends with entry 9");
    let mut restarted = base(7);
    let member = MemberId(1);
    restarted.0.incarnations = vec![
        Incarnation { member, started: Nanos(0), stopped: Some(Nanos(6 * SEC + 1)) },
        Incarnation { member, started: Nanos(6 * SEC + 2), stopped: None },
    ];
    restarted.passes();
}

#[test]
fn members_agree_on_hashes() {
    let hash = |hash| {
        let place = (Revision(0), Revision(3));
        Response::HashKv(HashKvResponse { hash, compact_revision: place.0, hash_revision: place.1 })
    };
    let ask = || Request::HashKv(HashKv { revision: Revision(3) });
    two_writes().ok(5, 6, ask(), 3, hash(7)).ok_on(2, 5, 6, ask(), 3, hash(7)).passes();
    two_writes().ok(5, 6, ask(), 3, hash(7)).ok_on(2, 5, 6, ask(), 3, hash(8)).breaks(
        Class::Safety,
        Oracle::Hash,
        "00000007",
    );
}

fn first() -> Event {
    put_event(kv("a", "1", 2, 2, 1))
}

fn second() -> Event {
    put_event(kv("a", "2", 2, 3, 2))
}

#[test]
fn watches_deliver_everything_once_and_in_order() {
    let watched = |received| two_writes().watch("a", 1, received);
    watched(vec![events(5, 2, vec![first()]), events(6, 3, vec![second()])]).passes();
    for (received, words) in [
        (vec![events(5, 3, vec![second()])], "without a at revision 2"),
        (vec![events(5, 3, vec![second(), first()])], ""),
        (vec![events(5, 2, vec![first()]), events(6, 2, vec![first()])], "in two responses"),
        (vec![bookmark(5, 3), events(6, 3, vec![first(), second()])], "claims to be at revision 3"),
        (
            vec![events(5, 3, vec![first(), second()]), bookmark(6, 3), bookmark(7, 2)],
            "took its bookmark back",
        ),
        (vec![events(5, 2, vec![first()]), events(6, 3, vec![delete_event("a", 3)])], "where Put"),
    ] {
        watched(received).breaks(Class::Safety, Oracle::Watch, words);
    }
}

/// Two transactions within one may change a key one after the other.
#[test]
fn a_second_change_in_a_revision_carries_what_stood_before_the_revision() {
    let nested = |op| TxnOp::Txn(Txn { success: vec![op], ..Txn::default() });
    let write = nested(TxnOp::Put(Put { key: "a".into(), value: "2".into(), ..Put::default() }));
    let erase = nested(TxnOp::DeleteRange(DeleteRange { key: "a".into(), ..DeleteRange::default() }));
    let both = Request::Txn(Txn { success: vec![write, erase], ..Txn::default() });
    let inner = |response| InnerResponse { revision: Some(Revision(3)), response };
    let of_one = |response| {
        let responses = vec![inner(response)];
        inner(Response::Txn(TxnResponse { succeeded: true, responses }))
    };
    let responses = vec![of_one(written()), of_one(deleted(1))];
    let answer = Response::Txn(TxnResponse { succeeded: true, responses });
    let (old, new) = (kv("a", "1", 2, 2, 1), kv("a", "2", 2, 3, 2));
    let watched = |before_delete: &KeyValue| {
        let received = vec![
            Event { prev_kv: Some(old.clone()), ..put_event(new.clone()) },
            Event { prev_kv: Some(before_delete.clone()), ..delete_event("a", 3) },
        ];
        Story::default()
            .ok(1, 2, put("a", "1"), 2, written())
            .ok(3, 4, both.clone(), 3, answer.clone())
            .watch("a", 3, vec![events(5, 3, received)])
            .last_watch(|watch| watch.create.prev_kv = true)
    };
    watched(&old).passes();
    watched(&new).breaks(Class::Safety, Oracle::Watch, "wrong previous value");
}

#[test]
fn watches_start_where_they_were_asked_to() {
    // From 0: above the created header, which is 1 here. From 3: nothing earlier.
    two_writes().watch("a", 0, vec![events(5, 3, vec![first(), second()])]).passes();
    two_writes().watch("a", 0, vec![events(5, 3, vec![second()])]).breaks(
        Class::Safety,
        Oracle::Watch,
        "without",
    );
    two_writes().watch("a", 3, vec![events(5, 3, vec![second()])]).passes();
    two_writes().watch("a", 3, vec![events(5, 2, vec![first()])]).breaks(
        Class::Safety,
        Oracle::Watch,
        "though it starts at 3",
    );
    two_writes()
        .watch("a", 1, vec![events(5, 2, vec![first()])])
        .last_watch(|watch| watch.received.swap(0, 1))
        .last_watch(|watch| watch.received[1].at = Nanos(9 * SEC))
        .breaks(Class::Safety, Oracle::Watch, "before it said that it was created");
}

#[test]
fn a_revision_comes_whole_or_in_fragments() {
    let txn = Request::Txn(Txn {
        success: vec![
            TxnOp::Put(Put { key: "a".into(), value: "1".into(), ..Put::default() }),
            TxnOp::Put(Put { key: "b".into(), value: "1".into(), ..Put::default() }),
        ],
        ..Txn::default()
    });
    let inner = || InnerResponse { revision: Some(Revision(2)), response: written() };
    let answer = TxnResponse { succeeded: true, responses: vec![inner(), inner()] };
    let base = || Story::default().ok(1, 2, txn.clone(), 2, Response::Txn(answer.clone()));
    let b = || put_event(kv("b", "1", 2, 2, 1));
    base().watch("", 1, vec![events(3, 2, vec![first(), b()])]).passes();
    base().watch("", 1, vec![events(3, 2, vec![first()]), events(4, 2, vec![b()])]).breaks(
        Class::Safety,
        Oracle::Watch,
        "only a part of revision 2",
    );
    let pieces = || {
        let mut head = events(3, 2, vec![first()]);
        head.fragment = true;
        vec![head, events(4, 2, vec![b()])]
    };
    base().watch("", 1, pieces()).last_watch(|watch| watch.create.fragment = true).passes();
    base().watch("", 1, pieces()).breaks(Class::Safety, Oracle::Watch, "although it was not asked to");
    let in_pieces = |received| base().watch("", 1, received).last_watch(|watch| watch.create.fragment = true);
    // The last piece says that more follows, and it does not.
    let endless = || {
        let mut endless = pieces();
        endless[1].fragment = true;
        endless
    };
    in_pieces(endless()).passes();
    in_pieces(endless()).settled(5, 9, 2).breaks(
        Class::Liveness,
        Oracle::Watch,
        "never finished its response",
    );
    let mut next = pieces();
    next[1].header.revision = Revision(3);
    in_pieces(next).breaks(Class::Safety, Oracle::Watch, "unfinished before the next");
    let cancel = WatchReceived {
        at: Nanos(9 * SEC),
        header: header(1, 2),
        canceled: true,
        cancel_reason: "stopped".into(),
        ..WatchReceived::default()
    };
    in_pieces(vec![pieces().swap_remove(0), cancel]).breaks(
        Class::Safety,
        Oracle::Watch,
        "unfinished before its cancel",
    );
}

#[test]
fn a_compacted_start_is_cancelled_with_the_revision() {
    let cancel = |revision| WatchReceived {
        at: Nanos(9 * SEC),
        header: header(1, 3),
        canceled: true,
        compact_revision: Revision(revision),
        ..WatchReceived::default()
    };
    let late = |watch: &mut Watch| {
        watch.invoked = Nanos(7 * SEC);
        watch.received[0].at = Nanos(8 * SEC);
        watch.received[0].header = header(1, 3);
    };
    let base = || two_writes().ok(5, 6, compact(3), 3, Response::Compact);
    base().watch("a", 1, vec![cancel(3)]).last_watch(late).passes();
    base().watch("a", 1, vec![cancel(2)]).last_watch(late).passes();
    base().watch("a", 1, vec![cancel(4)]).last_watch(late).breaks(
        Class::Safety,
        Oracle::Watch,
        "nobody asked for",
    );
    base().watch("a", 3, vec![cancel(3)]).last_watch(late).breaks(
        Class::Safety,
        Oracle::Watch,
        "only needed",
    );
    base().watch("a", 1, vec![cancel(0)]).last_watch(late).breaks(
        Class::Safety,
        Oracle::Watch,
        "without a reason",
    );
    base().watch("a", 2, vec![events(9, 3, vec![first(), second()])]).last_watch(late).breaks(
        Class::Safety,
        Oracle::Watch,
        "below its member's compaction",
    );
    base().watch("a", 1, vec![]).last_watch(late).settled(20, 30, 3).breaks(
        Class::Liveness,
        Oracle::Watch,
        "was never cancelled",
    );
}

#[test]
fn nobody_is_refused_for_space_without_a_quota() {
    let refused = Outcome::Failed { code: Code::ResourceExhausted, message: NO_SPACE.into() };
    let mut story = Story::default().lost(1, 2, put("a", "1"));
    story.0.operations[0].outcome = refused;
    story.passes();
    let verdict = judge(&story.0, &Options { has_quota: false, ..Options::default() });
    assert_eq!(verdict.class, Class::Safety, "{verdict}");
    assert!(verdict.to_string().contains("there is no quota"), "{verdict}");
}

#[test]
fn a_live_watch_reaches_the_cluster_once_healed() {
    let behind = || two_writes().watch("a", 1, vec![events(5, 2, vec![first()])]);
    behind().passes();
    let late = "never delivered a of revision 3";
    behind().settled(10, 20, 3).breaks(Class::Liveness, Oracle::Watch, late);
    // It lived through a rest, whatever ended it afterwards and whatever it delivered then.
    let ended = |at: u64| {
        let error = "the member died".to_owned();
        behind().settled(10, 20, 3).last_watch(move |watch| {
            watch.received.push(events(21, 3, vec![second()]));
            watch.end = WatchEnd::Broken { at: Nanos(at * SEC), error };
        })
    };
    ended(22).breaks(Class::Liveness, Oracle::Watch, late);
    ended(19).passes();
    // Of two rests each is judged.
    behind().settled(3, 6, 2).settled(10, 20, 3).breaks(Class::Liveness, Oracle::Watch, late);
    let asked = |received| {
        two_writes()
            .watch("a", 1, received)
            .last_watch(|watch| watch.progress_requests.push(Nanos(12 * SEC)))
            .settled(10, 20, 3)
    };
    asked(vec![events(5, 3, vec![first(), second()]), bookmark(13, 3)]).passes();
    asked(vec![events(5, 3, vec![first(), second()])]).breaks(
        Class::Liveness,
        Oracle::Watch,
        "never answered the progress request",
    );
    let elsewhere = |revision| {
        two_writes()
            .watch("b", 1, vec![bookmark(13, revision)])
            .last_watch(|watch| watch.progress_requests.push(Nanos(12 * SEC)))
            .settled(10, 20, 3)
    };
    elsewhere(3).passes();
    elsewhere(2).breaks(Class::Liveness, Oracle::Watch, "only came to revision 2");
}

/// Lease 7 for 5 s at second 1, key "a" on it at revision 2, kept alive at second 4: safe until 9.
fn on_lease() -> Story {
    let renewed = LeaseKeepAliveResponse { id: LeaseId(7), ttl_secs: 5 };
    Story::default().ok(1, 2, grant(7, 5), 1, granted(7, 5)).ok(2, 3, leased("a", "1", 7), 2, written()).ok(
        4,
        5,
        Request::LeaseKeepAlive(LeaseRef { id: LeaseId(7) }),
        2,
        Response::LeaseKeepAlive(renewed),
    )
}

#[test]
fn a_lease_does_not_end_early() {
    let gone =
        |at| vec![events(3, 2, vec![put_event(leased_pair())]), events(at, 3, vec![delete_event("a", 3)])];
    on_lease().watch("", 1, gone(9)).passes();
    on_lease().watch("", 1, gone(8)).breaks(Class::Safety, Oracle::Lease, "promised it until 9.000 s");
    // A delete whose answer was lost explains it as well.
    on_lease().lost(6, 7, delete("a")).watch("", 1, gone(8)).passes();
    on_lease().refused(6, 7, Request::LeaseRevoke(LeaseRef { id: LeaseId(7) }), LEASE_NOT_FOUND).breaks(
        Class::Safety,
        Oracle::Lease,
        "is not there",
    );
    on_lease().refused(6, 10, Request::LeaseRevoke(LeaseRef { id: LeaseId(7) }), LEASE_NOT_FOUND).passes();
}

fn leased_pair() -> KeyValue {
    KeyValue { lease: LeaseId(7), ..kv("a", "1", 2, 2, 1) }
}

#[test]
fn a_lease_takes_all_its_keys_at_once() {
    let second_key = KeyValue { lease: LeaseId(7), ..kv("b", "1", 3, 3, 1) };
    let story = |tail: Vec<WatchReceived>| {
        let mut received = vec![
            events(3, 2, vec![put_event(leased_pair())]),
            events(6, 3, vec![put_event(second_key.clone())]),
        ];
        received.extend(tail);
        on_lease().ok(5, 6, leased("b", "1", 7), 3, written()).watch("", 1, received)
    };
    story(vec![events(20, 4, vec![delete_event("a", 4), delete_event("b", 4)])]).passes();
    let apart = vec![events(20, 4, vec![delete_event("a", 4)]), events(21, 5, vec![delete_event("b", 5)])];
    story(apart).breaks(Class::Safety, Oracle::RevisionOrder, "");
}

/// A lease takes its keys in their order, a transaction as it is written: what a watch shows tells which of the two it was.
#[test]
fn the_order_of_changes_in_a_revision_tells_who_made_it() {
    let erase = |key: &str| TxnOp::DeleteRange(DeleteRange { key: key.into(), ..DeleteRange::default() });
    let backwards = Request::Txn(Txn { success: vec![erase("b"), erase("a")], ..Txn::default() });
    let second_key = KeyValue { lease: LeaseId(7), ..kv("b", "1", 3, 3, 1) };
    let shown = |story: Story, keys: [&str; 2]| {
        let received = vec![
            events(3, 2, vec![put_event(leased_pair())]),
            events(6, 3, vec![put_event(second_key.clone())]),
            events(20, 4, keys.map(|key| delete_event(key, 4)).to_vec()),
        ];
        story.watch("", 1, received)
    };
    let written = || on_lease().ok(5, 6, leased("b", "1", 7), 3, written());
    let unanswered = || written().lost(6, 7, backwards.clone());
    shown(unanswered(), ["a", "b"]).passes();
    shown(unanswered(), ["b", "a"]).passes();
    shown(written(), ["a", "b"]).passes();
    shown(written(), ["b", "a"]).breaks(Class::Safety, Oracle::Watch, "without a at revision 4");
}

#[test]
fn a_revoke_takes_the_keys_whatever_its_answer_says() {
    let revoke = || Request::LeaseRevoke(LeaseRef { id: LeaseId(7) });
    let read = |revision, kvs: &[KeyValue]| (get("a"), revision, found(kvs));
    let (request, revision, response) = read(3, &[]);
    on_lease().ok(6, 7, revoke(), 3, Response::LeaseRevoke).ok(8, 9, request, revision, response).passes();
    let (request, revision, response) = read(2, &[leased_pair()]);
    on_lease().ok(6, 7, revoke(), 2, Response::LeaseRevoke).ok(8, 9, request, revision, response).breaks(
        Class::Safety,
        Oracle::Lease,
        "still hangs on it",
    );
    // Without keys it moves no revision.
    Story::default()
        .ok(1, 2, grant(7, 5), 1, granted(7, 5))
        .ok(3, 4, revoke(), 1, Response::LeaseRevoke)
        .ok(5, 6, put("a", "1"), 2, written())
        .passes();
}

#[test]
fn nothing_hangs_on_a_dead_lease() {
    Story::default()
        .ok(1, 2, grant(7, 5), 1, granted(7, 5))
        .ok(3, 4, Request::LeaseRevoke(LeaseRef { id: LeaseId(7) }), 1, Response::LeaseRevoke)
        .ok(5, 6, leased("a", "1", 7), 2, written())
        .breaks(Class::Safety, Oracle::RevisionOrder, "had to be refused");
    Story::default().ok(5, 6, leased("a", "1", 9), 2, written()).breaks(
        Class::Safety,
        Oracle::Lease,
        "nobody had asked for",
    );
}

#[test]
fn time_to_live_and_lists_tell_the_truth() {
    let ask = || Request::LeaseTimeToLive(LeaseTimeToLive { id: LeaseId(7), keys: true });
    let tell = |keys: &[&str]| {
        Response::LeaseTimeToLive(LeaseTimeToLiveResponse {
            id: LeaseId(7),
            ttl_secs: 3,
            granted_ttl_secs: 5,
            keys: keys.iter().map(|key| (*key).into()).collect(),
        })
    };
    on_lease().ok(6, 7, ask(), 2, tell(&["a"])).passes();
    on_lease().ok(6, 7, ask(), 2, tell(&[])).breaks(
        Class::Safety,
        Oracle::Lease,
        "a set it had at no revision",
    );
    let list = |ids: &[i64]| {
        Response::LeaseLeases(LeaseLeasesResponse { leases: ids.iter().copied().map(LeaseId).collect() })
    };
    let left = |id, ttl_secs| {
        let keys = vec!["a".into()];
        let got = LeaseTimeToLiveResponse { id: LeaseId(id), ttl_secs, granted_ttl_secs: 5, keys };
        on_lease().ok(6, 7, ask(), 2, Response::LeaseTimeToLive(got))
    };
    // Promised until 9, so at 7 two seconds are left; the answer is in whole seconds.
    left(7, 1).passes();
    left(7, 0).breaks(Class::Safety, Oracle::Lease, "shows 0 s left of lease 7");
    left(7, 6).breaks(Class::Safety, Oracle::Lease, "with 6 s left of 5");
    left(8, 3).breaks(Class::Safety, Oracle::Lease, "speaks of lease 8");
    on_lease().ok(6, 7, Request::LeaseLeases, 2, list(&[7])).passes();
    on_lease().ok(6, 7, Request::LeaseLeases, 2, list(&[7, 9])).breaks(
        Class::Safety,
        Oracle::Lease,
        "shows lease 9, which nobody had asked for",
    );
    let renewed = |id| {
        let got = LeaseKeepAliveResponse { id: LeaseId(id), ttl_secs: 5 };
        let ask = Request::LeaseKeepAlive(LeaseRef { id: LeaseId(7) });
        on_lease().ok(6, 7, ask, 2, Response::LeaseKeepAlive(got))
    };
    renewed(7).passes();
    renewed(8).breaks(Class::Safety, Oracle::Lease, "renewed lease 8");
    on_lease().ok(6, 7, Request::LeaseLeases, 2, list(&[])).breaks(
        Class::Safety,
        Oracle::Lease,
        "does not show",
    );
}

#[test]
fn a_dead_leases_keys_are_gone_in_time_once_healthy() {
    on_lease().settled(10, 20, 2).passes();
    on_lease().settled(10, 60, 2).breaks(Class::Liveness, Oracle::Lease, "had to be gone by 25.000 s");
}

#[test]
fn an_order_that_cannot_be_decided_is_the_harness_failing() {
    // Twelve lost writes of other keys, six revisions nobody saw, and a read that fits none of the courses.
    let mut story = Story::default().ok(1, 2, put("x", "0"), 2, written());
    for number in 0..12 {
        story = story.lost(1, 2, put(&format!("k{number}"), &format!("v{number}")));
    }
    let everything = Request::Range(Range { key: "\0".into(), range_end: "\0".into(), ..Range::default() });
    let story = story.ok(30, 31, everything, 8, found(&[kv("x", "0", 2, 2, 1)]));
    let few = Options { search_steps_max: 200, ..Options::default() };
    let verdict = judge(&story.0, &few);
    assert_eq!(verdict.class, Class::Harness, "{verdict}");
    assert!(verdict.violations[0].sentence.contains("could not be decided"));
}

#[test]
fn a_malformed_history_is_the_harness_failing() {
    let mut story = two_writes();
    story.0.operations[1].id = OpId(1);
    story.breaks(Class::Harness, Oracle::Harness, "recorded twice");
}

#[test]
fn a_declared_jump_of_the_revision_is_legal() {
    let mut jumped = Story::default()
        .ok(1, 2, put("a", "1"), 2, written())
        .ok(3, 4, put("a", "2"), 1_000_000_001, written())
        .ok(5, 6, get("a"), 1_000_000_001, found(&[kv("a", "2", 2, 1_000_000_001, 2)]));
    jumped.breaks(Class::Safety, Oracle::RevisionOrder, "can make at most revision");
    jumped.0.jumps.push(RevisionJump { from: Revision(2), to: Revision(1_000_000_000) });
    jumped.passes();
}

#[test]
fn nothing_is_answered_at_the_empty_stores_revision_or_below() {
    Story::default().ok(1, 2, put("a", "1"), 1, written()).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "the empty store is at revision 1",
    );
    Story::default().ok(1, 2, get("a"), 1, found(&[])).passes();
    Story::default().ok(1, 2, get("a"), 0, found(&[])).breaks(
        Class::Safety,
        Oracle::RevisionOrder,
        "the empty store is at revision 1",
    );
}
