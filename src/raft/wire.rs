//! The consensus core's messages as peers exchange them.

use crate::pb::peer as pb;
use crate::raft::codec::{encode_payload, from_wal};
use crate::raft::types::{RaftLogId, RaftVote, TypeConfig};
use crate::types::{LogId, LogIndex, Term};

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
