//! How users, roles and the auth status are stored, and how their changes stand in the log.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use crate::machine::auth::change::{Access, AuthChange, PasswordHash, Permission};
use crate::machine::auth::{Auth, Role, User};
use crate::machine::codec::CodecError;
use crate::pb::record as pb;
use crate::types::KeyRange;

pub(crate) fn encode_auth_status(auth: &Auth) -> Bytes {
    pb::AuthStatus { enabled: auth.enabled, revision: auth.revision }.encode_to_vec().into()
}

/// Whether clients are asked who they are, and the auth revision.
pub(crate) fn decode_auth_status(value: Bytes) -> Result<(bool, u64), prost::DecodeError> {
    let stored = pb::AuthStatus::decode(value)?;
    Ok((stored.enabled, stored.revision))
}

pub(crate) fn encode_user(user: &User) -> Bytes {
    let stored = pb::User {
        has_password: user.password.is_some(),
        password_hash: user.password.as_ref().map(|hash| hash.0.clone()).unwrap_or_default(),
        roles: user.roles().map(str::to_owned).collect(),
    };
    stored.encode_to_vec().into()
}

pub(crate) fn decode_user(value: Bytes) -> Result<User, prost::DecodeError> {
    let stored = pb::User::decode(value)?;
    let password = stored.has_password.then_some(PasswordHash(stored.password_hash));
    Ok(User::restored(password, stored.roles.into_iter().collect::<BTreeSet<_>>()))
}

pub(crate) fn encode_role(role: &Role) -> Bytes {
    let permissions = role.permissions.iter().map(permission_to_pb).collect();
    pb::Role { permissions }.encode_to_vec().into()
}

pub(crate) fn decode_role(value: Bytes) -> Result<Role, String> {
    let stored = pb::Role::decode(value).map_err(|error| error.to_string())?;
    let permissions = stored.permissions.into_iter().map(permission_from_pb).collect::<Option<_>>();
    Ok(Role { permissions: permissions.ok_or("a permission that allows nothing")? })
}

fn permission_to_pb(permission: &Permission) -> pb::Permission {
    pb::Permission {
        key: permission.range.start.clone(),
        range_end: permission.range.wire_end(),
        read: matches!(permission.access, Access::Read | Access::ReadWrite),
        write: matches!(permission.access, Access::Write | Access::ReadWrite),
    }
}

fn permission_from_pb(stored: pb::Permission) -> Option<Permission> {
    let access = match (stored.read, stored.write) {
        (true, false) => Access::Read,
        (false, true) => Access::Write,
        (true, true) => Access::ReadWrite,
        (false, false) => return None,
    };
    Some(Permission { range: KeyRange::from_wire(stored.key, stored.range_end), access })
}

pub(super) fn auth_change_to_pb(change: &AuthChange) -> pb::AuthChange {
    use pb::auth_change::Change as Pb;
    let secret = |user: &str, password: Option<&PasswordHash>| pb::UserSecret {
        user: user.to_owned(),
        has_password: password.is_some(),
        password_hash: password.map(|hash| hash.0.clone()).unwrap_or_default(),
    };
    let both = |user: &str, role: &str| pb::UserRole { user: user.to_owned(), role: role.to_owned() };
    let reach = |role: &str, permission| pb::RolePermission { role: role.to_owned(), permission };
    let change = match change {
        AuthChange::Enable => Pb::Enable(pb::Noop {}),
        AuthChange::Disable => Pb::Disable(pb::Noop {}),
        AuthChange::UserAdd { user, password } => Pb::UserAdd(secret(user, password.as_ref())),
        AuthChange::UserDelete { user } => Pb::UserDelete(user.clone()),
        AuthChange::UserChangePassword { user, password } => {
            Pb::UserChangePassword(secret(user, Some(password)))
        }
        AuthChange::UserGrantRole { user, role } => Pb::UserGrantRole(both(user, role)),
        AuthChange::UserRevokeRole { user, role } => Pb::UserRevokeRole(both(user, role)),
        AuthChange::RoleAdd { role } => Pb::RoleAdd(role.clone()),
        AuthChange::RoleDelete { role } => Pb::RoleDelete(role.clone()),
        AuthChange::RoleGrantPermission { role, permission } => {
            Pb::RoleGrantPermission(reach(role, Some(permission_to_pb(permission))))
        }
        AuthChange::RoleRevokePermission { role, range } => {
            let (key, range_end) = (range.start.clone(), range.wire_end());
            Pb::RoleRevokePermission(reach(
                role,
                Some(pb::Permission { key, range_end, ..pb::Permission::default() }),
            ))
        }
    };
    pb::AuthChange { change: Some(change) }
}

pub(super) fn auth_change_from_pb(change: pb::AuthChange) -> Result<AuthChange, CodecError> {
    use pb::auth_change::Change as Pb;
    let missing = |what| CodecError::Unknown { what };
    let hash =
        |secret: &pb::UserSecret| secret.has_password.then(|| PasswordHash(secret.password_hash.clone()));
    Ok(match change.change.ok_or(missing("change of users and roles"))? {
        Pb::Enable(pb::Noop {}) => AuthChange::Enable,
        Pb::Disable(pb::Noop {}) => AuthChange::Disable,
        Pb::UserAdd(secret) => AuthChange::UserAdd { password: hash(&secret), user: secret.user },
        Pb::UserDelete(user) => AuthChange::UserDelete { user },
        Pb::UserChangePassword(secret) => AuthChange::UserChangePassword {
            password: hash(&secret).ok_or(missing("password"))?,
            user: secret.user,
        },
        Pb::UserGrantRole(both) => AuthChange::UserGrantRole { user: both.user, role: both.role },
        Pb::UserRevokeRole(both) => AuthChange::UserRevokeRole { user: both.user, role: both.role },
        Pb::RoleAdd(role) => AuthChange::RoleAdd { role },
        Pb::RoleDelete(role) => AuthChange::RoleDelete { role },
        Pb::RoleGrantPermission(reach) => {
            let permission = reach.permission.and_then(permission_from_pb);
            AuthChange::RoleGrantPermission {
                role: reach.role,
                permission: permission.ok_or(missing("permission"))?,
            }
        }
        Pb::RoleRevokePermission(reach) => {
            let permission = reach.permission.ok_or(missing("permission"))?;
            let range = KeyRange::from_wire(permission.key, permission.range_end);
            AuthChange::RoleRevokePermission { role: reach.role, range }
        }
    })
}
