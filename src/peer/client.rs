//! Calls to peers: an address book and one channel a peer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::config::limits::PEER_MESSAGE_BYTES_MAX;
use crate::env::{Clock, within};
use crate::pb::peer as pb;
use crate::pb::peer::peer_client::PeerClient;
use crate::peer::dial::Dialer;
use crate::peer::removal;
use crate::types::{ApiLevel, ClusterId, MemberId, Term};

/// Connecting to a peer takes longer than this only when it cannot be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed this often, so that a silent partition is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// A probe that stays unanswered this long ends the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a call to a peer failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// No address is known for the member.
    #[error("no address is known for member {0}")]
    UnknownMember(MemberId),
    /// The call did not return in time: it may or may not have been carried out.
    #[error("member {0} did not answer in time")]
    Timeout(MemberId),
    /// The peer cannot be reached.
    #[error("member {member} cannot be reached: {what}")]
    Unreachable {
        /// The peer.
        member: MemberId,
        /// What the transport said.
        what: String,
    },
    /// The peer refused: it belongs to another cluster, or is not the member that was meant.
    #[error("member {member} refused: {what}")]
    Refused {
        /// The peer.
        member: MemberId,
        /// What it said.
        what: String,
    },
    /// The peer knows this member as one that was removed.
    #[error("this member was removed from the cluster, says member {0}")]
    Removed(MemberId),
}

/// The peers of one member. Cheap to clone; clones share channels.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    dialer: Dialer,
    cluster: ClusterId,
    member: MemberId,
    book: Mutex<BTreeMap<MemberId, Known>>,
    /// A peer that said that this member was removed; 0 is none. No cluster takes it back.
    removed_by: AtomicU64,
}

struct Known {
    urls: Vec<String>,
    client: Option<PeerClient<Channel>>,
}

impl Peers {
    /// An empty address book for `member` of `cluster`.
    pub fn new(clock: Arc<dyn Clock>, dialer: Dialer, cluster: ClusterId, member: MemberId) -> Peers {
        Peers {
            inner: Arc::new(Inner {
                clock,
                dialer,
                cluster,
                member,
                book: Mutex::default(),
                removed_by: AtomicU64::new(0),
            }),
        }
    }

    /// Learns, or corrects, where a peer is reached.
    pub fn learn(&self, member: MemberId, urls: &[String]) {
        let mut book = self.inner.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.get(&member).is_none_or(|known| known.urls != urls) {
            book.insert(member, Known { urls: urls.to_vec(), client: None });
        }
    }

    /// Learns from whoever is reached at `url` where the members of this cluster are; nothing when it does not
    /// answer in time, or belongs to another.
    pub async fn learn_from(&self, url: &str, timeout: Duration) {
        match discover(&*self.inner.clock, &self.inner.dialer, url, timeout).await {
            Ok(answer) if answer.cluster == self.inner.cluster.0 => {
                let others = answer.members.iter().filter(|member| member.id != self.inner.member.0);
                others.for_each(|member| self.learn(MemberId(member.id), &member.peer_urls));
            }
            Ok(answer) => {
                tracing::warn!(%url, cluster = %ClusterId(answer.cluster), "another cluster answers")
            }
            Err(why) => tracing::debug!(%url, %why, "nobody says where the members are"),
        }
    }

    /// Learns who is reached at `url` from that member alone, if it is one of this cluster and not known yet: nobody else
    /// is asked, so it takes no quorum. Nothing when it does not answer in time.
    pub async fn meet(&self, url: &str, timeout: Duration) {
        // Whoever it is, it answers.
        let request = pb::HelloRequest { sender: self.sender(MemberId::default()) };
        let answered = match connect(&self.inner.dialer, url) {
            Ok(mut client) => within(&*self.inner.clock, timeout, client.hello(request)).await,
            Err(why) => Some(Err(Status::unavailable(why))),
        };
        match answered.map(|answer| answer.map(tonic::Response::into_inner)) {
            Some(Ok(answer)) => {
                let member = MemberId(answer.member);
                if member != self.inner.member && !self.members().contains(&member) {
                    self.learn(member, &[url.to_owned()]);
                }
            }
            Some(Err(status)) => tracing::debug!(%url, why = status.message(), "nobody says who is there"),
            None => tracing::debug!(%url, "nobody says in time who is there"),
        }
    }

    /// The peer that said that this member was removed, if one has.
    pub fn removed_by(&self) -> Option<MemberId> {
        Some(MemberId(self.inner.removed_by.load(Ordering::Relaxed))).filter(|peer| peer.0 != 0)
    }

    /// The members in the address book.
    pub fn members(&self) -> Vec<MemberId> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// This member.
    pub fn own(&self) -> MemberId {
        self.inner.member
    }

