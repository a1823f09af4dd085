//! The consensus core of one member, as the rest of Quorate uses it.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::Instant;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RaftError;
use openraft::impls::ProgressResponder;
use openraft::{ChangeMembers, Raft, RaftMetrics, ServerState};

use crate::raft::contact::Contact;
use crate::raft::leadership::Leadership;
use crate::raft::membership::{Configuration, Follower, Followers, Step};
use crate::raft::proposer::WriteError;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{LogBatch, RaftLogId, RaftVote, TypeConfig, log_id};
use crate::types::{LogId, MemberId, Term};

/// The core itself; only this module names it.
pub type Core = Raft<TypeConfig, StateMachine>;

/// A handle to the consensus core. Cheap to clone.
#[derive(Clone)]
pub struct RaftHandle {
    core: Core,
    leadership: Leadership,
    contact: Contact,
}

/// Who leads, as a member knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The current term.
    pub term: Term,
    /// Who leads in it.
    pub leader: Option<MemberId>,
    /// Whether this member itself leads.
    pub is_leader: bool,
}

/// What a member knows of the cluster at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// The current term.
    pub term: Term,
    /// Who leads, as far as this member knows.
    pub leader: Option<MemberId>,
    /// Whether this member itself leads.
    pub is_leader: bool,
    /// Whether this member has no vote.
    pub is_learner: bool,
    /// The last entry in the log.
    pub last: Option<u64>,
    /// The last entry known committed.
    pub committed: Option<LogId>,
    /// The last entry applied.
    pub applied: Option<LogId>,
    /// The last entry covered by a snapshot.
    pub snapshot: Option<LogId>,
    /// The last entry purged.
    pub purged: Option<LogId>,
}

impl RaftHandle {
    /// A handle to `core`, whose leadership is confirmed through `leadership`.
    pub fn new(core: Core, leadership: Leadership, contact: Contact) -> RaftHandle {
        RaftHandle { core, leadership, contact }
    }

    /// Where it is noted that a leader was heard.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Whether this member follows the leader of `vote` and its log holds the entry `last`. Asked of the core itself.
    pub async fn follows_with(&self, vote: RaftVote, last: Option<RaftLogId>) -> bool {
        let follows = self.core.with_raft_state(move |state| {
            *state.vote_ref() == vote && last.is_some_and(|last| state.log_ids.get(last.index) == Some(last))
        });
        follows.await.unwrap_or(false)
    }

    /// Whether the core has been given a snapshot that reaches to `last`. Asked of the core itself.
    pub async fn knows_snapshot(&self, last: Option<RaftLogId>) -> bool {
        let known = self.core.with_raft_state(move |state| state.snapshot_meta.last_log_id >= last);
        known.await.unwrap_or(false)
    }

