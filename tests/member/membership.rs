//! Clusters that grow, shrink and change their leader, asked for through real gRPC.

use std::time::Duration;

use bytes::Bytes;
use quorate::env::Env;
use quorate::member::MemberConfig;
use quorate::node::{StartError, wal_dir};
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::peer::Dialer;
use quorate::peer::join::{self, JoinError, kept_place};
use quorate::storage::engine::EngineKind;
use quorate::storage::wal::{Identity, Wal, WalOptions};
use quorate::types::{ClusterId, MemberId};
use tonic::Code;

use crate::cluster::{Place, free_address, quick, until};
use crate::refusal::{error, refused};
use crate::running::{Elsewhere, Running};

/// Covers MemberPromoteResponse: header, members.
#[tokio::test]
async fn a_cluster_grows_from_one_to_three_and_shrinks_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 4, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    first.put("a").await.unwrap();

    // The second is added before it can be started, and starts by what the first tells it.
    let not_listed = place.joiner(2).await.unwrap_err().to_string();
    assert!(not_listed.contains("add this member first"), "{not_listed}");
    let added = first.add(&place, 2, false).await.unwrap();
    assert_eq!(added.members.len(), 2);
    let header = added.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.revision), (7, 1, 0));
    first.put("b").await.expect("one that has not appeared costs no quorum");
    let taken = refused(first.add(&place, 2, false).await);
    assert_eq!(
        taken,
        error(Code::FailedPrecondition, "re-configuration failed due to not enough started members")
    );
    let second = Running::start(place.joiner(2).await.unwrap()).await.unwrap();
    assert_eq!(second.id(), added.member.unwrap().id);
    second.votes().await;
    second.put("c").await.unwrap();
    let taken = refused(first.add(&place, 2, false).await);
    assert_eq!(taken, error(Code::FailedPrecondition, "Peer URLs already exists"));

    // A learner hears everything, answers little, and is promoted.
    let added = second.add(&place, 3, true).await.unwrap();
    assert!(added.member.unwrap().is_learner);
    let too_many = refused(second.add(&place, 4, true).await);
    assert_eq!(too_many, error(Code::FailedPrecondition, "too many learner members in cluster"));
    let promote = |id| pb::MemberPromoteRequest { id };
    let third_id = place.joiner(3).await.unwrap().member.0;
    let early = refused(first.cluster().await.member_promote(promote(third_id)).await);
    let not_ready = "can only promote a learner member which is in sync with leader";
    assert_eq!(early, error(Code::FailedPrecondition, not_ready));
    let third = Running::start(place.joiner(3).await.unwrap()).await.unwrap();
    let revision = first.member.revision();
    until("the learner to catch up", || (third.member.revision() == revision).then_some(())).await;
    assert_eq!(
        refused(third.put("d").await),
        error(Code::FailedPrecondition, "rpc not supported for learner")
    );
    let everything = Bytes::from_static(&[0]);
    let range = |serializable| pb::RangeRequest {
        key: everything.clone(),
        range_end: everything.clone(),
        serializable,
        ..pb::RangeRequest::default()
    };
    let mut kv = KvClient::new(third.channel().await);
    assert_eq!(kv.range(range(true)).await.unwrap().into_inner().count, 3);
    assert_eq!(refused(kv.range(range(false)).await).0, Code::FailedPrecondition);
    until("the learner's name", || {
        let state = first.member.replica().state();
        state.members().iter().find(|member| member.id.0 == third_id && !member.name.is_empty()).map(drop)
    })
    .await;
    let promoted = first.cluster().await.member_promote(promote(third_id)).await.unwrap().into_inner();
    assert!(promoted.members.len() == 3 && promoted.members.iter().all(|member| !member.is_learner));
    assert_eq!(promoted.header.unwrap().member_id, first.id());
    third.put("d").await.unwrap();
    let again = refused(first.cluster().await.member_promote(promote(third_id)).await);
    assert_eq!(again, error(Code::FailedPrecondition, "can only promote a learner member"));

    // Leadership goes where it is wanted.
    assert!(first.member.status().raft.is_leader, "nobody had a reason to take over");
    assert_eq!(refused(third.move_leader(second.id()).await), error(Code::FailedPrecondition, "not leader"));
    let stranger = refused(first.move_leader(99).await);
    assert_eq!(stranger, error(Code::FailedPrecondition, "bad leader transferee"));
    first.move_leader(second.id()).await.unwrap();
    assert!(second.member.status().raft.is_leader);
    first.put("e").await.unwrap();

    // The leader itself is removed: another leads, and it ends and cannot come back.
    let left = third.remove(second.id()).await.unwrap();
    assert_eq!(left.members.len(), 2);
    until("the removed member's end", || {
        let told = second.told.0.lock().unwrap();
        told.first().map(|why| assert!(why.contains("was removed from the cluster"), "{why}"))
    })
    .await;
    first.put("f").await.unwrap();
    assert_eq!(refused(first.remove(second.id()).await), error(Code::NotFound, "member not found"));

    first.remove(third.id()).await.unwrap();
    first.put("g").await.expect("one is a quorum again");
    let last = refused(first.remove(first.id()).await);
    assert_eq!(
        last,
        error(Code::FailedPrecondition, "re-configuration failed due to not enough started members")
    );
    let mut kv = KvClient::new(first.channel().await);
    assert_eq!(kv.range(range(false)).await.unwrap().into_inner().count, 7);
    for running in [&first, &second, &third] {
        running.member.stop().await;
    }
}

