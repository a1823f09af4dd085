//! Who may do what. The rules are the API's; each question is asked of the state in which the answer counts.
//!
//! | asked for | needed |
//! |---|---|
//! | reading keys | to read all of the range |
//! | a put | to write the key; to read it, if the previous value is wanted; to write every other key of its lease |
//! | a deletion | to write all of the range; to read it, if what goes is wanted |
//! | a transaction | to read what it compares, and all that either branch needs, nested ones too |
//! | ending or renewing a lease | to write every key that ends with it |
//! | a lease's keys | to read every one |
//! | granting a lease; listing leases, members, alarms | to be a user |
//! | compaction, members, alarms, users, roles, and care of a member | the role `root` |

use bytes::Bytes;

use crate::machine::auth::{Auth, User};
use crate::machine::command::{Caller, Command, CommandError, DeleteRange, Put, Range, Txn, TxnOp};
use crate::machine::state::State;
use crate::types::{KeyRange, LeaseId};

/// What it is to be allowed.
type Verdict = Result<(), CommandError>;

impl Auth {
    /// The user whose rights a caller has; `None` for one who may do everything.
    ///
    /// # Errors
    /// The caller has not said who it is, what it said has been overtaken, or there is no such user.
    fn limits(&self, caller: &Caller) -> Result<Option<&User>, CommandError> {
        let credentials = match caller {
            Caller::Member => return Ok(None),
            _ if !self.enabled => return Ok(None),
            Caller::Anonymous => return Err(CommandError::UserEmpty),
            Caller::User(credentials) => credentials,
        };
        // The planted bug takes an old finding for one of now.
        let old = credentials.auth_revision != self.revision;
        if old && !crate::mutant!("auth-old-finding-accepted") {
            return Err(CommandError::AuthRevisionOld);
        }
        let user = self.user(&credentials.user).ok_or(CommandError::PermissionDenied)?;
        Ok((!user.is_root()).then_some(user))
    }

    /// Whether the caller is a user, if clients have to be.
    ///
    /// # Errors
    /// It is not.
    pub fn check_known(&self, caller: &Caller) -> Verdict {
        self.limits(caller).map(|_| ())
    }

    /// Whether the caller may do everything.
    ///
    /// # Errors
    /// It may not.
    pub fn check_root(&self, caller: &Caller) -> Verdict {
        allowed(self.limits(caller)?.is_none())
    }

    /// Whether the caller may read these keys.
    ///
    /// # Errors
    /// It may not.
    pub fn check_read(&self, caller: &Caller, range: &KeyRange) -> Verdict {
        self.limits(caller)?.map_or(Ok(()), |user| may_read(user, range))
    }

    /// Whether the caller may see a user: itself, or as root any.
    ///
    /// # Errors
    /// It may not.
    pub fn check_sees_user(&self, caller: &Caller, name: &str) -> Verdict {
        let own = matches!(caller, Caller::User(credentials) if *credentials.user == *name);
        allowed(self.limits(caller)?.is_none() || own)
    }

    /// Whether the caller may see a role: one of its own, or as root any.
    ///
    /// # Errors
    /// It may not.
    pub fn check_sees_role(&self, caller: &Caller, role: &str) -> Verdict {
        allowed(self.limits(caller)?.is_none_or(|user| user.roles.contains(role)))
    }
}

impl State {
    /// Whether the caller may have this done.
    ///
    /// # Errors
    /// It may not.
    pub fn check_caller(&self, caller: &Caller, command: &Command) -> Verdict {
        let Some(user) = self.auth.limits(caller)? else { return Ok(()) };
        match command {
            Command::Put(put) => self.may_put(user, put),
            Command::DeleteRange(delete) => may_delete(user, delete),
            Command::Txn(txn) => self.may_transact(user, txn),
            Command::LeaseGrant { .. } => Ok(()),
            Command::LeaseRevoke { id } => self.may_end(user, *id),
            Command::Compact(_)
            | Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::Alarm { .. }
            | Command::MemberAttributes { .. }
            | Command::Bootstrap { .. }
            | Command::ChangeMembers(_)
            | Command::ChangeAuth(_)
            | Command::Authenticate { .. }
            | Command::Downgrade(_)
            | Command::Noop => Err(CommandError::PermissionDenied),
        }
    }

    /// Whether the caller may have a transaction done that only reads.
    ///
    /// # Errors
    /// It may not.
    pub fn check_read_txn(&self, caller: &Caller, txn: &Txn) -> Verdict {
        self.auth.limits(caller)?.map_or(Ok(()), |user| self.may_transact(user, txn))
    }

    /// Whether the caller may end or renew a lease, of which nobody knows who granted it: its keys tell.
    ///
    /// # Errors
    /// It may not.
    pub fn check_lease(&self, caller: &Caller, id: LeaseId) -> Verdict {
        self.auth.limits(caller)?.map_or(Ok(()), |user| self.may_end(user, id))
    }

    /// Whether the caller may see the keys of a lease.
    ///
    /// # Errors
    /// It may not.
    pub fn check_lease_keys(&self, caller: &Caller, id: LeaseId) -> Verdict {
        let Some(user) = self.auth.limits(caller)? else { return Ok(()) };
        allowed(self.lease_keys(id).all(|key| user.reach().read.contain_key(key)))
    }

    fn lease_keys(&self, id: LeaseId) -> impl Iterator<Item = &Bytes> {
        self.leases.get(id).into_iter().flat_map(|lease| lease.keys())
    }

    fn may_end(&self, user: &User, id: LeaseId) -> Verdict {
        let mut keys = self.lease_keys(id);
        // The planted bug looks at the first key alone.
        if crate::mutant!("auth-lease-judged-by-one-key") {
            return allowed(keys.next().is_none_or(|key| user.reach().write.contain_key(key)));
        }
        allowed(keys.all(|key| user.reach().write.contain_key(key)))
    }

    fn may_put(&self, user: &User, put: &Put) -> Verdict {
        let key = KeyRange::single(put.key.clone());
        may_write(user, &key)?;
        if put.prev_kv && !crate::mutant!("auth-previous-value-shown") {
            may_read(user, &key)?;
        }
        // Who may add a key to a lease may keep the lease alive, and end it.
        if put.lease.is_some() { self.may_end(user, put.lease) } else { Ok(()) }
    }

    fn may_transact(&self, user: &User, txn: &Txn) -> Verdict {
        if !crate::mutant!("auth-compares-unchecked") {
            txn.compares.iter().try_for_each(|compare| may_read(user, &compare.range))?;
        }
        // Both branches: which one is taken tells of keys that the caller may not read.
        txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
            TxnOp::Range(Range { range, .. }) => may_read(user, range),
            TxnOp::Put(put) => self.may_put(user, put),
            TxnOp::DeleteRange(delete) => may_delete(user, delete),
            // The planted bug leaves what is inside to itself.
            TxnOp::Txn(_) if crate::mutant!("auth-inner-transaction-unchecked") => Ok(()),
            TxnOp::Txn(nested) => self.may_transact(user, nested),
        })
    }
}

fn may_read(user: &User, range: &KeyRange) -> Verdict {
    allowed(user.reach().read.contain(range))
}

fn may_write(user: &User, range: &KeyRange) -> Verdict {
    allowed(user.reach().write.contain(range))
}

fn may_delete(user: &User, delete: &DeleteRange) -> Verdict {
    may_write(user, &delete.range)?;
    if delete.prev_kv { may_read(user, &delete.range) } else { Ok(()) }
}

fn allowed(is: bool) -> Verdict {
    if is { Ok(()) } else { Err(CommandError::PermissionDenied) }
}
