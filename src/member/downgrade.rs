//! Going down to the level below: whether that can be prepared for, and that it is.
//!
//! The cluster's level is the lowest of its members', as far as they say; the next one down is the only one that it can
//! go to. What is prepared is a replicated fact and nothing more: see `docs/maintenance.md`.

use std::time::Duration;

use futures_util::future::join_all;

use crate::config::API_LEVEL;
use crate::machine::command::{Command, CommandError};
use crate::machine::downgrade::DowngradeChange;
use crate::member::{Credential, Member};
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;
use crate::types::{ApiLevel, MemberId, NotALevel};

/// How long a peer may take to say its level; one that takes longer is left out.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a downgrade is not prepared for, or not given up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DowngradeError {
    /// The text is no version.
    #[error(transparent)]
    NotALevel(#[from] NotALevel),
    /// The target is not the level below the cluster's.
    #[error("the target is not the level below the cluster's")]
    NotTheNext,
    /// The member list is not written yet.
    #[error("the cluster's level is not known yet")]
    UnknownLevel,
    /// The state says no.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// It did not get into the log.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Nobody could confirm that the state is the newest.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Member {
    /// Whether the cluster could be prepared for this version: its own level, and the one it would go down to. Whoever may
    /// not do everything is refused, by a state that knows every change that was acknowledged before.
    ///
    /// # Errors
    /// See [`DowngradeError`].
    pub async fn check_downgrade(
        &self,
        who: &Credential,
        version: &str,
    ) -> Result<(ApiLevel, ApiLevel), DowngradeError> {
        // The planted bug believes a state that may lag behind.
        if !crate::mutant!("downgrade-judged-from-behind") {
            self.linearizable().await?;
        }
        let prepared = self.admit_here(who, |state, caller| {
            state.auth().check_root(caller)?;
            Ok(state.downgrade())
        })??;
        let target: ApiLevel = version.parse()?;
        let level = self.cluster_level().await?;
        if level.below() != Some(target) {
            return Err(DowngradeError::NotTheNext);
        }
        if prepared.is_some() {
            return Err(CommandError::DowngradeInProgress.into());
        }
        Ok((level, target))
    }

    /// Prepares the cluster for this version; answers its level.
    ///
    /// # Errors
    /// See [`DowngradeError`].
    pub async fn enable_downgrade(
        &self,
        who: &Credential,
        version: &str,
    ) -> Result<ApiLevel, DowngradeError> {
        let (level, target) = self.check_downgrade(who, version).await?;
        let enable = Command::Downgrade(DowngradeChange::Enable(target));
        self.propose_for(who, enable).await?.result?;
        Ok(level)
    }

    /// Prepares the cluster no longer; answers its level.
    ///
    /// # Errors
    /// See [`DowngradeError`].
    pub async fn cancel_downgrade(&self, who: &Credential) -> Result<ApiLevel, DowngradeError> {
        self.propose_for(who, Command::Downgrade(DowngradeChange::Cancel)).await?.result?;
        self.cluster_level().await
    }

    /// The lowest level of all members that say theirs.
    async fn cluster_level(&self) -> Result<ApiLevel, DowngradeError> {
        let others: Vec<MemberId> = {
            let state = self.replica.state();
            if !state.members().is_bootstrapped() {
                return Err(DowngradeError::UnknownLevel);
            }
            let ids = state.members().iter().map(|member| member.id);
            ids.filter(|id| *id != self.config.member).collect()
        };
        let asked = others.into_iter().map(|peer| self.peers.level(peer, LEVEL_TIMEOUT));
        let said = join_all(asked).await.into_iter().filter_map(|answer| answer.ok().flatten());
        Ok(said.fold(API_LEVEL, ApiLevel::min))
    }
}
