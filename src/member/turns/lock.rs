//! Locks: a name that one client holds at a time.

use std::sync::Arc;

use bytes::Bytes;

use crate::member::turns::line::Line;
use crate::member::turns::wait::Wanted;
use crate::member::turns::{Turn, TurnError};
use crate::member::{Credential, Member};
use crate::types::LeaseId;

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
}
