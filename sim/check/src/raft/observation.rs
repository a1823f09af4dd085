//! What a member's log and machine can be seen doing: the whole input of the invariants.

use crate::types::{Digest, LogId, MemberId, Term};
use std::collections::BTreeSet;

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// The term voted in.
    pub term: Term,
    /// Who was voted for.
    pub candidate: MemberId,
    /// Whether a quorum granted it: the candidate leads the term.
    pub won: bool,
}

/// One thing that a member was seen doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A process started on this log, as its disk gave it back.
    Recovered {
        /// Everything up to here is forgotten.
        purged: Option<LogId>,
        /// The newest vote.
        vote: Option<Ballot>,
        /// The entries behind `purged`, without a gap.
        entries: Vec<(LogId, Digest)>,
    },
    /// A process started with this entry, and all before it, applied.
    Loaded {
        /// The last applied entry.
        applied: Option<LogId>,
    },
    /// An entry was added at the log's end; it need not be durable.
    Appended {
        /// Which.
        entry: LogId,
        /// Its bytes' digest.
        digest: Digest,
    },
    /// The log is durable up to here, and the member may have said so to others.
    Durable {
        /// The last durable entry.
        upto: LogId,
    },
    /// The member tells its leader that it has everything up to here.
    Acknowledged {
        /// The last entry.
        upto: LogId,
    },
    /// Everything behind this entry was taken off the log's end.
    Truncated {
        /// The last entry that stays; `None` when none does.
        after: Option<LogId>,
    },
    /// A member that starts has taken the state of a peer, which contradicts its own log behind this entry: what stands there
    /// was never committed, and is taken off.
    Contradicted {
        /// The last entry that stays; `None` when none does.
        after: Option<LogId>,
    },
    /// Everything up to this entry was forgotten.
    Purged {
        /// The last entry forgotten.
        upto: LogId,
    },
    /// A vote was made durable.
    Voted(Ballot),
    /// The member knows that everything up to here is committed.
    Committed {
        /// The last entry known to be committed.
        upto: LogId,
    },
    /// A committed entry says who votes from now on.
    Configured {
        /// Which entry.
        entry: LogId,
        /// The sets of voters, each of which needs a majority.
        voters: Vec<BTreeSet<MemberId>>,
    },
    /// A committed entry has taken a member out of the list for good and put another in its place.
    Replaced {
        /// Which entry.
        entry: LogId,
        /// Who is gone.
        gone: MemberId,
        /// Who comes in its place.
        by: MemberId,
        /// Everybody in the list from then on who is to vote.
        to_vote: BTreeSet<MemberId>,
    },
    /// An entry is given to the machine.
    Applied {
        /// Which.
        entry: LogId,
        /// Its bytes' digest.
        digest: Digest,
    },
    /// A snapshot took the place of the machine's state.
    Installed {
        /// The last entry it contains.
        upto: Option<LogId>,
    },
}
