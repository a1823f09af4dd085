//! The client API through real gRPC: answers, and above all errors, as clients know them.

use std::time::Duration;

use bytes::Bytes;
use quorate::node::Knobs;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::cluster_client::ClusterClient;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::etcdserverpb::request_op::Request as Op;
use quorate::pb::etcdserverpb::watch_client::WatchClient;
use quorate::pb::etcdserverpb::watch_request::RequestUnion;
use quorate::pb::health::health_client::HealthClient;
use quorate::pb::health::{HealthCheckRequest, health_check_response::ServingStatus};
use quorate::pb::mvccpb::Event;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use crate::cluster::{Cluster, quick, soon, until};
use crate::refusal::{error, refused};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..pb::PutRequest::default() }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: bytes(key), ..pb::RangeRequest::default() }
}

fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..pb::RangeRequest::default()
    }
}

#[tokio::test]
async fn keys_are_written_read_and_deleted_with_full_headers() {
    let cluster = Cluster::start(1, quick()).await;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let before = kv.range(everything()).await.unwrap().into_inner();
    assert_eq!(before.count, 0);
    let header = before.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.revision), (7, 1, 1));
    assert!(header.raft_term > 0);

    let answer = kv.put(put("a", "1")).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().revision, 2);
    let answer = kv.put(pb::PutRequest { prev_kv: true, ..put("a", "2") }).await.unwrap().into_inner();
    assert_eq!(answer.prev_kv.unwrap().value, bytes("1"));
    kv.put(put("b", "3")).await.unwrap();

    let found = kv.range(range("a")).await.unwrap().into_inner();
    assert_eq!((found.count, found.more, found.header.unwrap().revision), (1, false, 4));
    let pair = &found.kvs[0];
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (2, 3, 2));
    let limited = pb::RangeRequest { limit: 1, sort_order: 2, ..everything() };
    let found = kv.range(limited).await.unwrap().into_inner();
    assert_eq!((found.count, found.more, found.kvs[0].key.clone()), (2, true, bytes("b")));
    let old = kv.range(pb::RangeRequest { revision: 2, ..range("a") }).await.unwrap().into_inner();
    assert_eq!((old.kvs[0].value.clone(), old.header.unwrap().revision), (bytes("1"), 4));

    let delete = pb::DeleteRangeRequest { key: bytes("a"), range_end: Bytes::new(), prev_kv: true };
    let gone = kv.delete_range(delete).await.unwrap().into_inner();
    assert_eq!((gone.deleted, gone.prev_kvs[0].value.clone()), (1, bytes("2")));
}

