//! `alarm list|disarm`: what members complain of, and an end to it.

use prost::Message as _;

use crate::cli::ctl::args::Alarm;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::CtlError;
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::{Render, Style};
use crate::pb::etcdserverpb::alarm_request::AlarmAction;
use crate::pb::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse};

/// Runs one of the alarm commands.
///
/// # Errors
/// Bad words, or the server's.
pub async fn alarm(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    command: Alarm,
) -> Result<Vec<u8>, CtlError> {
    match command {
        Alarm::List { words } => {
            refuse_words("list", &words)?;
            let client = connect().await?;
            style.render(&ask(&client, AlarmAction::Get, AlarmMember::default()).await?)
        }
        Alarm::Disarm { words } => {
            refuse_words("disarm", &words)?;
            let client = connect().await?;
            style.render(&disarm(&client).await?)
        }
    }
}

fn refuse_words(what: &str, words: &[String]) -> Result<(), CtlError> {
    if words.is_empty() {
        return Ok(());
    }
    Err(CtlError::bad_args(format!("alarm {what} command accepts no arguments")))
}

async fn ask(client: &Client, action: AlarmAction, of: AlarmMember) -> Result<AlarmResponse, CtlError> {
    let request = AlarmRequest { action: action.into(), member_id: of.member_id, alarm: of.alarm };
    client.call(client.maintenance().alarm(client.request(request))).await
}

/// Clears every alarm, each by itself; answers those that were cleared, under no header.
async fn disarm(client: &Client) -> Result<AlarmResponse, CtlError> {
    let active = ask(client, AlarmAction::Get, AlarmMember::default()).await?.alarms;
    let mut cleared = AlarmResponse::default();
    for alarm in active {
        cleared.alarms.extend(ask(client, AlarmAction::Deactivate, alarm).await?.alarms);
    }
    Ok(cleared)
}

impl Render for AlarmResponse {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        for alarm in &self.alarms {
            // An alarm that is nobody's in particular names no member.
            let of = match alarm.member_id {
                0 => String::new(),
                member => format!("memberID:{member} "),
            };
            out.extend(format!("{of}alarm:{} \n", alarm.alarm().as_str_name()).into_bytes());
        }
    }

    fn json(&self) -> Json {
        let item = |alarm: &AlarmMember| {
            let (member, kind) = (alarm.member_id, i64::from(alarm.alarm));
            Object::new().with_some("memberID", member).with_some("alarm", kind).into()
        };
        Object::new()
            .with_header("header", self.header.as_ref())
            .with_some("alarms", self.alarms.iter().map(item).collect::<Vec<Json>>())
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        for alarm in &self.alarms {
            out.value("MemberID", alarm.member_id);
            out.value("AlarmType", alarm.alarm().as_str_name());
            out.gap();
        }
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}
