//! What operators ask and are told of a cluster's upkeep: alarms, and the preparation for a lower version.

use crate::types::{MemberId, is_default};
use serde::{Deserialize, Serialize};

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// There is no space left: what needs some is refused.
    NoSpace,
    /// Members differ: what touches keys is refused.
    Corrupt,
}

/// An alarm that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Raised {
    /// What it is about.
    pub kind: AlarmKind,
    /// Whose it is.
    pub member: MemberId,
}

/// What is asked about alarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmAction {
    /// Which are raised.
    #[default]
    List,
    /// Raise one.
    Raise,
    /// Clear one, or all of a kind.
    Clear,
}

/// Arguments of a call about alarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// What is asked.
    pub action: AlarmAction,
    /// Of which kind; of every kind if none is named.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: Option<AlarmKind>,
    /// Of which member; 0 clears those of all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub member: MemberId,
}

/// Answer to a call about alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlarmResponse {
    /// Those that are raised, or the ones that the call has changed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alarms: Vec<Raised>,
}

/// What the log makes of an alarm, whoever asked for it: operators, or members themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmChange {
    /// Whether it is raised; it is cleared otherwise.
    pub raise: bool,
    /// What it is about.
    pub kind: AlarmKind,
    /// Whose it is; 0 clears those of all.
    pub member: MemberId,
}

/// What is asked about a lower version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DowngradeAction {
    /// Whether the cluster could be prepared for it.
    #[default]
    Validate,
    /// Prepare for it.
    Enable,
    /// Be prepared no longer.
    Cancel,
}

/// Arguments of a call about a lower version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Downgrade {
    /// What is asked.
    pub action: DowngradeAction,
    /// The version.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: String,
}

/// Answer to a call about a lower version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DowngradeResponse {
    /// The cluster's version.
    pub version: String,
}
