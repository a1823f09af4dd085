//! What is persisted of the state: buckets, and single writes to them.
//!
//! The encodings of the values stand in `codec/`, the keys beside the state they belong to.

use bytes::Bytes;

/// A named part of the engine. The numbers are on disk and in snapshots: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Single values: applied log id, revision, compacted revision, sums, membership.
    Meta = 0,
    /// History: (revision, sub) big-endian to record.
    Records = 1,
    /// Lease id to lease.
    Leases = 2,
    /// Member id to member, removed ids, and what level the cluster is prepared to go down to.
    Members = 3,
    /// (member, incarnation) to request ids seen.
    Dedupe = 4,
    /// (kind, member) of active alarms.
    Alarms = 5,
    /// User name to user.
    AuthUsers = 6,
    /// Role name to role.
    AuthRoles = 7,
}

impl Bucket {
    /// Every bucket, in number order: the order of a snapshot.
    pub const ALL: [Bucket; 8] = [
        Bucket::Meta,
        Bucket::Records,
        Bucket::Leases,
        Bucket::Members,
        Bucket::Dedupe,
        Bucket::Alarms,
        Bucket::AuthUsers,
        Bucket::AuthRoles,
    ];

    /// The bucket's number on disk.
    pub fn number(self) -> u8 {
        match self {
            Bucket::Meta => 0,
            Bucket::Records => 1,
            Bucket::Leases => 2,
            Bucket::Members => 3,
            Bucket::Dedupe => 4,
            Bucket::Alarms => 5,
            Bucket::AuthUsers => 6,
            Bucket::AuthRoles => 7,
        }
    }

    /// The bucket of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Bucket> {
        Bucket::ALL.into_iter().find(|bucket| bucket.number() == number)
    }

    /// The bucket's name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Bucket::Meta => "meta",
            Bucket::Records => "records",
            Bucket::Leases => "leases",
            Bucket::Members => "members",
            Bucket::Dedupe => "dedupe",
            Bucket::Alarms => "alarms",
            Bucket::AuthUsers => "auth_users",
            Bucket::AuthRoles => "auth_roles",
        }
    }
}

/// One write to one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub bucket: Bucket,
    /// Under which key.
    pub key: Bytes,
    /// The new value, or `None` to remove the key.
    pub value: Option<Bytes>,
}
