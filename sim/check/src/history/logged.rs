//! One command as the replicated log carried it out: what only somebody inside a member can see.
//!
//! Recorded once a command, by whichever member applies it first. A history of real processes has none.

use crate::history::upkeep::AlarmChange;
use crate::types::{LeaseId, LogId, OpId, Revision, is_default};
use serde::{Deserialize, Serialize};

/// One command in the log's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    /// The log entry that it came in.
    pub entry: LogId,
    /// Its place among the entry's commands, from 0.
    pub place: u32,
    /// The client operation that asked for it; none for what members ask of themselves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub operation: Option<OpId>,
    /// The store's revision after it.
    pub revision: Revision,
    /// The leases that it ends because their time is up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expired: Vec<LeaseId>,
    /// What it makes of an alarm, if it is about one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alarm: Option<AlarmChange>,
    /// Whether the machine refused it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refused: bool,
    /// Whether it did so for want of a right: whoever asked may then ask again in the same operation's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub denied: bool,
}
