//! A sequential store that writes histories: what a correct cluster may answer, with overlap, lag and lost answers.
//!
//! One operation takes effect at a time; its interval is drawn around that moment. Answers that never arrive take
//! effect at once, later, or never. Local reads and watches come from members that lag.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]
#![allow(dead_code, reason = "each test binary uses its own part")]

use quorate_check::error_table::{COMPACTED, Code, FUTURE_REVISION};
use quorate_check::history::*;
use quorate_check::model::Model;
use quorate_check::types::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// SplitMix64: small, seeded, the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

pub const MILLI: u64 = 1_000_000;

/// The processor time that this thread has used, where the system tells it; else the time that has passed. A busy
/// machine hardly disturbs the former.
pub fn time_used() -> Duration {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let used = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    used.map_or_else(|| STARTED.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

/// What a generated history looks like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub operations: usize,
    pub keys: u64,
    pub unknown_percent: u64,
    pub refused_percent: u64,
    pub overlap_ms: u64,
    /// A watch of everything from revision 1, as the simulator keeps on each member.
    pub full_watch: bool,
    pub watches: usize,
    pub leases: bool,
    pub compactions: bool,
    /// Whether somebody looks inside: the log of commands is recorded.
    pub log: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            operations: 120,
            keys: 6,
            unknown_percent: 12,
            refused_percent: 4,
            overlap_ms: 40,
            full_watch: true,
            watches: 4,
            leases: true,
            compactions: true,
            log: true,
        }
    }
}

struct Lease {
    ttl: u64,
    renewed: u64,
}

pub struct Store {
    dice: Dice,
    shape: Shape,
    model: Model,
    now: u64,
    next_id: u64,
    compacted: i64,
    local: [i64; 3],
    leases: BTreeMap<i64, Lease>,
    granted: i64,
    delayed: Vec<(u64, OpId, Request)>,
    log: Vec<(Revision, u64, Vec<Event>)>,
    late_watches: Vec<(u64, usize, i64, u64)>,
    history: History,
}

pub fn key(number: u64) -> quorate_check::bytes::Bytes {
    format!("k{number}").as_str().into()
}

pub fn member(index: usize) -> MemberAsked {
    MemberAsked { id: MemberId(0xa0 + index as u64), index: index as u32 }
}

/// A history that a correct store may have left behind.
pub fn generate(seed: u64, shape: &Shape) -> History {
    let mut store = Store {
        dice: Dice(seed),
        shape: shape.clone(),
        model: Model::default(),
        now: 1000 * MILLI,
        next_id: 1,
        compacted: 0,
        local: [1; 3],
        leases: BTreeMap::new(),
        granted: 0,
        delayed: Vec::new(),
        log: Vec::new(),
        late_watches: Vec::new(),
        history: History::default(),
    };
    let every = (shape.operations / (shape.watches + 1)).max(1);
    for number in 0..shape.operations {
        store.now += MILLI + store.dice.below(10 * MILLI);
        store.run_late();
        store.expire();
        if number % every == every / 2 && store.late_watches.len() < shape.watches {
            let member = store.dice.below(3) as usize;
            let local = store.local_revision(member);
            let now = store.now;
            store.late_watches.push((now, member, local, store.compacted as u64));
        }
        store.step();
    }
    store.watch_everything();
    store.late_watches();
    store.settle();
    store.history
}

impl Store {
    fn header(&mut self, member: usize, revision: i64) -> Header {
        Header {
            cluster_id: ClusterId(7),
            member_id: MemberId(0xa0 + member as u64),
            revision: Revision(revision),
            raft_term: Term(2 + self.now / (500 * MILLI)),
        }
    }

    /// What a member that lags may have applied by now.
    fn local_revision(&mut self, member: usize) -> i64 {
        let present = self.model.revision().0;
        let span = (present - self.local[member]) as u64;
        let revision = self.local[member] + self.dice.below(span + 1) as i64;
        self.local[member] = revision;
        revision
    }