    /// The core, for the adapters of this module.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// What this member knows now.
    pub fn status(&self) -> RaftStatus {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        RaftStatus {
            term: Term(metrics.current_term),
            leader: metrics.current_leader.map(MemberId),
            is_leader: metrics.state == ServerState::Leader,
            is_learner: metrics.state == ServerState::Learner,
            last: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(log_id),
            applied: metrics.last_applied.as_ref().map(log_id),
            snapshot: metrics.snapshot.as_ref().map(log_id),
            purged: metrics.purged.as_ref().map(log_id),
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        let metrics = self.core.metrics();
        let term = metrics.borrow_watched().current_term;
        Term(term)
    }

    /// Waits until `holds` is true of who leads, which it is asked when that may have changed and not with every
    /// entry; for ever, when the member stops before.
    pub async fn reign_when(&self, mut holds: impl FnMut(Reign) -> bool) -> Reign {
        let mut metrics = self.core.server_metrics();
        loop {
            let reign = {
                // Marked as seen while it is looked at, so that no change is missed.
                let metrics = metrics.borrow_and_update();
                Reign {
                    term: Term(metrics.vote.leader_id().term),
                    leader: metrics.current_leader.map(MemberId),
                    is_leader: metrics.state == ServerState::Leader,
                }
            };
            if holds(reign) {
                return reign;
            }
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Whether this member leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        let metrics = self.core.metrics();
        let state = metrics.borrow_watched().state;
        state == ServerState::Leader
    }

    /// Who votes and who only follows: the newest configuration in the log.
    pub fn configuration(&self) -> Configuration {
        let metrics = self.core.server_metrics();
        Configuration::from(&*metrics.borrow_watched().membership_config)
    }

    /// Waits until `holds` is true of the newest committed configuration: no change of leader takes it back. For ever,
    /// when the member stops before.
    pub async fn committed_configuration(&self, mut holds: impl FnMut(&Configuration) -> bool) {
        let mut metrics = self.core.server_metrics();
        loop {
            // Marked as seen while it is looked at, so that no change is missed.
            let committed = Configuration::from(&*metrics.borrow_and_update().committed_membership_config);
            if holds(&committed) {
                return;
            }
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// How the others stand; `None` when this member does not lead.
    pub fn followers(&self) -> Option<Followers> {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        let (matched, heard) = (metrics.replication.as_ref()?, metrics.heartbeat.as_ref()?);
        let follower = |id: &u64| Follower {
            matched: matched.get(id).and_then(|id| id.as_ref()).map(|id| id.index),
            silent_for: heard.get(id).and_then(|at| at.as_ref()).map(|at| at.elapsed()),
        };
        let others = metrics.membership_config.nodes().map(|(id, _)| id).filter(|id| **id != metrics.id);
        Some(Followers {
            last: metrics.last_log_index.unwrap_or(0),
            by_id: others.map(|id| (MemberId(*id), follower(id))).collect(),
        })
    }

    /// As the leader: changes the configuration, and returns when the change is applied here.
    ///
    /// # Errors
    /// Why not; a change of voters may have been made by half.
    pub async fn change_configuration(&self, step: Step) -> Result<(), String> {
        let change = match step {
            // Adding nobody leads out of a joint configuration.
            Step::Finish => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Step::Add(nodes) => ChangeMembers::AddNodes(nodes),
            Step::Move(nodes) => ChangeMembers::SetNodes(nodes),
            Step::Vote(voters) => ChangeMembers::ReplaceAllVoters(voters),
            Step::Drop(gone) => ChangeMembers::RemoveNodes(gone),
        };
        let changed = self.core.change_membership(change, false).await;
        changed.map(|_| ()).map_err(|error| error.to_string())
    }

    /// As the leader: asks a voter to take over. From here on this member refuses writes until somebody leads anew.
    pub async fn hand_over(&self, to: MemberId) {
        if let Err(error) = self.core.trigger().transfer_leader(to.0).await {
            tracing::warn!(%error, "leadership cannot be handed over");
        }
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<MemberId> {
        let metrics = self.core.metrics();
        let leader = metrics.borrow_watched().current_leader;
        leader.map(MemberId)
    }

    /// Who leads, if this member is in touch with it: as a follower that heard it lately, or as the leader that a
    /// quorum answered lately.
    pub fn present_leader(&self) -> Option<MemberId> {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        let present = if metrics.state == ServerState::Leader {
            is_answered(&metrics, |silence| self.contact.is_recent(silence))
        } else {
            self.contact.is_fresh()
        };
        metrics.current_leader.map(MemberId).filter(|_| present)
    }

    /// Whether this member leads, in this term and no other.
    pub fn leads_in(&self, term: Term) -> bool {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        let runs = metrics.running_state.is_ok();
        runs && metrics.state == ServerState::Leader && metrics.current_term == term.0
    }

    /// As the leader: whether a quorum has answered within this time.
    pub fn is_answered_within(&self, span: Duration) -> bool {
        let metrics = self.core.metrics();
        is_answered(&metrics.borrow_watched(), |silence| silence <= span)
    }

    /// The voter that comes after another one, or after this member; `None` when there is no other voter.
    pub fn voter_after(&self, voter: Option<MemberId>) -> Option<MemberId> {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        let after = voter.map_or(metrics.id, |voter| voter.0);
        let others = || {
            let voters = metrics.membership_config.membership().voter_ids();
            voters.filter(|voter| *voter != metrics.id)
        };
        let next = others().filter(|voter| *voter > after).min();
        next.or_else(|| others().min()).map(MemberId)
    }

    /// Why the core has stopped by itself, if it has: its storage failed.
    pub fn failure(&self) -> Option<String> {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        match &metrics.running_state {
            Ok(()) | Err(openraft::errors::Fatal::Stopped) => None,
            Err(error) => Some(format!("consensus: {error}")),
        }
    }

    /// Whether the core has ended, asked to or by itself.
    pub fn has_ended(&self) -> bool {
        let metrics = self.core.metrics();
        let metrics = metrics.borrow_watched();
        metrics.running_state.is_err()
    }

    /// Appends a batch and waits until it is committed and applied here.
    ///
    /// # Errors
    /// [`WriteError`] tells whether the batch was appended.
    pub async fn write(&self, batch: LogBatch) -> Result<(), WriteError> {
        self.core.client_write(batch).await.map(|_| ()).map_err(WriteError::from)
    }

    /// As [`RaftHandle::write`], but only by this member and only while it leads `term`: in any other case
    /// nothing is appended.
    ///
    /// # Errors
    /// [`WriteError`] tells whether the batch was appended.
    pub async fn write_as_leader(&self, batch: LogBatch, term: Term) -> Result<(), WriteError> {
        let (responder, outcome) = ProgressResponder::complete_only();
        let sent = self.core.write(batch).with_leader(term.0).responder(responder).await;
        sent.map_err(|_| WriteError::Stopped)?;
        match outcome.await {
            Ok(written) => written.map(|_| ()).map_err(|error| WriteError::from(RaftError::APIError(error))),
            Err(_) => Err(WriteError::Stopped),
        }
    }

    /// As the leader: an index that covers everything acknowledged before the call, confirmed by a quorum round
    /// that began after it. `None` when this member does not lead or no quorum answered in `timeout`.
    pub async fn read_index(&self, timeout: Duration) -> Option<LogId> {
        self.leadership.confirm(timeout).await
    }

    /// As a voter: whether this member knows `leader` as the leader of `term`, and of no later one.
    pub async fn agrees(&self, leader: MemberId, term: Term) -> bool {
        self.leadership.agrees(leader, term).await
    }

    /// Takes a snapshot soon, so that the log can be purged.
    pub async fn snapshot(&self) {
        if let Err(error) = self.core.trigger().snapshot().await {
            tracing::warn!(%error, "no snapshot can be taken");
        }
    }

    /// Ends the core: it takes no more part in the cluster.
    pub async fn shutdown(&self) {
        if let Err(error) = self.core.shutdown().await {
            tracing::warn!(%error, "the consensus core did not end cleanly");
        }
    }
}

/// Whether a leader was last answered by a quorum not longer ago than `is_recent` accepts.
fn is_answered(metrics: &RaftMetrics<TypeConfig>, is_recent: impl Fn(Duration) -> bool) -> bool {
    // One that is a quorum by itself is never answered.
    let alone = metrics.membership_config.membership().voter_ids().count() == 1;
    alone || metrics.last_quorum_acked.is_some_and(|acked| is_recent(acked.elapsed()))
}
