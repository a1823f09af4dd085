//! Observers: on every member a watch over every key from the first revision on, which resumes where it left off.
//!
//! They make every revision known, so that the fate of operations without an answer can be told.

use std::sync::Arc;
use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{MemberAsked, Watch, WatchCreate, WatchEnd, WatchReceived};
use quorate_check::types::{ClientId, Revision, WatchNo};
use tokio_stream::StreamExt as _;

use crate::client;
use crate::convert;
use crate::recorder::Recorder;

/// How long an observer waits before it tries a dead member again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Observers are clients with numbers from here on.
const FIRST_CLIENT: u64 = 1000;

/// How one watch ended.
struct Course {
    /// The last revision that was delivered whole.
    reached: Revision,
    /// The compacted revision that a cancel carried.
    compacted: Revision,
    end: WatchEnd,
}

/// Where an observer goes on that was told that its revisions are compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the compacted revision itself, which is promised to be there still.
    AtCompaction,
    /// Behind it: the reference, before its version 3.5.18, loses a delete at the compacted revision.
    BehindCompaction,
}

/// Watches one member for ever; drop the future to end it, which leaves its last watch open in the history.
pub async fn follow(endpoint: String, member: MemberAsked, recorder: Arc<Recorder>, resume: Resume) {
    let client = ClientId(FIRST_CLIENT + u64::from(member.index));
    let everything = Bytes::from(&b"\0"[..]);
    let mut next = Revision::FIRST;
    for nth in 0.. {
        let create = WatchCreate {
            key: everything.clone(),
            range_end: everything.clone(),
            start_revision: next,
            prev_kv: true,
            ..WatchCreate::default()
        };
        let id = WatchNo(client.0 * 1_000_000 + nth);
        let course = observe(
            &endpoint,
            &recorder,
            Watch { id, client, stream: nth, member, create, ..Watch::default() },
        )
        .await;
        recorder.watch_ends(id, course.end);
        let readable = match resume {
            Resume::BehindCompaction if course.compacted > Revision(0) => course.compacted.next(),
            _ => course.compacted,
        };
        next = next.max(course.reached.next()).max(readable);
    }
}

/// Runs one watch until its stream breaks or the server cancels it.
async fn observe(endpoint: &str, recorder: &Recorder, watch: Watch) -> Course {
    let mut course = Course { reached: Revision(0), compacted: Revision(0), end: WatchEnd::Open };
    let channel = loop {
        match client::connect(endpoint).await {
            Some(channel) => break channel,
            None => tokio::time::sleep(RETRY_PAUSE).await,
        }
    };
    let id = watch.id;
    let ask = convert::watch(&watch.create);
    recorder.watch_begins(Watch { invoked: recorder.now(), ..watch });
    let broken = |error: String| WatchEnd::Broken { at: recorder.now(), error };
    // The stream of requests must stay open for as long as the watch is wanted.
    let requests = tokio_stream::once(ask).chain(tokio_stream::pending());
    let mut responses = match client::watch_client(channel).watch(requests).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return Course { end: broken(status.to_string()), ..course },
    };
    loop {
        let response = match responses.next().await {
            Some(Ok(response)) => response,
            Some(Err(status)) => return Course { end: broken(status.to_string()), ..course },
            None => return Course { end: broken("the stream ended".to_owned()), ..course },
        };
        let received = WatchReceived {
            at: recorder.now(),
            header: convert::header(response.header.as_ref()),
            watch_id: response.watch_id,
            created: response.created,
            canceled: response.canceled,
            compact_revision: Revision(response.compact_revision),
            cancel_reason: response.cancel_reason,
            fragment: response.fragment,
            events: response.events.into_iter().map(convert::watch_event).collect(),
        };
        course.reached = received.events.last().map_or(course.reached, |last| last.kv.mod_revision);
        course.compacted = course.compacted.max(received.compact_revision);
        let (at, canceled) = (received.at, received.canceled);
        recorder.watch_received(id, received);
        if canceled {
            return Course { end: WatchEnd::ServerCancel { at }, ..course };
        }
    }
}
