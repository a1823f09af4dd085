//! A member that parts from the others: its stored state is changed behind its back, with all that vouches for it, so that
//! nothing but a comparison with others can tell.
//!
//! The last that happens in a run, once its books are closed: no oracle judges what comes of it but the one question
//! whether the others find out. Until then nobody has parted, and an alarm that says so is false.

use std::sync::{MutexGuard, PoisonError};

use quorate::env::Disk;
use quorate::machine::codec::record::{append_superseded, decode_record, encode_record, parse_record_key};
use quorate::machine::effects::{Event, Record, Tally};
use quorate::machine::mvcc::KV_META_KEY;
use quorate::machine::persist::{Bucket, Write};
use quorate::pb::record as stored;
use quorate::storage::engine::redb::RedbEngine;
use quorate::storage::engine::{Engine, EngineOptions, Reader, successor};
use quorate::types::{MemberId, RevPair};
use quorate_disk::Crash;

use super::{World, product};
use crate::plan::MemberIndex;

/// Pairs read at a time.
const PAGE: usize = 200;
/// Keys the end of the process whose state is changed.
const LAST_KILL: u64 = u64::MAX >> 2;

/// Who has parted, if somebody has.
#[derive(Debug, Default)]
pub(super) struct Parting {
    struck: Option<MemberIndex>,
    /// It found out by itself, and refused to start.
    refused: bool,
}

impl World {
    fn parting(&self) -> MutexGuard<'_, Parting> {
        self.inner.parting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a member was made to part.
    pub(super) fn has_parted(&self) -> bool {
        self.parting().struck.is_some()
    }

    /// Whether the member that was made to part has refused to start.
    pub fn parted_refused(&self) -> bool {
        self.parting().refused
    }

    /// Whether the end of a process is that of the member that parted and says so: nothing is wrong with that.
    pub(super) fn says_it_parted(&self, index: MemberIndex, why: &str) -> bool {
        let mut parting = self.parting();
        let says = parting.struck == Some(index) && why.contains(product::PARTED);
        parting.refused |= says;
        says
    }

    /// Closes the books, ends a member's process, changes what it has stored and starts it again; whether there was
    /// anything to change.
    pub fn part(&self, index: MemberIndex) -> bool {
        self.inner.record.close();
        self.stop_witness();
        self.hold(index, Crash::Kill, LAST_KILL);
        let seat = self.seat(index);
        let dir = product::state_dir(self.generation(index));
        let member = MemberId(seat.id().0);
        let changed = change(&*seat.disk.mount(), &dir, member);
        self.inner.record.note(self.now(), format_args!("part {index} {changed:?}"));
        if changed == Ok(true) {
            self.parting().struck = Some(index);
        }
        self.release(index);
        changed == Ok(true)
    }
}

/// Changes the newest value of some key in the engine in `dir`, and the sums with it; whether there is one.
fn change(disk: &dyn Disk, dir: &std::path::Path, member: MemberId) -> Result<bool, String> {
    let said = |error: quorate::storage::engine::EngineError| error.to_string();
    let identity = product::identity(member);
    let engine = RedbEngine::open(disk, dir, identity, EngineOptions::default()).map_err(said)?;
    engine.accept().map_err(said)?;
    let reader = engine.reader().map_err(said)?;
    let Some((at, record)) = newest_value(&*reader)? else { return Ok(false) };
    let meta = reader.get(Bucket::Meta, KV_META_KEY).map_err(said)?.unwrap_or_default();
    drop(reader);
    let Some(writes) = rewritten(at, &record, meta)? else { return Ok(false) };
    engine.apply(&writes).map_err(said)?;
    engine.close().map_err(said)?;
    Ok(true)
}

/// The last change of all, if it is a value: no other supersedes it.
fn newest_value(reader: &dyn Reader) -> Result<Option<(RevPair, Record)>, String> {
    let (mut from, mut last) = (bytes::Bytes::new(), None);
    loop {
        let page = reader.range(Bucket::Records, &from, PAGE).map_err(|error| error.to_string())?;
        let Some((key, value)) = page.into_iter().next_back() else { break };
        from = successor(&key);
        last = Some((key, value));
    }
    let Some((key, value)) = last else { return Ok(None) };
    let at = parse_record_key(&key).map_err(|error| error.to_string())?;
    Ok(Some((at, decode_record(at, value).map_err(|error| error.to_string())?)))
}

fn rewritten(at: RevPair, record: &Record, meta: bytes::Bytes) -> Result<Option<Vec<Write>>, String> {
    use prost::Message as _;
    let Event::Put(mut kv) = record.event.clone() else { return Ok(None) };
    let old = encode_record(at.sub, &record.event).tally;
    kv.value = kv.value.iter().map(|byte| byte ^ 1).collect();
    let mut new = encode_record(at.sub, &Event::Put(kv));
    if new.tally == old {
        return Ok(None);
    }
    if let Some(superseded) = record.superseded_sum {
        append_superseded(&mut new.bytes, superseded);
    }
    let mut meta = stored::KvMeta::decode(meta).map_err(|error| error.to_string())?;
    meta.live = meta.live.map(|live| in_place_of(&live, old, new.tally));
    let key = quorate::machine::codec::record::record_key(at);
    Ok(Some(vec![
        Write { bucket: Bucket::Records, key, value: Some(new.bytes.into()) },
        Write {
            bucket: Bucket::Meta,
            key: bytes::Bytes::from_static(KV_META_KEY),
            value: Some(meta.encode_to_vec().into()),
        },
    ]))
}

/// A stored sum with one record in the place of another.
fn in_place_of(sum: &stored::Tally, old: Tally, new: Tally) -> stored::Tally {
    let hash = u128::from(sum.hash_high) << 64 | u128::from(sum.hash_low);
    let sum = Tally { hash, bytes: sum.size_bytes }.minus(old).plus(new);
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    stored::Tally { hash_high: half(sum.hash >> 64), hash_low: half(sum.hash), size_bytes: sum.bytes }
}
