//! The product's entry points, all in one place: how a member is started, asked and looked at.
//!
//! Nothing else in the world names the product's own types of requests, statuses or errors, except where operators ask
//! for changes of the cluster (`changes`) and clients convert them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate::config::CorruptionChecks;
use quorate::env::Env;
use quorate::machine::check::check_txn;
use quorate::machine::command::{self, Answer, Command, CommandError, RangeReply};
use quorate::machine::watch::{CatchUpBudget, WatchLimits};
use quorate::node::{self, Credential, MemberConfig, Security, repair};
use quorate::peer::Dialer;
use quorate::peer::join::{JoinError, Place, find_place, kept_place};
use quorate::raft::pending::ProposeError;
use quorate::storage::engine::{EngineKind, Identity};
use quorate::storage::wal;
use quorate::types::{ClusterId, LogId, MemberId, Revision, Term};
use quorate_check::error_table::Code;
use quorate_check::history as seen;

use super::tenant::Tenant;
use crate::plan::{self, Knobs, MemberIndex, Plan};

/// A running member.
pub type Member = Arc<node::Member>;

/// The port that peers call.
pub const PEER_PORT: u16 = 2380;
/// The port that clients call.
pub const CLIENT_PORT: u16 = 2379;
/// The data directory of every member, on a disk of its own.
pub const DATA_DIR: &str = "/data";
/// How long a member may take to say which cluster it belongs to.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// The cluster that every simulated member belongs to.
const CLUSTER: ClusterId = ClusterId(0xC1);

/// What a member says that ends because it was removed.
pub const REMOVED: &str = "was removed from the cluster";
/// What a member says that finds nobody to tell it its place in a cluster.
pub const NOBODY_ANSWERS: &str = "cannot join: no member of the cluster answers";
/// What a member says whose engine is damaged, and to whom no other gave a state.
pub const NOT_REBUILT: &str = "nobody gave a state to build it anew from";
/// What a member says that has lost its log, and that its cluster has not taken back yet.
pub const NOT_READMITTED: &str = "the member is not taken back yet, the next start asks again";
/// Words of a state engine that does not know where exactly the damage is.
pub const NOT_NEAR: [&str; 2] = ["redb gave up", "before its pages could be verified"];
/// Words of a member that refuses to start since it has parted from the others.
pub const PARTED: &str = "is corrupt: its history up to revision";
/// Words of a member that refuses to start since the cluster does not know of it.
pub const NOT_LISTED: &str = "has no member with the peer URLs";

/// What stands in the files of a member.
pub fn identity(member: MemberId) -> Identity {
    Identity { cluster: CLUSTER, member }
}

/// The id of a founder.
pub fn founder_id(index: MemberIndex) -> MemberId {
    MemberId(plan::founder_id(index).0)
}

/// The address under which everybody knows a member; the network carries what is sent there to its own.
pub fn public_address(index: MemberIndex) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, index.0 + 1)
}

/// The address of the host that a member runs on.
pub fn own_address(index: MemberIndex) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, index.0 + 1)
}

/// Where peers reach a member.
pub fn peer_url(index: MemberIndex) -> String {
    format!("http://{}:{PEER_PORT}", public_address(index))
}

/// Where clients reach a member.
pub fn client_url(index: MemberIndex) -> String {
    format!("http://{}:{CLIENT_PORT}", public_address(index))
}

/// Starts a member.
///
/// # Errors
/// Why it refused, in one line.
pub(super) async fn start(
    plan: &Plan,
    index: MemberIndex,
    tenant: Tenant,
    env: Env,
) -> Result<Member, String> {
    let place = place(plan, index, tenant, &env).await?;
    node::start(config(plan, index, tenant, place), env).await.map_err(|error| error.to_string())
}

/// Where a member keeps its data: every member that was in a place has a disk of its own.
fn data_dir(generation: u32) -> PathBuf {
    if generation == 0 { PathBuf::from(DATA_DIR) } else { PathBuf::from(format!("{DATA_DIR}-{generation}")) }
}

/// Where a member's write-ahead log stands on its disk.
pub fn wal_dir(generation: u32) -> PathBuf {
    node::wal_dir(&data_dir(generation))
}

/// Whether this file is a segment of a write-ahead log.
pub fn is_segment(path: &str) -> bool {
    path.starts_with(DATA_DIR) && path.contains("/wal/") && path.ends_with(".wal")
}

/// Whether this file is a state engine's that was moved out of the way since it is damaged.
pub fn is_engine_aside(path: &str) -> bool {
    path.contains(".aside-")
}

/// Whether this file was moved out of the way since it, or something beside it, is damaged: no process reads it any more.
pub fn is_aside(path: &str) -> bool {
    is_engine_aside(path) || path.contains("/damaged-")
}

/// Whether this file is made by a member that has lost its log: the first that it does about it on its disk.
pub fn begins_repair(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "repair.lock" || name == "lost-member.new")
}

