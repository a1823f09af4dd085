//! Real members in one process, through the same start as production: what watches deliver, how leases live, and
//! what clients of the API are told (`api`, at a member's limits `limits`, of its state `maintenance`), how clusters change
//! (`membership`), what each engine brings back after an end of any kind (`restarts`), what starts on a restored image
//! (`restored`), what becomes of members whose disks have lost something (`repair`),
//! or whose places are others' by now (`replaced`), and those who wait for locks (`turns`).

#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that meets the unexpected fails"
)]

mod api;
mod auth;
mod cluster;
mod corruption;
mod defragment;
mod image;
mod limits;
mod maintenance;
mod membership;
mod raw;
mod refusal;
mod repair;
mod replaced;
mod restarts;
mod restored;
mod running;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Cluster, all_keys, compact, events, put, quick, responses, soon, until};
use quorate::machine::command::{Answer, CommandError, Reply};
use quorate::machine::watch::{Body, CatchUpBudget, EventOptions, WatchLimits};
use quorate::node::{Credential, Knobs, Member};
use quorate::types::{LeaseId, Revision, TtlSecs, WatchId};

const NO_LEASE: LeaseId = LeaseId::NONE;

async fn grant(member: &Member, id: LeaseId, ttl: i64) -> (LeaseId, TtlSecs) {
    match member.lease_grant(&Credential::None, id, TtlSecs(ttl)).await.unwrap() {
        Answer { result: Ok(Reply::LeaseGrant { id, ttl }), .. } => (id, ttl),
        other => panic!("no lease: {other:?}"),
    }
}

/// Watch limits so small that everything is chopped up.
fn cramped() -> Knobs {
    let limits = WatchLimits {
        queue_responses_max: 4,
        scan_chunk_records: 2,
        message_revisions_max: 5,
        short_scan_revisions: 2,
        ..WatchLimits::default()
    };
    Knobs { watch_limits: limits, watch_catch_up: CatchUpBudget { records: 3, bytes: 1 << 20 }, ..quick() }
}

#[tokio::test]
async fn a_watch_gets_history_then_live_events_each_once() {
    let cluster = Cluster::start(1, cramped()).await;
    let member = &cluster.members[0];
    let mut expected = Vec::new();
    for n in 0..40 {
        let at = put(member, "a", &n.to_string(), NO_LEASE).await;
        expected.push(format!("a={n}@{at}"));
    }
    let stream = member.watch();
    stream.create(all_keys(Revision(2)));
    // The reader is slow at first: the queue fills, the watch falls behind and goes on from history.
    for n in 40..60 {
        let at = put(member, "a", &n.to_string(), NO_LEASE).await;
        expected.push(format!("a={n}@{at}"));
    }
    stream.request_progress();
    let is_progress = |body: &Body| matches!(body, Body::Progress);
    let found = responses(&stream, |found| found.iter().any(|response| is_progress(&response.body))).await;
    assert_eq!(found[0].body, Body::Created);
    assert_eq!(events(&found), expected);
    let last = found.last().unwrap();
    assert!(is_progress(&last.body) && last.watch_id == WatchId(-1), "progress comes last: {last:?}");
    assert_eq!(last.revision, member.status().revision);

    let live = put(member, "b", "live", NO_LEASE).await;
    let found = responses(&stream, |found| !found.is_empty()).await;
    assert_eq!(events(&found), [format!("b=live@{live}")]);
    stream.cancel(WatchId(0));
    let found = responses(&stream, |found| !found.is_empty()).await;
    assert_eq!(found[0].body, Body::Canceled);
}

