//! Every member's log and vote, as observed so far: the ground that the invariants stand on. It judges nothing.

use crate::raft::observation::{Ballot, Observation};
use crate::types::{Digest, LogId, LogIndex, MemberId, Term};
use std::collections::BTreeMap;

/// One entry that a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its term.
    pub term: Term,
    /// Its bytes' digest.
    pub digest: Digest,
}

/// One member's log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Everything up to here is forgotten.
    pub purged: Option<LogId>,
    /// What it holds behind that.
    pub entries: BTreeMap<LogIndex, Held>,
    /// The newest vote known to be durable.
    pub vote: Option<Ballot>,
}

impl Log {
    /// The last entry, or the purged one when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.entries
            .last_key_value()
            .map(|(index, held)| LogId { term: held.term, index: *index })
            .or(self.purged)
    }

    /// Whether the member leads, as far as its durable vote says: which term.
    pub fn leads(&self, member: MemberId) -> Option<Term> {
        self.vote.filter(|vote| vote.won && vote.candidate == member).map(|vote| vote.term)
    }
}

/// All members' logs.
#[derive(Debug, Default)]
pub struct Ground {
    logs: BTreeMap<MemberId, Log>,
}

impl Ground {
    /// A member's log, if anything was seen of it.
    pub fn log(&self, member: MemberId) -> Option<&Log> {
        self.logs.get(&member)
    }

    /// The member has lost everything.
    pub fn forget(&mut self, member: MemberId) {
        self.logs.remove(&member);
    }

    /// Follows an observation.
    pub fn take(&mut self, member: MemberId, seen: &Observation) {
        let log = self.logs.entry(member).or_default();
        match seen {
            Observation::Recovered { purged, vote, entries } => {
                let entries = entries
                    .iter()
                    .map(|(entry, digest)| (entry.index, Held { term: entry.term, digest: *digest }))
                    .collect();
                *log = Log { purged: *purged, entries, vote: *vote };
            }
            Observation::Appended { entry, digest } => {
                log.entries.insert(entry.index, Held { term: entry.term, digest: *digest });
            }
            Observation::Truncated { after } | Observation::Contradicted { after } => {
                let from = after.map_or(LogIndex(0), |after| after.index.next());
                drop(log.entries.split_off(&from));
            }
            Observation::Purged { upto } => {
                log.entries = log.entries.split_off(&upto.index.next());
                log.purged = log.purged.max(Some(*upto));
            }
            Observation::Voted(ballot) => log.vote = Some(*ballot),
            Observation::Loaded { .. }
            | Observation::Durable { .. }
            | Observation::Committed { .. }
            | Observation::Applied { .. }
            | Observation::Configured { .. }
            | Observation::Replaced { .. }
            | Observation::Installed { .. }
            | Observation::Acknowledged { .. } => {}
        }
    }
}
