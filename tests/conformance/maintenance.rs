//! Care of a running cluster.

use bytes::Bytes;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::alarm_request::AlarmAction;
use quorate::pb::etcdserverpb::downgrade_request::DowngradeAction;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::server::{Served, bytes, error, refused};

/// Covers Maintenance/Alarm; AlarmRequest: action, memberID, alarm; AlarmResponse: header, alarms;
/// AlarmMember: memberID, alarm; AlarmType: NONE, NOSPACE, CORRUPT; AlarmRequest.AlarmAction: GET, ACTIVATE, DEACTIVATE.
#[tokio::test]
async fn an_alarm_is_raised_felt_and_cleared() {
    use pb::AlarmType;
    let served = Served::start().await;
    let alarm = async |action: AlarmAction, alarm: AlarmType| {
        let request = pb::AlarmRequest { action: action.into(), member_id: served.id(), alarm: alarm.into() };
        let answer = served.maintenance().alarm(request).await.unwrap().into_inner();
        let header = answer.header.expect("every answer has a header");
        assert_eq!(header.member_id, served.id());
        answer.alarms
    };
    let of = |kind: AlarmType| pb::AlarmMember { member_id: served.id(), alarm: kind.into() };
    assert_eq!(alarm(AlarmAction::Get, AlarmType::None).await, []);
    let put = async || {
        let request = pb::PutRequest { key: bytes("k"), ..pb::PutRequest::default() };
        served.kv().put(request).await
    };
    for (kind, code, text) in [
        (AlarmType::Nospace, Code::ResourceExhausted, "mvcc: database space exceeded"),
        (AlarmType::Corrupt, Code::DataLoss, "corrupt cluster"),
    ] {
        assert_eq!(alarm(AlarmAction::Activate, kind).await, [of(kind)]);
        assert_eq!(alarm(AlarmAction::Get, AlarmType::None).await, [of(kind)]);
        assert_eq!(refused(put().await), error(code, text));
        assert_eq!(alarm(AlarmAction::Deactivate, kind).await, [of(kind)]);
        put().await.unwrap();
    }
    assert_eq!(alarm(AlarmAction::Get, AlarmType::None).await, []);
}

/// Covers Maintenance/Status; StatusResponse: header, version, dbSize, leader, raftIndex, raftTerm, raftAppliedIndex, errors,
/// dbSizeInUse, isLearner, storageVersion, dbSizeQuota, downgradeInfo; DowngradeInfo: enabled, targetVersion.
#[tokio::test]
async fn a_member_says_how_it_stands() {
    let served = Served::start().await;
    served.put("k", "v").await;
    let status = served.maintenance().status(pb::StatusRequest {}).await.unwrap().into_inner();
    let header = status.header.unwrap();
    assert_eq!((served.revision(status.header), status.leader), (2, served.id()));
    assert_eq!(status.raft_term, header.raft_term);
    assert!(status.version.starts_with("3.") && status.version.split('.').count() == 3, "{status:?}");
    assert!(
        status.db_size > 0 && status.db_size_in_use > 0 && status.db_size_in_use <= status.db_size,
        "{status:?}"
    );
    assert!(status.raft_applied_index > 0 && status.raft_applied_index <= status.raft_index, "{status:?}");
    assert!(!status.is_learner && status.errors.is_empty(), "{status:?}");
    if served.speaks(6) {
        assert!(status.storage_version.starts_with("3."), "{status:?}");
        assert_eq!(status.db_size_quota, 2 << 30, "what it is without a flag");
        let downgrade = status.downgrade_info.unwrap();
        assert_eq!((downgrade.enabled, downgrade.target_version.as_str()), (false, ""));
    }
    let request = pb::AlarmRequest {
        action: AlarmAction::Activate.into(),
        member_id: served.id(),
        alarm: pb::AlarmType::Nospace.into(),
    };
    served.maintenance().alarm(request).await.unwrap();
    let alarmed = served.maintenance().status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(alarmed.errors, [format!("memberID:{} alarm:NOSPACE ", served.id())]);
}

/// Covers Maintenance/Defragment; DefragmentResponse: header.
#[tokio::test]
async fn space_is_given_back() {
    let served = Served::start().await;
    served.put("k", "v").await;
    let answer = served.maintenance().defragment(pb::DefragmentRequest {}).await.unwrap().into_inner();
    // The reference leaves the header out here.
    if let Some(header) = answer.header {
        served.revision(Some(header));
    }
    assert_eq!(served.get("k").await, Some(bytes("v")));
}

