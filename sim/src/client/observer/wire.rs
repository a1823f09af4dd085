//! Watches through the service, over the network.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{iter, pending};
use quorate::pb::etcdserverpb::watch_client::WatchClient;
use quorate_check::history::WatchEnd;

use super::Watching;
use crate::client::wire;
use crate::plan::MemberIndex;

/// How long a stream may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an observer waits for a member on whose address nobody listens.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Runs the watch to its end.
pub(super) async fn watch(index: MemberIndex, mut watching: Watching) -> WatchEnd {
    let channel = match wire::channel(index) {
        Ok(channel) => channel,
        Err(status) => return watching.broken(status.message()),
    };
    let (asked, mut responses) = loop {
        let mut client = WatchClient::new(channel.clone());
        // The client says one thing and then listens.
        let requests = iter([wire::watch(&watching.watch.create)]).chain(pending());
        let asked = watching.time.now();
        match madsim::time::timeout(OPEN_TIMEOUT, client.watch(requests)).await {
            Ok(Ok(responses)) => break (asked, responses.into_inner()),
            // Nothing was asked, or nobody knows whether it was: either way no response has come.
            Ok(Err(_)) | Err(_) => watching.time.sleep(RETRY_PAUSE).await,
        }
        if watching.patience().is_none() {
            return watching.over();
        }
    };
    watching.begins(asked);
    loop {
        let Some(patience) = watching.patience() else { return watching.over() };
        let Ok(response) = madsim::time::timeout(patience, responses.next()).await else { continue };
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