#[tokio::test]
async fn errors_have_the_code_and_text_that_clients_know() {
    let knobs = Knobs { request_bytes_max: 10_000, max_txn_ops: 4, ..quick() };
    let cluster = Cluster::start(1, knobs).await;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let mut lease = LeaseClient::new(cluster.connect(0).await);
    let invalid = |text| error(Code::InvalidArgument, text);

    assert_eq!(refused(kv.put(put("", "x")).await), invalid("key is not provided"));
    let kept = pb::PutRequest { ignore_value: true, ..put("none", "") };
    assert_eq!(refused(kv.put(kept).await), invalid("key not found"));
    let both = pb::PutRequest { ignore_value: true, ..put("none", "x") };
    assert_eq!(refused(kv.put(both).await), invalid("value is provided"));
    let leased = pb::PutRequest { lease: 12345, ..put("k", "x") };
    assert_eq!(refused(kv.put(leased).await), error(Code::NotFound, "requested lease not found"));
    assert_eq!(refused(kv.put(put("k", &"x".repeat(20_000))).await), invalid("request is too large"));
    let future = pb::RangeRequest { revision: 99, ..range("k") };
    let out_of_range = |text| error(Code::OutOfRange, text);
    assert_eq!(refused(kv.range(future).await), out_of_range("mvcc: required revision is a future revision"));
    let sorted = pb::RangeRequest { sort_target: 77, ..range("k") };
    assert_eq!(refused(kv.range(sorted).await), invalid("invalid sort option"));

    let op = |key: &str| pb::RequestOp { request: Some(Op::RequestPut(put(key, "x"))) };
    let twice = pb::TxnRequest { success: vec![op("k"), op("k")], ..pb::TxnRequest::default() };
    assert_eq!(refused(kv.txn(twice).await), invalid("duplicate key given in txn request"));
    let many = ["a", "b", "c", "d", "e"].map(op).to_vec();
    let many = pb::TxnRequest { failure: many, ..pb::TxnRequest::default() };
    assert_eq!(refused(kv.txn(many).await), invalid("too many operations in txn request"));

    for n in 0..3 {
        kv.put(put("k", &n.to_string())).await.unwrap();
    }
    kv.compact(pb::CompactionRequest { revision: 3, physical: true }).await.unwrap();
    let compacted = out_of_range("mvcc: required revision has been compacted");
    assert_eq!(refused(kv.range(pb::RangeRequest { revision: 2, ..range("k") }).await), compacted);
    let again = pb::CompactionRequest { revision: 3, physical: false };
    assert_eq!(refused(kv.compact(again).await), compacted);

    let grant = |id, ttl| pb::LeaseGrantRequest { id, ttl };
    assert_eq!(
        refused(lease.lease_grant(grant(0, 9_000_000_001)).await),
        out_of_range("too large lease TTL")
    );
    lease.lease_grant(grant(5, 60)).await.unwrap();
    assert_eq!(
        refused(lease.lease_grant(grant(5, 60)).await),
        error(Code::FailedPrecondition, "lease already exists")
    );
    assert_eq!(
        refused(lease.lease_revoke(pb::LeaseRevokeRequest { id: 6 }).await),
        error(Code::NotFound, "requested lease not found")
    );
}

#[tokio::test]
async fn a_streamed_range_adds_up_to_the_range() {
    let cluster = Cluster::start(1, Knobs { request_bytes_max: 50_000, ..quick() }).await;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let value = "v".repeat(3_000);
    for n in 0..120 {
        kv.put(put(&format!("k{n:03}"), &value)).await.unwrap();
    }
    for request in [
        everything(),
        pb::RangeRequest { limit: 37, ..everything() },
        pb::RangeRequest { limit: 120, keys_only: true, ..everything() },
        pb::RangeRequest { count_only: true, ..everything() },
        pb::RangeRequest { revision: 60, ..everything() },
        range("none"),
    ] {
        let whole = kv.range(request.clone()).await.unwrap().into_inner();
        let mut pieces = kv.range_stream(request.clone()).await.unwrap().into_inner();
        let mut sum = pb::RangeResponse::default();
        let mut count = 0;
        while let Some(piece) = pieces.message().await.unwrap() {
            let piece = piece.range_response.unwrap();
            assert!(sum.header.is_none(), "the header comes with the last piece: {request:?}");
            assert!(count > 0 || piece.kvs.len() <= 10, "the first piece is small");
            count += 1;
            sum.kvs.extend(piece.kvs);
            (sum.header, sum.more, sum.count) = (piece.header, piece.more, piece.count);
        }
        assert_eq!(sum, whole, "{request:?}");
        assert!(whole.kvs.len() < 50 || count > 3, "{count} pieces of {} keys", whole.kvs.len());
    }
    let sorted = pb::RangeRequest { sort_order: 2, ..everything() };
    assert_eq!(kv.range_stream(sorted).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn transactions_answer_each_operation_with_its_revision() {
    let cluster = Cluster::start(1, quick()).await;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let request = pb::TxnRequest {
        compare: vec![pb::Compare {
            key: bytes("k"),
            target: 1,
            target_union: Some(pb::compare::TargetUnion::CreateRevision(0)),
            ..pb::Compare::default()
        }],
        success: vec![
            pb::RequestOp { request: Some(Op::RequestPut(put("k", "new"))) },
            pb::RequestOp { request: Some(Op::RequestRange(range("k"))) },
        ],
        failure: vec![pb::RequestOp { request: Some(Op::RequestRange(range("k"))) }],
    };
    let first = kv.txn(request.clone()).await.unwrap().into_inner();
    assert!(first.succeeded);
    assert_eq!((first.header.unwrap().revision, first.responses.len()), (2, 2));
    let second = kv.txn(request).await.unwrap().into_inner();
    assert!(!second.succeeded);
    let Some(pb::response_op::Response::ResponseRange(found)) = &second.responses[0].response else {
        panic!("{second:?}")
    };
    assert_eq!(found.kvs[0].value, bytes("new"));
    assert_eq!(second.header.unwrap().revision, 2, "reading moves no revision");
}

/// One watch stream as a client holds it.
struct Watcher {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watcher {
    async fn open(channel: Channel) -> Watcher {
        let (requests, receiver) = mpsc::channel(16);
        let responses = WatchClient::new(channel).watch(ReceiverStream::new(receiver)).await.unwrap();
        Watcher { requests, responses: responses.into_inner() }
    }

    async fn ask(&self, request: RequestUnion) {
        self.requests.send(pb::WatchRequest { request_union: Some(request) }).await.unwrap();
    }

    async fn create(&self, request: pb::WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request)).await;
    }

    async fn next(&mut self) -> pb::WatchResponse {
        soon("a watch response", self.responses.message()).await.unwrap().unwrap()
    }
}

fn watch_all(start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        range_end: Bytes::from_static(&[0]),
        start_revision,
        ..pb::WatchCreateRequest::default()
    }
}

