//! Live delivery: events of the batches just applied, to the watchers that are synced.
//!
//! Events are matched once per distinct group of watchers, previous values are looked up once per event, and
//! every watcher of a group is given the same set. A watcher on a stream without room turns unsynced and
//! remembers the first revision that it was refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::command::KeyValue;
use crate::machine::effects::{Event, RecordsError};
use crate::machine::watch::Previous;
use crate::machine::watch::event_set::{EventSet, WatchEvent};
use crate::machine::watch::hub::Hub;
use crate::machine::watch::range_index::GroupId;
use crate::machine::watch::response::{Body, Response};
use crate::machine::watch::spec::StreamId;
use crate::types::{Revision, WatchId};

impl Hub {
    /// Delivers `events`, all those of the revisions above [`Hub::published`] up to `revision`, in order.
    ///
    /// # Errors
    /// What `previous` answers; nothing was delivered then, and the caller must stop.
    pub fn publish(
        &mut self,
        events: &[Event],
        revision: Revision,
        previous: &dyn Previous,
    ) -> Result<(), RecordsError> {
        let mut last = self.published.next();
        for event in events {
            let at = event.revision();
            assert!(at >= last && at <= revision, "event of revision {at} outside {last}..={revision}");
            last = at;
        }
        let sets = self.match_groups(events, previous)?;
        self.published = self.published.max(revision);
        for (group_id, set) in sets {
            let Some(group) = self.groups.get(&group_id) else { continue };
            for (stream, id) in group.watchers.iter().copied().collect::<Vec<_>>() {
                self.offer(stream, id, &set);
            }
        }
        self.settle_all_progress();
        Ok(())
    }

    /// What each group is to receive. Groups that receive nothing are absent.
    fn match_groups(
        &self,
        events: &[Event],
        previous: &dyn Previous,
    ) -> Result<Vec<(GroupId, Arc<EventSet>)>, RecordsError> {
        let mut matched: BTreeMap<GroupId, Vec<WatchEvent>> = BTreeMap::new();
        let mut found = Vec::new();
        for event in events {
            found.clear();
            self.index.stab(event.key(), &mut found);
            let mut looked_up: Option<Option<KeyValue>> = None;
            for group_id in &found {
                let Some(group) = self.groups.get(group_id) else { continue };
                if !group.options.filters.pass(event) {
                    continue;
                }
                let prev_kv = match (group.options.prev_kv, &looked_up) {
                    (false, _) => None,
                    (true, Some(prev_kv)) => prev_kv.clone(),
                    (true, None) => looked_up.insert(before(event, previous)?).clone(),
                };
                matched.entry(*group_id).or_default().push(WatchEvent { event: event.clone(), prev_kv });
            }
        }
        let sets = matched.into_iter();
        Ok(sets.filter_map(|(id, events)| Some((id, Arc::new(EventSet::new(events)?)))).collect())
    }

    /// Queues a set for one synced watcher, or turns the watcher unsynced for want of room.
    fn offer(&mut self, stream: StreamId, id: WatchId, set: &Arc<EventSet>) {
        let published = self.published;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(watcher) = open.watchers.get_mut(&id) else { return };
        // A watch from a revision within this set gets what is left of it.
        // The planted bug thinks in whole sets.
        let whole = set.last() >= watcher.next && crate::mutant!("watch-future-start-gets-earlier-events");
        let set = if set.first() >= watcher.next || whole {
            Arc::clone(set)
        } else {
            let Some(rest) = set.since(watcher.next) else { return };
            Arc::new(rest)
        };
        if open.blocked {
            crate::sometimes!("watcher turned unsynced");
            // The planted bug remembers the end of what was refused, not its beginning.
            let refused =
                if crate::mutant!("watch-event-lost-when-unsynced") { set.last() } else { set.first() };
            self.park(stream, id, refused);
            return;
        }
        watcher.next = published.next();
        watcher.quiet = false;
        let body = Body::Events { set, may_fragment: watcher.fragment, more: false };
        self.push(stream, Response { watch_id: id, revision: published, body });
    }
}

/// The key-value that an event replaced. A first version replaced nothing.
pub(super) fn before(event: &Event, previous: &dyn Previous) -> Result<Option<KeyValue>, RecordsError> {
    match event {
        Event::Put(kv) if kv.version <= 1 => Ok(None),
        _ => previous.previous(event.key(), Revision(event.revision().0.saturating_sub(1))),
    }
}
