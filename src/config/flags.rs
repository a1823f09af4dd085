//! Every flag of the server: name, kind, default, whether it is heeded, and one line of help.
//!
//! The table is the only place that knows the names. A flag of the API's reference server that is missing here is
//! unknown, and an unknown flag stops the start; one that is [`Care::Ignored`] is accepted with a warning, because its
//! silence harms nobody; one that is [`Care::Refused`] stops the start, because its silence would.

mod security;

/// What a flag's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// True or false; `--name` alone means true.
    Switch,
    /// A whole number, not negative.
    Number,
    /// A whole number.
    Signed,
    /// A whole number of milliseconds.
    Millis,
    /// A duration with its unit, as in `100ms`.
    Duration,
}

/// What becomes of a flag that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// It is heeded.
    Used,
    /// It changes nothing, for the reason given; a value other than the default is warned about.
    Ignored(&'static str),
    /// A value other than the default is refused, because of what would happen otherwise.
    Refused(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Its value when nothing is said.
    pub default: &'static str,
    /// What becomes of it.
    pub care: Care,
    /// What it is for.
    pub help: &'static str,
}

impl Flag {
    /// The environment variable that says the same.
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// The environment variable that says the same as a flag.
pub fn variable(name: &str) -> String {
    format!("ETCD_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Finds a flag by its name.
pub fn find(name: &str) -> Option<&'static Flag> {
    SECTIONS.iter().flat_map(|(_, flags)| flags.iter()).find(|flag| flag.name == name)
}

/// Every flag, in the order of the help.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|(_, flags)| flags.iter())
}

/// Flags of long ago that were accepted without effect; scripts still pass them.
pub const LEGACY: &[&str] = &[
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "max-snapshots",
    "v2-deprecation",
];

/// Environment variables that look like flags and are none.
pub const OTHER_VARIABLES: &[&str] =
    &["ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY", "ETCD_CLIENT_DEBUG", "ETCD_SYSTEMD"];

/// The help text of all flags.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: quorate [--flag=value ...]\n       quorate ctl COMMAND ...\n       quorate dev [--members=3]\n       \
         quorate --version\n",
    );
    for (title, flags) in SECTIONS {
        text.push_str(&format!("\n{title}:\n"));
        for flag in *flags {
            let shown =
                if flag.kind == Kind::Text { format!("'{}'", flag.default) } else { flag.default.to_owned() };
            text.push_str(&format!("  --{} {shown}\n      {}", flag.name, flag.help));
            text.push_str(match flag.care {
                Care::Used => ".\n",
                Care::Ignored(_) => " (accepted, without effect).\n",
                Care::Refused(_) => " (not supported yet).\n",
            });
        }
    }
    text
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, care: Care, help: &'static str) -> Flag {
    Flag { name, kind, default, care, help }
}

use Care::{Ignored, Refused, Used};
use Kind::{Duration, Millis, Number, Signed, Switch, Text};

const NO_DISCOVERY: Care = Refused("the member would start a cluster of its own");

