//! `endpoint health|status|hashkv`: the same question to each member, all at once.
//!
//! A member that does not answer never hides the answers of the others; the command fails at its end.

use std::time::Instant;

use futures_util::future::join_all;

use crate::cli::ctl::args::{Endpoint, Question};
use crate::cli::ctl::client::{Client, Target};
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::table::Table;
use crate::cli::ctl::render::{Format, Render, Style, text};
use crate::cli::ctl::{emit, emit_error, member};
use crate::config::duration;
use crate::pb::etcdserverpb::alarm_request::AlarmAction;
use crate::pb::etcdserverpb::{
    AlarmRequest, AlarmType, HashKvRequest, HashKvResponse, RangeRequest, StatusRequest, StatusResponse,
};

/// The key whose reading shows that a member can serve; it need not exist.
const HEALTH_KEY: &[u8] = b"health";

/// Runs one of the endpoint commands.
///
/// # Errors
/// A member that does not answer, or is unhealthy.
pub async fn endpoint(target: &Target, style: Style, command: Endpoint) -> Result<Vec<u8>, CtlError> {
    let mut target = target.clone();
    if command.cluster {
        let client = target.connect().await?;
        let members = member::list(&client, false).await?.members;
        target.endpoints = members.into_iter().flat_map(|member| member.client_ur_ls).collect();
    }
    match command.question {
        Question::Health => health(&target, style).await,
        Question::Status => status(&target, style).await,
        Question::Hashkv { rev } => hash_kv(&target, style, rev).await,
    }
}

async fn health(target: &Target, style: Style) -> Result<Vec<u8>, CtlError> {
    let checks = target.endpoints.iter().map(|endpoint| async {
        let start = Instant::now();
        let result = check_health(target, endpoint).await;
        let took = duration::format(start.elapsed());
        Health { endpoint: endpoint.clone(), took, error: result.err().map_or_else(String::new, |e| e.text) }
    });
    let answers = Healths(join_all(checks).await);
    let sick = answers.0.iter().any(|health| !health.error.is_empty());
    if style.format == Format::Simple {
        // The healthy to standard output, the others to standard error, in the order of the endpoints.
        for health in &answers.0 {
            let line = health.line();
            if health.error.is_empty() { emit(line.as_bytes())? } else { emit_error(&line)? }
        }
    } else {
        emit(&style.render(&answers)?)?;
    }
    if sick { Err(CtlError::new(Exit::Error, "unhealthy cluster")) } else { Ok(Vec::new()) }
}

async fn check_health(target: &Target, endpoint: &str) -> Result<(), CtlError> {
    let client = target.connect_to(endpoint).await?;
    let request = RangeRequest { key: HEALTH_KEY.into(), ..RangeRequest::default() };
    match client.call(client.kv().range(client.request(request))).await {
        // Whoever may not read the key was still answered by a member that can commit.
        Err(error) if error.text == "etcdserver: permission denied" => {}
        answer => drop(answer?),
    }
    let request = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    let Ok(answer) = client.call(client.maintenance().alarm(client.request(request))).await else {
        return Err(CtlError::new(Exit::Error, "Unable to fetch the alarm list"));
    };
    let alarms: Vec<&str> = answer
        .alarms
        .iter()
        .map(|alarm| alarm.alarm())
        .filter(|alarm| *alarm != AlarmType::None)
        .map(|alarm| alarm.as_str_name())
        .collect();
    if alarms.is_empty() {
        return Ok(());
    }
    Err(CtlError::new(Exit::Error, format!("Active Alarm(s): {} ", alarms.join(" "))))
}

/// Asks every endpoint; those that fail are named on standard error and missing in the result.
///
/// # Errors
/// Standard error cannot be written.
pub async fn ask_all<T>(
    target: &Target,
    what: &str,
    ask: impl AsyncFn(Client) -> Result<T, CtlError>,
) -> Result<(Vec<(String, T)>, bool), CtlError> {
    let questions = target.endpoints.iter().map(|endpoint| {
        let ask = &ask;
        async move {
            let answer = match target.connect_to(endpoint).await {
                Ok(client) => ask(client).await,
                Err(error) => Err(error),
            };
            (endpoint.clone(), answer)
        }
    });
    let mut answers = Vec::new();
    let mut failed = false;
    for (endpoint, answer) in join_all(questions).await {
        match answer {
            Ok(answer) => answers.push((endpoint, answer)),
            Err(error) => {
                failed = true;
                emit_error(&format!("Failed to get the {what} of endpoint {endpoint} ({error})\n"))?;
            }
        }
    }
    Ok((answers, failed))
}

