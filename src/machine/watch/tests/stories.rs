//! One situation a test, told as what the client sees.

use std::sync::Arc;

use super::*;

const S: StreamId = StreamId(7);
const BUDGET: CatchUpBudget = CatchUpBudget { records: 1000, bytes: 1 << 20 };

/// A store, a hub with one open stream, and what the client sees, as text.
struct World {
    store: Store,
    hub: Hub,
}

impl World {
    fn new() -> World {
        World::with(WatchLimits::default())
    }

    fn with(limits: WatchLimits) -> World {
        let store = Store::new();
        let mut hub = Hub::new(limits, store.current);
        hub.open(S);
        World { store, hub }
    }

    fn txn(&mut self, changes: &[(&str, Option<&str>)]) {
        let events = self.store.txn(changes);
        self.hub.publish(&events, self.store.current, &self.store).unwrap();
    }

    fn put(&mut self, key: &str, value: &str) {
        self.txn(&[(key, Some(value))]);
    }

    fn watch(&mut self, spec: WatchSpec) -> Creation {
        self.hub.create(S, spec, self.store.current, self.store.compacted)
    }

    fn step(&mut self, budget: CatchUpBudget) -> bool {
        self.hub.step(&self.store, &self.store, budget, self.store.compacted).unwrap()
    }

    fn catch_up(&mut self) {
        while self.step(BUDGET) {}
    }

    fn seen(&mut self) -> Vec<String> {
        check(&self.hub);
        self.hub.drain(S, usize::MAX).iter().map(tell).collect()
    }
}

fn tell(response: &Response) -> String {
    let what = match &response.body {
        Body::Created => "created".to_owned(),
        Body::Refused(refusal) => format!("refused: {refusal}"),
        Body::Canceled => "canceled".to_owned(),
        Body::Compacted(at) => format!("compacted at {at}"),
        Body::Progress => "progress".to_owned(),
        Body::Events { set, more, .. } => {
            let events: Vec<String> = set.events().iter().map(tell_event).collect();
            format!("{}{}", events.join(" "), if *more { " ..." } else { "" })
        }
    };
    format!("{}@{}: {what}", response.watch_id.0, response.revision)
}

fn tell_event(event: &WatchEvent) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let was = event.prev_kv.as_ref().map_or(String::new(), |kv| format!("(was {})", text(&kv.value)));
    match &event.event {
        Event::Put(kv) => format!("{}:{}={}{was}", kv.mod_revision, text(&kv.key), text(&kv.value)),
        Event::Delete { key, mod_revision } => format!("{mod_revision}:-{}{was}", text(key)),
    }
}

fn since(range: KeyRange, start: i64) -> WatchSpec {
    WatchSpec { start: Revision(start), ..WatchSpec::new(range) }
}

#[test]
fn a_watch_from_now_gets_what_comes_after_its_header() {
    let mut world = World::new();
    world.put("a", "1");
    assert_eq!(world.watch(WatchSpec::new(key("a"))), Creation::Watching(WatchId(0)));
    world.put("a", "2");
    world.put("b", "3");
    world.txn(&[("b", None), ("a", None)]);
    assert_eq!(world.seen(), ["0@2: created", "0@3: 3:a=2", "0@5: 5:-a"]);
}

#[test]
fn a_watch_from_the_past_catches_up_and_goes_live() {
    let mut world = World::new();
    world.put("a", "1");
    world.txn(&[("a", Some("2")), ("b", Some("2"))]);
    world.put("c", "3");
    world.watch(since(between("a", "c"), 3));
    assert_eq!(world.seen(), ["0@4: created"]);
    world.put("a", "4");
    world.catch_up();
    world.put("b", "5");
    assert_eq!(world.seen(), ["0@5: 3:a=2 3:b=2 5:a=4", "0@6: 6:b=5"]);
}

#[test]
fn a_watch_for_the_future_waits_even_within_a_batch() {
    let mut world = World::new();
    world.watch(since(key("a"), 4));
    let mut batch = world.store.put("a", "2");
    batch.extend(world.store.put("a", "3"));
    batch.extend(world.store.put("a", "4"));
    world.hub.publish(&batch, world.store.current, &world.store).unwrap();
    world.put("a", "5");
    assert_eq!(world.seen(), ["0@1: created", "0@4: 4:a=4", "0@5: 5:a=5"]);
}

