//! The state as a stream of bytes, from the member that has it to one that needs it.
//!
//! Frames: a header (format, applied log id), chunks of (bucket, key, value) in bucket and key order, an end
//! that counts them. Each frame is `kind, body length, crc32c, body`; the checksum also covers kind, length and
//! the frame's number in the stream, so that a frame lost, repeated or put elsewhere is found out. Nothing is
//! ever whole in memory but one frame; how pairs are grouped into chunks is the sender's choice.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::machine::persist::Bucket;
use crate::pb::record as pb;
use crate::types::{LogId, LogIndex, Term};

/// The newest stream format this version reads, and the one it writes.
pub const SNAPSHOT_FORMAT: u32 = 1;

/// The largest body of one frame, bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

const KIND_HEADER: u8 = 1;
const KIND_CHUNK: u8 = 2;
const KIND_END: u8 = 3;
/// Kind, length, checksum.
const FRAME_HEAD_BYTES: usize = 9;

/// One stored pair and its bucket.
pub type SnapshotPair = (Bucket, Bytes, Bytes);

/// Why a stream is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot stream, frame {frame}: {what}")]
pub struct SnapshotError {
    /// The frame's number, from 0.
    pub frame: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Writes a stream, frame by frame.
#[derive(Debug, Default)]
pub struct SnapshotEncoder {
    frame: u64,
    pairs: u64,
}

impl SnapshotEncoder {
    /// The first frame: the state as of `applied` follows.
    pub fn header(&mut self, applied: LogId) -> Bytes {
        assert!(self.frame == 0, "the header comes first");
        let applied = pb::Applied { term: applied.term.0, index: applied.index.0 };
        let header = pb::SnapshotHeader { format: SNAPSHOT_FORMAT, applied: Some(applied) };
        self.frame(KIND_HEADER, &header.encode_to_vec())
    }

    /// A frame of pairs, which follow all earlier ones in bucket and key order.
    pub fn chunk(&mut self, pairs: &[SnapshotPair]) -> Bytes {
        let stored = |(bucket, key, value): &SnapshotPair| pb::SnapshotPair {
            bucket: bucket.number().into(),
            key: key.clone(),
            value: value.clone(),
        };
        self.pairs = self.pairs.saturating_add(u64::try_from(pairs.len()).unwrap_or(u64::MAX));
        let chunk = pb::SnapshotChunk { pairs: pairs.iter().map(stored).collect() };
        self.frame(KIND_CHUNK, &chunk.encode_to_vec())
    }

    /// The last frame.
    pub fn end(&mut self) -> Bytes {
        let end = pb::SnapshotEnd { pairs: self.pairs };
        self.frame(KIND_END, &end.encode_to_vec())
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Bytes {
        assert!(body.len() <= FRAME_BYTES_MAX, "the sender keeps its chunks within a frame");
        let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES.saturating_add(body.len()));
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        frame.put_u8(kind);
        frame.put_u32_le(len);
        frame.put_u32_le(checksum(self.frame, kind, len, body));
        frame.put_slice(body);
        self.frame = self.frame.saturating_add(1);
        frame.freeze()
    }
}

fn checksum(frame: u64, kind: u8, len: u32, body: &[u8]) -> u32 {
    let mut head = frame.to_le_bytes().to_vec();
    head.push(kind);
    head.extend_from_slice(&len.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), body)
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFrame {
    /// The stream begins; the state is as of this log entry.
    Header(LogId),
    /// Pairs to store.
    Chunk(Vec<SnapshotPair>),
    /// The stream is complete.
    End,
}

/// Reads a stream that arrives in pieces of any size.
#[derive(Debug, Default)]
pub struct SnapshotDecoder {
    buffer: BytesMut,
    frame: u64,
    pairs: u64,
    last: Option<(Bucket, Bytes)>,
    ended: bool,
}

impl SnapshotDecoder {
    /// Takes in more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the end has been read: only then is the snapshot whole.
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    /// The next frame, if all of it has arrived.
    ///
    /// # Errors
    /// The stream is damaged, out of order, or of a newer format.
    pub fn next_frame(&mut self) -> Result<Option<SnapshotFrame>, SnapshotError> {
        let frame = self.frame;
        self.decode_next().map_err(|what| SnapshotError { frame, what })
    }

    fn decode_next(&mut self) -> Result<Option<SnapshotFrame>, String> {
        let Some((mut head, rest)) = self.buffer.split_at_checked(FRAME_HEAD_BYTES) else { return Ok(None) };
        let (kind, len, crc) = (head.get_u8(), head.get_u32_le(), head.get_u32_le());
        let body_len = usize::try_from(len).unwrap_or(usize::MAX);
        if body_len > FRAME_BYTES_MAX {
            return Err(format!("its length of {len} bytes is beyond any frame's"));
        }
        if self.ended {
            return Err("it follows the end".to_owned());
        }
        let Some(body) = rest.get(..body_len) else { return Ok(None) };
        if checksum(self.frame, kind, len, body) != crc {
            return Err("its checksum is wrong".to_owned());
        }
        self.buffer.advance(FRAME_HEAD_BYTES);
        let body = self.buffer.split_to(body_len).freeze();
        let first = self.frame == 0;
        self.frame = self.frame.saturating_add(1);
        let bad = |error: prost::DecodeError| error.to_string();
        match (kind, first) {
            (KIND_HEADER, true) => header(pb::SnapshotHeader::decode(body).map_err(bad)?).map(Some),
            (KIND_CHUNK, false) => self.chunk(pb::SnapshotChunk::decode(body).map_err(bad)?).map(Some),
            (KIND_END, false) => {
                let end = pb::SnapshotEnd::decode(body).map_err(bad)?;
                if end.pairs != self.pairs {
                    return Err(format!("{} pairs were sent and {} arrived", end.pairs, self.pairs));
                }
                self.ended = true;
                Ok(Some(SnapshotFrame::End))
            }
            _ => Err(format!("a frame of kind {kind} is unknown here")),
        }
    }

