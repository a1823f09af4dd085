//! What a watch that lived through a rest must have by its end: all was healed, and the harness has waited its bound.

use super::Ground;
use crate::history::{Event, Settled, Watch};
use crate::types::Revision;
use crate::verdict::{Oracle, Violation};

/// The first thing that was due at a rest and had not come by its end.
pub fn check(
    ground: &Ground<'_, '_>,
    watch: &Watch,
    expected: &[&Event],
    delivered: usize,
) -> Option<Violation> {
    let mut rests = ground.history.settled.iter().filter(|settled| watch.lived_through(settled));
    rests.find_map(|settled| late_at(ground, settled, watch, expected, delivered))
}

fn late_at(
    ground: &Ground<'_, '_>,
    settled: &Settled,
    watch: &Watch,
    expected: &[&Event],
    delivered: usize,
) -> Option<Violation> {
    let late = |what: String| {
        Some(Violation::liveness(Oracle::Watch, format!("watch {} {what}", watch.id)).watch(watch.id))
    };
    let in_time = || watch.received.iter().filter(|response| response.at <= settled.at);
    let Some(created) = watch.created().filter(|created| created.at <= settled.at) else {
        return late("was never created, though all was healed".into());
    };
    let asked = watch.create.start_revision;
    let compacted = ground.compacted_by(watch.member.id, watch.invoked, created.at);
    if asked > Revision(0) && asked < compacted {
        return late(format!(
            "asks for revision {asked} below its member's compaction to {compacted}, and was never cancelled"
        ));
    }
    let delivered = delivered.min(in_time().map(|response| response.events.len()).sum());
    if let Some(next) = expected.get(delivered)
        && next.kv.mod_revision <= settled.revision
    {
        return late(format!(
            "never delivered {} of revision {}, though all was healed and the cluster stands at {}",
            next.kv.key, next.kv.mod_revision, settled.revision
        ));
    }
    let last = in_time().next_back();
    if let Some(piece) = last.filter(|last| last.fragment && last.header.revision <= settled.revision) {
        let revision = piece.header.revision;
        return late(format!("never finished its response of revision {revision}, though all was healed"));
    }
    // One that waits for a revision still to come has no progress to tell.
    if Ground::start(watch).is_some_and(|start| start > settled.revision.next()) {
        return None;
    }
    // An answer may be under way when the rest ends; what was asked at its beginning had all of it.
    let since = settled.healed.max(settled.still);
    let request = watch.progress_requests.iter().find(|at| **at >= since && **at < settled.at)?;
    let mut answers =
        in_time().filter(|response| response.at >= *request && response.is_progress()).peekable();
    if answers.peek().is_none() {
        return late(format!("never answered the progress request of {}", request.as_secs()));
    }
    let reached = answers.map(|answer| answer.header.revision).max().unwrap_or_default();
    if reached < settled.revision {
        return late(format!(
            "only came to revision {reached} after the progress request of {}, though all was healed and the cluster \
             stands at {}",
            request.as_secs(),
            settled.revision
        ));
    }
    None
}
