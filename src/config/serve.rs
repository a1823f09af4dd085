//! The configuration of one member: every option typed and checked, nothing left as text.
//!
//! [`ServeConfig`] is what the rest of the server sees; it knows no flags and no files. What can only be judged
//! beside a data directory ([`ServeConfig::verify_bootstrap`]) is asked by whoever bootstraps, because a member that
//! restarts does not look at its initial cluster again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::config::auth_token::AuthToken;
use crate::config::discovery::SrvDomain;
use crate::config::duration;
use crate::config::error::ConfigError;
use crate::config::flags::Care;
use crate::config::initial_cluster::InitialCluster;
use crate::config::limits;
use crate::config::settings::Settings;
use crate::config::tls::TlsConfig;
use crate::config::url::{Scheme, Url};

/// A configuration, and what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: ServeConfig,
    /// One line each, for the log.
    pub warnings: Vec<String>,
}

/// Where applied state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageEngine {
    /// redb: durable across power loss.
    Redb,
    /// sled: with the safety rules that it needs.
    Sled,
}

/// Whether the member's cluster is there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// All first members start together.
    New,
    /// The member was added to a running cluster.
    Existing,
}

/// History that is compacted without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Never.
    Off,
    /// Keep this much time.
    Periodic(Duration),
    /// Keep this many revisions.
    Revisions(i64),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Console,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The end of this file, which is made when absent.
    File(PathBuf),
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// How lines look.
    pub format: LogFormat,
    /// Where lines go: every line to each of them, none twice.
    pub outputs: Vec<LogOutput>,
    /// Requests that take longer are logged; zero logs none.
    pub slow_request: Duration,
    /// Applies that take longer are logged.
    pub slow_apply: Duration,
}

/// Checks of members against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorruptionChecks {
    /// Once before the member serves.
    pub initial: bool,
    /// Whole histories, this often.
    pub every: Option<Duration>,
    /// Hashes of compactions, this often.
    pub compact_hash_every: Option<Duration>,
}

/// Keep-alive of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A client that pings more often is sent away.
    pub min_time: Duration,
    /// Idle time after which the server pings; `None` is never.
    pub interval: Option<Duration>,
    /// Wait for the answer; `None` never closes.
    pub timeout: Option<Duration>,
}

/// Everything one member is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeConfig {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Folder of all that it keeps.
    pub data_dir: PathBuf,
    /// Folder of the write-ahead log, if apart.
    pub wal_dir: Option<PathBuf>,
    /// Where applied state lives.
    pub storage_engine: StorageEngine,

    /// Where it listens to other members.
    pub listen_peer_urls: Vec<Url>,
    /// Where it listens to clients.
    pub listen_client_urls: Vec<Url>,
    /// Where it listens to HTTP alone.
    pub listen_client_http_urls: Vec<Url>,
    /// Where it serves metrics and health alone.
    pub listen_metrics_urls: Vec<Url>,
    /// Where other members reach it.
    pub advertise_peer_urls: Vec<Url>,
    /// Where clients reach it.
    pub advertise_client_urls: Vec<Url>,

    /// Where the first members are looked up instead.
    pub discovery: Option<SrvDomain>,
    /// The first members; none while they are still to be looked up.
    pub initial_cluster: InitialCluster,
    /// Whether the cluster is there yet.
    pub initial_cluster_state: ClusterState,
    /// Tells clusters apart that begin alike.
    pub initial_cluster_token: String,

    /// Time between heartbeats.
    pub heartbeat_interval: Duration,
    /// Silence after which an election begins.
    pub election_timeout: Duration,
    /// Whether votes are asked for before standing.
    pub pre_vote: bool,
    /// Whether membership changes that would cost the quorum are refused.
    pub strict_reconfig: bool,
    /// Learners in the cluster.
    pub learners_max: u32,
    /// Whether a member that has lost its log may have itself taken back under another id.
    pub self_repair: bool,
    /// Log entries between snapshots.
    pub snapshot_entries: u64,
    /// Log entries kept behind a snapshot.
    pub snapshot_catchup_entries: u64,

    /// Logical bytes the store may hold; `None` is no limit.
    pub quota_bytes: Option<u64>,
    /// Operations in a transaction, on each level.
    pub txn_ops_max: usize,
    /// Bytes of the largest request.
    pub request_bytes_max: usize,
    /// Streams that a client connection may hold.
    pub streams_max: u32,
    /// Keep-alive of client connections.
    pub keepalive: Keepalive,
    /// Time between revisions told to idle watchers.
    pub watch_progress_interval: Duration,

    /// History that is compacted without being asked.
    pub auto_compaction: AutoCompaction,
    /// Revisions removed in one step of a compaction.
    pub compaction_batch_revisions: u64,
    /// Pause between two steps.
    pub compaction_pause: Duration,
    /// Checks of members against each other.
    pub corruption_checks: CorruptionChecks,

    /// Certificates, and who has to show one.
    pub tls: TlsConfig,

    /// Cost of password hashes, 4 to 31.
    pub bcrypt_cost: u32,
    /// What tokens are.
    pub auth_token: AuthToken,
    /// How long a simple token lives without use.
    pub auth_token_ttl: Duration,

    /// Whether JSON over HTTP is served.
    pub gateway: bool,
    /// Origins that browsers may call from; `*` is all.
    pub cors: Vec<String>,
    /// Host names that HTTP requests may carry; `*` is all.
    pub host_whitelist: Vec<String>,
    /// Whether the costly metrics are kept too.
    pub extensive_metrics: bool,

    /// What is logged.
    pub log: LogConfig,
}

