//! Election safety: at most one leader can be elected in a term.
//!
//! Source: the paper, figure 3 ("Election Safety", section 5.2); the dissertation, section 3.4. What makes it hold is
//! checked too: a member gives at most one vote a term, over all its lives, because the vote is durable before it is
//! given (figure 2, "votedFor" is persistent state).
//!
//! It sees votes once they are durable. A vote that was answered without having been made durable shows when the
//! member gives a second one.

use crate::raft::observation::{Ballot, Observation};
use crate::types::{MemberId, Term};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// The votes and leaders seen.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    /// Who leads each term, and who showed it first.
    leaders: BTreeMap<Term, (MemberId, MemberId)>,
    /// The newest vote of each member.
    votes: BTreeMap<MemberId, Ballot>,
}

impl ElectionSafety {
    /// Judges an observation.
    pub fn check(&mut self, member: MemberId, seen: &Observation) -> Option<Violation> {
        match seen {
            Observation::Voted(ballot) => self.vote(member, *ballot),
            Observation::Recovered { vote: Some(ballot), .. } => {
                self.lost_vote(member, Some(*ballot)).or_else(|| self.vote(member, *ballot))
            }
            Observation::Recovered { vote: None, .. } => self.lost_vote(member, None),
            _ => None,
        }
    }

    /// The member comes back as a stranger.
    pub fn forget(&mut self, member: MemberId) {
        self.votes.remove(&member);
    }

    /// A vote once durable is found again, or a newer one.
    fn lost_vote(&self, member: MemberId, found: Option<Ballot>) -> Option<Violation> {
        let given = self.votes.get(&member)?;
        let kept = found.is_some_and(|found| (found.term, found.won) >= (given.term, given.won));
        (!kept).then(|| {
            let found = found.map_or("no vote".to_owned(), |found| format!("term {}", found.term));
            broken(format!("member {member} voted in term {}, and came back with {found}", given.term))
        })
    }

    fn vote(&mut self, member: MemberId, ballot: Ballot) -> Option<Violation> {
        let before = self.votes.insert(member, ballot);
        if ballot.won {
            let (leader, shown) = *self.leaders.entry(ballot.term).or_insert((ballot.candidate, member));
            return (leader != ballot.candidate).then(|| {
                broken(format!(
                    "term {} has two leaders: {leader}, as {shown} knows, and {}, as {member} knows",
                    ballot.term, ballot.candidate
                ))
            });
        }
        let before = before.filter(|before| before.term >= ballot.term)?;
        if before.term > ballot.term {
            return Some(broken(format!(
                "member {member} voted in term {} after it had voted in term {}",
                ballot.term, before.term
            )));
        }
        (before.candidate != ballot.candidate).then(|| {
            broken(format!(
                "member {member} voted twice in term {}: for {} and for {}",
                ballot.term, before.candidate, ballot.candidate
            ))
        })
    }
}

fn broken(sentence: String) -> Violation {
    Violation::safety(Oracle::ElectionSafety, sentence)
}
