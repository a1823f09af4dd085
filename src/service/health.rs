//! gRPC's own health check: a server that answers is serving.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::pb::health as pb;
use crate::pb::health::health_check_response::ServingStatus;
use crate::pb::health::health_server::Health;

/// The service.
pub struct HealthService;

/// The answers of one watch of a service's health.
type HealthAnswers = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

fn answer(status: ServingStatus) -> pb::HealthCheckResponse {
    pb::HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        // Only the server as a whole is known, under the empty name.
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(ServingStatus::Serving)))
    }

    type WatchStream = HealthAnswers;

    async fn watch(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<HealthAnswers>, Status> {
        let known = request.get_ref().service.is_empty();
        let status = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        // It never changes while the server runs, so nothing follows the first answer.
        let answers = stream::once(async move { Ok(answer(status)) }).chain(stream::pending());
        Ok(Response::new(answers.boxed()))
    }
}
