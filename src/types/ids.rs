//! Identities: who a member, a cluster, a lease, a watch or a request is.

use std::fmt;

/// A member's 64-bit id; shown in hex, as `etcdctl` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// A cluster's 64-bit id; shown in hex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

/// A lease's id: positive; 0 means "no lease".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A watch's id, unique within its stream; -1 means "the stream itself".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

/// Counts the starts of one member. It is raised durably before the member's first request, so that request
/// ids of an earlier life can never be taken for those of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Names one request for ever: the member that took it, that member's incarnation, and its sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The member whose client sent the request.
    pub member: MemberId,
    /// That member's incarnation.
    pub incarnation: Incarnation,
    /// Counts the requests of one incarnation, from 1.
    pub sequence: u64,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl LeaseId {
    /// "No lease": what a key without one carries on the wire.
    pub const NONE: LeaseId = LeaseId(0);

    /// Whether this names a lease at all.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}
