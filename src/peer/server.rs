//! Calls from peers: checks who is asking, then hands over to [`PeerApi`].

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::pb::peer as pb;
use crate::pb::peer::peer_server::Peer;
use crate::peer::removal;
use crate::types::{ClusterId, MemberId, Term};

/// Requests of an append stream, as they come in.
pub type AppendRequests = Pin<Box<dyn Stream<Item = pb::AppendRequest> + Send>>;
/// Answers of an append stream.
pub type AppendAnswers = Pin<Box<dyn Stream<Item = Result<pb::AppendResponse, Status>> + Send>>;
/// Parts of a snapshot after its header.
pub type SnapshotParts = Pin<Box<dyn Stream<Item = Result<pb::SnapshotPart, Status>> + Send>>;

/// A whole state on its way to the member that asked for it.
pub type SentSnapshot = Pin<Box<dyn Stream<Item = Result<pb::SnapshotPart, Status>> + Send>>;

/// What a member does for its peers.
#[tonic::async_trait]
pub trait PeerApi: Send + Sync + 'static {
    /// The cluster this member belongs to.
    fn cluster(&self) -> ClusterId;
    /// This member.
    fn member(&self) -> MemberId;
    /// Whether the member was removed from the cluster and has no say in it any more.
    fn is_removed(&self, member: MemberId) -> bool;
    /// Takes entries into the log.
    async fn append(&self, requests: AppendRequests) -> Result<AppendAnswers, Status>;
    /// Answers a candidate.
    async fn vote(&self, request: pb::VoteRequest) -> Result<pb::VoteResponse, Status>;
    /// Answers a member that thinks of becoming a candidate.
    async fn pre_vote(&self, request: pb::VoteRequest) -> Result<pb::VoteResponse, Status>;
    /// Receives a snapshot and installs it.
    async fn install_snapshot(
        &self,
        header: pb::SnapshotHeader,
        parts: SnapshotParts,
    ) -> Result<pb::SnapshotResponse, Status>;
    /// Campaigns at once.
    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Status>;
    /// Proposes a follower's batch.
    async fn forward(&self, request: pb::ForwardRequest) -> Result<pb::ForwardResponse, Status>;
    /// Confirms leadership and answers the read index.
    async fn read_index(&self) -> Result<pb::ReadIndexResponse, Status>;
    /// Tells whether this member knows `leader` as the leader of `term`, and of no later one.
    async fn confirm(&self, leader: MemberId, term: Term) -> Result<pb::ConfirmResponse, Status>;
    /// Renews leases.
    async fn lease_renew(&self, request: pb::LeaseRenewRequest) -> Result<pb::LeaseRenewResponse, Status>;
    /// Tells how long leases have left.
    async fn lease_remaining(
        &self,
        request: pb::LeaseRemainingRequest,
    ) -> Result<pb::LeaseRemainingResponse, Status>;
    /// Tells how the followers stand.
    async fn followers(&self) -> Result<pb::FollowersResponse, Status>;
    /// Answers a checksum over the history of keys.
    async fn checksum(&self, request: pb::ChecksumRequest) -> Result<pb::ChecksumResponse, Status>;
    /// Tells what is remembered of compactions.
    async fn compaction_hashes(&self) -> Result<pb::CompactionHashesResponse, Status>;
    /// Tells a stranger which cluster this is.
    async fn discover(&self) -> Result<pb::DiscoverResponse, Status>;
    /// Tells what became of the asking member, one that was removed too.
    async fn hello(&self, from: MemberId) -> Result<pb::HelloResponse, Status>;
    /// Sends its whole state.
    async fn fetch_snapshot(&self) -> Result<SentSnapshot, Status>;
    /// Takes a member back that has lost its log and is reached at these URLs; one that was removed may ask too.
    async fn readmit(&self, lost: MemberId, peer_urls: Vec<String>) -> Result<pb::ReadmitResponse, Status>;
}

/// The gRPC server of the peer service.
#[derive(Clone)]
pub struct PeerServer {
    api: Arc<dyn PeerApi>,
}

impl PeerServer {
    /// Serves `api` to peers.
    pub fn new(api: Arc<dyn PeerApi>) -> PeerServer {
        PeerServer { api }
    }

    /// Refuses strangers, members that were removed, and what is meant for another member.
    fn admit(&self, sender: Option<&pb::Sender>) -> Result<MemberId, Status> {
        let sender = self.recognise(sender)?;
        let member = MemberId(sender.member);
        if self.api.is_removed(member) {
            return Err(removal::refusal(self.api.cluster(), self.api.member(), member));
        }
        self.refuse_for_another(sender)?;
        Ok(member)
    }