#[test]
fn revisions_of_one_batch_share_a_response() {
    let mut world = World::new();
    world.watch(WatchSpec::new(from("a")));
    let mut batch = world.store.put("a", "2");
    batch.extend(world.store.put("b", "3"));
    world.hub.publish(&batch, world.store.current, &world.store).unwrap();
    assert_eq!(world.seen(), ["0@1: created", "0@3: 2:a=2 3:b=3"]);
}

#[test]
fn refusals_are_told_in_the_words_clients_know() {
    let mut world = World::new();
    let taken = WatchSpec { id: Some(WatchId(5)), ..WatchSpec::new(key("a")) };
    world.watch(taken.clone());
    assert_eq!(world.watch(taken), Creation::Refused);
    assert_eq!(world.watch(WatchSpec::new(between("b", "b"))), Creation::Refused);
    assert_eq!(world.watch(since(key("a"), -1)), Creation::Refused);
    assert_eq!(
        world.watch(WatchSpec { id: Some(WatchId(-1)), ..WatchSpec::new(key("a")) }),
        Creation::Refused
    );
    world.hub.refuse(S, Refusal::Denied("etcdserver: permission denied".to_owned()), Revision(1));
    assert_eq!(
        world.seen(),
        [
            "5@1: created",
            "-1@1: refused: mvcc: duplicate watch ID provided on the WatchStream",
            "-1@1: refused: mvcc: watcher range is empty",
            "-1@1: refused: mvcc: required revision has been compacted",
            "-1@1: refused: mvcc: duplicate watch ID provided on the WatchStream",
            "-1@1: refused: etcdserver: permission denied",
        ]
    );
}

#[test]
fn chosen_ids_count_up_and_pass_over_those_in_use() {
    let mut world = World::new();
    let mut ids = Vec::new();
    for wished in [None, Some(2), Some(0), None, None] {
        let spec = WatchSpec { id: wished.map(WatchId), ..WatchSpec::new(key("a")) };
        ids.push(world.watch(spec));
    }
    assert_eq!(ids, [0, 2, 1, 3, 4].map(|id| Creation::Watching(WatchId(id))));
    world.hub.cancel(S, WatchId(1));
    assert_eq!(world.watch(WatchSpec::new(key("a"))), Creation::Watching(WatchId(5)));
}

#[test]
fn a_compacted_start_is_told_at_once_and_the_compacted_revision_itself_is_not_compacted() {
    let mut world = World::new();
    for value in ["2", "3", "4"] {
        world.put("a", value);
    }
    world.store.compact(Revision(3));
    world.store.purge(usize::MAX);
    assert_eq!(world.watch(since(key("a"), 2)), Creation::Compacted(WatchId(0)));
    world.watch(since(key("a"), 3));
    world.catch_up();
    assert_eq!(world.seen(), ["0@4: created", "0@4: compacted at 3", "1@4: created", "1@4: 3:a=3 4:a=4"]);
}

#[test]
fn compaction_overtakes_a_watch_that_is_catching_up() {
    let mut world = World::new();
    for value in ["2", "3", "4", "5"] {
        world.put("a", value);
    }
    world.watch(since(key("a"), 2));
    world.step(CatchUpBudget { records: 1, bytes: 1 << 20 });
    // History is read, and compacted before what was read is queued.
    let scan = world.hub.begin_catch_up(world.store.compacted).unwrap();
    world.store.compact(Revision(4));
    world.store.purge(usize::MAX);
    let caught_up = scan.read(&world.store, &world.store, BUDGET).unwrap();
    world.hub.finish_catch_up(caught_up, world.store.compacted);
    assert_eq!(world.seen(), ["0@5: created", "0@5: 2:a=2", "0@5: compacted at 4"]);
    world.put("a", "6");
    assert!(world.seen().is_empty(), "an ended watch stays silent");
}

#[test]
fn a_synced_watch_does_not_mind_compaction() {
    let mut world = World::new();
    world.watch(WatchSpec::new(key("a")));
    for value in ["2", "3", "4"] {
        world.put("b", value);
    }
    world.store.compact(Revision(4));
    world.catch_up();
    world.put("a", "5");
    assert_eq!(world.seen(), ["0@1: created", "0@5: 5:a=5"]);
}

