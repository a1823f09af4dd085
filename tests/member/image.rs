//! Images of the state through real gRPC: whole, while writes go on; from a learner too; a few at once; ended by a stop.

use std::time::Duration;

use bytes::Bytes;
use quorate::config::limits::IMAGES_MAX;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::storage::engine::EngineKind;
use sha2::{Digest as _, Sha256};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::cluster::{Cluster, Place, quick, soon, until};
use crate::refusal::{error, refused};
use crate::running::Running;

/// Larger than what a client and a connection hold of an image that nobody takes.
const VALUES: u8 = 60;
const VALUE_BYTES: usize = 500_000;

async fn put(kv: &mut KvClient<Channel>, key: u8, bytes: usize) -> i64 {
    let request = pb::PutRequest {
        key: Bytes::copy_from_slice(&[b'k', key]),
        value: Bytes::from(vec![key; bytes]),
        ..pb::PutRequest::default()
    };
    kv.put(request).await.unwrap().into_inner().header.unwrap().revision
}

/// A member with all values, and a connection to it.
async fn filled() -> (Cluster, Channel) {
    let cluster = Cluster::start(1, quick()).await;
    let channel = cluster.connect(0).await;
    let mut kv = KvClient::new(channel.clone());
    for key in 0..VALUES {
        put(&mut kv, key, VALUE_BYTES).await;
    }
    (cluster, channel)
}

async fn begin(channel: &Channel) -> Result<Streaming<pb::SnapshotResponse>, Status> {
    let mut maintenance = MaintenanceClient::new(channel.clone());
    Ok(maintenance.snapshot(pb::SnapshotRequest {}).await?.into_inner())
}

/// All of an image, held against what it says of itself.
async fn whole(mut pieces: Streaming<pb::SnapshotResponse>) -> Result<Vec<u8>, Status> {
    let mut image = Vec::new();
    let mut left = None;
    while let Some(piece) = pieces.message().await? {
        assert!(!piece.blob.is_empty() && piece.blob.len() <= 32 * 1024);
        assert_eq!(piece.version, "3.5.0");
        let taken = u64::try_from(piece.blob.len()).unwrap();
        let due = left.map_or(piece.remaining_bytes, |left: u64| left.saturating_sub(taken));
        assert_eq!(piece.remaining_bytes, due);
        left = Some(piece.remaining_bytes);
        image.extend_from_slice(&piece.blob);
    }
    assert_eq!(left, Some(0));
    let checksum = image.split_off(image.len() - 32);
    assert_eq!(Sha256::digest(&image).as_slice(), checksum);
    Ok(image)
}

#[tokio::test]
async fn writes_go_on_while_an_image_is_sent_and_are_no_part_of_it() {
    let (_cluster, channel) = filled().await;
    let mut kv = KvClient::new(channel.clone());
    let mut pieces = begin(&channel).await.unwrap();
    // The view is taken: what follows is later.
    let first = pieces.message().await.unwrap().unwrap();
    for key in 0..VALUES {
        put(&mut kv, key, 1).await;
    }
    let mut image = first.blob.to_vec();
    while let Some(piece) = pieces.message().await.unwrap() {
        image.extend_from_slice(&piece.blob);
    }
    let checksum = image.split_off(image.len() - 32);
    assert_eq!(Sha256::digest(&image).as_slice(), checksum);
    // Each first value is there, and the image has no room for much else.
    assert!(image.len() > usize::from(VALUES) * VALUE_BYTES);
    let later = whole(begin(&channel).await.unwrap()).await.unwrap();
    assert!(later.len() > image.len(), "the second one has the later writes too");
}

#[tokio::test]
async fn as_many_as_may_be_are_sent_at_once_and_a_stop_ends_them() {
    let (cluster, channel) = filled().await;
    let mut under_way = Vec::new();
    for _ in 0..IMAGES_MAX {
        let mut pieces = begin(&cluster.connect(0).await).await.unwrap();
        assert!(pieces.message().await.unwrap().is_some());
        under_way.push(pieces);
    }
    let too_many = error(Code::ResourceExhausted, "too many requests");
    assert_eq!(refused(begin(&channel).await.map(tonic::Response::new)), too_many);
    // Whoever goes away makes room.
    drop(under_way.pop());
    let again = soon("room for another image", async {
        loop {
            match begin(&channel).await {
                Ok(pieces) => return pieces,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    under_way.push(again.await);
    soon("the stop", cluster.members[0].stop()).await;
    for pieces in under_way {
        let ended = whole(pieces).await.unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    }
}

#[tokio::test]
async fn a_learner_gives_an_image_too() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    first.put("a").await.unwrap();
    first.add(&place, 2, true).await.unwrap();
    let learner = Running::start(place.joiner(2).await.unwrap()).await.unwrap();
    let revision = first.member.revision();
    until("the learner to catch up", || (learner.member.revision() == revision).then_some(())).await;
    let image = whole(begin(&learner.channel().await).await.unwrap()).await.unwrap();
    assert!(image.len() >= 4 * 4096);
    learner.member.stop().await;
    first.member.stop().await;
}
