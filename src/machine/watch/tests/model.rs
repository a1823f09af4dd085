//! Random runs against the plain truth: a client that knows only its own responses must end up with exactly the
//! history it asked for.
//!
//! For every response: the events are exactly the true, filtered ones from the revision the client lacks up to
//! the last one in the response (so: ordered, unique, no gap, whole revisions, right previous values); progress
//! holds; created comes first; nothing follows the end. After the run everything is drained and caught up, and
//! nothing may be missing.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const STREAMS: u64 = 3;

#[derive(Clone, Debug)]
enum Op {
    Txn(Vec<(usize, bool)>),
    Publish,
    Create {
        stream: u64,
        spec: RelativeSpec,
        lag: bool,
    },
    Cancel {
        stream: u64,
        id: i64,
    },
    Drain {
        stream: u64,
        max: usize,
    },
    Step(CatchUpBudget),
    Begin,
    Read(CatchUpBudget),
    Finish,
    Compact {
        back: i64,
    },
    Purge {
        max: usize,
    },
    /// History is compacted and deleted between the planning of a scan and its end.
    CompactUnderScan {
        back: i64,
        budget: CatchUpBudget,
        before_read: bool,
    },
    Progress {
        stream: u64,
    },
    Tick {
        stream: u64,
    },
    Snapshot,
    Reopen {
        stream: u64,
    },
}

/// A watch whose start is given relative to the current revision.
#[derive(Clone, Debug)]
struct RelativeSpec {
    range: KeyRange,
    start: Option<i64>,
    options: EventOptions,
    progress_notify: bool,
    id: Option<i64>,
}

/// What a client knows of one watch.
#[derive(Debug)]
struct Client {
    spec: WatchSpec,
    /// It has everything below this; unknown until created.
    lacks: Option<Revision>,
    cancel_asked: bool,
}

struct Run {
    store: Store,
    pending: Vec<Event>,
    hub: Hub,
    limits: WatchLimits,
    /// Watches in the order of their creation, by stream and id: the client knows the front one.
    clients: BTreeMap<(StreamId, WatchId), std::collections::VecDeque<Client>>,
    /// Refusals to come, by stream.
    refusals: BTreeMap<StreamId, usize>,
    /// Progress requests and answers, by stream. Requests that wait together share an answer.
    asked: BTreeMap<StreamId, (usize, usize)>,
    control: usize,
    scan: Option<Scan>,
    caught_up: Option<CaughtUp>,
}

impl Run {
    fn new(limits: WatchLimits) -> Run {
        let store = Store::new();
        let mut hub = Hub::new(limits, store.current);
        (0..STREAMS).for_each(|stream| hub.open(StreamId(stream)));
        Run {
            store,
            pending: Vec::new(),
            hub,
            limits,
            clients: BTreeMap::new(),
            refusals: BTreeMap::new(),
            asked: BTreeMap::new(),
            control: 0,
            scan: None,
            caught_up: None,
        }
    }

