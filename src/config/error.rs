//! Why a configuration is refused: always one line that names the option and what to do.

/// A configuration that the server will not start with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The command line itself cannot be read.
    #[error("{0}")]
    Usage(String),
    /// The same option was given twice, by flag and by environment.
    #[error(
        "conflicting environment variable {variable} is shadowed by corresponding command-line flag --{flag} \
         (unset the variable or drop the flag)"
    )]
    Shadowed {
        /// The environment variable.
        variable: String,
        /// The flag.
        flag: String,
    },
    /// A value that cannot be.
    #[error("invalid value {value:?} for --{flag}: {why}")]
    Value {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Options that are each fine, but not together.
    #[error("{0}")]
    Contradiction(String),
    /// An option whose silent absence would be dangerous.
    #[error("--{flag} is not supported yet: {why}")]
    NotSupported {
        /// The flag.
        flag: String,
        /// What would go wrong if it were ignored.
        why: String,
    },
    /// The configuration file cannot be used.
    #[error("config file {path}: {why}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ConfigError {
    /// The process exit code: 2 when the command line cannot be read, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            ConfigError::Usage(_) => 2,
            _ => 1,
        }
    }
}
