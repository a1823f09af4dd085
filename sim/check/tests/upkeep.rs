//! Alarms and downgrades: what the log does with them, and what clients are told.

#![allow(
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

use quorate_check::error_table::{CORRUPT, Code, DOWNGRADE_IN_PROGRESS, NO_DOWNGRADE, NO_SPACE};
use quorate_check::history::*;
use quorate_check::types::*;
use quorate_check::verdict::{Class, Oracle};
use quorate_check::{Options, judge};

const SEC: u64 = NANOS_PER_SEC;
const FULL: Raised = Raised { kind: AlarmKind::NoSpace, member: MemberId(3) };
const DIFFER: Raised = Raised { kind: AlarmKind::Corrupt, member: MemberId(4) };

#[derive(Default)]
struct Story {
    history: History,
    seconds: u64,
}

impl Story {
    /// Somebody asks, and this comes of it a second later; then nobody does anything for a second.
    fn asks(mut self, request: Request, outcome: Outcome) -> Story {
        let (invoked, returned) = (Nanos(self.seconds * SEC), Nanos((self.seconds + 1) * SEC));
        self.seconds += 2;
        self.history.operations.push(Operation {
            id: OpId(self.history.operations.len() as u64 + 1),
            client: ClientId(1),
            member: MemberAsked { id: MemberId(1), index: 0 },
            invoked,
            returned,
            request,
            outcome,
        });
        self
    }

    fn answered(self, request: Request, response: Response) -> Story {
        let revision = self.revision(&response);
        let header = Header { revision, member_id: MemberId(1), ..Header::default() };
        self.asks(request, Outcome::Ok { header, response })
    }

    fn refused(self, request: Request, message: &str) -> Story {
        self.asks(request, Outcome::Failed { code: Code::ResourceExhausted, message: message.into() })
    }

    /// Puts alone make revisions here.
    fn revision(&self, last: &Response) -> Revision {
        let puts = self.history.operations.iter().filter_map(|operation| Some(operation.answer()?.1));
        let made = puts.chain([last]).filter(|response| matches!(response, Response::Put(_))).count();
        Revision(made as i64 + 1)
    }

    /// The log carries out, or refuses, what was asked last.
    fn logs(mut self, refused: bool) -> Story {
        let asked = self.history.operations.last().unwrap();
        let alarm = match asked.request {
            Request::Alarm(Alarm { action, kind: Some(kind), member }) => {
                Some(AlarmChange { raise: action == AlarmAction::Raise, kind, member })
            }
            _ => None,
        };
        let operation = Some(asked.id);
        self.push(Logged { operation, alarm, refused, ..Logged::default() });
        self
    }

    /// A member raises an alarm by itself, or has leases ended.
    fn by_itself(mut self, raised: Option<Raised>, expired: Vec<LeaseId>, refused: bool) -> Story {
        let alarm = raised.map(|Raised { kind, member }| AlarmChange { raise: true, kind, member });
        self.push(Logged { alarm, expired, refused, ..Logged::default() });
        self
    }

    fn push(&mut self, logged: Logged) {
        let entry = LogId { term: Term(1), index: LogIndex(self.history.log.len() as u64 + 1) };
        let revision = self.revision(&Response::Compact);
        self.history.log.push(Logged { entry, revision, ..logged });
    }

    fn passes(&self) {
        let verdict = judge(&self.history, &Options::default());
        assert!(verdict.is_pass(), "{verdict}");
    }

    fn breaks(&self, words: &str) {
        let verdict = judge(&self.history, &Options::default());
        assert_eq!(verdict.class, Class::Safety, "{verdict}");
        let mut violations = verdict.violations.iter();
        let said = violations
            .any(|violation| violation.oracle == Oracle::LogOrder && violation.sentence.contains(words));
        assert!(said, "nobody said \"{words}\": {verdict}");
    }
}

fn raise(alarm: Raised) -> Request {
    Request::Alarm(Alarm { action: AlarmAction::Raise, kind: Some(alarm.kind), member: alarm.member })
}

fn clear(kind: AlarmKind, member: u64) -> Request {
    Request::Alarm(Alarm { action: AlarmAction::Clear, kind: Some(kind), member: MemberId(member) })
}

fn alarms(alarms: &[Raised]) -> Response {
    Response::Alarm(AlarmResponse { alarms: alarms.to_vec() })
}

fn list(kind: Option<AlarmKind>) -> Request {
    Request::Alarm(Alarm { kind, ..Alarm::default() })
}

fn put() -> Request {
    Request::Put(Put { key: "a".into(), value: "1".into(), ..Put::default() })
}

fn written() -> Response {
    Response::Put(PutResponse::default())
}

fn delete() -> Request {
    Request::DeleteRange(DeleteRange { key: "nothing".into(), ..DeleteRange::default() })
}

fn deleted() -> Response {
    Response::DeleteRange(DeleteRangeResponse::default())
}

fn grant() -> Request {
    Request::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl_secs: 1 })
}

fn downgrade(action: DowngradeAction) -> Request {
    Request::Downgrade(Downgrade { action, version: "3.6.0".to_owned() })
}

fn version(version: &str) -> Response {
    Response::Downgrade(DowngradeResponse { version: version.to_owned() })
}

