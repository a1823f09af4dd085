//! What a member says of itself, and what alarms stop and let pass, through real gRPC.

use std::time::Duration;

use bytes::Bytes;
use quorate::member::Knobs;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::alarm_request::AlarmAction;
use quorate::pb::etcdserverpb::downgrade_request::DowngradeAction;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::etcdserverpb::request_op::Request as Op;
use quorate::storage::engine::EngineKind;
use tonic::Code;
use tonic::transport::Channel;

use crate::cluster::{Cluster, Place, quick, soon, until};
use crate::refusal::{error, refused};
use crate::running::Running;

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    pb::PutRequest { key, value, ..pb::PutRequest::default() }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..pb::RangeRequest::default() }
}

fn delete(key: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..pb::DeleteRangeRequest::default()
    }
}

fn txn(op: Op) -> pb::TxnRequest {
    pb::TxnRequest { success: vec![pb::RequestOp { request: Some(op) }], ..pb::TxnRequest::default() }
}

async fn status(cluster: &Cluster, number: usize) -> pb::StatusResponse {
    let mut maintenance = MaintenanceClient::new(cluster.connect(number).await);
    maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_member_says_what_it_is_and_how_far_it_has_come() {
    let cluster = Cluster::start(3, Knobs { quota_bytes: Some(5 << 20), ..quick() }).await;
    let leader = cluster.leader().await.config().member.0;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let written = kv.put(put("k", &"v".repeat(100_000))).await.unwrap().into_inner().header.unwrap();
    for number in 0..3 {
        // Applied here as well before its own state is asked for.
        KvClient::new(cluster.connect(number).await).range(range("k")).await.unwrap();
        // What was applied reaches the state engine a little later.
        soon("the value in the engine", async {
            while status(&cluster, number).await.db_size_in_use < 100_000 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let status = status(&cluster, number).await;
        let header = status.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id), (7, u64::try_from(number).unwrap() + 1));
        assert_eq!(header.revision, written.revision);
        assert_eq!((status.version.as_str(), status.storage_version.as_str()), ("3.7.1", "3.7.0"));
        assert_eq!((status.leader, status.raft_term), (leader, written.raft_term));
        assert!(status.raft_applied_index > 0, "{status:?}");
        assert!(status.raft_applied_index <= status.raft_index, "nothing is applied ahead: {status:?}");
        assert!(status.db_size_in_use < status.db_size, "a file holds more than its pairs: {status:?}");
        assert_eq!(status.db_size_quota, 5 << 20);
        assert!(!status.is_learner && status.errors.is_empty(), "{status:?}");
        assert_eq!(status.downgrade_info, Some(pb::DowngradeInfo::default()));
    }
    let before = status(&cluster, 0).await;
    kv.put(put("k", "w")).await.unwrap();
    let after = status(&cluster, 0).await;
    assert!(after.raft_applied_index > before.raft_applied_index, "{before:?} {after:?}");
    assert!(after.raft_index >= after.raft_applied_index);
}

#[tokio::test]
async fn a_member_without_a_leader_says_so_instead_of_failing() {
    let cluster = Cluster::start(3, quick()).await;
    let leader = cluster.leader().await;
    let last = cluster.others(&leader).pop().unwrap();
    let number = cluster.members.iter().position(|member| std::sync::Arc::ptr_eq(member, &last)).unwrap();
    until("contact with the leader", || last.has_leader().then_some(())).await;
    assert_eq!(status(&cluster, number).await.leader, leader.config().member.0);
    for member in cluster.others(&last) {
        member.stop().await;
    }
    until("the loss of the leader", || (!last.has_leader()).then_some(())).await;
    let status = status(&cluster, number).await;
    assert_eq!((status.leader, status.errors), (0, vec!["etcdserver: no leader".to_owned()]));
    assert!(status.raft_term > 0 && status.raft_applied_index > 0);
}

#[tokio::test]
async fn a_learner_says_that_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    first.add(&place, 2, true).await.unwrap();
    let second = Running::start(place.joiner(2).await.unwrap()).await.unwrap();
    until("a leader", || second.member.has_leader().then_some(())).await;
    let mut maintenance = MaintenanceClient::new(second.channel().await);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert!(status.is_learner && status.leader == first.id() && status.errors.is_empty(), "{status:?}");
    let mut maintenance = MaintenanceClient::new(first.channel().await);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert!(!status.is_learner, "{status:?}");
}

async fn alarm(
    maintenance: &mut MaintenanceClient<Channel>,
    action: AlarmAction,
    member_id: u64,
    alarm: pb::AlarmType,
) -> Vec<pb::AlarmMember> {
    let request = pb::AlarmRequest { action: action.into(), member_id, alarm: alarm.into() };
    maintenance.alarm(request).await.unwrap().into_inner().alarms
}

fn raised(member_id: u64, alarm: pb::AlarmType) -> pb::AlarmMember {
    pb::AlarmMember { member_id, alarm: alarm.into() }
}

