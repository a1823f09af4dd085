//! `quorate dev`: a local cluster in one process, for trying things out and for tests of programs that use one.
//!
//! Members are made of the same options that they would be given by hand, and started by the same code; they
//! share a process, a runtime and a log, so this is no way to keep data safe from the loss of a process.

mod temp_dir;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::serve::{
    BeginError, LifeError, PlanError, begin, member_config, places, prepare_data_dir, run_members,
};
use crate::cli::version::QUORATE_VERSION;
use crate::config::{ConfigError, ServeConfig, Settings};
use temp_dir::TempDir;

/// The port of the first member's clients, as everybody knows it.
const WELL_KNOWN_PORT: u16 = 2379;
/// From one member's ports to the next one's, when nothing else is asked for; the second member skips one.
const WELL_KNOWN_STRIDE: u16 = 10_000;
/// Members hold little here, so their logs need not reserve much: bytes of one segment.
const WAL_SEGMENT_BYTES: u64 = 8 << 20;

/// A local cluster in one process, for trying things out
#[derive(Debug, Parser)]
#[command(name = "quorate dev", disable_version_flag = true)]
struct CommandLine {
    /// Members of the cluster: 1 to 5
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=5))]
    members: u16,
    /// Folder of all members' data, which is kept; without it they use a temporary one, removed at the end
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Client port of the first member; its peers use the next one, and so on, two a member. Without it clients
    /// connect to 2379, 22379, 32379, ... and peers to 2380, 22380, 32380, ...
    #[arg(long)]
    base_port: Option<u16>,
    /// What is logged to standard error: debug, info, warn or error
    #[arg(long, default_value = "warn", value_parser = ["debug", "info", "warn", "error"])]
    log_level: String,
    /// How log lines look: json or console
    #[arg(long, default_value = "console", value_parser = ["json", "console"])]
    log_format: String,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
enum DevError {
    /// The ports asked for do not exist.
    #[error("--base-port {base}: there are no {members} pairs of ports from there on")]
    Ports {
        /// The first port.
        base: u16,
        /// How many members there are to be.
        members: u16,
    },
    /// There is no room for temporary data.
    #[error("cannot make a temporary folder: {0}")]
    TempDir(std::io::Error),
    /// A member's options do not stand together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nothing can begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// A member cannot be as it is told.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no runtime.
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
    /// The members ended badly.
    #[error(transparent)]
    Life(#[from] LifeError),
}

/// Runs the cluster; `args` begins with the program's name. Returns the process exit code.
pub fn run(args: Vec<String>) -> u8 {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(asked) => {
            let help = matches!(asked.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nothing can be said where the stream is closed; the exit code still speaks.
            let _closed = asked.print();
            return if help { 0 } else { 2 };
        }
    };
    match dev(&line) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("quorate dev: {error}");
            1
        }
    }
}

fn dev(line: &CommandLine) -> Result<(), DevError> {
    let ports = (0..line.members).map(|nth| line.ports(nth)).collect::<Result<Vec<_>, _>>()?;
    // Removed when this function returns, whatever it returns.
    let temporary = match line.data_dir {
        Some(_) => None,
        None => Some(TempDir::make("quorate-dev").map_err(DevError::TempDir)?),
    };
    let dir = line.data_dir.as_deref().or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
    let configs =
        (1..).zip(&ports).map(|(nth, _)| line.member(nth, &ports, dir)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = configs.first() else { return Ok(()) };
    let env = begin(first)?;
    let places = places();
    let mut members = Vec::new();
    for config in &configs {
        let mut member = member_config(config)?;
        member.security.plain.places = places.clone();
        member.knobs.wal_segment_bytes = WAL_SEGMENT_BYTES;
        members.push(member);
        if let Some(warning) = prepare_data_dir(config)? {
            tracing::warn!("{warning}");
        }
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DevError::Runtime)?;
    let text = welcome(&ports, dir, line.data_dir.is_some());
    runtime.block_on(run_members(members, &env, || {
        // Whoever closed the output knows where the members are.
        let mut output = std::io::stdout().lock();
        let _closed = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }))?;
    Ok(())
}

/// Where one member is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    client: u16,
    peer: u16,
}

impl CommandLine {
    /// The ports of the `nth` member, from 0.
    fn ports(&self, nth: u16) -> Result<Ports, DevError> {
        let client = match self.base_port {
            Some(base) => base.checked_add(nth.saturating_mul(2)),
            None if nth == 0 => Some(WELL_KNOWN_PORT),
            None => (nth + 1).checked_mul(WELL_KNOWN_STRIDE).and_then(|far| far.checked_add(WELL_KNOWN_PORT)),
        };
        client
            .and_then(|client| client.checked_add(1).map(|peer| Ports { client, peer }))
            .filter(|ports| ports.client > 0)
            .ok_or(DevError::Ports { base: self.base_port.unwrap_or(WELL_KNOWN_PORT), members: self.members })
    }

