//! What the server is told: options from flags, environment or file, checked and typed; and every limit.
//!
//! The way of an option: [`flags`] names it, [`settings`] collects what was set (and refuses contradictions),
//! [`serve`] turns the texts into one plain [`ServeConfig`]. Everything here is a pure function of its arguments:
//! reading files and the environment is the caller's work, so that all of it can be tested as tables.

pub mod auth_token;
pub mod discovery;
pub mod duration;
pub mod earlier;
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
/// The level of what is stored, as clients are told: the API's, without the number of its fixes.
pub const STORAGE_VERSION: &str = "3.7.0";
/// The same, as a level.
pub const API_LEVEL: ApiLevel = ApiLevel { major: 3, minor: 7 };

use crate::types::ApiLevel;

pub use error::ConfigError;
pub use initial_cluster::InitialCluster;
pub use serve::{
    AutoCompaction, ClusterState, CorruptionChecks, Loaded, LogConfig, LogFormat, LogOutput, ServeConfig,
    StorageEngine,
};
pub use settings::Settings;
pub use url::{Scheme, Url};
