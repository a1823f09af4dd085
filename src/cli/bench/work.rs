//! What one client asks, one operation at a time.
//!
//! Where writes are watched their values begin with the time at which they were due, on this process's own clock: whoever
//! watches is in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::args::{RangeWork, Shape, Work};
use crate::cli::ctl::client::Client;
use crate::pb::etcdserverpb::kv_client::KvClient;
use crate::pb::etcdserverpb::request_op::Request as Op;
use crate::pb::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
};

/// What every key begins with.
const PREFIX: &str = "bench/";
/// Where the range of all keys ends: the byte behind the slash.
const PREFIX_END: &[u8] = b"bench0";

/// Seconds that a lease lives that is renewed.
const LEASE_TTL_SECS: i64 = 60;
/// Bytes of a value that tell when it was due.
const STAMP: usize = 8;

/// A lease, and the stream that renews it.
struct Renewed {
    lease: i64,
    asks: mpsc::UnboundedSender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

/// One client, and what it asks.
pub struct Worker {
    client: Client,
    kv: KvClient<Channel>,
    work: Work,
    dice: ChaCha8Rng,
    keys: u64,
    key_size: usize,
    value: Bytes,
    /// Keys that somebody fills in already; all clients share it.
    filled: Arc<AtomicU64>,
    renewed: Option<Renewed>,
    /// Since when this process's clock counts.
    epoch: Instant,
}

impl Worker {
    /// The `nth` client. What it draws depends on that and on the seed alone.
    pub fn new(client: Client, work: Work, shape: &Shape, nth: u64, filled: Arc<AtomicU64>) -> Worker {
        let mut dice = ChaCha8Rng::seed_from_u64(shape.seed);
        dice.set_stream(nth);
        let mut value = vec![0; shape.value_size];
        dice.fill_bytes(&mut value);
        let kv = client.kv();
        let (keys, key_size, value) = (shape.keys, shape.key_size, value.into());
        let (renewed, epoch) = (None, shape.epoch);
        Worker { client, kv, work, dice, keys, key_size, value, filled, renewed, epoch }
    }

    /// Makes what the operations need.
    ///
    /// # Errors
    /// What the server, or the connection, says.
    pub async fn prepare(&mut self) -> Result<(), Status> {
        if self.work != Work::KeepAlive {
            return Ok(());
        }
        let mut client = self.client.lease();
        let grant = self.client.request(LeaseGrantRequest { id: 0, ttl: LEASE_TTL_SECS });
        let lease = client.lease_grant(grant).await?.into_inner().id;
        let (asks, asked) = mpsc::unbounded_channel();
        // The server answers nothing before it was asked, and that not before the stream stands.
        let first = asks.send(LeaseKeepAliveRequest { id: lease });
        first.map_err(|_| Status::internal("the stream is closed"))?;
        let stream = self.client.request(UnboundedReceiverStream::new(asked));
        let mut answers = client.lease_keep_alive(stream).await?.into_inner();
        answers.message().await?;
        self.renewed = Some(Renewed { lease, asks, answers });
        Ok(())
    }

    /// Carries out the next operation, which was due then: how many keys it has read; nothing when there is no more to do.
    ///
    /// # Errors
    /// What the server, or the connection, says.
    pub async fn perform(&mut self, due: Instant) -> Result<Option<u64>, Status> {
        match self.work {
            Work::Fill => {
                let number = self.filled.fetch_add(1, Ordering::Relaxed);
                if number >= self.keys {
                    return Ok(None);
                }
                self.put(number).await.map(Some)
            }
            Work::Put => {
                let number = self.below(self.keys);
                self.put(number).await.map(Some)
            }
            Work::Watch { .. } => {
                let number = self.below(self.keys);
                self.value = stamped(&self.value, due.saturating_duration_since(self.epoch).as_nanos());
                self.put(number).await.map(Some)
            }
            Work::KeepAlive => self.keep_alive().await.map(Some),
            Work::TxnPut { ops } => self.txn_put(ops).await.map(Some),
            Work::Range(range) => self.range(range).await.map(Some),
            Work::Mixed { reads, serializable } => {
                if self.below(100) < u64::from(reads) {
                    let one = RangeWork { page: 1, serializable, keys_only: false, count_only: false };
                    return self.range(one).await.map(Some);
                }
                let number = self.below(self.keys);
                self.put(number).await.map(Some)
            }
        }
    }

