//! Watches: one stream carries many watches, and the events of each in order.
//!
//! Two halves share a [`WatchStream`]: a task takes the client's requests, the response stream brings what the
//! hub queued. The stream ends with the client's half, with the member, or when a leader is wanted and missing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::stream::{Stream, StreamExt, unfold};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::machine::watch::{Response as Queued, fragment};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::pb::etcdserverpb::watch_server::Watch;
use crate::raft::watch_stream::WatchStream;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::ApiError;
use crate::types::WatchId;

/// Responses taken from the hub at a time.
const RESPONSES_PER_TURN: usize = 16;

/// The service.
pub struct WatchService {
    calls: Calls,
}

/// The responses of one stream.
type WatchAnswers = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

impl WatchService {
    /// Serves the watches of a member.
    pub fn new(calls: Calls) -> WatchService {
        WatchService { calls }
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = WatchAnswers;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<WatchAnswers>, Status> {
        let leaderless = self.calls.leaderless(request.metadata())?;
        let stream = Arc::new(self.calls.member().watch());
        let (ended, at_end) = oneshot::channel();
        let requests = Requests(tokio::spawn(take(request.into_inner(), stream.clone(), ended)));
        let turns = Turns {
            calls: self.calls.clone(),
            stream,
            queue: VecDeque::new(),
            ends: Box::pin(first(leaderless, at_end)),
            _requests: requests,
        };
        let answers = unfold(Some(turns), |turns| async move {
            let mut turns = turns?;
            match turns.next().await {
                Turn::Answer(response) => {
                    let header = turns.calls.header(response.revision);
                    Some((Ok(convert::watch_response(header, response)), Some(turns)))
                }
                Turn::Failed(status) => Some((Err(status), None)),
                Turn::Ended => None,
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Takes the client's requests until it has no more.
async fn take(
    mut requests: Streaming<pb::WatchRequest>,
    stream: Arc<WatchStream>,
    ended: oneshot::Sender<()>,
) {
    while stream.room().await {
        // An error is a client that went away; there is nobody to tell.
        let Some(Ok(request)) = requests.next().await else { break };
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => {
                stream.create(convert::watch_spec(request));
            }
            Some(RequestUnion::CancelRequest(request)) => stream.cancel(WatchId(request.watch_id)),
            Some(RequestUnion::ProgressRequest(_)) => stream.request_progress(),
            None => {}
        }
    }
    drop(ended);
}

/// The task that takes requests; ends with the responses.
struct Requests(JoinHandle<()>);

impl Drop for Requests {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a stream ends: `Some` tells the client, `None` follows it.
type End = Pin<Box<dyn Future<Output = Option<Status>> + Send>>;

/// Whichever comes first: no leader for too long, or the end of the client's requests.
async fn first(
    leaderless: impl Future<Output = Status> + Send,
    at_end: oneshot::Receiver<()>,
) -> Option<Status> {
    let (mut leaderless, mut at_end) = (std::pin::pin!(leaderless), at_end);
    std::future::poll_fn(move |context| {
        if let Poll::Ready(status) = leaderless.as_mut().poll(context) {
            return Poll::Ready(Some(status));
        }
        Pin::new(&mut at_end).poll(context).map(|_| None)
    })
    .await
}

/// The sending half.
struct Turns {
    calls: Calls,
    stream: Arc<WatchStream>,
    queue: VecDeque<Queued>,
    ends: End,
    _requests: Requests,
}

enum Turn {
    Answer(Queued),
    Failed(Status),
    Ended,
}

impl Turns {
    async fn next(&mut self) -> Turn {
        if let Some(response) = self.queue.pop_front() {
            return Turn::Answer(response);
        }
        let taken = {
            let mut responses = std::pin::pin!(self.stream.next(RESPONSES_PER_TURN));
            let ends = &mut self.ends;
            std::future::poll_fn(move |context| {
                // What is queued goes out before the stream ends.
                if let Poll::Ready(responses) = responses.as_mut().poll(context) {
                    return Poll::Ready(Ok(responses));
                }
                ends.as_mut().poll(context).map(Err)
            })
            .await
        };
        match taken {
            Err(Some(status)) => Turn::Failed(status),
            Err(None) => Turn::Ended,
            Ok(responses) => {
                let bytes_max = self.calls.member().config().knobs.request_bytes_max;
                self.queue.extend(responses.into_iter().flat_map(|response| fragment(response, bytes_max)));
                match self.queue.pop_front() {
                    Some(response) => Turn::Answer(response),
                    None => Turn::Failed(ApiError::STOPPED.into()),
                }
            }
        }
    }
}
