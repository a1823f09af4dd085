//! Changing users, roles and permissions: each change whole, or refused without a trace.
//!
//! The rules are the API's: nothing may take the last key out of the lock while clients are asked who they are, so user and
//! role `root` stay until then. Sessions are not part of the state: what a change does to them is told in the effects.

use std::sync::Arc;

use crate::machine::auth::change::{AuthChange, Permission};
use crate::machine::auth::{ROOT, Role, User, UserKey};
use crate::machine::codec::auth::{encode_auth_status, encode_role, encode_user};
use crate::machine::command::{CommandError, Reply};
use crate::machine::effects::{Effects, SessionChange};
use crate::machine::persist::Bucket;
use crate::machine::state::State;
use crate::types::{KeyRange, LogId, RangeEnd};

impl State {
    /// Makes one change.
    pub(crate) fn change_auth(
        &mut self,
        effects: &mut Effects,
        change: &AuthChange,
    ) -> Result<Reply, CommandError> {
        match change {
            AuthChange::Enable => self.auth_enable(effects)?,
            AuthChange::Disable => self.auth_disable(effects),
            AuthChange::UserAdd { user, password } => {
                if user.is_empty() {
                    return Err(CommandError::UserEmpty);
                }
                if self.auth.user(user).is_some() {
                    return Err(CommandError::UserExists);
                }
                self.set_user(effects, user, Some(User::new(password.clone())));
                self.auth_changed(effects);
            }
            AuthChange::UserDelete { user } => {
                if self.auth.enabled && user == ROOT {
                    return Err(CommandError::InvalidAuthManagement);
                }
                self.user(user)?;
                self.set_user(effects, user, None);
                effects.sessions.push(SessionChange::ended(user));
                self.auth_changed(effects);
            }
            AuthChange::UserChangePassword { user, password } => {
                let mut changed = self.user(user)?;
                changed.password = changed.password.map(|_| password.clone());
                self.set_user(effects, user, Some(changed));
                if !crate::mutant!("auth-session-outlives-its-password") {
                    effects.sessions.push(SessionChange::ended(user));
                }
                self.auth_changed(effects);
            }
            AuthChange::UserGrantRole { user, role } => self.grant_role(effects, user, role)?,
            AuthChange::UserRevokeRole { user, role } => {
                if self.auth.enabled && user == ROOT && role == ROOT {
                    return Err(CommandError::InvalidAuthManagement);
                }
                let mut changed = self.user(user)?;
                if !changed.roles.remove(role) {
                    return Err(CommandError::RoleNotGranted);
                }
                self.set_user(effects, user, Some(changed));
                self.auth_changed(effects);
            }
            AuthChange::RoleAdd { role } => {
                if role.is_empty() {
                    return Err(CommandError::RoleEmpty);
                }
                if self.auth.role(role).is_some() {
                    return Err(CommandError::RoleExists);
                }
                self.set_role(effects, role, Some(Role::default()));
                self.auth_changed(effects);
            }
            AuthChange::RoleDelete { role } => self.delete_role(effects, role)?,
            AuthChange::RoleGrantPermission { role, permission } => {
                self.grant_permission(effects, role, permission)?;
            }
            AuthChange::RoleRevokePermission { role, range } => {
                let mut changed = self.role(role)?;
                let place = changed.permissions.iter().position(|given| given.range == *range);
                changed.permissions.remove(place.ok_or(CommandError::PermissionNotGranted)?);
                self.set_role(effects, role, Some(changed));
                self.auth_changed(effects);
            }
        }
        Ok(Reply::Done)
    }

    /// Opens a session, if the password was checked against what the state holds now.
    pub(crate) fn authenticate(
        &self,
        effects: &mut Effects,
        log_id: LogId,
        user: &str,
        auth_revision: u64,
        token: &str,
    ) -> Result<Reply, CommandError> {
        if !self.auth.enabled {
            return Err(CommandError::AuthNotEnabled);
        }
        if auth_revision != self.auth.revision {
            return Err(CommandError::AuthRevisionOld);
        }
        self.user(user)?;
        // The place in the log makes it one of its kind.
        let token = format!("{token}.{}", log_id.index.0);
        effects.sessions.push(SessionChange::Opened { token: token.clone(), user: Arc::from(user) });
        Ok(Reply::Token(token))
    }

