//! From options to a member: which one it is, where it listens, and whether it may start as they say.
//!
//! What cannot be done is refused here in one line that names the flag. Only the data directory's name and its log
//! folder are looked at; what they hold is judged by the member itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::cli::discovery::MembersError;
use crate::config::{ConfigError, ServeConfig, StorageEngine, Url};
use crate::machine::command::Member as MemberInfo;
use crate::node::{Knobs, MemberConfig, Security};
use crate::peer::join::{JoinError, Place};
use crate::storage::engine::EngineKind;
use crate::tls::TlsError;

/// Why no member can be made of the options.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The options contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The first members are not to be found.
    #[error("--discovery-srv={domain}: {why}")]
    Discovery {
        /// The domain.
        domain: String,
        /// What is wrong with it.
        why: Box<MembersError>,
    },
    /// An option asks for what is not there yet.
    #[error("--{flag}: {why}")]
    NotYet {
        /// The flag.
        flag: &'static str,
        /// What is missing.
        why: String,
    },
    /// The data directory cannot be used.
    #[error("data directory {dir} (--data-dir): {why}")]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate, or what goes with it, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The cluster that it was told to join does not take it.
    #[error("--initial-cluster-state=existing: {0}")]
    Join(JoinError),
    /// The cluster knows the member that it was told to join as, and its data directory is empty.
    #[error("--initial-cluster-state=existing: {why}: {advice}")]
    DiskLost {
        /// What the cluster said.
        why: JoinError,
        /// What can be done.
        advice: String,
    },
    /// Somebody else listens there, or nobody may.
    #[error("cannot listen to {whom} on {address}: {why}")]
    Listen {
        /// Clients or peers.
        whom: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the host said.
        why: std::io::ErrorKind,
    },
}

/// The founder of a new cluster that `config` describes.
///
/// # Errors
/// See [`PlanError`].
pub fn member_config(config: &ServeConfig) -> Result<MemberConfig, PlanError> {
    config_of(config, founder(config)?)
}

/// The place of a founder, as the initial cluster has it.
///
/// # Errors
/// See [`PlanError`].
pub fn founder(config: &ServeConfig) -> Result<Place, PlanError> {
    config.verify_bootstrap()?;
    let token = &config.initial_cluster_token;
    let ids = config.initial_cluster.member_ids(token);
    let members = config
        .initial_cluster
        .members()
        .zip(&ids)
        .map(|((name, urls), (_, id))| MemberInfo {
            id: *id,
            name: name.to_owned(),
            peer_urls: texts(urls),
            ..MemberInfo::default()
        })
        .collect();
    let member = ids.iter().find(|(name, _)| *name == config.name).map(|(_, id)| *id);
    let not_there = || {
        ConfigError::Contradiction(format!("--initial-cluster does not list this member, {:?}", config.name))
    };
    let member = member.ok_or_else(not_there)?;
    Ok(Place { cluster: config.initial_cluster.cluster_id(token), member, members, joins: false })
}

