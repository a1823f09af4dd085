//! What can be changed of users, roles and permissions: the domain form of those requests.

use std::fmt;

use bytes::Bytes;

use crate::types::KeyRange;

/// One change of users, roles and permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChange {
    /// Ask every client who it is from now on.
    Enable,
    /// Ask nobody any more. Users and roles stay.
    Disable,
    /// Create a user, without roles.
    UserAdd {
        /// Its name.
        user: String,
        /// What its password is checked against; a user with none can sign in by other means only.
        password: Option<PasswordHash>,
    },
    /// Delete a user and end its sessions.
    UserDelete {
        /// Its name.
        user: String,
    },
    /// Give a user another password and end its sessions. One that was created to have none stays without.
    UserChangePassword {
        /// Its name.
        user: String,
        /// What the new password is checked against.
        password: PasswordHash,
    },
    /// Give a user a role.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Take a role from a user.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Create a role, without permissions.
    RoleAdd {
        /// Its name.
        role: String,
    },
    /// Delete a role, take it from its users, and end their sessions.
    RoleDelete {
        /// Its name.
        role: String,
    },
    /// Let a role reach keys; replaces what the same range gave before.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// Which keys, and how.
        permission: Permission,
    },
    /// Take a range from a role, exactly as it was given.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// Which keys.
        range: KeyRange,
    },
}

/// A right on a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Which keys.
    pub range: KeyRange,
    /// What may be done with them.
    pub access: Access,
}

/// What a permission allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To write.
    Write,
    /// Both.
    ReadWrite,
}

/// A password's bcrypt hash, as text. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Bytes);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl AuthChange {
    /// Bytes of the names, keys and secrets that the change carries.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            AuthChange::Enable | AuthChange::Disable => 0,
            AuthChange::UserAdd { user, password } => {
                user.len() + password.as_ref().map_or(0, |password| password.0.len())
            }
            AuthChange::UserChangePassword { user, password } => user.len() + password.0.len(),
            AuthChange::UserDelete { user } => user.len(),
            AuthChange::UserGrantRole { user, role } | AuthChange::UserRevokeRole { user, role } => {
                user.len() + role.len()
            }
            AuthChange::RoleAdd { role } | AuthChange::RoleDelete { role } => role.len(),
            AuthChange::RoleGrantPermission { role, permission: Permission { range, .. } }
            | AuthChange::RoleRevokePermission { role, range } => {
                role.len() + range.start.len() + range.wire_end().len()
            }
        }
    }
}
