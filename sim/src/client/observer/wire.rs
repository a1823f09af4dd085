//! Watches through the service, over the network.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, iter, pending, unfold};
use futures_util::{FutureExt, StreamExt};
use quorate::pb::etcdserverpb::watch_client::WatchClient;
use quorate::pb::etcdserverpb::watch_request::RequestUnion;
use quorate::pb::etcdserverpb::{WatchProgressRequest, WatchRequest, WatchResponse};
use quorate_check::history::WatchEnd;

use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::Watching;
use crate::client::wire;
use crate::plan::{Family, MemberIndex};
use crate::world::World;

/// How long a stream may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an observer waits for a member on whose address nobody listens.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A stream's requests. A type of its own, because the compiler cannot see that a boxed stream inside a future lives
/// long enough.
struct Requests(BoxStream<'static, WatchRequest>);

impl Stream for Requests {
    type Item = WatchRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchRequest>> {
        self.0.poll_next_unpin(context)
    }
}

/// What opening a stream comes to.
type Opened = Result<Response<Streaming<WatchResponse>>, Status>;

/// What a client says after it has created its watch.
fn asking(watching: &Watching) -> BoxStream<'static, WatchRequest> {
    let Some(every) = watching.asks_every else { return pending().boxed() };
    let (record, time, id) = (watching.record.clone(), watching.time.clone(), watching.watch.id);
    let asks = unfold((record, time), move |(record, time)| async move {
        time.sleep(every).await;
        record.watch_asks_progress(id, time.now());
        let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
        Some((WatchRequest { request_union: Some(progress) }, (record, time)))
    });
    asks.boxed()
}

/// Opens the stream: the client says one thing and then listens, or asks for progress now and then.
fn open(watching: &Watching, channel: Channel) -> BoxFuture<'static, Opened> {
    let requests = Requests(iter([wire::watch(&watching.watch.create)]).chain(asking(watching)).boxed());
    async move { WatchClient::new(channel).watch(requests).await }.boxed()
}

/// Whether the watch was refused because its client did not say who it is.
fn is_denied(response: &WatchResponse) -> bool {
    response.created && response.canceled && response.cancel_reason.ends_with("user name is empty")
}

/// Runs the watch to its end.
pub(super) async fn watch(world: &World, index: MemberIndex, mut watching: Watching) -> WatchEnd {
    let guarded = world.plan().families.contains(&Family::Auth);
    let channel = match wire::channel(index) {
        Ok(channel) => channel,
        Err(status) => return watching.broken(status.message()),
    };
    let (asked, mut responses, first) = loop {
        let asked = watching.time.now();
        // Another may have moved in while nobody answered.
        watching.watch.member.id = world.member_id(index);
        match madsim::time::timeout(OPEN_TIMEOUT, open(&watching, channel.clone())).await {
            Ok(Ok(responses)) if guarded => {
                let mut responses = responses.into_inner();
                let first = madsim::time::timeout(OPEN_TIMEOUT, responses.next()).await;
                match first {
                    Ok(Some(Ok(response))) if !is_denied(&response) => {
                        break (asked, responses, Some(response));
                    }
                    // Whoever has to say who he is asks again until he need not.
                    _ => watching.time.sleep(RETRY_PAUSE).await,
                }
            }
            Ok(Ok(responses)) => break (asked, responses.into_inner(), None),
            // Nothing was asked, or nobody knows whether it was: either way no response has come.
            Ok(Err(_)) | Err(_) => watching.time.sleep(RETRY_PAUSE).await,
        }
        if watching.patience().is_none() {
            return watching.over();
        }
    };
    watching.begins(asked);
    let mut first = first.map(Ok);
    loop {
        let Some(patience) = watching.patience() else { return watching.over() };
        let next = async {
            match first.take() {
                Some(first) => Some(first),
                None => responses.next().await,
            }
        };
        let Ok(response) = madsim::time::timeout(patience, next).await else { continue };
        let response = match response {
            Some(Ok(response)) => response,
            Some(Err(status)) => return watching.broken(status.message()),
            None => return watching.broken("the stream ended"),
        };
        let Some(received) = wire::watched(watching.time.now(), response) else {
            return watching.broken("a response that says too little");
        };
        if let Some(end) = watching.received(received) {
            return end;
        }
        watching.pause().await;
    }
}
