//! What a member does when its peers call: the consensus core's messages, forwarded batches, read indexes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError};
use openraft::{Snapshot, SnapshotMeta};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::config::{STORAGE_VERSION, limits};
use crate::env::{Observation, Witness, within};
use crate::machine::command::CommandError;
use crate::machine::members::Members;
use crate::machine::mvcc::hash_kv::HashKv;
use crate::pb::peer as pb;
use crate::pb::peer::checksum_response::Outcome;
use crate::pb::peer::forward_response::Outcome as Forwarded;
use crate::pb::peer::snapshot_part::Part;
use crate::peer::{AppendAnswers, AppendRequests, PeerApi, SentSnapshot, SnapshotParts};
use crate::raft::codec::{decode_batch, decode_stored_membership};
use crate::raft::handle::RaftHandle;
use crate::raft::lease::keeper::LeaseKeeper;
use crate::raft::lease::requests::{remaining_out, ttls_out};
use crate::raft::proposer::WriteError;
use crate::raft::read_index::{ReadError, ReadIndex};
use crate::raft::readmission::{Hindrance, Readmission};
use crate::raft::replica::Replica;
use crate::raft::snapshot::{self, Receiving, SnapshotData};
use crate::raft::types::{RaftLogId, RaftVote, TypeConfig, log_id};
use crate::raft::wire::{
    append_in, append_result_out, compaction_hash_out, followers_out, log_id_in, own_log_id_in, vote_in,
    vote_out, vote_request_in, vote_response_out,
};
use crate::storage::state_dir::StateDir;
use crate::storage::wal::WalHandle;
use crate::types::{ClusterId, LeaseId, LogId, MemberId, Revision, Term};

/// One member, as its peers meet it.
pub struct PeerFront {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// This member's id.
    pub member: MemberId,
    /// The consensus core.
    pub raft: RaftHandle,
    /// The state.
    pub replica: Arc<Replica>,
    /// Where snapshots are received.
    pub state_dir: StateDir,
    /// The leases' deadlines, while this member leads.
    pub leases: LeaseKeeper,
    /// Confirms that the member list is the newest before a stranger is told of it.
    pub reads: ReadIndex,
    /// How long a quorum may take to confirm who leads.
    pub read_timeout: Duration,
    /// The log.
    pub log: WalHandle,
    /// Where appends wait while a snapshot is handed to the core.
    pub gate: AppendGate,
    /// Peers are answered one checksum at a time.
    pub checksums: tokio::sync::Mutex<()>,
    /// Takes members back that lost their logs, while this member leads.
    pub readmission: Readmission,
    /// Places of members that fetch the whole state.
    pub fetches: Arc<Semaphore>,
}

/// Members that may fetch the whole state at once: each holds a view of it.
pub const FETCHES_MAX: usize = 2;

/// Lets appends pass, except while a snapshot is being handed over. Clones share it.
///
/// A leader that sends a snapshot may have entries on their way that were sent before. If they reach the core
/// first and carry the log beyond the snapshot, the core must not be given the snapshot any more: it would move its
/// own record of what was submitted to the log backwards.
#[derive(Clone, Default)]
pub struct AppendGate(Arc<tokio::sync::Mutex<()>>);

impl AppendGate {
    async fn pass(&self) {
        drop(self.0.lock().await);
    }

    async fn close(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.0.clone().lock_owned().await
    }
}

/// Tells whoever watches that the leader will count on this member for everything up to `last`.
fn acknowledged(member: MemberId, last: Option<&RaftLogId>) {
    if let Some(last) = last {
        Witness::of(member).tell(|| Observation::Acknowledged { upto: log_id(last) });
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("member stopped: {error}"))
}

/// The leases a peer asks about.
fn lease_ids_in(ids: Vec<i64>) -> Result<Vec<LeaseId>, Status> {
    if ids.len() > limits::LEASE_GROUP_MAX {
        return Err(Status::invalid_argument(format!("{} leases in one call", ids.len())));
    }
    Ok(ids.into_iter().map(LeaseId).collect())
}