    /// The options of the `nth` member, from 1, as they would be given by hand.
    fn member(&self, nth: usize, all: &[Ports], dir: &Path) -> Result<ServeConfig, DevError> {
        let name = format!("m{nth}");
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let Ports { client, peer } = all.get(nth - 1).copied().unwrap_or(Ports { client: 0, peer: 0 });
        let cluster: Vec<String> =
            (1..).zip(all).map(|(nth, ports)| format!("m{nth}={}", url(ports.peer))).collect();
        let mut settings = Settings::default();
        for (flag, value) in [
            ("data-dir", dir.join(&name).display().to_string()),
            ("name", name),
            ("listen-peer-urls", url(peer)),
            ("initial-advertise-peer-urls", url(peer)),
            ("listen-client-urls", url(client)),
            ("advertise-client-urls", url(client)),
            ("initial-cluster", cluster.join(",")),
            ("initial-cluster-token", "quorate-dev".to_owned()),
            ("log-level", self.log_level.clone()),
            ("log-format", self.log_format.clone()),
        ] {
            settings.set(flag, value)?;
        }
        Ok(ServeConfig::from_settings(settings)?.config)
    }
}

/// What is printed when all members are ready.
fn welcome(ports: &[Ports], dir: &Path, kept: bool) -> String {
    let fate = if kept { "kept" } else { "removed at the end" };
    let count = match ports.len() {
        1 => "1 member is".to_owned(),
        more => format!("{more} members are"),
    };
    let mut text =
        format!("Quorate {QUORATE_VERSION}: {count} ready. Data in {} ({fate}).\n\n", dir.display());
    for (nth, ports) in (1..).zip(ports) {
        text.push_str(&format!(
            "  m{nth}  clients http://127.0.0.1:{}  peers http://127.0.0.1:{}\n",
            ports.client, ports.peer
        ));
    }
    let endpoints: Vec<String> = ports.iter().map(|ports| format!("127.0.0.1:{}", ports.client)).collect();
    text.push_str(&format!(
        "\nIn another terminal:\n\n  export ETCDCTL_ENDPOINTS={}\n  quorate ctl put greeting hello\n\n\
         Stop with Ctrl-C.\n",
        endpoints.join(",")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> CommandLine {
        CommandLine::try_parse_from(std::iter::once(&"quorate dev").chain(args)).unwrap()
    }

    fn pairs(line: &CommandLine) -> Vec<(u16, u16)> {
        (0..line.members)
            .map(|nth| line.ports(nth).unwrap())
            .map(|ports| (ports.client, ports.peer))
            .collect()
    }

    #[test]
    fn ports_are_the_well_known_ones_or_count_from_a_base() {
        assert_eq!(pairs(&parse(&[])), [(2379, 2380), (22379, 22380), (32379, 32380)]);
        assert_eq!(pairs(&parse(&["--members=5"])).last(), Some(&(52379, 52380)));
        assert_eq!(pairs(&parse(&["--base-port=7000", "--members=2"])), [(7000, 7001), (7002, 7003)]);
        for base in ["0", "65535", "65532"] {
            let line = parse(&["--base-port", base]);
            let error = (0..3).find_map(|nth| line.ports(nth).err()).unwrap().to_string();
            assert!(error.starts_with(&format!("--base-port {base}: there are no 3 pairs")), "{error}");
        }
        assert!(CommandLine::try_parse_from(["quorate dev", "--members=6"]).is_err());
    }

    #[test]
    fn members_agree_on_their_cluster() {
        let line = parse(&["--base-port=7000"]);
        let ports: Vec<Ports> = (0..3).map(|nth| line.ports(nth).unwrap()).collect();
        let members: Vec<_> = (1..=3)
            .map(|nth| member_config(&line.member(nth, &ports, Path::new("d")).unwrap()).unwrap())
            .collect();
        let dirs: Vec<_> = members.iter().map(|member| member.data_dir.display().to_string()).collect();
        assert_eq!(dirs, ["d/m1", "d/m2", "d/m3"]);
        assert!(members.iter().all(|member| member.cluster == members[0].cluster));
        assert!(members.iter().all(|member| member.members == members[0].members));
        assert_eq!(members[2].member, members[0].members[2].id);
        assert_eq!(members[1].client_listen, ["127.0.0.1:7002".parse().unwrap()]);
    }

    #[test]
    fn the_welcome_can_be_pasted() {
        let ports = [Ports { client: 1, peer: 2 }, Ports { client: 3, peer: 4 }];
        let text = welcome(&ports, Path::new("d"), false);
        assert!(text.contains("\n  export ETCDCTL_ENDPOINTS=127.0.0.1:1,127.0.0.1:3\n"), "{text}");
        assert!(text.contains("2 members are ready. Data in d (removed at the end)."), "{text}");
    }
}
