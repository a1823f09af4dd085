//! The buckets of an image, as the pairs of our own: the counterpart of [`crate::service`]'s images.
//!
//! Pairs come in the order of our buckets and their keys. The keys are walked twice: first to learn what the compacted
//! revision still reads, so that only that is taken over, however far the image's own compaction had come.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::RestoreError;
use super::source::{Source, parse_place};
use crate::machine::alarm::alarm_key;
use crate::machine::auth::change::{PasswordHash, Permission};
use crate::machine::auth::{Auth, Role, User, UserKey};
use crate::machine::codec::auth::{encode_auth_status, encode_role, encode_user};
use crate::machine::codec::items::encode_member;
use crate::machine::command::{KeyValue, Member};
use crate::machine::effects::Event;
use crate::machine::lease::{Lease, TTL_SECS_MAX, lease_key};
use crate::machine::members::MemberKey;
use crate::machine::mvcc::rebuild::Rebuild;
use crate::machine::persist::{Bucket, Write};
use crate::machine::snapshot::SnapshotPair;
use crate::pb::etcdserverpb::AlarmMember;
use crate::pb::{authpb, leasepb, mvccpb};
use crate::service::convert;
use crate::types::{LeaseId, MemberId, RevPair, Revision, TtlSecs};

/// Takes the pairs, one by one.
pub type Sink<'a> = &'a mut dyn FnMut(SnapshotPair) -> Result<(), RestoreError>;

/// What the key of a change says: its place, and whether the key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: RevPair,
    deletes: bool,
}

impl Place {
    fn parse(key: &[u8]) -> Option<Place> {
        match key.strip_suffix(b"t") {
            Some(rest) if key.len() == 18 => Some(Place { at: parse_place(rest)?, deletes: true }),
            _ => Some(Place { at: parse_place(key)?, deletes: false }),
        }
    }
}

/// All of `source`, with these members; answers the write of the history's numbers, which stands in a bucket before.
///
/// # Errors
/// See [`RestoreError`].
pub fn read(source: &Source, members: &[Member], sink: Sink<'_>) -> Result<Write, RestoreError> {
    let numbers = records(source, sink)?;
    leases(source, sink)?;
    for (key, value) in member_pairs(members) {
        sink((Bucket::Members, key, value))?;
    }
    alarms(source, sink)?;
    users(source, sink)?;
    roles(source, sink)?;
    Ok(numbers)
}

fn place_of(source: &Source, key: &[u8]) -> Result<Place, RestoreError> {
    Place::parse(key)
        .ok_or_else(|| source.wrong(format!("bucket key: {} is no place in history", key.escape_ascii())))
}

/// A revision that was raised by hand is marked by a value that is nothing.
fn is_mark(source: &Source, place: Place, value: &[u8]) -> bool {
    value.is_empty() && place.at.main <= source.compacted
}

fn records(source: &Source, sink: Sink<'_>) -> Result<Write, RestoreError> {
    let ground = read_at_compaction(source)?;
    let mut history = Rebuild::new(source.compacted);
    source.each("key", &mut |key, value| {
        let place = place_of(source, key)?;
        if is_mark(source, place, value) {
            return Ok(());
        }
        let event = event(source, place, value)?;
        if place.at.main <= source.compacted && ground.get(event.key()) != Some(&place) {
            return Ok(());
        }
        let records = history.add(place.at, &event).map_err(|what| source.wrong(what))?;
        records.into_iter().try_for_each(|(key, value)| sink((Bucket::Records, key, value)))
    })?;
    let (records, numbers) = history.finish();
    records.into_iter().try_for_each(|(key, value)| sink((Bucket::Records, key, value)))?;
    Ok(numbers)
}

/// The change of each key that the compacted revision reads; a deletion counts at that very revision alone.
fn read_at_compaction(source: &Source) -> Result<BTreeMap<Bytes, Place>, RestoreError> {
    let mut latest: BTreeMap<Bytes, Place> = BTreeMap::new();
    source.each("key", &mut |key, value| {
        let place = place_of(source, key)?;
        if place.at.main <= source.compacted && !is_mark(source, place, value) {
            let event = event(source, place, value)?;
            match latest.get_mut(event.key()) {
                Some(held) => *held = place,
                None => _ = latest.insert(Bytes::copy_from_slice(event.key()), place),
            }
        }
        Ok(())
    })?;
    latest.retain(|_, place| !place.deletes || place.at.main == source.compacted);
    Ok(latest)
}

fn event(source: &Source, place: Place, value: &[u8]) -> Result<Event, RestoreError> {
    let stored = mvccpb::KeyValue::decode(value).map_err(|error| {
        source.wrong(format!("bucket key: revision {}/{}: {error}", place.at.main, place.at.sub))
    })?;
    if place.deletes {
        return Ok(Event::Delete { key: stored.key, mod_revision: place.at.main });
    }
    Ok(Event::Put(KeyValue {
        key: stored.key,
        create_revision: Revision(stored.create_revision),
        mod_revision: Revision(stored.mod_revision),
        version: stored.version,
        value: stored.value,
        lease: LeaseId(stored.lease),
    }))
}

