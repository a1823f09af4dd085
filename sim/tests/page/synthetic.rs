//! A long run that nobody ran: 100,000 operations, faults, a timeline, watches, and one stale read.

use std::collections::BTreeMap;

use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Event, EventKind, Fault, Header, History, Incarnation, KeyValue, MemberAsked, Operation, Outcome, Put,
    PutResponse, Range, RangeResponse, Request, Response, Watch, WatchCreate, WatchReceived,
};
use quorate_check::types::{ClientId, MemberId, Nanos, OpId, Revision, WatchNo};
use quorate_check::verdict::Class;
use quorate_sim::figures::Figures;
use quorate_sim::plan::{MemberIndex, MemberPlan, Plan, generate};
use quorate_sim::report::{Finding, Report, Spot};
use quorate_sim::timeline::{Phase, Role, Timeline, Track};

/// Operations of the run.
pub const OPERATIONS: u64 = 100_000;
/// Clients of the run.
pub const CLIENTS: u64 = 16;
/// Members of the run.
pub const MEMBERS: u8 = 3;
/// Faults of the run.
pub const FAULTS: u64 = 60;
/// Keys, each asked as often as the others.
pub const KEYS: u64 = 20;
/// How far apart two operations of a client are sent.
const PACE_NS: u64 = 100_000_000;
/// The stale read, and the write that it should have seen.
pub const STALE: OpId = OpId(60_000);
/// What is wrong with it.
pub const SENTENCE: &str = "read at revision 29000 returned after write 29900 was acknowledged </script>";

/// All that a page is made of.
pub struct Run {
    pub plan: Plan,
    pub history: History,
    pub timeline: Timeline,
    pub report: Report,
}

/// The key that an operation asks for.
pub fn key(number: u64) -> String {
    format!("k{:02}", number % KEYS)
}

/// When an operation is sent: clients take turns within the pace.
fn sent(number: u64) -> u64 {
    number / CLIENTS * PACE_NS + number % CLIENTS * (PACE_NS / CLIENTS)
}

fn end() -> u64 {
    sent(OPERATIONS) + 2 * PACE_NS
}

fn member(place: u8) -> MemberId {
    MemberId(0xA1 + u64::from(place))
}

fn operation(number: u64) -> Operation {
    let place = u8::try_from(number % u64::from(MEMBERS)).unwrap();
    let (key, revision) = (Bytes::from(key(number).as_str()), Revision(i64::try_from(number / 2).unwrap()));
    let invoked = sent(number);
    let header = |revision| Header { member_id: member(place), revision, ..Header::default() };
    let put = number.is_multiple_of(2);
    let request = match put {
        true => {
            let value = Bytes::from(format!("v{number}").as_str());
            Request::Put(Put { key, value, ..Put::default() })
        }
        false => Request::Range(Range { key, ..Range::default() }),
    };
    let outcome = match number % 50 {
        48 => Outcome::Unknown { reason: "no answer in time".to_owned() },
        _ if put => Outcome::Ok { header: header(revision), response: Response::Put(PutResponse::default()) },
        _ => Outcome::Ok { header: header(revision), response: Response::Range(RangeResponse::default()) },
    };
    Operation {
        id: OpId(number),
        client: ClientId(number % CLIENTS + 1),
        member: MemberAsked { id: member(place), index: u32::from(place) },
        invoked: Nanos(invoked),
        returned: Nanos(invoked + 5_000_000 + number % 7 * 11_000_000),
        request,
        outcome,
    }
}

fn faults() -> Vec<Fault> {
    let kinds = ["kill/one", "partition/isolate", "loss/window", "power/one", "clock/jump", "disk-stall/one"];
    let kind = |number: u64| kinds[usize::try_from(number).unwrap() % kinds.len()].to_owned();
    (0..FAULTS)
        .map(|number| Fault {
            from: Nanos(end() / FAULTS * number),
            until: Some(Nanos(end() / FAULTS * number + 4_000_000_000)),
            kind: kind(number),
            member: (number % 6 != 2).then(|| member(u8::try_from(number % u64::from(MEMBERS)).unwrap())),
            note: format!("{number}"),
        })
        .collect()
}