    /// This member, as every request names its sender, and whom it asks.
    pub fn sender(&self, to: MemberId) -> Option<pb::Sender> {
        Some(pb::Sender { cluster: self.inner.cluster.0, member: self.inner.member.0, to: to.0 })
    }

    fn client(&self, member: MemberId) -> Result<PeerClient<Channel>, PeerError> {
        let mut book = self.inner.book.lock().unwrap_or_else(PoisonError::into_inner);
        let known = book.get_mut(&member).ok_or(PeerError::UnknownMember(member))?;
        if let Some(client) = &known.client {
            return Ok(client.clone());
        }
        let url = known.urls.first().ok_or(PeerError::UnknownMember(member))?;
        let client = connect(&self.inner.dialer, url);
        let client = client.map_err(|what| PeerError::Unreachable { member, what })?;
        known.client = Some(client.clone());
        Ok(client)
    }

    async fn call<T, F>(
        &self,
        member: MemberId,
        timeout: Duration,
        call: impl FnOnce(PeerClient<Channel>) -> F,
    ) -> Result<T, PeerError>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let client = self.client(member)?;
        let answered = within(&*self.inner.clock, timeout, call(client)).await;
        let error = match answered {
            Some(Ok(response)) => return Ok(response.into_inner()),
            Some(Err(status)) => self.error_of(member, &status),
            None => PeerError::Timeout(member),
        };
        if matches!(error, PeerError::Removed(_)) {
            self.was_removed(member);
        }
        Err(error)
    }

    /// Opens an append stream; `timeout` bounds the opening alone.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn append(
        &self,
        member: MemberId,
        timeout: Duration,
        requests: impl Stream<Item = pb::AppendRequest> + Send + 'static,
    ) -> Result<Streaming<pb::AppendResponse>, PeerError> {
        self.call(member, timeout, |mut client| async move { client.append(requests).await }).await
    }

    /// Sends a snapshot; `timeout` bounds the whole transfer.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn install_snapshot(
        &self,
        member: MemberId,
        timeout: Duration,
        parts: impl Stream<Item = pb::SnapshotPart> + Send + 'static,
    ) -> Result<pb::SnapshotResponse, PeerError> {
        self.call(member, timeout, |mut client| async move { client.install_snapshot(parts).await }).await
    }

    /// Asks for a vote.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn vote(
        &self,
        member: MemberId,
        timeout: Duration,
        request: pb::VoteRequest,
    ) -> Result<pb::VoteResponse, PeerError> {
        self.call(member, timeout, |mut client| async move { client.vote(request).await }).await
    }

    /// Asks whether a vote would be granted.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn pre_vote(
        &self,
        member: MemberId,
        timeout: Duration,
        request: pb::VoteRequest,
    ) -> Result<pb::VoteResponse, PeerError> {
        self.call(member, timeout, |mut client| async move { client.pre_vote(request).await }).await
    }

    /// Asks a peer to campaign.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn transfer_leader(
        &self,
        member: MemberId,
        timeout: Duration,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, PeerError> {
        self.call(member, timeout, |mut client| async move { client.transfer_leader(request).await }).await
    }

    /// Hands a batch to the leader.
    ///
    /// # Errors
    /// See [`PeerError`]; after any of them the batch may have been committed.
    pub async fn forward(
        &self,
        member: MemberId,
        timeout: Duration,
        batch: bytes::Bytes,
    ) -> Result<pb::ForwardResponse, PeerError> {
        let request = pb::ForwardRequest { sender: self.sender(member), batch };
        self.call(member, timeout, |mut client| async move { client.forward(request).await }).await
    }

    /// Asks the leader for a read index.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn read_index(
        &self,
        member: MemberId,
        timeout: Duration,
    ) -> Result<pb::ReadIndexResponse, PeerError> {
        let request = pb::ReadIndexRequest { sender: self.sender(member) };
        self.call(member, timeout, |mut client| async move { client.read_index(request).await }).await
    }

    /// Asks a voter whether this member still leads `term`.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn confirm(
        &self,
        member: MemberId,
        timeout: Duration,
        term: Term,
    ) -> Result<pb::ConfirmResponse, PeerError> {
        let request = pb::ConfirmRequest { sender: self.sender(member), term: term.0 };
        self.call(member, timeout, |mut client| async move { client.confirm(request).await }).await
    }

    /// Renews leases at the leader.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn lease_renew(
        &self,
        member: MemberId,
        timeout: Duration,
        leases: Vec<i64>,
    ) -> Result<pb::LeaseRenewResponse, PeerError> {
        let request = pb::LeaseRenewRequest { sender: self.sender(member), leases };
        self.call(member, timeout, |mut client| async move { client.lease_renew(request).await }).await
    }

    /// Asks the leader how long leases have left.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn lease_remaining(
        &self,
        member: MemberId,
        timeout: Duration,
        leases: Vec<i64>,
    ) -> Result<pb::LeaseRemainingResponse, PeerError> {
        let request = pb::LeaseRemainingRequest { sender: self.sender(member), leases };
        self.call(member, timeout, |mut client| async move { client.lease_remaining(request).await }).await
    }

    /// Asks the leader how its followers stand.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn followers(
        &self,
        member: MemberId,
        timeout: Duration,
    ) -> Result<pb::FollowersResponse, PeerError> {
        let request = pb::FollowersRequest { sender: self.sender(member) };
        self.call(member, timeout, |mut client| async move { client.followers(request).await }).await
    }

    /// Asks a peer for a checksum over its history of keys.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn checksum(
        &self,
        member: MemberId,
        timeout: Duration,
        request: pb::ChecksumRequest,
    ) -> Result<pb::ChecksumResponse, PeerError> {
        let request = pb::ChecksumRequest { sender: self.sender(member), ..request };
        self.call(member, timeout, |mut client| async move { client.checksum(request).await }).await
    }

    /// Asks a peer for the hashes that it remembers of compactions.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn compaction_hashes(
        &self,
        member: MemberId,
        timeout: Duration,
    ) -> Result<pb::CompactionHashesResponse, PeerError> {
        let request = pb::CompactionHashesRequest { sender: self.sender(member) };
        self.call(member, timeout, |mut client| async move { client.compaction_hashes(request).await }).await
    }

    /// Asks a peer what became of this member.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn hello(&self, member: MemberId, timeout: Duration) -> Result<pb::Fate, PeerError> {
        let request = pb::HelloRequest { sender: self.sender(member) };
        let answer =
            self.call(member, timeout, |mut client| async move { client.hello(request).await }).await?;
        // A later version may know more: whatever it says, this member is known there.
        let fate = pb::Fate::try_from(answer.fate).unwrap_or(pb::Fate::HasRun);
        if fate == pb::Fate::Removed {
            self.was_removed(member);
        }
        Ok(fate)
    }

    /// Asks a peer which level of the API it serves; `None` when it says nothing of it, as members of the first level do.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn level(&self, member: MemberId, timeout: Duration) -> Result<Option<ApiLevel>, PeerError> {
        let request = pb::HelloRequest { sender: self.sender(member) };
        let answer =
            self.call(member, timeout, |mut client| async move { client.hello(request).await }).await?;
        Ok(answer.level.parse().ok())
    }

    /// Asks a peer for its whole state; `timeout` bounds the opening alone.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn fetch_snapshot(
        &self,
        member: MemberId,
        timeout: Duration,
    ) -> Result<Streaming<pb::SnapshotPart>, PeerError> {
        let request = pb::FetchSnapshotRequest { sender: self.sender(member) };
        self.call(member, timeout, |mut client| async move { client.fetch_snapshot(request).await }).await
    }

    /// Asks a peer to take this member back, which has lost its log and is reached at `peer_urls`.
    ///
    /// # Errors
    /// See [`PeerError`]; after any of them it may have been taken back.
    pub async fn readmit(
        &self,
        member: MemberId,
        timeout: Duration,
        peer_urls: Vec<String>,
    ) -> Result<pb::ReadmitResponse, PeerError> {
        let request = pb::ReadmitRequest { sender: self.sender(member), peer_urls };
        self.call(member, timeout, |mut client| async move { client.readmit(request).await }).await
    }

    /// What a peer's status means to the caller.
    fn error_of(&self, member: MemberId, status: &Status) -> PeerError {
        let what = status.message().to_owned();
        match status.code() {
            Code::PermissionDenied if removal::is_told(status, self.inner.cluster, self.inner.member) => {
                PeerError::Removed(member)
            }
            Code::FailedPrecondition => PeerError::Refused { member, what },
            _ => PeerError::Unreachable { member, what },
        }
    }

    fn was_removed(&self, says: MemberId) {
        self.inner.removed_by.store(says.0, Ordering::Relaxed);
    }
}

/// A client for what is reached at `url`, which connects when it is first used.
fn connect(dialer: &Dialer, url: &str) -> Result<PeerClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| error.to_string())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(PeerClient::new(dialer.channel(&endpoint, url)?)
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
}

/// Asks whoever is reached at `url` which cluster it belongs to and who its members are. Anybody may ask: it is what
/// a member does that is about to join.
///
/// # Errors
/// Why there was no answer.
pub async fn discover(
    clock: &dyn Clock,
    dialer: &Dialer,
    url: &str,
    timeout: Duration,
) -> Result<pb::DiscoverResponse, String> {
    let mut client = connect(dialer, url)?;
    match within(clock, timeout, client.discover(pb::DiscoverRequest {})).await {
        Some(Ok(response)) => Ok(response.into_inner()),
        Some(Err(status)) => Err(dialer.failure(url).unwrap_or_else(|| status.message().to_owned())),
        None => Err("no answer in time".to_owned()),
    }
}