/// Prints what was answered; fails without another word if not all was.
fn finish(rendered: Vec<u8>, failed: bool) -> Result<Vec<u8>, CtlError> {
    if !failed {
        return Ok(rendered);
    }
    emit(&rendered)?;
    Err(CtlError::new(Exit::Error, ""))
}

async fn status(target: &Target, style: Style) -> Result<Vec<u8>, CtlError> {
    let (answers, failed) = ask_all(target, "status", async |client: Client| {
        client.call(client.maintenance().status(client.request(StatusRequest {}))).await
    })
    .await?;
    finish(style.render(&Statuses(answers))?, failed)
}

async fn hash_kv(target: &Target, style: Style, revision: i64) -> Result<Vec<u8>, CtlError> {
    let (answers, failed) = ask_all(target, "hash", async |client: Client| {
        client.call(client.maintenance().hash_kv(client.request(HashKvRequest { revision }))).await
    })
    .await?;
    finish(style.render(&Hashes(answers))?, failed)
}

struct Health {
    endpoint: String,
    took: String,
    /// Empty for a healthy member.
    error: String,
}

impl Health {
    fn line(&self) -> String {
        let Health { endpoint, took, error } = self;
        if error.is_empty() {
            format!("{endpoint} is healthy: successfully committed proposal: took = {took}\n")
        } else {
            format!("{endpoint} is unhealthy: failed to commit proposal: {error}\n")
        }
    }
}

struct Healths(Vec<Health>);

impl Render for Healths {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        for health in &self.0 {
            out.extend(health.line().into_bytes());
        }
    }

    fn json(&self) -> Json {
        let item = |health: &Health| {
            Object::new()
                .with("endpoint", health.endpoint.as_str())
                .with("health", health.error.is_empty())
                .with("took", health.took.as_str())
                .with_some("error", health.error.as_str())
                .into()
        };
        Json::List(self.0.iter().map(item).collect())
    }

    fn fields(&self, out: &mut Fields) {
        for health in &self.0 {
            out.quoted("Endpoint", health.endpoint.as_bytes());
            out.value("Health", health.error.is_empty());
            out.value("Took", &health.took);
            out.value("Error", &health.error);
            out.gap();
        }
    }

    fn table(&self) -> Option<Table> {
        let row = |health: &Health| {
            let healthy = health.error.is_empty().to_string();
            vec![health.endpoint.clone(), healthy, health.took.clone(), health.error.clone()]
        };
        Some(Table {
            headings: vec!["endpoint", "health", "took", "error"],
            rows: self.0.iter().map(row).collect(),
        })
    }
}

struct Statuses(Vec<(String, StatusResponse)>);

/// The share of the file that holds nothing, in whole percent.
fn percentage_not_in_use(status: &StatusResponse) -> i64 {
    let free = status.db_size.saturating_sub(status.db_size_in_use);
    free.saturating_mul(100).checked_div(status.db_size).unwrap_or(0)
}

