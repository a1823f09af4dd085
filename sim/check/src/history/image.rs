//! An image of one member's state, as it was restored and read.

use crate::history::operation::MemberAsked;
use crate::history::response::Event;
use crate::types::{ClientId, LeaseId, LogIndex, Nanos, Revision, is_default};
use serde::{Deserialize, Serialize};

/// A lease in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLease {
    /// Which.
    pub id: LeaseId,
    /// The time to live that it was granted, in seconds.
    pub ttl_secs: i64,
}

/// What an image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Who asked for it.
    pub client: ClientId,
    /// Which member was asked.
    pub member: MemberAsked,
    /// When it was asked for.
    pub asked: Nanos,
    /// When the last of it had come.
    pub received: Nanos,
    /// The last entry of the log that it holds.
    pub applied: LogIndex,
    /// The revision at which a store goes on that is made of it.
    pub revision: Revision,
    /// The oldest revision that such a store can read; 0 if all can.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compacted: Revision,
    /// What such a store has of history, in its order, without the pairs before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub changes: Vec<Event>,
    /// The leases, by id.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leases: Vec<ImageLease>,
}