/// The revisions of events, in their order.
fn revisions(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision).collect()
}

/// Covers WatchCreateRequest: fragment; WatchResponse: fragment.
#[tokio::test]
async fn a_watch_stream_creates_refuses_cancels_and_fragments() {
    let cluster = Cluster::start(1, Knobs { request_bytes_max: 20_000, ..quick() }).await;
    let mut kv = KvClient::new(cluster.connect(0).await);
    let mut watcher = Watcher::open(cluster.connect(0).await).await;

    watcher.create(watch_all(0)).await;
    let created = watcher.next().await;
    assert!(created.created && !created.canceled && created.watch_id == 0);
    kv.put(put("a", "1")).await.unwrap();
    let event = watcher.next().await;
    assert_eq!((event.watch_id, event.events.len(), event.header.unwrap().revision), (0, 1, 2));

    watcher.create(pb::WatchCreateRequest { watch_id: 7, ..watch_all(0) }).await;
    assert_eq!(watcher.next().await.watch_id, 7);
    watcher.create(pb::WatchCreateRequest { watch_id: 7, ..watch_all(0) }).await;
    let twice = watcher.next().await;
    assert!(twice.created && twice.canceled && twice.watch_id == -1);
    assert_eq!(twice.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");

    for id in [0, 7] {
        watcher.ask(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id })).await;
        let canceled = watcher.next().await;
        assert!(canceled.canceled && canceled.watch_id == id);
    }
    watcher.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
    let progress = watcher.next().await;
    assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, 2));

    // Four large events a revision. With what they replaced, those of the second are too large for one message: split
    // for who allows it, and only then.
    let op =
        |n: u32| pb::RequestOp { request: Some(Op::RequestPut(put(&format!("f{n}"), &"x".repeat(4_000)))) };
    let large = pb::TxnRequest { success: (0..4).map(op).collect(), ..pb::TxnRequest::default() };
    kv.txn(large.clone()).await.unwrap();
    kv.txn(large).await.unwrap();
    let mut shown = Vec::new();
    for fragment in [true, false] {
        watcher.create(pb::WatchCreateRequest { fragment, prev_kv: true, ..watch_all(3) }).await;
        let created = watcher.next().await;
        assert!(created.created);
        let mut pieces: Vec<pb::WatchResponse> = Vec::new();
        while pieces.iter().map(|piece| piece.events.len()).sum::<usize>() < 8 {
            pieces.push(watcher.next().await);
        }
        let mut split = 0;
        for pair in pieces.windows(2) {
            // A revision is never in two responses, so these are pieces of one.
            if revisions(&pair[0].events).last() == revisions(&pair[1].events).first() {
                assert!(pair[0].fragment, "a piece says that it is the last: {pair:?}");
                split += 1;
            }
            assert!(!pair[0].fragment || pair[0].header == pair[1].header, "{pair:?}");
        }
        assert_eq!(split > 0, fragment, "{} messages", pieces.len());
        assert!(pieces.iter().all(|piece| piece.watch_id == created.watch_id));
        assert!(!pieces.last().unwrap().fragment && pieces.iter().all(|piece| fragment || !piece.fragment));
        shown.push(pieces.into_iter().flat_map(|piece| piece.events).collect::<Vec<_>>());
    }
    assert_eq!(revisions(&shown[0]), [3, 3, 3, 3, 4, 4, 4, 4]);
    assert_eq!(shown[0], shown[1]);

    kv.compact(pb::CompactionRequest { revision: 4, physical: false }).await.unwrap();
    watcher.create(watch_all(2)).await;
    let created = watcher.next().await;
    assert!(created.created);
    let compacted = watcher.next().await;
    assert!(compacted.canceled && compacted.compact_revision == 4 && compacted.cancel_reason.is_empty());
}

