//! All streams and watchers of one member: creation, cancellation, draining, progress.
//!
//! Live delivery is in `publish.rs`, delivery from history in `catch_up.rs`; both move watchers through
//! [`Hub::park`], [`Hub::join`] and [`Hub::push`], so that the sets below always agree:
//! - a synced watcher is in exactly one group; `index` holds exactly the ranges of the groups;
//! - an unsynced watcher is in its stream's `unsynced`, and in `ready` unless the stream is blocked;
//! - an unsynced watcher's `next` is at most `published`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::machine::watch::limits::WatchLimits;
use crate::machine::watch::range_index::{GroupId, RangeIndex};
use crate::machine::watch::response::{Body, Refusal, Response, STREAM_ITSELF};
use crate::machine::watch::spec::{EventOptions, StreamId, WatchSpec};
use crate::machine::watch::stream::{Stream, Watcher, WatcherState};
use crate::types::{KeyRange, RangeEnd, Revision, WatchId};

/// Every watcher of one member. Its caller serialises the calls.
///
/// Operations that name a stream which is not open do nothing: it was closed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hub {
    pub(super) limits: WatchLimits,
    /// The revision up to which events were published.
    pub(super) published: Revision,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    /// Synced watchers by what they receive.
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) index: RangeIndex,
    /// Unsynced watchers of streams with room, by the revision that each needs next.
    pub(super) ready: BTreeSet<(Revision, StreamId, WatchId)>,
    /// Catch-up goes on with watchers at or above this revision, then starts over from the lowest.
    pub(super) cursor: Revision,
    group_ids: BTreeMap<(KeyRange, EventOptions), GroupId>,
    next_group: u64,
    next_serial: u64,
    /// Streams that wait for a progress response.
    asking: BTreeSet<StreamId>,
    /// Streams that were given responses since the caller last looked.
    woken: BTreeSet<StreamId>,
}

/// The range with keys of its own: a request's keys would keep the whole receive buffer alive.
fn owned(range: &KeyRange) -> KeyRange {
    let end = match &range.end {
        RangeEnd::Single => RangeEnd::Single,
        RangeEnd::Before(end) => RangeEnd::Before(Bytes::copy_from_slice(end)),
        RangeEnd::Open => RangeEnd::Open,
    };
    KeyRange { start: Bytes::copy_from_slice(&range.start), end }
}

/// Synced watchers that receive the same events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub range: KeyRange,
    pub options: EventOptions,
    pub watchers: BTreeSet<(StreamId, WatchId)>,
}

/// What became of a request to watch. The responses are queued already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The watch runs.
    Watching(WatchId),
    /// The watch was created and ended at once: its start revision is compacted.
    Compacted(WatchId),
    /// There is no watch.
    Refused,
}

/// Figures for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Open streams.
    pub streams: usize,
    /// Streams whose queue is full.
    pub blocked_streams: usize,
    /// Watchers in all.
    pub watchers: usize,
    /// Of which unsynced.
    pub unsynced: usize,
    /// Responses queued.
    pub queued: usize,
    /// Their size on the wire, in bytes, at most.
    pub queued_bytes: usize,
}

impl Hub {
    /// A hub without streams over a store at revision `published`.
    pub fn new(limits: WatchLimits, published: Revision) -> Hub {
        Hub {
            limits,
            published,
            streams: BTreeMap::new(),
            groups: BTreeMap::new(),
            index: RangeIndex::default(),
            ready: BTreeSet::new(),
            cursor: Revision::default(),
            group_ids: BTreeMap::new(),
            next_group: 0,
            next_serial: 0,
            asking: BTreeSet::new(),
            woken: BTreeSet::new(),
        }
    }

    /// The revision up to which events were published.
    pub fn published(&self) -> Revision {
        self.published
    }

    /// Opens a stream.
    pub fn open(&mut self, stream: StreamId) {
        let earlier = self.streams.insert(stream, Stream::default());
        assert!(earlier.is_none(), "watch stream {} opened twice", stream.0);
    }

