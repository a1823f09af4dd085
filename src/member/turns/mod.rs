//! Turns: clients stand in line under a name, and the first of them has its turn. A lock is held by whoever has the turn, and
//! an election is won by it.
//!
//! A place in a line is a key below the name, on a lease, as the API's own clients write it; so those who do all this by
//! themselves stand in the same lines. Places are ordered by the revisions that created their keys. A client waits for the
//! place just before its own to go, and for no other: one that goes wakes one client, however long the line is.
//!
//! # Parts
//! - `line`: names, places and the requests about them: pure;
//! - `wait`: a call that takes a place and waits for its turn;
//! - `watch`: what happens to the keys that somebody waits for;
//! - `lock` and `election`: what the two services ask.
//!
//! # Invariants
//! - A turn is answered as of a revision at which the client's key stands, and none of the line that was created earlier.
//! - A client that goes away while it waits gives up its place, and the lease that was made for it.
//! - Nothing is remembered between two calls: keys and leases are all there is.
//!
//! # What is absent
//! Nobody is told that its turn is over: a lease may end at any moment. What is done in a turn is fenced by the revision
//! that created the key.

mod election;
mod line;
mod lock;
mod wait;
mod watch;

pub use election::Leaders;
pub use line::Place;
pub use wait::{Turn, TurnWaits};

use crate::machine::command::{Answer, CommandError, Reply};
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;
use crate::types::Revision;

/// Why a client did not get its turn, or what it asked of it was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The client's place went while it waited: its lease ended, or somebody deleted its key.
    #[error("the place in line is gone")]
    PlaceGone,
    /// Nobody leads.
    #[error("nobody leads")]
    NoLeader,
    /// The state refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// A command did not get into the log, or nobody knows.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The reply of an answer, and the revision that it was given at.
fn granted(answer: Answer) -> Result<(Revision, Reply), TurnError> {
    Ok((answer.revision, answer.result?))
}
