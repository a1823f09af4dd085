//! Alarms: which members complain of what, and which commands that stops.
//!
//! An alarm is a replicated fact: it is raised and cleared by commands, so that every member refuses the same
//! commands from the same log entry on.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::machine::command::{AlarmKind, Command, CommandError};
use crate::machine::quota;
use crate::types::MemberId;

/// The active alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    active: BTreeSet<(AlarmKind, MemberId)>,
}

/// The alarms bucket's key for an alarm; the value is empty.
pub fn alarm_key(kind: AlarmKind, member: MemberId) -> Bytes {
    let number: u8 = match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    };
    let mut key = vec![number];
    key.extend_from_slice(&member.0.to_be_bytes());
    key.into()
}

/// The alarm that an alarms bucket's key names.
pub fn parse_alarm_key(key: &[u8]) -> Option<(AlarmKind, MemberId)> {
    let (number, member) = key.split_first()?;
    let kind = match number {
        1 => AlarmKind::NoSpace,
        2 => AlarmKind::Corrupt,
        _ => return None,
    };
    Some((kind, MemberId(u64::from_be_bytes(<[u8; 8]>::try_from(member).ok()?))))
}

impl Alarms {
    /// The active alarms, by kind and member.
    pub fn iter(&self) -> impl Iterator<Item = (AlarmKind, MemberId)> {
        self.active.iter().copied()
    }

    /// Whether any member has raised an alarm of this kind.
    pub fn is_active(&self, kind: AlarmKind) -> bool {
        self.active.iter().any(|(active, _)| *active == kind)
    }

    /// Raises an alarm; whether it is new.
    pub(crate) fn raise(&mut self, kind: AlarmKind, member: MemberId) -> bool {
        self.active.insert((kind, member))
    }

    /// Clears an alarm, of member 0 all of the kind; answers those that were active.
    pub(crate) fn clear(&mut self, kind: AlarmKind, member: MemberId) -> Vec<(AlarmKind, MemberId)> {
        // The planted bug clears the alarms of all members for that of one.
        let all = member.0 == 0 || crate::mutant!("alarm-cleared-for-everybody");
        let meant = |alarm: &(AlarmKind, MemberId)| alarm.0 == kind && (all || alarm.1 == member);
        let cleared: Vec<_> = self.active.iter().copied().filter(meant).collect();
        self.active.retain(|alarm| !meant(alarm));
        cleared
    }

    /// Whether the active alarms let a command pass. Corruption stops whatever depends on the key space, lack
    /// of space whatever may need some.
    ///
    /// # Errors
    /// The alarm that stops it.
    pub fn check(&self, command: &Command) -> Result<(), CommandError> {
        if self.active.is_empty() {
            return Ok(());
        }
        let touches_keys = match command {
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact(_)
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseExpire { .. } => true,
            Command::LeaseCheckpoint { .. }
            | Command::Alarm { .. }
            | Command::MemberAttributes { .. }
            | Command::Bootstrap { .. }
            | Command::ChangeMembers(_)
            | Command::ChangeAuth(_)
            | Command::Authenticate { .. }
            | Command::Downgrade(_)
            | Command::Noop => false,
        };
        // The planted bug takes a lease that has no keys yet for none of the key space's matters.
        let passes =
            matches!(command, Command::LeaseGrant { .. }) && crate::mutant!("alarm-leases-still-granted");
        if touches_keys && self.is_active(AlarmKind::Corrupt) && !passes {
            return Err(CommandError::Corrupt);
        }
        if quota::cost(command) > 0 && self.is_active(AlarmKind::NoSpace) {
            return Err(CommandError::NoSpace);
        }
        Ok(())
    }
}
