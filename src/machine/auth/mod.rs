//! Users, roles, and what they may do: who is known, and what each role reaches.
//!
//! Read first: [`change`] (what can be asked), [`manage`] (what comes of it), [`check`] (who may do what).
//!
//! Every change raises the auth revision. What a member has found out about a client (which user it is) holds for one
//! auth revision, so that a command proposed under an older one is refused when it is applied: nobody acts under a right,
//! or under a password, that was taken away before.
//!
//! Invariants: every role of a user exists, or is `root`; while clients are asked who they are, there is a user `root`
//! with the role `root`; what a user may do is at all times the union of what its roles give.

pub mod change;
pub mod check;
pub mod manage;
pub mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::machine::auth::change::{Access, PasswordHash, Permission};
use crate::machine::auth::ranges::Ranges;

/// The user that cannot be deleted while clients are asked who they are, and the role that may do everything.
pub const ROOT: &str = "root";

const STATUS: u8 = 0;
const USER: u8 = 1;

/// Users and roles, and whether they matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub(crate) enabled: bool,
    pub(crate) revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub(crate) password: Option<PasswordHash>,
    pub(crate) roles: BTreeSet<String>,
    /// What its roles let it do.
    reach: Reach,
}

/// A role: its permissions, by key and end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub(crate) permissions: Vec<Permission>,
}

/// The keys that somebody may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) all: bool,
    pub(crate) read: Ranges,
    pub(crate) write: Ranges,
}

/// What a key of the users bucket names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserKey {
    /// Whether clients are asked, and the auth revision.
    Status,
    /// A user.
    User(String),
}

impl UserKey {
    /// The key's bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            UserKey::Status => Bytes::from_static(&[STATUS]),
            UserKey::User(name) => [&[USER], name.as_bytes()].concat().into(),
        }
    }

    /// Reads a key.
    pub fn decode(key: &[u8]) -> Option<UserKey> {
        match key.split_first()? {
            (&STATUS, []) => Some(UserKey::Status),
            (&USER, name) => Some(UserKey::User(str::from_utf8(name).ok()?.to_owned())),
            _ => None,
        }
    }
}

impl Default for Auth {
    fn default() -> Auth {
        // The first revision is the API's.
        Auth { enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl Auth {
    /// Whether clients are asked who they are.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Counts the changes of all this, from 1.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// One role.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// All roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Role)> {
        self.roles.iter().map(|(name, role)| (name.as_str(), role))
    }

    /// Sets a user, `None` deletes it.
    pub(crate) fn set_user(&mut self, name: &str, user: Option<User>) {
        match user {
            Some(mut user) => {
                // The planted bug adds what a new role gives, and takes nothing away.
                let before = self.users.get(name).filter(|_| user.roles.is_empty());
                user.reach = match before.filter(|_| crate::mutant!("auth-revoked-role-still-reaches")) {
                    Some(before) => before.reach.clone(),
                    None => self.reach(&user),
                };
                self.users.insert(name.to_owned(), user);
            }
            None => {
                self.users.remove(name);
            }
        }
    }

    /// Sets a role, `None` deletes it; the users who have it follow.
    pub(crate) fn set_role(&mut self, name: &str, role: Option<Role>) {
        match role {
            Some(role) => self.roles.insert(name.to_owned(), role),
            None => self.roles.remove(name),
        };
        for user in self.with_role(name) {
            if let Some(found) = self.users.get(&user) {
                let reach = self.reach(found);
                self.users.entry(user).and_modify(|user| user.reach = reach);
            }
        }
    }

    /// The names of the users who have a role.
    pub(crate) fn with_role(&self, role: &str) -> Vec<String> {
        let has = |(_, user): &(&String, &User)| user.roles.contains(role);
        self.users.iter().filter(has).map(|(name, _)| name.clone()).collect()
    }

    fn reach(&self, user: &User) -> Reach {
        let permissions = || {
            let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
            roles.flat_map(|role| &role.permissions)
        };
        let of = |wanted: Access| {
            let given = permissions().filter(|given| [wanted, Access::ReadWrite].contains(&given.access));
            Ranges::union(given.map(|given| &given.range))
        };
        Reach { all: user.roles.contains(ROOT), read: of(Access::Read), write: of(Access::Write) }
    }
}

impl User {
    /// A user without roles.
    pub(crate) fn new(password: Option<PasswordHash>) -> User {
        User { password, ..User::default() }
    }

    /// A user as it was stored; what it reaches is found when it is set.
    pub(crate) fn restored(password: Option<PasswordHash>, roles: BTreeSet<String>) -> User {
        User { password, roles, reach: Reach::default() }
    }

    /// What its password is checked against; `None` for a user who has none.
    pub fn password(&self) -> Option<&PasswordHash> {
        self.password.as_ref()
    }

    /// The names of its roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str)
    }

    /// Whether it may do everything.
    pub fn is_root(&self) -> bool {
        self.reach.all
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }
}

impl Role {
    /// Its permissions, by key and end.
    pub fn permissions(&self) -> &[Permission] {
        &self.permissions
    }
}