/// The member that `config` describes, in its place, in plain text so far.
///
/// # Errors
/// See [`PlanError`].
pub fn config_of(config: &ServeConfig, place: Place) -> Result<MemberConfig, PlanError> {
    let peer_listen = addresses("listen-peer-urls", &config.listen_peer_urls)?;
    let [peer_listen] = peer_listen.as_slice() else {
        let why = format!("one address is supported yet, found {}", peer_listen.len());
        return Err(PlanError::NotYet { flag: "listen-peer-urls", why });
    };
    Ok(MemberConfig {
        name: config.name.clone(),
        member: place.member,
        cluster: place.cluster,
        data_dir: config.data_dir.clone(),
        members: place.members,
        joins: place.joins,
        seeds: seeds(config),
        peer_urls: texts(&config.advertise_peer_urls),
        peer_listen: *peer_listen,
        client_listen: addresses("listen-client-urls", &config.listen_client_urls)?,
        client_urls: texts(&config.advertise_client_urls),
        engine: match config.storage_engine {
            StorageEngine::Redb => EngineKind::Redb,
            StorageEngine::Sled => EngineKind::Sled,
        },
        security: Security::default(),
        knobs: Knobs {
            heartbeat_interval: config.heartbeat_interval,
            election_timeout: config.election_timeout,
            snapshot_entries: config.snapshot_entries,
            keep_entries: config.snapshot_catchup_entries,
            quota_bytes: config.quota_bytes,
            max_txn_ops: config.txn_ops_max,
            request_bytes_max: config.request_bytes_max,
            request_timeout: config.request_timeout(),
            strict_reconfig: config.strict_reconfig,
            learners_max: config.learners_max,
            self_repair: config.self_repair,
            session_ttl: config.auth_token_ttl,
            bcrypt_cost: config.bcrypt_cost,
            watch_progress_interval: config.watch_progress_interval,
            corruption_checks: config.corruption_checks,
            ..Knobs::default()
        },
    })
}

/// Where the other members of the initial cluster are reached.
pub fn seeds(config: &ServeConfig) -> Vec<String> {
    let named = config.initial_cluster.members().flat_map(|(_, urls)| texts(urls));
    let own = texts(&config.advertise_peer_urls);
    named.filter(|url| !own.contains(url)).collect()
}

/// URLs as text.
pub fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(|url| url.as_str().to_owned()).collect()
}

/// The addresses to bind, each once: `localhost` and its number are the same place.
fn addresses(flag: &'static str, urls: &[Url]) -> Result<Vec<SocketAddr>, PlanError> {
    let mut found = BTreeSet::new();
    for url in urls {
        found.insert(address(flag, url)?);
    }
    Ok(found.into_iter().collect())
}

/// The address to bind.
///
/// # Errors
/// See [`PlanError`].
pub fn address(flag: &'static str, url: &Url) -> Result<SocketAddr, PlanError> {
    let ip = match url.host() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host => host.parse().map_err(|_| PlanError::NotYet {
            flag,
            why: format!("want an IP address or localhost to listen on, found {url}"),
        })?,
    };
    Ok(SocketAddr::new(ip, url.port()))
}

/// Makes the data directory, readable by its owner alone. What is to be warned about is answered.
///
/// # Errors
/// See [`PlanError`].
pub fn prepare_data_dir(config: &ServeConfig) -> Result<Option<String>, PlanError> {
    let dir = &config.data_dir;
    let failed = |why: std::io::Error| PlanError::DataDir { dir: dir.clone(), why: why.to_string() };
    make_private_dir(dir).map_err(failed)
}

/// Makes `dir` with mode 0700; one that exists stays as it is, and is warned about when others may read it.
///
/// # Errors
/// What the disk says.
pub fn make_private_dir(dir: &Path) -> std::io::Result<Option<String>> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = std::fs::metadata(dir)?.permissions().mode() & 0o777;
    let open = mode & 0o077 != 0;
    Ok(open.then(|| {
        format!("data directory {} has mode {mode:04o}: others may read it, 0700 is wanted", dir.display())
    }))
}

/// Checks that every address can be listened to, before anything else is begun: a port in use then costs no
/// recovery, and the line says whom it was for. A port that is taken after this check fails the start all the same.
///
/// # Errors
/// See [`PlanError`].
pub fn check_ports(config: &MemberConfig) -> Result<(), PlanError> {
    let peers = std::iter::once(("peers", &config.peer_listen));
    let clients = config.client_listen.iter().map(|address| ("clients", address));
    // All are held until all are found free, so that an address that is asked for twice is noticed.
    let mut held = Vec::new();
    for (whom, address) in peers.chain(clients) {
        let bound = TcpListener::bind(address);
        held.push(bound.map_err(|error| PlanError::Listen { whom, address: *address, why: error.kind() })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
