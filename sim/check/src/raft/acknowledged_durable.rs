//! What a member tells its leader to have, it has durably: in its log, or in a state that stands.
//!
//! Source: the dissertation, section 3.8 (what must be on stable storage before a server answers), of snapshots as of
//! entries: the leader takes the answer to either for a promise that outlives the member's process.
//!
//! It remembers the newest entry that each member ever had durably. What was taken off since still counts, because an
//! answer under way may be older than that; whether a restart keeps what was durable is another invariant's matter.

use crate::raft::observation::Observation;
use crate::types::{LogId, MemberId};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// The newest entry that each member has had durably.
#[derive(Debug, Default)]
pub struct AcknowledgedDurable {
    newest: BTreeMap<MemberId, Option<LogId>>,
}

impl AcknowledgedDurable {
    /// Judges an observation.
    pub fn check(&mut self, member: MemberId, seen: &Observation) -> Option<Violation> {
        let newest = self.newest.entry(member).or_default();
        match seen {
            Observation::Recovered { purged, entries, .. } => {
                *newest = (*newest).max(*purged).max(entries.last().map(|(entry, _)| *entry));
            }
            Observation::Loaded { applied: upto } | Observation::Installed { upto } => {
                *newest = (*newest).max(*upto)
            }
            Observation::Durable { upto } => *newest = (*newest).max(Some(*upto)),
            Observation::Acknowledged { upto } if Some(*upto) > *newest => {
                let has =
                    newest.map_or("nothing".to_owned(), |newest| format!("no more than entry {newest}"));
                let sentence = format!(
                    "member {member} told its leader that it has entry {upto}, and had {has} durably"
                );
                return Some(Violation::safety(Oracle::AcknowledgedDurable, sentence));
            }
            _ => {}
        }
        None
    }

    /// The member comes back as a stranger.
    pub fn forget(&mut self, member: MemberId) {
        self.newest.remove(&member);
    }
}