impl ServeConfig {
    /// Types and checks what was set.
    ///
    /// # Errors
    /// A value that cannot be, values that contradict each other, an option that is not supported yet.
    pub fn from_settings(settings: Settings) -> Result<Loaded, ConfigError> {
        let mut warnings = settings.warnings.clone();
        for (flag, value) in settings.all_given() {
            let changed = !same_value(value, flag.default);
            match flag.care {
                Care::Refused(why) if changed => {
                    return Err(ConfigError::NotSupported {
                        flag: flag.name.to_owned(),
                        why: why.to_owned(),
                    });
                }
                Care::Ignored(why) if changed => {
                    warnings.push(format!("--{}={value} has no effect: {why}", flag.name));
                }
                _ => {}
            }
        }
        let config = Reader(&settings).config(&mut warnings)?;
        config.check(&settings, &mut warnings)?;
        Ok(Loaded { config, warnings })
    }

    /// What a request may take in all: a base and two elections.
    pub fn request_timeout(&self) -> Duration {
        limits::REQUEST_TIMEOUT_BASE.saturating_add(self.election_timeout.saturating_mul(2))
    }

    /// Checks what a member that bootstraps a new cluster must have right: it is one of the first members, at the
    /// addresses that it tells the others.
    ///
    /// # Errors
    /// The name is missing from the initial cluster, or stands there with other addresses.
    pub fn verify_bootstrap(&self) -> Result<(), ConfigError> {
        let listed = self.initial_cluster.peer_urls(&self.name).ok_or_else(|| {
            ConfigError::Contradiction(format!(
                "couldn't find local name {:?} in the initial cluster configuration",
                self.name
            ))
        })?;
        if listed == self.advertise_peer_urls.as_slice() {
            return Ok(());
        }
        let join = |urls: &[Url]| urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
        Err(ConfigError::Contradiction(format!(
            "--initial-cluster has {}={} but --initial-advertise-peer-urls is {}",
            self.name,
            join(listed),
            join(&self.advertise_peer_urls)
        )))
    }