/// The state engine's file on a member's disk.
pub fn engine_file(generation: u32) -> String {
    state_dir(generation).join(quorate::storage::engine::redb::FILE_NAME).display().to_string()
}

/// The folder of the state engine's files.
pub fn state_dir(generation: u32) -> PathBuf {
    data_dir(generation).join("state")
}

/// Whether this file is a state engine's.
pub fn is_engine(path: &str) -> bool {
    path.starts_with(DATA_DIR) && path.ends_with(quorate::storage::engine::redb::FILE_NAME)
}

/// Which member of which cluster this is: as in production, a log that is there decides, then whether the cluster is
/// to be founded or joined.
async fn place(plan: &Plan, index: MemberIndex, tenant: Tenant, env: &Env) -> Result<Place, String> {
    let founders = (0_u8..).zip(&plan.members).map(|(number, _)| MemberIndex(number));
    let founders = founders.filter(|index| plan.founds(*index)).map(|index| command::Member {
        id: founder_id(index),
        name: index.to_string(),
        peer_urls: vec![peer_url(index)],
        ..command::Member::default()
    });
    let founder = (!tenant.joins).then(|| Place {
        cluster: CLUSTER,
        member: founder_id(index),
        members: founders.collect(),
        joins: false,
    });
    let (dir, wal_dir) = (data_dir(tenant.generation), wal_dir(tenant.generation));
    let failed = |error: std::io::Error| format!("data directory {}: {error}", dir.display());
    let kept = kept_place(&*env.disk, &wal_dir, founder.as_ref()).map_err(failed)?;
    // A note of a lost log is there only where members may have themselves taken back.
    let repairs = plan.knobs.self_repair;
    let lost = if repairs { repair::lost_member(env, &dir).map_err(failed)? } else { None };
    if let Some(place) = kept.or(lost.map(repair::lost_place)).or(founder) {
        return Ok(place);
    }
    let (dialer, seeds, own) = (Dialer::default(), seeds(plan, index), [peer_url(index)]);
    match find_place(&*env.clock, &dialer, &seeds, &own, DISCOVER_TIMEOUT).await {
        Err(JoinError::Started { cluster, member, .. }) if repairs => {
            let lost = wal::Identity { cluster, member };
            repair::disk_is_lost(env, &dir, lost).map_err(failed)?;
            Ok(repair::lost_place(lost))
        }
        found => found.map_err(|error| error.to_string()),
    }
}

/// Where the others are reached.
fn seeds(plan: &Plan, index: MemberIndex) -> Vec<String> {
    let places = (0_u8..).zip(&plan.members).map(|(number, _)| MemberIndex(number));
    places.filter(|other| *other != index).map(peer_url).collect()
}

fn config(plan: &Plan, index: MemberIndex, tenant: Tenant, place: Place) -> MemberConfig {
    MemberConfig {
        name: index.to_string(),
        member: place.member,
        cluster: place.cluster,
        data_dir: data_dir(tenant.generation),
        members: place.members,
        joins: place.joins,
        seeds: seeds(plan, index),
        peer_urls: vec![peer_url(index)],
        peer_listen: SocketAddr::new(IpAddr::V4(own_address(index)), PEER_PORT),
        client_listen: vec![SocketAddr::new(IpAddr::V4(own_address(index)), CLIENT_PORT)],
        client_urls: vec![client_url(index)],
        engine: EngineKind::Redb,
        security: Security::default(),
        knobs: knobs(plan),
    }
}

fn knobs(plan: &Plan) -> node::Knobs {
    let knobs = &plan.knobs;
    node::Knobs {
        heartbeat_interval: Duration::from_millis(knobs.heartbeat_ms),
        election_timeout: Duration::from_millis(knobs.election_ms),
        wal_segment_bytes: knobs.wal_segment_bytes,
        snapshot_entries: knobs.snapshot_entries,
        snapshot_wal_bytes: knobs.snapshot_wal_bytes,
        keep_entries: knobs.keep_entries,
        batch_requests_max: usize::try_from(knobs.batch_requests_max).unwrap_or(usize::MAX),
        // Small, so that watchers fall behind and are caught up in many steps.
        watch_limits: WatchLimits {
            queue_responses_max: 8,
            short_scan_revisions: 4,
            ..WatchLimits::default()
        },
        watch_catch_up: CatchUpBudget { records: 8, ..CatchUpBudget::default() },
        lease_tick: Duration::from_millis(200),
        watch_progress_interval: Duration::from_millis(knobs.watch_progress_ms),
        maintenance_interval: Duration::from_millis(knobs.maintenance_ms),
        lease_checkpoint_interval: Duration::from_secs(2),
        engine_cache_bytes: knobs
            .engine_cache_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(node::Knobs::default().engine_cache_bytes),
        // As cheap as it gets: time spent on a password is no time of the simulated world.
        bcrypt_cost: 4,
        quota_bytes: knobs.quota_bytes.or(node::Knobs::default().quota_bytes),
        corruption_checks: corruption_checks(knobs),
        self_repair: knobs.self_repair,
        ..node::Knobs::default()
    }
}

