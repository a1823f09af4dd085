//! The end of a run: all members run and nobody writes any more; they must come to one state and show it to everybody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_check::bytes::Bytes;
use quorate_check::history::{HashKv, Outcome, Range, Request};
use quorate_check::types::Revision;

use crate::cluster::Cluster;
use crate::load::Session;
use crate::recorder::Recorder;

/// How long the members may take to stand at one revision.
const CONVERGE_WITHIN: Duration = Duration::from_secs(30);
/// How long the observers may take to deliver it.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// How long one last question may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until every member runs, follows one leader and stands at one revision; that revision.
///
/// # Panics
/// When they do not come to that in time.
pub async fn converge(cluster: &Cluster) -> Revision {
    let start = Instant::now();
    loop {
        let standings = cluster.standings().await;
        if let Some((_, first)) = standings.first()
            && standings.len() == cluster.members().len()
            && first.leader.0 != 0
            && standings.iter().all(|(_, other)| {
                (other.leader, other.revision, other.applied) == (first.leader, first.revision, first.applied)
            })
        {
            return first.revision;
        }
        assert!(start.elapsed() < CONVERGE_WITHIN, "the members do not come to one state: {standings:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until a watch on every member has delivered this revision.
///
/// # Panics
/// When that takes too long.
pub async fn delivered(cluster: &Cluster, recorder: &Recorder, revision: Revision) {
    let start = Instant::now();
    while recorder.watches_at(revision) < cluster.members().len() {
        let seen = recorder.watches_at(revision);
        assert!(start.elapsed() < DELIVER_WITHIN, "only {seen} watches have delivered revision {revision}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// One client reads everything from one member, as the cluster has it and as the member has it, and asks for the
/// hash of all history up to `revision`. The answers go into the history; that they come is demanded here.
pub async fn last_reads(mut session: Session, revision: Revision) {
    let everything = Bytes::from(&b"\0"[..]);
    let range = Range { key: everything.clone(), range_end: everything, ..Range::default() };
    for request in [
        Request::Range(range.clone()),
        Request::Range(Range { serializable: true, ..range }),
        Request::HashKv(HashKv { revision }),
    ] {
        let outcome = session.ask(request.clone(), READ_WITHIN).await;
        assert!(
            matches!(outcome, Some(Outcome::Ok { .. })),
            "no answer to the last {}: {outcome:?}",
            request.name()
        );
    }
}

/// Everything at once, by sessions that each start at another member.
pub async fn settle(cluster: &Cluster, recorder: &Arc<Recorder>, sessions: Vec<Session>) {
    let healed = recorder.now();
    let revision = converge(cluster).await;
    delivered(cluster, recorder, revision).await;
    for session in sessions {
        last_reads(session, revision).await;
    }
    recorder.settled(healed, revision);
}
