//! The watch oracle.
//!
//! What a watch must deliver is known from the replay: every change in its range and filters from its start on, in
//! order, each revision whole, with the right previous value. What it delivered must be a beginning of that
//! (filtered, ordered, unique, atomic, reliable, resumable), its bookmarks must be true, its `created` must come
//! first, its cancel must have a reason. A watch from 0 starts above its created header, which may lag behind what
//! was acknowledged. Once all is healed, a live watch must have everything.
//!
//! It does not judge revisions that the replay could not reach.

mod delivery;
mod liveness;

use crate::bytes::Bytes;
use crate::history::{Event, History, Operation, Request, Watch};
use crate::lives::Lives;
use crate::options::Options;
use crate::revision_order::{Register, Replayed};
use crate::types::{MemberId, Nanos, Revision};
use crate::verdict::Violation;
use std::collections::BTreeMap;

/// What all watches of a history are held against.
pub(crate) struct Ground<'a, 'h> {
    history: &'h History,
    options: &'a Options,
    replayed: &'a Replayed<'h>,
    by_key: BTreeMap<&'a Bytes, Vec<&'a Event>>,
    asked: Register,
    /// The compactions that were answered, with their revisions.
    compactions: Vec<(&'h Operation, Revision)>,
    lives: Lives<'h>,
}

/// Judges every watch; at most one safety violation each, because one slip upsets all that follows.
pub fn check<'h>(history: &'h History, replayed: &Replayed<'h>, options: &Options) -> Vec<Violation> {
    let mut by_key: BTreeMap<&Bytes, Vec<&Event>> = BTreeMap::new();
    for event in replayed.events.values().flatten() {
        by_key.entry(&event.kv.key).or_default().push(event);
    }
    let ground = Ground {
        history,
        options,
        replayed,
        by_key,
        asked: Register::asked(history),
        compactions: history.operations.iter().filter_map(answered_compaction).collect(),
        lives: Lives::new(history),
    };
    let mut violations = Vec::new();
    for watch in &history.watches {
        let expected = ground.expected(watch);
        match delivery::check(&ground, watch, &expected) {
            Err(violation) => violations.push(violation),
            Ok(delivered) => violations.extend(liveness::check(&ground, watch, &expected, delivered)),
        }
        if violations.len() >= options.violations_max {
            break;
        }
    }
    violations
}

impl<'a> Ground<'a, '_> {
    /// The first revision a watch may deliver; `None` if it was never created.
    fn start(watch: &Watch) -> Option<Revision> {
        let created = watch.created()?;
        let asked = watch.create.start_revision;
        Some(if asked > Revision(0) { asked } else { created.header.revision.next() })
    }

    /// Everything the watch has to deliver, in order.
    fn expected(&self, watch: &Watch) -> Vec<&'a Event> {
        let Some(start) = Self::start(watch) else { return Vec::new() };
        if watch.create.range_end.is_empty() {
            let all = self.by_key.get(&watch.create.key).map(Vec::as_slice).unwrap_or_default();
            let wanted = |event: &&&Event| event.kv.mod_revision >= start && watch.wants(event);
            return all.iter().filter(wanted).copied().collect();
        }
        let later = self.replayed.events.range(start..).flat_map(|(_, events)| events);
        later.filter(|event| watch.wants(event)).collect()
    }

    /// The largest compaction that this very life of a member had answered before a moment.
    fn compacted_by(&self, member: MemberId, asked: Nanos, seen: Nanos) -> Revision {
        let Some(life) = self.lives.serving(member, asked, seen) else { return Revision(0) };
        let compactions = self.compactions.iter().filter(|(operation, _)| {
            operation.member.id == member
                && operation.returned < asked
                && self.lives.serving(member, operation.invoked, operation.returned) == Some(life)
        });
        compactions.map(|(_, revision)| *revision).max().unwrap_or_default()
    }
}

fn answered_compaction(operation: &Operation) -> Option<(&Operation, Revision)> {
    match &operation.request {
        Request::Compact(compact) if operation.answer().is_some() => Some((operation, compact.revision)),
        _ => None,
    }
}
