//! What is told without the log is what its commands made: to watchers, to readers, and to who stands in line for a lock.
//!
//! Other oracles hold watches and reads against the history that clients' answers show, and where answers are missing
//! that history rests on what was told. The log rests on nothing: what it does not have was made up, or belongs to
//! another revision. Whether it was told in time, and all of it, is for the others to say.

use super::broken;
use super::replay::Replayed;
use crate::history::{Contender, Event, EventKind, History, Operation, Request, Watch};
use crate::model::show;
use crate::verdict::Violation;

/// The first watch event, the first read and the first grant that the log has otherwise.
pub fn check(history: &History, replayed: &Replayed) -> Vec<Violation> {
    let mut events = history.watches.iter().flat_map(|watch| {
        watch.received.iter().flat_map(|response| &response.events).map(move |event| (watch, event))
    });
    let event = events.find_map(|(watch, event)| wrong_event(watch, event, replayed));
    let read = history.operations.iter().find_map(|operation| wrong_read(operation, replayed));
    let grant = history.contenders.iter().find_map(|contender| wrong_grant(contender, replayed));
    event.into_iter().chain(read).chain(grant).collect()
}

fn wrong_event(watch: &Watch, event: &Event, replayed: &Replayed) -> Option<Violation> {
    let revision = event.kv.mod_revision;
    let made = replayed.changes.get(&revision).map_or(&[][..], |change| &change.events);
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

/// A range answers what there is at the revision of its header, or at the one it names. Transactions that only read are
/// not judged here.
fn wrong_read(operation: &Operation, replayed: &Replayed) -> Option<Violation> {
    let Request::Range(range) = &operation.request else { return None };
    let (header, response) = operation.answer()?;
    let expected = replayed.model.range(range, header.revision).ok()?;
    let what = expected.compare(response).err()?;
    let sentence = format!("range {} does not show what the log's commands made: {what}", operation.id);
    Some(broken(sentence).operation(operation.id).at(header.revision))
}

/// Who is granted a lock has the key below its prefix that was created first, as of the revision that shows it.
fn wrong_grant(contender: &Contender, replayed: &Replayed) -> Option<Violation> {
    let Contender { client, prefix, key, granted, .. } = contender;
    let revision = granted.filter(|granted| granted.revision <= replayed.model.revision())?.revision;
    let in_line = replayed.model.pairs_at(revision);
    let in_line = in_line.filter(|pair| pair.key.as_slice().starts_with(prefix.as_slice()));
    let holder = in_line.min_by_key(|pair| pair.create_revision);
    if holder.as_ref().is_some_and(|holder| holder.key == *key) {
        return None;
    }
    let holds = holder.map_or("nobody".to_owned(), |holder| holder.key.to_string());
    let sentence =
        format!("{key} of {client} was granted at revision {revision}, where by the log {holds} holds");
    Some(broken(sentence).at(revision))
}