#[tokio::test]
async fn a_watch_stream_goes_on_when_its_client_has_no_more_to_say() {
    let cluster = Cluster::start(1, quick()).await;
    let Watcher { requests, mut responses } = Watcher::open(cluster.connect(0).await).await;
    let create = RequestUnion::CreateRequest(watch_all(0));
    requests.send(pb::WatchRequest { request_union: Some(create) }).await.unwrap();
    drop(requests);
    assert!(soon("the creation", responses.message()).await.unwrap().unwrap().created);
    KvClient::new(cluster.connect(0).await).put(put("a", "1")).await.unwrap();
    let event = soon("an event", responses.message()).await.unwrap().unwrap();
    assert_eq!(event.events.len(), 1);
    cluster.members[0].stop().await;
    let stopped = error(Code::Unavailable, "server stopped");
    assert_eq!(refused(soon("the end", responses.message()).await), stopped);
}

#[tokio::test]
async fn leases_are_kept_alive_in_order_and_say_when_they_are_gone() {
    let cluster = Cluster::start(3, quick()).await;
    let mut lease = LeaseClient::new(cluster.connect(0).await);
    let mut kv = KvClient::new(cluster.connect(1).await);
    for id in [11, 12] {
        lease.lease_grant(pb::LeaseGrantRequest { id, ttl: 100 + id }).await.unwrap();
    }
    kv.put(pb::PutRequest { lease: 12, ..put("leased", "x") }).await.unwrap();
    let (sender, receiver) = mpsc::channel(8);
    let answers = lease.lease_keep_alive(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = answers.into_inner();
    for id in [11, 12, 13, 11] {
        sender.send(pb::LeaseKeepAliveRequest { id }).await.unwrap();
    }
    let mut found = Vec::new();
    for _ in 0..4 {
        let answer = soon("a renewal", answers.message()).await.unwrap().unwrap();
        found.push((answer.id, answer.ttl));
    }
    assert_eq!(found, [(11, 111), (12, 112), (13, 0), (11, 111)]);
    drop(sender);
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);

    let ask = |id| pb::LeaseTimeToLiveRequest { id, keys: true };
    let life = lease.lease_time_to_live(ask(12)).await.unwrap().into_inner();
    assert_eq!((life.granted_ttl, life.keys), (112, vec![bytes("leased")]));
    assert!((50..=112).contains(&life.ttl), "{}", life.ttl);
    assert_eq!(lease.lease_time_to_live(ask(13)).await.unwrap().into_inner().ttl, -1);
    let listed = lease.lease_leases(pb::LeaseLeasesRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [11, 12]);
}

