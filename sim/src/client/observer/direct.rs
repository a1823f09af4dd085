//! Watches through members as objects: on the member's own host, so that they end when it does.

use std::sync::Arc;
use std::time::Duration;

use quorate::machine::watch::{Body, EventOptions, Filters, Response, WatchSpec};
use quorate::types::{KeyRange, Revision};
use quorate_check::history::{Header, WatchCreate, WatchEnd, WatchReceived};
use quorate_check::types::{ClusterId, MemberId, Nanos, Revision as Seen, Term};

use super::Watching;
use crate::client::convert;
use crate::plan::MemberIndex;
use crate::world::World;
use crate::world::product::{self, Member};

/// Responses taken from a stream at a time.
const RESPONSES_MAX: usize = 16;
/// How long an observer waits for a member that does not run.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Asks for progress again and again, until it is dropped.
struct Asking(madsim::task::JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the watch to its end.
pub(super) async fn watch(world: &World, index: MemberIndex, mut watching: Watching) -> WatchEnd {
    let (node, member) = loop {
        match world.reach(index) {
            Some(reached) => break reached,
            None => world.time().sleep(RETRY_PAUSE).await,
        }
        // Nobody may ever come to a place that is free.
        if watching.patience().is_none() {
            return watching.over();
        }
    };
    // Another may have moved in while nobody was there.
    watching.watch.member.id = world.member_id(index);
    watching.begins(world.time().now());
    let responses_max = if watching.pause.is_zero() { RESPONSES_MAX } else { 1 };
    let task = node.spawn(async move {
        let stream = Arc::new(member.watch());
        stream.create(spec(&watching.watch.create));
        let _asking = watching.asks_every.map(|every| {
            let (stream, time, record) = (stream.clone(), watching.time.clone(), watching.record.clone());
            let id = watching.watch.id;
            Asking(madsim::task::spawn(async move {
                loop {
                    time.sleep(every).await;
                    if !stream.room().await {
                        return;
                    }
                    record.watch_asks_progress(id, time.now());
                    stream.request_progress();
                }
            }))
        });
        loop {
            let Some(patience) = watching.patience() else { return watching.over() };
            let Ok(responses) = madsim::time::timeout(patience, stream.next(responses_max)).await else {
                continue;
            };
            if responses.is_empty() {
                return watching.broken("the member stopped");
            }
            for response in responses {
                let received = received(&member, watching.time.now(), &response);
                if let Some(end) = watching.received(received) {
                    return end;
                }
            }
            watching.pause().await;
        }
    });
    let died = |_| WatchEnd::Broken { at: world.time().now(), error: "the member died".to_owned() };
    task.await.unwrap_or_else(died)
}

fn spec(create: &WatchCreate) -> WatchSpec {
    let bytes = |bytes: &quorate_check::bytes::Bytes| bytes::Bytes::copy_from_slice(bytes.as_slice());
    let range = KeyRange::from_wire(bytes(&create.key), bytes(&create.range_end));
    WatchSpec {
        start: Revision(create.start_revision.0),
        options: EventOptions {
            filters: Filters { no_put: create.no_put, no_delete: create.no_delete },
            prev_kv: create.prev_kv,
        },
        progress_notify: create.progress_notify,
        fragment: create.fragment,
        ..WatchSpec::new(range)
    }
}

fn received(member: &Member, at: Nanos, response: &Response) -> WatchReceived {
    let status = product::status(member);
    let header = Header {
        cluster_id: ClusterId(status.cluster.0),
        member_id: MemberId(status.member.0),
        revision: Seen(response.revision.0),
        raft_term: Term(status.term.0),
    };
    let seen = WatchReceived { at, header, watch_id: response.watch_id.0, ..WatchReceived::default() };
    match &response.body {
        Body::Created => WatchReceived { created: true, ..seen },
        Body::Refused(why) => {
            WatchReceived { created: true, canceled: true, cancel_reason: why.to_string(), ..seen }
        }
        Body::Canceled => WatchReceived { canceled: true, ..seen },
        Body::Compacted(at) => WatchReceived { canceled: true, compact_revision: Seen(at.0), ..seen },
        Body::Progress => seen,
        Body::Events { set, more, .. } => {
            let events = set.events().iter().map(convert::watch_event).collect();
            WatchReceived { events, fragment: *more, ..seen }
        }
    }
}
