//! The numbers of a history, each with a name of its own, so that a revision is never taken for a time.
//!
//! Invariant: every one of them is written to JSON as the bare number.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number!(
    /// Names one client operation within a history.
    OpId(u64), "#{}"
);
number!(
    /// Names one client (one session that sends its operations one after the other, or several at once).
    ClientId(u64), "c{}"
);
number!(
    /// Names one watch within a history (not the wire's watch id).
    WatchNo(u64), "w{}"
);
number!(
    /// A store revision: 1 is the empty store, each changing transaction adds one.
    Revision(i64), "{}"
);
number!(
    /// A lease's id; 0 means "no lease".
    LeaseId(i64), "{}"
);
number!(
    /// A member's 64-bit id; shown in hex.
    MemberId(u64), "{:x}"
);
number!(
    /// A cluster's 64-bit id; shown in hex.
    ClusterId(u64), "{:x}"
);
number!(
    /// A Raft term.
    Term(u64), "{}"
);
number!(
    /// A position in the Raft log, from 0.
    LogIndex(u64), "{}"
);
number!(
    /// A number that two byte strings share only by accident: the digest of a log entry.
    Digest(u64), "{:016x}"
);
number!(
    /// A moment, in nanoseconds since the history began, simulated or real; one clock for the whole history.
    Nanos(u64), "{}"
);

/// Names a log entry: within a term an index is given once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The term of the leader that made the entry.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of term {}", self.index, self.term)
    }
}

impl LogIndex {
    /// The position after this one.
    pub fn next(self) -> LogIndex {
        LogIndex(self.0.saturating_add(1))
    }
}

impl Revision {
    /// The revision of the empty store.
    pub const FIRST: Revision = Revision(1);

    /// The revision after this one.
    pub fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }

    /// The revision before this one.
    pub fn previous(self) -> Revision {
        Revision(self.0.saturating_sub(1))
    }
}

impl LeaseId {
    /// What a key without a lease carries.
    pub const NONE: LeaseId = LeaseId(0);
}

impl Nanos {
    /// A moment later than every other.
    pub const NEVER: Nanos = Nanos(u64::MAX);

    /// The moment `secs` seconds after this one; negative spans count as zero.
    pub fn plus_secs(self, secs: i64) -> Nanos {
        let secs = u64::try_from(secs).unwrap_or(0);
        Nanos(self.0.saturating_add(secs.saturating_mul(NANOS_PER_SEC)))
    }

    /// The moment `span` after this one.
    pub fn plus(self, span: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(span.0))
    }

    /// The moment as seconds with milliseconds, for people.
    pub fn as_secs(self) -> String {
        format!("{}.{:03} s", self.0 / NANOS_PER_SEC, self.0 % NANOS_PER_SEC / 1_000_000)
    }
}

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Whether a field holds its default, and so need not be written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