    async fn put(&mut self, number: u64) -> Result<u64, Status> {
        let request = self.client.request(self.put_request(number));
        self.kv.put(request).await.map(|_: Response<_>| 0)
    }

    async fn keep_alive(&mut self) -> Result<u64, Status> {
        let gone = || Status::unavailable("the stream of renewals has ended");
        let Renewed { lease, asks, answers } = self.renewed.as_mut().ok_or_else(gone)?;
        asks.send(LeaseKeepAliveRequest { id: *lease }).map_err(|_| gone())?;
        let answer = answers.message().await?.ok_or_else(gone)?;
        if answer.ttl > 0 { Ok(0) } else { Err(Status::not_found("the lease is gone")) }
    }

    async fn txn_put(&mut self, ops: u32) -> Result<u64, Status> {
        let mut success = Vec::new();
        let first = self.below(self.keys);
        // One transaction may not write a key twice.
        for step in 0..u64::from(ops).min(self.keys) {
            let number = (first + step).checked_rem(self.keys).unwrap_or(0);
            success.push(RequestOp { request: Some(Op::RequestPut(self.put_request(number))) });
        }
        let request = self.client.request(TxnRequest { success, ..TxnRequest::default() });
        self.kv.txn(request).await.map(|_: Response<_>| 0)
    }

    async fn range(&mut self, range: RangeWork) -> Result<u64, Status> {
        let RangeWork { page, serializable, keys_only, count_only } = range;
        let page = u64::from(page);
        let first = self.below(self.keys.saturating_sub(page - 1).max(1));
        let request = RangeRequest {
            key: self.key(first),
            range_end: if page > 1 { Bytes::from_static(PREFIX_END) } else { Bytes::new() },
            limit: if page > 1 && !count_only { i64::try_from(page).unwrap_or(i64::MAX) } else { 0 },
            serializable,
            keys_only,
            count_only,
            ..RangeRequest::default()
        };
        let request = self.client.request(request);
        let answer = self.kv.range(request).await?.into_inner();
        Ok(u64::try_from(answer.kvs.len()).unwrap_or(u64::MAX))
    }

    fn put_request(&self, number: u64) -> PutRequest {
        PutRequest { key: self.key(number), value: self.value.clone(), ..PutRequest::default() }
    }

    fn key(&self, number: u64) -> Bytes {
        key(number, self.key_size)
    }

    /// A number below another one, each nearly as likely as the next.
    fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.dice.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

/// The value with the time at which it was due in front, nanoseconds.
fn stamped(value: &Bytes, nanos: u128) -> Bytes {
    let mut stamped = value.to_vec();
    stamped.resize(stamped.len().max(STAMP), 0);
    let stamp = u64::try_from(nanos).unwrap_or(u64::MAX).to_be_bytes();
    stamped.iter_mut().zip(stamp).for_each(|(byte, stamp)| *byte = stamp);
    stamped.into()
}

/// The time at which a value was due, nanoseconds.
pub fn stamp_of(value: &[u8]) -> Option<u64> {
    let (stamp, _) = value.split_first_chunk::<STAMP>()?;
    Some(u64::from_be_bytes(*stamp))
}

/// The range of all keys: the first, and where it ends.
pub fn all_keys() -> (Bytes, Bytes) {
    (Bytes::from_static(PREFIX.as_bytes()), Bytes::from_static(PREFIX_END))
}

/// The key of a number, of this many bytes.
fn key(number: u64, size: usize) -> Bytes {
    let digits = size.saturating_sub(PREFIX.len());
    Bytes::from(format!("{PREFIX}{number:0digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_size_and_the_order_of_their_numbers() {
        assert_eq!(key(7, 26).as_ref(), b"bench/00000000000000000007");
        assert!(key(9, 32) < key(10, 32));
        assert!(key(u64::MAX, 26).as_ref() < PREFIX_END);
        assert_eq!(key(u64::MAX, 26).len(), 26);
    }

    #[test]
    fn a_value_tells_when_it_was_due_however_short_it_was_to_be() {
        for value in [&b""[..], b"abc", b"a value that is long"] {
            let stamped = stamped(&Bytes::from_static(value), 1_234_567);
            assert_eq!(stamp_of(&stamped), Some(1_234_567));
            assert_eq!(stamped.len(), value.len().max(8));
        }
        assert_eq!(stamp_of(b"short"), None);
    }
}
