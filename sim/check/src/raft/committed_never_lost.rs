//! Committed never lost: an index is committed once, with one entry, and whoever holds that entry keeps it.
//!
//! Source: the paper, section 5.4.2 and figure 3 (what leader completeness and log matching give together); the
//! dissertation, sections 3.6 and 3.8 (what must be durable before it is acknowledged). In single rules:
//! - no two entries are committed at one index;
//! - a committed entry is never overwritten, nor taken off a log that holds it unless a majority of the voters still
//!   has it durable without it: a follower that is sent a snapshot discards what conflicts with it before the snapshot stands
//!   (figure 13, step 7), and no majority must ever be the poorer for that;
//! - after a restart a log holds everything that it had said to be durable, but for what it took off or forgot since:
//!   such entries were counted towards a quorum.
//!
//! The last rule is for disks that keep what was synced; a member whose disk was lost is to be forgotten first.

use crate::raft::committed::{Committed, Known, id};
use crate::raft::ground::Ground;
use crate::raft::observation::Observation;
use crate::types::{LogId, LogIndex, MemberId, Term};
use crate::verdict::{Oracle, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// What each member owes to its disk.
#[derive(Debug, Default)]
pub struct CommittedNeverLost {
    promised: BTreeMap<MemberId, Promised>,
    /// Who votes, as the newest committed configuration has it, and the entry that set it.
    voters: Option<(LogId, Vec<BTreeSet<MemberId>>)>,
}

#[derive(Debug, Default)]
struct Promised {
    /// Entries said to be durable and not taken off since.
    durable: BTreeMap<LogIndex, Term>,
    /// How far the member may have forgotten them.
    purged: Option<LogId>,
}

impl CommittedNeverLost {
    /// Judges an observation; `news` is what it says to be committed.
    pub fn check(
        &mut self,
        ground: &Ground,
        committed: &Committed,
        news: &[(LogIndex, Known)],
        member: MemberId,
        seen: &Observation,
    ) -> Option<Violation> {
        let twice = news.iter().find_map(|(index, new)| {
            let old = committed.at(*index)?;
            let same = old.term == new.term
                && (old.digest.is_none() || new.digest.is_none() || old.digest == new.digest);
            (!same).then(|| {
                broken(format!(
                    "entry {} is committed, as member {} knows, and so is entry {}, as member {member} says",
                    id(*index, old),
                    old.told,
                    id(*index, new)
                ))
            })
        });
        let taken = match seen {
            Observation::Truncated { after } | Observation::Contradicted { after } => {
                let from = after.map_or(LogIndex(0), |after| after.index.next());
                self.taken_off(ground, committed, member, from)
            }
            Observation::Appended { entry, .. } => overwritten(ground, committed, member, *entry),
            _ => None,
        };
        let lost = self.follow(ground, member, seen);
        twice.or(taken).or(lost)
    }

    /// A committed entry that the member took off, and that not enough others have.
    fn taken_off(
        &self,
        ground: &Ground,
        committed: &Committed,
        member: MemberId,
        from: LogIndex,
    ) -> Option<Violation> {
        let log = ground.log(member)?;
        let last = log.entries.last_key_value()?.0;
        let (index, known) = committed
            .newest_first_until(*last)
            .take_while(|(index, _)| *index >= from)
            .filter(|(index, known)| log.entries.get(index).is_some_and(|held| held.term == known.term))
            .find(|(index, known)| !self.majority_without(member, *index, known.term))?;
        Some(broken(format!(
            "member {member} took entry {} off its log, which is committed, as member {} knows",
            id(index, known),
            known.told
        )))
    }

    /// Whether a majority of the voters, of each set of them, has the entry durable without this one's help, in its
    /// log or forgotten behind a snapshot. Before any configuration is known, every member counts as a voter.
    fn majority_without(&self, member: MemberId, index: LogIndex, term: Term) -> bool {
        let holds = |promised: &Promised| {
            promised.durable.get(&index) == Some(&term)
                || promised.purged.is_some_and(|upto| upto.index >= index)
        };
        let holders: BTreeSet<MemberId> = self
            .promised
            .iter()
            .filter(|(other, promised)| **other != member && holds(promised))
            .map(|(other, _)| *other)
            .collect();
        match &self.voters {
            Some((_, sets)) => sets.iter().all(|set| set.intersection(&holders).count() > set.len() / 2),
            None => holders.len() > self.promised.len() / 2,
        }
    }

    /// The member comes back as a stranger.
    pub fn forget(&mut self, member: MemberId) {
        self.promised.remove(&member);
    }

    /// Keeps the promises, and holds a restart against them.
    fn follow(&mut self, ground: &Ground, member: MemberId, seen: &Observation) -> Option<Violation> {
        if let Observation::Configured { entry, voters } = seen {
            if self.voters.as_ref().is_none_or(|(known, _)| known < entry) {
                self.voters = Some((*entry, voters.clone()));
            }
            return None;
        }
        let promised = self.promised.entry(member).or_default();
        match seen {
            Observation::Durable { upto } => {
                let log = ground.log(member)?;
                // A late word about entries that were taken off meanwhile promises nothing.
                log.entries.get(&upto.index).filter(|held| held.term == upto.term)?;
                // Appends become durable in order: only what is new since the last word has to be noted.
                for (index, held) in log.entries.range(..=upto.index).rev() {
                    if promised.durable.insert(*index, held.term) == Some(held.term) {
                        break;
                    }
                }
                None
            }
            Observation::Truncated { after } | Observation::Contradicted { after } => {
                let from = after.map_or(LogIndex(0), |after| after.index.next());
                drop(promised.durable.split_off(&from));
                None
            }
            Observation::Purged { upto } => {
                promised.purged = promised.purged.max(Some(*upto));
                promised.durable = promised.durable.split_off(&upto.index.next());
                None
            }
            Observation::Recovered { purged, entries, .. } => {
                let before = std::mem::take(promised);
                promised.purged = *purged;
                promised.durable = entries.iter().map(|(entry, _)| (entry.index, entry.term)).collect();
                before.lost(member, *purged, &promised.durable)
            }
            _ => None,
        }
    }
}

impl Promised {
    fn lost(
        &self,
        member: MemberId,
        purged: Option<LogId>,
        found: &BTreeMap<LogIndex, Term>,
    ) -> Option<Violation> {
        if let Some(purged) = purged.filter(|purged| Some(*purged) > self.purged) {
            let sentence =
                format!("member {member} came back without entry {purged}, which it never forgot on purpose");
            return (self.durable.contains_key(&purged.index)).then(|| broken(sentence));
        }
        let from = purged.map_or(LogIndex(0), |purged| purged.index.next());
        let mut owed = self.durable.range(from..);
        let (index, term) = owed.find(|(index, term)| found.get(index) != Some(term))?;
        let entry = LogId { term: *term, index: *index };
        let what = match found.get(index) {
            Some(other) => format!("with one of term {other} in its place"),
            None => "without it".to_owned(),
        };
        Some(broken(format!("member {member} had said that entry {entry} is durable, and came back {what}")))
    }
}

fn overwritten(ground: &Ground, committed: &Committed, member: MemberId, entry: LogId) -> Option<Violation> {
    let held = ground.log(member)?.entries.get(&entry.index)?;
    let known = committed.at(entry.index)?;
    (held.term == known.term && entry.term != held.term).then(|| {
        broken(format!(
            "member {member} overwrote entry {} with entry {entry}, though it is committed, as member {} knows",
            id(entry.index, known),
            known.told
        ))
    })
}

fn broken(sentence: String) -> Violation {
    Violation::safety(Oracle::CommittedNeverLost, sentence)
}