#[tokio::test]
async fn the_cluster_and_its_members_describe_themselves() {
    let cluster = Cluster::start(3, quick()).await;
    let leader = cluster.leader().await.config().member.0;
    let mut list = ClusterClient::new(cluster.connect(2).await);
    let members = until_listed(&mut list).await;
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3]);
    let mut hashes = Vec::new();
    let mut kv = KvClient::new(cluster.connect(1).await);
    let written = kv.put(put("k", "v")).await.unwrap().into_inner().header.unwrap().revision;
    for number in 0..3 {
        let channel = cluster.connect(number).await;
        // Applied here as well before its own state is asked for.
        KvClient::new(channel.clone()).range(range("k")).await.unwrap();
        let mut maintenance = MaintenanceClient::new(channel.clone());
        let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.version.as_str(), status.leader), ("3.7.1", leader));
        assert!(status.db_size > 0 && status.raft_applied_index > 0 && status.errors.is_empty());
        let hash = maintenance.hash_kv(pb::HashKvRequest { revision: written }).await.unwrap().into_inner();
        assert_eq!((hash.hash_revision, hash.compact_revision), (written, -1));
        hashes.push(hash.hash);
        let mut health = HealthClient::new(channel.clone());
        let healthy = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
        assert_eq!(healthy.into_inner().status(), ServingStatus::Serving);
        let unknown = health.check(HealthCheckRequest { service: "other".to_owned() }).await;
        assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");

    let nowhere = refused(list.member_add(pb::MemberAddRequest::default()).await);
    assert_eq!(nowhere, error(Code::InvalidArgument, "given member URLs are invalid"));
}

/// The member list, once every member has announced its name.
async fn until_listed(list: &mut ClusterClient<Channel>) -> Vec<pb::Member> {
    soon("the members' names", async {
        loop {
            let request = pb::MemberListRequest { linearizable: true };
            let members = list.member_list(request).await.unwrap().into_inner().members;
            if members.len() == 3 && members.iter().all(|member| !member.name.is_empty()) {
                return members;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn without_a_leader_who_wants_one_is_told_at_once_and_the_rest_within_their_deadline() {
    let cluster = Cluster::start(3, Knobs { request_timeout: Duration::from_secs(2), ..quick() }).await;
    let leader = cluster.leader().await;
    let last = cluster.others(&leader).pop().unwrap();
    let number = cluster.members.iter().position(|member| std::sync::Arc::ptr_eq(member, &last)).unwrap();
    let channel = cluster.connect(number).await;
    let mut kv = KvClient::new(channel.clone());
    kv.put(put("k", "v")).await.unwrap();
    let wanting = |mut request: Request<pb::RangeRequest>| {
        request.metadata_mut().insert("hasleader", "true".parse().unwrap());
        request
    };
    kv.range(wanting(Request::new(range("k")))).await.unwrap();
    let mut lease = LeaseClient::new(channel.clone());
    lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap();
    let keep_alives = || {
        let (sender, receiver) = mpsc::channel::<pb::LeaseKeepAliveRequest>(1);
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("hasleader", "true".parse().unwrap());
        (sender, request)
    };
    let (renewals, request) = keep_alives();
    let mut keeping = lease.lease_keep_alive(request).await.unwrap().into_inner();
    renewals.send(pb::LeaseKeepAliveRequest { id: 5 }).await.unwrap();
    assert_eq!(soon("a renewal", keeping.message()).await.unwrap().unwrap().ttl, 600);
    let mut watcher = WatchClient::new(channel);
    let (_requests, receiver) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let mut watching = watcher.watch(request).await.unwrap().into_inner();

    for member in cluster.others(&last) {
        member.stop().await;
    }
    until("the loss of the leader", || (!last.has_leader()).then_some(())).await;
    let no_leader = error(Code::Unavailable, "no leader");
    assert_eq!(refused(kv.range(wanting(Request::new(range("k")))).await), no_leader);
    assert_eq!(refused(soon("the end of the watch", watching.message()).await), no_leader);
    assert_eq!(refused(soon("the end of the keep-alives", keeping.message()).await), no_leader);
    let (_renewals, request) = keep_alives();
    assert_eq!(refused(soon("a refusal", lease.lease_keep_alive(request)).await), no_leader);
    assert_eq!(refused(kv.range(range("k")).await), error(Code::Unavailable, "request timed out"));
    let serializable = pb::RangeRequest { serializable: true, ..range("k") };
    assert_eq!(kv.range(serializable).await.unwrap().into_inner().kvs.len(), 1);
    let mut hurried = Request::new(put("k", "w"));
    hurried.set_timeout(Duration::from_millis(200));
    let code = kv.put(hurried).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
}
