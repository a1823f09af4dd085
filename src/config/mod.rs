//! What the server is told: options from flags, environment or file, checked and typed; and every limit.
//!
//! The way of an option: [`flags`] names it, [`settings`] collects what was set (and refuses contradictions),
//! [`serve`] turns the texts into one plain [`ServeConfig`]. Everything here is a pure function of its arguments:
//! reading files and the environment is the caller's work, so that all of it can be tested as tables.

pub mod auth_token;
pub mod duration;
pub mod error;
#[cfg(not(madsim))]
pub mod file;
pub mod flags;
pub mod ids;
pub mod initial_cluster;
pub mod limits;
pub mod serve;
pub mod settings;
pub mod tls;
pub mod url;

/// The level of the API that is served, as clients are told: they switch features on it.
pub const API_VERSION: &str = "3.7.1";

pub use error::ConfigError;
pub use initial_cluster::InitialCluster;
pub use serve::{
    AutoCompaction, ClusterState, Loaded, LogConfig, LogFormat, LogOutput, ServeConfig, StorageEngine,
};
pub use settings::Settings;
pub use url::{Scheme, Url};