#[tokio::test]
async fn a_removed_member_that_was_away_ends_when_it_comes_back_with_its_disk_or_without() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    let away = Elsewhere::start(place.config(3));
    let mut running = Vec::new();
    for number in 1..=2 {
        running.push(Running::start(place.config(number)).await.unwrap());
    }
    running[0].knows_names(3).await;
    running[0].put("a").await.unwrap();
    away.end();
    // Without its disk it would start as a founder, and vote for whoever still counts it.
    let bare = MemberConfig { data_dir: dir.path().join("bare"), ..place.config(3) };
    let is_wiped = |refused: &StartError| match refused {
        StartError::LogLost { why, .. } => matches!(**why, StartError::Wiped { member: MemberId(3), .. }),
        _ => false,
    };
    let refused = Running::start(bare.clone()).await.err();
    assert!(refused.as_ref().is_some_and(is_wiped), "{refused:?}");
    assert!(!wal_dir(&bare.data_dir).exists(), "a log would pass for that of a member that had started");
    // Nor with a log that it made while nobody answered, and promised nothing in.
    let env = Env::real().unwrap();
    let identity = Identity { cluster: bare.cluster, member: bare.member };
    let options = WalOptions::default();
    drop(Wal::open(env.disk, &wal_dir(&bare.data_dir), identity, options, env.entropy).unwrap());
    let refused = Running::start(bare.clone()).await.err();
    assert!(refused.as_ref().is_some_and(is_wiped), "{refused:?}");
    let left = running[1].remove(3).await.unwrap();
    assert_eq!(left.members.iter().map(|member| member.id).collect::<Vec<_>>(), [1, 2]);
    running[0].put("b").await.unwrap();

    place.unlocked(3).await;
    let back = Running::start(place.config(3)).await.unwrap();
    until("the removed member's end", || {
        let told = back.told.0.lock().unwrap();
        told.first().map(|why| assert!(why.contains("was removed from the cluster"), "{why}"))
    })
    .await;
    let refused = Running::start(bare).await.err();
    assert!(matches!(refused, Some(StartError::Removed { member: MemberId(3), .. })), "{refused:?}");
    for running in running.iter().chain([&back]) {
        running.member.stop().await;
    }
}

#[tokio::test]
async fn a_member_that_moves_is_reached_at_its_new_address() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    let moving = Elsewhere::start(place.config(3));
    let mut running = Vec::new();
    for number in 1..=2 {
        running.push(Running::start(place.config(number)).await.unwrap());
    }
    running[0].knows_names(3).await;
    let address = free_address();
    let url = format!("http://{address}");
    let stranger = refused(running[0].update(99, &url).await);
    assert_eq!(stranger, error(Code::NotFound, "member not found"));
    let taken = refused(running[0].update(3, &format!("http://{}", place.addresses[0])).await);
    assert_eq!(taken, error(Code::FailedPrecondition, "Peer URLs already exists"));
    let listed = running[0].update(3, &url).await.unwrap().members;
    let moved: Vec<u64> =
        listed.iter().filter(|member| member.peer_ur_ls == [url.clone()]).map(|member| member.id).collect();
    assert_eq!((listed.len(), moved), (3, vec![3]));
    moving.end();
    running[1].put("while it is away").await.unwrap();
    let revision = running[1].member.revision();

    // Nobody listens at the old address any more: what it lacks can come to the new one alone.
    place.unlocked(3).await;
    let back = Running::start(MemberConfig { peer_listen: address, ..place.config(3) }).await.unwrap();
    until("what the moved member lacked", || (back.member.revision() == revision).then_some(())).await;
    back.put("where it is now").await.unwrap();
    for running in running.iter().chain([&back]) {
        running.member.stop().await;
    }
}

