//! A look at a log without opening it: of a member that has stopped, or of one that runs meanwhile.
//!
//! Nothing is locked, written or repaired. The rules are recovery's own, so what recovery would refuse is an error here. Beside
//! a member that writes, two parts of a file may be read as of different moments and contradict each other for that reason
//! alone; so a contradiction counts only when a second look finds the same one.

use std::path::Path;
use std::sync::Arc;

use super::directory::{Directory, segment_of_name};
use super::error::WalError;
use super::format::SEGMENT_BYTES_MIN;
use super::reading::Reading;
use super::record::{Entry, Identity, Vote};
use super::recovery::TornTail;
use crate::env::{Disk, OpenMode};
use crate::types::LogId;

/// How often a log is looked at that changes under the eye.
const LOOKS_MAX: usize = 16;

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The newest vote.
    pub vote: Option<Vote>,
    /// Everything up to here is forgotten.
    pub purged: Option<LogId>,
    /// The newest entry known to be committed.
    pub committed: Option<LogId>,
    /// The entries behind `purged`, without a gap.
    pub entries: Vec<Entry>,
    /// Where the last batch is not whole, if it is not: torn, or still being written.
    pub torn_tail: Option<TornTail>,
}

/// Looks at the log of `identity` in `dir`. `None` when there is none.
///
/// # Errors
/// See [`WalError`]: what recovery would refuse, or a log that changes too fast to be looked at.
pub fn inspect(disk: &Arc<dyn Disk>, dir: &Path, identity: Identity) -> Result<Option<Inspected>, WalError> {
    let dir = Directory::found(Arc::clone(disk), dir);
    let reading = Reading { dir, identity, segment_bytes: SEGMENT_BYTES_MIN, mode: OpenMode::Read };
    let mut before = String::new();
    for _ in 1..LOOKS_MAX {
        match look(&reading) {
            Ok(found) => return Ok(found),
            Err(error) if error.to_string() == before => return Err(error),
            Err(error) => before = error.to_string(),
        }
    }
    look(&reading)
}

fn look(reading: &Reading) -> Result<Option<Inspected>, WalError> {
    let names = reading.dir.list()?;
    let layout = reading.find(names.iter().filter_map(|name| segment_of_name(name)))?;
    let Some(history) = reading.read(&layout.chain)? else { return Ok(None) };
    let state = history.replay.state;
    Ok(Some(Inspected {
        vote: state.vote,
        purged: state.purged,
        committed: state.committed,
        entries: history.replay.into_entries(),
        torn_tail: history.torn_tail,
    }))
}
