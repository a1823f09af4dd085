//! Locks: a name that one client holds at a time.

use std::sync::Arc;

use bytes::Bytes;

use crate::env::in_its_name;
use crate::machine::command::{Command, DeleteRange};
use crate::member::turns::line::Line;
use crate::member::turns::wait::Wanted;
use crate::member::turns::{Turn, TurnError, granted};
use crate::member::{Credential, Member};
use crate::types::{KeyRange, LeaseId, Revision};

impl Member {
    /// Waits until the client holds the lock of this name, on a lease; without one, on one of a minute that is made for it.
    /// A client that holds the lock by that lease has it at once.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn lock(
        self: &Arc<Member>,
        who: &Credential,
        name: Bytes,
        lease: LeaseId,
    ) -> Result<Turn, TurnError> {
        let (who, line) = (who.clone(), Line::new(&name));
        // Who holds it already has written nothing that this could change.
        self.turn(Wanted { who, line, lease, value: None }).await
    }

    /// Deletes a place of a lock, whoever's it is; with a revision as of which it is gone.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn unlock(self: &Arc<Member>, who: &Credential, key: Bytes) -> Result<Revision, TurnError> {
        let delete = Command::DeleteRange(DeleteRange { range: KeyRange::single(key), prev_kv: false });
        // The planted bug answers before it is done.
        if crate::mutant!("unlock-answered-before-it-is-done") {
            let (member, who) = (self.clone(), who.clone());
            tokio::spawn(in_its_name(async move { member.propose_for(&who, delete).await }));
            return Ok(self.revision());
        }
        let (revision, _) = granted(self.propose_for(who, delete).await?)?;
        Ok(revision)
    }
}