    /// Closes a stream and forgets its watchers and whatever is still queued.
    pub fn close(&mut self, stream: StreamId) {
        let ids: Vec<WatchId> =
            self.streams.get(&stream).map(|open| open.watchers.keys().copied().collect()).unwrap_or_default();
        for id in ids {
            self.remove(stream, id);
        }
        self.streams.remove(&stream);
        self.asking.remove(&stream);
        self.woken.remove(&stream);
    }

    /// Creates a watch on a store at revision `current`, compacted at `compacted`, and queues what the client
    /// must be told. `current` may differ from [`Hub::published`] either way, when applying and publishing are
    /// apart: the watch delivers exactly what its start asks for all the same.
    pub fn create(
        &mut self,
        stream: StreamId,
        spec: WatchSpec,
        current: Revision,
        compacted: Revision,
    ) -> Creation {
        let Some(open) = self.streams.get_mut(&stream) else { return Creation::Refused };
        let refusal = match &spec.range.end {
            RangeEnd::Before(end) if *end <= spec.range.start => Some(Refusal::EmptyRange),
            _ if spec.start < Revision(0) => Some(Refusal::NegativeStart),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.refuse(stream, refusal, current);
            return Creation::Refused;
        }
        let Some(id) = open.pick_id(spec.id) else {
            self.refuse(stream, Refusal::DuplicateId, current);
            return Creation::Refused;
        };
        self.push(stream, Response { watch_id: id, revision: current, body: Body::Created });
        if spec.start > Revision(0) && spec.start < compacted {
            crate::sometimes!("a watch began below the compacted revision");
            self.push(stream, Response { watch_id: id, revision: current, body: Body::Compacted(compacted) });
            return Creation::Compacted(id);
        }
        let next = if spec.start > Revision(0) { spec.start } else { current.next() };
        self.next_serial = self.next_serial.saturating_add(1);
        let watcher = Watcher {
            serial: self.next_serial,
            range: owned(&spec.range),
            options: spec.options,
            progress_notify: spec.progress_notify,
            fragment: spec.fragment,
            next,
            state: WatcherState::Unsynced,
            quiet: true,
        };
        if let Some(open) = self.streams.get_mut(&stream) {
            open.watchers.insert(id, watcher);
        }
        if next > self.published {
            if next > self.published.next() {
                crate::sometimes!("a watch began in the future");
            }
            self.join(stream, id);
        } else {
            self.park(stream, id, next);
        }
        Creation::Watching(id)
    }

    /// Tells the client that its watch was not created; for refusals decided above the hub.
    pub fn refuse(&mut self, stream: StreamId, refusal: Refusal, current: Revision) {
        let body = Body::Refused(refusal);
        self.push(stream, Response { watch_id: STREAM_ITSELF, revision: current, body });
    }

    /// Ends a watch and says so; silent when there is no such watch.
    pub fn cancel(&mut self, stream: StreamId, id: WatchId) {
        if self.remove(stream, id) {
            self.push(stream, Response { watch_id: id, revision: self.published, body: Body::Canceled });
            self.recheck_progress(stream);
        }
    }

    /// Takes up to `max` responses, oldest first. When this makes enough room, catch-up goes on.
    pub fn drain(&mut self, stream: StreamId, max: usize) -> Vec<Response> {
        let Some(open) = self.streams.get_mut(&stream) else { return Vec::new() };
        let taken = open.pop(max);
        if open.blocked && open.is_half_empty(&self.limits) {
            open.blocked = false;
            for id in &open.unsynced {
                if let Some(watcher) = open.watchers.get(id) {
                    self.ready.insert((watcher.next, stream, *id));
                }
            }
            self.settle_progress(stream);
        }
        taken
    }