    fn apply(&mut self, number: usize, op: Op) {
        match op {
            Op::Txn(changes) => {
                let value = number.to_string();
                let changes: Vec<(&str, Option<&str>)> = changes
                    .iter()
                    .map(|(key, put)| (KEYS[*key], if *put { Some(value.as_str()) } else { None }))
                    .collect();
                self.pending.extend(self.store.txn(&changes));
            }
            Op::Publish => self.publish(),
            Op::Create { stream, spec, lag } => self.create(StreamId(stream), spec, lag),
            Op::Cancel { stream, id } => {
                let key = (StreamId(stream), WatchId(id));
                self.hub.cancel(key.0, key.1);
                // The watch may have ended by compaction already, with the news still queued.
                if let Some(client) = self.clients.get_mut(&key).and_then(|clients| clients.back_mut()) {
                    client.cancel_asked = true;
                    self.control += 1;
                }
            }
            Op::Drain { stream, max } => self.drain(StreamId(stream), max),
            Op::Step(budget) => {
                self.hub.step(&self.store, &self.store, budget, self.store.compacted).unwrap();
            }
            Op::Begin => self.scan = self.hub.begin_catch_up(self.store.compacted),
            Op::Read(budget) => {
                if let Some(scan) = self.scan.take() {
                    self.caught_up = Some(scan.read(&self.store, &self.store, budget).unwrap());
                }
            }
            Op::Finish => {
                if let Some(caught_up) = self.caught_up.take() {
                    self.hub.finish_catch_up(caught_up, self.store.compacted);
                }
            }
            Op::Compact { back } => self.compact(back),
            Op::CompactUnderScan { back, budget, before_read } => {
                let Some(scan) = self.hub.begin_catch_up(self.store.compacted) else { return };
                if before_read {
                    self.compact(back);
                    self.store.purge(usize::MAX);
                }
                let caught_up = scan.read(&self.store, &self.store, budget).unwrap();
                self.compact(back);
                self.hub.finish_catch_up(caught_up, self.store.compacted);
            }
            Op::Purge { max } => self.store.purge(max),
            Op::Progress { stream } => {
                self.hub.request_progress(StreamId(stream));
                self.asked.entry(StreamId(stream)).or_default().0 += 1;
            }
            Op::Tick { stream } => self.hub.progress_tick(StreamId(stream)),
            Op::Snapshot => {
                self.pending.clear();
                self.hub.snapshot_installed(self.store.current, self.store.compacted);
            }
            Op::Reopen { stream } => {
                let stream = StreamId(stream);
                self.hub.close(stream);
                self.hub.open(stream);
                self.clients.retain(|(of, _), _| *of != stream);
                self.refusals.remove(&stream);
                self.asked.remove(&stream);
            }
        }
        check(&self.hub);
        // Control responses are outside the limit; there are at most two a watch besides its end.
        let stats = self.hub.stats();
        let streams = usize::try_from(STREAMS).unwrap();
        assert!(
            stats.queued <= streams * self.limits.queue_responses_max.max(1) + 2 * self.control,
            "{stats:?}"
        );
    }

    fn compact(&mut self, back: i64) {
        let at = Revision(self.store.current.0 - back);
        if at > self.store.compacted && at > Revision(0) {
            self.store.compact(at);
        }
    }

    fn publish(&mut self) {
        let events = std::mem::take(&mut self.pending);
        self.hub.publish(&events, self.store.current, &self.store).unwrap();
    }

    fn create(&mut self, stream: StreamId, spec: RelativeSpec, lag: bool) {
        let current = if lag { self.hub.published() } else { self.store.current };
        let start = match spec.start {
            None => Revision(0),
            Some(relative) => Revision(self.store.current.0 + relative),
        };
        let spec = WatchSpec {
            range: spec.range,
            start,
            options: spec.options,
            progress_notify: spec.progress_notify,
            fragment: false,
            id: spec.id.map(WatchId),
        };
        self.control += 2;
        match self.hub.create(stream, spec.clone(), current, self.store.compacted) {
            Creation::Refused => *self.refusals.entry(stream).or_default() += 1,
            Creation::Watching(id) | Creation::Compacted(id) => {
                let clients = self.clients.entry((stream, id)).or_default();
                clients.push_back(Client { spec, lacks: None, cancel_asked: false });
            }
        }
    }

    fn drain(&mut self, stream: StreamId, max: usize) {
        for response in self.hub.drain(stream, max) {
            assert!(response.revision <= self.store.current);
            match &response.body {
                Body::Refused(_) => {
                    let left = self.refusals.get_mut(&stream).expect("a refusal that nobody expects");
                    *left = left.checked_sub(1).expect("one refusal too many");
                }
                Body::Progress if response.watch_id == WatchId(-1) => {
                    let (asked, answered) = self.asked.entry(stream).or_default();
                    *answered += 1;
                    assert!(answered <= asked, "progress that nobody asked for");
                    let first = (stream, WatchId(i64::MIN));
                    let last = (stream, WatchId(i64::MAX));
                    for clients in self.clients.range_mut(first..=last).map(|(_, clients)| clients) {
                        if let Some(client) = clients.front_mut().filter(|client| client.lacks.is_some()) {
                            progress(&self.store, client, response.revision);
                        }
                    }
                }
                _ => self.judge(stream, &response),
            }
        }
    }