fn timeline() -> Timeline {
    let mut timeline = Timeline::default();
    for place in 0..MEMBERS {
        let index = MemberIndex(place);
        timeline.note(Nanos(0), index, Track::Phase, Phase::Up);
        for at in (0..end()).step_by(20_000_000) {
            let (now, entries) = (Nanos(at), i64::try_from(at / 10_000_000).unwrap());
            let term = i64::try_from(at / 30_000_000_000).unwrap() + 1;
            let leads = term % i64::from(MEMBERS) == i64::from(place);
            timeline.note(now, index, Track::Role, if leads { Role::Leader } else { Role::Follower });
            timeline.note(now, index, Track::Term, term);
            timeline.note(now, index, Track::Leader, term % i64::from(MEMBERS) + 1);
            timeline.note(now, index, Track::Last, entries);
            timeline.note(now, index, Track::Committed, entries - i64::from(place));
            timeline.note(now, index, Track::Applied, entries - 2 * i64::from(place));
            timeline.note(now, index, Track::DiskBytes, entries * 700);
        }
    }
    timeline
}

fn watch(number: u64) -> Watch {
    let everything = Bytes::from(&b"\0"[..]);
    let received = (0..OPERATIONS / 20).map(|nth| {
        let revision = Revision(i64::try_from(nth * 10).unwrap());
        let kv = KeyValue { key: key(nth).as_str().into(), mod_revision: revision, ..KeyValue::default() };
        WatchReceived {
            at: Nanos(sent(nth * 20) + 90_000_000 + number),
            header: Header { revision, ..Header::default() },
            events: vec![Event { kind: EventKind::Put, kv, prev_kv: None }],
            ..WatchReceived::default()
        }
    });
    Watch {
        id: WatchNo(number),
        client: ClientId(1000 + number),
        create: WatchCreate { key: everything.clone(), range_end: everything, ..WatchCreate::default() },
        received: received.collect(),
        ..Watch::default()
    }
}

impl Run {
    /// The run.
    pub fn new() -> Run {
        let mut operations: Vec<Operation> = (0..OPERATIONS).map(operation).collect();
        let stale = operations.iter_mut().find(|operation| operation.id == STALE).unwrap();
        stale.request = Request::Range(Range { key: key(STALE.0).as_str().into(), ..Range::default() });
        stale.outcome = Outcome::Ok {
            header: Header { member_id: stale.member.id, revision: Revision(29_000), ..Header::default() },
            response: Response::Range(RangeResponse::default()),
        };
        let life = |place| Incarnation { member: member(place), started: Nanos(0), stopped: None };
        let history = History {
            operations,
            watches: (0..u64::from(MEMBERS)).map(watch).collect(),
            faults: faults(),
            incarnations: (0..MEMBERS).map(life).collect(),
            ..History::default()
        };
        let finding = |operations: &[u64], sentence: &str| Finding {
            spot: Spot { operations: operations.iter().map(|id| OpId(*id)).collect(), ..Spot::default() },
            ..Finding::new(Class::Safety, "real-time", sentence)
        };
        let mut report = Report::lost(7, Class::Safety, "");
        // The write is one that returned before the read was sent.
        report.violations = vec![
            finding(&[STALE.0, 59_800], SENTENCE),
            finding(&[80_001], "read at revision 40000 is another one"),
        ];
        report.faults = BTreeMap::from([("kill/one".to_owned(), 10)]);
        report.figures =
            Figures { simulated_ms: end() / 1_000_000, operations: OPERATIONS, ..Figures::default() };
        let mut plan = generate::generate(7);
        plan.members = vec![MemberPlan::default(); usize::from(MEMBERS)];
        Run { plan, history, timeline: timeline(), report }
    }
}
