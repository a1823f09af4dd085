//! Images of a store in memory, read back.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::*;
use crate::env::real::RealDisk;
use crate::env::{Disk as _, OpenMode};
use crate::machine::codec::items::encode_member;
use crate::machine::command::KeyValue;
use crate::machine::command::Member;
use crate::machine::downgrade::encode_level;
use crate::machine::effects::Event;
use crate::machine::lease::lease_key;
use crate::machine::members::MemberKey;
use crate::machine::mvcc::record::{encode_record, record_key};
use crate::machine::persist::Bucket;
use crate::storage::bolt::{BoltError, BoltFile};
use crate::storage::engine::{PageLimit, Pair, pair_bytes};
use crate::types::{ApiLevel, LeaseId, MemberId, RevPair, Revision};

/// What a view sees; fails once so many pages were read.
struct View {
    pairs: BTreeMap<(Bucket, Bytes), Bytes>,
    pages_left: std::cell::Cell<u64>,
}

impl Reader for View {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.pairs.get(&(bucket, Bytes::copy_from_slice(key))).cloned())
    }

    fn page(&self, bucket: Bucket, from: &[u8], limit: PageLimit) -> Result<Vec<Pair>, EngineError> {
        let left = self.pages_left.get().checked_sub(1);
        self.pages_left.set(left.ok_or(EngineError::ReaderTooOld { path: "view".to_owned() })?);
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        let from = (bucket, Bytes::copy_from_slice(from));
        for ((_, key), value) in self.pairs.range(from..).take_while(|((found, _), _)| *found == bucket) {
            if limit.is_reached(pairs.len(), bytes) {
                break;
            }
            bytes += pair_bytes(key, value);
            pairs.push((key.clone(), value.clone()));
        }
        Ok(pairs)
    }
}

/// A view of a store with `keys` keys, deletions, leases and members, that can be read `pages` times.
fn view(keys: u32, pages: u64) -> Box<View> {
    let mut pairs = BTreeMap::new();
    for key in 0..keys {
        let at = RevPair { main: Revision(i64::from(key) + 2), sub: key % 2 };
        let name = Bytes::from(format!("key {key}"));
        let event = if key % 5 == 4 {
            Event::Delete { key: name, mod_revision: at.main }
        } else {
            Event::Put(KeyValue {
                key: name,
                create_revision: at.main,
                mod_revision: at.main,
                version: 1,
                value: Bytes::from(vec![7; usize::try_from(key % 500).unwrap()]),
                lease: LeaseId(0),
            })
        };
        pairs.insert((Bucket::Records, record_key(at)), Bytes::from(encode_record(at.sub, &event).bytes));
    }
    let ttl = crate::types::TtlSecs(60);
    let remaining = Some(crate::types::TtlSecs(7));
    pairs.insert(
        (Bucket::Leases, lease_key(LeaseId(9))),
        crate::machine::lease::Lease::restored(ttl, remaining).encode(),
    );
    for (id, is_learner) in [(0xa, false), (0x1b, true)] {
        let member = Member {
            id: MemberId(id),
            name: format!("m{id:x}"),
            peer_urls: vec!["http://a:1".to_owned()],
            client_urls: Vec::new(),
            is_learner,
        };
        pairs.insert((Bucket::Members, MemberKey::Present(member.id).encode()), encode_member(&member));
    }
    pairs.insert((Bucket::Members, MemberKey::Removed(MemberId(0xc)).encode()), Bytes::new());
    // What the cluster is prepared for is no part of an image.
    let target = encode_level(ApiLevel { major: 3, minor: 6 });
    pairs.insert((Bucket::Members, MemberKey::Downgrade.encode()), target);
    Box::new(View { pairs, pages_left: std::cell::Cell::new(pages) })
}

