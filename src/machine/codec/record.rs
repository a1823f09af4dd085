//! How one change is stored: key and value of the records bucket, and the record's hash and size.
//!
//! The key is (revision, sub) big-endian, so that engine order is history order. The value repeats its place,
//! so that a record read from the wrong place is found out. The canonical form is the encoding without the
//! superseded tally: it is what the state hash covers, because it alone is the record's own content.

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use crate::machine::command::KeyValue;
use crate::machine::effects::{Event, Record, RecordsError, Tally};
use crate::machine::quota;
use crate::pb::record as pb;
use crate::types::{LeaseId, RevPair, Revision};

/// Length of a key in the records bucket, bytes.
pub const RECORD_KEY_LEN: usize = 12;

/// The records bucket's key for a change.
pub fn record_key(at: RevPair) -> Bytes {
    let mut key = [0; RECORD_KEY_LEN];
    let (main, sub) = key.split_at_mut(8);
    main.copy_from_slice(&at.main.0.to_be_bytes());
    sub.copy_from_slice(&at.sub.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// The change that a records bucket's key names.
///
/// # Errors
/// [`RecordsError`] when the key is no such key.
pub fn parse_record_key(key: &[u8]) -> Result<RevPair, RecordsError> {
    let parsed = key.split_first_chunk::<8>().and_then(|(main, rest)| {
        let sub = <[u8; 4]>::try_from(rest).ok()?;
        Some(RevPair { main: Revision(i64::from_be_bytes(*main)), sub: u32::from_be_bytes(sub) })
    });
    parsed
        .filter(|at| at.main > Revision::FIRST)
        .ok_or_else(|| RecordsError(format!("{key:02x?} is no key of a record")))
}

/// A record as bytes, with what the sums need to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// The record's value in the records bucket.
    pub bytes: Vec<u8>,
    /// Its hash and its logical size.
    pub tally: Tally,
}

/// Room left for the superseded tally, bytes, so that adding it copies nothing.
const SUPERSEDED_ROOM: usize = 40;

/// Encodes a change in its canonical form and takes its hash.
pub fn encode_record(sub: u32, event: &Event) -> EncodedRecord {
    let body = to_pb(sub, event);
    let mut bytes = Vec::with_capacity(body.encoded_len().saturating_add(SUPERSEDED_ROOM));
    append(&body, &mut bytes);
    let tally = Tally { hash: xxh3_128(&bytes), bytes: event_size(event) };
    EncodedRecord { bytes, tally }
}

/// Adds the superseded tally to a revision's first record. It has the highest tag, so the canonical form stays
/// a prefix of the stored one.
pub fn append_superseded(encoded: &mut Vec<u8>, superseded: Tally) {
    let tail = pb::Record { superseded: Some(tally_to_pb(superseded)), ..pb::Record::default() };
    append(&tail, encoded);
}

fn append(record: &pb::Record, bytes: &mut Vec<u8>) {
    let encoded = record.encode(bytes);
    assert!(encoded.is_ok(), "a Vec grows as needed");
}

/// The hash and size of a change.
pub fn record_tally(sub: u32, event: &Event) -> Tally {
    encode_record(sub, event).tally
}

/// Reads a record back; keys and values share `bytes`.
///
/// # Errors
/// [`RecordsError`] when the bytes are no record, or that of another place.
pub fn decode_record(at: RevPair, bytes: Bytes) -> Result<Record, RecordsError> {
    let stored = pb::Record::decode(bytes)
        .map_err(|error| RecordsError(format!("record {}/{} is unreadable: {error}", at.main, at.sub)))?;
    if stored.revision != at.main.0 || stored.sub != at.sub {
        return Err(RecordsError(format!(
            "at the place of record {}/{} lies record {}/{}",
            at.main, at.sub, stored.revision, stored.sub
        )));
    }
    let superseded_sum = stored.superseded.map(tally_from_pb);
    let event = if stored.version == 0 {
        Event::Delete { key: stored.key, mod_revision: at.main }
    } else {
        Event::Put(KeyValue {
            key: stored.key,
            create_revision: Revision(stored.create_revision),
            mod_revision: at.main,
            version: stored.version,
            value: stored.value,
            lease: LeaseId(stored.lease),
        })
    };
    Ok(Record { event, superseded_sum })
}

/// The logical size of a change, bytes: what it costs of the quota while it is stored.
pub fn event_size(event: &Event) -> u64 {
    match event {
        Event::Put(kv) => quota::record_cost(kv.key.len(), kv.value.len()),
        Event::Delete { key, .. } => quota::record_cost(key.len(), 0),
    }
}

fn to_pb(sub: u32, event: &Event) -> pb::Record {
    match event {
        Event::Put(kv) => pb::Record {
            revision: kv.mod_revision.0,
            sub,
            key: kv.key.clone(),
            value: kv.value.clone(),
            create_revision: kv.create_revision.0,
            version: kv.version,
            lease: kv.lease.0,
            superseded: None,
        },
        Event::Delete { key, mod_revision } => {
            pb::Record { revision: mod_revision.0, sub, key: key.clone(), ..pb::Record::default() }
        }
    }
}

/// A tally in its stored form.
pub(crate) fn tally_to_pb(tally: Tally) -> pb::Tally {
    let bytes = tally.hash.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
    pb::Tally { hash_high: word(high), hash_low: word(low), size_bytes: tally.bytes }
}

/// A tally from its stored form.
pub(crate) fn tally_from_pb(tally: pb::Tally) -> Tally {
    Tally { hash: (u128::from(tally.hash_high) << 64) | u128::from(tally.hash_low), bytes: tally.size_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> Event {
        Event::Put(KeyValue {
            key: Bytes::from_static(b"k"),
            create_revision: Revision(2),
            mod_revision: Revision(7),
            version: 3,
            value: Bytes::from_static(b"v"),
            lease: LeaseId(9),
        })
    }

    #[test]
    fn a_record_comes_back_as_it_was_stored() {
        let at = RevPair { main: Revision(7), sub: 4 };
        let delete = Event::Delete { key: Bytes::from_static(b"k"), mod_revision: Revision(7) };
        for event in [put(), delete] {
            for superseded_sum in [None, Some(Tally { hash: u128::MAX - 5, bytes: 12 })] {
                let mut encoded = encode_record(4, &event);
                let room = encoded.bytes.capacity();
                superseded_sum.into_iter().for_each(|sum| append_superseded(&mut encoded.bytes, sum));
                assert_eq!(encoded.bytes.capacity(), room, "the tally fits the room left for it");
                let back = decode_record(at, encoded.bytes.into()).unwrap();
                assert_eq!(back, Record { event: event.clone(), superseded_sum });
            }
        }
        assert_eq!(parse_record_key(&record_key(at)).unwrap(), at);
    }

    #[test]
    fn a_record_at_the_wrong_place_is_refused() {
        let encoded = encode_record(4, &put());
        let elsewhere = RevPair { main: Revision(8), sub: 4 };
        assert!(decode_record(elsewhere, encoded.bytes.into()).is_err());
        assert!(parse_record_key(b"short").is_err());
        assert!(parse_record_key(&[0; 13]).is_err());
    }

    #[test]
    fn place_and_content_change_the_hash() {
        let mut later = put();
        if let Event::Put(kv) = &mut later {
            kv.lease = LeaseId(10);
        }
        assert_ne!(record_tally(4, &put()).hash, record_tally(5, &put()).hash);
        assert_ne!(record_tally(4, &put()).hash, record_tally(4, &later).hash);
    }
}
