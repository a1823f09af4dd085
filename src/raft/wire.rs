//! The consensus core's messages as peers exchange them.

use std::time::Duration;

use crate::pb::peer as pb;
use crate::raft::codec::{encode_payload, from_wal};
use crate::raft::compaction_hashes::CompactionHash;
use crate::raft::membership::{Follower, Followers};
use crate::raft::types::{RaftLogId, RaftVote, TypeConfig};
use crate::types::{LogId, LogIndex, MemberId, Revision, Term};

/// An append request of the core.
pub type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
/// The core's answer to one append request.
pub type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
/// A vote request of the core.
pub type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
/// The core's answer to a vote request.
pub type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;

/// A log id for the wire.
pub fn log_id_out(id: &RaftLogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, index: id.index }
}

/// A log id from the wire.
pub fn log_id_in(id: &pb::LogId) -> RaftLogId {
    RaftLogId::new_term_index(id.term, id.index)
}

/// Our log id from the wire.
pub fn own_log_id_in(id: &pb::LogId) -> LogId {
    LogId { term: Term(id.term), index: LogIndex(id.index) }
}

/// A vote for the wire.
pub fn vote_out(vote: &RaftVote) -> pb::Vote {
    let leader = vote.leader_id();
    pb::Vote { term: leader.term, member: leader.voted_for, committed: vote.is_committed() }
}

/// A vote from the wire; absent is the lowest vote.
pub fn vote_in(vote: Option<&pb::Vote>) -> RaftVote {
    match vote {
        Some(vote) if vote.committed => RaftVote::new_committed(vote.term, vote.member),
        Some(vote) => RaftVote::new(vote.term, vote.member),
        None => RaftVote::new(0, 0),
    }
}

/// An append request for the wire.
pub fn append_out(request: &AppendRequest, sender: Option<pb::Sender>) -> pb::AppendRequest {
    pb::AppendRequest {
        sender,
        vote: Some(vote_out(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_out),
        entries: request
            .entries
            .iter()
            .map(|entry| pb::Entry {
                id: Some(log_id_out(&entry.log_id)),
                payload: encode_payload(&entry.payload),
            })
            .collect(),
        committed: request.leader_commit.as_ref().map(log_id_out),
    }
}

/// An append request from the wire.
///
/// # Errors
/// When an entry has no id or a payload that this version does not know.
pub fn append_in(request: pb::AppendRequest) -> Result<AppendRequest, String> {
    let entries = request
        .entries
        .into_iter()
        .map(|entry| {
            let id = entry.id.as_ref().map(own_log_id_in).ok_or_else(|| "an entry has no id".to_owned())?;
            from_wal(id, entry.payload).map_err(|error| error.to_string())
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(AppendRequest {
        vote: vote_in(request.vote.as_ref()),
        prev_log_id: request.previous.as_ref().map(log_id_in),
        entries,
        leader_commit: request.committed.as_ref().map(log_id_in),
    })
}

/// The answer to an append request, for the wire.
pub fn append_result_out(result: &AppendResult) -> pb::AppendResponse {
    use pb::append_response::Outcome;
    let outcome = match result {
        Ok(matching) => Outcome::Matching(pb::Matching { id: matching.as_ref().map(log_id_out) }),
        Err(openraft::raft::StreamAppendError::Conflict(at)) => Outcome::Conflict(log_id_out(at)),
        Err(openraft::raft::StreamAppendError::HigherVote(vote)) => Outcome::Higher(vote_out(vote)),
    };
    pb::AppendResponse { outcome: Some(outcome) }
}

/// The answer to an append request, from the wire; `None` when it says nothing.
pub fn append_result_in(response: &pb::AppendResponse) -> Option<AppendResult> {
    use pb::append_response::Outcome;
    Some(match response.outcome.as_ref()? {
        Outcome::Matching(matching) => Ok(matching.id.as_ref().map(log_id_in)),
        Outcome::Conflict(at) => Err(openraft::raft::StreamAppendError::Conflict(log_id_in(at))),
        Outcome::Higher(vote) => Err(openraft::raft::StreamAppendError::HigherVote(vote_in(Some(vote)))),
    })
}

/// How followers stand, for the wire; whether and who leads is the caller's to add.
pub fn followers_out(followers: Followers) -> pb::FollowersResponse {
    let follower = |(member, follower): (MemberId, Follower)| pb::Follower {
        member: member.0,
        matched: follower.matched.unwrap_or(0),
        silent_ms_plus_one: follower.silent_for.map_or(0, |silence| millis(silence).saturating_add(1)),
    };
    pb::FollowersResponse {
        last: followers.last,
        followers: followers.by_id.into_iter().map(follower).collect(),
        ..pb::FollowersResponse::default()
    }
}

/// How followers stand, from the wire; `None` when the answering member does not lead.
pub fn followers_in(response: &pb::FollowersResponse) -> Option<Followers> {
    let follower = |follower: &pb::Follower| {
        let seen = Follower {
            matched: Some(follower.matched).filter(|matched| *matched > 0),
            silent_for: follower.silent_ms_plus_one.checked_sub(1).map(Duration::from_millis),
        };
        (MemberId(follower.member), seen)
    };
    let by_id = response.followers.iter().map(follower).collect();
    response.leading.then_some(Followers { last: response.last, by_id })
}

/// A compaction's hash for the wire.
pub fn compaction_hash_out(hash: CompactionHash) -> pb::CompactionHash {
    let CompactionHash { entry, compacted, hash } = hash;
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    pb::CompactionHash {
        entry: Some(pb::LogId { term: entry.term.0, index: entry.index.0 }),
        compacted: compacted.0,
        hash_high: half(hash >> 64),
        hash_low: half(hash),
    }
}

/// A compaction's hash from the wire; `None` when it is of no entry.
pub fn compaction_hash_in(hash: &pb::CompactionHash) -> Option<CompactionHash> {
    Some(CompactionHash {
        entry: own_log_id_in(hash.entry.as_ref()?),
        compacted: Revision(hash.compacted),
        hash: u128::from(hash.hash_high) << 64 | u128::from(hash.hash_low),
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A vote request for the wire.
pub fn vote_request_out(request: &VoteRequest, sender: Option<pb::Sender>) -> pb::VoteRequest {
    pb::VoteRequest {
        sender,
        vote: Some(vote_out(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_out),
        leadership_transfer: request.leadership_transfer,
    }
}

/// A vote request from the wire.
pub fn vote_request_in(request: &pb::VoteRequest) -> VoteRequest {
    let mut own = VoteRequest::new(vote_in(request.vote.as_ref()), request.last.as_ref().map(log_id_in));
    own.leadership_transfer = request.leadership_transfer;
    own
}

/// The answer to a vote request, for the wire.
pub fn vote_response_out(response: &VoteResponse) -> pb::VoteResponse {
    pb::VoteResponse {
        vote: Some(vote_out(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(log_id_out),
    }
}

/// The answer to a vote request, from the wire.
pub fn vote_response_in(response: &pb::VoteResponse) -> VoteResponse {
    let last = response.last.as_ref().map(log_id_in);
    VoteResponse::new(vote_in(response.vote.as_ref()), last, response.granted)
}