fn status_rows(statuses: &Statuses) -> Table {
    let row = |(endpoint, status): &(String, StatusResponse)| {
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        vec![
            endpoint.clone(),
            format!("{:x}", status.header.unwrap_or_default().member_id),
            status.version.clone(),
            status.storage_version.clone(),
            text::size(status.db_size),
            text::size(status.db_size_in_use),
            format!("{}%", percentage_not_in_use(status)),
            text::size(status.db_size_quota),
            (status.leader == status.header.unwrap_or_default().member_id).to_string(),
            status.is_learner.to_string(),
            status.raft_term.to_string(),
            status.raft_index.to_string(),
            status.raft_applied_index.to_string(),
            status.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    };
    Table {
        headings: vec![
            "endpoint",
            "ID",
            "version",
            "storage version",
            "db size",
            "in use",
            "percentage not in use",
            "quota",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
            "downgrade target version",
            "downgrade enabled",
        ],
        rows: statuses.0.iter().map(row).collect(),
    }
}

impl Render for Statuses {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        status_rows(self).simple(out);
    }

    fn json(&self) -> Json {
        let item = |(endpoint, status): &(String, StatusResponse)| {
            let downgrade = status.downgrade_info.as_ref().map_or(Json::Null, |info| {
                Object::new()
                    .with_some("enabled", info.enabled)
                    .with_some("targetVersion", info.target_version.as_str())
                    .into()
            });
            let status = Object::new()
                .with_header("header", status.header.as_ref())
                .with_some("version", status.version.as_str())
                .with_some("dbSize", status.db_size)
                .with_some("leader", status.leader)
                .with_some("raftIndex", status.raft_index)
                .with_some("raftTerm", status.raft_term)
                .with_some("raftAppliedIndex", status.raft_applied_index)
                .with_some("errors", status.errors.as_slice())
                .with_some("dbSizeInUse", status.db_size_in_use)
                .with_some("isLearner", status.is_learner)
                .with_some("storageVersion", status.storage_version.as_str())
                .with_some("dbSizeQuota", status.db_size_quota)
                .with_some("downgradeInfo", downgrade);
            Object::new().with("Endpoint", endpoint.as_str()).with("Status", status).into()
        };
        Json::List(self.0.iter().map(item).collect())
    }

    fn fields(&self, out: &mut Fields) {
        for (endpoint, status) in &self.0 {
            let downgrade = status.downgrade_info.clone().unwrap_or_default();
            out.header(status.header.as_ref());
            out.quoted("Version", status.version.as_bytes());
            out.quoted("StorageVersion", status.storage_version.as_bytes());
            out.value("DBSize", status.db_size);
            out.value("DBSizeInUse", status.db_size_in_use);
            out.value("DBSizeQuota", status.db_size_quota);
            out.value("Leader", status.leader);
            out.value("IsLearner", status.is_learner);
            out.value("RaftIndex", status.raft_index);
            out.value("RaftTerm", status.raft_term);
            out.value("RaftAppliedIndex", status.raft_applied_index);
            out.value("Errors", format!("[{}]", status.errors.join(" ")));
            out.quoted("Endpoint", endpoint.as_bytes());
            out.quoted("DowngradeTargetVersion", downgrade.target_version.as_bytes());
            out.value("DowngradeEnabled", downgrade.enabled);
            out.gap();
        }
    }

    fn table(&self) -> Option<Table> {
        Some(status_rows(self))
    }
}

struct Hashes(Vec<(String, HashKvResponse)>);

fn hash_rows(hashes: &Hashes) -> Table {
    let row = |(endpoint, answer): &(String, HashKvResponse)| {
        vec![endpoint.clone(), answer.hash.to_string(), answer.hash_revision.to_string()]
    };
    Table { headings: vec!["endpoint", "hash", "hash_revision"], rows: hashes.0.iter().map(row).collect() }
}

impl Render for Hashes {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        hash_rows(self).simple(out);
    }

    fn json(&self) -> Json {
        let item = |(endpoint, answer): &(String, HashKvResponse)| {
            let hash = Object::new()
                .with_header("header", answer.header.as_ref())
                .with_some("hash", answer.hash)
                .with_some("compact_revision", answer.compact_revision)
                .with_some("hash_revision", answer.hash_revision);
            Object::new().with("Endpoint", endpoint.as_str()).with("HashKV", hash).into()
        };
        Json::List(self.0.iter().map(item).collect())
    }

    fn fields(&self, out: &mut Fields) {
        for (endpoint, answer) in &self.0 {
            out.header(answer.header.as_ref());
            out.quoted("Endpoint", endpoint.as_bytes());
            out.value("Hash", answer.hash);
            out.value("HashRevision", answer.hash_revision);
            out.gap();
        }
    }

    fn table(&self) -> Option<Table> {
        Some(hash_rows(self))
    }
}