/// The whole image, held against what every piece promises.
fn made(view: Box<View>) -> Result<Vec<u8>, ImageError> {
    let mut image = Image::begin(view)?;
    let mut bytes = Vec::new();
    let mut left = None;
    loop {
        match image.step()? {
            Progress::More => {}
            Progress::Done => break,
            Progress::Piece(piece) => {
                assert!(!piece.bytes.is_empty() && piece.bytes.len() <= PIECE_BYTES);
                let taken = u64::try_from(piece.bytes.len()).unwrap();
                let expected = left.map_or(piece.left, |left: u64| left.saturating_sub(taken));
                assert_eq!(piece.left, expected, "what is left falls by what was sent");
                left = Some(piece.left);
                bytes.extend_from_slice(&piece.bytes);
            }
        }
    }
    assert_eq!(left, Some(0));
    let (file, checksum) = bytes.split_at(bytes.len() - 32);
    assert_eq!(Sha256::digest(file).as_slice(), checksum);
    assert_eq!(bytes.len() % 512, 32, "a client tells a whole image by its length");
    Ok(file.to_vec())
}

fn bucket(file: &[u8], name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut stored = tempfile::NamedTempFile::new().unwrap();
    stored.write_all(file).unwrap();
    let file = BoltFile::open(RealDisk.open(stored.path(), OpenMode::Read).unwrap()).unwrap();
    let mut pairs = Vec::new();
    file.each(name.as_bytes(), &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok::<(), BoltError>(())
    })
    .unwrap();
    pairs
}

#[test]
fn an_image_holds_what_the_view_sees_in_etcds_terms() {
    for keys in [0, 1, 3_000] {
        let file = made(view(keys, u64::MAX)).unwrap();
        let records = bucket(&file, "key");
        assert_eq!(records.len(), usize::try_from(keys).unwrap());
        for (nth, (key, _)) in records.iter().enumerate() {
            assert_eq!(key[..9], [&(i64::try_from(nth).unwrap() + 2).to_be_bytes()[..], b"_"].concat());
            let ending = if nth % 5 == 4 { &b"t"[..] } else { b"" };
            assert_eq!(key[9..], [&i64::try_from(nth % 2).unwrap().to_be_bytes()[..], ending].concat());
        }
        let text = |pairs: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<String> {
            pairs.iter().map(|(k, v)| format!("{} {}", k.escape_ascii(), v.escape_ascii())).collect()
        };
        assert_eq!(text(bucket(&file, "cluster")), ["clusterVersion 3.5.0"]);
        assert_eq!(text(bucket(&file, "members_removed")), ["c removed"]);
        let members = bucket(&file, "members");
        assert_eq!(members.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), [&b"1b"[..], b"a"]);
        let learner: serde_json::Value = serde_json::from_slice(&members[0].1).unwrap();
        let want = serde_json::json!({
            "id": 0x1b, "name": "m1b", "peerURLs": ["http://a:1"], "isLearner": true
        });
        assert_eq!(learner, want);
        let meta: BTreeMap<Vec<u8>, Vec<u8>> = bucket(&file, "meta").into_iter().collect();
        let state: serde_json::Value = serde_json::from_slice(&meta[&b"confState"[..]]).unwrap();
        assert_eq!(state, serde_json::json!({ "voters": [10], "learners": [27], "auto_leave": false }));
        // id 9, ttl 60, remaining 7
        assert_eq!(bucket(&file, "lease"), [(9_i64.to_be_bytes().to_vec(), vec![8, 9, 16, 60, 24, 7])]);
    }
}

#[test]
fn a_view_that_fails_half_way_ends_the_image() {
    let mut failed = 0;
    for pages in 0..200 {
        match made(view(3_000, pages)) {
            Err(error) => {
                assert!(matches!(error, ImageError::TooOld), "{error}");
                failed += 1;
            }
            Ok(file) => assert_eq!(bucket(&file, "key").len(), 3_000),
        }
    }
    assert!((50..200).contains(&failed), "{failed}");
}
