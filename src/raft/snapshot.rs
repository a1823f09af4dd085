//! Snapshots between members: out of a pinned view of the engine, into a new engine beside the live one.
//!
//! Neither side ever holds a snapshot whole in memory: chunks are read, sent, checked and written one at a time.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;

use crate::config::limits;
use crate::env::{Clock, within};
use crate::machine::members::MemberKey;
use crate::machine::persist::Bucket;
use crate::machine::snapshot::{SnapshotDecoder, SnapshotEncoder, SnapshotFrame};
use crate::machine::state::{APPLIED_KEY, decode_applied};
use crate::pb::peer as pb;
use crate::pb::peer::snapshot_part::Part;
use crate::raft::replica::Replica;
use crate::raft::types::raft_log_id;
use crate::raft::wire::log_id_out;
use crate::storage::engine::{PageLimit, Reader, pair_bytes, successor};
use crate::storage::state_dir::Staging;
use crate::types::LogId;

/// Where a chunk ends: with the pair that makes it this large. With the largest record
/// ([`limits::REQUEST_BYTES_LARGEST`]) behind all but the last of its bytes it still fits into a message between members.
const CHUNK: PageLimit = PageLimit { pairs_max: 128, bytes_max: 1 << 20 };
/// Where one ends that is small on purpose.
const SMALL_CHUNK: PageLimit = PageLimit { pairs_max: 3, bytes_max: 2 << 10 };
/// What a chunk takes beside its keys and values, in bytes, and more.
const CHUNK_OVERHEAD_BYTES: usize = 1 << 20;
/// The largest sum of keys and values that a chunk may have.
const CHUNK_BYTES_MAX: usize = limits::PEER_MESSAGE_BYTES_MAX - CHUNK_OVERHEAD_BYTES;
const _: () = assert!(CHUNK.bytes_max + limits::REQUEST_BYTES_LARGEST <= CHUNK_BYTES_MAX);

/// A snapshot as the consensus core hands it around.
pub enum SnapshotData {
    /// On its way to a peer: a view of the engine.
    Outgoing(Box<dyn Reader>),
    /// Received and checked: an engine that is complete but not live.
    Incoming(Box<Staging>),
}

/// The messages that carry all that `replica` has applied, to a member that asks for it.
///
/// # Errors
/// When there is nothing yet, or it cannot be read.
pub async fn whole_state(
    replica: &Replica,
) -> Result<impl Stream<Item = pb::SnapshotPart> + Send + 'static, String> {
    replica.store().drained().await;
    let reader = replica.store().pin().map_err(|error| error.to_string())?;
    let applied = reader.get(Bucket::Meta, APPLIED_KEY).map_err(|error| error.to_string())?;
    let applied = applied.map(decode_applied).transpose().map_err(|error| error.to_string())?;
    let applied = applied.ok_or("nothing has been applied here yet")?;
    let header =
        pb::SnapshotHeader { last: Some(log_id_out(&raft_log_id(applied))), ..pb::SnapshotHeader::default() };
    SnapshotData::Outgoing(reader).into_parts(header, applied)
}

/// Hands `parts` to whoever takes them, and drops them, and what is `held` for them, when nobody has taken one for
/// [`limits::FETCH_STALL_MAX`]: the stream ends without its end mark then.
pub fn until_stalled(
    clock: Arc<dyn Clock>,
    parts: impl Stream<Item = pb::SnapshotPart> + Send + 'static,
    held: impl Send + 'static,
) -> impl Stream<Item = pb::SnapshotPart> + Send + 'static {
    let (sender, receiver) = channel(1);
    tokio::spawn(async move {
        let mut parts = std::pin::pin!(parts);
        while let Some(part) = parts.next().await {
            let taken = within(&*clock, limits::FETCH_STALL_MAX, sender.send(part)).await;
            if !matches!(taken, Some(Ok(()))) {
                break;
            }
        }
        drop(held);
    });
    ReceiverStream::new(receiver)
}

/// Where the sender stands.
struct Sending {
    reader: Box<dyn Reader>,
    encoder: SnapshotEncoder,
    buckets: std::slice::Iter<'static, Bucket>,
    current: Option<(Bucket, Bytes)>,
}

