//! Requests that can be made twice: those between members, which a member must bear, because whoever sends one may
//! send it again when no answer comes.
//!
//! Clients' requests are not among them: a put that is made twice is two puts.

use std::any::Any;

use madsim::net::Payload;
use quorate::pb::peer;
use tonic::Request;
use tonic::codegen::BoxMessage;

use super::relay::First;

/// The same request once more; `None` for what must not, or cannot, be made twice.
pub(super) fn of(first: &Payload) -> Option<Payload> {
    let (path, streams, request) = first.downcast_ref::<First>()?;
    let message = request.get_ref().as_ref();
    let message = copy::<peer::VoteRequest>(message)
        .or_else(|| copy::<peer::ForwardRequest>(message))
        .or_else(|| copy::<peer::ReadIndexRequest>(message))
        .or_else(|| copy::<peer::ConfirmRequest>(message))
        .or_else(|| copy::<peer::LeaseRenewRequest>(message))
        .or_else(|| copy::<peer::LeaseRemainingRequest>(message))
        .or_else(|| copy::<peer::HelloRequest>(message))?;
    let mut request_again = Request::new(message);
    *request_again.metadata_mut() = request.metadata().clone();
    let again: First = (path.clone(), *streams, request_again);
    Some(Box::new(again))
}

fn copy<M: Any + Clone + Send + Sync>(message: &(dyn Any + Send + Sync)) -> Option<BoxMessage> {
    message.downcast_ref::<M>().map(|message| -> BoxMessage { Box::new(message.clone()) })
}
