//! How the consensus core reaches its peers: append streams, votes, snapshots, leadership transfer.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt, once, unfold};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
};
use openraft::type_config::alias;
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2, Snapshot};

use crate::env::{Clock, within};
use crate::pb::peer as pb;
use crate::peer::{PeerError, Peers};
use crate::raft::lent::{Loan, lend};
use crate::raft::log_store::Refusals;
use crate::raft::snapshot::SnapshotData;
use crate::raft::types::{PeerNode, RaftVote, TypeConfig, log_id};
use crate::raft::wire::{
    AppendRequest, AppendResult, VoteRequest, VoteResponse, append_out, append_result_in, log_id_out,
    vote_in, vote_out, vote_request_out, vote_response_in,
};
use crate::types::MemberId;

type CoreError = RPCError<TypeConfig>;

/// How long the peers may take, in this member's own time.
#[derive(Clone, Copy, Debug)]
pub struct NetworkTimeouts {
    /// An append that stays unanswered this long ends its stream.
    pub append: Duration,
    /// A whole snapshot transfer.
    pub snapshot: Duration,
}

/// Makes a connection to each peer that the core wants to talk to.
#[derive(Clone)]
pub struct Network {
    peers: Peers,
    clock: Arc<dyn Clock>,
    timeouts: NetworkTimeouts,
    refusals: Refusals,
}

/// One connection to one peer.
pub struct Connection {
    network: Network,
    target: MemberId,
}

impl Network {
    /// Reaches peers through `peers`, with entries of the log that `refusals` belong to.
    pub fn new(
        peers: Peers,
        clock: Arc<dyn Clock>,
        timeouts: NetworkTimeouts,
        refusals: Refusals,
    ) -> Network {
        Network { peers, clock, timeouts, refusals }
    }

    /// The peers it reaches.
    pub fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// The clock that its deadlines are measured on.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Connection {
        let target = MemberId(target);
        if !node.urls.is_empty() {
            self.peers.learn(target, &node.urls);
        }
        Connection { network: self.clone(), target }
    }
}

impl Connection {
    async fn open_append<S>(
        &self,
        input: S,
    ) -> Result<BoxStream<'static, Result<AppendResult, CoreError>>, CoreError>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let timeout = self.network.timeouts.append;
        let sent = Arc::new(Sent::default());
        let (input, loan) = lend(input);
        let requests = requests(input, sent.clone(), self);
        let responses = self
            .network
            .peers
            .append(self.target, timeout, requests)
            .await
            .map_err(|error| self.error(&error, RPCTypes::AppendEntries, timeout))?;
        let clock = self.network.clock.clone();
        Ok(answers(responses, sent, loan, clock, self.target, timeout).boxed())
    }

    fn error(&self, error: &PeerError, action: RPCTypes, timeout: Duration) -> CoreError {
        match error {
            PeerError::Timeout(member) => Timeout { action, id: 0, target: member.0, timeout }.into(),
            PeerError::Unreachable { .. } => NetworkError::new(error).into(),
            PeerError::UnknownMember(_) | PeerError::Refused { .. } | PeerError::Removed(_) => {
                Unreachable::new(error).into()
            }
        }
    }
}

/// What the sending half of an append stream tells the receiving one.
#[derive(Default)]
struct Sent {
    /// How many requests went out.
    count: AtomicU64,
    /// Whether the sender stopped because the follower needs entries that are purged.
    ended_by_purge: AtomicBool,
}

/// The requests of one stream, up to the first that should carry entries and cannot because they are purged.
///
/// The core clears such a stream's way only when it ends with an error; it then finds by itself that the
/// follower needs a snapshot.
fn requests<S: Stream<Item = AppendRequest> + Send + 'static>(
    input: S,
    sent: Arc<Sent>,
    connection: &Connection,
) -> impl Stream<Item = pb::AppendRequest> + Send + 'static + use<S> {
    let target = connection.target;
    let sender = connection.network.peers.sender(target);
    let refusals = connection.network.refusals.clone();
    let readable = input.scan((), move |(), request| {
        // The planted bug goes on asking.
        let purged = request.entries.is_empty()
            && refusals.take(request.prev_log_id.as_ref())
            && !crate::mutant!("stream-asks-for-purged-entries-for-ever");
        if purged {
            tracing::debug!(%target, prev = ?request.prev_log_id, "a follower needs entries that are purged");
            sent.ended_by_purge.store(true, Ordering::Relaxed);
        } else {
            sent.count.fetch_add(1, Ordering::Relaxed);
        }
        ready((!purged).then_some(request))
    });
    readable.map(move |request| append_out(&request, sender))
}