fn chunk_part(frame: Bytes) -> pb::SnapshotPart {
    pb::SnapshotPart { part: Some(Part::Chunk(frame)) }
}

impl SnapshotData {
    /// The messages that carry this snapshot, which stands at `applied`: `header`, then the stream's frames.
    ///
    /// # Errors
    /// When this is not a snapshot to be sent.
    pub fn into_parts(
        self,
        header: pb::SnapshotHeader,
        applied: LogId,
    ) -> Result<impl Stream<Item = pb::SnapshotPart> + Send + 'static, String> {
        let SnapshotData::Outgoing(reader) = self else {
            return Err("a received snapshot is not sent on".to_owned());
        };
        let mut encoder = SnapshotEncoder::default();
        let head =
            [pb::SnapshotPart { part: Some(Part::Header(header)) }, chunk_part(encoder.header(applied))];
        let mut buckets = Bucket::ALL.iter();
        let current = buckets.next().map(|bucket| (*bucket, Bytes::new()));
        let sending = Sending { reader, encoder, buckets, current };
        let rest = stream::unfold(Some(sending), |state| async move {
            // A view that cannot be read ends the stream without its end mark: the receiver discards it all.
            let mut sending = state?;
            match sending.next_chunk() {
                Ok(Some(frame)) => Some((chunk_part(frame), Some(sending))),
                Ok(None) => Some((chunk_part(sending.encoder.end()), None)),
                Err(error) => {
                    tracing::error!(%error, "a snapshot could not be read");
                    None
                }
            }
        });
        Ok(stream::iter(head).chain(rest))
    }
}

impl Sending {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, String> {
        while let Some((bucket, from)) = self.current.take() {
            let limit = if crate::buggify!("a snapshot goes in small chunks") { SMALL_CHUNK } else { CHUNK };
            let pairs = self.reader.page(bucket, &from, limit).map_err(|error| error.to_string())?;
            // The planted bug sends what the key space holds and leaves out what hangs on it.
            if bucket == Bucket::Leases && crate::mutant!("snapshot-misses-leases") {
                self.current = self.buckets.next().map(|bucket| (*bucket, Bytes::new()));
                continue;
            }
            let Some((last, _)) = pairs.last() else {
                self.current = self.buckets.next().map(|bucket| (*bucket, Bytes::new()));
                continue;
            };
            // A larger limit of requests has let one in, once.
            let bytes: usize = pairs.iter().map(|(key, value)| pair_bytes(key, value)).sum();
            if bytes > CHUNK_BYTES_MAX {
                return Err(format!(
                    "{bytes} bytes of {} fit into no message between members",
                    bucket.name()
                ));
            }
            // The planted bug goes on to the next bucket when a chunk is just full.
            let goes_on = limit.is_reached(pairs.len(), bytes)
                && crate::mutant!("snapshot-ends-a-bucket-at-a-full-chunk");
            self.current = if goes_on {
                self.buckets.next().map(|bucket| (*bucket, Bytes::new()))
            } else {
                Some((bucket, successor(last)))
            };
            // The planted bug sends the members and leaves out those that were.
            let gone = |key: &[u8]| {
                bucket == Bucket::Members
                    && matches!(MemberKey::decode(key), Some(MemberKey::Removed(_)))
                    && crate::mutant!("snapshot-misses-removed-members")
            };
            let pairs: Vec<_> = pairs
                .into_iter()
                .filter(|(key, _)| !gone(key))
                .map(|(key, value)| (bucket, key, value))
                .collect();
            return Ok(Some(self.encoder.chunk(&pairs)));
        }
        Ok(None)
    }
}

/// Takes a snapshot's frames into a staged engine.
#[derive(Default)]
pub struct Receiving {
    decoder: SnapshotDecoder,
}

