//! What watchers are told is what the log's commands made.
//!
//! The watch oracle holds watches against the history that clients' answers show, and where answers are missing that
//! history rests on what was told. The log rests on nothing: an event that it does not have was made up, or belongs to
//! another revision.

use std::collections::BTreeMap;

use super::broken;
use crate::history::{Event, EventKind, History, Watch};
use crate::model::show;
use crate::types::Revision;
use crate::verdict::Violation;

/// The first event of the history, in its watches' order, that no command of the log made at its revision.
pub fn check(history: &History, changes: &BTreeMap<Revision, Vec<Event>>) -> Option<Violation> {
    history.watches.iter().find_map(|watch| {
        let mut events = watch.received.iter().flat_map(|response| &response.events);
        events.find_map(|event| made_up(watch, event, changes))
    })
}

fn made_up(watch: &Watch, event: &Event, changes: &BTreeMap<Revision, Vec<Event>>) -> Option<Violation> {
    let revision = event.kv.mod_revision;
    let made = changes.get(&revision).map_or(&[][..], Vec::as_slice);
    if made.iter().any(|made| made.kind == event.kind && made.kv == event.kv) {
        return None;
    }
    let sentence = format!(
        "watch {} was told that {} was {} at revision {revision}, which no command of the log made there",
        watch.id,
        show(&event.kv),
        if event.kind == EventKind::Put { "written" } else { "deleted" },
    );
    Some(broken(sentence).watch(watch.id).at(revision))
}
