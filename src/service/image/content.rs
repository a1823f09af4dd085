//! What a store's buckets hold, in etcd's terms. Source: etcd 3.5, `server/mvcc`, `server/lease`, `server/etcdserver/api`.
//!
//! | bucket | key | value |
//! |---|---|---|
//! | alarm | the alarm | nothing |
//! | auth | `authEnabled`, `authRevision` | whether clients are asked who they are, and how often that was changed |
//! | authRoles, authUsers | name | the role, the user |
//! | cluster | `clusterVersion` | the version whose files these are |
//! | key | revision, `_`, place in it, and `t` if the key went | key and value |
//! | lease | id | the lease |
//! | members | id in hexadecimal | the member, as JSON |
//! | members_removed | id in hexadecimal | `removed` |
//! | meta | names | how far the log was applied, the voters, how far history was compacted |
//!
//! A tool that restores the image puts members of its own in the place of these. What a compaction has not swept yet is in
//! it, as it would be in etcd's: no reader sees it, and the next compaction takes it away.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};

use super::{IMAGE_VERSION, ImageError};
use crate::machine::alarm::parse_alarm_key;
use crate::machine::auth::UserKey;
use crate::machine::codec::auth::{decode_auth_status, decode_role, decode_user};
use crate::machine::codec::items::decode_member;
use crate::machine::command::Member;
use crate::machine::effects::Event;
use crate::machine::lease::{Lease, parse_lease_key};
use crate::machine::members::MemberKey;
use crate::machine::mvcc::record::{decode_record, parse_record_key};
use crate::machine::mvcc::{KV_META_KEY, decode_revisions};
use crate::machine::persist::Bucket;
use crate::machine::state::{APPLIED_KEY, decode_applied};
use crate::pb::{leasepb, mvccpb};
use crate::service::convert;
use crate::storage::engine::{PageLimit, Pair, Reader, successor};
use crate::types::{RevPair, Revision};

/// What is read at once.
const PAGE: PageLimit = PageLimit { pairs_max: 64, bytes_max: 256 * 1024 };

/// A bucket of the image, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Alarm,
    Auth,
    AuthRoles,
    AuthUsers,
    Cluster,
    Key,
    Lease,
    Members,
    MembersRemoved,
    Meta,
}

const PARTS: [(Part, &str); 10] = [
    (Part::Alarm, "alarm"),
    (Part::Auth, "auth"),
    (Part::AuthRoles, "authRoles"),
    (Part::AuthUsers, "authUsers"),
    (Part::Cluster, "cluster"),
    (Part::Key, "key"),
    (Part::Lease, "lease"),
    (Part::Members, "members"),
    (Part::MembersRemoved, "members_removed"),
    (Part::Meta, "meta"),
];

/// Where a reader of the content stands.
#[derive(Debug, Default)]
pub struct Cursor {
    part: usize,
    /// The next key of the engine's bucket, where a part is read page by page.
    from: Bytes,
    /// Whether all pairs of the part were given.
    given: bool,
}

