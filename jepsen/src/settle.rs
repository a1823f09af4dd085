//! The end of a run: all members run and nobody writes any more; they must come to one state and show it to everybody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_check::bytes::Bytes;
use quorate_check::history::{HashKv, Outcome, Range, Request};
use quorate_check::types::Revision;

use crate::cluster::Cluster;
use crate::load::Session;
use crate::recorder::Recorder;

/// Something due that did not come in time, in one sentence.
pub type Late = String;

/// How long the members may take to stand at one revision.
const CONVERGE_WITHIN: Duration = Duration::from_secs(30);
/// How long the observers may take to deliver it.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// How long one last question may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until every member runs, follows one leader and stands at one revision; that revision.
///
/// # Errors
/// They do not come to that in time.
pub async fn converge(cluster: &Cluster) -> Result<Revision, Late> {
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
            return Ok(first.revision);
        }
        if start.elapsed() >= CONVERGE_WITHIN {
            return Err(format!("the members do not come to one state: {standings:?}"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until a watch on every member has delivered this revision.
///
/// # Errors
/// That takes too long.
pub async fn delivered(cluster: &Cluster, recorder: &Recorder, revision: Revision) -> Result<(), Late> {
    let start = Instant::now();
    while recorder.watches_at(revision) < cluster.members().len() {
        if start.elapsed() >= DELIVER_WITHIN {
            let seen = recorder.watches_at(revision);
            return Err(format!("only {seen} watches have delivered revision {revision}"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// One client reads everything from one member, as the cluster has it and as the member has it, and asks for the
/// hash of all history up to `revision`. The answers go into the history.
///
/// # Errors
/// One does not come.
pub async fn last_reads(mut session: Session, revision: Revision) -> Result<(), Late> {
    let everything = Bytes::from(&b"\0"[..]);
    let range = Range { key: everything.clone(), range_end: everything, ..Range::default() };
    for request in [
        Request::Range(range.clone()),
        Request::Range(Range { serializable: true, ..range }),
        Request::HashKv(HashKv { revision }),
    ] {
        let outcome = session.ask(request.clone(), READ_WITHIN).await;
        if !matches!(outcome, Some(Outcome::Ok { .. })) {
            return Err(format!("no answer to the last {}: {outcome:?}", request.name()));
        }
    }
    Ok(())
}

/// All of it: the members come to one state, the observers deliver it, and each session reads it. Reads are asked even
/// of members that differ, so that the history shows how.
///
/// # Errors
/// The first of them that is not there in time.
pub async fn settle(cluster: &Cluster, recorder: &Arc<Recorder>, sessions: Vec<Session>) -> Result<(), Late> {
    let healed = recorder.now();
    let converged = converge(cluster).await;
    let still = recorder.now();
    let revision = converged.as_ref().map_or_else(|_| recorder.newest(), |revision| *revision);
    let mut late = converged.map(|_| ());
    if late.is_ok() {
        late = delivered(cluster, recorder, revision).await;
    }
    for session in sessions {
        late = late.and(last_reads(session, revision).await);
    }
    recorder.settled(healed, still, revision);
    late
}