#[test]
fn an_alarm_stops_what_it_concerns_and_nothing_else() {
    let full = || Story::default().answered(raise(FULL), alarms(&[FULL])).logs(false);
    full().refused(put(), NO_SPACE).logs(true).passes();
    full().refused(grant(), NO_SPACE).logs(true).passes();
    full().answered(delete(), deleted()).logs(false).passes();
    full().answered(put(), written()).logs(false).breaks("had to be refused: database space exceeded");
    full().refused(put(), CORRUPT).logs(true).breaks("was refused with");
    full().refused(delete(), NO_SPACE).logs(true).breaks("though nothing spoke against it");
    let differ = || Story::default().answered(raise(DIFFER), alarms(&[DIFFER])).logs(false);
    differ().refused(delete(), CORRUPT).logs(true).passes();
    differ().answered(delete(), deleted()).logs(false).breaks("had to be refused: corrupt cluster");
    // Both: that members differ is said first.
    let both = || differ().answered(raise(FULL), alarms(&[FULL])).logs(false);
    both().refused(put(), CORRUPT).logs(true).passes();
    both().refused(put(), NO_SPACE).logs(true).breaks("was refused with");
}

#[test]
fn an_alarm_that_a_member_raises_by_itself_counts_as_well() {
    let full = || Story::default().by_itself(Some(FULL), Vec::new(), false);
    full().refused(put(), NO_SPACE).logs(true).passes();
    full().answered(put(), written()).logs(false).breaks("had to be refused");
    // Cleared of another member it stays.
    let other = || full().answered(clear(FULL.kind, 9), alarms(&[])).logs(false);
    other().refused(put(), NO_SPACE).logs(true).passes();
    other().answered(put(), written()).logs(false).breaks("had to be refused");
    let all = || full().answered(clear(FULL.kind, 0), alarms(&[FULL])).logs(false);
    all().answered(put(), written()).logs(false).passes();
    all().refused(put(), NO_SPACE).logs(true).breaks("though nothing spoke against it");
}

#[test]
fn leases_do_not_end_while_members_differ() {
    let leased = || {
        let granted = Response::LeaseGrant(LeaseGrantResponse { id: LeaseId(7), ttl_secs: 1 });
        Story::default().answered(grant(), granted).logs(false)
    };
    let differ = || leased().by_itself(Some(DIFFER), Vec::new(), false);
    differ().by_itself(None, vec![LeaseId(7)], true).passes();
    differ().by_itself(None, vec![LeaseId(7)], false).breaks("though an alarm puts that off");
    leased().by_itself(None, vec![LeaseId(7)], false).passes();
    leased().by_itself(None, vec![LeaseId(7)], true).breaks("nothing spoke against it");
}

#[test]
fn alarms_are_listed_as_they_stood_meanwhile() {
    let raised = || Story::default().answered(raise(FULL), alarms(&[FULL])).logs(false);
    raised().answered(list(None), alarms(&[FULL])).passes();
    raised().answered(list(Some(AlarmKind::Corrupt)), alarms(&[])).passes();
    raised().answered(list(None), alarms(&[])).breaks("which never stood meanwhile");
    raised().answered(list(None), alarms(&[FULL, FULL])).breaks("which never stood meanwhile");
    let cleared = || raised().answered(clear(FULL.kind, 3), alarms(&[FULL])).logs(false);
    cleared().answered(list(None), alarms(&[])).passes();
    cleared().answered(list(None), alarms(&[FULL])).breaks("which never stood meanwhile");
    raised().answered(clear(FULL.kind, 3), alarms(&[])).logs(false).breaks("which never stood meanwhile");
    let another = Story::default().answered(raise(FULL), alarms(&[DIFFER])).logs(false);
    another.breaks("which never stood meanwhile");
    // Asked while it was raised: both are right.
    let mut early = raised().answered(list(None), alarms(&[]));
    early.history.operations[1].invoked = Nanos(0);
    early.passes();
}

#[test]
fn what_was_raised_is_what_was_asked_for_and_in_the_log() {
    let unlogged = Story::default().answered(raise(FULL), alarms(&[FULL])).by_itself(None, Vec::new(), false);
    unlogged.breaks("no log carried it out");
    let mut other = Story::default().answered(raise(FULL), alarms(&[FULL])).logs(false);
    other.history.log[0].alarm = Some(AlarmChange { raise: true, kind: FULL.kind, member: MemberId(9) });
    let verdict = judge(&other.history, &Options::default());
    assert_eq!(verdict.class, Class::Harness, "{verdict}");
}

#[test]
fn one_downgrade_is_prepared_at_a_time() {
    use DowngradeAction::{Cancel, Enable, Validate};
    let prepared = || Story::default().answered(downgrade(Enable), version("3.7.0")).logs(false);
    prepared().refused(downgrade(Enable), DOWNGRADE_IN_PROGRESS).logs(true).passes();
    prepared().refused(downgrade(Validate), DOWNGRADE_IN_PROGRESS).passes();
    prepared().answered(downgrade(Enable), version("3.7.0")).logs(false).breaks("downgrade in progress");
    prepared().answered(downgrade(Validate), version("3.7.0")).breaks("another was prepared all the while");
    let over = || prepared().answered(downgrade(Cancel), version("3.7.0")).logs(false);
    over().answered(downgrade(Validate), version("3.7.0")).passes();
    over().refused(downgrade(Validate), DOWNGRADE_IN_PROGRESS).breaks("though none was prepared");
    over().refused(downgrade(Cancel), NO_DOWNGRADE).logs(true).passes();
    over().answered(downgrade(Cancel), version("3.7.0")).logs(false).breaks("no downgrade in progress");
    prepared().refused(downgrade(Cancel), NO_DOWNGRADE).logs(true).breaks("nothing spoke against it");
    let two_down =
        Story::default().answered(downgrade(Validate), version("3.8.0")).by_itself(None, Vec::new(), false);
    two_down.breaks("was granted from version 3.8.0");
}
