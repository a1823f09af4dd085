//! Which engine: its name on the command line, its options, and the one way to open any of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::redb::RedbEngine;
use super::{ENGINE_CACHE_BYTES_DEFAULT, Engine, EngineError, Identity};
use crate::env::Disk;

/// The engines on offer, as `--storage-engine` takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// redb: the default; durable across power loss.
    #[default]
    Redb,
    /// sled: rebuilt from snapshot and WAL after anything but a clean close. Not in the simulated build.
    Sled,
}

impl EngineKind {
    /// As [`Engine::survives_power_loss`], before there is an engine.
    pub fn survives_power_loss(self) -> bool {
        match self {
            EngineKind::Redb => true,
            EngineKind::Sled => false,
        }
    }
}

/// `--storage-engine` was given something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown storage engine {0:?}: expected redb or sled")]
pub struct UnknownEngine(pub String);

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Redb => "redb",
            EngineKind::Sled => "sled",
        })
    }
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<EngineKind, UnknownEngine> {
        match text {
            "redb" => Ok(EngineKind::Redb),
            "sled" => Ok(EngineKind::Sled),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}

/// How an engine is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Memory for cached pages, in bytes.
    pub cache_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions { cache_bytes: ENGINE_CACHE_BYTES_DEFAULT }
    }
}

/// What opening an engine's folder gave.
#[derive(Debug)]
pub enum Opened {
    /// The engine was there and its content is what its contract says.
    Existing(Arc<dyn Engine>),
    /// There was none; an empty one was created, durably.
    Created(Arc<dyn Engine>),
    /// There is one whose content cannot be relied on, and it was not opened. The caller moves it aside (see
    /// [`set_aside`]), opens again, and rebuilds from snapshot and WAL.
    Untrusted {
        /// What spoke against it, in one line.
        why: String,
    },
}

/// Opens the engine of this kind in `dir`, or creates it there.
///
/// # Errors
/// `Refused` for a folder that is foreign, newer, or in use; `Corrupt` for a damaged one; `Io` when the disk
/// fails. A corrupt redb engine is set aside and rebuilt like an untrusted one, by the caller's decision.
pub fn open_engine(
    kind: EngineKind,
    disk: &Arc<dyn Disk>,
    dir: &Path,
    identity: Identity,
    options: EngineOptions,
) -> Result<Opened, EngineError> {
    match kind {
        EngineKind::Redb => {
            let existed = RedbEngine::exists(&**disk, dir)?;
            let engine: Arc<dyn Engine> = Arc::new(RedbEngine::open(&**disk, dir, identity, options)?);
            Ok(if existed { Opened::Existing(engine) } else { Opened::Created(engine) })
        }
        #[cfg(not(madsim))]
        EngineKind::Sled => super::sled::open(disk, dir, identity, options),
        #[cfg(madsim)]
        EngineKind::Sled => Err(EngineError::Refused {
            path: dir.display().to_string(),
            why: "sled starts threads, which the simulator cannot have".to_owned(),
        }),
    }
}

/// Moves an engine's folder out of the way, durably, and returns its new name: `<dir>.aside-<n>`.
///
/// # Errors
/// `Io` when the disk fails.
pub fn set_aside(disk: &dyn Disk, dir: &Path) -> Result<PathBuf, EngineError> {
    let io = |source| EngineError::Io { path: dir.display().to_string(), source };
    let mut number = 1_u32;
    let aside = loop {
        let mut name = dir.as_os_str().to_owned();
        name.push(format!(".aside-{number}"));
        let candidate = PathBuf::from(name);
        if !disk.exists(&candidate).map_err(io)? {
            break candidate;
        }
        number = number.saturating_add(1);
    };
    disk.rename(dir, &aside).map_err(io)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(io)?;
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_refused() {
        for kind in [EngineKind::Redb, EngineKind::Sled] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "rocksdb".parse::<EngineKind>().expect_err("not an engine of ours");
        assert_eq!(error.to_string(), "unknown storage engine \"rocksdb\": expected redb or sled");
    }
}