#[tokio::test]
async fn a_watch_below_the_compacted_revision_is_canceled_and_one_at_it_is_whole() {
    let cluster = Cluster::start(1, cramped()).await;
    let member = &cluster.members[0];
    let mut expected = Vec::new();
    for n in 0..30 {
        let at = put(member, &format!("k{}", n % 3), &n.to_string(), NO_LEASE).await;
        if at >= Revision(20) {
            expected.push(format!("k{}={n}@{at}", n % 3));
        }
    }
    compact(member, Revision(20)).await;
    let stream = member.watch();
    stream.create(all_keys(Revision(19)));
    let found = responses(&stream, |found| found.len() >= 2).await;
    assert_eq!(found[0].body, Body::Created);
    assert_eq!(found[1].body, Body::Compacted(Revision(20)));
    let from_it = all_keys(Revision(20));
    stream.create(from_it.clone());
    let found = responses(&stream, |found| events(found).len() >= expected.len()).await;
    assert_eq!(events(&found), expected);

    // Previous values: absent where the revision before is compacted, else what stood there.
    let options = EventOptions { prev_kv: true, ..EventOptions::default() };
    let stream = member.watch();
    stream.create(quorate::machine::watch::WatchSpec { options, ..from_it });
    let found = responses(&stream, |found| events(found).len() >= expected.len()).await;
    let sets = found.iter().filter_map(|response| match &response.body {
        Body::Events { set, .. } => Some(set.clone()),
        _ => None,
    });
    let previous: Vec<_> = sets
        .flat_map(|set| set.events().to_vec())
        .map(|event| event.prev_kv.map(|kv| kv.mod_revision.0))
        .collect();
    assert_eq!(previous[0], None);
    let rest: Vec<_> = (21..).map(|at| Some(at - 3)).take(previous.len() - 1).collect();
    assert_eq!(previous[1..], rest[..]);
}

/// Watches that race with compaction: each either gets every event from its start on, in order, or is told
/// after a gapless part that the rest is compacted.
#[tokio::test]
async fn compaction_under_a_watch_that_catches_up_never_makes_a_gap() {
    let cluster = Cluster::start(1, cramped()).await;
    let member = &cluster.members[0];
    let mut last = Revision(1);
    for n in 0..300 {
        last = put(member, "a", &n.to_string(), NO_LEASE).await;
    }
    let mut canceled = 0;
    for target in [60, 120, 180, 240, 300] {
        let stream = member.watch();
        let from = Revision(target - 50);
        stream.create(all_keys(from));
        compact(member, Revision(target)).await;
        let ended = |body: &Body| matches!(body, Body::Compacted(_));
        let found = responses(&stream, |found| {
            found.iter().any(|response| ended(&response.body))
                || events(found).last().is_some_and(|event| event.ends_with(&format!("@{last}")))
        })
        .await;
        canceled += usize::from(found.iter().any(|response| ended(&response.body)));
        let revisions: Vec<i64> =
            events(&found).iter().map(|event| event.split_once('@').unwrap().1.parse().unwrap()).collect();
        let gapless: Vec<i64> = (from.0..).take(revisions.len()).collect();
        assert_eq!(revisions, gapless, "from {from}");
    }
    assert!(canceled > 0, "no watch met a compaction");
}