    fn check(&self, settings: &Settings, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        let contradiction = |what: String| Err(ConfigError::Contradiction(what));
        if settings.given("listen-client-urls").is_some() && settings.given("advertise-client-urls").is_none()
        {
            return contradiction(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned(),
            );
        }
        let (heartbeat, election) = (self.heartbeat_interval, self.election_timeout);
        if heartbeat.is_zero() || election.is_zero() {
            return contradiction(
                "--heartbeat-interval and --election-timeout must be greater than 0".to_owned(),
            );
        }
        if election < heartbeat.saturating_mul(limits::ELECTION_HEARTBEATS_MIN) {
            return contradiction(format!(
                "--election-timeout[{}ms] should be at least as 5 times as --heartbeat-interval[{}ms]",
                election.as_millis(),
                heartbeat.as_millis()
            ));
        }
        if election > limits::ELECTION_TIMEOUT_MAX {
            return contradiction(format!(
                "--election-timeout[{}ms] is too long, and should be set less than {}ms",
                election.as_millis(),
                limits::ELECTION_TIMEOUT_MAX.as_millis()
            ));
        }
        for (flag, urls) in [
            ("listen-peer-urls", &self.listen_peer_urls),
            ("listen-client-urls", &self.listen_client_urls),
            ("listen-client-http-urls", &self.listen_client_http_urls),
            ("listen-metrics-urls", &self.listen_metrics_urls),
        ] {
            if let Some(url) = urls.iter().find(|url| !url.is_bindable()) {
                return contradiction(format!("expected IP in URL for binding (--{flag}: {url})"));
            }
        }
        if self.learners_max == 0 {
            return contradiction("--max-learners must be greater than 0".to_owned());
        }
        if self.request_bytes_max > limits::REQUEST_BYTES_LARGEST {
            return contradiction(format!(
                "--max-request-bytes={} is more than the {} that fit into a message between members",
                self.request_bytes_max,
                limits::REQUEST_BYTES_LARGEST
            ));
        }
        if self.request_bytes_max > limits::REQUEST_BYTES_WARN {
            warnings.push(format!(
                "--max-request-bytes={} is more than the recommended {}",
                self.request_bytes_max,
                limits::REQUEST_BYTES_WARN
            ));
        }
        if self.quota_bytes.is_some_and(|quota| quota > limits::QUOTA_BYTES_WARN) {
            warnings.push(format!(
                "--quota-backend-bytes is more than the recommended {}",
                limits::QUOTA_BYTES_WARN
            ));
        }
        self.check_tls(warnings)
    }
}

/// Whether a value says the same as the default, however it is written.
fn same_value(value: &str, default: &str) -> bool {
    let switch = |text: &str| parse_switch(text);
    value == default
        || (switch(value).is_some() && switch(value) == switch(default))
        || matches!((duration::parse(value), duration::parse(default)), (Ok(a), Ok(b)) if a == b)
}

/// Go's spellings of true and false.
fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads typed values out of settings.
struct Reader<'a>(&'a Settings);

