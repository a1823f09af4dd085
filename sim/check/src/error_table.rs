//! Which error proves that a request was *not applied*, and which proves nothing.
//!
//! A harness asks `fate` when it records a failed call. Being wrong towards "not applied" would accuse a correct
//! store; being wrong towards "unknown" only weakens the check: so every text that is not in the table is unknown.

use serde::{Deserialize, Serialize};

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are gRPC's own")]
pub enum Code {
    Canceled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// All of them, by their number on the wire from 1 on (source: gRPC's status codes).
    const BY_NUMBER: [Code; 16] = [
        Code::Canceled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The code of an error with this number on the wire. One without a code of its own proves nothing.
    pub fn of_number(number: i32) -> Code {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        place.and_then(|place| Code::BY_NUMBER.get(place)).copied().unwrap_or(Code::Unknown)
    }
}

/// What an error says about its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was refused and never will be applied.
    NotApplied,
    /// It may have been applied, or may yet be.
    Unknown,
}

/// Whose errors are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// This store: it refuses for space before it applies.
    #[default]
    Quorate,
    /// The reference: "database space exceeded" can come after the write was applied.
    Reference,
}

/// The revision asked for has been compacted.
pub const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
/// The revision asked for is not there yet.
pub const FUTURE_REVISION: &str = "etcdserver: mvcc: required revision is a future revision";
/// There is no such lease.
pub const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";
/// A lease of that id exists.
pub const LEASE_EXISTS: &str = "etcdserver: lease already exists";
/// The key whose value or lease was to be kept is not there.
pub const KEY_NOT_FOUND: &str = "etcdserver: key not found";
/// The store is full.
pub const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// An alarm says that members differ.
pub const CORRUPT: &str = "etcdserver: corrupt cluster";
/// The cluster is prepared for a lower version already.
pub const DOWNGRADE_IN_PROGRESS: &str = "etcdserver: cluster has a downgrade job in progress";
/// The cluster is prepared for no lower version.
pub const NO_DOWNGRADE: &str = "etcdserver: no inflight downgrade job";

/// The texts that are refusals. (`NO_SPACE` is judged apart.)
const REFUSALS: &[&str] = &[
    "etcdserver: key is not provided",
    KEY_NOT_FOUND,
    "etcdserver: value is provided",
    "etcdserver: lease is provided",
    "etcdserver: too many operations in txn request",
    "etcdserver: duplicate key given in txn request",
    "etcdserver: invalid client api version",
    "etcdserver: invalid sort option",
    COMPACTED,
    FUTURE_REVISION,
    LEASE_NOT_FOUND,
    LEASE_EXISTS,
    "etcdserver: too large lease TTL",
    "etcdserver: member ID already exist",
    "etcdserver: Peer URLs already exists",
    "etcdserver: re-configuration failed due to not enough started members",
    "etcdserver: given member URLs are invalid",
    "etcdserver: member not found",
    "etcdserver: can only promote a learner member",
    "etcdserver: can only promote a learner member which is in sync with leader",
    "etcdserver: too many learner members in cluster",
    "etcdserver: cluster ID mismatch",
    "etcdserver: request is too large",
    "etcdserver: too many requests",
    "etcdserver: root user does not exist",
    "etcdserver: root user does not have root role",
    "etcdserver: user name already exists",
    "etcdserver: user name is empty",
    "etcdserver: user name not found",
    "etcdserver: role name already exists",
    "etcdserver: role name not found",
    "etcdserver: role name is empty",
    "etcdserver: authentication failed, invalid user ID or password",
    "etcdserver: permission not given",
    "etcdserver: permission denied",
    "etcdserver: role is not granted to the user",
    "etcdserver: permission is not granted to the role",
    "etcdserver: authentication is not enabled",
    "etcdserver: invalid auth token",
    "etcdserver: invalid auth management",
    "etcdserver: revision of auth store is old",
    "etcdserver: no leader",
    "etcdserver: not leader",
    "etcdserver: not capable",
    "etcdserver: unhealthy cluster",
    CORRUPT,
    "etcdserver: rpc not supported for learner",
    "etcdserver: bad leader transferee",
    "etcdserver: wrong downgrade target version format",
    "etcdserver: invalid downgrade target version",
    "etcdserver: cluster version not found during downgrade",
    DOWNGRADE_IN_PROGRESS,
    NO_DOWNGRADE,
];

/// What an error with this code and text says about its request.
///
/// Everything that can come after a proposal left for the log is unknown: time-outs of every kind, "leader
/// changed", "server stopped", cancelled and exceeded deadlines, transport errors, and texts nobody has listed.
pub fn fate(dialect: Dialect, code: Code, message: &str) -> Fate {
    if message == NO_SPACE {
        return match dialect {
            Dialect::Quorate => Fate::NotApplied,
            Dialect::Reference => Fate::Unknown,
        };
    }
    if code == Code::Unimplemented || REFUSALS.contains(&message) { Fate::NotApplied } else { Fate::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_numbers_on_the_wire() {
        for (number, code) in [
            (-1, Code::Unknown),
            (0, Code::Unknown),
            (1, Code::Canceled),
            (2, Code::Unknown),
            (5, Code::NotFound),
            (8, Code::ResourceExhausted),
            (12, Code::Unimplemented),
            (14, Code::Unavailable),
            (16, Code::Unauthenticated),
            (17, Code::Unknown),
        ] {
            assert_eq!(Code::of_number(number), code, "{number}");
        }
    }

    #[test]
    fn refusals_are_not_applied_and_the_rest_is_unknown() {
        for (code, message, expected) in [
            (Code::OutOfRange, COMPACTED, Fate::NotApplied),
            (Code::NotFound, LEASE_NOT_FOUND, Fate::NotApplied),
            (Code::ResourceExhausted, "etcdserver: too many requests", Fate::NotApplied),
            (Code::ResourceExhausted, NO_SPACE, Fate::NotApplied),
            (Code::Unavailable, "etcdserver: request timed out", Fate::Unknown),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Fate::Unknown,
            ),
            (Code::Unavailable, "etcdserver: leader changed", Fate::Unknown),
            (Code::Unavailable, "etcdserver: server stopped", Fate::Unknown),
            (Code::DeadlineExceeded, "etcdserver: context deadline exceeded", Fate::Unknown),
            (Code::Unavailable, "connection refused", Fate::Unknown),
            (Code::Unimplemented, "whatever", Fate::NotApplied),
        ] {
            assert_eq!(fate(Dialect::Quorate, code, message), expected, "{message}");
        }
        assert_eq!(fate(Dialect::Reference, Code::ResourceExhausted, NO_SPACE), Fate::Unknown);
    }
}
