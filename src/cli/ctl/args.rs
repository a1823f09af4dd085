//! The grammar: commands, options and environment, as `etcdctl` has them.
//!
//! Options that stand for every command may stand anywhere. Switches take `--name` and `--name=false`. Words are
//! counted by the commands themselves, because scripts know the exit code and the message of each.

use clap::{ArgAction, Args, Parser, Subcommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "quorate ctl",
    about = "A client for Quorate and every server of the etcd v3 API",
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct CommandLine {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command; each can also be set as `ETCDCTL_<NAME>`.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Addresses of members, comma-separated
    #[arg(long, global = true, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// Output format: simple, json, fields, table or protobuf
    #[arg(short = 'w', long, global = true, default_value = "simple")]
    pub write_out: String,
    /// Print keys and values in hex
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub hex: bool,
    /// Time to connect
    #[arg(long, global = true, default_value = "2s")]
    pub dial_timeout: String,
    /// Time for one command, connecting aside
    #[arg(long, global = true, default_value = "5s")]
    pub command_timeout: String,
    /// Idle time after which the connection is tried
    #[arg(long, global = true, default_value = "2s")]
    pub keepalive_time: String,
    /// Wait for the answer to that
    #[arg(long, global = true, default_value = "6s")]
    pub keepalive_timeout: String,
    /// name[:password] to sign in with
    #[arg(long, global = true, default_value = "")]
    pub user: String,
    /// Password to sign in with, if --user has none
    #[arg(long, global = true, default_value = "")]
    pub password: String,
    /// Token to show, instead of signing in
    #[arg(long, global = true, default_value = "")]
    pub auth_jwt_token: String,
    /// Plain text where an endpoint does not say and no certificate is given
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub insecure_transport: bool,
    /// Take any server for the one that was meant
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub insecure_skip_tls_verify: bool,
    /// DNS domain whose SRV records are the endpoints
    #[arg(short = 'd', long, global = true, default_value = "")]
    pub discovery_srv: String,
    /// Name of the cluster among several of that domain
    #[arg(long, global = true, default_value = "")]
    pub discovery_srv_name: String,
    /// Take plain text endpoints from DNS too, and servers by their own names
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub insecure_discovery: bool,
    /// Certificate to show
    #[arg(long, global = true, default_value = "")]
    pub cert: String,
    /// Its key
    #[arg(long, global = true, default_value = "")]
    pub key: String,
    /// Authorities of servers' certificates
    #[arg(long, global = true, default_value = "")]
    pub cacert: String,
}

/// Names of the options that the environment can set.
pub const VARIABLES: &[&str] = &[
    "endpoints",
    "write-out",
    "hex",
    "dial-timeout",
    "command-timeout",
    "keepalive-time",
    "keepalive-timeout",
    "user",
    "password",
    "auth-jwt-token",
    "insecure-transport",
    "insecure-skip-tls-verify",
    "discovery-srv",
    "discovery-srv-name",
    "insecure-discovery",
    "cert",
    "key",
    "cacert",
];

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put a key
    Put(Put),
    /// Get a key or a range of keys
    Get(Get),
    /// Delete a key or a range of keys
    Del(Del),
    /// Run a transaction that is read from standard input
    Txn(Txn),
    /// Print changes as they happen
    Watch(Watch),
    /// Leases
    #[command(subcommand)]
    Lease(Lease),
    /// Forget history below a revision
    Compaction(Compaction),
    /// Members
    #[command(subcommand)]
    Member(Member),
    /// Have another member lead
    MoveLeader(MoveLeader),
    /// The state as a file
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Questions to single members
    Endpoint(Endpoint),
    /// What members complain of
    #[command(subcommand)]
    Alarm(Alarm),
    /// Have members give back space that they do not need
    Defrag(Defrag),
    /// Prepare the cluster for members of an earlier version
    #[command(subcommand)]
    Downgrade(Downgrade),
    /// Print versions
    Version,
}

/// `put`.
#[derive(Debug, Default, Parser)]
#[command(name = "put")]
pub struct Put {
    /// Key and value; the value may come from standard input
    #[arg(num_args = 0..)]
    pub words: Vec<String>,
    /// Lease to attach, in hex
    #[arg(long, default_value = "0")]
    pub lease: String,
    /// Print the previous value too
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub prev_kv: bool,
    /// Keep the value
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub ignore_value: bool,
    /// Keep the lease
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub ignore_lease: bool,
}