    fn auth_enable(&mut self, effects: &mut Effects) -> Result<(), CommandError> {
        if self.auth.enabled {
            return Ok(());
        }
        let root = self.auth.user(ROOT).ok_or(CommandError::RootUserNotFound)?;
        if !root.is_root() {
            return Err(CommandError::RootRoleNotGranted);
        }
        // The API does not raise the revision for it: what was found under it stays as it is.
        self.set_auth_status(effects, true, self.auth.revision);
        Ok(())
    }

    fn auth_disable(&mut self, effects: &mut Effects) {
        if self.auth.enabled {
            self.set_auth_status(effects, false, self.auth.revision.saturating_add(1));
            effects.sessions.push(SessionChange::AllEnded);
        }
    }

    fn grant_role(&mut self, effects: &mut Effects, user: &str, role: &str) -> Result<(), CommandError> {
        let mut changed = self.user(user)?;
        if role != ROOT {
            self.role(role)?;
        }
        if changed.roles.insert(role.to_owned()) {
            self.set_user(effects, user, Some(changed));
            self.auth_changed(effects);
        }
        Ok(())
    }

    fn delete_role(&mut self, effects: &mut Effects, role: &str) -> Result<(), CommandError> {
        if self.auth.enabled && role == ROOT {
            return Err(CommandError::InvalidAuthManagement);
        }
        self.role(role)?;
        self.set_role(effects, role, None);
        for name in self.auth.with_role(role) {
            let mut changed = self.user(&name)?;
            changed.roles.remove(role);
            self.set_user(effects, &name, Some(changed));
            effects.sessions.push(SessionChange::ended(&name));
        }
        self.auth_changed(effects);
        Ok(())
    }

    fn grant_permission(
        &mut self,
        effects: &mut Effects,
        role: &str,
        permission: &Permission,
    ) -> Result<(), CommandError> {
        if !is_grantable(&permission.range) {
            return Err(CommandError::InvalidAuthManagement);
        }
        let mut changed = self.role(role)?;
        let place = |range: &KeyRange| (range.start.clone(), range.wire_end());
        let wanted = place(&permission.range);
        match changed.permissions.binary_search_by(|given| place(&given.range).cmp(&wanted)) {
            Ok(place) => {
                if let Some(given) = changed.permissions.get_mut(place) {
                    given.access = permission.access;
                }
            }
            Err(place) => changed.permissions.insert(place, permission.clone()),
        }
        self.set_role(effects, role, Some(changed));
        self.auth_changed(effects);
        Ok(())
    }

    fn user(&self, name: &str) -> Result<User, CommandError> {
        self.auth.user(name).cloned().ok_or(CommandError::UserNotFound)
    }

    fn role(&self, name: &str) -> Result<Role, CommandError> {
        self.auth.role(name).cloned().ok_or(CommandError::RoleNotFound)
    }

    fn set_user(&mut self, effects: &mut Effects, name: &str, user: Option<User>) {
        let old = self.auth.user(name).map(encode_user);
        let new = user.as_ref().map(encode_user);
        self.auth.set_user(name, user);
        self.replace(effects, Bucket::AuthUsers, UserKey::User(name.to_owned()).encode(), old, new);
    }

    fn set_role(&mut self, effects: &mut Effects, name: &str, role: Option<Role>) {
        let old = self.auth.role(name).map(encode_role);
        let new = role.as_ref().map(encode_role);
        self.auth.set_role(name, role);
        self.replace(effects, Bucket::AuthRoles, name.to_owned().into(), old, new);
    }

    /// Raises the auth revision.
    fn auth_changed(&mut self, effects: &mut Effects) {
        self.set_auth_status(effects, self.auth.enabled, self.auth.revision.saturating_add(1));
    }

    fn set_auth_status(&mut self, effects: &mut Effects, enabled: bool, revision: u64) {
        let old = self.stored_auth_status();
        (self.auth.enabled, self.auth.revision) = (enabled, revision);
        let new = self.stored_auth_status();
        self.replace(effects, Bucket::AuthUsers, UserKey::Status.encode(), old, new);
    }

    /// What is stored of the status; nothing before the first change.
    fn stored_auth_status(&self) -> Option<bytes::Bytes> {
        let stored = self.auth.enabled || self.auth.revision > 1;
        stored.then(|| encode_auth_status(&self.auth))
    }
}

/// Whether a permission may be given on a range: it has a key, and one that lies before its end.
fn is_grantable(range: &KeyRange) -> bool {
    let ordered = match &range.end {
        RangeEnd::Single | RangeEnd::Open => true,
        RangeEnd::Before(end) => *end > range.start,
    };
    !range.start.is_empty() && ordered
}