fn corruption_checks(knobs: &Knobs) -> CorruptionChecks {
    let every = knobs.compare_ms.map(Duration::from_millis);
    CorruptionChecks { initial: knobs.compare_at_start, every, compact_hash_every: every }
}

/// Whether a file that is renamed becomes a segment of the write-ahead log: a spare that is put to use.
pub fn becomes_segment(from: &Path) -> bool {
    from.extension().is_some_and(|extension| extension == "spare")
}

/// The mark of a snapshot built.
pub const MARK_SNAPSHOT_BUILT: &str = "snapshot built";
/// The mark of a snapshot installed.
pub const MARK_SNAPSHOT_INSTALLED: &str = "snapshot installed";

/// A call that brought no answer.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Nothing was done.
    NothingDone(Code, String),
    /// It may have been done.
    Unknown(String),
}

/// Proposes a command, after the checks that a service makes before it does.
///
/// # Errors
/// [`Refusal`].
pub async fn propose(member: &Member, who: &Credential, command: Command) -> Result<Answer, Refusal> {
    if let Command::Txn(txn) = &command
        && let Err(error) = check_txn(txn, member.config().knobs.max_txn_ops)
    {
        return Ok(Answer { revision: member.status().revision, result: Err(error) });
    }
    member.propose_for(who, command).await.map_err(|error| match error {
        ProposeError::TooManyRequests | ProposeError::TooLarge => {
            Refusal::NothingDone(Code::ResourceExhausted, format!("etcdserver: {error}"))
        }
        _ => Refusal::Unknown(error.to_string()),
    })
}

/// What a read brought: the store's revision, and what was found or refused.
pub type RangeAnswer = (Revision, Result<RangeReply, CommandError>);

/// Reads a range.
///
/// # Errors
/// [`Refusal`].
pub async fn range(
    member: &Member,
    who: &Credential,
    range: command::Range,
    linearizable: bool,
) -> Result<RangeAnswer, Refusal> {
    let answer = member.range(who, range, linearizable).await;
    answer.map_err(|error| Refusal::Unknown(error.to_string()))
}

/// Clears the alarm about space, whoever raised it.
///
/// # Errors
/// [`Refusal`].
pub async fn disarm(member: &Member) -> Result<(), Refusal> {
    let alarms = member.alarms(&Credential::None).await;
    let alarms = alarms.map_err(|error| Refusal::Unknown(error.to_string()))?;
    let alarms = alarms.map_err(|error| Refusal::Unknown(error.to_string()))?;
    for (kind, by) in alarms.into_iter().filter(|(kind, _)| *kind == command::AlarmKind::NoSpace) {
        propose(member, &Credential::None, Command::Alarm { raise: false, member: by, kind }).await?;
    }
    Ok(())
}

/// What an alarm is about, in the history's terms.
pub fn alarm_kind(kind: command::AlarmKind) -> seen::AlarmKind {
    match kind {
        command::AlarmKind::NoSpace => seen::AlarmKind::NoSpace,
        command::AlarmKind::Corrupt => seen::AlarmKind::Corrupt,
    }
}

/// Whether these last words of a member are about a call that its disk refused.
pub fn names_disk_error(why: &str) -> bool {
    ["(os error 5)", "(os error 28)", "I/O error"].iter().any(|words| why.contains(words))
}

/// What is watched of a member.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub member: MemberId,
    /// Its term.
    pub term: Term,
    /// Who leads, as far as it knows.
    pub leader: Option<MemberId>,
    /// Whether it leads.
    pub is_leader: bool,
    /// The store's revision.
    pub revision: Revision,
    /// The last entry applied, with the state's hash there.
    pub hash: (Option<LogId>, u128),
    /// Whether it has no vote.
    pub is_learner: bool,
    /// The index of the last entry in its log.
    pub last: Option<u64>,
    /// The last entry it knows committed.
    pub committed: Option<LogId>,
    /// The last entry covered by its snapshot.
    pub snapshot: Option<LogId>,
    /// The last entry purged.
    pub purged: Option<LogId>,
    /// The first of the members that are said to have parted from the others.
    pub parted: Option<MemberId>,
}

/// A member's status now.
pub fn status(member: &Member) -> Status {
    let status = member.status();
    Status {
        cluster: status.cluster,
        member: status.member,
        term: status.raft.term,
        leader: status.raft.leader,
        is_leader: status.raft.is_leader,
        revision: status.revision,
        hash: status.hash,
        is_learner: status.raft.is_learner,
        last: status.raft.last,
        committed: status.raft.committed,
        snapshot: status.raft.snapshot,
        purged: status.raft.purged,
        parted: status
            .alarms
            .iter()
            .find(|(kind, member)| *kind == command::AlarmKind::Corrupt && member.0 != plan::NOBODY.0)
            .map(|(_, member)| *member),
    }
}