#[test]
fn filters_leave_out_and_an_empty_rest_sends_nothing() {
    let mut world = World::new();
    let watch = |no_put, no_delete| WatchSpec {
        options: EventOptions { filters: Filters { no_put, no_delete }, prev_kv: false },
        ..since(from("a"), 1)
    };
    world.watch(watch(true, false));
    world.watch(watch(false, true));
    world.watch(watch(true, true));
    world.catch_up();
    world.seen();
    world.put("a", "2");
    world.txn(&[("a", None), ("b", Some("3"))]);
    assert_eq!(world.seen(), ["1@2: 2:a=2", "0@3: 3:-a", "1@3: 3:b=3"]);
}

#[test]
fn previous_values_come_along_until_they_are_compacted() {
    let mut world = World::new();
    let spec = |start| WatchSpec {
        options: EventOptions { prev_kv: true, ..EventOptions::default() },
        ..since(key("a"), start)
    };
    world.watch(spec(0));
    world.put("a", "2");
    world.put("a", "3");
    world.txn(&[("a", None)]);
    world.put("a", "5");
    let live = world.seen();
    assert_eq!(live[1..], ["0@2: 2:a=2", "0@3: 3:a=3(was 2)", "0@4: 4:-a(was 3)", "0@5: 5:a=5"]);
    world.store.compact(Revision(3));
    world.watch(spec(3));
    world.catch_up();
    // Revision 3 is readable, 2 is not: only what stood before 3 is unknown.
    assert_eq!(world.seen(), ["1@5: created", "1@5: 3:a=3 4:-a(was 3) 5:a=5"]);
}

/// Counts lookups.
struct Counting<'a>(&'a Store, std::cell::Cell<usize>);

impl Previous for Counting<'_> {
    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, RecordsError> {
        self.1.set(self.1.get() + 1);
        self.0.previous(key, at)
    }
}

