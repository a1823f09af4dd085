//! The stream of changes.

use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::watch_create_request::FilterType;
use quorate::pb::etcdserverpb::watch_request::RequestUnion;
use quorate::pb::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::server::{Served, bytes, soon};

/// One stream, as a client holds it.
struct Stream {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Stream {
    /// A stream that begins with a watch, and the answer to that: the reference says nothing at all before it has something
    /// to say.
    async fn open(served: &Served, first: pb::WatchCreateRequest) -> (Stream, pb::WatchResponse) {
        let (requests, receiver) = mpsc::channel(16);
        let first = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(first)) };
        requests.send(first).await.unwrap();
        let mut watch = served.watch();
        let opened = soon("the stream", watch.watch(ReceiverStream::new(receiver))).await;
        let mut stream = Stream { requests, responses: opened.unwrap().into_inner() };
        let created = stream.next().await;
        assert!(created.created && created.events.is_empty(), "{created:?}");
        (stream, created)
    }

    async fn ask(&mut self, request: RequestUnion) -> pb::WatchResponse {
        self.requests.send(pb::WatchRequest { request_union: Some(request) }).await.unwrap();
        self.next().await
    }

    /// Begins a watch; its first answer says so.
    async fn create(&mut self, request: pb::WatchCreateRequest) -> pb::WatchResponse {
        let created = self.ask(RequestUnion::CreateRequest(request)).await;
        assert!(created.created && created.events.is_empty(), "{created:?}");
        created
    }

    async fn next(&mut self) -> pb::WatchResponse {
        soon("a watch response", self.responses.message()).await.unwrap().unwrap()
    }

    /// So many events: whether each is a deletion, its key, its revision, and what was there before.
    async fn events(&mut self, count: usize) -> Vec<(EventType, String, i64, Option<i64>)> {
        let mut events = Vec::new();
        while events.len() < count {
            for event in self.next().await.events {
                let kind = EventType::try_from(event.r#type).unwrap();
                let pair = event.kv.unwrap();
                let key = String::from_utf8(pair.key.to_vec()).unwrap();
                events.push((kind, key, pair.mod_revision, event.prev_kv.map(|before| before.mod_revision)));
            }
        }
        assert_eq!(events.len(), count);
        events
    }
}

fn of(key: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: bytes(key), ..pb::WatchCreateRequest::default() }
}

async fn delete(served: &Served, key: &str) {
    let request = pb::DeleteRangeRequest { key: bytes(key), ..pb::DeleteRangeRequest::default() };
    served.kv().delete_range(request).await.unwrap();
}

/// Covers Watch/Watch; WatchRequest: create_request; WatchCreateRequest: key, range_end, start_revision, filters, prev_kv;
/// WatchCreateRequest.FilterType: NOPUT, NODELETE; WatchResponse: header, created, events; Event: type, kv, prev_kv;
/// Event.EventType: PUT, DELETE.
#[tokio::test]
async fn a_watch_tells_what_happens_in_its_range_from_its_revision_on() {
    use EventType::{Delete, Put};
    let served = Served::start().await;
    served.put("a", "1").await;
    served.put("b", "1").await;
    served.put("a", "2").await;
    delete(&served, "a").await;
    let key = |key: &str| key.to_owned();
    for (request, want) in [
        (
            pb::WatchCreateRequest { start_revision: 1, ..of("a") },
            vec![(Put, key("a"), 2, None), (Put, key("a"), 4, None), (Delete, key("a"), 5, None)],
        ),
        (
            pb::WatchCreateRequest { start_revision: 3, prev_kv: true, range_end: bytes("c"), ..of("a") },
            vec![(Put, key("b"), 3, None), (Put, key("a"), 4, Some(2)), (Delete, key("a"), 5, Some(4))],
        ),
        (
            pb::WatchCreateRequest { start_revision: 1, filters: vec![FilterType::Noput.into()], ..of("a") },
            vec![(Delete, key("a"), 5, None)],
        ),
        (
            pb::WatchCreateRequest {
                start_revision: 4,
                filters: vec![FilterType::Nodelete.into()],
                ..of("a")
            },
            vec![(Put, key("a"), 4, None)],
        ),
    ] {
        let (mut stream, created) = Stream::open(&served, request.clone()).await;
        served.revision(created.header);
        assert_eq!(stream.events(want.len()).await, want, "{request:?}");
    }
    // From now on, and from a revision that is still to come.
    let (mut now, _) = Stream::open(&served, of("a")).await;
    let to_come = pb::WatchCreateRequest { start_revision: 7, ..of("a") };
    let (mut later, _) = Stream::open(&served, to_come).await;
    served.put("a", "3").await;
    served.put("a", "4").await;
    assert_eq!(now.events(2).await, [(Put, key("a"), 6, None), (Put, key("a"), 7, None)]);
    assert_eq!(later.events(1).await, [(Put, key("a"), 7, None)]);
}