/// Whether a leader's log holds, at an index that was applied here, an entry of a later term than the one that was: what is
/// applied is committed, so it would be in that log. Consensus rules this out (Raft, section 5.4), as long as every member
/// has the log that it once promised by; who puts data directories together by hand can break that.
fn contradicts(request: &AppendEntriesRequest<TypeConfig>, applied: Option<LogId>) -> bool {
    let Some(applied) = applied else { return false };
    let entries = request.entries.iter().map(|entry| &entry.log_id);
    let mut held = request.prev_log_id.iter().chain(entries).map(log_id);
    held.any(|at| at.index <= applied.index && at.term > applied.term)
}

impl PeerFront {
    /// The answer to a snapshot that the core has, once this member cannot lose it any more: the leader takes it for an
    /// acknowledgement of all entries up to `last`.
    ///
    /// The core's own answer is not enough. While a snapshot is being installed its entries are in the core's books, and so
    /// are the ones behind it, which wait to be written until it stands; and a second copy of it is answered at once. An
    /// append with nothing in it is answered when all before it is durable.
    async fn secured(&self, vote: RaftVote, last: Option<RaftLogId>) -> Result<pb::SnapshotResponse, Status> {
        let nothing =
            AppendEntriesRequest { vote, prev_log_id: last, entries: Vec::new(), leader_commit: None };
        // The planted bug takes the core's books for the disk.
        if crate::mutant!("snapshot-answered-before-it-is-durable") {
            acknowledged(self.member, last.as_ref());
            return Ok(pb::SnapshotResponse { vote: Some(vote_out(&vote)) });
        }
        let vote = match self.raft.core().append_entries(nothing).await.map_err(stopped)? {
            AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => {
                acknowledged(self.member, last.as_ref());
                vote
            }
            AppendEntriesResponse::HigherVote(vote) => vote,
            AppendEntriesResponse::Conflict => {
                return Err(Status::unavailable("the log does not hold the snapshot's last entry any more"));
            }
        };
        Ok(pb::SnapshotResponse { vote: Some(vote_out(&vote)) })
    }

    async fn try_checksum(&self, request: pb::ChecksumRequest) -> Result<pb::ChecksumResponse, Status> {
        let _alone = self.checksums.lock().await;
        // The planted bug takes one that lags for one that lacks something.
        if !crate::mutant!("checksum-before-the-entry-is-applied")
            && !self.replica.applied().reached(request.applied).await
        {
            return Err(stopped("it was asked for a checksum"));
        }
        let asked = (Revision(request.revision), Revision(request.compacted));
        let (_, checksum) = self
            .replica
            .checksum(asked.0, asked.1)
            .await
            .inspect_err(|error| self.replica.fatal(&error.to_string()))
            .map_err(stopped)?;
        Ok(match checksum {
            Ok(HashKv { hash, compacted, .. }) => {
                pb::ChecksumResponse { outcome: Outcome::Hash.into(), hash, compacted: compacted.0 }
            }
            Err(CommandError::FutureRevision) => {
                pb::ChecksumResponse { outcome: Outcome::Behind.into(), ..pb::ChecksumResponse::default() }
            }
            Err(_) => pb::ChecksumResponse::default(),
        })
    }

    fn leader_hint(&self) -> u64 {
        self.raft.leader().unwrap_or_default().0
    }

    fn leads(&self) -> bool {
        self.raft.leader() == Some(self.member)
    }
}

#[tonic::async_trait]
impl PeerApi for PeerFront {
    fn member(&self) -> MemberId {
        self.member
    }

    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn is_removed(&self, member: MemberId) -> bool {
        // The list says first that a member is gone; until the configuration follows, it has a say, and without it
        // there may be no quorum to let it go.
        let removed = self.replica.state().members().is_removed(member) && !self.replica.has_a_say(member);
        // The planted bug goes on talking to who is gone.
        removed && !crate::mutant!("member-removed-still-admitted")
    }

