//! Making a data directory of a store's image: ours, or one of etcd's. Offline, without a member.
//!
//! Read first: [`source`] (the image, and what is believed of it), [`content`] (its buckets as ours), [`data_dir`] (what is
//! made, and in which order it becomes durable). [`etcd`] takes a whole data directory of etcd's for a source.
//!
//! What is restored: the keys with their history back to the compacted revision, leases, users and roles, alarms. What is
//! not: members and their cluster, which are those of the flags; what members remember of requests already carried out.
//!
//! Invariants: the same image and the same flags give the same state, byte for byte, so that members restored from one image
//! are one cluster. The image is read a page at a time and never changed. What ends early leaves a directory that no member
//! starts on.

mod content;
mod data_dir;
mod etcd;
mod founding;
mod source;

use std::io;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::machine::command::Member;
use crate::storage::bolt::BoltError;
use crate::storage::engine::EngineError;
use crate::storage::wal::{Identity, WalError};
use crate::types::Revision;

pub use etcd::Replayed;

/// What to restore from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An image. Its checksum is held against it, unless `trusted`.
    Image {
        /// The file.
        file: PathBuf,
        /// Whether it is believed without its checksum.
        trusted: bool,
    },
    /// The data directory of an etcd that has stopped.
    EtcdDataDir(PathBuf),
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to make it of.
    pub from: Origin,
    /// The directory to make. It must not exist, or be empty.
    pub data_dir: PathBuf,
    /// Whose it will be.
    pub identity: Identity,
    /// The members of the new cluster, that one among them.
    pub members: Vec<Member>,
    /// By how much to raise the revision, with all history before it compacted; 0 leaves both alone.
    pub bump: i64,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The revision that the store goes on at.
    pub revision: Revision,
    /// The oldest revision that can be read; -1 if all can.
    pub compacted: Revision,
    /// Keys that live now or in history.
    pub keys: usize,
    /// The hash of the state: the same on all members that are restored alike.
    pub hash: u128,
    /// What was taken from a log behind the state.
    pub replayed: Option<Replayed>,
}

/// Why nothing was restored. One line, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file of the source cannot be read.
    #[error("{path}: {source}")]
    Source {
        /// The file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Nothing tells whether the image is whole.
    #[error(
        "snapshot missing hash but --skip-hash-check=false: {path} was copied from a data directory, or is cut short"
    )]
    NoChecksum {
        /// The file.
        path: String,
    },
    /// The image is not what was saved.
    #[error("expected sha256 {expected}, got {found}: {path} is damaged")]
    Checksum {
        /// The file.
        path: String,
        /// What stands behind it.
        expected: String,
        /// What it comes to.
        found: String,
    },
    /// The image's structure is damaged.
    #[error("{path}: {source}")]
    Bolt {
        /// The file.
        path: String,
        /// What is wrong.
        source: BoltError,
    },
    /// What the source holds is not what a store holds.
    #[error("{path}: {what}")]
    Content {
        /// The file or folder.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// There is something already where the data directory is to be.
    #[error("data-dir {dir:?} {why}")]
    Occupied {
        /// The directory.
        dir: String,
        /// What is there.
        why: &'static str,
    },
    /// The directory that is made cannot be written.
    #[error("data directory {dir}: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The order cannot be carried out.
    #[error("{0}")]
    Order(String),
    /// The state engine that is made cannot be written or read back.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The log that is made cannot be written.
    #[error(transparent)]
    Wal(#[from] WalError),
}

impl RestoreError {
    fn content(path: &Path, what: impl ToString) -> RestoreError {
        RestoreError::Content { path: path.display().to_string(), what: what.to_string() }
    }

    fn unreadable(path: &Path, source: io::Error) -> RestoreError {
        RestoreError::Source { path: path.display().to_string(), source }
    }
}

/// Makes the data directory. Blocks. What fails leaves an empty one, or one that no member starts on.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(env: &Env, order: &Order) -> Result<Restored, RestoreError> {
    data_dir::make(env, order)
}