#[tokio::test]
async fn alarms_are_raised_listed_and_cleared_by_member_and_kind() {
    use pb::AlarmType::{Corrupt, None as All, Nospace};
    let cluster = Cluster::start(3, quick()).await;
    cluster.leader().await;
    let mut one = MaintenanceClient::new(cluster.connect(0).await);
    let mut other = MaintenanceClient::new(cluster.connect(2).await);
    assert!(alarm(&mut one, AlarmAction::Get, 0, All).await.is_empty());
    assert!(alarm(&mut one, AlarmAction::Activate, 1, All).await.is_empty(), "no kind is no alarm");
    assert_eq!(alarm(&mut one, AlarmAction::Activate, 2, Nospace).await, [raised(2, Nospace)]);
    assert_eq!(alarm(&mut one, AlarmAction::Activate, 2, Nospace).await, [raised(2, Nospace)], "again");
    alarm(&mut one, AlarmAction::Activate, 3, Nospace).await;
    alarm(&mut one, AlarmAction::Activate, 1, Corrupt).await;
    let all = [raised(2, Nospace), raised(3, Nospace), raised(1, Corrupt)];
    assert_eq!(alarm(&mut other, AlarmAction::Get, 0, All).await, all, "every member knows of all");
    assert_eq!(alarm(&mut other, AlarmAction::Get, 0, Corrupt).await, [raised(1, Corrupt)]);
    let mut errors = status(&cluster, 2).await.errors;
    errors.sort();
    let want = ["memberID:1 alarm:CORRUPT ", "memberID:2 alarm:NOSPACE ", "memberID:3 alarm:NOSPACE "];
    assert_eq!(errors, want);

    assert!(alarm(&mut other, AlarmAction::Deactivate, 1, Nospace).await.is_empty(), "it raised none");
    assert_eq!(alarm(&mut other, AlarmAction::Deactivate, 2, Nospace).await, [raised(2, Nospace)]);
    assert_eq!(
        alarm(&mut one, AlarmAction::Get, 0, All).await,
        [raised(3, Nospace), raised(1, Corrupt)],
        "one is cleared, the others stand"
    );
    alarm(&mut one, AlarmAction::Activate, 2, Nospace).await;
    let cleared = alarm(&mut one, AlarmAction::Deactivate, 0, Nospace).await;
    assert_eq!(cleared, [raised(2, Nospace), raised(3, Nospace)], "member 0 is all of them");
    assert_eq!(alarm(&mut one, AlarmAction::Get, 0, All).await, [raised(1, Corrupt)]);
}

#[tokio::test]
async fn want_of_space_stops_what_takes_some_and_nothing_else() {
    let cluster = Cluster::start(1, quick()).await;
    let channel = cluster.connect(0).await;
    let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel.clone()));
    let mut maintenance = MaintenanceClient::new(channel);
    kv.put(put("a", "1")).await.unwrap();
    kv.put(put("b", "1")).await.unwrap();
    lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap();
    alarm(&mut maintenance, AlarmAction::Activate, 1, pb::AlarmType::Nospace).await;
    let no_space = error(Code::ResourceExhausted, "mvcc: database space exceeded");
    assert_eq!(refused(kv.put(put("a", "2")).await), no_space);
    assert_eq!(refused(kv.txn(txn(Op::RequestPut(put("a", "2")))).await), no_space);
    let branch = pb::TxnRequest { failure: txn(Op::RequestPut(put("a", "2"))).success, ..Default::default() };
    assert_eq!(refused(kv.txn(branch).await), no_space, "a put that will not be done counts too");
    assert_eq!(refused(lease.lease_grant(pb::LeaseGrantRequest { id: 6, ttl: 600 }).await), no_space);

    let read = kv.range(range("a")).await.unwrap().into_inner();
    assert_eq!(read.kvs[0].value, "1", "nothing of it was done");
    assert_eq!(kv.txn(txn(Op::RequestRange(range("a")))).await.unwrap().into_inner().responses.len(), 1);
    assert!(kv.txn(txn(Op::RequestDeleteRange(delete("a")))).await.unwrap().into_inner().succeeded);
    assert_eq!(kv.delete_range(delete("b")).await.unwrap().into_inner().deleted, 1);
    kv.compact(pb::CompactionRequest { revision: 4, physical: true }).await.unwrap();
    lease.lease_revoke(pb::LeaseRevokeRequest { id: 5 }).await.unwrap();
    alarm(&mut maintenance, AlarmAction::Deactivate, 1, pb::AlarmType::Nospace).await;
    kv.put(put("a", "2")).await.unwrap();
}

