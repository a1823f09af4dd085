//! Locks and elections at the members that keep them: clients that go away, and what waiting costs.
//!
//! What clients are told otherwise is in `tests/real_clients/turns.rs`, where the reference is held to it, too.

use std::time::Duration;

use bytes::Bytes;
use quorate::member::{Credential, Member, TurnError};
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::v3electionpb::CampaignRequest;
use quorate::pb::v3electionpb::election_client::ElectionClient;
use quorate::pb::v3lockpb::lock_client::LockClient;
use quorate::pb::v3lockpb::{LockRequest, UnlockRequest};
use quorate::types::LeaseId;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::cluster::{Cluster, compact, put, quick, soon, until};
use crate::refusal::refused;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Keys below a name, as this member has them.
fn places(member: &Member, name: &str) -> usize {
    let state = member.replica().state();
    let (start, end) = (format!("{name}/"), format!("{name}0"));
    let range = quorate::types::KeyRange::from_wire(bytes(&start), bytes(&end));
    state.range_chunk(&range, state.revision(), None, 1_000).unwrap().found.len()
}

async fn stand(member: &Member, name: &str, count: usize) {
    until("places in line", || (places(member, name) == count).then_some(())).await;
}

fn leases(member: &Member) -> usize {
    member.replica().state().leases().iter().count()
}

fn ask(name: &str, lease: i64) -> LockRequest {
    LockRequest { name: bytes(name), lease }
}

async fn grant(channel: &Channel, id: i64) {
    let request = pb::LeaseGrantRequest { id, ttl: 600 };
    LeaseClient::new(channel.clone()).lease_grant(request).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_up() {
    let cluster = Cluster::start(1, quick()).await;
    let member = &cluster.members[0];
    let channel = cluster.connect(0).await;
    for lease in [1, 2, 3] {
        grant(&channel, lease).await;
    }
    let held = LockClient::new(channel.clone()).lock(ask("jobs", 1)).await.unwrap().into_inner().key;

    // One hangs up, one by one's deadline, one with a lease that was made for it.
    let calls = [2, 0].map(|lease| {
        let mut lock = LockClient::new(channel.clone());
        tokio::spawn(async move { lock.lock(ask("jobs", lease)).await })
    });
    stand(member, "jobs", 3).await;
    assert_eq!(leases(member), 4);
    let mut short = Request::new(ask("jobs", 3));
    short.set_timeout(Duration::from_millis(300));
    let late = soon("a deadline", LockClient::new(channel.clone()).lock(short)).await;
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&late.unwrap_err().code()));
    stand(member, "jobs", 3).await;
    for call in calls {
        call.abort();
    }
    stand(member, "jobs", 1).await;
    until("the end of the lease", || (leases(member) == 3).then_some(())).await;
    // Its own lease is the client's business: it may stand in line again.
    let mut lock = LockClient::new(channel.clone());
    let again = tokio::spawn(async move { lock.lock(ask("jobs", 2)).await });
    stand(member, "jobs", 2).await;
    LockClient::new(channel).unlock(UnlockRequest { key: held }).await.unwrap();
    soon("the lock", again).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_candidate_that_goes_away_does_not_stand_any_more() {
    let cluster = Cluster::start(3, quick()).await;
    let leader = cluster.leader().await;
    let channel = cluster.connect(0).await;
    for lease in [1, 2] {
        grant(&channel, lease).await;
    }
    let campaign = |lease: i64| CampaignRequest { name: bytes("chair"), lease, value: bytes("v") };
    ElectionClient::new(channel.clone()).campaign(campaign(1)).await.unwrap();
    let mut second = ElectionClient::new(cluster.connect(1).await);
    let waits = tokio::spawn(async move { second.campaign(campaign(2)).await });
    stand(&leader, "chair", 2).await;
    waits.abort();
    stand(&leader, "chair", 1).await;
}

#[tokio::test]
async fn a_call_that_comes_to_nothing_gives_away_only_what_it_made() {
    let cluster = Cluster::start(2, quick()).await;
    let member = cluster.leader().await;
    let (here, there) = (cluster.connect(0).await, cluster.connect(1).await);
    for lease in [1, 2] {
        grant(&here, lease).await;
    }
    let held = LockClient::new(here.clone()).lock(ask("jobs", 1)).await.unwrap().into_inner().key;
    // Two calls wait on one lease, as a client has them that lost its connection and came again elsewhere.
    let call = |channel: &Channel| {
        let mut lock = LockClient::new(channel.clone());
        tokio::spawn(async move { lock.lock(ask("jobs", 2)).await })
    };
    let first = call(&here);
    stand(&member, "jobs", 2).await;
    let written = || {
        let state = member.replica().state();
        let range = quorate::types::KeyRange::single(bytes("jobs/2"));
        state.range_chunk(&range, state.revision(), None, 1).unwrap().found[0].version
    };
    let second = call(&there);
    until("the second call", || (written() == 2).then_some(())).await;
    // The first goes away, and so does another that finds the place.
    first.abort();
    let third = call(&here);
    until("a third call", || (written() == 3).then_some(())).await;
    third.abort();
    LockClient::new(here.clone()).unlock(UnlockRequest { key: held }).await.unwrap();
    let key = soon("the lock", second).await.unwrap().unwrap().into_inner().key;
    assert_eq!(key, bytes("jobs/2"));
    // Nor does a call lose a lock that is held, whatever becomes of it.
    for _ in 0..20 {
        let again = call(&here);
        tokio::task::yield_now().await;
        again.abort();
    }
    let last = LockClient::new(there).lock(ask("jobs", 2)).await.unwrap().into_inner();
    assert_eq!((last.key, places(&member, "jobs")), (key, 1));
    let state = member.replica().state();
    let range = quorate::types::KeyRange::single(bytes("jobs/2"));
    let kept = state.range_chunk(&range, state.revision(), None, 1).unwrap().found[0].created;
    assert!(kept < state.revision(), "it is the place of the beginning");
}

