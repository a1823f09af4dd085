//! Leader append-only: a leader never overwrites or deletes entries in its log, it only appends.
//!
//! Source: the paper, figure 3 ("Leader Append-Only", section 5.3); the dissertation, section 3.5.
//!
//! Forgetting entries that a snapshot holds is no deletion in this sense, nor is a log that gives way to the state of a peer
//! while its member starts: that one does not lead. A leader is a member whose newest durable
//! vote is a won one for itself; one that has been deposed without knowing it is still held to the rule.

use crate::raft::ground::Ground;
use crate::raft::observation::Observation;
use crate::types::{LogIndex, MemberId};
use crate::verdict::{Oracle, Violation};

/// Judges an observation.
pub fn check(ground: &Ground, member: MemberId, seen: &Observation) -> Option<Violation> {
    let log = ground.log(member)?;
    let term = log.leads(member)?;
    let broken = |what: String| {
        Some(Violation::safety(
            Oracle::LeaderAppendOnly,
            format!("member {member} leads term {term} and {what}"),
        ))
    };
    match seen {
        Observation::Truncated { after } => {
            let from = after.map_or(LogIndex(0), |after| after.index.next());
            let (index, held) = log.entries.range(from..).next()?;
            broken(format!("deleted its entry {index} of term {}", held.term))
        }
        Observation::Appended { entry, .. } if log.entries.contains_key(&entry.index) => {
            broken(format!("overwrote its entry {}", entry.index))
        }
        _ => None,
    }
}