impl Receiving {
    /// Takes in one message's bytes; whether the snapshot is now complete.
    ///
    /// # Errors
    /// When a frame is damaged or the disk fails.
    pub async fn take(&mut self, staging: &mut Staging, bytes: &[u8]) -> Result<bool, String> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame().map_err(|error| error.to_string())? {
            match frame {
                SnapshotFrame::Header(applied) => staging.begin(applied),
                SnapshotFrame::Chunk(pairs) => staging.add(pairs).await.map_err(|error| error.to_string())?,
                SnapshotFrame::End => return Ok(true),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::Pin;
    use std::time::Duration;

    use prost::Message as _;

    use super::*;
    use crate::storage::engine::{EngineError, Pair};

    /// Records of the largest size, and nothing else.
    struct Records(BTreeMap<Bytes, Bytes>);

    impl Reader for Records {
        fn get(&self, _: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
            Ok(self.0.get(key).cloned())
        }

        fn page(&self, bucket: Bucket, from: &[u8], limit: PageLimit) -> Result<Vec<Pair>, EngineError> {
            let (mut pairs, mut bytes) = (Vec::new(), 0);
            let mut range =
                self.0.range(Bytes::copy_from_slice(from)..).filter(|_| bucket == Bucket::Records);
            while !limit.is_reached(pairs.len(), bytes)
                && let Some((key, value)) = range.next()
            {
                bytes += pair_bytes(key, value);
                pairs.push((key.clone(), value.clone()));
            }
            Ok(pairs)
        }
    }

    #[tokio::test]
    async fn large_records_go_in_small_messages() {
        let large = Bytes::from(vec![7; limits::REQUEST_BYTES_LARGEST]);
        let small = Bytes::from_static(b"small");
        let value = |at: u8| if at.is_multiple_of(2) { small.clone() } else { large.clone() };
        let records: BTreeMap<Bytes, Bytes> =
            (0..6).map(|at| (Bytes::copy_from_slice(&[at]), value(at))).collect();
        let snapshot = SnapshotData::Outgoing(Box::new(Records(records.clone())));
        let parts = snapshot.into_parts(pb::SnapshotHeader::default(), LogId::default()).unwrap();
        let mut parts = std::pin::pin!(parts);
        let mut decoder = SnapshotDecoder::default();
        let mut arrived = BTreeMap::new();
        while let Some(part) = parts.next().await {
            assert!(part.encoded_len() <= limits::PEER_MESSAGE_BYTES_MAX, "{} bytes", part.encoded_len());
            let Some(Part::Chunk(frame)) = part.part else { continue };
            decoder.push(&frame);
            while let Some(frame) = decoder.next_frame().unwrap() {
                let SnapshotFrame::Chunk(pairs) = frame else { continue };
                arrived.extend(pairs.into_iter().map(|(_, key, value)| (key, value)));
            }
        }
        assert!(decoder.is_complete());
        assert!(arrived == records, "{} records of {} arrived as they are", arrived.len(), records.len());
    }

    /// A clock on which every wait is over at once, or never.
    struct Stopped {
        over: bool,
    }

    impl Clock for Stopped {
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn wall_ms(&self) -> u64 {
            0
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            if self.over { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_holds_nothing_for_ever() {
        let parts = || stream::iter((0_u8..9).map(|at| chunk_part(Bytes::copy_from_slice(&[at]))));
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let taken = until_stalled(Arc::new(Stopped { over: true }), parts(), held);
        gone.await.unwrap_err();
        assert_eq!(taken.count().await, 1, "what was on its way when it was given up");
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let taken = until_stalled(Arc::new(Stopped { over: false }), parts(), held);
        assert_eq!(taken.collect::<Vec<_>>().await, parts().collect::<Vec<_>>().await);
        gone.await.unwrap_err();
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        drop(until_stalled(Arc::new(Stopped { over: false }), parts(), held));
        gone.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_record_that_fits_into_no_message_ends_the_stream_and_not_the_member() {
        let record = (Bytes::from_static(b"k"), Bytes::from(vec![7; CHUNK_BYTES_MAX]));
        let snapshot = SnapshotData::Outgoing(Box::new(Records(BTreeMap::from([record]))));
        let parts = snapshot.into_parts(pb::SnapshotHeader::default(), LogId::default()).unwrap();
        let mut decoder = SnapshotDecoder::default();
        for part in parts.collect::<Vec<_>>().await {
            let Some(Part::Chunk(frame)) = part.part else { continue };
            decoder.push(&frame);
        }
        while decoder.next_frame().unwrap().is_some() {}
        assert!(!decoder.is_complete(), "the receiver sees that something is missing");
    }
}
