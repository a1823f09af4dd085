//! Why the write-ahead log could not do what it was asked: one line each, naming file and offset.
//!
//! Only [`WalError::Refused`] and [`WalError::NoSpace`] leave a running log usable, because both are found
//! before anything is written. After every other error the log refuses all further work: its caller stops the
//! process.

use std::io;

use crate::types::{ClusterId, MemberId};

/// What was tried when a place of a segment could not be read.
pub(super) const READING: &str = "read";

/// An error of the write-ahead log.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk failed.
    #[error("write-ahead log {file}: cannot {doing} at offset {offset}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// Where in the file; 0 for calls without a place.
        offset: u64,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// Bytes that were known to be durable are damaged. Nothing is ever cut to get around it.
    #[error("write-ahead log {file} is corrupt at offset {offset}: {what}")]
    Corrupt {
        /// The segment.
        file: String,
        /// Where the damage is, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A segment that must exist does not; or what says that it is not needed any more is damaged.
    #[error(
        "write-ahead log segment {file} is missing, needed at offset {offset} of {named_by}{}",
        or_damaged(.unless)
    )]
    MissingSegment {
        /// The absent segment.
        file: String,
        /// The file that proves it existed.
        named_by: String,
        /// Where in that file the proof stands, in bytes.
        offset: u64,
        /// The last batch of the log, by its file and its offset in bytes: were it damaged, that would explain it too.
        unless: Option<(String, u64)>,
    },
    /// The directory belongs to another cluster or member.
    #[error(
        "write-ahead log {file} belongs to member {found_member} of cluster {found_cluster}, \
         this is member {member} of cluster {cluster} (header at offset {offset})"
    )]
    Foreign {
        /// The segment.
        file: String,
        /// Where its header stands, in bytes.
        offset: u64,
        /// The cluster that wrote it.
        found_cluster: ClusterId,
        /// The member that wrote it.
        found_member: MemberId,
        /// The cluster that opens it.
        cluster: ClusterId,
        /// The member that opens it.
        member: MemberId,
    },
    /// A newer release wrote the directory.
    #[error(
        "write-ahead log {file} has format version {found} (header at offset {offset}), \
         this release reads up to {supported}: start the newer release"
    )]
    NewerFormat {
        /// The segment.
        file: String,
        /// Where its header stands, in bytes.
        offset: u64,
        /// Its version.
        found: u32,
        /// The newest version this release knows.
        supported: u32,
    },
    /// Another process has the directory open.
    #[error("write-ahead log {dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// There is no room for the next segment. Found before anything was promised; the log stays usable.
    #[error("no space for write-ahead log segment {file} of {bytes} bytes (offset 0): {source}")]
    NoSpace {
        /// The segment that could not be made.
        file: String,
        /// Its size.
        bytes: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The caller's records or options contradict the log. Nothing was written.
    #[error("write-ahead log {dir}: refused: {what}")]
    Refused {
        /// The directory.
        dir: String,
        /// The contradiction.
        what: String,
    },
    /// An earlier call failed; the log does nothing more until the process starts anew.
    #[error("write-ahead log {dir} has failed before and accepts nothing more")]
    Failed {
        /// The directory.
        dir: String,
    },
}

fn or_damaged(place: &Option<(String, u64)>) -> String {
    place.as_ref().map_or_else(String::new, |(file, offset)| {
        format!(", unless the batch at offset {offset} of {file} is damaged")
    })
}

impl WalError {
    /// Whether the log has lost something that it held, so that it never says again what it said.
    pub fn is_damage(&self) -> bool {
        match self {
            WalError::Corrupt { .. } | WalError::MissingSegment { .. } => true,
            WalError::Io { doing, .. } => *doing == READING,
            _ => false,
        }
    }

    /// Whether nothing was written, so that the log may go on.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, WalError::Refused { .. } | WalError::NoSpace { .. })
    }
}

impl From<WalError> for io::Error {
    fn from(error: WalError) -> io::Error {
        let kind = match &error {
            WalError::Io { source, .. } | WalError::NoSpace { source, .. } => source.kind(),
            WalError::Corrupt { .. } | WalError::MissingSegment { .. } => io::ErrorKind::InvalidData,
            WalError::Foreign { .. } | WalError::NewerFormat { .. } => io::ErrorKind::Unsupported,
            WalError::Locked { .. } => io::ErrorKind::WouldBlock,
            WalError::Refused { .. } => io::ErrorKind::InvalidInput,
            WalError::Failed { .. } => io::ErrorKind::BrokenPipe,
        };
        io::Error::new(kind, error)
    }
}