/// Covers Maintenance/Hash, Maintenance/HashKV; HashResponse: header, hash; HashKVRequest: revision;
/// HashKVResponse: header, hash, compact_revision, hash_revision.
#[tokio::test]
async fn equal_states_have_equal_hashes() {
    let (one, other) = (Served::start().await, Served::start().await);
    let hash = async |served: &Served, revision| {
        let answer = served.maintenance().hash_kv(pb::HashKvRequest { revision }).await.unwrap().into_inner();
        let told = served.revision(answer.header);
        if served.speaks(6) {
            assert_eq!(answer.hash_revision, if revision == 0 { told } else { revision });
        }
        (answer.hash, answer.compact_revision)
    };
    for served in [&one, &other] {
        for value in ["1", "2", "3"] {
            served.put("k", value).await;
        }
    }
    assert_eq!(hash(&one, 0).await, hash(&other, 0).await);
    assert_eq!(hash(&one, 3).await, hash(&other, 3).await);
    assert_ne!(hash(&one, 3).await.0, hash(&one, 4).await.0);
    assert_eq!(hash(&one, 0).await.1, -1, "nothing was compacted");
    one.kv().compact(pb::CompactionRequest { revision: 3, physical: true }).await.unwrap();
    assert_eq!(hash(&one, 0).await.1, 3);
    let whole = async |served: &Served| {
        let answer = served.maintenance().hash(pb::HashRequest {}).await.unwrap().into_inner();
        served.revision(answer.header);
        answer.hash
    };
    let before = whole(&other).await;
    assert_eq!(before, whole(&other).await);
    other.put("k", "4").await;
    assert_ne!(before, whole(&other).await);
    let future = refused(one.maintenance().hash_kv(pb::HashKvRequest { revision: 99 }).await);
    assert_eq!(future, error(Code::OutOfRange, "mvcc: required revision is a future revision"));
}

/// Covers Maintenance/Snapshot; SnapshotResponse: header, remaining_bytes, blob, version.
#[tokio::test]
async fn an_image_comes_whole_with_its_checksum() {
    let served = Served::start().await;
    served.put("some key", "v").await;
    let mut pieces = served.maintenance().snapshot(pb::SnapshotRequest {}).await.unwrap().into_inner();
    let (mut image, mut remaining) = (Vec::new(), None);
    while let Some(piece) = pieces.message().await.unwrap() {
        assert_eq!(piece.header, None, "the API has the field and sends none");
        if served.speaks(6) {
            assert!(piece.version.starts_with("3."), "{:?}", piece.version);
        }
        image.extend_from_slice(&piece.blob);
        assert!(remaining.is_none_or(|before| piece.remaining_bytes < before || piece.blob.len() == 32));
        remaining = Some(piece.remaining_bytes);
    }
    assert_eq!(remaining, Some(0));
    let (content, checksum) = image.split_at(image.len() - 32);
    assert_eq!(Bytes::copy_from_slice(&Sha256::digest(content)), Bytes::copy_from_slice(checksum));
    assert!(content.len() % 4096 == 0 && content.windows(8).any(|bytes| bytes == b"some key"));
}

/// Covers Maintenance/MoveLeader; MoveLeaderRequest: targetID; MoveLeaderResponse: header.
#[tokio::test]
async fn leadership_is_handed_over() {
    let served = Served::of(3).await;
    let leader = served.leader().await;
    let other = (leader + 1) % 3;
    let status = MaintenanceClient::new(served.member(other).await).status(pb::StatusRequest {}).await;
    let target_id = status.unwrap().into_inner().header.unwrap().member_id;
    let mut maintenance = MaintenanceClient::new(served.member(leader).await);
    let stranger = refused(maintenance.move_leader(pb::MoveLeaderRequest { target_id: 77 }).await);
    assert_eq!(stranger, error(Code::FailedPrecondition, "bad leader transferee"));
    let answer = maintenance.move_leader(pb::MoveLeaderRequest { target_id }).await.unwrap().into_inner();
    // The reference leaves the header out here.
    assert!(answer.header.is_none_or(|header| header.member_id != target_id));
    assert_eq!(served.leader().await, other);
    let again = refused(maintenance.move_leader(pb::MoveLeaderRequest { target_id }).await);
    assert_eq!(again, error(Code::FailedPrecondition, "not leader"));
}

/// Covers Maintenance/Downgrade; DowngradeRequest: action, version; DowngradeResponse: header, version;
/// DowngradeRequest.DowngradeAction: VALIDATE, ENABLE, CANCEL; DowngradeInfo: enabled, targetVersion.
#[tokio::test]
async fn a_downgrade_is_checked_begun_and_given_up() {
    let Some(served) = Served::at_level(6).await else { return };
    let downgrade = async |action: DowngradeAction, version: &str| {
        let request = pb::DowngradeRequest { action: action.into(), version: version.to_owned() };
        served.maintenance().downgrade(request).await
    };
    let info = async || {
        let status = served.maintenance().status(pb::StatusRequest {}).await.unwrap().into_inner();
        status.downgrade_info.unwrap()
    };
    let now = served.maintenance().status(pb::StatusRequest {}).await.unwrap().into_inner().version;
    let minor: u32 = now.split('.').nth(1).unwrap().parse().unwrap();
    let (level, below) = (format!("3.{minor}.0"), format!("3.{}.0", minor - 1));
    let checked = downgrade(DowngradeAction::Validate, &below).await.unwrap().into_inner();
    assert_eq!((served.revision(checked.header), checked.version), (1, level.clone()));
    assert!(!info().await.enabled);
    let wrong = refused(downgrade(DowngradeAction::Validate, &level).await);
    assert_eq!(wrong, error(Code::InvalidArgument, "invalid downgrade target version"));
    assert_eq!(downgrade(DowngradeAction::Enable, &below).await.unwrap().into_inner().version, level);
    assert_eq!((info().await.enabled, info().await.target_version), (true, below));
    assert_eq!(downgrade(DowngradeAction::Cancel, "").await.unwrap().into_inner().version, level);
    assert!(!info().await.enabled);
    let none = refused(downgrade(DowngradeAction::Cancel, "").await);
    assert_eq!(none, error(Code::FailedPrecondition, "no inflight downgrade job"));
}
