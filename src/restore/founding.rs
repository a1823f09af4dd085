//! The log of a restored member: it has cast no vote and holds no entry, and begins behind the restored state.
//!
//! The state stands at an entry that no other log has: above all that the image's own log had held when it was taken, in a
//! term after it. So a member with an empty directory, or one restored from an older image, is behind: it can lead nobody who
//! was restored, and is brought up by a snapshot, never from the log.

use std::path::Path;

use super::RestoreError;
use crate::env::Env;
use crate::storage::wal::{Identity, SEGMENT_BYTES_MIN, Vote, Wal, WalOptions, WalRecord};
use crate::types::LogId;

/// Makes the log in `dir`, durably, of a member whose state stands at `at`.
///
/// # Errors
/// See [`RestoreError`].
pub fn make_log(env: &Env, dir: &Path, identity: Identity, at: LogId) -> Result<(), RestoreError> {
    // Whoever starts on it goes on in segments of its own size, and prepares what it needs.
    let options = WalOptions { segment_bytes: SEGMENT_BYTES_MIN, prepared_segments: 0 };
    let (mut wal, _) = Wal::open(env.disk.clone(), dir, identity, options, env.entropy.clone())?;
    // No log holds entries of a later term than its vote.
    let vote = Vote { term: at.term, voted_for: None, committed: false };
    wal.commit(&[WalRecord::Vote(vote), WalRecord::Purge(at)], Some(at))?;
    wal.seal()?;
    Ok(())
}