#[tokio::test]
async fn corruption_stops_whatever_changes_keys_or_leases_and_leaves_plain_reads() {
    let cluster = Cluster::start(1, quick()).await;
    let channel = cluster.connect(0).await;
    let (mut kv, mut lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel.clone()));
    let mut maintenance = MaintenanceClient::new(channel);
    kv.put(put("a", "1")).await.unwrap();
    kv.put(put("a", "2")).await.unwrap();
    lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap();
    alarm(&mut maintenance, AlarmAction::Activate, 1, pb::AlarmType::Corrupt).await;
    let corrupt = error(Code::DataLoss, "corrupt cluster");
    assert_eq!(refused(kv.put(put("a", "3")).await), corrupt);
    assert_eq!(refused(kv.delete_range(delete("a")).await), corrupt);
    assert_eq!(refused(kv.txn(txn(Op::RequestPut(put("a", "3")))).await), corrupt);
    assert_eq!(refused(kv.txn(txn(Op::RequestDeleteRange(delete("a")))).await), corrupt);
    assert_eq!(refused(kv.compact(pb::CompactionRequest { revision: 2, physical: false }).await), corrupt);
    assert_eq!(refused(lease.lease_grant(pb::LeaseGrantRequest { id: 6, ttl: 600 }).await), corrupt);
    assert_eq!(refused(lease.lease_revoke(pb::LeaseRevokeRequest { id: 5 }).await), corrupt);

    for serializable in [false, true] {
        let read = kv.range(pb::RangeRequest { serializable, ..range("a") }).await.unwrap().into_inner();
        assert_eq!((read.kvs[0].value.clone(), read.header.unwrap().revision), (Bytes::from("2"), 3));
    }
    let old = kv.range(pb::RangeRequest { revision: 2, ..range("a") }).await.unwrap().into_inner();
    assert_eq!(old.kvs[0].value, "1", "nothing was compacted");
    alarm(&mut maintenance, AlarmAction::Deactivate, 1, pb::AlarmType::Corrupt).await;
    kv.put(put("a", "3")).await.unwrap();
    lease.lease_revoke(pb::LeaseRevokeRequest { id: 5 }).await.unwrap();
}

async fn downgrade(
    maintenance: &mut MaintenanceClient<Channel>,
    action: DowngradeAction,
    version: &str,
) -> Result<pb::DowngradeResponse, tonic::Status> {
    let request = pb::DowngradeRequest { action: action.into(), version: version.to_owned() };
    maintenance.downgrade(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_cluster_is_prepared_for_the_level_below_and_for_no_other() {
    use DowngradeAction::{Cancel, Enable, Validate};
    let cluster = Cluster::start(3, quick()).await;
    cluster.leader().await;
    // Who the members are must be known before anybody can say of what level they are.
    until("the member list", || {
        let known = |member: &std::sync::Arc<quorate::member::Member>| {
            member.replica().state().members().is_bootstrapped()
        };
        cluster.members.iter().all(known).then_some(())
    })
    .await;
    let mut one = MaintenanceClient::new(cluster.connect(0).await);
    let mut other = MaintenanceClient::new(cluster.connect(2).await);
    let invalid = |text| error(Code::InvalidArgument, text);
    let failed = |text| error(Code::FailedPrecondition, text);
    for action in [Validate, Enable] {
        for version in ["", "3", "x", "3.6.0.1", "v3.6"] {
            let wrong = invalid("wrong downgrade target version format");
            assert_eq!(refused(downgrade(&mut one, action, version).await), wrong, "{version:?}");
        }
        for version in ["3.7.0", "3.8.0", "3.5.0", "2.6.0", "3.4"] {
            let wrong = invalid("invalid downgrade target version");
            assert_eq!(refused(downgrade(&mut one, action, version).await), wrong, "{version:?}");
        }
    }
    assert_eq!(refused(downgrade(&mut one, Cancel, "").await), failed("no inflight downgrade job"));
    for version in ["3.6.0", "3.6", "3.6.9"] {
        let answer = downgrade(&mut one, Validate, version).await.unwrap();
        assert_eq!((answer.version.as_str(), answer.header.unwrap().member_id), ("3.7.0", 1), "{version:?}");
    }
    let nothing = Some(pb::DowngradeInfo::default());
    assert_eq!(status(&cluster, 0).await.downgrade_info, nothing, "to ask is not to do");

    assert_eq!(downgrade(&mut one, Enable, "3.6.0").await.unwrap().version, "3.7.0");
    let busy = failed("cluster has a downgrade job in progress");
    assert_eq!(refused(downgrade(&mut other, Enable, "3.6.0").await), busy);
    assert_eq!(refused(downgrade(&mut other, Validate, "3.6.0").await), busy);
    for number in 0..3 {
        KvClient::new(cluster.connect(number).await).range(range("k")).await.unwrap();
        let info = status(&cluster, number).await.downgrade_info.unwrap();
        assert_eq!((info.enabled, info.target_version.as_str()), (true, "3.6.0"), "every member knows of it");
    }
    KvClient::new(cluster.connect(0).await).put(put("k", "v")).await.unwrap();
    assert_eq!(downgrade(&mut other, Cancel, "").await.unwrap().version, "3.7.0");
    assert_eq!(status(&cluster, 2).await.downgrade_info, nothing);
    assert_eq!(refused(downgrade(&mut one, Cancel, "").await), failed("no inflight downgrade job"));
    let unknown = pb::DowngradeRequest { action: 9, version: String::new() };
    assert_eq!(refused(one.downgrade(unknown).await), error(Code::Unknown, "unknown method"));
}