    fn judge(&mut self, stream: StreamId, response: &Response) {
        let clients = self.clients.get_mut(&(stream, response.watch_id)).expect("unknown watch");
        let client = clients.front_mut().expect("a response after the end");
        if response.body == Body::Created {
            assert_eq!(client.lacks, None, "created twice");
            let zero = client.spec.start <= Revision(0);
            client.lacks = Some(if zero { response.revision.next() } else { client.spec.start });
            return;
        }
        let lacks = client.lacks.expect("something before created");
        match &response.body {
            Body::Events { set, .. } => {
                assert!(set.last() <= response.revision);
                let expected = wanted(&self.store, &client.spec, lacks, set.last());
                let got: Vec<Event> = set.events().iter().map(|event| event.event.clone()).collect();
                assert_eq!(got, expected, "from {lacks} for {:?}", client.spec);
                for event in set.events() {
                    previous_is_right(&self.store, client.spec.options, event);
                }
                client.lacks = Some(set.last().next());
            }
            Body::Progress => {
                assert!(client.spec.progress_notify);
                progress(&self.store, client, response.revision);
            }
            Body::Canceled => {
                assert!(client.cancel_asked, "canceled by nobody");
                clients.pop_front();
            }
            Body::Compacted(at) => {
                assert!(*at <= self.store.compacted && lacks < *at, "lacked {lacks}, compacted at {at}");
                clients.pop_front();
            }
            Body::Created | Body::Refused(_) => unreachable!("handled above"),
        }
    }

    /// Publishes, catches up and drains until nothing moves, and looks for what is missing.
    fn finish(mut self) {
        self.publish();
        let budget = CatchUpBudget { records: 7, bytes: 1 << 20 };
        for _ in 0..10_000 {
            (0..STREAMS).for_each(|stream| self.drain(StreamId(stream), 3));
            let more = self.hub.step(&self.store, &self.store, budget, self.store.compacted).unwrap();
            check(&self.hub);
            if !more && self.hub.stats().queued == 0 {
                break;
            }
        }
        let stats = self.hub.stats();
        assert_eq!((stats.queued, stats.unsynced, stats.blocked_streams), (0, 0, 0), "did not come to rest");
        let current = self.store.current;
        let mut furthest: BTreeMap<StreamId, Revision> = BTreeMap::new();
        let mut alive = 0;
        for ((stream, id), clients) in &self.clients {
            assert!(clients.len() <= 1, "watch {} has an end that was not told", id.0);
            for client in clients {
                let lacks = client.lacks.expect("created");
                assert!(!client.cancel_asked, "a cancel was not answered");
                assert_eq!(wanted(&self.store, &client.spec, lacks, current), [], "missing from {lacks}");
                let furthest = furthest.entry(*stream).or_default();
                *furthest = lacks.max(*furthest);
                alive += 1;
            }
        }
        assert_eq!(alive, stats.watchers);
        assert!(self.refusals.values().all(|left| *left == 0));
        for (stream, (_, answered)) in self.asked {
            let future = furthest.get(&stream).is_some_and(|furthest| *furthest > current.next());
            let waits = self.hub.streams[&stream].progress_asked.is_some();
            assert!(future || (answered > 0 && !waits), "a progress request was not answered");
        }
    }
}

/// The true events of revisions `from..=through` that a watch wants.
fn wanted(store: &Store, spec: &WatchSpec, from: Revision, through: Revision) -> Vec<Event> {
    store
        .truth
        .iter()
        .filter(|(at, _)| at.main >= from && at.main <= through)
        .map(|(_, event)| event)
        .filter(|event| spec.range.contains(event.key()))
        .filter(|event| match event {
            Event::Put(_) => !spec.options.filters.no_put,
            Event::Delete { .. } => !spec.options.filters.no_delete,
        })
        .cloned()
        .collect()
}

fn progress(store: &Store, client: &mut Client, at: Revision) {
    let lacks = client.lacks.expect("something before created");
    assert_eq!(wanted(store, &client.spec, lacks, at), [], "progress at {at} overtook events");
    assert!(lacks <= at.next(), "progress at {at} for a watch from {lacks}");
    // From here on anything at or below the progress would come too late.
    client.lacks = Some(at.next());
}