/// Covers WatchRequest: cancel_request, progress_request; WatchCreateRequest: watch_id; WatchCancelRequest: watch_id;
/// WatchResponse: watch_id, canceled, cancel_reason, compact_revision.
#[tokio::test]
async fn watches_share_a_stream_under_ids_of_their_own_until_they_are_canceled() {
    let served = Served::start().await;
    for _ in 0..3 {
        served.put("a", "v").await;
    }
    let (mut stream, created) = Stream::open(&served, of("a")).await;
    assert_eq!(created.watch_id, 0, "ids are chosen from 0 on");
    assert_eq!(stream.create(pb::WatchCreateRequest { watch_id: 9, ..of("b") }).await.watch_id, 9);
    let twice = stream.create(pb::WatchCreateRequest { watch_id: 9, ..of("b") }).await;
    assert!(twice.canceled && twice.watch_id == -1, "{twice:?}");
    assert_eq!(twice.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    served.put("b", "v").await;
    assert_eq!(stream.next().await.watch_id, 9);
    let canceled = stream.ask(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 9 })).await;
    assert!(canceled.canceled && canceled.watch_id == 9 && canceled.events.is_empty(), "{canceled:?}");
    served.put("b", "v").await;
    let told = served.put("a", "v").await;
    let next = stream.next().await;
    assert_eq!((next.watch_id, next.events[0].kv.as_ref().unwrap().mod_revision), (0, told));
    let progress = stream.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
    assert_eq!((progress.watch_id, served.revision(progress.header)), (-1, told));
    assert!(progress.events.is_empty());

    served.kv().compact(pb::CompactionRequest { revision: 4, physical: true }).await.unwrap();
    let created = stream.create(pb::WatchCreateRequest { start_revision: 2, ..of("a") }).await;
    let canceled = stream.next().await;
    assert!(canceled.canceled && canceled.watch_id == created.watch_id, "{canceled:?}");
    assert_eq!(canceled.compact_revision, 4);
}

/// Covers WatchCreateRequest: progress_notify.
#[tokio::test]
async fn an_idle_watcher_that_wants_to_hears_how_far_it_has_come() {
    let served = Served::with(&["--experimental-watch-progress-notify-interval=200ms"]).await;
    let wanting = pb::WatchCreateRequest { progress_notify: true, ..of("a") };
    let (mut stream, _) = Stream::open(&served, wanting).await;
    let written = served.put("elsewhere", "v").await;
    // One may be told of the moment before the write.
    let told = loop {
        let response = stream.next().await;
        assert!(response.events.is_empty() && !response.created && !response.canceled, "{response:?}");
        assert_eq!(response.watch_id, 0);
        let revision = served.revision(response.header);
        if revision == written {
            break revision;
        }
        assert!(revision < written, "{revision}");
    };
    assert_eq!(told, 2);
}