/// `get`.
#[derive(Debug, Default, Parser)]
#[command(name = "get")]
pub struct Get {
    /// Key, and where the range ends
    #[arg(num_args = 0..)]
    pub words: Vec<String>,
    /// Linearizable (l) or serializable (s)
    #[arg(long, default_value = "l")]
    pub consistency: String,
    /// ASCEND or DESCEND
    #[arg(long, default_value = "")]
    pub order: String,
    /// CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "")]
    pub sort_by: String,
    /// Keys to return at most; 0 is no limit
    #[arg(long, default_value_t = 0)]
    pub limit: i64,
    /// All keys with this prefix
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub prefix: bool,
    /// All keys from this one on
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub from_key: bool,
    /// As of this revision; 0 is now
    #[arg(long, default_value_t = 0)]
    pub rev: i64,
    /// No values
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub keys_only: bool,
    /// Only how many
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub count_only: bool,
    /// Only values (simple format)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub print_value_only: bool,
    /// Lowest create revision
    #[arg(long, default_value_t = 0)]
    pub min_create_rev: i64,
    /// Highest create revision
    #[arg(long, default_value_t = 0)]
    pub max_create_rev: i64,
    /// Lowest modification revision
    #[arg(long, default_value_t = 0)]
    pub min_mod_rev: i64,
    /// Highest modification revision
    #[arg(long, default_value_t = 0)]
    pub max_mod_rev: i64,
    /// Receive the range in pieces
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub stream: bool,
}

/// `del`.
#[derive(Debug, Default, Parser)]
#[command(name = "del")]
pub struct Del {
    /// Key, and where the range ends
    #[arg(num_args = 0..)]
    pub words: Vec<String>,
    /// All keys with this prefix
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub prefix: bool,
    /// All keys from this one on
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub from_key: bool,
    /// Print the deleted keys and values too
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub prev_kv: bool,
    /// The second word ends a range (accepted; a second word always does)
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub range: bool,
}

/// `txn`.
#[derive(Debug, Args)]
pub struct Txn {
    /// Prompt for each part
    #[arg(short = 'i', long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub interactive: bool,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Key or prefix, and where the range ends
    #[arg(num_args = 0..)]
    pub words: Vec<String>,
    /// All keys with this prefix
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub prefix: bool,
    /// From this revision on; 0 is from now on
    #[arg(long, default_value_t = 0)]
    pub rev: i64,
    /// Print the previous value too
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub prev_kv: bool,
    /// Ask to be told the revision when nothing happens
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub progress_notify: bool,
    /// Read watch commands from standard input (not supported yet)
    #[arg(short = 'i', long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub interactive: bool,
}

/// `lease …`.
#[derive(Debug, Subcommand)]
pub enum Lease {
    /// Grant a lease of so many seconds
    Grant {
        /// The seconds
        #[arg(num_args = 0.., allow_negative_numbers = true)]
        words: Vec<String>,
    },
    /// End a lease and delete its keys
    Revoke {
        /// The lease, in hex
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// Say how long a lease has left
    Timetolive {
        /// The lease, in hex
        #[arg(num_args = 0..)]
        words: Vec<String>,
        /// List its keys
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
              default_missing_value = "true", action = ArgAction::Set)]
        keys: bool,
    },
    /// List all leases
    List,
    /// Renew a lease, again and again
    KeepAlive {
        /// The lease, in hex
        #[arg(num_args = 0..)]
        words: Vec<String>,
        /// Renew it once
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
              default_missing_value = "true", action = ArgAction::Set)]
        once: bool,
    },
}

/// `compaction`.
#[derive(Debug, Args)]
pub struct Compaction {
    /// The revision
    #[arg(num_args = 0.., allow_negative_numbers = true)]
    pub words: Vec<String>,
    /// Wait until the space is given back
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub physical: bool,
}

