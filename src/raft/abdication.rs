//! A leader that no quorum answers gives its office away.
//!
//! A leader that is heard and hears nothing, because its links work one way only, would stall the cluster for ever:
//! what it says keeps the others from electing another, and what it appends is never committed. So a leader that was
//! not answered by a quorum for a few election timeouts tells the others, one after the other, to stand in its place,
//! until one of them does (Raft dissertation, sections 3.10 and 6.2).
//!
//! The core takes no more entries from a leader that began to hand over, so the attempt goes on to the end of the
//! term, even when a quorum answers again. Only for liveness: no answer becomes linearizable by it.

use std::sync::Arc;
use std::time::Duration;

use crate::env::Clock;
use crate::raft::RaftHandle;
use crate::types::{MemberId, Term};

/// Election timeouts without an answer from a quorum after which a leader gives up: more than a slow round takes.
const PATIENCE_TIMEOUTS: u32 = 3;

/// Watches over this member's leaderships for as long as it lives.
pub fn start(raft: RaftHandle, clock: Arc<dyn Clock>, election_timeout: Duration) {
    tokio::spawn(async move {
        loop {
            let term = raft.reign_when(|reign| reign.is_leader).await.term;
            preside(&raft, &*clock, election_timeout, term).await;
            // For ever when the core has stopped.
            raft.reign_when(|reign| !reign.is_leader || reign.term != term).await;
        }
    });
}

/// Returns when `term` is over.
async fn preside(raft: &RaftHandle, clock: &dyn Clock, election_timeout: Duration, term: Term) {
    let patience = election_timeout * PATIENCE_TIMEOUTS;
    let begun = clock.monotonic();
    let mut successor: Option<MemberId> = None;
    while raft.leads_in(term) {
        // The planted bug stays in office, answered or not.
        let unanswered = clock.monotonic().saturating_sub(begun) >= patience
            && !raft.is_answered_within(patience)
            && !crate::mutant!("raft-leader-stays-unanswered");
        if successor.is_some() || unanswered {
            let Some(next) = raft.voter_after(successor) else { return };
            crate::sometimes!("a leader that nobody answered gave its office away");
            tracing::warn!(term = term.0, to = %next, "no quorum answers this leader; another is to lead");
            raft.hand_over(next).await;
            successor = Some(next);
        }
        clock.sleep(election_timeout / 2).await;
    }
}
