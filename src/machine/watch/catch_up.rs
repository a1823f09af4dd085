//! Delivery from history: watchers that started in the past or fell behind, in bounded steps.
//!
//! A step has three parts, so that the hub need not be held while history is read:
//! [`Hub::begin_catch_up`] picks neighbouring watchers, [`Scan::read`] reads history once for all of them, and
//! [`Hub::finish_catch_up`] queues what was found. [`Hub::step`] does all three at once.
//!
//! Whatever happens between begin and finish is safe. Events published meanwhile lie above the scan, and its
//! watchers stay unsynced until a scan reaches the newest revision. Watchers that ended or moved on meanwhile
//! are recognised and left alone. A scan that history was compacted under is not delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::command::KeyValue;
use crate::machine::effects::{Event, Record, Records, RecordsError};
use crate::machine::watch::Previous;
use crate::machine::watch::event_set::{EventSet, WatchEvent, event_bytes};
use crate::machine::watch::hub::Hub;
use crate::machine::watch::limits::{CatchUpBudget, WatchLimits};
use crate::machine::watch::publish::before;
use crate::machine::watch::range_index::{GroupId, RangeIndex};
use crate::machine::watch::response::{Body, Response};
use crate::machine::watch::spec::{EventOptions, StreamId};
use crate::types::{KeyRange, RevPair, Revision, WatchId};

/// One read of history, planned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    from: Revision,
    /// The newest revision to read; published when the scan was planned.
    upto: Revision,
    short: bool,
    limits: WatchLimits,
    groups: BTreeMap<GroupId, ScanGroup>,
}

/// Watchers that receive the same from a scan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ScanGroup {
    range: KeyRange,
    options: EventOptions,
    next: Revision,
    watchers: Vec<(StreamId, WatchId, u64)>,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaughtUp {
    scan: Scan,
    /// The newest revision that was read whole, with all before it.
    through: Revision,
    sets: BTreeMap<GroupId, Arc<EventSet>>,
}

impl Hub {
    /// Whether watchers wait for history and their streams have room.
    pub fn needs_catch_up(&self) -> bool {
        !self.ready.is_empty()
    }

    /// One bounded step of catch-up on a store compacted at `compacted`; answers whether there is more to do.
    ///
    /// # Errors
    /// [`RecordsError`] when history cannot be read: the caller must stop.
    pub fn step(
        &mut self,
        records: &dyn Records,
        previous: &dyn Previous,
        budget: CatchUpBudget,
        compacted: Revision,
    ) -> Result<bool, RecordsError> {
        if let Some(scan) = self.begin_catch_up(compacted) {
            let caught_up = scan.read(records, previous, budget)?;
            self.finish_catch_up(caught_up, compacted);
        }
        Ok(self.needs_catch_up())
    }

