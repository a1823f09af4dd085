//! Who watches all keys, and notes how long each write was on its way.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::tally::Tally;
use super::work::{all_keys, stamp_of};
use crate::cli::ctl::client::Client;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::pb::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

/// One watch on a stream of its own.
pub struct Watcher {
    /// The stream ends with it.
    _asks: mpsc::UnboundedSender<WatchRequest>,
    told: Streaming<WatchResponse>,
}

impl Watcher {
    /// Watches all keys of the load from now on.
    ///
    /// # Errors
    /// What the server, or the connection, says.
    pub async fn open(client: &Client) -> Result<Watcher, Status> {
        let (key, range_end) = all_keys();
        let create = WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() };
        let (asks, asked) = mpsc::unbounded_channel();
        let first = asks.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) });
        first.map_err(|_| Status::internal("the stream is closed"))?;
        let stream = client.request(UnboundedReceiverStream::new(asked));
        let mut told = client.watch().watch(stream).await?.into_inner();
        let created = told.message().await?.is_some_and(|answer| answer.created && !answer.canceled);
        if created {
            Ok(Watcher { _asks: asks, told })
        } else {
            Err(Status::aborted("the watch was refused"))
        }
    }

    /// Notes each event of a write that was due between these times, and how long after that it came.
    pub async fn follow(mut self, epoch: Instant, from: Instant, until: Option<Instant>) -> Tally {
        let mut tally = Tally::default();
        let from = from.saturating_duration_since(epoch);
        loop {
            let next = match until {
                None => Ok(self.told.message().await),
                Some(until) => tokio::time::timeout_at(until.into(), self.told.message()).await,
            };
            let answer = match next {
                Err(_) => return tally,
                Ok(Ok(Some(answer))) if !answer.canceled => answer,
                Ok(Ok(_)) => {
                    tally.fail(&Status::aborted("the watch has ended"));
                    return tally;
                }
                Ok(Err(status)) => {
                    tally.fail(&status);
                    return tally;
                }
            };
            let now = epoch.elapsed();
            let due = answer.events.iter().filter_map(|event| stamp_of(&event.kv.as_ref()?.value));
            for due in due.map(Duration::from_nanos).filter(|due| *due >= from) {
                tally.latencies.record(now.saturating_sub(due));
            }
        }
    }
}