    async fn append(&self, requests: AppendRequests) -> Result<AppendAnswers, Status> {
        // An entry of a kind that this version does not know ends the stream: it must not reach the log.
        let replica = self.replica.clone();
        let requests = requests.map(append_in).take_while(move |request| {
            if let Err(error) = request {
                tracing::error!(%error, "an append from a peer was refused");
            }
            let foreign = request.as_ref().is_ok_and(|request| contradicts(request, replica.applied().last()));
            if foreign {
                replica.fatal(
                    "the leader's log is not the one that this member's state came from: their data directories were \
                     not restored from one image",
                );
            }
            std::future::ready(request.is_ok() && !foreign)
        });
        let (gate, clock) = (self.gate.clone(), self.log.clock());
        let known = requests.filter_map(move |request| {
            let (gate, clock) = (gate.clone(), clock.clone());
            async move {
                crate::disturb!("an append is taken in late", &*clock);
                gate.pass().await;
                request.ok()
            }
        });
        let answers = self.raft.core().stream_append(known);
        let (contact, member) = (self.raft.contact().clone(), self.member);
        Ok(Box::pin(answers.map(move |answer| match answer {
            Ok(answer) => {
                if !matches!(answer, Err(StreamAppendError::HigherVote(_))) {
                    contact.heard();
                }
                if let Ok(matching) = &answer {
                    acknowledged(member, matching.as_ref());
                }
                Ok(append_result_out(&answer))
            }
            Err(fatal) => Err(stopped(fatal)),
        })))
    }

    async fn vote(&self, request: pb::VoteRequest) -> Result<pb::VoteResponse, Status> {
        let response = self.raft.core().vote(vote_request_in(&request)).await.map_err(stopped)?;
        Ok(vote_response_out(&response))
    }

    async fn pre_vote(&self, request: pb::VoteRequest) -> Result<pb::VoteResponse, Status> {
        let response = self.raft.core().pre_vote(vote_request_in(&request)).await.map_err(stopped)?;
        Ok(vote_response_out(&response))
    }

