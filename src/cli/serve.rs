//! The server's command line: help, version, or a configuration to serve with.

use crate::cli::version;
use crate::config::{ConfigError, Loaded, ServeConfig, Settings, file, flags};

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
    let Loaded { config, warnings } = match load(args, env) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("quorate: {error}");
            return error.exit_code();
        }
    };
    for warning in warnings {
        eprintln!("quorate: warning: {warning}");
    }
    match serve(&config) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("quorate: {error}");
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

/// Why the server could not serve.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// The pieces of a member are not put together yet.
    #[error("serving is not wired yet (member {name})")]
    NotWired {
        /// The member that would have served.
        name: String,
    },
}

fn serve(config: &ServeConfig) -> Result<(), ServeError> {
    Err(ServeError::NotWired { name: config.name.clone() })
}

#[expect(clippy::print_stdout, reason = "help and version are what was asked for")]
fn print(text: &str) {
    print!("{text}");
}
