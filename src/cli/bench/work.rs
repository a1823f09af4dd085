//! What one client asks, one operation at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::args::{RangeWork, Shape, Work};
use crate::cli::ctl::client::Client;
use crate::pb::etcdserverpb::kv_client::KvClient;
use crate::pb::etcdserverpb::request_op::Request as Op;
use crate::pb::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};

/// What every key begins with.
const PREFIX: &str = "bench/";
/// Where the range of all keys ends: the byte behind the slash.
const PREFIX_END: &[u8] = b"bench0";

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
        Worker { client, kv, work, dice, keys, key_size, value, filled }
    }

    /// Carries out the next operation: how many keys it has read; nothing when there is no more to do.
    ///
    /// # Errors
    /// What the server, or the connection, says.
    pub async fn perform(&mut self) -> Result<Option<u64>, Status> {
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
}
