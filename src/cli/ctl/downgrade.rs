//! `downgrade validate|enable|cancel`: prepares the cluster for members of an earlier version.

use prost::Message as _;

use crate::cli::ctl::args::Downgrade;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::CtlError;
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::{Render, Style};
use crate::pb::etcdserverpb::downgrade_request::DowngradeAction;
use crate::pb::etcdserverpb::{DowngradeRequest, DowngradeResponse};

/// Runs one of the downgrade commands.
///
/// # Errors
/// Bad words, or the server's.
pub async fn downgrade(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    command: Downgrade,
) -> Result<Vec<u8>, CtlError> {
    let (action, name, version) = match command {
        Downgrade::Validate { words } => (DowngradeAction::Validate, "validate", target(words)?),
        Downgrade::Enable { words } => (DowngradeAction::Enable, "enable", target(words)?),
        Downgrade::Cancel => (DowngradeAction::Cancel, "cancel", String::new()),
    };
    let client = connect().await?;
    let request = client.request(DowngradeRequest { action: action.into(), version });
    let answer = client.call(client.maintenance().downgrade(request)).await?;
    style.render(&Done { what: name, answer })
}

fn target(mut words: Vec<String>) -> Result<String, CtlError> {
    match (words.pop(), words.is_empty()) {
        (Some(version), true) => Ok(version),
        (Some(_), false) => Err(CtlError::bad_args("too many arguments")),
        (None, _) => Err(CtlError::bad_args("no target version specified")),
    }
}

/// What was done, and the answer that said so.
struct Done {
    what: &'static str,
    answer: DowngradeResponse,
}

impl Render for Done {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        let Done { what, answer } = self;
        let line = format!("Downgrade {what} success, cluster version {}\n", answer.version);
        out.extend(line.into_bytes());
    }

    fn json(&self) -> Json {
        Object::new()
            .with_header("header", self.answer.header.as_ref())
            .with_some("version", self.answer.version.as_str())
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.answer.header.as_ref());
        out.quoted("Version", self.answer.version.as_bytes());
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}
