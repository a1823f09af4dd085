//! Tells the log who leads, whenever that changes: the first thing an operator wants to know after a hiccup.
//!
//! It looks at every change of what the member knows; one that is undone before it comes to look is not told.

use crate::node::Member;
use crate::raft::Reign;
use crate::types::{MemberId, Term};

/// Who leads, as a member knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct View {
    leader: Option<MemberId>,
    term: Term,
}

/// What became of the leadership between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// This member leads now.
    Leads,
    /// Another member does.
    Follows(MemberId),
    /// Nobody does any more.
    Lost(MemberId),
}

impl Change {
    fn between(before: View, now: View, own: MemberId) -> Option<Change> {
        match (before.leader, now.leader) {
            (Some(lost), None) => Some(Change::Lost(lost)),
            (None, None) => None,
            // The same leader of a later term was elected anew.
            (_, Some(_)) if before == now => None,
            (_, Some(leader)) if leader == own => Some(Change::Leads),
            (_, Some(leader)) => Some(Change::Follows(leader)),
        }
    }
}

impl View {
    fn of(reign: Reign, own: MemberId) -> View {
        // A leader that has restarted still knows its old vote for itself; that makes it no leader.
        let leader = reign.leader.filter(|leader| *leader != own || reign.is_leader);
        View { leader, term: reign.term }
    }
}

/// Watches one member for as long as it is polled.
pub async fn tell(member: &Member) {
    let config = member.config();
    let (own, name) = (config.member, &config.name);
    let mut before = View::default();
    loop {
        let now = View::of(member.reign_when(|reign| View::of(reign, own) != before).await, own);
        let term = now.term.0;
        match Change::between(before, now, own) {
            Some(Change::Leads) => tracing::info!(%name, term, "became leader"),
            Some(Change::Follows(leader)) => tracing::info!(%name, %leader, term, "follows a leader"),
            Some(Change::Lost(leader)) => tracing::warn!(%name, %leader, term, "lost leader"),
            None => {}
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_told() {
        let (own, other) = (MemberId(1), MemberId(2));
        let view = |leader, term| View { leader, term: Term(term) };
        for (before, now, want) in [
            (view(None, 0), view(None, 1), None),
            (view(None, 1), view(Some(own), 2), Some(Change::Leads)),
            (view(Some(own), 2), view(Some(own), 2), None),
            (view(Some(own), 2), view(Some(own), 3), Some(Change::Leads)),
            (view(Some(own), 2), view(Some(other), 3), Some(Change::Follows(other))),
            (view(Some(other), 3), view(None, 3), Some(Change::Lost(other))),
        ] {
            assert_eq!(Change::between(before, now, own), want, "{before:?} {now:?}");
        }
    }
}
