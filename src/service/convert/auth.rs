//! Permissions, to and from the wire.

use bytes::Bytes;

use crate::machine::auth::change::{Access, Permission};
use crate::machine::auth::{Auth, ROOT, Role, User};
use crate::pb::authpb;
use crate::pb::authpb::permission::Type;
use crate::service::status::ApiError;
use crate::types::KeyRange;

/// A permission to give.
///
/// # Errors
/// There is none, or of a kind that does not exist.
pub fn permission(given: Option<authpb::Permission>) -> Result<Permission, ApiError> {
    let given = given.ok_or(ApiError::PERMISSION_NOT_GIVEN)?;
    let access = match Type::try_from(given.perm_type) {
        Ok(Type::Read) => Access::Read,
        Ok(Type::Write) => Access::Write,
        Ok(Type::Readwrite) => Access::ReadWrite,
        Err(_) => return Err(ApiError::PERMISSION_NOT_GIVEN),
    };
    Ok(Permission { range: KeyRange::from_wire(given.key, given.range_end), access })
}

/// The permissions of a role; `root`, which may do everything, has one that says so. `None` when there is no such role.
pub fn permissions(auth: &Auth, role: &str) -> Option<Vec<authpb::Permission>> {
    if role == ROOT {
        let everything = KeyRange::from_wire(Bytes::new(), Bytes::from_static(&[0]));
        return Some(vec![shown(&Permission { range: everything, access: Access::ReadWrite })]);
    }
    Some(auth.role(role)?.permissions().iter().map(shown).collect())
}

/// A user as etcd stores it.
pub fn user(name: &str, user: &User) -> authpb::User {
    authpb::User {
        name: name.to_owned().into(),
        password: user.password().map(|hash| hash.0.clone()).unwrap_or_default(),
        roles: user.roles().map(str::to_owned).collect(),
        options: Some(authpb::UserAddOptions { no_password: user.password().is_none() }),
    }
}

/// A role as etcd stores it.
pub fn role(name: &str, role: &Role) -> authpb::Role {
    let key_permission = role.permissions().iter().map(shown).collect();
    authpb::Role { name: name.to_owned().into(), key_permission }
}

fn shown(permission: &Permission) -> authpb::Permission {
    let kind = match permission.access {
        Access::Read => Type::Read,
        Access::Write => Type::Write,
        Access::ReadWrite => Type::Readwrite,
    };
    authpb::Permission {
        perm_type: kind.into(),
        key: permission.range.start.clone(),
        range_end: permission.range.wire_end(),
    }
}
