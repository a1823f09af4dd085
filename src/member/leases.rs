//! A member's leases, as the services use them.
//!
//! Grant and revoke are commands like any other. Keep-alives and remainders are the leader's to answer, wherever
//! they are asked.

use bytes::Bytes;

use crate::machine::command::{Answer, Command, CommandError};
use crate::machine::lease::TTL_SECS_MAX;
use crate::member::{Credential, Member};
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;
use crate::types::{LeaseId, TtlSecs};

/// What is left of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLife {
    /// Seconds until it ends, unless it is kept alive.
    pub remaining: TtlSecs,
    /// Seconds it lives without a keep-alive.
    pub granted: TtlSecs,
    /// The keys that end with it, in order; empty unless asked for.
    pub keys: Vec<Bytes>,
}

impl Member {
    /// Creates a lease; with no id, under a random one. A TTL that is too short to survive an election is raised.
    ///
    /// # Errors
    /// See [`ProposeError`]. A lease that exists, or a TTL that is too long, is the answer's error.
    pub async fn lease_grant(
        &self,
        who: &Credential,
        id: LeaseId,
        ttl: TtlSecs,
    ) -> Result<Answer, ProposeError> {
        if ttl > TTL_SECS_MAX {
            let revision = self.replica.state().revision();
            return Ok(Answer { revision, result: Err(CommandError::LeaseTtlTooLarge) });
        }
        let ttl = ttl.max(self.lease_ttl_min());
        loop {
            let chosen = if id.is_some() { id } else { self.unused_lease() };
            let answer = self.propose_for(who, Command::LeaseGrant { id: chosen, ttl }).await?;
            if id.is_some() || answer.result != Err(CommandError::LeaseExists) {
                return Ok(answer);
            }
        }
    }

    /// Ends a lease and deletes its keys in one revision.
    ///
    /// # Errors
    /// See [`ProposeError`]. That there is no such lease is the answer's error.
    pub async fn lease_revoke(&self, who: &Credential, id: LeaseId) -> Result<Answer, ProposeError> {
        self.propose_for(who, Command::LeaseRevoke { id }).await
    }

    /// Renews a lease: answers its full TTL, or 0 when it is gone. The lease then lives for at least that long
    /// from this call on, whoever leads.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]; the lease may have been renewed all the same. Inner: the client may not.
    pub async fn lease_keep_alive(
        &self,
        who: &Credential,
        id: LeaseId,
    ) -> Result<Result<TtlSecs, CommandError>, ReadError> {
        if let Err(refused) = self.admit(who, |state, caller| state.check_lease(caller, id)).await? {
            return Ok(Err(refused));
        }
        self.leases.renew(id).await.map(Ok)
    }

    /// What a lease has left, and its keys if asked for; `None` when it is gone. Linearizable.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]. Inner: the client may not.
    pub async fn lease_time_to_live(
        &self,
        who: &Credential,
        id: LeaseId,
        keys: bool,
    ) -> Result<Result<Option<LeaseLife>, CommandError>, ReadError> {
        let remaining = self.leases.remaining(id).await?;
        self.linearizable().await?;
        self.admit_here(who, |state, caller| {
            state.auth().check_known(caller)?;
            if keys {
                state.check_lease_keys(caller, id)?;
            }
            let left = remaining.zip(state.lease(id));
            Ok(left.map(|(remaining, lease)| LeaseLife {
                remaining,
                granted: lease.ttl,
                keys: if keys { lease.keys().cloned().collect() } else { Vec::new() },
            }))
        })
    }

    /// Every lease, by id. Linearizable.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]. Inner: the client may not.
    pub async fn leases(&self, who: &Credential) -> Result<Result<Vec<LeaseId>, CommandError>, ReadError> {
        self.linearizable().await?;
        self.admit_here(who, |state, caller| {
            state.auth().check_known(caller)?;
            Ok(state.leases().iter().map(|(id, _)| id).collect())
        })
    }

    /// The shortest TTL that is granted: one and a half election timeouts, in whole seconds.
    fn lease_ttl_min(&self) -> TtlSecs {
        let secs = (self.config.knobs.election_timeout * 3).as_millis().div_ceil(2_000);
        TtlSecs(i64::try_from(secs).unwrap_or(i64::MAX))
    }

    /// A positive random id that no lease has.
    pub(super) fn unused_lease(&self) -> LeaseId {
        loop {
            let id = LeaseId(i64::try_from(self.env.entropy.next_u64() >> 1).unwrap_or_default());
            if id.is_some() && self.replica.state().lease(id).is_none() {
                return id;
            }
        }
    }
}
