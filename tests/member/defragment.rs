//! Space given back by a member that goes on serving, through real gRPC, and what is there after its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate::member::{Knobs, Member};
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::storage::defragment::DefragmentError;
use quorate::storage::engine::EngineKind;
use quorate::types::{LeaseId, Revision};
use tonic::Code;
use tonic::transport::Channel;

use crate::cluster::{Cluster, Place, compact, put, quick, soon, until};

const NO_LEASE: LeaseId = LeaseId::NONE;

async fn status(maintenance: &mut MaintenanceClient<Channel>) -> pb::StatusResponse {
    maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner()
}

async fn defragment(maintenance: &mut MaintenanceClient<Channel>) {
    let answer = maintenance.defragment(pb::DefragmentRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.header, None, "the API gives this answer no header");
}

/// Writes one key over and over, and forgets all but the last: most of the file is free then.
async fn grown(member: &Member, values: u64) {
    let mut last = Revision(0);
    for n in 0..values {
        last = put(member, &format!("k{}", n % 5), &format!("{n} ").repeat(10_000), NO_LEASE).await;
    }
    compact(member, last).await;
    member.sweep().await;
    until("the engine has taken it", || {
        let size = member.size().unwrap();
        // A file of this size has held more: so the engine has been given the sweep too, not only some of the values.
        (size.in_use_bytes < 400_000 && size.file_bytes > 3_000_000).then_some(())
    })
    .await;
}

#[tokio::test]
async fn space_comes_back_while_clients_read_and_write() {
    let cluster = Cluster::start(3, quick()).await;
    let leader = cluster.leader().await;
    grown(&leader, 150).await;
    let number = cluster.members.iter().position(|member| Arc::ptr_eq(member, &leader)).unwrap();
    let channel = cluster.connect(number).await;
    let mut maintenance = MaintenanceClient::new(channel.clone());
    let before = status(&mut maintenance).await;

    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let clients = tokio::spawn(async move {
        let mut kv = KvClient::new(channel);
        let mut written = 0_u64;
        while !*stopped.borrow_and_update() {
            let key = Bytes::from(format!("during{}", written % 50));
            let value = Bytes::from(written.to_string());
            let put = pb::PutRequest { key: key.clone(), value: value.clone(), ..pb::PutRequest::default() };
            kv.put(put).await.unwrap();
            let range = pb::RangeRequest { key, ..pb::RangeRequest::default() };
            assert_eq!(kv.range(range).await.unwrap().into_inner().kvs[0].value, value);
            written += 1;
            counted.store(written, Ordering::Relaxed);
        }
        written
    });
    // The state is small, so it may be done between two writes; but not every time.
    soon("clients that are answered meanwhile", async {
        loop {
            let before = count.load(Ordering::Relaxed);
            defragment(&mut maintenance).await;
            if count.load(Ordering::Relaxed) >= before + 3 {
                return;
            }
        }
    })
    .await;
    stop.send(true).unwrap();
    let written = soon("the clients", clients).await.unwrap();

    let after = status(&mut maintenance).await;
    assert!(after.db_size * 2 < before.db_size, "{before:?} {after:?}");
    assert!(after.db_size_in_use > 0 && after.db_size_in_use < after.db_size, "{after:?}");
    assert_eq!(
        after.header.unwrap().revision,
        before.header.unwrap().revision + i64::try_from(written).unwrap()
    );
    cluster.agreed_hash().await;
    let (_, hash) = leader.hash_kv(Revision(0)).await.unwrap();
    for member in cluster.others(&leader) {
        assert_eq!(member.hash_kv(Revision(0)).await.unwrap().1, hash, "its new file holds the same history");
    }
}

#[tokio::test]
async fn two_at_once_are_one_and_a_refusal() {
    let cluster = Cluster::start(1, quick()).await;
    let member = &cluster.members[0];
    grown(member, 100).await;
    let (first, second) = tokio::join!(member.defragment(), member.defragment());
    first.unwrap();
    assert!(matches!(second, Err(DefragmentError::UnderWay)), "{second:?}");
    member.defragment().await.unwrap();
}

#[test]
fn what_was_written_before_and_after_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(
        dir.path(),
        1,
        EngineKind::Redb,
        Knobs { snapshot_entries: 20, keep_entries: 5, ..quick() },
    );
    let in_a_process = |story: &mut dyn FnMut(&tokio::runtime::Runtime)| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        story(&runtime);
    };
    let (mut written, mut before) = (Vec::new(), 0);
    in_a_process(&mut |runtime| {
        runtime.block_on(async {
            let cluster = place.start_all().await;
            let member = &cluster.members[0];
            grown(member, 100).await;
            before = member.size().unwrap().file_bytes;
            member.defragment().await.unwrap();
            for n in 0..60 {
                let key = format!("after{n}");
                written.push((key.clone(), put(member, &key, "x", NO_LEASE).await));
            }
            until("a purged log", || member.status().raft.purged.filter(|at| at.index.0 > 120)).await;
            // It ends without a close.
        });
    });
    in_a_process(&mut |runtime| {
        runtime.block_on(async {
            let cluster = place.start_all().await;
            let mut kv = KvClient::new(cluster.connect(0).await);
            for (key, revision) in &written {
                let range = pb::RangeRequest { key: Bytes::from(key.clone()), ..pb::RangeRequest::default() };
                let found = kv.range(range).await.unwrap().into_inner();
                assert_eq!(found.kvs[0].mod_revision, revision.0, "{key}");
            }
            let range = pb::RangeRequest { key: Bytes::from("k4"), ..pb::RangeRequest::default() };
            assert_eq!(kv.range(range).await.unwrap().into_inner().kvs[0].value, "99 ".repeat(10_000));
            let after = cluster.members[0].size().unwrap().file_bytes;
            assert!(after < before / 2, "{before} bytes before, {after} after");
        });
    });
}

#[tokio::test]
async fn sled_is_refused_in_a_line_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Place::new(dir.path(), 1, EngineKind::Sled, quick()).start_all().await;
    let mut maintenance = MaintenanceClient::new(cluster.connect(0).await);
    let refused = maintenance.defragment(pb::DefragmentRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "sled cannot be written anew while it is in use");
    tokio::time::timeout(Duration::from_secs(20), put(&cluster.members[0], "k", "v", NO_LEASE))
        .await
        .unwrap();
    cluster.members[0].stop().await;
}