/// All flags, by section of the help.
pub const SECTIONS: &[(&str, &[Flag])] = &[
    (
        "Member",
        &[
            flag("name", Text, "default", Used, "name of this member, unique in the cluster"),
            flag("data-dir", Text, "", Used, "folder of all that the member keeps (default ${name}.etcd)"),
            flag(
                "wal-dir",
                Text,
                "",
                Refused("the log would lie elsewhere than you think"),
                "folder of the write-ahead log, if apart from the rest",
            ),
            flag("storage-engine", Text, "redb", Used, "where applied state lives: redb or sled"),
            flag("snapshot-count", Number, "10000", Used, "log entries between snapshots"),
            flag("heartbeat-interval", Millis, "100", Used, "time between heartbeats, in milliseconds"),
            flag(
                "election-timeout",
                Millis,
                "1000",
                Used,
                "silence after which an election begins, in milliseconds",
            ),
            flag(
                "initial-election-tick-advance",
                Switch,
                "true",
                Ignored("elections need no head start here"),
                "shorten the wait for the first election",
            ),
            flag(
                "listen-peer-urls",
                Text,
                "http://localhost:2380",
                Used,
                "addresses that other members connect to, comma-separated",
            ),
            flag(
                "listen-client-urls",
                Text,
                "http://localhost:2379",
                Used,
                "addresses that clients connect to, comma-separated",
            ),
            flag(
                "listen-client-http-urls",
                Text,
                "",
                Refused("HTTP is not served yet, so nothing would listen there"),
                "addresses for HTTP alone, comma-separated",
            ),
            flag(
                "max-wals",
                Number,
                "5",
                Ignored("segments are recycled, and removed when no member needs them"),
                "write-ahead log files kept",
            ),
            flag(
                "memory-mlock",
                Switch,
                "false",
                Ignored("memory is not locked"),
                "keep the process in memory",
            ),
            flag(
                "quota-backend-bytes",
                Signed,
                "0",
                Used,
                "bytes the store may hold; 0 is 2 GiB, below 0 is no limit",
            ),
            flag(
                "backend-bbolt-freelist-type",
                Text,
                "map",
                Ignored("there is no bbolt here"),
                "free list of a bbolt file",
            ),
            flag(
                "backend-batch-interval",
                Duration,
                "0s",
                Ignored("the state engine batches by log entry"),
                "time between commits of state",
            ),
            flag(
                "backend-batch-limit",
                Number,
                "0",
                Ignored("the state engine batches by log entry"),
                "operations between commits of state",
            ),
            flag("max-txn-ops", Number, "128", Used, "operations in a transaction"),
            flag(
                "max-request-bytes",
                Number,
                "1572864",
                Used,
                "bytes of the largest request, 33554432 at most",
            ),
            flag(
                "max-concurrent-streams",
                Number,
                "4294967295",
                Ignored("streams are not limited yet"),
                "streams that a client connection may hold",
            ),
            flag(
                "grpc-keepalive-min-time",
                Duration,
                "5s",
                Ignored("pings of clients are not counted yet"),
                "shortest time between a client's pings",
            ),
            flag(
                "grpc-keepalive-interval",
                Duration,
                "2h",
                Ignored("an idle client is asked after 2 hours and given 20 seconds, whatever is set"),
                "idle time after which the server pings; 0 never",
            ),
            flag(
                "grpc-keepalive-timeout",
                Duration,
                "20s",
                Ignored("an idle client is asked after 2 hours and given 20 seconds, whatever is set"),
                "wait for a ping's answer before closing; 0 never closes",
            ),
            flag(
                "socket-reuse-port",
                Switch,
                "false",
                Ignored("a port is bound once"),
                "let several listeners share a port",
            ),
            flag(
                "socket-reuse-address",
                Switch,
                "false",
                Ignored("the runtime sets it where it is safe"),
                "bind to a port that lingers",
            ),
            flag(
                "enable-grpc-gateway",
                Switch,
                "true",
                Ignored("HTTP is not served yet"),
                "serve JSON over HTTP",
            ),
            flag(
                "raft-read-timeout",
                Duration,
                "5s",
                Ignored("peers have a keep-alive of their own"),
                "silence that ends a peer's stream",
            ),
            flag(
                "raft-write-timeout",
                Duration,
                "5s",
                Ignored("peers have a keep-alive of their own"),
                "stuck write that ends a peer's stream",
            ),
            flag("feature-gates", Text, "", Used, "Name=true,Name=false,..."),
        ],
    ),
    (
        "Clustering",
        &[
            flag(
                "initial-advertise-peer-urls",
                Text,
                "http://localhost:2380",
                Used,
                "this member's addresses as other members reach it",
            ),
            flag(
                "initial-cluster",
                Text,
                "",
                Used,
                "first members as name=url,... (default this member alone)",
            ),
            flag("initial-cluster-state", Text, "new", Used, "new, or existing to join a running cluster"),
            flag(
                "initial-cluster-token",
                Text,
                "etcd-cluster",
                Used,
                "tells clusters apart that begin alike",
            ),
            flag(
                "advertise-client-urls",
                Text,
                "http://localhost:2379",
                Used,
                "this member's addresses as clients reach it",
            ),
            flag("discovery", Text, "", NO_DISCOVERY, "discovery service, old form"),
            flag("discovery-token", Text, "", NO_DISCOVERY, "token of the cluster in a discovery service"),
            flag("discovery-endpoints", Text, "", NO_DISCOVERY, "addresses of a discovery service"),
            flag(
                "discovery-dial-timeout",
                Duration,
                "2s",
                Ignored("discovery services are not used"),
                "discovery: time to connect",
            ),
            flag(
                "discovery-request-timeout",
                Duration,
                "5s",
                Ignored("discovery services are not used"),
                "discovery: time for a request",
            ),
            flag(
                "discovery-keepalive-time",
                Duration,
                "2s",
                Ignored("discovery services are not used"),
                "discovery: time between pings",
            ),
            flag(
                "discovery-keepalive-timeout",
                Duration,
                "6s",
                Ignored("discovery services are not used"),
                "discovery: wait for a ping's answer",
            ),
            flag(
                "discovery-insecure-transport",
                Switch,
                "true",
                Ignored("discovery services are not used"),
                "discovery: without TLS",
            ),
            flag(
                "discovery-insecure-skip-tls-verify",
                Switch,
                "false",
                Ignored("discovery services are not used"),
                "discovery: TLS without verification",
            ),
            flag(
                "discovery-cert",
                Text,
                "",
                Ignored("discovery services are not used"),
                "discovery: client certificate",
            ),
            flag(
                "discovery-key",
                Text,
                "",
                Ignored("discovery services are not used"),
                "discovery: client key",
            ),
            flag(
                "discovery-cacert",
                Text,
                "",
                Ignored("discovery services are not used"),
                "discovery: certificate authority",
            ),
            flag("discovery-user", Text, "", Ignored("discovery services are not used"), "discovery: user"),
            flag(
                "discovery-password",
                Text,
                "",
                Ignored("discovery services are not used"),
                "discovery: password",
            ),
            flag(
                "discovery-fallback",
                Text,
                "exit",
                Ignored("discovery services are not used"),
                "discovery: what to do when it fails",
            ),
            flag("discovery-proxy", Text, "", NO_DISCOVERY, "discovery: HTTP proxy"),
            flag("discovery-srv", Text, "", Used, "DNS domain whose SRV records are the first members"),
            flag(
                "discovery-srv-name",
                Text,
                "",
                Used,
                "name of the cluster among several of that domain, a suffix of the service",
            ),
            flag(
                "strict-reconfig-check",
                Switch,
                "true",
                Used,
                "refuse a membership change that would cost the quorum",
            ),
            flag(
                "self-repair",
                Switch,
                "false",
                Used,
                "have a member whose log or disk is lost taken back under a new id, while a quorum is healthy",
            ),
            flag(
                "pre-vote",
                Switch,
                "true",
                Ignored("a member always asks for votes before it stands"),
                "ask for votes before standing, so that a returning member disturbs nobody",
            ),
            flag(
                "auto-compaction-retention",
                Text,
                "0",
                Ignored("nothing is compacted unasked yet, so history grows until you compact it"),
                "history kept by automatic compaction; 0 is off",
            ),
            flag(
                "auto-compaction-mode",
                Text,
                "periodic",
                Ignored("nothing is compacted unasked yet, so history grows until you compact it"),
                "periodic (retention is time) or revision (retention is a count)",
            ),
        ],
    ),
    ("Security", security::SECURITY),
    (
        "Auth",
        &[
            flag(
                "auth-token",
                Text,
                "simple",
                Used,
                "kind of token: simple, or jwt,sign-method=...,pub-key=FILE,priv-key=FILE,ttl=5m",
            ),
            flag("bcrypt-cost", Number, "10", Used, "cost of password hashes, 4 to 31"),
            flag("auth-token-ttl", Number, "300", Used, "seconds a simple token lives without use"),
        ],
    ),
    (
        "Profiling and Monitoring",
        &[
            flag(
                "enable-pprof",
                Switch,
                "false",
                Ignored("there is no Go runtime to profile"),
                "serve profiles over HTTP",
            ),
            flag("metrics", Text, "basic", Ignored("metrics are not served yet"), "basic or extensive"),
            flag(
                "listen-metrics-urls",
                Text,
                "",
                Refused("HTTP is not served yet, so probes would fail"),
                "addresses for metrics and health alone",
            ),
        ],
    ),
    (
        "Logging",
        &[
            flag("logger", Text, "zap", Ignored("there is one logger"), "logger"),
            flag("log-outputs", Text, "default", Used, "default, stdout, stderr"),
            flag("log-level", Text, "info", Used, "debug, info, warn, error, panic or fatal"),
            flag("log-format", Text, "json", Used, "json or console"),
            flag(
                "enable-log-rotation",
                Switch,
                "false",
                Ignored("logs go to the standard streams; rotate them outside"),
                "rotate log files",
            ),
            flag(
                "log-rotation-config-json",
                Text,
                "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
                Ignored("logs go to the standard streams; rotate them outside"),
                "how to rotate log files",
            ),
            flag(
                "warning-unary-request-duration",
                Duration,
                "300ms",
                Ignored("slow requests are not logged yet"),
                "requests slower than this are logged",
            ),
        ],
    ),
    (
        "Distributed tracing",
        &[
            flag("enable-distributed-tracing", Switch, "false", Ignored("no traces are sent"), "send traces"),
            flag(
                "distributed-tracing-address",
                Text,
                "localhost:4317",
                Ignored("no traces are sent"),
                "where traces go",
            ),
            flag(
                "distributed-tracing-service-name",
                Text,
                "etcd",
                Ignored("no traces are sent"),
                "service name in traces",
            ),
            flag(
                "distributed-tracing-instance-id",
                Text,
                "",
                Ignored("no traces are sent"),
                "instance id in traces",
            ),
            flag(
                "distributed-tracing-sampling-rate",
                Number,
                "0",
                Ignored("no traces are sent"),
                "traces per million requests",
            ),
        ],
    ),
    (
        "Features",
        &[
            flag(
                "corrupt-check-time",
                Duration,
                "0s",
                Used,
                "time between checks of members against each other; 0 is off",
            ),
            flag(
                "compact-hash-check-time",
                Duration,
                "1m",
                Used,
                "time between checks of compaction hashes, if the feature gate CompactHashCheck is open",
            ),
            flag(
                "compaction-batch-limit",
                Number,
                "1000",
                Ignored("the steps of a compaction have a fixed size"),
                "revisions removed in one step of a compaction",
            ),
            flag(
                "peer-skip-client-san-verification",
                Switch,
                "false",
                Used,
                "let peers connect from addresses that their certificates do not name",
            ),
            flag(
                "watch-progress-notify-interval",
                Duration,
                "10m",
                Used,
                "time between revisions told to idle watchers",
            ),
            flag(
                "warning-apply-duration",
                Duration,
                "100ms",
                Ignored("slow applies are not logged yet"),
                "applies slower than this are logged",
            ),
            flag(
                "bootstrap-defrag-threshold-megabytes",
                Number,
                "0",
                Ignored("free space is reused without defragmentation"),
                "defragment at start above this",
            ),
            flag("max-learners", Number, "1", Used, "learners in the cluster"),
            flag(
                "compaction-sleep-interval",
                Duration,
                "10ms",
                Ignored("the steps of a compaction follow each other at once"),
                "pause between two steps of a compaction",
            ),
            flag(
                "downgrade-check-time",
                Duration,
                "5s",
                Ignored("downgrades are checked when asked for"),
                "time between downgrade checks",
            ),
            flag(
                "snapshot-catchup-entries",
                Number,
                "500",
                Used,
                "log entries kept behind a snapshot for members that lag",
            ),
        ],
    ),
    (
        "Unsafe feature",
        &[
            flag(
                "force-new-cluster",
                Switch,
                "false",
                Refused("a cluster that lost its quorum would stay as it is"),
                "make a cluster of one out of what is left",
            ),
            flag(
                "unsafe-no-fsync",
                Switch,
                "false",
                Ignored("every acknowledged write is synced all the same"),
                "acknowledge before data is on disk",
            ),
        ],
    ),
    (
        "Configuration file",
        &[flag(
            "config-file",
            Text,
            "",
            Used,
            "YAML or JSON file; all other flags and variables are then ignored",
        )],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_become_variables() {
        let mut names: Vec<_> = all().map(|flag| flag.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(find("listen-client-urls").unwrap().variable(), "ETCD_LISTEN_CLIENT_URLS");
        assert!(find("listen-client-url").is_none());
    }

    #[test]
    fn the_whole_surface_of_the_reference_is_known() {
        // 111 flags, of which none may be forgotten: a drop-in start script must not stop on one.
        let ours = ["storage-engine", "self-repair", "config-file"];
        let known = all().filter(|flag| !ours.contains(&flag.name)).count();
        assert_eq!(known, 111);
    }

    #[test]
    fn nothing_that_protects_is_ignored_in_silence() {
        let (_, security) = SECTIONS.iter().find(|(title, _)| *title == "Security").unwrap();
        let told_of = ["client-cert-file", "client-key-file", "cors", "host-whitelist"];
        for flag in security.iter().filter(|flag| !told_of.contains(&flag.name)) {
            assert_eq!(flag.care, Care::Used, "{}", flag.name);
        }
        assert!(matches!(find("discovery-endpoints").unwrap().care, Care::Refused(_)));
    }

    #[test]
    fn help_names_every_flag_once() {
        let help = help();
        for flag in all() {
            assert_eq!(help.matches(&format!("  --{} ", flag.name)).count(), 1, "{}", flag.name);
        }
    }
}