    /// Plans the next scan, after ending watchers whose next revision is compacted (some; ask
    /// [`Hub::needs_catch_up`] whether to call again when there is no scan).
    ///
    /// Scans take turns upward through the revisions that watchers wait at, so that one far behind does not
    /// hold up one that is nearly there, and the reverse.
    pub fn begin_catch_up(&mut self, compacted: Revision) -> Option<Scan> {
        for _ in 0..self.limits.scan_watchers_max.max(1) {
            match self.ready.first() {
                Some(&(next, stream, id)) if next < compacted => {
                    crate::sometimes!("compaction during catch-up");
                    // The planted bug goes on at what is left.
                    if crate::mutant!("watch-gap-at-compaction") {
                        self.park(stream, id, compacted.min(self.published));
                    } else {
                        self.end_compacted(stream, id, compacted);
                    }
                }
                _ => break,
            }
        }
        let lowest = |from: Revision| (from, StreamId(0), WatchId(i64::MIN));
        let mut waiting = self.ready.range(lowest(self.cursor.max(compacted))..);
        let (from, ..) = *waiting.next().or_else(|| self.ready.range(lowest(compacted)..).next())?;
        assert!(from <= self.published, "unsynced at {from}, published only {}", self.published);

        let span = i64::from(self.limits.message_revisions_max.max(1));
        let upto = Revision(from.0.saturating_add(span - 1)).min(self.published);
        let behind = self.published.0 - from.0;
        let short = upto == self.published
            && behind < i64::from(self.limits.short_scan_revisions)
            && !crate::buggify!("a short scan is made a long one");
        let mut scan = Scan { from, upto, short, limits: self.limits, groups: BTreeMap::new() };
        let mut group_ids = BTreeMap::new();
        let cap = self.limits.scan_watchers_max.max(1);
        let joining = self.ready.range(lowest(from)..lowest(upto.next())).take(cap);
        for &(next, stream, id) in joining {
            let Some(watcher) = self.streams.get(&stream).and_then(|open| open.watchers.get(&id)) else {
                continue;
            };
            let fresh = group_ids.len();
            let group_id = *group_ids
                .entry((next, watcher.range.clone(), watcher.options))
                .or_insert_with(|| GroupId(u64::try_from(fresh).unwrap_or(u64::MAX)));
            let group = scan.groups.entry(group_id).or_insert_with(|| ScanGroup {
                range: watcher.range.clone(),
                options: watcher.options,
                next,
                watchers: Vec::new(),
            });
            group.watchers.push((stream, id, watcher.serial));
        }
        Some(scan)
    }

    /// Queues what a scan found; `compacted` is the compacted revision now, after the reading. Watchers that
    /// reached the newest revision become synced.
    pub fn finish_catch_up(&mut self, caught_up: CaughtUp, compacted: Revision) {
        let CaughtUp { scan, through, sets } = caught_up;
        let mut touched = Vec::new();
        for (group_id, group) in &scan.groups {
            let set = sets.get(group_id);
            for &(stream, id, serial) in &group.watchers {
                let watchers = self.streams.get(&stream).map(|open| &open.watchers);
                let unmoved = watchers
                    .and_then(|watchers| watchers.get(&id))
                    .is_some_and(|watcher| watcher.serial == serial && watcher.next == group.next);
                // Absent from `ready`: ended, synced, moved on, or the stream has no room any more.
                if !unmoved || !self.ready.contains(&(group.next, stream, id)) {
                    continue;
                }
                // The planted bug trusts what it has read.
                if group.next < compacted && !crate::mutant!("watch-compacted-scan-delivered") {
                    crate::sometimes!("compaction during catch-up");
                    self.end_compacted(stream, id, compacted);
                } else if group.next <= through {
                    self.advance(stream, id, through.next(), set);
                    touched.push(stream);
                }
            }
        }
        touched.dedup();
        for stream in touched {
            self.settle_progress(stream);
        }
        // Those just served stand at `through + 1`: the next turn is for those beyond.
        self.cursor = through.next().next();
    }

    /// Moves an unsynced watcher on to `next` and queues what lies between, if anything matched.
    fn advance(&mut self, stream: StreamId, id: WatchId, next: Revision, set: Option<&Arc<EventSet>>) {
        self.leave(stream, id);
        let published = self.published;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(watcher) = open.watchers.get_mut(&id) else { return };
        if let Some(set) = set {
            assert!(set.first() >= watcher.next, "watch {} would get {} again", id.0, set.first());
            assert!(set.last() < next, "watch {} would get {} twice", id.0, set.last());
            watcher.quiet = false;
        }
        watcher.next = next;
        let may_fragment = watcher.fragment;
        if next > published {
            self.join(stream, id);
        } else {
            self.park(stream, id, next);
        }
        if let Some(set) = set {
            let body = Body::Events { set: Arc::clone(set), may_fragment, more: false };
            self.push(stream, Response { watch_id: id, revision: published, body });
        }
    }
}

