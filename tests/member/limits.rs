//! What a member does at its limits: it refuses in the words that clients know, and serves again when there is room.

use std::time::Duration;

use bytes::Bytes;
use quorate::member::Knobs;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::alarm_request::AlarmAction;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::storage::engine::EngineKind;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

use crate::cluster::{Cluster, Place, quick, soon, until};
use crate::refusal::{error, refused};
use crate::running::{Elsewhere, Running};

/// Unanswered requests that the member of the first story may hold.
const OPEN_MAX: usize = 4;

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    pb::PutRequest { key, value, ..pb::PutRequest::default() }
}

#[tokio::test]
async fn a_member_that_holds_all_it_may_refuses_one_more_and_answers_the_others_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let knobs = Knobs { open_requests_max: OPEN_MAX, request_timeout: Duration::from_secs(120), ..quick() };
    let place = Place::new(dir.path(), 2, EngineKind::Redb, knobs);
    let other = Elsewhere::start(place.config(2));
    let held_up = Running::start(place.config(1)).await.unwrap();
    held_up.knows_names(2).await;

    // Without its quorum it holds whatever it takes: of one request too many, one is refused, whichever comes last.
    other.end();
    let kv = KvClient::new(held_up.channel().await);
    let ask = |number: usize| {
        let mut kv = kv.clone();
        tokio::spawn(async move { kv.put(put(&format!("key {number}"), "")).await })
    };
    let asked: Vec<_> = (0..=OPEN_MAX).map(ask).collect();
    until("a refusal", || asked.iter().any(JoinHandle::is_finished).then_some(())).await;
    place.unlocked(2).await;
    let other = Elsewhere::start(place.config(2));
    let (mut served, mut refusals) = (0, Vec::new());
    for request in asked {
        match soon("an answer", request).await.unwrap() {
            Ok(_) => served += 1,
            refusal => refusals.push(refused(refusal)),
        }
    }
    let too_many = error(Code::ResourceExhausted, "too many requests");
    assert_eq!((served, refusals), (OPEN_MAX, vec![too_many]));
    held_up.put("after").await.unwrap();
    other.end();
    held_up.member.stop().await;
}

/// What the only member answers about its alarm.
async fn alarms(maintenance: &mut MaintenanceClient<Channel>, action: AlarmAction) -> Vec<pb::AlarmMember> {
    let alarm = pb::AlarmType::Nospace.into();
    let request = pb::AlarmRequest { action: action.into(), member_id: 1, alarm };
    maintenance.alarm(request).await.unwrap().into_inner().alarms
}

#[tokio::test]
async fn a_used_up_quota_refuses_what_takes_space_until_there_is_room_and_the_alarm_is_cleared() {
    // A pair costs 256 bytes beside its key and value: two of the large ones fit, and some more.
    let cluster = Cluster::start(1, Knobs { quota_bytes: Some(2_500), ..quick() }).await;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let mut maintenance = MaintenanceClient::new(cluster.connect(0).await);
    let large = "x".repeat(700);
    let no_space = error(Code::ResourceExhausted, "mvcc: database space exceeded");
    for key in ["a", "b"] {
        kv.put(put(key, &large)).await.unwrap();
    }
    assert!(alarms(&mut maintenance, AlarmAction::Get).await.is_empty());
    assert_eq!(refused(kv.put(put("c", &large)).await), no_space);
    let raised = pb::AlarmMember { member_id: 1, alarm: pb::AlarmType::Nospace.into() };
    assert_eq!(alarms(&mut maintenance, AlarmAction::Get).await, [raised]);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert!(status.errors.contains(&"memberID:1 alarm:NOSPACE ".to_owned()), "{:?}", status.errors);
    assert_eq!(refused(kv.put(put("c", "")).await), no_space, "it would fit, but the alarm stands");

    let range = pb::RangeRequest { key: Bytes::from_static(b"a"), ..pb::RangeRequest::default() };
    assert_eq!(kv.range(range).await.unwrap().into_inner().count, 1);
    let delete =
        pb::DeleteRangeRequest { key: Bytes::from_static(b"a"), ..pb::DeleteRangeRequest::default() };
    let gone = kv.delete_range(delete).await.unwrap().into_inner();
    assert_eq!(gone.deleted, 1);
    let revision = gone.header.unwrap().revision;
    kv.compact(pb::CompactionRequest { revision, physical: true }).await.unwrap();
    assert_eq!(refused(kv.put(put("c", &large)).await), no_space, "there is room, but the alarm stands");
    assert_eq!(alarms(&mut maintenance, AlarmAction::Deactivate).await, [raised]);
    assert!(alarms(&mut maintenance, AlarmAction::Get).await.is_empty());
    kv.put(put("c", &large)).await.unwrap();
    assert_eq!(refused(kv.put(put("d", &large)).await), no_space, "it is full again");
    assert_eq!(alarms(&mut maintenance, AlarmAction::Get).await, [raised]);
}