fn leases(source: &Source, sink: Sink<'_>) -> Result<(), RestoreError> {
    source.each("lease", &mut |key, value| {
        let wrong = |what: &str| source.wrong(format!("bucket lease: {}: {what}", key.escape_ascii()));
        let stored = leasepb::Lease::decode(value).map_err(|error| wrong(&error.to_string()))?;
        let id = LeaseId(stored.id);
        if lease_key(id) != key || !id.is_some() {
            return Err(wrong("its lease has another id"));
        }
        if stored.ttl < 1 || stored.ttl > TTL_SECS_MAX.0 {
            return Err(wrong("it lives for no sensible time"));
        }
        let remaining = Some(stored.remaining_ttl.min(stored.ttl)).filter(|left| *left > 0).map(TtlSecs);
        let lease = Lease::restored(TtlSecs(stored.ttl), remaining);
        sink((Bucket::Leases, lease_key(id), lease.encode()))
    })
}

/// The members, who have not started yet: what they say of themselves comes when they do.
fn member_pairs(members: &[Member]) -> BTreeMap<Bytes, Bytes> {
    let unnamed = |member: &Member| Member { name: String::new(), client_urls: Vec::new(), ..member.clone() };
    let pair = |member: Member| (MemberKey::Present(member.id).encode(), encode_member(&member));
    members.iter().map(unnamed).map(pair).collect()
}

/// Alarms stay: what they complain of has come along.
fn alarms(source: &Source, sink: Sink<'_>) -> Result<(), RestoreError> {
    let mut found = BTreeMap::new();
    source.each("alarm", &mut |key, _| {
        let wrong = || source.wrong(format!("bucket alarm: {} is no alarm", key.escape_ascii()));
        let alarm = AlarmMember::decode(key).map_err(|_| wrong())?;
        let kind = convert::alarm_kind(alarm.alarm).ok_or_else(wrong)?;
        found.insert(alarm_key(kind, MemberId(alarm.member_id)), Bytes::new());
        Ok(())
    })?;
    found.into_iter().try_for_each(|(key, value)| sink((Bucket::Alarms, key, value)))
}

fn users(source: &Source, sink: Sink<'_>) -> Result<(), RestoreError> {
    let mut auth = Auth::default();
    source.each("auth", &mut |key, value| {
        let garbage = || source.wrong(format!("bucket auth: {} makes no sense", key.escape_ascii()));
        match (key, value) {
            (b"authEnabled", [flag @ (0 | 1)]) => auth.enabled = *flag == 1,
            (b"authRevision", revision) => {
                let revision = <[u8; 8]>::try_from(revision).map_err(|_| garbage())?;
                auth.revision = u64::from_be_bytes(revision).max(1);
            }
            (b"authEnabled", _) => return Err(garbage()),
            _ => {}
        }
        Ok(())
    })?;
    // As the machine itself has it: nothing is stored of what never changed.
    if auth.enabled || auth.revision > 1 {
        sink((Bucket::AuthUsers, UserKey::Status.encode(), encode_auth_status(&auth)))?;
    }
    source.each("authUsers", &mut |key, value| {
        let wrong = |what: &str| source.wrong(format!("bucket authUsers: {}: {what}", key.escape_ascii()));
        let stored = authpb::User::decode(value).map_err(|error| wrong(&error.to_string()))?;
        let name = name_of(key, &stored.name).ok_or_else(|| wrong("it is not the name of its user"))?;
        let has_password = !stored.options.is_some_and(|options| options.no_password);
        let password = has_password.then_some(PasswordHash(stored.password));
        let user = User::restored(password, stored.roles.into_iter().collect());
        sink((Bucket::AuthUsers, UserKey::User(name).encode(), encode_user(&user)))
    })
}

fn roles(source: &Source, sink: Sink<'_>) -> Result<(), RestoreError> {
    source.each("authRoles", &mut |key, value| {
        let wrong = |what: &str| source.wrong(format!("bucket authRoles: {}: {what}", key.escape_ascii()));
        let stored = authpb::Role::decode(value).map_err(|error| wrong(&error.to_string()))?;
        let name = name_of(key, &stored.name).ok_or_else(|| wrong("it is not the name of its role"))?;
        let permissions = stored.key_permission.into_iter().map(|given| convert::permission(Some(given)));
        let mut permissions: Vec<Permission> =
            permissions.collect::<Result<_, _>>().map_err(|_| wrong("a permission of no known kind"))?;
        let place = |given: &Permission| (given.range.start.clone(), given.range.wire_end());
        permissions.sort_by_key(place);
        let twice = permissions.windows(2).any(|pair| matches!(pair, [a, b] if place(a) == place(b)));
        if twice {
            return Err(wrong("it gives one range twice"));
        }
        sink((Bucket::AuthRoles, name.into(), encode_role(&Role { permissions })))
    })
}

/// The name that both the key and what stands under it say.
fn name_of(key: &[u8], name: &[u8]) -> Option<String> {
    str::from_utf8(key).ok().filter(|_| key == name && !key.is_empty()).map(str::to_owned)
}