    /// Whether the stream takes more requests from its client. While it does not, leave them unread: control
    /// responses are queued whatever the limit, so this is what bounds them.
    pub fn has_room(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|open| !open.blocked)
    }

    /// The streams that were given responses since the last call, for their senders to drain.
    pub fn take_woken(&mut self) -> BTreeSet<StreamId> {
        std::mem::take(&mut self.woken)
    }

    /// Answers with one response for the stream itself, as soon as every watcher of it has everything up to the
    /// header's revision. Requests that wait together share one answer.
    pub fn request_progress(&mut self, stream: StreamId) {
        if let Some(open) = self.streams.get_mut(&stream) {
            open.progress_asked = Some(Revision(0));
            self.asking.insert(stream);
            self.settle_progress(stream);
        }
    }

    /// Queues progress for every synced watcher of the stream that asked to be notified and got no event since
    /// the last tick. A stream without room is passed over: its client is busy with events.
    pub fn progress_tick(&mut self, stream: StreamId) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let mut idle = Vec::new();
        for (id, watcher) in open.watchers.iter_mut().filter(|(_, watcher)| watcher.progress_notify) {
            let quiet = std::mem::replace(&mut watcher.quiet, true);
            // The planted bug tells those of progress too who have yet to make it.
            let synced = matches!(watcher.state, WatcherState::Synced(_))
                || crate::mutant!("watch-progress-of-an-unsynced-watcher");
            if quiet && synced && watcher.next <= self.published.next() {
                idle.push(*id);
            }
        }
        for watch_id in idle {
            if self.has_room(stream) {
                self.push(stream, Response { watch_id, revision: self.published, body: Body::Progress });
            }
        }
    }

    /// [`Hub::progress_tick`] for every stream.
    pub fn progress_tick_all(&mut self) {
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.progress_tick(stream);
        }
    }

    /// The store was replaced by one at revision `current`, compacted at `compacted`: what lies between was
    /// never published. Watchers go on from history at their next revision; those below the compacted revision
    /// end; those that wait for a later revision go on waiting.
    pub fn snapshot_installed(&mut self, current: Revision, compacted: Revision) {
        assert!(current >= self.published, "snapshot at {current} behind published {}", self.published);
        let live_from = self.published.next();
        self.published = current;
        let mut behind = Vec::new();
        for (stream, open) in &self.streams {
            for (id, watcher) in &open.watchers {
                let next = match watcher.state {
                    // The planted bug leaves those alone who were up to date.
                    WatcherState::Synced(_) if crate::mutant!("watch-gap-at-snapshot") => current.next(),
                    WatcherState::Synced(_) => watcher.next.max(live_from),
                    WatcherState::Unsynced => watcher.next,
                };
                if next <= current {
                    behind.push((*stream, *id, next));
                }
            }
        }
        // First all turn unsynced, only then may any end: an end can make a stream's progress due, which must
        // find its other watchers as they are.
        for (stream, id, next) in &behind {
            self.park(*stream, *id, *next);
        }
        for (stream, id, _) in behind.into_iter().filter(|(.., next)| *next < compacted) {
            self.end_compacted(stream, id, compacted);
        }
        for stream in self.asking.clone() {
            self.recheck_progress(stream);
        }
    }

    /// Figures for the operator.
    pub fn stats(&self) -> HubStats {
        let mut stats = HubStats { streams: self.streams.len(), ..HubStats::default() };
        for open in self.streams.values() {
            stats.blocked_streams += usize::from(open.blocked);
            stats.watchers += open.watchers.len();
            stats.unsynced += open.unsynced.len();
            stats.queued += open.queued();
            stats.queued_bytes = stats.queued_bytes.saturating_add(open.queued_bytes());
        }
        stats
    }

    /// Queues a response. A stream whose queue is full now is blocked: its unsynced watchers stop catching up.
    pub(super) fn push(&mut self, stream: StreamId, response: Response) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.push(response);
        self.woken.insert(stream);
        let full = open.is_full(&self.limits) || crate::buggify!("a watch stream counts as full");
        if !open.blocked && full {
            crate::sometimes!("a watch stream was full");
            open.blocked = true;
            for id in &open.unsynced {
                if let Some(watcher) = open.watchers.get(id) {
                    self.ready.remove(&(watcher.next, stream, *id));
                }
            }
        }
    }

    /// Makes a watcher unsynced, in need of everything from `next` on.
    pub(super) fn park(&mut self, stream: StreamId, id: WatchId, next: Revision) {
        self.leave(stream, id);
        let published = self.published;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(watcher) = open.watchers.get_mut(&id) else { return };
        assert!(next >= watcher.next, "watch {} went back from {} to {next}", id.0, watcher.next);
        assert!(next <= published, "watch {} needs {next}, which is to come, yet is unsynced", id.0);
        watcher.next = next;
        open.unsynced.insert(id);
        if !open.blocked {
            self.ready.insert((next, stream, id));
        }
    }

    /// Makes a watcher synced: live events reach it from here on.
    pub(super) fn join(&mut self, stream: StreamId, id: WatchId) {
        self.leave(stream, id);
        let published = self.published;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(watcher) = open.watchers.get_mut(&id) else { return };
        assert!(watcher.next > published, "watch {} lacks {} and would go live", id.0, watcher.next);
        let key = (watcher.range.clone(), watcher.options);
        let group_id = self.group_ids.get(&key).copied().unwrap_or_else(|| {
            self.next_group = self.next_group.saturating_add(1);
            let group_id = GroupId(self.next_group);
            let (range, options) = key.clone();
            self.index.insert(&range, group_id);
            self.groups.insert(group_id, Group { range, options, watchers: BTreeSet::new() });
            self.group_ids.insert(key, group_id);
            group_id
        });
        watcher.state = WatcherState::Synced(group_id);
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.watchers.insert((stream, id));
        }
    }

    /// Ends a watcher whose next revision is compacted.
    pub(super) fn end_compacted(&mut self, stream: StreamId, id: WatchId, compacted: Revision) {
        if self.remove(stream, id) {
            let body = Body::Compacted(compacted);
            self.push(stream, Response { watch_id: id, revision: self.published, body });
            self.recheck_progress(stream);
        }
    }

    /// Takes a watcher out of whatever set it is in, so that its state can change; it is unsynced afterwards,
    /// but in no set.
    pub(super) fn leave(&mut self, stream: StreamId, id: WatchId) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(watcher) = open.watchers.get_mut(&id) else { return };
        let WatcherState::Synced(group_id) = watcher.state else {
            self.ready.remove(&(watcher.next, stream, id));
            open.unsynced.remove(&id);
            return;
        };
        watcher.state = WatcherState::Unsynced;
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        group.watchers.remove(&(stream, id));
        if group.watchers.is_empty()
            && let Some(group) = self.groups.remove(&group_id)
        {
            self.index.remove(&group.range, group_id);
            self.group_ids.remove(&(group.range, group.options));
        }
    }

    fn remove(&mut self, stream: StreamId, id: WatchId) -> bool {
        self.leave(stream, id);
        self.streams.get_mut(&stream).is_some_and(|open| open.watchers.remove(&id).is_some())
    }

    /// The stream's watchers changed: what was learned about when it can be answered no longer holds.
    fn recheck_progress(&mut self, stream: StreamId) {
        if let Some(open) = self.streams.get_mut(&stream)
            && open.progress_asked.is_some()
        {
            open.progress_asked = Some(Revision(0));
            self.settle_progress(stream);
        }
    }

    /// Answers waiting progress requests of every stream that can be answered now.
    pub(super) fn settle_all_progress(&mut self) {
        for stream in self.asking.clone() {
            self.settle_progress(stream);
        }
    }

    /// Answers a waiting progress request if every watcher has everything up to the published revision and none
    /// starts beyond the next one: its client would go on from the answer's revision, which is too early.
    pub(super) fn settle_progress(&mut self, stream: StreamId) {
        let published = self.published;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(not_before) = open.progress_asked else { return };
        if published < not_before || open.blocked || !open.unsynced.is_empty() {
            return;
        }
        let furthest = open.watchers.values().map(|watcher| watcher.next).max();
        if let Some(furthest) = furthest.filter(|next| *next > published.next()) {
            open.progress_asked = Some(Revision(furthest.0.saturating_sub(1)));
            return;
        }
        open.progress_asked = None;
        self.asking.remove(&stream);
        self.push(stream, Response { watch_id: STREAM_ITSELF, revision: published, body: Body::Progress });
    }
}
