//! `watch`: prints every change of a range until it is stopped.
//!
//! One watcher a run. It ends with an error when the server cancels it: a script must never take silence for
//! "nothing happened".

use futures_util::{StreamExt as _, stream};

use crate::cli::ctl::args::Watch;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::kv;
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::{Render, Style};
use crate::cli::ctl::{emit, emit_error};
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::pb::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use crate::pb::mvccpb::Event;
use crate::pb::mvccpb::event::EventType;

/// Runs `watch`; returns only with an error.
///
/// # Errors
/// Bad words, a cancelled watch, a lost server.
pub async fn watch(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    watch: Watch,
) -> Result<Vec<u8>, CtlError> {
    if watch.interactive {
        return Err(CtlError::new(Exit::BadFeature, "watch --interactive is not supported yet"));
    }
    let (key, range_end) = match watch.words.as_slice() {
        [_] | [_, _] => kv::range_of("watch", &watch.words, watch.prefix, false)
            .map_err(|_| CtlError::bad_args("`range_end` and `--prefix` are mutually exclusive"))?,
        _ => return Err(CtlError::bad_args("bad number of arguments")),
    };
    let create = WatchCreateRequest {
        key,
        range_end,
        start_revision: watch.rev,
        progress_notify: watch.progress_notify,
        prev_kv: watch.prev_kv,
        ..WatchCreateRequest::default()
    };
    let client = connect().await?;
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = stream::once(async move { create }).chain(stream::pending());
    let mut responses = client.watch().watch(client.request(requests)).await?.into_inner();
    while let Some(response) = responses.message().await? {
        if response.created && !response.canceled {
            continue;
        }
        if response.canceled {
            emit_error(&format!("watch was canceled ({})\n", cause(&response)))?;
        }
        if response.events.is_empty() && !response.canceled {
            let revision = response.header.unwrap_or_default().revision;
            emit(format!("progress notify: {revision}\n").as_bytes())?;
        }
        emit(&style.render(&response)?)?;
        if response.canceled {
            return Err(CtlError::new(Exit::Interrupted, "watch is canceled by the server"));
        }
    }
    Err(CtlError::new(Exit::Interrupted, "watch is canceled by the server"))
}

/// Why the server gave the watch up.
fn cause(response: &WatchResponse) -> String {
    if response.compact_revision != 0 {
        "etcdserver: mvcc: required revision has been compacted".to_owned()
    } else if response.cancel_reason.is_empty() {
        "etcdserver: mvcc: required revision is a future revision".to_owned()
    } else {
        response.cancel_reason.clone()
    }
}

fn kind(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

impl Render for WatchResponse {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        for event in &self.events {
            out.extend(format!("{}\n", kind(event)).into_bytes());
            for pair in event.prev_kv.iter().chain(&event.kv) {
                kv::simple_pair(pair, style, out);
            }
        }
    }

    fn json(&self) -> Json {
        let events: Vec<Json> = self
            .events
            .iter()
            .map(|event| {
                Object::new()
                    .with_some("type", i64::from(event.r#type))
                    .with_some("kv", event.kv.as_ref())
                    .with_some("prev_kv", event.prev_kv.as_ref())
                    .into()
            })
            .collect();
        Object::new()
            .with_header("Header", self.header.as_ref())
            .with("Events", events)
            .with("CompactRevision", self.compact_revision)
            .with("Canceled", self.canceled)
            .with("Created", self.created)
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        for event in &self.events {
            out.value("Type", kind(event));
            if let Some(kv) = &event.prev_kv {
                out.key_value("Prev", kv);
            }
            if let Some(kv) = &event.kv {
                out.key_value("", kv);
            }
        }
    }
}