impl Reader<'_> {
    fn refuse<T>(&self, flag: &str, why: impl ToString) -> Result<T, ConfigError> {
        let value = self.0.value(flag).to_owned();
        Err(ConfigError::Value { flag: flag.to_owned(), value, why: why.to_string() })
    }

    fn number<T: FromStr>(&self, flag: &str) -> Result<T, ConfigError> {
        match self.0.value(flag).parse() {
            Ok(number) => Ok(number),
            Err(_) => self.refuse(flag, "want a whole number in range"),
        }
    }

    fn switch(&self, flag: &str) -> Result<bool, ConfigError> {
        match parse_switch(self.0.value(flag)) {
            Some(switch) => Ok(switch),
            None => self.refuse(flag, "want true or false"),
        }
    }

    fn duration(&self, flag: &str) -> Result<Duration, ConfigError> {
        duration::parse(self.0.value(flag)).or_else(|error| self.refuse(flag, error))
    }

    /// Zero means "off".
    fn optional_duration(&self, flag: &str) -> Result<Option<Duration>, ConfigError> {
        Ok(Some(self.duration(flag)?).filter(|duration| !duration.is_zero()))
    }

    fn path(&self, flag: &str) -> Option<PathBuf> {
        Some(self.0.value(flag)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn list(&self, flag: &str) -> Vec<String> {
        self.0
            .value(flag)
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    }

    fn urls(&self, flag: &str) -> Result<Vec<Url>, ConfigError> {
        let text = self.0.value(flag);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let urls = Url::parse_list(text).or_else(|error| self.refuse(flag, error))?;
        self.tcp_only(flag, &urls)?;
        Ok(urls)
    }

    fn tcp_only(&self, flag: &str, urls: &[Url]) -> Result<(), ConfigError> {
        let unsupported = urls.iter().find_map(|url| match url.scheme() {
            Scheme::Http | Scheme::Https => None,
            Scheme::Unix | Scheme::Unixs => Some("unix sockets are not supported yet"),
        });
        unsupported.map_or(Ok(()), |why| self.refuse(flag, why))
    }

    fn needed_urls(&self, flag: &str) -> Result<Vec<Url>, ConfigError> {
        let urls = self.urls(flag)?;
        if urls.is_empty() { self.refuse(flag, "want at least one URL") } else { Ok(urls) }
    }

    fn choice<T: Copy>(&self, flag: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let value = self.0.value(flag);
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.refuse(flag, format!("want one of {}", names.join(", ")))
            }
        }
    }

    fn config(&self, warnings: &mut Vec<String>) -> Result<ServeConfig, ConfigError> {
        let name = self.0.value("name").to_owned();
        let advertise_peer_urls = self.needed_urls("initial-advertise-peer-urls")?;
        let discovery = self.discovery(warnings)?;
        let initial_cluster = match self.0.value("initial-cluster") {
            "" if discovery.is_some() => InitialCluster::default(),
            "" => InitialCluster::of_one(&name, advertise_peer_urls.clone()),
            list => InitialCluster::parse(list).or_else(|error| self.refuse("initial-cluster", error))?,
        };
        for (_, urls) in initial_cluster.members() {
            self.tcp_only("initial-cluster", urls)?;
        }
        let auth_token = AuthToken::parse(self.0.value("auth-token"));
        let auth_token = auth_token.or_else(|why| self.refuse("auth-token", why))?;
        let auth_token_ttl_secs: u64 = self.number("auth-token-ttl")?;
        if auth_token_ttl_secs == 0 {
            return self.refuse("auth-token-ttl", "want at least 1");
        }
        let bcrypt_cost: u32 = self.number("bcrypt-cost")?;
        if !(4..=31).contains(&bcrypt_cost) {
            return self.refuse("bcrypt-cost", "want 4 to 31");
        }
        let gates = self.feature_gates(warnings)?;
        Ok(ServeConfig {
            data_dir: self.path("data-dir").unwrap_or_else(|| PathBuf::from(format!("{name}.etcd"))),
            name,
            wal_dir: self.path("wal-dir"),
            storage_engine: self
                .choice("storage-engine", &[("redb", StorageEngine::Redb), ("sled", StorageEngine::Sled)])?,
            listen_peer_urls: self.needed_urls("listen-peer-urls")?,
            listen_client_urls: self.needed_urls("listen-client-urls")?,
            listen_client_http_urls: self.urls("listen-client-http-urls")?,
            listen_metrics_urls: self.urls("listen-metrics-urls")?,
            advertise_peer_urls,
            advertise_client_urls: self.needed_urls("advertise-client-urls")?,
            discovery,
            initial_cluster,
            initial_cluster_state: self.choice(
                "initial-cluster-state",
                &[("new", ClusterState::New), ("existing", ClusterState::Existing)],
            )?,
            initial_cluster_token: self.0.value("initial-cluster-token").to_owned(),
            heartbeat_interval: Duration::from_millis(self.number("heartbeat-interval")?),
            election_timeout: Duration::from_millis(self.number("election-timeout")?),
            pre_vote: self.switch("pre-vote")?,
            strict_reconfig: self.switch("strict-reconfig-check")?,
            learners_max: self.number("max-learners")?,
            self_repair: self.switch("self-repair")?,
            snapshot_entries: self.number("snapshot-count")?,
            snapshot_catchup_entries: self.number("snapshot-catchup-entries")?,
            quota_bytes: match self.number::<i64>("quota-backend-bytes")? {
                0 => Some(limits::QUOTA_BYTES),
                bytes => u64::try_from(bytes).ok(),
            },
            txn_ops_max: self.number("max-txn-ops")?,
            request_bytes_max: self.number("max-request-bytes")?,
            streams_max: self.number("max-concurrent-streams")?,
            keepalive: Keepalive {
                min_time: self.duration("grpc-keepalive-min-time")?,
                interval: self.optional_duration("grpc-keepalive-interval")?,
                timeout: self.optional_duration("grpc-keepalive-timeout")?,
            },
            watch_progress_interval: self
                .duration("watch-progress-notify-interval")?
                .max(limits::WATCH_PROGRESS_INTERVAL_MIN),
            auto_compaction: self.auto_compaction()?,
            compaction_batch_revisions: self.number("compaction-batch-limit")?,
            compaction_pause: self.duration("compaction-sleep-interval")?,
            corruption_checks: CorruptionChecks {
                initial: gates.initial_corrupt_check,
                every: self.optional_duration("corrupt-check-time")?,
                compact_hash_every: self
                    .optional_duration("compact-hash-check-time")?
                    .filter(|_| gates.compact_hash_check),
            },
            tls: self.tls()?,
            bcrypt_cost,
            auth_token,
            auth_token_ttl: Duration::from_secs(auth_token_ttl_secs),
            gateway: self.switch("enable-grpc-gateway")?,
            cors: self.list("cors"),
            host_whitelist: self.list("host-whitelist"),
            extensive_metrics: self.choice("metrics", &[("basic", false), ("extensive", true)])?,
            log: self.log()?,
        })
    }

    fn auto_compaction(&self) -> Result<AutoCompaction, ConfigError> {
        let by_revision = self.choice("auto-compaction-mode", &[("periodic", false), ("revision", true)])?;
        let retention = self.0.value("auto-compaction-retention");
        if by_revision {
            return Ok(match self.number::<u32>("auto-compaction-retention")? {
                0 => AutoCompaction::Off,
                revisions => AutoCompaction::Revisions(i64::from(revisions)),
            });
        }
        // A bare number is hours.
        let time = match retention.parse::<u32>() {
            Ok(hours) => Duration::from_secs(u64::from(hours) * 3600),
            Err(_) => self.duration("auto-compaction-retention")?,
        };
        Ok(if time.is_zero() { AutoCompaction::Off } else { AutoCompaction::Periodic(time) })
    }

    fn log(&self) -> Result<LogConfig, ConfigError> {
        Ok(LogConfig {
            level: self.choice(
                "log-level",
                &[
                    ("debug", "debug"),
                    ("info", "info"),
                    ("warn", "warn"),
                    ("error", "error"),
                    ("dpanic", "error"),
                    ("panic", "error"),
                    ("fatal", "error"),
                ],
            )?,
            format: self
                .choice("log-format", &[("json", LogFormat::Json), ("console", LogFormat::Console)])?,
            outputs: self.log_outputs()?,
            slow_request: self.duration("warning-unary-request-duration")?,
            slow_apply: self.duration("warning-apply-duration")?,
        })
    }

    fn log_outputs(&self) -> Result<Vec<LogOutput>, ConfigError> {
        let names = self.list("log-outputs");
        let mut outputs = BTreeSet::new();
        for name in &names {
            outputs.insert(match name.as_str() {
                "default" if names.len() > 1 => {
                    return self.refuse("log-outputs", "default cannot stand beside others");
                }
                "default" | "stderr" => LogOutput::Stderr,
                "stdout" => LogOutput::Stdout,
                "systemd/journal" => {
                    let why = "the journal is not spoken to: it reads what goes to stderr";
                    return self.refuse("log-outputs", why);
                }
                path => LogOutput::File(PathBuf::from(path)),
            });
        }
        if outputs.is_empty() {
            return self.refuse("log-outputs", "want default, stdout, stderr or a path");
        }
        Ok(outputs.into_iter().collect())
    }

    fn feature_gates(&self, warnings: &mut Vec<String>) -> Result<Gates, ConfigError> {
        let mut gates = Gates::default();
        for item in self.list("feature-gates").into_iter().chain(self.0.gates.iter().cloned()) {
            let parsed = item.split_once('=').and_then(|(name, value)| Some((name, parse_switch(value)?)));
            let Some((name, on)) = parsed else {
                return self.refuse("feature-gates", format!("want Name=true or Name=false, found {item:?}"));
            };
            match name {
                "InitialCorruptCheck" => gates.initial_corrupt_check = on,
                "CompactHashCheck" => gates.compact_hash_check = on,
                "AllAlpha" => gates = Gates { initial_corrupt_check: on, compact_hash_check: on },
                "AllBeta"
                | "StopGRPCServiceOnDefrag"
                | "TxnModeWriteWithSharedBuffer"
                | "LeaseCheckpoint"
                | "LeaseCheckpointPersist"
                | "SetMemberLocalAddr"
                | "FastLeaseKeepAlive"
                | "PriorityRequest" => warnings.push(format!("feature gate {name} has no effect")),
                _ => return self.refuse("feature-gates", format!("unrecognized feature gate: {name}")),
            }
        }
        Ok(gates)
    }
}

/// The feature gates that are heeded.
#[derive(Default)]
struct Gates {
    initial_corrupt_check: bool,
    compact_hash_check: bool,
}

mod discovery;
mod tls;

#[cfg(test)]
mod tests;
