//! What a member's log and machine are seen doing, told to whoever judges them in the simulated build.
//!
//! A [`Witness`] stands where the consensus core meets the log and the machine. In the plain build it is empty and
//! every call on it is nothing. It only tells: nothing that is told changes what the member does.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::machine::command::AlarmKind;
use crate::types::{LeaseId, LogId, MemberId, RequestId, Revision, Term};

/// Tells of one member.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    #[cfg(madsim)]
    member: MemberId,
}

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
        /// The entries behind `purged`, each with its digest.
        entries: Vec<(LogId, u64)>,
    },
    /// A start cannot use the state engine that it found, and builds another.
    Rebuilding {
        /// Why.
        why: String,
    },
    /// A process started with this entry, and all before it, applied.
    Loaded {
        /// The last applied entry.
        applied: Option<LogId>,
        /// The state's hash there.
        hash: u128,
    },
    /// An entry was added at the log's end; it need not be durable.
    Appended {
        /// Which.
        entry: LogId,
        /// Its bytes' digest.
        digest: u64,
    },
    /// The log is durable up to here, and the consensus core was told so.
    Durable {
        /// The last durable entry.
        upto: LogId,
    },
    /// The leader is told that this member has everything up to here.
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
    /// An entry is given to the machine.
    Applied {
        /// Which.
        entry: LogId,
        /// Its bytes' digest.
        digest: u64,
    },
    /// A snapshot took the place of the machine's state.
    Installed {
        /// The last entry it contains.
        upto: Option<LogId>,
        /// The state's hash there.
        hash: u128,
    },
    /// A committed entry says who votes from now on.
    Configured {
        /// Which entry.
        entry: LogId,
        /// The sets of voters: two while they change, and each then needs a majority.
        voters: Vec<BTreeSet<MemberId>>,
    },
    /// A committed entry has taken a member out for good and put another in its place.
    Replaced {
        /// Which entry.
        entry: LogId,
        /// Who is gone.
        member: MemberId,
        /// Who comes in its place.
        by: MemberId,
        /// Everybody in the list from then on who is to vote.
        to_vote: BTreeSet<MemberId>,
    },
    /// An entry has been applied.
    State {
        /// Which.
        entry: LogId,
        /// The state's hash behind it.
        hash: u128,
    },
    /// A lease is about to be made for a call that brings none; told inside that call.
    MadeLease {
        /// Its id.
        lease: LeaseId,
    },
    /// A client's command was given an id; told inside the call that the client made.
    Proposed {
        /// The id.
        id: RequestId,
    },
    /// The machine carried out a command that it had not seen before, or refused it.
    Ran {
        /// The entry it came in; an entry's commands are told in their order.
        entry: LogId,
        /// The command's id.
        id: RequestId,
        /// The store's revision after it.
        revision: Revision,
        /// The leases that it ends because their time is up; empty for every other command.
        expired: Vec<LeaseId>,
        /// What it makes of an alarm: whether it raises it, which, and of which member; none for every other command.
        alarm: Option<(bool, AlarmKind, MemberId)>,
        /// Whether the machine refused it.
        refused: bool,
        /// Whether it did so for want of a right.
        denied: bool,
    },
}

impl Witness {
    /// A witness of this member.
    pub fn of(member: MemberId) -> Witness {
        #[cfg(not(madsim))]
        let _ = member;
        Witness {
            #[cfg(madsim)]
            member,
        }
    }

    /// Tells what was seen, if anybody listens.
    pub fn tell(self, observe: impl FnOnce() -> Observation) {
        #[cfg(madsim)]
        super::armed::witness(self.member, observe);
        #[cfg(not(madsim))]
        let _ = observe;
    }
}

/// The digest of an entry's bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
