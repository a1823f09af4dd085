//! `member list`.

use prost::Message as _;

use crate::cli::ctl::args::Member;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::table::Table;
use crate::cli::ctl::render::{Render, Style};
use crate::pb::etcdserverpb::{MemberListRequest, MemberListResponse};

/// Runs one of the member commands.
///
/// # Errors
/// An unknown consistency, or the server's.
pub async fn member(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    command: Member,
) -> Result<Vec<u8>, CtlError> {
    let Member::List { consistency, .. } = command;
    let linearizable = match consistency.as_str() {
        "l" => true,
        "s" => false,
        other => return Err(CtlError::new(Exit::BadFeature, format!("unknown consistency flag {other:?}"))),
    };
    let client = connect().await?;
    style.render(&list(&client, linearizable).await?)
}

/// The members, as one member knows them or as the cluster does.
///
/// # Errors
/// The server's.
pub async fn list(client: &Client, linearizable: bool) -> Result<MemberListResponse, CtlError> {
    client.call(client.cluster().member_list(client.request(MemberListRequest { linearizable }))).await
}

fn rows(answer: &MemberListResponse) -> Table {
    let row = |member: &crate::pb::etcdserverpb::Member| {
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
        let members: Vec<Json> = self
            .members
            .iter()
            .map(|member| {
                Object::new()
                    .with_some("ID", member.id)
                    .with_some("name", member.name.as_str())
                    .with_some("peerURLs", member.peer_ur_ls.as_slice())
                    .with_some("clientURLs", member.client_ur_ls.as_slice())
                    .with_some("isLearner", member.is_learner)
                    .into()
            })
            .collect();
        Object::new().with_header("header", self.header.as_ref()).with_some("members", members).into()
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
