//! Who may do what: the changes of it, and who asked for an operation.

use crate::types::{Nanos, OpId, is_default};
use serde::{Deserialize, Serialize};

/// A change of who may do what. One that was refused is not recorded: it never happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsChange {
    /// When it was asked for.
    pub invoked: Nanos,
    /// When it was acknowledged; none when nobody knows whether it happened, or whether it will.
    #[serde(default, skip_serializing_if = "is_default")]
    pub returned: Option<Nanos>,
    /// When it was given up, if it was: nobody brings it to the cluster again from then on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lost: Option<Nanos>,
    /// What it changes.
    pub what: RightsAre,
}

/// What is so after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RightsAre {
    /// Clients are asked who they are.
    Asked,
    /// They are not.
    NotAsked,
    /// The user has its role.
    Granted,
    /// The user does not.
    Revoked,
    /// The user has another password.
    PasswordChanged,
}

/// An operation of somebody who said who he is; all others say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// Which.
    pub operation: OpId,
    /// Who.
    pub asker: Asker,
}

/// Somebody who says who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "asker", rename_all = "snake_case")]
pub enum Asker {
    /// Who may do everything.
    Root,
    /// The user with one role.
    User {
        /// When the token came that is shown.
        signed_in: Nanos,
        /// Whether the role allows what is asked.
        within: bool,
    },
}
