//! `lease grant|revoke|timetolive|list|keep-alive`.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::ctl::args::Lease;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::{Format, Render, Style};
use crate::cli::ctl::{emit, number};
use crate::pb::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};

/// Runs one of the lease commands.
///
/// # Errors
/// Bad words, or the server's.
pub async fn lease(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    command: Lease,
) -> Result<Vec<u8>, CtlError> {
    match command {
        Lease::Grant { words } => {
            let word =
                words.first().ok_or_else(|| CtlError::bad_args("lease grant command needs TTL argument"))?;
            let ttl =
                number::parse(word, 10).map_err(|why| CtlError::bad_args(format!("bad TTL ({why})")))?;
            let client = connect().await?;
            let request = client.request(LeaseGrantRequest { ttl, id: 0 });
            let answer = client.call(client.lease().lease_grant(request)).await;
            style.render(&answer.map_err(|error| explain("grant lease", &error))?)
        }
        Lease::Revoke { words } => {
            let [word] = words.as_slice() else {
                return Err(CtlError::bad_args("lease revoke command needs 1 argument"));
            };
            let id = lease_id(word)?;
            let client = connect().await?;
            let request = client.request(LeaseRevokeRequest { id });
            let answer = client.call(client.lease().lease_revoke(request)).await;
            style.render(&Revoked { id, answer: answer.map_err(|error| explain("revoke lease", &error))? })
        }
        Lease::Timetolive { words, keys } => {
            let [word] = words.as_slice() else {
                return Err(CtlError::bad_args("lease timetolive command needs lease ID as argument"));
            };
            let id = lease_id(word)?;
            let client = connect().await?;
            let request = client.request(LeaseTimeToLiveRequest { id, keys });
            let answer = client.call(client.lease().lease_time_to_live(request)).await?;
            style.render(&TimeToLive { answer, keys })
        }
        Lease::List => {
            let client = connect().await?;
            let request = client.request(LeaseLeasesRequest {});
            style.render(&client.call(client.lease().lease_leases(request)).await?)
        }
        Lease::KeepAlive { words, once } => {
            let [word] = words.as_slice() else {
                return Err(CtlError::bad_args("lease keep-alive command needs lease ID as argument"));
            };
            let id = lease_id(word)?;
            let client = connect().await?;
            if once {
                keep_alive_once(&client, style, id).await
            } else {
                keep_alive(&client, style, id).await
            }
        }
    }
}

fn explain(what: &str, error: &CtlError) -> CtlError {
    CtlError::new(Exit::Error, format!("failed to {what} ({error})"))
}

fn lease_id(word: &str) -> Result<i64, CtlError> {
    number::parse(word, 16)
        .map_err(|why| CtlError::bad_args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}

fn broken(error: impl ToString) -> CtlError {
    CtlError::new(Exit::BadConnection, error.to_string())
}

async fn keep_alive_once(client: &Client, style: Style, id: i64) -> Result<Vec<u8>, CtlError> {
    // The stream stays open until the answer is there: a server may take its end for a goodbye.
    let requests = stream::once(async move { LeaseKeepAliveRequest { id } }).chain(stream::pending());
    let renewal = async {
        let mut answers = client
            .lease()
            .lease_keep_alive(client.request(requests))
            .await
            .map_err(CtlError::from)?
            .into_inner();
        answers.message().await.map_err(CtlError::from)
    };
    let answer = tokio::time::timeout(client.command_timeout(), renewal)
        .await
        .map_err(|_| broken(CtlError::deadline()))?
        .map_err(broken)?;
    match answer {
        Some(answer) if answer.ttl > 0 => style.render(&answer),
        Some(_) => Err(broken("etcdserver: requested lease not found")),
        None => Err(broken("the stream of renewals ended")),
    }
}

/// Renews at a third of the time to live, prints each renewal, and ends when the lease does.
async fn keep_alive(client: &Client, style: Style, id: i64) -> Result<Vec<u8>, CtlError> {
    let ended = || broken("the stream of renewals ended");
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    // A server may answer nothing, not even the call itself, before the first request is there.
    sender.send(LeaseKeepAliveRequest { id }).await.map_err(|_| ended())?;
    let requests = client.request(ReceiverStream::new(receiver));
    let mut answers = client.lease().lease_keep_alive(requests).await.map_err(CtlError::from)?.into_inner();
    loop {
        let answer = answers.message().await.map_err(CtlError::from).map_err(broken)?.ok_or_else(ended)?;
        let Ok(ttl_secs) = u64::try_from(answer.ttl) else { break };
        if ttl_secs == 0 {
            break;
        }
        emit(&style.render(&answer)?)?;
        tokio::time::sleep(Duration::from_secs(ttl_secs) / 3).await;
        sender.send(LeaseKeepAliveRequest { id }).await.map_err(|_| ended())?;
    }
    let gone = format!("lease {id:016x} expired or revoked.\n");
    Ok(if style.format == Format::Simple { gone.into_bytes() } else { Vec::new() })
}

impl Render for LeaseGrantResponse {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend(format!("lease {:016x} granted with TTL({}s)\n", self.id, self.ttl).into_bytes());
    }

    fn json(&self) -> Json {
        Object::new()
            .with_header_fields(self.header.as_ref())
            .with("ID", self.id)
            .with("TTL", self.ttl)
            .with("Error", self.error.as_str())
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        out.value("ID", self.id);
        out.value("TTL", self.ttl);
    }
}