    fn chunk(&mut self, chunk: pb::SnapshotChunk) -> Result<SnapshotFrame, String> {
        let mut pairs = Vec::with_capacity(chunk.pairs.len());
        for pair in chunk.pairs {
            let bucket = u8::try_from(pair.bucket).ok().and_then(Bucket::from_number);
            let bucket = bucket.ok_or_else(|| format!("bucket {} is unknown", pair.bucket))?;
            let place = (bucket, pair.key);
            if self.last.as_ref().is_some_and(|last| *last >= place) {
                return Err(format!("key {:02x?} of bucket {} is out of order", place.1, bucket.name()));
            }
            pairs.push((bucket, place.1.clone(), pair.value));
            self.last = Some(place);
        }
        // The frame's buffer must not live on in the one key remembered.
        self.last = self.last.take().map(|(bucket, key)| (bucket, Bytes::copy_from_slice(&key)));
        self.pairs = self.pairs.saturating_add(u64::try_from(pairs.len()).unwrap_or(u64::MAX));
        Ok(SnapshotFrame::Chunk(pairs))
    }
}

fn header(header: pb::SnapshotHeader) -> Result<SnapshotFrame, String> {
    if header.format != SNAPSHOT_FORMAT {
        return Err(format!(
            "its format is {}, this version reads {SNAPSHOT_FORMAT}: upgrade this member",
            header.format
        ));
    }
    let applied = header.applied.ok_or("it lacks the applied log id")?;
    Ok(SnapshotFrame::Header(LogId { term: Term(applied.term), index: LogIndex(applied.index) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLIED: LogId = LogId { term: Term(3), index: LogIndex(77) };

    fn pair(bucket: Bucket, key: &'static str) -> SnapshotPair {
        (bucket, Bytes::from_static(key.as_bytes()), Bytes::from_static(b"value"))
    }

    fn frames() -> Vec<Bytes> {
        let mut encoder = SnapshotEncoder::default();
        let first = [pair(Bucket::Meta, "a"), pair(Bucket::Records, "a"), pair(Bucket::Records, "b")];
        vec![
            encoder.header(APPLIED),
            encoder.chunk(&first),
            encoder.chunk(&[pair(Bucket::Leases, "l")]),
            encoder.end(),
        ]
    }

    fn read(stream: &[u8]) -> Result<(Vec<SnapshotFrame>, bool), SnapshotError> {
        let mut decoder = SnapshotDecoder::default();
        let mut read = Vec::new();
        for piece in stream.chunks(7) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame()? {
                read.push(frame);
            }
        }
        Ok((read, decoder.is_complete()))
    }

    #[test]
    fn a_stream_in_small_pieces_is_read_whole() {
        let (read, complete) = read(&frames().concat()).unwrap();
        assert!(complete);
        assert_eq!(read.len(), 4);
        assert_eq!(read[0], SnapshotFrame::Header(APPLIED));
        assert_eq!(read[2], SnapshotFrame::Chunk(vec![pair(Bucket::Leases, "l")]));
    }

    #[test]
    fn any_flipped_bit_is_found_out() {
        let stream = frames().concat();
        for at in 0..stream.len() {
            let mut damaged = stream.clone();
            damaged[at] ^= 0x10;
            let whole = read(&damaged).is_ok_and(|(_, complete)| complete);
            assert!(!whole, "byte {at} was changed and nobody saw it");
        }
    }

    #[test]
    fn a_frame_lost_repeated_or_moved_is_found_out() {
        let frames = frames();
        for order in [[0, 2, 1, 3].as_slice(), &[0, 1, 3], &[0, 1, 1, 2, 3], &[1, 2, 3]] {
            let stream: Vec<u8> = order.iter().flat_map(|frame| frames[*frame].to_vec()).collect();
            assert!(read(&stream).is_err(), "order {order:?}");
        }
        assert!(!read(&frames[..3].concat()).unwrap().1, "without its end a stream is not complete");
    }

    #[test]
    fn pairs_out_of_order_are_refused() {
        let mut encoder = SnapshotEncoder::default();
        let pairs = [pair(Bucket::Records, "b"), pair(Bucket::Records, "a")];
        let stream = [encoder.header(APPLIED), encoder.chunk(&pairs)].concat();
        assert!(read(&stream).unwrap_err().what.contains("out of order"));
    }
}