/// `member …`.
#[derive(Debug, Subcommand)]
pub enum Member {
    /// Add a member, which is to be started afterwards
    Add {
        /// Its name
        #[arg(num_args = 0..)]
        words: Vec<String>,
        /// Where its peers will reach it, comma-separated
        #[arg(long, default_value = "")]
        peer_urls: String,
        /// Add it without a vote
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
              default_missing_value = "true", action = ArgAction::Set)]
        learner: bool,
    },
    /// Remove a member for good
    Remove {
        /// Its id, in hex
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// Say anew where a member's peers reach it
    Update {
        /// Its id, in hex
        #[arg(num_args = 0..)]
        words: Vec<String>,
        /// The addresses, comma-separated
        #[arg(long, default_value = "")]
        peer_urls: String,
    },
    /// Give a learner its vote
    Promote {
        /// Its id, in hex
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// List all members
    List {
        /// Linearizable (l) or serializable (s)
        #[arg(long, default_value = "l")]
        consistency: String,
        /// Further words, which say nothing
        #[arg(num_args = 0.., hide = true)]
        words: Vec<String>,
    },
}

/// `move-leader`.
#[derive(Debug, Args)]
pub struct MoveLeader {
    /// Id of the member that is to lead, in hex
    #[arg(num_args = 0..)]
    pub words: Vec<String>,
}

/// `snapshot …`.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Take the state of one member away
    Save {
        /// The file to make
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
}

/// `endpoint …`.
#[derive(Debug, Args)]
pub struct Endpoint {
    /// Ask all members of the cluster
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub cluster: bool,
    /// What to ask
    #[command(subcommand)]
    pub question: Question,
}

/// What to ask a member.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// Whether it can commit
    Health,
    /// How it stands
    Status,
    /// A hash of its history
    Hashkv {
        /// Up to this revision; 0 is all
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
}

/// `alarm …`.
#[derive(Debug, Subcommand)]
pub enum Alarm {
    /// All alarms that are raised
    List {
        /// None
        #[arg(num_args = 0.., hide = true)]
        words: Vec<String>,
    },
    /// Clear all of them
    Disarm {
        /// None
        #[arg(num_args = 0.., hide = true)]
        words: Vec<String>,
    },
}

/// `defrag`.
#[derive(Debug, Args)]
pub struct Defrag {
    /// Ask all members of the cluster
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub cluster: bool,
}

/// `downgrade …`.
#[derive(Debug, Subcommand)]
pub enum Downgrade {
    /// Whether it could be done
    Validate {
        /// The version to go to
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// Let members of that version in
    Enable {
        /// The version to go to
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// Think better of it
    Cancel,
}

/// The command line with what the environment adds: `ETCDCTL_X` stands in for `--x` unless that is given.
pub fn with_environment(args: Vec<String>, env: &[(String, String)]) -> Vec<String> {
    let mut words = args.into_iter();
    let mut all: Vec<String> = words.next().into_iter().collect();
    let rest: Vec<String> = words.collect();
    for name in VARIABLES {
        let variable = format!("ETCDCTL_{}", name.to_ascii_uppercase().replace('-', "_"));
        let Some((_, value)) = env.iter().find(|(key, value)| *key == variable && !value.is_empty()) else {
            continue;
        };
        let given = rest.iter().take_while(|word| *word != "--").any(|word| {
            let bare = word.split('=').next().unwrap_or_default();
            let is_short = |letter: &str| word.starts_with(letter) && !word.starts_with("--");
            bare == format!("--{name}")
                || (*name == "write-out" && is_short("-w"))
                || (*name == "discovery-srv" && is_short("-d"))
        });
        if !given {
            all.push(format!("--{name}={value}"));
        }
    }
    all.extend(rest);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn switches_and_global_options_anywhere() {
        let line = CommandLine::try_parse_from(words(&[
            "ctl",
            "get",
            "a",
            "--prefix",
            "--keys-only=false",
            "-w",
            "json",
            "--endpoints=x:1,y:2",
            "b",
        ]))
        .unwrap();
        assert_eq!(line.global.endpoints, ["x:1", "y:2"]);
        assert_eq!(line.global.write_out, "json");
        let Command::Get(get) = line.command else { panic!("not a get: {:?}", line.command) };
        assert_eq!((get.words, get.prefix, get.keys_only), (words(&["a", "b"]), true, false));
    }

    #[test]
    fn the_environment_stands_in() {
        let env = vec![
            ("ETCDCTL_ENDPOINTS".to_owned(), "e:1".to_owned()),
            ("ETCDCTL_WRITE_OUT".to_owned(), "json".to_owned()),
            ("ETCDCTL_API".to_owned(), "3".to_owned()),
        ];
        let all = with_environment(words(&["ctl", "get", "a", "-w", "table"]), &env);
        assert_eq!(all, words(&["ctl", "--endpoints=e:1", "get", "a", "-w", "table"]));
    }
}