    async fn install_snapshot(
        &self,
        header: pb::SnapshotHeader,
        mut parts: SnapshotParts,
    ) -> Result<pb::SnapshotResponse, Status> {
        let damaged = |what: String| Status::data_loss(format!("snapshot: {what}"));
        let mut staging = self.state_dir.staging().await.map_err(|error| damaged(error.to_string()))?;
        let mut receiving = Receiving::default();
        let mut chunks = 0_u64;
        loop {
            match parts.next().await.transpose()?.and_then(|part| part.part) {
                Some(Part::Chunk(bytes)) => {
                    chunks += 1;
                    // Offered a few times a transfer, not at every chunk: a long one must have a chance to end.
                    if chunks.is_power_of_two() && crate::buggify!("a snapshot is given up half received") {
                        return Err(Status::unavailable("snapshot: given up"));
                    }
                    crate::disturb!("a snapshot's part is taken in late", self.replica.clock());
                    if receiving.take(&mut staging, &bytes).await.map_err(damaged)? {
                        break;
                    }
                }
                Some(Part::Header(_)) | None => return Err(damaged("it ended early".to_owned())),
            }
        }
        let membership_id = header.membership_id.as_ref().map(own_log_id_in);
        let membership = decode_stored_membership(membership_id, &header.membership).map_err(damaged)?;
        let meta =
            SnapshotMeta { last_log_id: header.last.as_ref().map(log_id_in), last_membership: membership };
        let vote = vote_in(header.vote.as_ref());
        let last = meta.last_log_id;
        // Appends wait until the core has the snapshot, or they could carry the log past it in between.
        let closed = self.gate.close().await;
        // The planted bug hands over every snapshot, also one that the log has overtaken.
        if !crate::mutant!("snapshot-behind-the-log-installed") && self.raft.follows_with(vote, last).await {
            crate::sometimes!("the log was ahead of a snapshot");
            drop(closed);
            return self.secured(vote, last).await;
        }
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Incoming(Box::new(staging)) };
        let mut installed = Box::pin(self.raft.core().install_full_snapshot(vote, snapshot));
        // The core takes snapshots and questions by different ways: it is asked until it has this one, or is done
        // with it.
        let response = loop {
            let has_it = Box::pin(self.raft.knows_snapshot(last));
            match select(installed.as_mut(), has_it).await {
                Either::Left((response, _)) => break response,
                Either::Right((false, _)) => {}
                Either::Right((true, _)) => {
                    drop(closed);
                    break installed.await;
                }
            }
        };
        let refused_by = response.map_err(stopped)?.vote;
        if refused_by != vote {
            return Ok(pb::SnapshotResponse { vote: Some(vote_out(&refused_by)) });
        }
        self.secured(vote, last).await
    }

    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Status> {
        let from = vote_in(request.from.as_ref());
        let last = request.last.as_ref().map(log_id_in);
        let request = openraft::raft::TransferLeaderRequest::new(from, request.to, last);
        let refused = self.raft.core().handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(pb::TransferLeaderResponse {
            refused: match refused {
                Ok(()) => None,
                Err(openraft::raft::TransferLeaderError::VoteChanged { actual, .. }) => {
                    Some(vote_out(&actual))
                }
                Err(openraft::raft::TransferLeaderError::LogNotFlushed { .. }) => Some(pb::Vote::default()),
            },
        })
    }

    async fn forward(&self, request: pb::ForwardRequest) -> Result<pb::ForwardResponse, Status> {
        let batch = decode_batch(request.batch).map_err(Status::invalid_argument)?;
        crate::disturb!("a forwarded batch is taken in late", self.replica.clock());
        let outcome = match self.raft.write(batch).await {
            Ok(()) => {
                crate::disturb!("a forwarded batch is answered late", self.replica.clock());
                if crate::buggify!("the answer to a forwarded batch is lost") {
                    return Err(Status::unavailable("answer lost"));
                }
                Forwarded::Committed
            }
            Err(WriteError::NotLeader(_)) => Forwarded::NotLeader,
            Err(WriteError::Unknown | WriteError::Stopped) => Forwarded::Unknown,
        };
        Ok(pb::ForwardResponse { outcome: outcome.into(), leader: self.leader_hint() })
    }

    async fn read_index(&self) -> Result<pb::ReadIndexResponse, Status> {
        let id = self.raft.read_index(self.read_timeout).await;
        Ok(pb::ReadIndexResponse {
            leading: id.is_some(),
            id: id.map(|id| pb::LogId { term: id.term.0, index: id.index.0 }),
            leader: self.leader_hint(),
        })
    }

    async fn confirm(&self, leader: MemberId, term: Term) -> Result<pb::ConfirmResponse, Status> {
        Ok(pb::ConfirmResponse { confirmed: self.raft.agrees(leader, term).await })
    }

    async fn lease_renew(&self, request: pb::LeaseRenewRequest) -> Result<pb::LeaseRenewResponse, Status> {
        let ids = lease_ids_in(request.leases)?;
        let ttls = if self.leads() { self.leases.renew(&ids).await } else { None };
        Ok(pb::LeaseRenewResponse {
            leading: ttls.is_some(),
            ttls: ttls.map(ttls_out).unwrap_or_default(),
            leader: self.leader_hint(),
        })
    }

    async fn lease_remaining(
        &self,
        request: pb::LeaseRemainingRequest,
    ) -> Result<pb::LeaseRemainingResponse, Status> {
        let ids = lease_ids_in(request.leases)?;
        let remaining = if self.leads() { self.leases.remaining(&ids).await } else { None };
        Ok(pb::LeaseRemainingResponse {
            leading: remaining.is_some(),
            remaining: remaining.map(remaining_out).unwrap_or_default(),
            leader: self.leader_hint(),
        })
    }

    async fn followers(&self) -> Result<pb::FollowersResponse, Status> {
        let followers = self.raft.followers();
        Ok(pb::FollowersResponse {
            leading: followers.is_some(),
            leader: self.leader_hint(),
            ..followers.map(followers_out).unwrap_or_default()
        })
    }

    async fn checksum(&self, request: pb::ChecksumRequest) -> Result<pb::ChecksumResponse, Status> {
        let answered =
            within(self.replica.clock(), limits::CHECKSUM_TIMEOUT, self.try_checksum(request)).await;
        answered.unwrap_or(Ok(pb::ChecksumResponse::default()))
    }

    async fn compaction_hashes(&self) -> Result<pb::CompactionHashesResponse, Status> {
        let hashes = self.replica.compaction_hashes();
        Ok(pb::CompactionHashesResponse { hashes: hashes.into_iter().map(compaction_hash_out).collect() })
    }

    async fn discover(&self) -> Result<pb::DiscoverResponse, Status> {
        // A list that lags may know the one before at the stranger's place as one that has never run, and the stranger
        // would take its id. The planted bug answers with the list that is there.
        if !crate::mutant!("discover-answered-from-behind") {
            let current = within(&*self.log.clock(), self.read_timeout, self.reads.linearizable()).await;
            current
                .unwrap_or(Err(ReadError::Timeout))
                .map_err(|error| Status::unavailable(error.to_string()))?;
        }
        let state = self.replica.state();
        let members = state.members().iter().map(|member| pb::PeerMember {
            id: member.id.0,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
        });
        Ok(pb::DiscoverResponse { cluster: self.cluster.0, members: members.collect() })
    }

    async fn hello(&self, from: MemberId) -> Result<pb::HelloResponse, Status> {
        let removed = self.is_removed(from);
        let fate = fate(self.replica.state().members(), from, removed);
        let level = STORAGE_VERSION.to_owned();
        Ok(pb::HelloResponse { cluster: self.cluster.0, member: self.member.0, fate: fate.into(), level })
    }

    async fn fetch_snapshot(&self) -> Result<SentSnapshot, Status> {
        let place = self.fetches.clone().try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("others are fetching the state"))?;
        let parts = snapshot::whole_state(&self.replica).await.map_err(Status::unavailable)?;
        Ok(Box::pin(snapshot::until_stalled(self.log.clock(), parts, place).map(Ok)))
    }

    async fn readmit(&self, lost: MemberId, peer_urls: Vec<String>) -> Result<pb::ReadmitResponse, Status> {
        use pb::readmit_response::Outcome;
        let leader = self.leader_hint();
        let readmitted = if self.leads() {
            self.readmission.readmit(lost, &peer_urls).await
        } else {
            Err(Hindrance::NotLeader)
        };
        let (outcome, member, why) = match readmitted {
            Ok(member) => (Outcome::Readmitted, member.0, String::new()),
            Err(Hindrance::NotLeader) => (Outcome::NotLeader, 0, String::new()),
            Err(why) => (Outcome::NotNow, 0, why.to_string()),
        };
        Ok(pb::ReadmitResponse { outcome: outcome.into(), leader, member, why })
    }
}

