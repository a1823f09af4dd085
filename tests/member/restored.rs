//! Members on data directories that were made of an image: one cluster again, whatever is mixed up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate::env::Env;
use quorate::node::{Member, StartError};
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::restore::{Order, Origin, Restored, restore};
use quorate::storage::engine::{EngineKind, Identity};
use quorate::types::{LeaseId, Revision};
use tonic::transport::Channel;

use crate::cluster::{Cluster, Place, compact, put, quick, until};
use crate::restarts::in_a_process;
use crate::running::{Elsewhere, Running};
use crate::{NO_LEASE, grant};

/// Saves an image of what a member has applied.
async fn save(channel: Channel, file: &Path) {
    let mut pieces =
        MaintenanceClient::new(channel).snapshot(pb::SnapshotRequest {}).await.unwrap().into_inner();
    let mut image = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        image.extend_from_slice(&piece.blob);
    }
    std::fs::write(file, image).unwrap();
}

/// Every key of a range as of a revision; the error's words where that cannot be read.
async fn read(channel: &Channel, revision: i64) -> Result<Vec<pb::RangeResponse>, String> {
    let request = pb::RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        revision,
        ..pb::RangeRequest::default()
    };
    let answer =
        KvClient::new(channel.clone()).range(request).await.map_err(|status| status.message().to_owned());
    // The header tells who answered, and when.
    answer.map(|answer| vec![pb::RangeResponse { header: None, ..answer.into_inner() }])
}

/// All that can be read of a store, revision by revision.
async fn content(channel: &Channel, upto: Revision) -> Vec<Result<Vec<pb::RangeResponse>, String>> {
    let mut content = Vec::new();
    for revision in 1..=upto.0 {
        content.push(read(channel, revision).await);
    }
    content
}

/// Writes so that nothing is missing: values written over, deleted, written anew, leased; history that is compacted.
async fn fill(member: &Member) -> Revision {
    grant(member, LeaseId(77), 5_000).await;
    for round in 0..4 {
        for key in 0..10 {
            let lease = if key == 3 { LeaseId(77) } else { NO_LEASE };
            put(member, &format!("key{key}"), &format!("{round} {key}"), lease).await;
        }
        delete(member, "key5").await;
    }
    let at = member.revision();
    compact(member, Revision(at.0 - 15)).await;
    delete(member, "key6").await;
    put(member, "last", "1", NO_LEASE).await
}

async fn delete(member: &Member, key: &str) {
    use quorate::machine::command::{Command, DeleteRange};
    let range = quorate::types::KeyRange::single(Bytes::copy_from_slice(key.as_bytes()));
    let command = Command::DeleteRange(DeleteRange { range, prev_kv: false });
    let answer = member.propose_for(&quorate::node::Credential::None, command).await.unwrap();
    assert!(answer.result.is_ok(), "{:?}", answer.result);
}

/// Makes the data directory of one member of `place`.
fn make(place: &Place, number: usize, image: &Path) -> Restored {
    let config = place.config(number);
    let order = Order {
        from: Origin::Image { file: image.to_owned(), trusted: false },
        data_dir: config.data_dir.clone(),
        identity: Identity { cluster: config.cluster, member: config.member },
        members: config.members,
        bump: 0,
    };
    restore(&Env::real().unwrap(), &order).unwrap()
}

/// Images of a cluster's state, one taken after the other, and a place for a new cluster of the same size.
struct Saved {
    older: PathBuf,
    newer: PathBuf,
    /// What can be read as of the newer one.
    content: Vec<Result<Vec<pb::RangeResponse>, String>>,
    revision: Revision,
    place: Place,
    _dir: tempfile::TempDir,
}

async fn saved(count: u64) -> Saved {
    let dir = tempfile::tempdir().unwrap();
    let (older, newer) = (dir.path().join("older.db"), dir.path().join("newer.db"));
    let cluster = Cluster::start(count, quick()).await;
    let leader = cluster.leader().await;
    let channel = cluster.connect(0).await;
    fill(&leader).await;
    read(&channel, 0).await.unwrap();
    save(channel.clone(), &older).await;
    let revision = put(&leader, "key1", "the newer image has this", NO_LEASE).await;
    read(&channel, 0).await.unwrap();
    save(channel.clone(), &newer).await;
    let content = content(&channel, revision).await;
    for member in &cluster.members {
        member.stop().await;
    }
    let place = Place::new(&dir.path().join("again"), count, EngineKind::Redb, quick());
    Saved { older, newer, content, revision, place, _dir: dir }
}

/// Holds what each member serves against what the images hold.
async fn serves(cluster: &Cluster, saved: &Saved) {
    for member in 0..cluster.members.len() {
        let channel = cluster.connect(member).await;
        let found = content(&channel, saved.revision).await;
        assert_eq!(found, saved.content, "member {member}");
        assert!(found.iter().any(Result::is_err) && found.iter().any(Result::is_ok));
    }
}

async fn stop(members: &[Arc<Member>]) {
    for member in members {
        member.stop().await;
    }
}