/// The next of the content.
pub enum Step {
    /// Pairs of the bucket that is open, in order.
    Pairs(Vec<Pair>),
    /// That was all of the bucket, which is called so.
    End(&'static str),
}

/// The content of an image. What is small is in memory.
pub struct Content {
    reader: Box<dyn Reader>,
    members: BTreeMap<Bytes, Bytes>,
    removed: BTreeMap<Bytes, Bytes>,
    alarms: BTreeMap<Bytes, Bytes>,
    meta: BTreeMap<Bytes, Bytes>,
    auth: BTreeMap<Bytes, Bytes>,
    users: BTreeMap<Bytes, Bytes>,
}

fn failed(error: impl ToString) -> ImageError {
    ImageError::Unreadable(error.to_string())
}

impl Content {
    /// The content of what `reader` sees.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn new(reader: Box<dyn Reader>) -> Result<Content, ImageError> {
        let mut content = Content {
            reader,
            members: BTreeMap::new(),
            removed: BTreeMap::new(),
            alarms: BTreeMap::new(),
            meta: BTreeMap::new(),
            auth: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        let mut voters = Vec::new();
        let mut learners = Vec::new();
        for (key, value) in content.small(Bucket::Members)? {
            match MemberKey::decode(&key) {
                Some(MemberKey::Present(id)) => {
                    let member = decode_member(value).map_err(failed)?;
                    let role = if member.is_learner { &mut learners } else { &mut voters };
                    role.push(id.0);
                    content.members.insert(format!("{:x}", id.0).into(), member_json(&member).into());
                }
                Some(MemberKey::Removed(id)) => {
                    content.removed.insert(format!("{:x}", id.0).into(), Bytes::from_static(b"removed"));
                }
                // A cluster that is founded on the image has none under way.
                Some(MemberKey::Downgrade) => {}
                None => return Err(failed("a member's key is unreadable")),
            }
        }
        for (key, _) in content.small(Bucket::Alarms)? {
            let (kind, member) = parse_alarm_key(&key).ok_or(failed("an alarm is unreadable"))?;
            let alarm = convert::alarm_member(kind, member).encode_to_vec();
            content.alarms.insert(alarm.into(), Bytes::new());
        }
        content.read_users()?;
        content.meta = content.read_meta(&voters, &learners)?;
        Ok(content)
    }

    /// All pairs of a bucket that is never large.
    fn small(&self, bucket: Bucket) -> Result<Vec<Pair>, ImageError> {
        Ok(self.reader.range(bucket, &[], usize::MAX)?)
    }

    fn read_users(&mut self) -> Result<(), ImageError> {
        for (key, value) in self.small(Bucket::AuthUsers)? {
            match UserKey::decode(&key) {
                Some(UserKey::Status) => {
                    let (enabled, revision) = decode_auth_status(value).map_err(failed)?;
                    self.auth.insert(Bytes::from("authEnabled"), vec![u8::from(enabled)].into());
                    self.auth.insert(Bytes::from("authRevision"), revision.to_be_bytes().to_vec().into());
                }
                Some(UserKey::User(name)) => {
                    let user = decode_user(value).map_err(failed)?;
                    let stored = convert::user(&name, &user).encode_to_vec();
                    self.users.insert(name.into(), stored.into());
                }
                None => return Err(failed("a user's key is unreadable")),
            }
        }
        Ok(())
    }

    fn read_meta(&self, voters: &[u64], learners: &[u64]) -> Result<BTreeMap<Bytes, Bytes>, ImageError> {
        let get = |key: &[u8]| self.reader.get(Bucket::Meta, key).map_err(ImageError::from);
        let mut meta = BTreeMap::new();
        let mut put = |key: &'static str, value: Vec<u8>| meta.insert(Bytes::from(key), Bytes::from(value));
        if let Some(applied) = get(APPLIED_KEY)? {
            let applied = decode_applied(applied).map_err(failed)?;
            put("consistent_index", applied.index.0.to_be_bytes().to_vec());
            put("term", applied.term.0.to_be_bytes().to_vec());
        }
        put("confState", conf_state_json(voters, learners).into());
        if let Some(revisions) = get(KV_META_KEY)? {
            let (_, compacted) = decode_revisions(revisions).map_err(failed)?;
            // The planted bug leaves it to whoever restores the image to find out.
            if compacted > Revision(0) && !crate::mutant!("image-forgets-the-compaction") {
                let at = revision_key(RevPair { main: compacted, sub: 0 });
                put("scheduledCompactRev", at.clone());
                put("finishedCompactRev", at);
            }
        }
        Ok(meta)
    }

