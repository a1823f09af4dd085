//! Images made by hand, bucket by bucket, in the terms in which etcd keeps its state.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use quorate::pb::{authpb, etcdserverpb, leasepb, mvccpb};
use quorate::storage::bolt::BoltWriter;
use sha2::{Digest as _, Sha256};

/// The buckets, each with its pairs.
#[derive(Clone, Default)]
pub struct Image(pub BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>);

/// A place in history as etcd writes it.
pub fn place(main: i64, sub: i64, deletes: bool) -> Vec<u8> {
    let mut key = [&main.to_be_bytes()[..], b"_", &sub.to_be_bytes()].concat();
    if deletes {
        key.push(b't');
    }
    key
}

impl Image {
    /// One with the buckets that every store has.
    pub fn new() -> Image {
        let image = Image::default();
        image.with("key", Vec::new()).with(
            "meta",
            vec![
                (b"consistent_index".to_vec(), 90_u64.to_be_bytes().to_vec()),
                (b"term".to_vec(), 4_u64.to_be_bytes().to_vec()),
            ],
        )
    }

    pub fn with(mut self, bucket: &'static str, pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Image {
        self.0.entry(bucket).or_default().extend(pairs);
        self
    }

    /// A write: key, creation, version.
    pub fn put(self, main: i64, sub: i64, key: &str, created: i64, version: i64, lease: i64) -> Image {
        let kv = mvccpb::KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            create_revision: created,
            mod_revision: main,
            version,
            value: Bytes::from(format!("{key} at {main}")),
            lease,
        };
        self.with("key", vec![(place(main, sub, false), kv.encode_to_vec())])
    }

    pub fn delete(self, main: i64, sub: i64, key: &str) -> Image {
        let kv =
            mvccpb::KeyValue { key: Bytes::copy_from_slice(key.as_bytes()), ..mvccpb::KeyValue::default() };
        self.with("key", vec![(place(main, sub, true), kv.encode_to_vec())])
    }

    pub fn compacted(self, scheduled: i64, finished: i64) -> Image {
        self.with(
            "meta",
            vec![
                (b"scheduledCompactRev".to_vec(), place(scheduled, 0, false)),
                (b"finishedCompactRev".to_vec(), place(finished, 0, false)),
            ],
        )
    }

    pub fn lease(self, id: i64, ttl: i64, remaining_ttl: i64) -> Image {
        let lease = leasepb::Lease { id, ttl, remaining_ttl };
        self.with("lease", vec![(id.to_be_bytes().to_vec(), lease.encode_to_vec())])
    }

    pub fn alarm(self, member_id: u64, alarm: etcdserverpb::AlarmType) -> Image {
        let alarm = etcdserverpb::AlarmMember { member_id, alarm: alarm.into() };
        self.with("alarm", vec![(alarm.encode_to_vec(), Vec::new())])
    }

    pub fn auth(self, enabled: bool, revision: u64) -> Image {
        self.with(
            "auth",
            vec![
                (b"authEnabled".to_vec(), vec![u8::from(enabled)]),
                (b"authRevision".to_vec(), revision.to_be_bytes().to_vec()),
            ],
        )
    }

    pub fn user(self, name: &str, password: &str, roles: &[&str]) -> Image {
        let user = authpb::User {
            name: Bytes::copy_from_slice(name.as_bytes()),
            password: Bytes::copy_from_slice(password.as_bytes()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            options: Some(authpb::UserAddOptions { no_password: password.is_empty() }),
        };
        self.with("authUsers", vec![(name.as_bytes().to_vec(), user.encode_to_vec())])
    }

    pub fn role(self, name: &str, ranges: &[(&str, &str, i32)]) -> Image {
        let permission = |(key, end, perm_type): &(&str, &str, i32)| authpb::Permission {
            perm_type: *perm_type,
            key: Bytes::copy_from_slice(key.as_bytes()),
            range_end: Bytes::copy_from_slice(end.as_bytes()),
        };
        let name_bytes = Bytes::copy_from_slice(name.as_bytes());
        let role = authpb::Role { name: name_bytes, key_permission: ranges.iter().map(permission).collect() };
        self.with("authRoles", vec![(name.as_bytes().to_vec(), role.encode_to_vec())])
    }

    /// The file, with its checksum.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut writer, mut trees) = (BoltWriter::default(), BytesMut::new());
        for (name, pairs) in &self.0 {
            for (key, value) in pairs {
                writer.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value), &mut trees);
            }
            writer.end_bucket(name, &mut trees);
        }
        let head = writer.finish(&mut trees).head();
        let mut file = [head, trees].concat();
        file.extend_from_slice(&Sha256::digest(&file));
        file
    }
}

/// A store in which nothing is missing: compacted at 6, at revision 11, with users who are asked.
pub fn rich() -> Image {
    Image::new()
        .put(2, 0, "a", 2, 1, 0)
        .put(3, 0, "a", 2, 2, 0)
        .put(4, 0, "gone", 4, 1, 0)
        .delete(5, 0, "gone")
        .put(6, 0, "b", 6, 1, 7)
        .put(6, 1, "c", 6, 1, 0)
        .compacted(6, 0)
        .put(7, 0, "a", 2, 3, 0)
        .delete(8, 0, "c")
        .put(9, 0, "c", 9, 1, 8)
        .put(9, 1, "d", 9, 1, 0)
        .delete(10, 0, "d")
        .put(11, 0, "e", 11, 1, 0)
        .lease(7, 60, 20)
        .lease(8, 100, 0)
        .alarm(0xabc, etcdserverpb::AlarmType::Nospace)
        .auth(true, 9)
        .user("root", "$2a$10$of root", &["root"])
        .user("nobody", "", &["keys", "none"])
        .role("keys", &[("m", "z", 2), ("a", "", 0), ("a", "b", 1)])
}