#[test]
fn members_restored_from_one_image_are_one_cluster_with_all_that_it_held() {
    let saved = in_a_process(saved(3));
    let made: Vec<Restored> = (1..=3).map(|number| make(&saved.place, number, &saved.newer)).collect();
    assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
    assert_eq!(made[0].revision, saved.revision);
    in_a_process(async {
        let cluster = saved.place.start_all().await;
        serves(&cluster, &saved).await;
        let leader = cluster.leader().await;
        assert_eq!(leader.replica().state().lease(LeaseId(77)).map(|lease| lease.keys().len()), Some(1));
        // It goes on where the image ends, and everybody agrees.
        assert_eq!(put(&leader, "after", "1", NO_LEASE).await, saved.revision.next());
        compact(&leader, saved.revision).await;
        cluster.agreed_hash().await;
        stop(&cluster.members).await;
    });
    // A start later the log has entries of its own.
    in_a_process(async {
        let cluster = saved.place.start_all().await;
        cluster.agreed_hash().await;
        put(&*cluster.leader().await, "after", "2", NO_LEASE).await;
        stop(&cluster.members).await;
    });
}

#[tokio::test]
async fn of_two_images_the_newer_one_counts_when_most_were_restored_from_it() {
    let saved = saved(3).await;
    for (number, image) in [(1, &saved.newer), (2, &saved.older), (3, &saved.newer)] {
        make(&saved.place, number, image);
    }
    let cluster = saved.place.start_all().await;
    until("the newer image everywhere", || {
        cluster.members.iter().all(|member| member.revision() == saved.revision).then_some(())
    })
    .await;
    cluster.agreed_hash().await;
    serves(&cluster, &saved).await;
    stop(&cluster.members).await;
}

#[tokio::test]
async fn who_was_restored_from_a_newer_image_than_most_ends_and_takes_nothing_of_theirs_for_its_own() {
    let saved = saved(3).await;
    for (number, image) in [(1, &saved.older), (2, &saved.older), (3, &saved.newer)] {
        make(&saved.place, number, image);
    }
    let most = [saved.place.start(1).await.unwrap(), saved.place.start(2).await.unwrap()];
    let leads = || most.iter().find(|member| member.status().raft.is_leader);
    let leader = until("a leader", leads).await;
    for value in ["1", "2", "3"] {
        put(leader, "theirs", value, NO_LEASE).await;
    }
    let third = Running::start(saved.place.config(3)).await.unwrap();
    let said = || third.told.0.lock().unwrap().first().cloned();
    let reason = until("the contradiction", said).await;
    assert!(
        reason.starts_with("the leader's log is not the one that this member's state came from"),
        "{reason}"
    );
    assert_eq!(third.member.revision(), saved.revision, "it has applied nothing of theirs");
    put(leader, "theirs", "4", NO_LEASE).await;
    third.member.stop().await;
    stop(&most).await;
}

#[tokio::test]
async fn a_member_that_was_forgotten_is_brought_up_by_the_restored_ones() {
    let saved = saved(3).await;
    for number in [1, 2] {
        make(&saved.place, number, &saved.newer);
    }
    let cluster = saved.place.start_all().await;
    until("the state everywhere", || {
        cluster.members.iter().all(|member| member.revision() == saved.revision).then_some(())
    })
    .await;
    cluster.agreed_hash().await;
    serves(&cluster, &saved).await;
    stop(&cluster.members).await;
}

#[tokio::test]
async fn who_has_run_since_is_not_restored_under_the_others() {
    let saved = saved(3).await;
    (1..=3).for_each(|number| drop(make(&saved.place, number, &saved.newer)));
    let third = Elsewhere::start(saved.place.config(3));
    let others = [saved.place.start(1).await.unwrap(), saved.place.start(2).await.unwrap()];
    until("names", || {
        let named = |member: &Arc<Member>| {
            member.replica().state().members().iter().all(|known| !known.name.is_empty())
        };
        others.iter().all(named).then_some(())
    })
    .await;
    third.end();
    std::fs::remove_dir_all(saved.place.data_dir(3)).unwrap();
    make(&saved.place, 3, &saved.newer);
    let refused = saved.place.start(3).await.err().unwrap();
    let StartError::LogLost { why, .. } = &refused else { panic!("{refused}") };
    assert!(matches!(**why, StartError::Wiped { .. }), "{refused}");
    stop(&others).await;
}

#[tokio::test]
async fn a_directory_that_is_not_finished_starts_no_member() {
    let saved = saved(1).await;
    make(&saved.place, 1, &saved.newer);
    let unfinished = saved.place.data_dir(1).join("restoring");
    std::fs::create_dir(&unfinished).unwrap();
    let refused = saved.place.start(1).await.err().unwrap();
    assert!(matches!(refused, StartError::Unfinished { .. }), "{refused}");
    std::fs::remove_dir(&unfinished).unwrap();
    let cluster = saved.place.start_all().await;
    serves(&cluster, &saved).await;
    stop(&cluster.members).await;
}