    /// The next step from where `cursor` stands, which moves on; `None` after the last bucket.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn step(&self, cursor: &mut Cursor) -> Result<Option<Step>, ImageError> {
        let Some((part, name)) = PARTS.get(cursor.part) else { return Ok(None) };
        if cursor.given {
            *cursor = Cursor { part: cursor.part.saturating_add(1), ..Cursor::default() };
            return Ok(Some(Step::End(name)));
        }
        cursor.given = true;
        let all =
            |pairs: &BTreeMap<Bytes, Bytes>| pairs.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let pairs = match part {
            Part::Alarm => all(&self.alarms),
            Part::Auth => all(&self.auth),
            Part::AuthRoles => self.page(Bucket::AuthRoles, cursor, role)?,
            Part::AuthUsers => all(&self.users),
            Part::Cluster => vec![(Bytes::from("clusterVersion"), Bytes::from(IMAGE_VERSION))],
            Part::Key => self.page(Bucket::Records, cursor, key_value)?,
            // The planted bug takes leases for something that a restored cluster has none of.
            Part::Lease if crate::mutant!("image-leaves-out-leases") => Vec::new(),
            Part::Lease => self.page(Bucket::Leases, cursor, lease)?,
            Part::Members => all(&self.members),
            Part::MembersRemoved => all(&self.removed),
            Part::Meta => all(&self.meta),
        };
        Ok(Some(Step::Pairs(pairs)))
    }

    /// The next pairs of a bucket, each as `translate` says.
    fn page(
        &self,
        bucket: Bucket,
        cursor: &mut Cursor,
        translate: fn(&Bytes, Bytes) -> Result<Pair, ImageError>,
    ) -> Result<Vec<Pair>, ImageError> {
        let pairs = self.reader.page(bucket, &cursor.from, PAGE)?;
        if let Some((last, _)) = pairs.last() {
            cursor.from = successor(last);
            cursor.given = false;
        }
        pairs.into_iter().map(|(key, value)| translate(&key, value)).collect()
    }
}

/// A change in etcd's form.
fn key_value(key: &Bytes, value: Bytes) -> Result<Pair, ImageError> {
    let at = parse_record_key(key).map_err(failed)?;
    let mut place = revision_key(at);
    let kv = match decode_record(at, value).map_err(failed)?.event {
        Event::Put(kv) => convert::key_value(kv),
        Event::Delete { key, .. } => {
            place.push(b't');
            mvccpb::KeyValue { key, ..mvccpb::KeyValue::default() }
        }
    };
    Ok((place.into(), kv.encode_to_vec().into()))
}

/// A role in etcd's form.
fn role(key: &Bytes, value: Bytes) -> Result<Pair, ImageError> {
    let name = str::from_utf8(key).map_err(failed)?;
    let role = decode_role(value).map_err(failed)?;
    Ok((key.clone(), convert::role(name, &role).encode_to_vec().into()))
}

/// A lease in etcd's form.
fn lease(key: &Bytes, value: Bytes) -> Result<Pair, ImageError> {
    let id = parse_lease_key(key).ok_or(failed("a lease's key is unreadable"))?;
    let lease = Lease::decode(value).map_err(failed)?;
    let remaining_ttl = lease.remaining.map_or(0, |left| left.0);
    let stored = leasepb::Lease { id: id.0, ttl: lease.ttl.0, remaining_ttl };
    Ok((key.clone(), stored.encode_to_vec().into()))
}

/// A place in history as etcd writes it: both numbers big-endian, so that they are in order.
fn revision_key(at: RevPair) -> Vec<u8> {
    let mut key = at.main.0.to_be_bytes().to_vec();
    key.push(b'_');
    key.extend_from_slice(&i64::from(at.sub).to_be_bytes());
    key
}

fn member_json(member: &Member) -> String {
    let fields = [
        ("id", Some(json!(member.id.0))),
        ("peerURLs", Some(json!(member.peer_urls))),
        ("isLearner", member.is_learner.then_some(json!(true))),
        ("name", (!member.name.is_empty()).then(|| json!(member.name))),
        ("clientURLs", (!member.client_urls.is_empty()).then(|| json!(member.client_urls))),
    ];
    object(fields)
}

fn conf_state_json(voters: &[u64], learners: &[u64]) -> String {
    object([
        ("voters", (!voters.is_empty()).then(|| json!(voters))),
        ("learners", (!learners.is_empty()).then(|| json!(learners))),
        ("auto_leave", Some(json!(false))),
    ])
}

/// A JSON object of the fields that have something to say.
fn object<const FIELDS: usize>(fields: [(&str, Option<Value>); FIELDS]) -> String {
    let said = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(said.collect()).to_string()
}