#[tokio::test]
async fn nobody_tells_a_newcomer_its_place_without_a_quorum() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    first.add(&place, 2, false).await.unwrap();
    let second = Running::start(place.joiner(2).await.unwrap()).await.unwrap();
    second.votes().await;
    let added = first.add(&place, 3, true).await.unwrap();
    assert_eq!(place.joiner(3).await.unwrap().member.0, added.member.unwrap().id);

    // What the first alone has in its list may be old.
    second.member.stop().await;
    let alone = place.joiner(3).await.unwrap_err();
    assert!(matches!(alone, JoinError::NoAnswer(_)), "{alone}");
    first.member.stop().await;
}

#[tokio::test]
async fn a_learner_tells_a_newcomer_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    first.add(&place, 2, true).await.unwrap();
    let learner = Running::start(place.joiner(2).await.unwrap()).await.unwrap();
    until("the learner's leader", || learner.member.has_leader().then_some(())).await;
    let added = first.add(&place, 3, false).await.unwrap().member.unwrap();
    let urls = |number: usize| place.config(number).members[number - 1].peer_urls.clone();
    let clock = Env::real().unwrap().clock;
    let found = join::find_place(&*clock, &Dialer::default(), &urls(2), &urls(3), Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(found.member.0, added.id, "although the learner may not have heard of it yet");
    learner.member.stop().await;
    first.member.stop().await;
}

#[tokio::test]
async fn a_newcomer_that_was_let_go_before_it_started_hears_so() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    let added = first.add(&place, 2, true).await.unwrap().member.unwrap();
    let config = place.joiner(2).await.unwrap();
    first.remove(added.id).await.unwrap();
    let data_dir = config.data_dir.clone();
    let refused = Running::start(config).await.err();
    assert!(
        matches!(refused, Some(StartError::Removed { member, .. }) if member.0 == added.id),
        "{refused:?}"
    );
    assert!(!wal_dir(&data_dir).exists(), "a log would pass for that of a member that had started");
    first.member.stop().await;
}

#[tokio::test]
async fn a_removed_member_that_knows_nobody_asks_where_the_options_say() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    let added = first.add(&place, 2, true).await.unwrap();
    let id = MemberId(added.member.unwrap().id);
    first.remove(id.0).await.unwrap();

    // Its log names it and holds nothing: it was removed before it had heard of anybody.
    let blank = MemberConfig { member: id, members: Vec::new(), joins: true, ..place.config(2) };
    let seeds = place.config(1).members[0].peer_urls.clone();
    let back = Running::start(MemberConfig { seeds, ..blank }).await.unwrap();
    until("the removed member's end", || {
        let told = back.told.0.lock().unwrap();
        told.first().map(|why| assert!(why.contains("was removed from the cluster"), "{why}"))
    })
    .await;
    back.member.stop().await;
    first.member.stop().await;
}

#[tokio::test]
async fn a_log_that_is_there_says_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 1, EngineKind::Redb, quick());
    let founder = |cluster, member| join::Place {
        cluster: ClusterId(cluster),
        member: MemberId(member),
        members: place.config(1).members,
        joins: false,
    };
    let config = place.config(1);
    let disk = Env::real().unwrap().disk;
    let kept = |founder: Option<join::Place>| {
        kept_place(&*disk, &wal_dir(&config.data_dir), founder.as_ref()).unwrap()
    };
    assert_eq!(kept(Some(founder(7, 1))), None, "there is no log yet");
    let member = Running::start(config.clone()).await.unwrap();
    member.member.stop().await;
    assert_eq!(kept(Some(founder(7, 1))), Some(founder(7, 1)), "it may not have founded anything yet");
    let joined = join::Place { members: Vec::new(), joins: true, ..founder(7, 1) };
    for other in [None, Some(founder(7, 2)), Some(founder(8, 1))] {
        assert_eq!(kept(other), Some(joined.clone()));
    }
}