#[test]
fn watchers_of_one_kind_share_one_set_and_one_lookup() {
    let mut world = World::new();
    world.put("a", "1");
    let options = EventOptions { prev_kv: true, ..EventOptions::default() };
    for range in [key("a"), key("a"), from("a"), from("a")] {
        world.watch(WatchSpec { options, ..WatchSpec::new(range) });
    }
    world.watch(WatchSpec::new(key("a")));
    world.seen();
    let events = world.store.put("a", "2");
    let counting = Counting(&world.store, std::cell::Cell::new(0));
    world.hub.publish(&events, world.store.current, &counting).unwrap();
    assert_eq!(counting.1.get(), 1);
    let sets: Vec<Arc<EventSet>> = world
        .hub
        .drain(S, usize::MAX)
        .into_iter()
        .map(|response| match response.body {
            Body::Events { set, .. } => set,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sets.len(), 5);
    assert_eq!(sets.iter().filter(|set| Arc::ptr_eq(set, &sets[0])).count(), 2);
    let mut encodings = 0;
    for set in &sets {
        set.encoded(|_| {
            encodings += 1;
            Bytes::new()
        });
    }
    assert_eq!(encodings, 3, "one for each kind");
}

#[test]
fn neighbours_catch_up_with_one_scan() {
    let mut world = World::new();
    for number in 0..20 {
        world.put("a", &number.to_string());
    }
    for start in [2, 2, 9, 15] {
        world.watch(since(key("a"), start));
    }
    assert!(!world.step(BUDGET), "one step serves all four");
    let counts: Vec<usize> = world
        .hub
        .drain(S, usize::MAX)
        .iter()
        .filter_map(|response| match &response.body {
            Body::Events { set, .. } => Some(set.events().len()),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [20, 20, 13, 7]);
}

#[test]
fn a_watch_far_behind_does_not_hold_up_one_that_is_nearly_there() {
    let mut world = World::new();
    for number in 0..100 {
        world.put("a", &number.to_string());
    }
    world.watch(since(key("a"), 2));
    world.watch(since(key("a"), 99));
    let small = CatchUpBudget { records: 10, bytes: 1 << 20 };
    world.step(small);
    world.step(small);
    assert_eq!(world.hub.streams[&S].unsynced.iter().copied().collect::<Vec<_>>(), [WatchId(0)]);
    let mut steps = 2;
    while world.step(small) {
        steps += 1;
    }
    assert!(steps < 14, "{steps} steps for 100 revisions by tens");
}

#[test]
fn a_budget_never_cuts_a_revision_and_a_message_spans_a_bounded_number() {
    let mut world = World::with(WatchLimits {
        message_revisions_max: 3,
        scan_chunk_records: 2,
        ..WatchLimits::default()
    });
    world.txn(&[("a", Some("2")), ("b", Some("2")), ("c", Some("2"))]);
    for value in ["3", "4", "5", "6"] {
        world.put("a", value);
    }
    world.watch(since(from("a"), 1));
    world.seen();
    world.step(CatchUpBudget { records: 1, bytes: 1 });
    assert_eq!(world.seen(), ["0@6: 2:a=2 2:b=2 2:c=2"]);
    world.catch_up();
    assert_eq!(world.seen(), ["0@6: 3:a=3 4:a=4 5:a=5", "0@6: 6:a=6"]);
}

#[test]
fn a_slow_client_costs_a_bounded_queue_and_loses_nothing() {
    let limits = WatchLimits { queue_responses_max: 4, ..WatchLimits::default() };
    let mut world = World::with(limits);
    world.watch(WatchSpec::new(key("a")));
    for value in ["2", "3", "4", "5", "6", "7"] {
        world.put("a", value);
        world.catch_up();
    }
    assert_eq!(world.hub.stats().queued, 4);
    assert_eq!(world.hub.stats().unsynced, 1);
    assert!(!world.hub.has_room(S) && !world.hub.needs_catch_up(), "no reading without room");
    let first: Vec<String> = world.hub.drain(S, 1).iter().map(tell).collect();
    assert_eq!(first, ["0@1: created"]);
    assert!(!world.hub.needs_catch_up(), "goes on at half, not at once");
    assert_eq!(world.seen(), ["0@2: 2:a=2", "0@3: 3:a=3", "0@4: 4:a=4"]);
    world.catch_up();
    assert_eq!(world.seen(), ["0@7: 5:a=5 6:a=6 7:a=7"]);
    assert_eq!(world.hub.stats(), HubStats { streams: 1, watchers: 1, ..HubStats::default() });
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let limits = WatchLimits { queue_bytes_max: 10_000, ..WatchLimits::default() };
    let mut world = World::with(limits);
    world.watch(WatchSpec::new(key("a")));
    let large = "x".repeat(3_000);
    for _ in 0..50 {
        world.put("a", &large);
        world.step(CatchUpBudget { records: 1, bytes: 1 });
    }
    assert!(world.hub.stats().queued_bytes < 10_000 + 4_000, "{:?}", world.hub.stats());
    let mut values = 0;
    while world.hub.stats().queued > 0 || world.hub.needs_catch_up() {
        for response in world.hub.drain(S, 1) {
            if let Body::Events { set, .. } = response.body {
                values += set.events().len();
            }
        }
        world.step(CatchUpBudget { records: 1, bytes: 1 });
    }
    assert_eq!(values, 50);
}

#[test]
fn progress_waits_for_every_watch_and_stands_behind_their_events() {
    let mut world = World::new();
    world.put("a", "2");
    world.watch(since(key("a"), 1));
    world.watch(WatchSpec::new(key("b")));
    world.hub.request_progress(S);
    world.hub.request_progress(S);
    assert_eq!(world.seen(), ["0@2: created", "1@2: created"]);
    world.catch_up();
    assert_eq!(world.seen(), ["0@2: 2:a=2", "-1@2: progress"]);
    world.put("c", "3");
    world.hub.request_progress(S);
    assert_eq!(world.seen(), ["-1@3: progress"]);
}

#[test]
fn progress_never_names_a_revision_before_a_watch_begins() {
    let mut world = World::new();
    world.watch(since(key("a"), 4));
    world.watch(since(key("b"), 2));
    world.hub.request_progress(S);
    world.put("c", "2");
    assert_eq!(world.seen(), ["0@1: created", "1@1: created"]);
    world.put("a", "3");
    assert_eq!(world.seen(), ["-1@3: progress"], "going on at 4 is what both asked for");
    // The watch in the way may also end.
    world.watch(since(key("a"), 9));
    world.hub.request_progress(S);
    world.hub.cancel(S, WatchId(2));
    assert_eq!(world.seen(), ["2@3: created", "2@3: canceled", "-1@3: progress"]);
}

#[test]
fn progress_waits_for_room() {
    let mut world = World::with(WatchLimits { queue_responses_max: 2, ..WatchLimits::default() });
    world.watch(WatchSpec::new(key("a")));
    world.put("a", "2");
    world.hub.request_progress(S);
    assert_eq!(world.seen(), ["0@1: created", "0@2: 2:a=2"]);
    assert_eq!(world.seen(), ["-1@2: progress"]);
}

#[test]
fn ticks_tell_only_watches_that_asked_and_were_quiet() {
    let mut world = World::new();
    let notify = |range| WatchSpec { progress_notify: true, ..WatchSpec::new(range) };
    world.watch(notify(key("a")));
    world.watch(notify(key("b")));
    world.watch(WatchSpec::new(key("c")));
    world.watch(WatchSpec { start: Revision(100), ..notify(key("d")) });
    world.watch(WatchSpec { start: Revision(1), ..notify(key("e")) });
    world.seen();
    world.put("a", "2");
    world.hub.progress_tick_all();
    assert_eq!(world.seen(), ["0@2: 2:a=2", "1@2: progress"]);
    world.hub.progress_tick(S);
    assert_eq!(world.seen(), ["0@2: progress", "1@2: progress"]);
    world.catch_up();
    world.hub.progress_tick(S);
    assert_eq!(world.seen(), ["0@2: progress", "1@2: progress", "4@2: progress"]);
}

#[test]
fn cancel_says_so_once_and_close_forgets() {
    let mut world = World::new();
    world.watch(WatchSpec::new(key("a")));
    world.watch(since(key("a"), 1));
    world.put("a", "2");
    world.hub.cancel(S, WatchId(0));
    world.hub.cancel(S, WatchId(0));
    world.hub.cancel(S, WatchId(44));
    assert_eq!(world.seen(), ["0@1: created", "1@1: created", "0@2: 2:a=2", "0@2: canceled"]);
    assert_eq!(world.hub.take_woken().into_iter().collect::<Vec<_>>(), [S]);
    world.put("a", "3");
    world.hub.close(S);
    assert_eq!(world.hub.stats(), HubStats::default());
    assert!(!world.hub.needs_catch_up() && world.hub.take_woken().is_empty());
    check(&world.hub);
    world.put("a", "4");
    assert_eq!(world.watch(WatchSpec::new(key("a"))), Creation::Refused);
    assert!(world.seen().is_empty());
}

#[test]
fn a_late_scan_does_not_touch_a_new_watch_of_the_same_id() {
    let mut world = World::new();
    world.put("a", "2");
    world.put("b", "3");
    let spec = |range| WatchSpec { id: Some(WatchId(9)), ..since(range, 1) };
    world.watch(spec(key("a")));
    let scan = world.hub.begin_catch_up(world.store.compacted).unwrap();
    world.hub.cancel(S, WatchId(9));
    world.watch(spec(key("b")));
    let caught_up = scan.read(&world.store, &world.store, BUDGET).unwrap();
    world.hub.finish_catch_up(caught_up, world.store.compacted);
    world.catch_up();
    assert_eq!(world.seen(), ["9@3: created", "9@3: canceled", "9@3: created", "9@3: 3:b=3"]);
}

#[test]
fn events_published_during_a_scan_follow_it() {
    let mut world = World::new();
    world.put("a", "2");
    world.watch(since(key("a"), 1));
    let scan = world.hub.begin_catch_up(world.store.compacted).unwrap();
    assert!(scan.is_short());
    world.put("a", "3");
    let caught_up = scan.read(&world.store, &world.store, BUDGET).unwrap();
    world.put("a", "4");
    world.hub.finish_catch_up(caught_up, world.store.compacted);
    world.put("a", "5");
    world.catch_up();
    world.put("a", "6");
    assert_eq!(
        world.seen(),
        ["0@2: created", "0@4: 2:a=2", "0@5: 3:a=3 4:a=4 5:a=5", "0@6: 6:a=6"],
        "the scan ends where it was planned to; the rest comes from the next one"
    );
}

#[test]
fn creation_is_exact_when_publishing_lags_behind_applying_or_the_reverse() {
    let mut world = World::new();
    let two = world.store.put("a", "2");
    // Applied and seen by the request, not yet published.
    world.watch(WatchSpec::new(key("a")));
    world.watch(since(key("a"), 2));
    world.hub.publish(&two, Revision(2), &world.store).unwrap();
    // Published, and the request was handed the revision before.
    world.hub.create(S, WatchSpec::new(key("a")), Revision(1), world.store.compacted);
    world.put("a", "3");
    world.catch_up();
    assert_eq!(
        world.seen(),
        [
            "0@2: created",
            "1@2: created",
            "1@2: 2:a=2",
            "2@1: created",
            "0@3: 3:a=3",
            "1@3: 3:a=3",
            "2@3: 2:a=2 3:a=3",
        ]
    );
}

#[test]
fn a_snapshot_turns_to_history_ends_what_is_compacted_and_leaves_the_future() {
    let mut world = World::new();
    world.put("a", "2");
    world.watch(WatchSpec::new(key("a")));
    world.watch(since(key("a"), 1));
    world.watch(since(key("a"), 9));
    world.seen();
    // The store jumps from 2 to 5; nothing of it is published.
    for value in ["3", "4", "5"] {
        world.store.put("a", value);
    }
    world.store.compact(Revision(3));
    world.store.purge(usize::MAX);
    world.hub.snapshot_installed(world.store.current, world.store.compacted);
    assert_eq!(world.seen(), ["1@5: compacted at 3"]);
    world.catch_up();
    for value in ["6", "7", "8", "9"] {
        world.put("a", value);
    }
    assert_eq!(
        world.seen(),
        ["0@5: 3:a=3 4:a=4 5:a=5", "0@6: 6:a=6", "0@7: 7:a=7", "0@8: 8:a=8", "0@9: 9:a=9", "2@9: 9:a=9"]
    );
}

#[test]
fn progress_due_to_a_snapshots_ends_waits_for_the_watches_that_go_on() {
    let mut world = World::new();
    world.put("a", "2");
    world.watch(since(key("a"), 1));
    world.watch(WatchSpec::new(key("a")));
    world.hub.request_progress(S);
    world.seen();
    world.store.put("a", "3");
    world.store.compact(Revision(3));
    world.hub.snapshot_installed(world.store.current, world.store.compacted);
    assert_eq!(world.seen(), ["0@3: compacted at 3"]);
    world.catch_up();
    assert_eq!(world.seen(), ["1@3: 3:a=3", "-1@3: progress"]);
}

#[test]
fn fragments_fit_and_reassemble() {
    let mut world = World::new();
    world.watch(WatchSpec { fragment: true, ..WatchSpec::new(from("a")) });
    world.watch(WatchSpec::new(from("a")));
    world.seen();
    let large = "x".repeat(500);
    let keys = ["a", "b", "c", "d", "e"];
    world.txn(&keys.map(|key| (key, Some(large.as_str()))));
    let responses = world.hub.drain(S, usize::MAX);
    let whole = responses[0].clone();
    let Body::Events { set, .. } = &whole.body else { panic!("{whole:?}") };
    assert_eq!(fragment(responses[1].clone(), 1_300), [responses[1].clone()], "only who asked");
    assert_eq!(fragment(whole.clone(), whole.size_bytes()), vec![whole.clone()], "only what is too large");
    for max_bytes in [1_300, 700, 10] {
        let pieces = fragment(whole.clone(), max_bytes);
        let mut joined = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let Body::Events { set, more, .. } = &piece.body else { panic!("{piece:?}") };
            assert_eq!(*more, number + 1 < pieces.len());
            assert!(piece.size_bytes() <= max_bytes || set.events().len() == 1);
            joined.extend(set.events().to_vec());
        }
        assert_eq!(joined, set.events());
        assert_eq!(pieces.len(), if max_bytes == 1_300 { 3 } else { 5 });
    }
}

#[test]
fn a_scan_serves_a_bounded_number_and_the_rest_in_turn() {
    let mut world = World::with(WatchLimits { scan_watchers_max: 2, ..WatchLimits::default() });
    world.put("a", "2");
    for _ in 0..5 {
        world.watch(since(key("a"), 2));
    }
    world.seen();
    let mut served = Vec::new();
    loop {
        let more = world.step(BUDGET);
        served.push(world.seen().len());
        if !more {
            break;
        }
    }
    assert_eq!(served, [2, 2, 1]);
}

#[test]
fn a_failing_store_delivers_nothing() {
    struct Broken;
    impl Previous for Broken {
        fn previous(&self, _: &[u8], _: Revision) -> Result<Option<KeyValue>, RecordsError> {
            Err(RecordsError("gone".to_owned()))
        }
    }
    let mut world = World::new();
    world.put("a", "2");
    let options = EventOptions { prev_kv: true, ..EventOptions::default() };
    world.watch(WatchSpec::new(from("a")));
    world.watch(WatchSpec { options, ..WatchSpec::new(key("a")) });
    world.seen();
    let events = world.store.put("a", "3");
    let failed = world.hub.publish(&events, world.store.current, &Broken);
    assert_eq!(failed, Err(RecordsError("gone".to_owned())));
    assert!(world.seen().is_empty());
}