fn previous_is_right(store: &Store, options: EventOptions, event: &WatchEvent) {
    let before = Revision(event.event.revision().0 - 1);
    let truth = store.truth_at(event.event.key(), before).filter(|_| options.prev_kv);
    if event.prev_kv != truth {
        let may_be_gone = event.prev_kv.is_none() && before < store.compacted;
        assert!(may_be_gone, "{event:?}, but before it stood {truth:?}");
    }
}

fn any_range() -> impl Strategy<Value = KeyRange> {
    let at = |place: usize| Bytes::from_static(KEYS[place].as_bytes());
    prop_oneof![
        (0..5_usize).prop_map(move |key| KeyRange::single(at(key))),
        (0..5_usize, 0..5_usize).prop_map(move |(start, end)| KeyRange::from_wire(at(start), at(end))),
        (0..5_usize).prop_map(move |start| KeyRange::from_wire(at(start), Bytes::from_static(&[0]))),
    ]
}

fn any_spec() -> impl Strategy<Value = RelativeSpec> {
    let start = prop_oneof![2 => Just(None), 5 => (-12_i64..3).prop_map(Some), 1 => Just(Some(-1_000))];
    let id = prop_oneof![3 => Just(None), 1 => (0_i64..4).prop_map(Some)];
    (any_range(), start, any::<[bool; 4]>(), id).prop_map(|(range, start, flags, id)| {
        let [odd, no_put, prev_kv, progress_notify] = flags;
        let filters = Filters { no_put: odd && no_put, no_delete: odd && !no_put };
        RelativeSpec { range, start, options: EventOptions { filters, prev_kv }, progress_notify, id }
    })
}

fn any_budget() -> impl Strategy<Value = CatchUpBudget> {
    (0..8_usize, prop_oneof![0..600_usize, Just(1 << 20)])
        .prop_map(|(records, bytes)| CatchUpBudget { records, bytes })
}

fn any_op() -> impl Strategy<Value = Op> {
    let stream = || 0..STREAMS;
    prop_oneof![
        12 => vec((0..5_usize, prop_oneof![3 => Just(true), 1 => Just(false)]), 1..4).prop_map(Op::Txn),
        8 => Just(Op::Publish),
        6 => (stream(), any_spec(), any::<bool>())
            .prop_map(|(stream, spec, lag)| Op::Create { stream, spec, lag }),
        1 => (stream(), 0_i64..4).prop_map(|(stream, id)| Op::Cancel { stream, id }),
        6 => (stream(), 0..5_usize).prop_map(|(stream, max)| Op::Drain { stream, max }),
        4 => any_budget().prop_map(Op::Step),
        3 => Just(Op::Begin),
        3 => any_budget().prop_map(Op::Read),
        3 => Just(Op::Finish),
        1 => (0_i64..10).prop_map(|back| Op::Compact { back }),
        1 => (0..20_usize).prop_map(|max| Op::Purge { max }),
        1 => (0_i64..10, any_budget(), any::<bool>())
            .prop_map(|(back, budget, before_read)| Op::CompactUnderScan { back, budget, before_read }),
        2 => stream().prop_map(|stream| Op::Progress { stream }),
        2 => stream().prop_map(|stream| Op::Tick { stream }),
        1 => Just(Op::Snapshot),
        1 => stream().prop_map(|stream| Op::Reopen { stream }),
    ]
}

fn any_limits() -> impl Strategy<Value = WatchLimits> {
    (1..12_usize, prop_oneof![200..2_000_usize, Just(1 << 20)], 1..6_usize, 1..6_usize, 1..9_u32).prop_map(
        |(
            queue_responses_max,
            queue_bytes_max,
            scan_watchers_max,
            scan_chunk_records,
            message_revisions_max,
        )| {
            WatchLimits {
                queue_bytes_max,
                queue_responses_max,
                scan_watchers_max,
                scan_chunk_records,
                message_revisions_max,
                short_scan_revisions: 2,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_client_gets_exactly_the_history_it_asked_for(limits in any_limits(), ops in vec(any_op(), 0..120)) {
        let mut run = Run::new(limits);
        for (number, op) in ops.into_iter().enumerate() {
            run.apply(number, op);
        }
        run.finish();
    }
}