impl Scan {
    /// Whether the scan is small and ends at the newest revision. Do not let go of the hub between planning and
    /// finishing such a scan: else, under steady writes, its watchers would always find that there is more.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Reads history. `records` must have been opened after the scan was planned: it holds every revision
    /// published by then.
    ///
    /// # Errors
    /// [`RecordsError`] when history cannot be read: the caller must stop.
    pub fn read(
        self,
        records: &dyn Records,
        previous: &dyn Previous,
        budget: CatchUpBudget,
    ) -> Result<CaughtUp, RecordsError> {
        let mut gathered = Gathered::new(&self, previous);
        let mut from = RevPair { main: self.from, sub: 0 };
        let through = loop {
            // One record beyond the budget shows whether a revision ends there.
            let left = budget.records.saturating_sub(gathered.records).saturating_add(1);
            let chunk = self.limits.scan_chunk_records.min(left).max(1);
            let found = records.scan(from, chunk)?;
            let ended = found.len() < chunk;
            if let Some(through) = gathered.take(&self, found, budget, &mut from)? {
                break through;
            }
            if ended {
                break self.upto;
            }
        };
        assert!(through >= self.from && through <= self.upto, "scan from {} ended at {through}", self.from);
        let sets = gathered.matched.into_iter();
        let sets = sets.filter_map(|(id, events)| Some((id, Arc::new(EventSet::new(events)?)))).collect();
        Ok(CaughtUp { scan: self, through, sets })
    }
}

/// A scan's findings while it reads.
struct Gathered<'a> {
    index: RangeIndex,
    previous: &'a dyn Previous,
    matched: BTreeMap<GroupId, Vec<WatchEvent>>,
    /// The revision of the record last taken.
    last: Option<Revision>,
    records: usize,
    bytes: usize,
}

impl<'a> Gathered<'a> {
    fn new(scan: &Scan, previous: &'a dyn Previous) -> Gathered<'a> {
        let mut index = RangeIndex::default();
        for (id, group) in &scan.groups {
            index.insert(&group.range, *id);
        }
        Gathered { index, previous, matched: BTreeMap::new(), last: None, records: 0, bytes: 0 }
    }

    /// Takes records up to the scan's end, or until a revision begins when the budget is used up. Answers the
    /// revision through which history was read whole, once that is known; moves `from` behind what was taken.
    fn take(
        &mut self,
        scan: &Scan,
        found: Vec<(RevPair, Record)>,
        budget: CatchUpBudget,
        from: &mut RevPair,
    ) -> Result<Option<Revision>, RecordsError> {
        for (at, record) in found {
            assert!(at >= *from, "history answered {} for a scan from {}", at.main, from.main);
            if at.main > scan.upto {
                return Ok(Some(scan.upto));
            }
            let spent = self.records >= budget.records || self.bytes >= budget.bytes;
            if spent && self.last.is_some_and(|last| last < at.main) {
                if crate::mutant!("watch-drop-event-at-catch-up") {
                    return Ok(Some(at.main));
                }
                return Ok(Some(Revision(at.main.0 - 1)));
            }
            self.last = Some(at.main);
            self.records = self.records.saturating_add(1);
            self.bytes = self.bytes.saturating_add(event_bytes(&record.event));
            *from = RevPair { main: at.main, sub: at.sub.saturating_add(1) };
            self.deal(scan, &record.event)?;
        }
        Ok(None)
    }

    /// Gives an event to every group that wants it.
    fn deal(&mut self, scan: &Scan, event: &Event) -> Result<(), RecordsError> {
        let mut found = Vec::new();
        self.index.stab(event.key(), &mut found);
        let mut looked_up: Option<Option<KeyValue>> = None;
        for group_id in found {
            let Some(group) = scan.groups.get(&group_id) else { continue };
            if event.revision() < group.next || !group.options.filters.pass(event) {
                continue;
            }
            let prev_kv = match (group.options.prev_kv, &looked_up) {
                (false, _) => None,
                (true, Some(prev_kv)) => prev_kv.clone(),
                (true, None) => looked_up.insert(before(event, self.previous)?).clone(),
            };
            self.matched.entry(group_id).or_default().push(WatchEvent { event: event.clone(), prev_kv });
        }
        Ok(())
    }
}
