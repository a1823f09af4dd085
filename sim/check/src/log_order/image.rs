//! Images of members' states: each is the state that the log makes at one of its entries, and no other.
//!
//! - The image names the last entry that it holds. Revision, compacted revision, history and leases are those behind exactly
//!   that entry; so there is nothing in it that was not committed, and nothing of two moments.
//! - Of what lies below the compacted revision it has what that revision reads, and no more.
//! - It is no older than what the asked member had answered, in the same life, before it was asked for.
//!
//! Values, versions and revisions are compared whole. What a lease has left is not: that is not the log's alone.

use super::replay::{self, Change};
use super::{Command, broken};
use crate::bytes::Bytes;
use crate::history::{Event, EventKind, History, Image, ImageLease, KeyValue, Request};
use crate::lives::Lives;
use crate::types::{LeaseId, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// What is wrong with each image.
pub fn check(history: &History, commands: &[Command<'_>]) -> Vec<Violation> {
    let lives = Lives::new(history);
    history.images.iter().filter_map(|image| judge(history, commands, &lives, image)).collect()
}

/// What is wrong with one of them.
fn judge(history: &History, commands: &[Command<'_>], lives: &Lives<'_>, image: &Image) -> Option<Violation> {
    let held = commands.partition_point(|command| command.logged.entry.index <= image.applied);
    let held = commands.get(..held)?;
    let replayed = replay::run(held);
    // That the log itself does not fit is said elsewhere.
    if replayed.violation.is_some() {
        return None;
    }
    let wrong = differs(image, &replayed, &granted(held)).or_else(|| is_old(history, lives, image))?;
    let Image { client, member, applied, .. } = image;
    let sentence =
        format!("the image that {client} took of member {}, as of entry {applied}, {wrong}", member.id);
    Some(Violation { oracle: Oracle::Image, ..broken(sentence).at(image.revision.max(Revision::FIRST)) })
}

/// The times to live of all leases that were asked for.
fn granted(commands: &[Command<'_>]) -> BTreeMap<LeaseId, i64> {
    let grants =
        commands.iter().filter(|command| !command.logged.refused).filter_map(|command| {
            match &command.operation?.request {
                Request::LeaseGrant(grant) => Some((grant.id, grant.ttl_secs)),
                _ => None,
            }
        });
    grants.collect()
}

/// What is not as the log says.
fn differs(image: &Image, log: &replay::Replayed, granted: &BTreeMap<LeaseId, i64>) -> Option<String> {
    let Image { revision, compacted, .. } = *image;
    if revision != log.model.revision() {
        return Some(format!("goes on at revision {revision} instead of {}", log.model.revision()));
    }
    if compacted != log.model.compacted() {
        return Some(format!("was compacted at {compacted} instead of {}", log.model.compacted()));
    }
    let leases = leases_of(image);
    for lease in log.model.leases() {
        if !leases.contains_key(&lease) {
            return Some(format!("leaves out lease {lease}"));
        }
    }
    for (lease, ttl_secs) in leases {
        if !log.model.leases().any(|known| known == lease) {
            return Some(format!("has lease {lease}, which had ended or was never granted"));
        }
        if let Some(asked) = granted.get(&lease).filter(|asked| **asked > ttl_secs) {
            return Some(format!("has lease {lease} for {ttl_secs} s instead of {asked}"));
        }
    }
    history_differs(image, log)
}

fn leases_of(image: &Image) -> BTreeMap<LeaseId, i64> {
    image.leases.iter().map(|ImageLease { id, ttl_secs }| (*id, *ttl_secs)).collect()
}

/// The first change that is not as the log says.
fn history_differs(image: &Image, log: &replay::Replayed) -> Option<String> {
    let (below, above): (Vec<&Event>, Vec<&Event>) =
        image.changes.iter().partition(|event| event.kv.mod_revision <= image.compacted);
    let expected = log.changes.range(image.compacted.next()..).flat_map(|(_, Change { events, .. })| events);
    let mut found = above.into_iter();
    for expected in expected {
        let at = expected.kv.mod_revision;
        match found.next() {
            Some(found) if same(found, expected) => {}
            Some(found) => {
                let (is, instead) = (say(found), say(expected));
                return Some(format!("has {is} instead of {instead}"));
            }
            None => return Some(format!("leaves out {}, and all from revision {at} on", say(expected))),
        }
    }
    if let Some(more) = found.next() {
        return Some(format!("has {}, which the log does not have", say(more)));
    }
    read_at_compaction(image, log, below)
}

/// What the compacted revision reads: of each key its last change, and a deletion only at that very revision.
fn read_at_compaction(image: &Image, log: &replay::Replayed, below: Vec<&Event>) -> Option<String> {
    let found: BTreeMap<&Bytes, &Event> = below.iter().map(|event| (&event.kv.key, *event)).collect();
    if found.len() != below.len() {
        return Some("has a key twice below its compacted revision".to_owned());
    }
    let live: BTreeMap<Bytes, KeyValue> =
        log.model.pairs_at(image.compacted).map(|pair| (pair.key.clone(), pair)).collect();
    for (key, pair) in &live {
        match found.get(key) {
            Some(event) if event.kind == EventKind::Put && event.kv == *pair => {}
            Some(event) => {
                return Some(format!("has {} where {key} was written at {}", say(event), pair.mod_revision));
            }
            None => return Some(format!("leaves out {key}, written at {}", pair.mod_revision)),
        }
    }
    let gone = found.into_iter().find(|(key, event)| {
        let deleted_there = event.kind == EventKind::Delete && event.kv.mod_revision == image.compacted;
        !live.contains_key(*key) && !deleted_there
    });
    gone.map(|(_, event)| format!("has {}, which its compacted revision does not read", say(event)))
}

/// Of a deletion only key and revision are stored.
fn same(found: &Event, expected: &Event) -> bool {
    found.kind == expected.kind
        && match found.kind {
            EventKind::Put => found.kv == expected.kv,
            EventKind::Delete => {
                found.kv.key == expected.kv.key && found.kv.mod_revision == expected.kv.mod_revision
            }
        }
}

fn say(event: &Event) -> String {
    let KeyValue { key, mod_revision, version, lease, value, .. } = &event.kv;
    match event.kind {
        EventKind::Put => {
            format!("{key} at {mod_revision} as {value} of version {version} on lease {lease}")
        }
        EventKind::Delete => format!("the end of {key} at {mod_revision}"),
    }
}

/// What the same process had answered before.
fn is_old(history: &History, lives: &Lives<'_>, image: &Image) -> Option<String> {
    let member = image.member.id;
    let known = history.operations.iter().filter_map(|operation| {
        let (header, _) = operation.answer()?;
        let before = operation.returned < image.asked
            && header.member_id == member
            && header.revision > image.revision;
        let same_life = || lives.serving(member, operation.invoked, image.asked).is_some();
        (before && same_life()).then_some(header.revision)
    });
    let newest = known.max()?;
    Some(format!("goes on at revision {}, and the member had answered as of {newest} before", image.revision))
}