#[tokio::test]
async fn a_lease_lives_while_it_is_kept_alive_and_takes_its_keys_along() {
    let cluster = Cluster::start(1, quick()).await;
    let member = &cluster.members[0];
    let (shortest, ttl) = grant(member, NO_LEASE, 0).await;
    assert!(shortest.0 > 0);
    assert_eq!(ttl, TtlSecs(1), "one and a half election timeouts, in whole seconds");
    let (id, ttl) = grant(member, NO_LEASE, 3).await;
    let again = member.lease_grant(&Credential::None, id, TtlSecs(5)).await.unwrap();
    assert_eq!(again.result, Err(CommandError::LeaseExists));
    let endless = member.lease_grant(&Credential::None, NO_LEASE, TtlSecs(9_000_000_001)).await.unwrap();
    assert_eq!(endless.result, Err(CommandError::LeaseTtlTooLarge));

    let stream = member.watch();
    stream.create(all_keys(Revision(0)));
    put(member, "x", "1", id).await;
    put(member, "y", "1", id).await;
    let life = member.lease_time_to_live(&Credential::None, id, true).await.unwrap().unwrap().unwrap();
    assert_eq!((life.granted, life.keys), (ttl, vec!["x".into(), "y".into()]));
    assert!(member.leases(&Credential::None).await.unwrap().unwrap().contains(&id));

    let begun = Instant::now();
    let mut kept = begun;
    while begun.elapsed() < Duration::from_secs(4) {
        kept = Instant::now();
        assert_eq!(member.lease_keep_alive(&Credential::None, id).await.unwrap(), Ok(ttl));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = responses(&stream, |found| events(found).iter().any(|event| event.starts_with('-'))).await;
    assert!(kept.elapsed() >= Duration::from_secs(3), "expired {:?} after the keep-alive", kept.elapsed());
    assert_eq!(events(&found), ["x=1@2", "y=1@3", "-x@4", "-y@4"]);
    assert_eq!(member.lease_keep_alive(&Credential::None, id).await.unwrap(), Ok(TtlSecs(0)));
    assert_eq!(member.lease_time_to_live(&Credential::None, id, true).await.unwrap(), Ok(None));
    assert!(member.leases(&Credential::None).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn revoking_ends_a_lease_at_once_and_its_id_may_be_used_again() {
    let cluster = Cluster::start(1, quick()).await;
    let member = &cluster.members[0];
    let id = LeaseId(77);
    grant(member, id, 600).await;
    put(member, "x", "1", id).await;
    let revoked = member.lease_revoke(&Credential::None, id).await.unwrap();
    assert_eq!(revoked.result, Ok(Reply::LeaseRevoke { deleted: 1 }));
    let missing = member.lease_revoke(&Credential::None, id).await.unwrap();
    assert_eq!(missing.result, Err(CommandError::LeaseNotFound));
    grant(member, id, 300).await;
    let life = member.lease_time_to_live(&Credential::None, id, true).await.unwrap().unwrap().unwrap();
    assert_eq!((life.granted, life.keys.len()), (TtlSecs(300), 0));
    assert!((200..=300).contains(&life.remaining.0), "the first life's deadline is gone: {life:?}");
}

#[tokio::test]
async fn a_checkpointed_remainder_is_cleared_by_the_next_keep_alive() {
    let knobs = Knobs { lease_checkpoint_interval: Duration::from_millis(100), ..quick() };
    let cluster = Cluster::start(1, knobs).await;
    let member = &cluster.members[0];
    let (id, _) = grant(member, NO_LEASE, 60).await;
    let remaining = || member.replica().state().lease(id).and_then(|lease| lease.remaining);
    until("a checkpoint", || remaining().filter(|left| *left < TtlSecs(60))).await;
    assert_eq!(member.lease_keep_alive(&Credential::None, id).await.unwrap(), Ok(TtlSecs(60)));
    // The keep-alive was answered after the reset was applied; the next checkpoint is a tenth of the TTL away.
    assert_eq!(remaining(), None);
}

#[tokio::test]
async fn three_members_serve_watches_and_leases_alike_and_outlive_their_leader() {
    let cluster = Cluster::start(3, quick()).await;
    let leader = cluster.leader().await;
    let others = cluster.others(&leader);
    let streams: Vec<_> = others.iter().map(|member| member.watch()).collect();
    for stream in &streams {
        stream.create(all_keys(Revision(0)));
    }
    // All through one follower: the grant, the keys, the keep-alive, the question.
    let (id, ttl) = grant(&others[0], NO_LEASE, 5).await;
    put(&others[0], "x", "1", id).await;
    put(&others[0], "y", "1", id).await;
    assert_eq!(others[1].lease_keep_alive(&Credential::None, id).await.unwrap(), Ok(ttl));
    assert_eq!(
        others[1].lease_keep_alive(&Credential::None, LeaseId(id.0 ^ 1)).await.unwrap(),
        Ok(TtlSecs(0))
    );
    let life = others[1].lease_time_to_live(&Credential::None, id, true).await.unwrap().unwrap().unwrap();
    assert_eq!((life.granted, life.keys.len()), (ttl, 2));
    assert!((2..=5).contains(&life.remaining.0), "{life:?}");

    leader.stop().await;
    let kept = Instant::now();
    let renewed =
        soon("a keep-alive at the new leader", others[0].lease_keep_alive(&Credential::None, id)).await;
    assert_eq!(renewed, Ok(Ok(ttl)), "the lease outlives its leader");
    let next = cluster.leader_among(&others).await;
    assert!(!Arc::ptr_eq(&next, &leader));

    let mut seen = Vec::new();
    for stream in &streams {
        let found = responses(stream, |found| events(found).iter().any(|event| event.starts_with('-'))).await;
        seen.push(events(&found));
    }
    assert!(kept.elapsed() >= Duration::from_secs(5), "expired {:?} after the keep-alive", kept.elapsed());
    assert_eq!(seen[0], ["x=1@2", "y=1@3", "-x@4", "-y@4"]);
    assert_eq!(seen[0], seen[1], "the keys vanish at one revision everywhere");
    assert_eq!(others[1].lease_time_to_live(&Credential::None, id, false).await.unwrap(), Ok(None));
}
