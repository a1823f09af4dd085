//! Members compared with each other: whether those that applied the same have come to the same.
//!
//! Two things are compared. *Histories*: a checksum over what is stored of all keys up to one revision, read from each
//! member's state engine. *Compactions*: hashes of the whole state, which every member kept when it applied the same
//! compacting entry.
//!
//! Invariant: an honest lag is never a difference. Only what members say of one entry, or of one revision as of one
//! compaction, is held against each other, and who has not come so far says nothing. Applied entries are committed, so it
//! does not matter who leads, or whether that changes meanwhile.
//!
//! What does not show here: what all members have made of the log alike, right or wrong.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::limits;
use crate::machine::command::CommandError;
use crate::machine::effects::RecordsError;
use crate::machine::mvcc::NEVER_COMPACTED;
use crate::machine::mvcc::hash_kv::HashKv;
use crate::pb::peer as pb;
use crate::pb::peer::checksum_response::Outcome;
use crate::peer::Peers;
use crate::raft::replica::Replica;
use crate::raft::wire::compaction_hash_in;
use crate::types::{LogId, MemberId, Revision};

pub use verdict::{Said, Verdict, judge};

/// A peer's word on one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum History {
    /// Its checksum.
    Hash(u32),
    /// It lacks the revision, though it has applied the entry that made it.
    Behind,
}

/// What came of one comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// What was compared, for the log.
    pub what: String,
    /// Which members were heard, this one among them.
    pub heard: BTreeSet<MemberId>,
    /// Which of them are right.
    pub verdict: Verdict,
}

/// Those who are asked.
struct Circle {
    own: MemberId,
    /// All members, with whether they vote.
    members: BTreeMap<MemberId, bool>,
}

impl Circle {
    fn of(replica: &Replica) -> Circle {
        let state = replica.state();
        let members = state.members().iter().map(|member| (member.id, !member.is_learner)).collect();
        Circle { own: replica.member(), members }
    }

    fn peers(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied().filter(|member| *member != self.own)
    }

    fn said<T>(&self, member: MemberId, what: T) -> Said<T> {
        Said { member, votes: self.members.get(&member).copied().unwrap_or(false), what }
    }

    fn judge<T: Ord>(&self, what: String, said: Vec<Said<T>>) -> Compared {
        let voters = self.members.values().filter(|votes| **votes).count();
        let heard = said.iter().map(|said| said.member).collect();
        Compared { what, heard, verdict: judge(voters, said) }
    }
}

/// Compares the histories that members keep, up to the revision that this one has come to. `None` when nothing can be
/// said: nobody answers in `timeout`, or histories are compacted faster than they can be read.
///
/// # Errors
/// A record of this member could not be read.
pub async fn histories(
    replica: &Replica,
    peers: &Peers,
    timeout: Duration,
) -> Result<Option<Compared>, RecordsError> {
    let circle = Circle::of(replica);
    if circle.peers().next().is_none() {
        return Ok(None);
    }
    let (applied, revision) = {
        let state = replica.readable()?;
        (state.applied().map_or(0, |id| id.index.0), state.revision())
    };
    let mut compacted = NEVER_COMPACTED;
    for _ in 0..limits::COMPARISON_ATTEMPTS_MAX {
        let (_, own) = replica.checksum(revision, compacted).await?;
        let own = match own {
            Ok(own) => own,
            // Compacted beyond the revision meanwhile.
            Err(CommandError::Compacted(_) | CommandError::FutureRevision) => return Ok(None),
            Err(refused) => return Err(RecordsError(refused.to_string())),
        };
        compacted = own.compacted;
        let asked = pb::ChecksumRequest {
            sender: None,
            applied,
            // The planted bug compares what each member has come to by now.
            revision: if crate::mutant!("checksums-of-different-revisions") { 0 } else { revision.0 },
            compacted: compacted.0,
        };
        let said = ask_checksums(replica, peers, &circle, &asked, timeout).await;
        let furthest = said.iter().map(|said| said.what.1).max().unwrap_or(compacted);
        if furthest > compacted && !crate::mutant!("checksums-of-different-compactions") {
            crate::sometimes!("a comparison began anew for a compaction");
            compacted = furthest;
            continue;
        }
        return Ok(conclude(&circle, own, said));
    }
    Ok(None)
}

