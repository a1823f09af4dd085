//! Keys and values: ranges, puts, deletions, transactions, compaction.

use std::pin::Pin;

use futures_util::stream::{Stream, StreamExt, unfold};
use tonic::{Request, Response, Status};

use crate::machine::check::check_txn;
use crate::machine::command::{Answer, Command, Reply};
use crate::machine::txn::is_read_only;
use crate::member::{Credential, Pieces};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::kv_server::Kv;
use crate::service::call::Calls;
use crate::service::convert;
use crate::service::status::ApiError;
use crate::types::Revision;

/// The service.
pub struct KvService {
    calls: Calls,
}

/// The answers of a streamed range.
type RangeAnswers = Pin<Box<dyn Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send>>;

impl KvService {
    /// Serves the keys of a member.
    pub fn new(calls: Calls) -> KvService {
        KvService { calls }
    }

    /// Proposes a client's command; its header and reply.
    async fn propose(
        &self,
        who: &Credential,
        command: Command,
    ) -> Result<(pb::ResponseHeader, Reply), Status> {
        let answer = self.calls.member().propose_for(who, command).await;
        let Answer { revision, result } = answer.map_err(ApiError::from)?;
        let reply = result.map_err(ApiError::from)?;
        Ok((self.calls.header(revision), reply))
    }

    async fn read(&self, who: &Credential, request: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        let linearizable = !request.serializable;
        let range = convert::range(request)?;
        let (revision, reply) =
            self.calls.member().range(who, range, linearizable).await.map_err(ApiError::from)?;
        let reply = reply.map_err(ApiError::from)?;
        Ok(convert::range_response(self.calls.header(revision), reply))
    }

    async fn transact(&self, who: &Credential, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let linearizable = convert::is_linearizable(&request);
        let txn = convert::txn(request)?;
        let member = self.calls.member();
        check_txn(&txn, member.config().knobs.max_txn_ops).map_err(ApiError::from)?;
        if is_read_only(&txn) {
            let (revision, reply) = member.read_txn(who, &txn, linearizable).await.map_err(ApiError::from)?;
            let reply = reply.map_err(ApiError::from)?;
            return Ok(convert::reply_of_txn(self.calls.header(revision), reply));
        }
        match self.propose(who, Command::Txn(txn)).await? {
            (header, Reply::Txn(reply)) => Ok(convert::reply_of_txn(header, reply)),
            (_, reply) => Err(unexpected(&reply)),
        }
    }

    async fn compaction(
        &self,
        who: &Credential,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Status> {
        let (header, _) = self.propose(who, Command::Compact(convert::compact(&request))).await?;
        if request.physical {
            self.calls.member().sweep().await;
        }
        Ok(pb::CompactionResponse { header: Some(header) })
    }
}

/// The machine answered something else than it was asked: a bug, told rather than hidden.
pub(super) fn unexpected(reply: &Reply) -> Status {
    Status::internal(format!("an answer of another kind: {reply:?}"))
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let who = self.calls.who(&metadata, &extensions);
        // The one read that a learner answers: from its own state, as the client has asked for.
        let answer = if request.serializable {
            self.calls.unary_on_learner(&metadata, self.read(&who, request)).await
        } else {
            self.calls.unary(&metadata, self.read(&who, request)).await
        };
        answer.map(Response::new)
    }

    type RangeStreamStream = RangeAnswers;

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<RangeAnswers>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let linearizable = !request.serializable;
        let range = convert::range(request)?;
        if !convert::is_streamable(&range) {
            return Err(Status::unimplemented(
                "a streamed range is in key order and without revision filters",
            ));
        }
        let begun = async {
            let who = self.calls.who(&metadata, &extensions);
            let begun = self.calls.member().range_pieces(&who, range, linearizable).await;
            let (revision, pieces) = begun.map_err(ApiError::from)?;
            Ok((revision, pieces.map_err(ApiError::from)?))
        };
        let (revision, pieces) = self.calls.unary(&metadata, begun).await?;
        Ok(Response::new(answers(self.calls.clone(), revision, pieces)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let answer = async {
            match self
                .propose(&self.calls.who(&metadata, &extensions), Command::Put(convert::put(request)?))
                .await?
            {
                (header, Reply::Put { prev_kv }) => {
                    Ok(pb::PutResponse { header: Some(header), prev_kv: prev_kv.map(convert::key_value) })
                }
                (_, reply) => Err(unexpected(&reply)),
            }
        };
        self.calls.unary(&metadata, answer).await.map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let answer = async {
            let command = Command::DeleteRange(convert::delete_range(request)?);
            match self.propose(&self.calls.who(&metadata, &extensions), command).await? {
                (header, Reply::DeleteRange { deleted, prev_kvs }) => Ok(pb::DeleteRangeResponse {
                    header: Some(header),
                    deleted,
                    prev_kvs: prev_kvs.into_iter().map(convert::key_value).collect(),
                }),
                (_, reply) => Err(unexpected(&reply)),
            }
        };
        self.calls.unary(&metadata, answer).await.map(Response::new)
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.transact(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.calls
            .unary(&metadata, self.compaction(&self.calls.who(&metadata, &extensions), request))
            .await
            .map(Response::new)
    }
}

/// The pieces of a range as the client gets them; header and totals are in the last one.
fn answers(calls: Calls, revision: Revision, pieces: Pieces) -> RangeAnswers {
    let answers = unfold(Some(pieces), move |pieces| {
        let calls = calls.clone();
        async move {
            let mut pieces = pieces?;
            let piece = match calls.member().next_piece(&mut pieces).await {
                Ok(Ok(piece)) => piece?,
                Ok(Err(refused)) => return Some((Err(ApiError::from(refused).into()), None)),
                Err(error) => return Some((Err(ApiError::from(error).into()), None)),
            };
            let (count, more) = piece.total.unwrap_or_default();
            let response = pb::RangeResponse {
                header: piece.total.map(|_| calls.header(revision)),
                kvs: piece.kvs.into_iter().map(convert::key_value).collect(),
                more,
                count,
            };
            Some((Ok(pb::RangeStreamResponse { range_response: Some(response) }), Some(pieces)))
        }
    });
    answers.boxed()
}