    /// Refuses strangers.
    fn recognise<'s>(&self, sender: Option<&'s pb::Sender>) -> Result<&'s pb::Sender, Status> {
        let sender = sender.ok_or_else(|| Status::invalid_argument("the request names no sender"))?;
        let cluster = self.api.cluster();
        if sender.cluster != cluster.0 {
            let theirs = ClusterId(sender.cluster);
            return Err(Status::failed_precondition(format!(
                "cluster id mismatch: {theirs} is not {cluster}"
            )));
        }
        Ok(sender)
    }

    /// Refuses what is meant for another member: who moves into an address must not answer for the one before.
    fn refuse_for_another(&self, sender: &pb::Sender) -> Result<(), Status> {
        let (own, meant) = (self.api.member(), MemberId(sender.to));
        // The planted bug answers for whoever was at this address before.
        if meant != own && !crate::mutant!("peer-answers-for-another") {
            return Err(Status::failed_precondition(format!("this is member {own}, not member {meant}")));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Peer for PeerServer {
    type AppendStream = AppendAnswers;
    type FetchSnapshotStream = SentSnapshot;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<AppendAnswers>, Status> {
        let mut requests = request.into_inner();
        // The first message tells who is asking; a stream has one sender.
        let Some(first) = requests.message().await? else {
            return Ok(Response::new(Box::pin(futures_util::stream::empty())));
        };
        self.admit(first.sender.as_ref())?;
        // A broken stream ends the requests; the answers end with them.
        let rest =
            requests.take_while(|item| std::future::ready(item.is_ok())).filter_map(async |item| item.ok());
        let all = futures_util::stream::once(std::future::ready(first)).chain(rest);
        Ok(Response::new(self.api.append(Box::pin(all)).await?))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.vote(request).await?))
    }

    async fn pre_vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.pre_vote(request).await?))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotPart>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let mut parts = request.into_inner();
        let header = match parts.message().await?.and_then(|first| first.part) {
            Some(pb::snapshot_part::Part::Header(header)) => header,
            _ => return Err(Status::invalid_argument("a snapshot begins with its header")),
        };
        self.admit(header.sender.as_ref())?;
        Ok(Response::new(self.api.install_snapshot(header, Box::pin(parts)).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        // A leader that was removed hands over as its last act.
        self.refuse_for_another(self.recognise(request.sender.as_ref())?)?;
        Ok(Response::new(self.api.transfer_leader(request).await?))
    }

    async fn forward(
        &self,
        request: Request<pb::ForwardRequest>,
    ) -> Result<Response<pb::ForwardResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.forward(request).await?))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        self.admit(request.into_inner().sender.as_ref())?;
        Ok(Response::new(self.api.read_index().await?))
    }

    async fn confirm(
        &self,
        request: Request<pb::ConfirmRequest>,
    ) -> Result<Response<pb::ConfirmResponse>, Status> {
        let request = request.into_inner();
        let leader = self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.confirm(leader, Term(request.term)).await?))
    }

    async fn lease_renew(
        &self,
        request: Request<pb::LeaseRenewRequest>,
    ) -> Result<Response<pb::LeaseRenewResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.lease_renew(request).await?))
    }

    async fn lease_remaining(
        &self,
        request: Request<pb::LeaseRemainingRequest>,
    ) -> Result<Response<pb::LeaseRemainingResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.lease_remaining(request).await?))
    }

    async fn followers(
        &self,
        request: Request<pb::FollowersRequest>,
    ) -> Result<Response<pb::FollowersResponse>, Status> {
        self.admit(request.into_inner().sender.as_ref())?;
        Ok(Response::new(self.api.followers().await?))
    }

    async fn checksum(
        &self,
        request: Request<pb::ChecksumRequest>,
    ) -> Result<Response<pb::ChecksumResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.sender.as_ref())?;
        Ok(Response::new(self.api.checksum(request).await?))
    }

    async fn compaction_hashes(
        &self,
        request: Request<pb::CompactionHashesRequest>,
    ) -> Result<Response<pb::CompactionHashesResponse>, Status> {
        self.admit(request.into_inner().sender.as_ref())?;
        Ok(Response::new(self.api.compaction_hashes().await?))
    }

    async fn discover(
        &self,
        _: Request<pb::DiscoverRequest>,
    ) -> Result<Response<pb::DiscoverResponse>, Status> {
        Ok(Response::new(self.api.discover().await?))
    }

    async fn hello(&self, request: Request<pb::HelloRequest>) -> Result<Response<pb::HelloResponse>, Status> {
        let request = request.into_inner();
        let sender = self.recognise(request.sender.as_ref())?;
        // What became of the one that asks, every member knows, whichever it takes this one for. The planted bug says
        // nothing unless it is meant itself: a founder without its disk takes that for silence.
        if crate::mutant!("hello-refused-at-a-reused-address") {
            self.refuse_for_another(sender)?;
        }
        Ok(Response::new(self.api.hello(MemberId(sender.member)).await?))
    }

    async fn fetch_snapshot(
        &self,
        request: Request<pb::FetchSnapshotRequest>,
    ) -> Result<Response<SentSnapshot>, Status> {
        self.admit(request.into_inner().sender.as_ref())?;
        Ok(Response::new(self.api.fetch_snapshot().await?))
    }

    async fn readmit(
        &self,
        request: Request<pb::ReadmitRequest>,
    ) -> Result<Response<pb::ReadmitResponse>, Status> {
        let pb::ReadmitRequest { sender, peer_urls } = request.into_inner();
        let sender = self.recognise(sender.as_ref())?;
        // Who asks may have been let go already, by an answer that it did not get.
        self.refuse_for_another(sender)?;
        Ok(Response::new(self.api.readmit(MemberId(sender.member), peer_urls).await?))
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use tonic::Code;

    use super::*;

    /// Member 2 of cluster 1, which knows that member 9 was removed. It answers nothing: only who gets so far counts.
    struct Front;

    fn passed<T>() -> Result<T, Status> {
        Err(Status::unimplemented("passed"))
    }

    #[tonic::async_trait]
    impl PeerApi for Front {
        fn cluster(&self) -> ClusterId {
            ClusterId(1)
        }

        fn member(&self) -> MemberId {
            MemberId(2)
        }

        fn is_removed(&self, member: MemberId) -> bool {
            member == MemberId(9)
        }

        async fn append(&self, _: AppendRequests) -> Result<AppendAnswers, Status> {
            passed()
        }

        async fn vote(&self, _: pb::VoteRequest) -> Result<pb::VoteResponse, Status> {
            passed()
        }

        async fn pre_vote(&self, _: pb::VoteRequest) -> Result<pb::VoteResponse, Status> {
            passed()
        }

        async fn install_snapshot(
            &self,
            _: pb::SnapshotHeader,
            _: SnapshotParts,
        ) -> Result<pb::SnapshotResponse, Status> {
            passed()
        }

        async fn transfer_leader(
            &self,
            _: pb::TransferLeaderRequest,
        ) -> Result<pb::TransferLeaderResponse, Status> {
            passed()
        }

        async fn forward(&self, _: pb::ForwardRequest) -> Result<pb::ForwardResponse, Status> {
            passed()
        }

        async fn read_index(&self) -> Result<pb::ReadIndexResponse, Status> {
            passed()
        }

        async fn confirm(&self, _: MemberId, _: Term) -> Result<pb::ConfirmResponse, Status> {
            passed()
        }

        async fn lease_renew(&self, _: pb::LeaseRenewRequest) -> Result<pb::LeaseRenewResponse, Status> {
            passed()
        }

        async fn lease_remaining(
            &self,
            _: pb::LeaseRemainingRequest,
        ) -> Result<pb::LeaseRemainingResponse, Status> {
            passed()
        }

        async fn followers(&self) -> Result<pb::FollowersResponse, Status> {
            passed()
        }

        async fn checksum(&self, _: pb::ChecksumRequest) -> Result<pb::ChecksumResponse, Status> {
            passed()
        }

        async fn compaction_hashes(&self) -> Result<pb::CompactionHashesResponse, Status> {
            passed()
        }

        async fn discover(&self) -> Result<pb::DiscoverResponse, Status> {
            passed()
        }

        async fn hello(&self, _: MemberId) -> Result<pb::HelloResponse, Status> {
            passed()
        }

        async fn fetch_snapshot(&self) -> Result<SentSnapshot, Status> {
            passed()
        }

        async fn readmit(&self, _: MemberId, _: Vec<String>) -> Result<pb::ReadmitResponse, Status> {
            passed()
        }
    }

    fn asks(cluster: u64, member: u64, to: u64) -> Option<pb::Sender> {
        Some(pb::Sender { cluster, member, to })
    }

    #[tokio::test]
    async fn nobody_votes_for_the_member_that_was_at_its_address_before() {
        let server = PeerServer::new(Arc::new(Front));
        let vote = async |sender| {
            let request = Request::new(pb::VoteRequest { sender, ..pb::VoteRequest::default() });
            server.vote(request).await.unwrap_err()
        };
        assert_eq!(vote(asks(1, 3, 2)).await.code(), Code::Unimplemented);
        let refused = vote(asks(1, 3, 5)).await;
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.message(), "this is member 2, not member 5");
        assert_eq!(vote(asks(7, 3, 2)).await.message(), "cluster id mismatch: 7 is not 1");
        // Who was removed is told so first.
        assert_eq!(vote(asks(1, 9, 5)).await.code(), Code::PermissionDenied);
        assert_eq!(vote(None).await.code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn everybody_says_what_became_of_the_one_that_asks() {
        let server = PeerServer::new(Arc::new(Front));
        let hello =
            async |sender| server.hello(Request::new(pb::HelloRequest { sender })).await.unwrap_err().code();
        assert_eq!(hello(asks(1, 3, 5)).await, Code::Unimplemented);
        assert_eq!(hello(asks(1, 9, 5)).await, Code::Unimplemented, "the answer says that it was removed");
        assert_eq!(hello(asks(7, 3, 2)).await, Code::FailedPrecondition);
    }

    #[tokio::test]
    async fn a_removed_leader_hands_over_to_whom_it_means() {
        let server = PeerServer::new(Arc::new(Front));
        let hand_over = async |sender| {
            let request = pb::TransferLeaderRequest { sender, ..pb::TransferLeaderRequest::default() };
            server.transfer_leader(Request::new(request)).await.unwrap_err().code()
        };
        assert_eq!(hand_over(asks(1, 9, 2)).await, Code::Unimplemented);
        assert_eq!(hand_over(asks(1, 9, 5)).await, Code::FailedPrecondition);
    }
}
