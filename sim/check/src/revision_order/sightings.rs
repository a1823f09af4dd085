//! What watches say, and by silence say, of each revision: used to choose between causes.
//!
//! A watch that got past a revision without an event of its range says that nothing happened there. Where nothing is
//! ambiguous the watch oracle judges this, with better words; here it only keeps the replay from a choice that a
//! watch rules out.

use crate::history::{Event, History, Watch};
use crate::types::{Revision, WatchNo};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

struct Span<'h> {
    watch: &'h Watch,
    from: Revision,
    /// It delivered everything up to here.
    passed: Revision,
    /// It lived through a rest, and had to deliver up to here by its end.
    due: Revision,
}

/// What all watches of a history say.
#[derive(Default)]
pub struct Sightings<'h> {
    events: BTreeMap<Revision, Vec<(WatchNo, &'h Event)>>,
    spans: Vec<Span<'h>>,
}

impl<'h> Sightings<'h> {
    /// Collects what the watches of a history say.
    pub fn new(history: &'h History) -> Sightings<'h> {
        let mut sightings = Sightings::default();
        for watch in &history.watches {
            sightings.note(history, watch);
        }
        sightings
    }

    fn note(&mut self, history: &History, watch: &'h Watch) {
        let Some(created) = watch.created() else { return };
        let mut passed = Revision(0);
        for response in watch.received.iter().filter(|response| !response.created && !response.canceled) {
            for event in &response.events {
                self.events.entry(event.kv.mod_revision).or_default().push((watch.id, event));
            }
            let last = response.events.last().map(|event| event.kv.mod_revision);
            let whole = match last {
                Some(last) if response.fragment => last.previous(),
                Some(last) => last,
                None => response.header.revision,
            };
            passed = passed.max(whole);
        }
        let asked = watch.create.start_revision;
        let from = if asked > Revision(0) { asked } else { created.header.revision.next() };
        let rests = history.settled.iter().filter(|settled| watch.lived_through(settled));
        let due = rests.map(|settled| settled.revision).max().unwrap_or_default();
        self.spans.push(Span { watch, from, passed, due });
    }

    /// Whether these changes may be what happened at a revision.
    pub fn agree(&self, revision: Revision, events: &[Event]) -> Result<(), Violation> {
        let nothing = Vec::new();
        let seen = self.events.get(&revision).unwrap_or(&nothing);
        // Where a watch is in these changes: what comes later stands later among them.
        let mut reached: BTreeMap<WatchNo, usize> = BTreeMap::new();
        for (watch, sighting) in seen {
            let matches = |event: &&Event| {
                event.kind == sighting.kind
                    && event.kv == sighting.kv
                    && (sighting.prev_kv.is_none() || sighting.prev_kv.as_ref() == event.previous(events))
            };
            let place = events.iter().position(|event| matches(&event));
            let otherwise = match (place, reached.get(watch)) {
                (None, _) => "otherwise",
                (Some(place), Some(before)) if place < *before => "in another order",
                (Some(place), _) => {
                    reached.insert(*watch, place);
                    continue;
                }
            };
            let what = format!("watch {watch} shows {} at revision {revision} {otherwise}", sighting.kv.key);
            return Err(Violation::safety(Oracle::Watch, what).watch(*watch).at(revision));
        }
        for span in
            self.spans.iter().filter(|span| span.from <= revision && revision <= span.passed.max(span.due))
        {
            let silent = events.iter().filter(|event| span.watch.wants(event)).find(|event| {
                !seen
                    .iter()
                    .any(|(watch, sighting)| *watch == span.watch.id && sighting.kv.key == event.kv.key)
            });
            if let Some(event) = silent {
                let id = span.watch.id;
                let what = format!("watch {id} did not show {} at revision {revision}", event.kv.key);
                let violation = if revision <= span.passed {
                    Violation::safety(Oracle::Watch, what)
                } else {
                    Violation::liveness(Oracle::Watch, what)
                };
                return Err(violation.watch(id).at(revision));
            }
        }
        Ok(())
    }
}
