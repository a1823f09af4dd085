//! `move-leader`: asks the member that leads to have another lead.

use prost::Message as _;

use crate::cli::ctl::args::MoveLeader;
use crate::cli::ctl::client::{Client, Target};
use crate::cli::ctl::endpoint::ask_all;
use crate::cli::ctl::error::CtlError;
use crate::cli::ctl::number;
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::table::Table;
use crate::cli::ctl::render::{Render, Style};
use crate::pb::etcdserverpb::{MoveLeaderRequest, MoveLeaderResponse, StatusRequest};

/// Runs the command. An endpoint that does not answer is named and passed over: it may be the reason to move.
///
/// # Errors
/// Bad words; none of the endpoints leads; the server's.
pub async fn move_leader(target: &Target, style: Style, command: MoveLeader) -> Result<Vec<u8>, CtlError> {
    let [word] = command.words.as_slice() else {
        return Err(CtlError::bad_args("move-leader command needs 1 argument"));
    };
    let to = number::parse_id(word).map_err(CtlError::bad_args)?;
    let (members, _) = ask_all(target, "status", async |client: Client| {
        let status = client.call(client.maintenance().status(client.request(StatusRequest {}))).await?;
        Ok((client, status))
    })
    .await?;
    let leader = members.into_iter().find_map(|(_, (client, status))| {
        (status.header.unwrap_or_default().member_id == status.leader).then_some((client, status.leader))
    });
    let Some((client, from)) = leader else {
        let endpoints = target.endpoints.join(" ");
        return Err(CtlError::bad_args(format!("no leader endpoint given at [{endpoints}]")));
    };
    let request = client.request(MoveLeaderRequest { target_id: to });
    let answer = client.call(client.maintenance().move_leader(request)).await?;
    style.render(&Moved { from, to, answer })
}

/// Who led, who leads now, and the answer that said so.
struct Moved {
    from: u64,
    to: u64,
    answer: MoveLeaderResponse,
}

impl Render for Moved {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend(format!("Leadership transferred from {:x} to {:x}\n", self.from, self.to).into_bytes());
    }

    fn json(&self) -> Json {
        Object::new().with_header("header", self.answer.header.as_ref()).into()
    }

    fn fields(&self, out: &mut Fields) {
        out.value("From", self.from);
        out.value("To", self.to);
    }

    fn table(&self) -> Option<Table> {
        let row = vec![format!("{:x}", self.from), format!("{:x}", self.to)];
        Some(Table { headings: vec!["from", "to"], rows: vec![row] })
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}