#[tokio::test]
async fn one_that_ends_wakes_the_one_behind_it_and_nobody_else() {
    const WAITING: i64 = 12;
    let cluster = Cluster::start(1, quick()).await;
    let member = &cluster.members[0];
    let channel = cluster.connect(0).await;
    let mut calls = Vec::new();
    for lease in 1..=WAITING {
        grant(&channel, lease).await;
        let mut lock = LockClient::new(channel.clone());
        calls.push(tokio::spawn(async move { lock.lock(ask("jobs", lease)).await }));
        stand(member, "jobs", usize::try_from(lease).unwrap()).await;
    }
    let watchers = || member.replica().watches().with(|hub| hub.stats().watchers);
    let everyone = usize::try_from(WAITING - 1).unwrap();
    // Of the place before its own, and of its own.
    until("two watches for each that waits", || (watchers() == 2 * everyone).then_some(())).await;
    // Whoever in the middle goes leaves the others where they are.
    calls.remove(5).abort();
    stand(member, "jobs", everyone).await;
    until("two watches less", || (watchers() == 2 * (everyone - 1)).then_some(())).await;
    for (passed, call) in calls.into_iter().enumerate() {
        let key = soon("the lock", call).await.unwrap().unwrap().into_inner().key;
        let behind = everyone - 1 - passed;
        until("those behind", || (watchers() == 2 * behind).then_some(())).await;
        LockClient::new(channel.clone()).unlock(UnlockRequest { key }).await.unwrap();
    }
    assert_eq!(places(member, "jobs"), 0);
}

#[tokio::test]
async fn a_line_is_kept_through_compactions_and_a_new_leader() {
    let cluster = Cluster::start(3, quick()).await;
    let leader = cluster.leader().await;
    let other = cluster.others(&leader).pop().unwrap();
    for lease in [1, 2] {
        let granted =
            other.lease_grant(&Credential::None, LeaseId(lease), quorate::types::TtlSecs(600)).await;
        granted.unwrap().result.unwrap();
    }
    let nobody = Credential::None;
    let first = other.lock(&nobody, bytes("jobs"), LeaseId(1)).await.unwrap();
    let waits = {
        let other = other.clone();
        tokio::spawn(async move { other.lock(&Credential::None, bytes("jobs"), LeaseId(2)).await })
    };
    stand(&other, "jobs", 2).await;
    let at = put(&other, "x", "1", LeaseId::NONE).await;
    compact(&other, at).await;
    leader.stop().await;
    let rest = cluster.others(&leader);
    cluster.leader_among(&rest).await;
    assert!(!waits.is_finished());
    other.resign(&nobody, &first.place).await.unwrap();
    let turn = soon("the lock", waits).await.unwrap().unwrap();
    assert_eq!((turn.place.lease, turn.place.key), (LeaseId(2), bytes("jobs/2")));
}

#[tokio::test]
async fn a_member_that_stops_says_so_to_those_who_wait() {
    let cluster = Cluster::start(1, quick()).await;
    let member = cluster.members[0].clone();
    let channel = cluster.connect(0).await;
    let mut lock = LockClient::new(channel.clone());
    lock.lock(ask("jobs", 0)).await.unwrap();
    let waits = tokio::spawn(async move { lock.lock(ask("jobs", 0)).await });
    stand(&member, "jobs", 2).await;
    let alone = {
        let member = member.clone();
        tokio::spawn(async move { member.leaders_of(&Credential::None, bytes("chair")).next().await })
    };
    until("three watches", || {
        (member.replica().watches().with(|hub| hub.stats().watchers) == 3).then_some(())
    })
    .await;
    member.stop().await;
    let stopped = (Code::Unavailable, "etcdserver: server stopped".to_owned());
    assert_eq!(refused(soon("an answer", waits).await.unwrap()), stopped);
    let told = soon("an answer", alone).await.unwrap();
    assert!(matches!(told, Err(TurnError::Read(_))), "{told:?}");
}