/// What became of `member`, by the member list and by whether the cluster goes on without it.
fn fate(list: &Members, member: MemberId, removed: bool) -> pb::Fate {
    match list.get(member) {
        _ if removed => pb::Fate::Removed,
        _ if list.is_removed(member) => pb::Fate::Leaving,
        // Its name came from itself.
        Some(listed) if !listed.name.is_empty() => pb::Fate::HasRun,
        Some(_) | None => pb::Fate::NotRun,
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry as _;

    use super::*;
    use crate::machine::command::Member;
    use crate::raft::types::{RaftEntry, raft_log_id};
    use crate::types::LogIndex;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    #[test]
    fn a_log_that_this_state_did_not_come_from_is_recognised() {
        let request = |prev: Option<LogId>, entries: &[LogId]| AppendEntriesRequest::<TypeConfig> {
            vote: RaftVote::new_committed(9, 1),
            prev_log_id: prev.map(raft_log_id),
            entries: entries.iter().map(|at| RaftEntry::new_blank(raft_log_id(*at))).collect(),
            leader_commit: None,
        };
        let applied = Some(id(3, 100));
        for (prev, entries, foreign) in [
            (Some(id(3, 100)), vec![id(4, 101)], false),
            (Some(id(3, 98)), vec![id(3, 99), id(3, 100), id(4, 101)], false),
            (Some(id(2, 50)), vec![id(2, 51)], false),
            (None, vec![], false),
            (Some(id(3, 98)), vec![id(3, 99), id(4, 100)], true),
            (Some(id(4, 99)), vec![], true),
        ] {
            let request = request(prev, &entries);
            assert_eq!(contradicts(&request, applied), foreign, "{prev:?} {entries:?}");
            assert!(!contradicts(&request, None), "nothing is applied");
        }
    }

    #[test]
    fn a_member_hears_what_became_of_it() {
        let id = MemberId(5);
        let mut list = Members::default();
        assert_eq!(fate(&list, id, false), pb::Fate::NotRun, "nobody has founded the cluster");
        list.put(Member { id, ..Member::default() });
        assert_eq!(fate(&list, id, false), pb::Fate::NotRun, "it has no name yet");
        list.put(Member { id, name: "m5".to_owned(), ..Member::default() });
        assert_eq!(fate(&list, id, false), pb::Fate::HasRun);
        list.remove(id);
        assert_eq!(fate(&list, id, false), pb::Fate::Leaving, "its vote may be needed to let it go");
        assert_eq!(fate(&list, id, true), pb::Fate::Removed);
    }
}
