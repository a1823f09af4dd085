//! Watches: one stream carries many watches, and the events of each in order.
//!
//! Two halves share a [`WatchStream`]: a task takes the client's requests, the response stream brings what the
//! hub queued. The stream ends when its client goes away, with the member, or when a leader is wanted and missing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::stream::{Stream, StreamExt, unfold};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::machine::command::Caller;
use crate::machine::state::State;
use crate::machine::watch::{Refusal, Response as Queued, WatchSpec, fragment};
use crate::member::Credential;
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
/// The size of a piece where the simulator wants small ones, bytes.
const PIECE_BYTES_SMALL: usize = 256;

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
        let (failed, at_failure) = oneshot::channel();
        let gate = Gate { calls: self.calls.clone(), who: self.calls.who_asks(&request) };
        let requests = Requests(tokio::spawn(take(gate, request.into_inner(), stream.clone(), failed)));
        let turns = Turns {
            calls: self.calls.clone(),
            stream,
            queue: VecDeque::new(),
            unfinished: None,
            ends: Box::pin(first(leaderless, at_failure)),
            _requests: requests,
        };
        let answers = unfold(Some(turns), |turns| async move {
            let mut turns = turns?;
            match turns.next().await {
                Turn::Answer(response) => {
                    let header = turns.header(&response);
                    Some((Ok(convert::watch_response(header, response)), Some(turns)))
                }
                Turn::Failed(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Takes the client's requests. When it has no more the stream goes on: a client may say all it wants at once and
/// then listen. Only an error ends it.
async fn take(
    gate: Gate,
    mut requests: Streaming<pb::WatchRequest>,
    stream: Arc<WatchStream>,
    failed: oneshot::Sender<Status>,
) {
    while stream.room().await {
        let request = match requests.next().await {
            Some(Ok(request)) => request,
            Some(Err(status)) => {
                // The receiver is gone when the responses are.
                drop(failed.send(status));
                return;
            }
            None => return std::future::pending().await,
        };
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => {
                let spec = convert::watch_spec(request);
                match gate.admit(&spec).await {
                    Ok(Ok(())) => drop(stream.create(spec)),
                    Ok(Err(refusal)) => stream.refuse(refusal),
                    // Whoever resumes watches comes back: a watch that is refused does not.
                    Err(status) => return drop(failed.send(status)),
                }
            }
            Some(RequestUnion::CancelRequest(request)) => stream.cancel(WatchId(request.watch_id)),
            Some(RequestUnion::ProgressRequest(_)) => stream.request_progress(),
            None => {}
        }
    }
}

/// Lets through what the stream's client may watch. Asked when a watch is created, and never again.
struct Gate {
    calls: Calls,
    who: Credential,
}

impl Gate {
    /// Refused is who may not watch these keys; an error is that nobody could say.
    async fn admit(&self, spec: &WatchSpec) -> Result<Result<(), Refusal>, Status> {
        let check = |state: &State, caller: &Caller| state.auth().check_read(caller, &spec.range);
        let Err(refused) = self.calls.member().admit(&self.who, check).await.map_err(ApiError::from)? else {
            return Ok(Ok(()));
        };
        let refused = ApiError::from(refused);
        // Clients know the reason in the words of their own library.
        let (code, text) = (refused.code_name(), refused.text);
        Ok(Err(Refusal::Denied(format!("rpc error: code = {code} desc = {text}"))))
    }
}

/// The task that takes requests; ends with the responses.
struct Requests(JoinHandle<()>);

impl Drop for Requests {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a stream ends before its client goes away.
type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// Whichever comes first: no leader for too long, or an error in the client's requests.
async fn first(leaderless: impl Future<Output = Status> + Send, failed: oneshot::Receiver<Status>) -> Status {
    let mut leaderless = std::pin::pin!(leaderless);
    let mut failed = Some(failed);
    std::future::poll_fn(move |context| {
        if let Poll::Ready(status) = leaderless.as_mut().poll(context) {
            return Poll::Ready(status);
        }
        let outcome = failed.as_mut().map(|failed| Pin::new(failed).poll(context));
        match outcome {
            Some(Poll::Ready(Ok(status))) => Poll::Ready(status),
            // The member stops, and tells so itself.
            Some(Poll::Ready(Err(_))) => {
                failed = None;
                Poll::Pending
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}

/// The sending half.
struct Turns {
    calls: Calls,
    stream: Arc<WatchStream>,
    queue: VecDeque<Queued>,
    /// The header of the response whose last piece is still to be sent.
    unfinished: Option<pb::ResponseHeader>,
    ends: End,
    _requests: Requests,
}

enum Turn {
    Answer(Queued),
    Failed(Status),
}

impl Turns {
    /// The header of a response as of now; the pieces of one have the first one's.
    fn header(&mut self, response: &Queued) -> pb::ResponseHeader {
        let header = self.unfinished.take().unwrap_or_else(|| self.calls.header(response.revision));
        self.unfinished = response.has_more().then_some(header);
        header
    }

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
            Err(status) => Turn::Failed(status),
            Ok(responses) => {
                let small = crate::buggify!("a response to a watch goes in small pieces");
                let bytes_max = if small {
                    PIECE_BYTES_SMALL
                } else {
                    self.calls.member().config().knobs.request_bytes_max
                };
                self.queue.extend(responses.into_iter().flat_map(|response| fragment(response, bytes_max)));
                match self.queue.pop_front() {
                    Some(response) => Turn::Answer(response),
                    None => Turn::Failed(ApiError::STOPPED.into()),
                }
            }
        }
    }
}