/// What each peer that can say has at one revision, and as of which compaction.
async fn ask_checksums(
    replica: &Replica,
    peers: &Peers,
    circle: &Circle,
    asked: &pb::ChecksumRequest,
    timeout: Duration,
) -> Vec<Said<(History, Revision)>> {
    let questions = circle.peers().map(|peer| async move {
        let answer = peers.checksum(peer, timeout, *asked).await;
        let answer = answer.inspect_err(|error| tracing::debug!(%error, "a member says nothing of itself"));
        let answer = answer.ok()?;
        let what = match Outcome::try_from(answer.outcome) {
            Ok(Outcome::Hash) => (History::Hash(answer.hash), Revision(answer.compacted)),
            Ok(Outcome::Behind) => (History::Behind, Revision(asked.compacted)),
            Ok(Outcome::Unknown) | Err(_) => return None,
        };
        Some(circle.said(peer, what))
    });
    crate::disturb!("members are compared late", replica.clock());
    join_all(questions).await.into_iter().flatten().collect()
}

fn conclude(circle: &Circle, own: HashKv, said: Vec<Said<(History, Revision)>>) -> Option<Compared> {
    if said.is_empty() {
        return None;
    }
    // The planted bug takes its own word for everybody's.
    let alike = crate::mutant!("checksum-compared-with-itself");
    let mut all = vec![circle.said(circle.own, History::Hash(own.hash))];
    all.extend(said.into_iter().map(|said| {
        let what = if alike { History::Hash(own.hash) } else { said.what.0 };
        Said { member: said.member, votes: said.votes, what }
    }));
    crate::sometimes!("histories were compared");
    let what = format!("history up to revision {}, as compacted at {}", own.revision, own.compacted);
    Some(circle.judge(what, all))
}

/// Compares the hashes of the whole state that members remember of the compactions that this one remembers, the newest
/// first, but not those of `settled`.
pub async fn compactions(
    replica: &Replica,
    peers: &Peers,
    settled: &BTreeSet<LogId>,
) -> Vec<(LogId, Compared)> {
    let circle = Circle::of(replica);
    let mut own = replica.compaction_hashes();
    own.retain(|hash| !settled.contains(&hash.entry));
    if own.is_empty() || circle.peers().next().is_none() {
        return Vec::new();
    }
    let questions = circle.peers().map(|peer| async move {
        let answer = peers.compaction_hashes(peer, limits::CHECKSUM_TIMEOUT).await.ok()?;
        Some((peer, answer.hashes.iter().filter_map(compaction_hash_in).collect::<Vec<_>>()))
    });
    let told: Vec<_> = join_all(questions).await.into_iter().flatten().collect();
    own.reverse();
    let compared = own.into_iter().map(|own| {
        let mut said = vec![circle.said(circle.own, (own.compacted, own.hash))];
        for (peer, hashes) in &told {
            let same = hashes.iter().filter(|hash| hash.entry == own.entry);
            said.extend(same.map(|hash| circle.said(*peer, (hash.compacted, hash.hash))));
        }
        if said.len() > 1 {
            crate::sometimes!("hashes of a compaction were compared");
        }
        let what = format!("state behind entry {}, compacted at {}", own.entry, own.compacted);
        (own.entry, circle.judge(what, said))
    });
    compared.collect()
}

/// Whether so many members are all there are.
pub fn is_everybody(replica: &Replica, heard: &BTreeSet<MemberId>) -> bool {
    replica.state().members().iter().all(|member| heard.contains(&member.id))
}