    fn note(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.log.push((self.model.revision(), self.now, events));
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        let due: Vec<i64> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.renewed + lease.ttl < now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if self.dice.percent(50) {
                self.leases.remove(&id);
                let at = self.model.revision().next();
                let events = self.model.expire(LeaseId(id), at);
                self.note(events);
                self.logged(None, vec![LeaseId(id)], false);
            }
        }
    }

    fn run_late(&mut self) {
        let now = self.now;
        let (due, rest) = std::mem::take(&mut self.delayed).into_iter().partition(|(at, ..)| *at <= now);
        self.delayed = rest;
        for (_, id, request) in due {
            self.effect(id, &request);
        }
    }

    /// Writes down what the log carries out.
    fn logged(&mut self, operation: Option<OpId>, expired: Vec<LeaseId>, refused: bool) {
        if self.shape.log {
            let number = self.history.log.len();
            self.history.log.push(Logged {
                entry: LogId { term: Term(2), index: LogIndex(number as u64 / 3) },
                place: number as u32 % 3,
                operation,
                revision: self.model.revision(),
                expired,
                refused,
                ..Logged::default()
            });
        }
    }

    /// Lets a request take effect; `None` if the store refuses it.
    fn effect(&mut self, id: OpId, request: &Request) -> Option<Response> {
        let response = self.carry_out(request);
        let is_logged = matches!(
            request,
            Request::Put(_)
                | Request::DeleteRange(_)
                | Request::Txn(_)
                | Request::Compact(_)
                | Request::LeaseGrant(_)
                | Request::LeaseRevoke(_)
        );
        if is_logged {
            self.logged(Some(id), Vec::new(), response.is_none());
        }
        response
    }

    fn carry_out(&mut self, request: &Request) -> Option<Response> {
        if let Request::Put(put) = request
            && put.lease.0 != 0
            && !self.leases.contains_key(&put.lease.0)
        {
            return None;
        }
        match request {
            Request::LeaseRevoke(revoke) => {
                self.leases.remove(&revoke.id.0)?;
            }
            Request::LeaseKeepAlive(keep) => {
                let now = self.now;
                let ttl_secs = self.leases.get_mut(&keep.id.0).map_or(0, |lease| {
                    lease.renewed = now;
                    (lease.ttl / NANOS_PER_SEC) as i64
                });
                return Some(Response::LeaseKeepAlive(LeaseKeepAliveResponse { id: keep.id, ttl_secs }));
            }
            Request::LeaseGrant(grant) => {
                let ttl = grant.ttl_secs as u64 * NANOS_PER_SEC;
                self.leases.insert(grant.id.0, Lease { ttl, renewed: self.now });
                return Some(Response::LeaseGrant(LeaseGrantResponse {
                    id: grant.id,
                    ttl_secs: grant.ttl_secs,
                }));
            }
            Request::Compact(compact) => {
                if compact.revision.0 <= self.compacted {
                    return None;
                }
                self.compacted = compact.revision.0;
                return Some(Response::Compact);
            }
            Request::LeaseLeases => {
                let leases = self.leases.keys().map(|id| LeaseId(*id)).collect();
                return Some(Response::LeaseLeases(LeaseLeasesResponse { leases }));
            }
            Request::LeaseTimeToLive(ask) => {
                let now = self.now;
                let (ttl_secs, granted) = self.leases.get(&ask.id.0).map_or((-1, 0), |lease| {
                    let left = (lease.renewed + lease.ttl).saturating_sub(now);
                    ((left / NANOS_PER_SEC) as i64, (lease.ttl / NANOS_PER_SEC) as i64)
                });
                let keys = if ask.keys && ttl_secs >= 0 { self.model.attached(ask.id) } else { Vec::new() };
                return Some(Response::LeaseTimeToLive(LeaseTimeToLiveResponse {
                    id: ask.id,
                    ttl_secs,
                    granted_ttl_secs: granted,
                    keys,
                }));
            }
            _ => {}
        }
        let at = self.model.revision().next();
        let applied = self.model.apply(request, at).ok()?;
        let response = applied.expected.to_response();
        self.note(applied.events);
        Some(response)
    }

    fn step(&mut self) {
        let request = self.draw();
        let member = self.dice.below(3) as usize;
        let overlap = self.shape.overlap_ms * MILLI;
        let invoked = self.now - self.dice.below(overlap);
        let returned = self.now + 1 + self.dice.below(overlap);
        let known = !self.dice.percent(self.shape.unknown_percent);
        let outcome = if request.may_change() && self.dice.percent(self.shape.refused_percent) {
            refused(Code::ResourceExhausted, "etcdserver: too many requests")
        } else if !known {
            match self.dice.below(3) {
                0 => {}
                1 => {
                    self.effect(OpId(self.next_id), &request);
                }
                _ => {
                    let at = self.now + self.dice.below(1500 * MILLI);
                    self.delayed.push((at, OpId(self.next_id), request.clone()));
                }
            }
            Outcome::Unknown { reason: "deadline exceeded".into() }
        } else {
            self.answer(&request, member)
        };
        self.record(member, invoked, returned, request, outcome);
    }

    fn record(&mut self, at: usize, invoked: u64, returned: u64, request: Request, outcome: Outcome) {
        self.history.operations.push(Operation {
            id: OpId(self.next_id),
            client: ClientId(self.next_id % 5),
            member: member(at),
            invoked: Nanos(invoked),
            returned: Nanos(returned),
            request,
            outcome,
        });
        self.next_id += 1;
    }

    fn answer(&mut self, request: &Request, member: usize) -> Outcome {
        if let Request::Range(range) = request {
            let asked = range.revision.0;
            let present =
                if range.serializable { self.local_revision(member) } else { self.model.revision().0 };
            if asked > present {
                return refused(Code::OutOfRange, FUTURE_REVISION);
            }
            if asked > 0 && asked < self.compacted {
                return refused(Code::OutOfRange, COMPACTED);
            }
            let expected = self.model.range(range, Revision(present)).unwrap();
            self.local[member] = present;
            return Outcome::Ok { header: self.header(member, present), response: expected.to_response() };
        }
        if let Some(response) = self.ask_member(request, member) {
            let revision = self.local[member];
            return Outcome::Ok { header: self.header(member, revision), response };
        }
        match self.effect(OpId(self.next_id), request) {
            None => match request {
                Request::Compact(_) => refused(Code::OutOfRange, COMPACTED),
                Request::Txn(_) => refused(Code::OutOfRange, FUTURE_REVISION),
                _ => refused(Code::NotFound, "etcdserver: requested lease not found"),
            },
            Some(response) => {
                let revision = if request.is_linearizable() {
                    self.local[member] = self.model.revision().0;
                    self.model.revision().0
                } else {
                    self.local_revision(member)
                };
                Outcome::Ok { header: self.header(member, revision), response }
            }
        }
    }

    /// What a member answers about itself.
    fn ask_member(&mut self, request: &Request, member: usize) -> Option<Response> {
        let local = match request {
            Request::Status | Request::HashKv(_) => self.local_revision(member),
            _ => return None,
        };
        Some(match request {
            Request::Status => Response::Status(StatusResponse {
                raft_applied_index: local as u64,
                raft_index: self.model.revision().0 as u64,
                leader: MemberId(0xa0),
            }),
            _ => {
                // Rounded down, so that members hash the same revisions now and then.
                let revision = (local / 32 * 32).max(1);
                Response::HashKv(HashKvResponse {
                    hash: (revision * 7 + self.compacted) as u32,
                    compact_revision: Revision(self.compacted),
                    hash_revision: Revision(revision),
                })
            }
        })
    }

    fn value(&mut self) -> quorate_check::bytes::Bytes {
        format!("v{}", self.next_id).as_str().into()
    }

    fn some_lease(&mut self) -> LeaseId {
        if self.granted > 0 && self.shape.leases && self.dice.percent(25) {
            LeaseId(1 + self.dice.below(self.granted as u64) as i64)
        } else {
            LeaseId::NONE
        }
    }

    fn some_key(&mut self) -> quorate_check::bytes::Bytes {
        key(self.dice.below(self.shape.keys))
    }

    fn draw(&mut self) -> Request {
        let present = self.model.revision().0;
        match self.dice.below(100) {
            0..=34 => {
                let put = Put {
                    key: self.some_key(),
                    value: self.value(),
                    lease: self.some_lease(),
                    prev_kv: self.dice.percent(50),
                    ..Put::default()
                };
                Request::Put(put)
            }
            35..=59 => {
                let all = self.dice.percent(40);
                let (key, range_end) = if all { (key(0), "l".into()) } else { (self.some_key(), "".into()) };
                let revision =
                    if self.dice.percent(25) { 1 + self.dice.below(present as u64) as i64 } else { 0 };
                let sorts = [SortTarget::Key, SortTarget::Mod, SortTarget::Version, SortTarget::Value];
                let sorted = self.dice.percent(20);
                Request::Range(Range {
                    key,
                    range_end,
                    limit: if self.dice.percent(30) { self.dice.below(4) as i64 } else { 0 },
                    revision: Revision(revision),
                    sort_order: if sorted { SortOrder::Descend } else { SortOrder::None },
                    sort_target: if sorted { sorts[self.dice.below(4) as usize] } else { SortTarget::Key },
                    serializable: self.dice.percent(30),
                    keys_only: self.dice.percent(10),
                    count_only: self.dice.percent(10),
                    ..Range::default()
                })
            }
            60 => Request::Status,
            61..=62 => Request::HashKv(HashKv::default()),
            63..=69 => {
                let many = self.dice.percent(40);
                Request::DeleteRange(DeleteRange {
                    key: self.some_key(),
                    range_end: if many { "l".into() } else { "".into() },
                    prev_kv: self.dice.percent(50),
                })
            }
            70..=84 => {
                let key = self.some_key();
                let other = self.some_key();
                let result =
                    if self.dice.percent(50) { CompareResult::Equal } else { CompareResult::Greater };
                let put = Put { key: key.clone(), value: self.value(), prev_kv: true, ..Put::default() };
                let read = Range { key: "k".into(), range_end: "l".into(), ..Range::default() };
                let delete = DeleteRange { key: other.clone(), prev_kv: true, ..DeleteRange::default() };
                Request::Txn(Txn {
                    compare: vec![Compare {
                        key: other,
                        range_end: "".into(),
                        result,
                        target: CompareTarget::Version(self.dice.below(2) as i64),
                    }],
                    success: vec![TxnOp::Range(read.clone()), TxnOp::Put(put), TxnOp::Range(read.clone())],
                    failure: if self.dice.percent(50) {
                        vec![TxnOp::DeleteRange(delete), TxnOp::Range(read)]
                    } else {
                        vec![TxnOp::Range(read)]
                    },
                })
            }
            85..=88 if self.shape.compactions => {
                let revision = 1 + self.dice.below(present as u64) as i64;
                Request::Compact(Compact { revision: Revision(revision), physical: false })
            }
            89..=92 if self.shape.leases => {
                self.granted += 1;
                let ttl_secs = 1 + self.dice.below(2) as i64;
                Request::LeaseGrant(LeaseGrant { id: LeaseId(self.granted), ttl_secs })
            }
            93..=95 if self.shape.leases && self.granted > 0 => {
                let id = LeaseId(1 + self.dice.below(self.granted as u64) as i64);
                Request::LeaseKeepAlive(LeaseRef { id })
            }
            96 if self.shape.leases && self.granted > 0 => {
                let id = LeaseId(1 + self.dice.below(self.granted as u64) as i64);
                Request::LeaseRevoke(LeaseRef { id })
            }
            97 if self.shape.leases && self.granted > 0 => {
                let id = LeaseId(1 + self.dice.below(self.granted as u64) as i64);
                Request::LeaseTimeToLive(LeaseTimeToLive { id, keys: true })
            }
            98 if self.shape.leases => Request::LeaseLeases,
            _ => Request::Put(Put { key: self.some_key(), value: self.value(), ..Put::default() }),
        }
    }

    /// Tells a watch its events: in order, each revision whole, at some time after it happened.
    fn deliver(&mut self, watch: &mut Watch, member: usize, from: i64, until: i64) {
        let mut at = watch.received.last().map_or(watch.invoked.0, |last| last.at.0);
        let mut batch: Vec<Event> = Vec::new();
        let log = std::mem::take(&mut self.log);
        let mut last = from - 1;
        for (revision, happened, events) in
            log.iter().filter(|(revision, _, _)| revision.0 >= from && revision.0 <= until)
        {
            at = at.max(*happened) + 1 + self.dice.below(5 * MILLI);
            let wanted = events.iter().filter(|event| watch.wants(event)).cloned().map(|mut event| {
                let previous = event.previous(events).filter(|_| watch.create.prev_kv).cloned();
                event.prev_kv = previous;
                event
            });
            batch.extend(wanted);
            last = revision.0;
            let header = Header { revision: *revision, ..self.header(member, 0) };
            let hold = self.dice.percent(25) && revision.0 < until;
            if !batch.is_empty() && !hold {
                let split = watch.create.fragment && batch.len() > 1 && self.dice.percent(50);
                if split {
                    let tail = batch.split_off(1);
                    let head = std::mem::replace(&mut batch, tail);
                    let fragment = WatchReceived {
                        at: Nanos(at),
                        header,
                        fragment: true,
                        events: head,
                        ..WatchReceived::default()
                    };
                    watch.received.push(fragment);
                }
                let events = std::mem::take(&mut batch);
                watch.received.push(WatchReceived {
                    at: Nanos(at),
                    header,
                    events,
                    ..WatchReceived::default()
                });
            }
            if batch.is_empty() && self.dice.percent(15) {
                watch.received.push(WatchReceived { at: Nanos(at), header, ..WatchReceived::default() });
            }
        }
        if !batch.is_empty() {
            let header = Header { revision: Revision(last), ..self.header(member, 0) };
            let events = batch;
            watch.received.push(WatchReceived {
                at: Nanos(at + 1),
                header,
                events,
                ..WatchReceived::default()
            });
        }
        self.log = log;
        // Terms in this history grow with time; a watch sees them grow too.
        let mut term = Term(0);
        for response in &mut watch.received {
            term = term.max(Term(2 + response.at.0 / (500 * MILLI)));
            response.header.raft_term = term;
        }
    }

    fn watch_everything(&mut self) {
        if !self.shape.full_watch {
            return;
        }
        let create = WatchCreate {
            key: "\0".into(),
            range_end: "\0".into(),
            start_revision: Revision(1),
            prev_kv: true,
            ..WatchCreate::default()
        };
        let mut watch =
            Watch { id: WatchNo(0), member: member(0), invoked: Nanos(1), create, ..Watch::default() };
        let header = Header { revision: Revision(1), ..self.header(0, 1) };
        watch.received.push(WatchReceived {
            at: Nanos(2),
            header,
            created: true,
            ..WatchReceived::default()
        });
        let until = self.model.revision().0;
        self.deliver(&mut watch, 0, 1, until);
        self.history.watches.push(watch);
    }

    fn late_watches(&mut self) {
        for (number, (at, index, local, compacted)) in self.late_watches.clone().into_iter().enumerate() {
            let everything = self.dice.percent(40);
            let start = match self.dice.below(3) {
                0 => 0,
                1 => local + 1 + self.dice.below(4) as i64,
                _ => (compacted as i64).max(1) + self.dice.below(3) as i64,
            };
            let create = WatchCreate {
                key: if everything { "k".into() } else { self.some_key() },
                range_end: if everything { "l".into() } else { "".into() },
                start_revision: Revision(start),
                no_put: self.dice.percent(15),
                no_delete: self.dice.percent(15),
                prev_kv: self.dice.percent(50),
                fragment: self.dice.percent(50),
                ..WatchCreate::default()
            };
            let mut watch = Watch {
                id: WatchNo(1 + number as u64),
                member: member(index),
                invoked: Nanos(at - 1),
                create,
                ..Watch::default()
            };
            let mut header = self.header(index, local);
            header.raft_term = Term(2 + at / (500 * MILLI));
            watch.received.push(WatchReceived {
                at: Nanos(at),
                header,
                created: true,
                ..WatchReceived::default()
            });
            let from = if start == 0 { local + 1 } else { start };
            let whole = self.dice.percent(50);
            let present = self.model.revision().0;
            let until = if whole { present } else { local + self.dice.below(30) as i64 };
            self.deliver(&mut watch, index, from, until.min(present));
            if !whole {
                let last = watch.received.last().map_or(at, |last| last.at.0);
                watch.end = WatchEnd::ClientCancel { at: Nanos(last + 1) };
            }
            self.history.watches.push(watch);
        }
    }

    fn settle(&mut self) {
        let last = self.history.watches.iter().flat_map(|watch| &watch.received).map(|one| one.at.0).max();
        self.now = self.now.max(last.unwrap_or(0)) + 100 * MILLI;
        self.history.settled.push(Settled {
            healed: Nanos(self.now),
            still: Nanos(self.now),
            at: Nanos(self.now + MILLI),
            revision: self.model.revision(),
        });
    }
}

fn refused(code: Code, message: &str) -> Outcome {
    Outcome::Failed { code, message: message.into() }
}

/// The ids of the leases a history names.
pub fn leases(history: &History) -> BTreeSet<i64> {
    history
        .operations
        .iter()
        .filter_map(|operation| match &operation.request {
            Request::LeaseGrant(grant) => Some(grant.id.0),
            _ => None,
        })
        .collect()
}
