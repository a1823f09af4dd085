//! What a watch that is still live must have once all is healed and the harness has waited its bound.

use super::Ground;
use crate::history::{Event, Watch, WatchEnd};
use crate::types::Revision;
use crate::verdict::{Oracle, Violation};

/// The first thing that is due and has not come.
pub fn check(
    ground: &Ground<'_, '_>,
    watch: &Watch,
    expected: &[&Event],
    delivered: usize,
) -> Option<Violation> {
    let settled = ground.history.settled?;
    let live = watch.end == WatchEnd::Open && !watch.received.iter().any(|response| response.canceled);
    if !live || watch.invoked >= settled.at {
        return None;
    }
    let late = |what: String| {
        Some(Violation::liveness(Oracle::Watch, format!("watch {} {what}", watch.id)).watch(watch.id))
    };
    let Some(created) = watch.created() else {
        return late("was never created, though all was healed".into());
    };
    let asked = watch.create.start_revision;
    let compacted = ground.compacted_by(watch.member.id, watch.invoked, created.at);
    if asked > Revision(0) && asked < compacted {
        return late(format!(
            "asks for revision {asked} below its member's compaction to {compacted}, and was never cancelled"
        ));
    }
    if let Some(next) = expected.get(delivered)
        && next.kv.mod_revision <= settled.revision
    {
        return late(format!(
            "never delivered {} of revision {}, though all was healed and the cluster stands at {}",
            next.kv.key, next.kv.mod_revision, settled.revision
        ));
    }
    let request = watch.progress_requests.iter().find(|at| **at >= settled.healed && **at < settled.at)?;
    let mut answers =
        watch.received.iter().filter(|response| response.at >= *request && response.is_progress()).peekable();
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
