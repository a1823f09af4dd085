//! The server's command line: help, version, or a member that serves until a signal ends it.
//!
//! Until the options are read, errors are plain lines on standard error; from then on everything is said through
//! the log, so that a scraper of it misses nothing. Exit codes: 0 after a clean stop, 2 for a command line that
//! cannot be read, 1 for everything else.

mod discover;
mod files;
mod leadership;
mod life;
mod notify;
mod place;
mod plan;
mod security;

use crate::cli::discovery::Resolver;
use crate::cli::log::{self, LogError};
use crate::cli::version;
use crate::config::{ConfigError, Loaded, ServeConfig, Settings, file, flags};
use crate::env::Env;
use crate::node::MemberConfig;

pub use files::places;
pub use life::{LifeError, run as run_members};
pub use plan::{PlanError, founder, make_private_dir, member_config, prepare_data_dir};

/// Runs the server; `args` are without the program's name. Returns the process exit code.
pub fn run(args: &[String], env: &[(String, String)]) -> u8 {
    match args.first().map(|word| word.trim_start_matches('-')) {
        Some("version") => {
            print(&version::text());
            return 0;
        }
        Some("h" | "help") => {
            print(&flags::help());
            return 0;
        }
        _ => {}
    }
    let loaded = match load(args, env) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("quorate: {error}");
            return error.exit_code();
        }
    };
    let world = match begin(&loaded.config) {
        Ok(world) => world,
        Err(error) => {
            eprintln!("quorate: {error}");
            return 1;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match serve(&loaded.config, &world, notify::socket(env)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            1
        }
    }
}

/// Flags and environment, or the file alone if one is named.
fn load(args: &[String], env: &[(String, String)]) -> Result<Loaded, ConfigError> {
    let flags = Settings::from_args(args, &[])?;
    let variable = env.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE").map(|(_, path)| path.as_str());
    let path = flags.given("config-file").or(variable).unwrap_or_default();
    if path.is_empty() {
        return ServeConfig::from_settings(Settings::from_args(args, env)?);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::File { path: path.to_owned(), why: error.to_string() })?;
    let mut settings = file::parse(path, &text)?;
    let ignored: Vec<&str> =
        flags.all_given().map(|(flag, _)| flag.name).filter(|name| *name != "config-file").collect();
    if !ignored.is_empty() {
        let ignored = ignored.join(", --");
        settings.warnings.push(format!("config file {path} is all that counts; ignored: --{ignored}"));
    }
    ServeConfig::from_settings(settings)
}

/// Why nothing could begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Nothing can be logged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The host gives no randomness.
    #[error("the host gives no randomness: {0}")]
    Env(std::io::Error),
}

/// The host's seams, and the log.
///
/// # Errors
/// See [`BeginError`].
pub fn begin(config: &ServeConfig) -> Result<Env, BeginError> {
    let env = Env::real().map_err(BeginError::Env)?;
    log::start(&config.log, env.clock.clone())?;
    Ok(env)
}

/// Why the server could not serve.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// The options cannot be followed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The process of the member ended badly.
    #[error(transparent)]
    Life(#[from] LifeError),
    /// There is no runtime.
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
}

/// Serves until a signal; `manager` is the socket of a service manager that waits for the member to be ready.
fn serve(config: &ServeConfig, env: &Env, manager: Option<&str>) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Runtime)?;
    runtime.block_on(async {
        let security = security::security(config, env, &places()).await?;
        let config = discover::with_first_members(config, &Resolver::of_host(), env).await?;
        let member = place::member(&config, security, env).await?;
        say_hello(&member, &config);
        if let Some(warning) = prepare_data_dir(&config)? {
            tracing::warn!("{warning}");
        }
        let tell = || {
            if let Some(socket) = manager {
                notify::ready(socket);
            }
        };
        Ok(run_members(vec![member], env, tell).await?)
    })
}

/// The first line of a log: who this is.
fn say_hello(member: &MemberConfig, config: &ServeConfig) {
    let peers: Vec<&str> = config.listen_peer_urls.iter().map(|url| url.as_str()).collect();
    let clients: Vec<&str> = config.listen_client_urls.iter().map(|url| url.as_str()).collect();
    tracing::info!(
        version = version::QUORATE_VERSION,
        "api-version" = version::API_VERSION,
        "data-dir" = %member.data_dir.display(),
        name = %member.name,
        "member-id" = %member.member,
        "cluster-id" = %member.cluster,
        "listen-peer-urls" = peers.join(","),
        "listen-client-urls" = clients.join(","),
        "starting a member"
    );
}

#[expect(clippy::print_stdout, reason = "help and version are what was asked for")]
fn print(text: &str) {
    print!("{text}");
}
