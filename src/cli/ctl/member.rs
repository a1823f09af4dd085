//! `member list|add|remove|update|promote`.
//!
//! An answer to a change has all formats: after `fields` and `table` of one, `etcdctl` fails, although the change is made.

use prost::Message;

use crate::cli::ctl::args::Member;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::number;
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object, header_of};
use crate::cli::ctl::render::table::Table;
use crate::cli::ctl::render::{Render, Style, text};
use crate::config::Url;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::{MemberListRequest, MemberListResponse};

/// Runs one of the member commands.
///
/// # Errors
/// Bad words, an unknown consistency, or the server's.
pub async fn member(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    command: Member,
) -> Result<Vec<u8>, CtlError> {
    match command {
        Member::List { consistency, .. } => {
            let linearizable = match consistency.as_str() {
                "l" => true,
                "s" => false,
                other => {
                    return Err(CtlError::new(
                        Exit::BadFeature,
                        format!("unknown consistency flag {other:?}"),
                    ));
                }
            };
            let client = connect().await?;
            style.render(&list(&client, linearizable).await?)
        }
        Member::Add { words, peer_urls, learner } => {
            let [name] = words.as_slice() else {
                let why = if words.is_empty() { "member name not provided" } else { "too many arguments" };
                return Err(CtlError::bad_args(why));
            };
            let peer_ur_ls = addresses(&peer_urls)?;
            let advertised = peer_ur_ls.join(",");
            let client = connect().await?;
            let request = client.request(pb::MemberAddRequest { peer_ur_ls, is_learner: learner });
            let answer = client.call(client.cluster().member_add(request)).await?;
            style.render(&added(name, &advertised, answer))
        }
        Member::Remove { words } => {
            let id = only_id(&words)?;
            let client = connect().await?;
            let request = client.request(pb::MemberRemoveRequest { id });
            let answer = client.call(client.cluster().member_remove(request)).await?;
            let wire = answer.encode_to_vec();
            style.render(&Changed::new(id, "removed from", answer.header, answer.members, wire))
        }
        Member::Update { words, peer_urls } => {
            let id = only_id(&words)?;
            let peer_ur_ls = addresses(&peer_urls)?;
            let client = connect().await?;
            let request = client.request(pb::MemberUpdateRequest { id, peer_ur_ls });
            let answer = client.call(client.cluster().member_update(request)).await?;
            let wire = answer.encode_to_vec();
            style.render(&Changed::new(id, "updated in", answer.header, answer.members, wire))
        }
        Member::Promote { words } => {
            let id = only_id(&words)?;
            let client = connect().await?;
            let request = client.request(pb::MemberPromoteRequest { id });
            let answer = client.call(client.cluster().member_promote(request)).await?;
            let wire = answer.encode_to_vec();
            style.render(&Changed::new(id, "promoted in", answer.header, answer.members, wire))
        }
    }
}

/// The id that is the only word.
fn only_id(words: &[String]) -> Result<u64, CtlError> {
    let [word] = words else { return Err(CtlError::bad_args("member ID is not provided")) };
    number::parse_id(word)
        .map_err(|why| CtlError::bad_args(format!("bad member ID arg ({why}), expecting ID in Hex")))
}

/// A member's addresses for its peers, in the order given.
fn addresses(urls: &str) -> Result<Vec<String>, CtlError> {
    if urls.is_empty() {
        return Err(CtlError::bad_args("member peer urls not provided"));
    }
    let url = |text: &str| match Url::parse(text) {
        Ok(url) => Ok(url.as_str().to_owned()),
        Err(error) => Err(CtlError::new(Exit::Error, error.to_string())),
    };
    urls.split(',').map(url).collect()
}