/// A revoked lease and the answer that said so.
struct Revoked {
    id: i64,
    answer: LeaseRevokeResponse,
}

impl Render for Revoked {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend(format!("lease {:016x} revoked\n", self.id).into_bytes());
    }

    fn json(&self) -> Json {
        Object::new().with_header("header", self.answer.header.as_ref()).into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.answer.header.as_ref());
    }
}

impl Render for LeaseKeepAliveResponse {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend(format!("lease {:016x} keepalived with TTL({})\n", self.id, self.ttl).into_bytes());
    }

    fn json(&self) -> Json {
        Object::new()
            .with_header_fields(self.header.as_ref())
            .with("ID", self.id)
            .with("TTL", self.ttl)
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        out.value("ID", self.id);
        out.value("TTL", self.ttl);
    }
}

/// What is left of a lease, and whether its keys were asked for.
struct TimeToLive {
    answer: LeaseTimeToLiveResponse,
    keys: bool,
}

impl Render for TimeToLive {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        let LeaseTimeToLiveResponse { id, ttl, granted_ttl, .. } = self.answer;
        if granted_ttl == 0 && ttl == -1 {
            out.extend(format!("lease {id:016x} already expired\n").into_bytes());
            return;
        }
        out.extend(
            format!("lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)").into_bytes(),
        );
        if self.keys {
            out.extend_from_slice(b", attached keys([");
            for (index, key) in self.answer.keys.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                style.bytes(key, out);
            }
            out.extend_from_slice(b"])");
        }
        out.push(b'\n');
    }

    fn json(&self) -> Json {
        let keys = &self.answer.keys;
        let keys = if keys.is_empty() {
            Json::Null
        } else {
            Json::List(keys.iter().map(|key| Json::bytes(key)).collect())
        };
        Object::new()
            .with_header_fields(self.answer.header.as_ref())
            .with("id", self.answer.id)
            .with("ttl", self.answer.ttl)
            .with("granted-ttl", self.answer.granted_ttl)
            .with("keys", keys)
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.answer.header.as_ref());
        out.value("ID", self.answer.id);
        out.value("TTL", self.answer.ttl);
        out.value("GrantedTTL", self.answer.granted_ttl);
        for key in &self.answer.keys {
            out.quoted("Key", key);
        }
    }
}

impl Render for LeaseLeasesResponse {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend(format!("found {} leases\n", self.leases.len()).into_bytes());
        for lease in &self.leases {
            out.extend(format!("{:016x}\n", lease.id).into_bytes());
        }
    }

    fn json(&self) -> Json {
        let leases: Vec<Json> =
            self.leases.iter().map(|lease| Object::new().with("id", lease.id).into()).collect();
        Object::new().with_header_fields(self.header.as_ref()).with("leases", leases).into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        for lease in &self.leases {
            out.value("ID", lease.id);
        }
    }
}