/// Reads answers off an append stream; ends it when a request stays unanswered for too long. An idle stream,
/// with nothing to answer, may stay open for ever. The requests are taken back with the last answer.
fn answers<S: Send>(
    responses: tonic::Streaming<pb::AppendResponse>,
    sent: Arc<Sent>,
    requests: Loan<S>,
    clock: Arc<dyn Clock>,
    target: MemberId,
    timeout: Duration,
) -> impl Stream<Item = Result<AppendResult, CoreError>> + Send {
    unfold(Some((responses, 0_u64, requests)), move |state| {
        let (sent, clock) = (sent.clone(), clock.clone());
        async move {
            let (mut responses, received, requests) = state?;
            loop {
                // What is sent while this waits has its own time.
                let due = sent.count.load(Ordering::Relaxed);
                let Some(next) = within(&*clock, timeout, responses.next()).await else {
                    if due > received {
                        let error =
                            Timeout { action: RPCTypes::AppendEntries, id: 0, target: target.0, timeout };
                        return Some((Err(error.into()), None));
                    }
                    continue;
                };
                let Some(next) = next else {
                    let purged = sent.ended_by_purge.load(Ordering::Relaxed);
                    let error = || NetworkError::from_string("the entries that follow are purged").into();
                    return purged.then(|| (Err(error()), None));
                };
                return match next {
                    Ok(response) => match append_result_in(&response) {
                        Some(Ok(matching)) => {
                            Some((Ok(Ok(matching)), Some((responses, received + 1, requests))))
                        }
                        Some(Err(refused)) => Some((Ok(Err(refused)), None)),
                        None => Some((Err(NetworkError::from_string("empty append answer").into()), None)),
                    },
                    Err(status) => {
                        Some((Err(NetworkError::from_string(status.message().to_owned()).into()), None))
                    }
                };
            }
        }
    })
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, CoreError> {
        let input = Box::pin(once(ready(request)));
        let mut answers = self.open_append(input).await?;
        match answers.next().await {
            Some(answer) => Ok(AppendEntriesResponse::from(answer?)),
            None => Err(NetworkError::from_string("the append stream ended without an answer").into()),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<AppendResult, CoreError>>, CoreError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let answers = self.open_append(input).await?;
            // Requests go out, and nobody looks at the answers yet, nor at what the core wants meanwhile.
            crate::disturb!("an append stream is known to be open late", &*self.network.clock);
            Ok(answers)
        })
    }

    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, CoreError> {
        let (peers, timeout) = (&self.network.peers, option.hard_ttl());
        let request = vote_request_out(&request, peers.sender(self.target));
        crate::disturb!("a vote is asked for late", &*self.network.clock);
        let response = peers.vote(self.target, timeout, request).await;
        let response = response.map_err(|error| self.error(&error, RPCTypes::Vote, timeout))?;
        Ok(vote_response_in(&response))
    }

    async fn pre_vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, CoreError> {
        let (peers, timeout) = (&self.network.peers, option.hard_ttl());
        let request = vote_request_out(&request, peers.sender(self.target));
        let response = peers.pre_vote(self.target, timeout, request).await;
        let response = response.map_err(|error| self.error(&error, RPCTypes::Vote, timeout))?;
        Ok(vote_response_in(&response))
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: Snapshot<alias::CommittedLeaderIdOf<TypeConfig>, u64, PeerNode, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let timeout = self.network.timeouts.snapshot;
        let header = pb::SnapshotHeader {
            sender: self.network.peers.sender(self.target),
            vote: Some(vote_out(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(log_id_out),
            membership_id: snapshot.meta.last_membership.log_id().as_ref().map(log_id_out),
            membership: crate::raft::codec::encode_membership(snapshot.meta.last_membership.membership()),
        };
        let last = snapshot.meta.last_log_id.as_ref().map(log_id).unwrap_or_default();
        let parts = snapshot.snapshot.into_parts(header, last).map_err(|error| {
            StreamingError::Network(NetworkError::from_string(format!("snapshot at {last}: {error}")))
        })?;
        let sending = self.network.peers.install_snapshot(self.target, timeout, parts);
        let mut cancel = std::pin::pin!(cancel);
        let mut sending = std::pin::pin!(sending);
        let outcome = std::future::poll_fn(|context| {
            if let std::task::Poll::Ready(closed) = cancel.as_mut().poll(context) {
                return std::task::Poll::Ready(Err(closed));
            }
            sending.as_mut().poll(context).map(Ok)
        })
        .await;
        match outcome {
            Err(closed) => {
                crate::sometimes!("a snapshot's sending was called off");
                Err(StreamingError::Closed(closed))
            }
            Ok(Ok(response)) => Ok(SnapshotResponse::new(vote_in(response.vote.as_ref()))),
            Ok(Err(PeerError::Timeout(member))) => Err(StreamingError::Timeout(Timeout {
                action: RPCTypes::InstallSnapshot,
                id: 0,
                target: member.0,
                timeout,
            })),
            Ok(Err(error)) => {
                crate::sometimes!("a snapshot's sending broke off");
                tracing::debug!(target_member = %self.target, %error, "a snapshot's sending broke off");
                Err(StreamingError::Unreachable(Unreachable::new(&error)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, CoreError> {
        let timeout = option.hard_ttl();
        let message = pb::TransferLeaderRequest {
            sender: self.network.peers.sender(self.target),
            from: Some(vote_out(request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().map(log_id_out),
        };
        let response = self.network.peers.transfer_leader(self.target, timeout, message).await;
        let response = response.map_err(|error| self.error(&error, RPCTypes::TransferLeader, timeout))?;
        Ok(match response.refused {
            None => Ok(()),
            Some(vote) => Err(openraft::raft::TransferLeaderError::VoteChanged {
                expected: *request.from_leader(),
                actual: vote_in(Some(&vote)),
            }),
        })
    }

    fn backoff(&self) -> Option<Backoff> {
        // Short and bounded: a peer that comes back is used again within a fraction of an election timeout.
        const FIRST_MS: u64 = 20;
        const MAX_MS: u64 = 300;
        Some(Backoff::new(
            (0_u32..).map(|attempt| {
                Duration::from_millis(FIRST_MS.saturating_mul(1 << attempt.min(8)).min(MAX_MS))
            }),
        ))
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use futures_util::stream::iter;
    use openraft::storage::RaftLogReader;

    use super::*;
    use crate::env::Env;
    use crate::peer::Dialer;
    use crate::raft::log_store::tests::{entry, id, purged_up_to_3};
    use crate::types::ClusterId;

    fn request(prev: u64, entries: &[u64]) -> AppendRequest {
        AppendRequest {
            vote: openraft::Vote::new_committed(2, 1),
            prev_log_id: Some(id(prev)),
            entries: entries.iter().map(|index| entry(*index)).collect(),
            leader_commit: None,
        }
    }

    #[tokio::test]
    async fn a_stream_ends_at_entries_that_are_purged_and_not_at_a_heartbeat() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = purged_up_to_3(dir.path()).unwrap();
        let clock = Env::real().unwrap().clock;
        let timeouts = NetworkTimeouts { append: Duration::from_secs(1), snapshot: Duration::from_secs(1) };
        let peers = Peers::new(clock.clone(), Dialer::default(), ClusterId(1), MemberId(1));
        let network = Network::new(peers, clock, timeouts, log.refusals());
        let connection = Connection { network, target: MemberId(2) };
        let sent = Arc::new(Sent::default());

        assert!(log.limited_get_log_entries(2, 9).await.unwrap().is_empty());
        // A heartbeat, entries, and what the core makes of a refusal; it would go on after that for ever.
        let asked = [request(5, &[]), request(5, &[6, 7]), request(1, &[]), request(1, &[])];
        let passed: Vec<pb::AppendRequest> =
            requests(iter(asked), Arc::clone(&sent), &connection).collect().await;
        assert_eq!(passed.iter().map(|request| request.entries.len()).collect::<Vec<_>>(), [0, 2]);
        assert!(sent.ended_by_purge.load(Ordering::Relaxed));
        assert_eq!(sent.count.load(Ordering::Relaxed), 2);
    }
}