/// A newcomer; people are told what its process needs to know.
fn added(name: &str, advertised: &str, answer: pb::MemberAddResponse) -> Changed {
    let wire = answer.encode_to_vec();
    let member = answer.member.unwrap_or_default();
    let urls: Vec<String> = answer
        .members
        .iter()
        .flat_map(|other| {
            let name = if other.id == member.id { name } else { &other.name };
            other.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
        })
        .collect();
    let done = if member.is_learner { "added as learner to" } else { "added to" };
    let mut changed = Changed::new(member.id, done, answer.header, answer.members, wire);
    for (variable, value) in [
        ("NAME", name),
        ("INITIAL_CLUSTER", &urls.join(",")),
        ("INITIAL_ADVERTISE_PEER_URLS", advertised),
        ("INITIAL_CLUSTER_STATE", "existing"),
    ] {
        let gap = if variable == "NAME" { "\n" } else { "" };
        changed.text.push_str(&format!("{gap}ETCD_{variable}={}\n", text::quote(value.as_bytes())));
    }
    changed.member = Some(member);
    changed
}

/// An answer to a change of members.
struct Changed {
    /// What people are told.
    text: String,
    /// The newcomer.
    member: Option<pb::Member>,
    /// The members after the change.
    after: MemberListResponse,
    /// The answer as it came.
    wire: Vec<u8>,
}

impl Changed {
    fn new(
        id: u64,
        done: &str,
        header: Option<pb::ResponseHeader>,
        members: Vec<pb::Member>,
        wire: Vec<u8>,
    ) -> Changed {
        let cluster = header_of(header.as_ref()).cluster_id;
        Changed {
            text: format!("Member {id:16x} {done} cluster {cluster:16x}\n"),
            member: None,
            after: MemberListResponse { header, members },
            wire,
        }
    }
}

impl Render for Changed {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
    }

    fn json(&self) -> Json {
        let answer = Object::new().with_header("header", self.after.header.as_ref());
        let answer = match &self.member {
            Some(member) => answer.with("member", member),
            None => answer,
        };
        answer.with_some("members", self.after.members.as_slice()).into()
    }

    fn fields(&self, out: &mut Fields) {
        self.after.fields(out);
    }

    fn table(&self) -> Option<Table> {
        self.after.table()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.wire.clone())
    }
}

/// The members, as one member knows them or as the cluster does.
///
/// # Errors
/// The server's.
pub async fn list(client: &Client, linearizable: bool) -> Result<MemberListResponse, CtlError> {
    client.call(client.cluster().member_list(client.request(MemberListRequest { linearizable }))).await
}

fn rows(answer: &MemberListResponse) -> Table {
    let row = |member: &pb::Member| {
        // A member has no name until it has started once.
        let status = if member.name.is_empty() { "unstarted" } else { "started" };
        vec![
            format!("{:x}", member.id),
            status.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    };
    Table {
        headings: vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
        rows: answer.members.iter().map(row).collect(),
    }
}

impl Render for MemberListResponse {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        rows(self).simple(out);
    }

    fn json(&self) -> Json {
        Object::new()
            .with_header("header", self.header.as_ref())
            .with_some("members", self.members.as_slice())
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        for member in &self.members {
            out.value("ID", member.id);
            out.quoted("Name", member.name.as_bytes());
            for url in &member.peer_ur_ls {
                out.quoted("PeerURL", url.as_bytes());
            }
            for url in &member.client_ur_ls {
                out.quoted("ClientURL", url.as_bytes());
            }
            out.value("IsLearner", member.is_learner);
            out.gap();
        }
    }

    fn table(&self) -> Option<Table> {
        Some(rows(self))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl From<&pb::Member> for Json {
    fn from(member: &pb::Member) -> Json {
        Object::new()
            .with_some("ID", member.id)
            .with_some("name", member.name.as_str())
            .with_some("peerURLs", member.peer_ur_ls.as_slice())
            .with_some("clientURLs", member.client_ur_ls.as_slice())
            .with_some("isLearner", member.is_learner)
            .into()
    }
}

impl From<&[pb::Member]> for Json {
    fn from(members: &[pb::Member]) -> Json {
        Json::List(members.iter().map(Json::from).collect())
    }
}
