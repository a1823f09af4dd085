//! Images of members' states: received whole, restored onto a disk of their own by the product's own tool, and read there.
//!
//! What is judged is the restored state, so that whoever sends an image and whoever restores it must both be right. An image
//! is known to be whole as any client of the API knows it: nothing is left, and its checksum came.

use std::path::{Path, PathBuf};

use quorate::env::{Disk, OpenMode};
use quorate::machine::command::Member;
use quorate::machine::effects::Event;
use quorate::machine::lease::{Lease, parse_lease_key};
use quorate::machine::mvcc::record::{decode_record, parse_record_key};
use quorate::machine::persist::Bucket;
use quorate::machine::state::{APPLIED_KEY, decode_applied};
use quorate::restore::{Order, Origin, Restored, restore};
use quorate::storage::data_dir::state_dir;
use quorate::storage::engine::redb::RedbEngine;
use quorate::storage::engine::{Engine, EngineOptions, Reader, successor};
use quorate_check::history as seen;
use quorate_check::types::{LeaseId, LogIndex, Revision};
use quorate_disk::{Config, SimDisk};

use super::convert;
use crate::plan::MemberIndex;
use crate::world::{World, product};

/// What an image's length is a multiple of, without its checksum.
const SECTOR_BYTES: usize = 512;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 32;
/// Pairs that are read at once.
const PAGE: usize = 256;

/// An image as it comes.
#[derive(Debug, Default)]
pub struct Receiving {
    bytes: Vec<u8>,
    left: Option<u64>,
}

impl Receiving {
    /// Takes a piece, behind which so many bytes are still to come, the checksum aside.
    pub fn take(&mut self, piece: &[u8], left: u64) {
        self.bytes.extend_from_slice(piece);
        self.left = Some(left);
    }

    /// The image, if it is whole.
    pub fn whole(self) -> Option<Vec<u8>> {
        let whole = self.left == Some(0) && self.bytes.len() % SECTOR_BYTES == CHECKSUM_BYTES;
        whole.then_some(self.bytes)
    }
}

/// Restores an image and reads what a store made of it holds: all but who took it, of whom and when.
///
/// # Errors
/// Why that cannot be done, in a sentence.
pub fn read(world: &World, image: &[u8]) -> Result<seen::Image, String> {
    let disk = SimDisk::new(Config::new(world.plan().seed));
    let env = world.tool(&disk);
    let (file, data_dir) = (PathBuf::from("/image.db"), PathBuf::from("/restored"));
    store(&*env.disk, &file, image).map_err(|error| format!("the file: {error}"))?;
    let member = product::founder_id(MemberIndex(0));
    let identity = product::identity(member);
    let peer_urls = vec![product::client_url(MemberIndex(0))];
    let members = vec![Member { id: member, peer_urls, ..Member::default() }];
    let from = Origin::Image { file, trusted: false };
    let order = Order { from, data_dir: data_dir.clone(), identity, members, bump: 0 };
    let Restored { revision, compacted, .. } = restore(&env, &order).map_err(|error| error.to_string())?;
    let engine = RedbEngine::open(&*env.disk, &state_dir(&data_dir), identity, EngineOptions::default());
    let engine = engine.map_err(|error| error.to_string())?;
    engine.accept().map_err(|error| error.to_string())?;
    let reader = engine.reader().map_err(|error| error.to_string())?;
    Ok(seen::Image {
        applied: applied(&*reader)?,
        revision: Revision(revision.0),
        compacted: Revision(compacted.0.max(0)),
        changes: changes(&*reader)?,
        leases: leases(&*reader)?,
        ..seen::Image::default()
    })
}

fn store(disk: &dyn Disk, path: &Path, image: &[u8]) -> std::io::Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    file.write_at(0, image)?;
    file.sync_data()
}

/// The last entry that the image held: the restored state stands at the one behind it.
fn applied(reader: &dyn Reader) -> Result<LogIndex, String> {
    let stored = reader.get(Bucket::Meta, APPLIED_KEY).map_err(|error| error.to_string())?;
    let stored = stored.ok_or("it does not say where it stands")?;
    let applied = decode_applied(stored).map_err(|error| error.to_string())?;
    Ok(LogIndex(applied.index.0.saturating_sub(1)))
}

fn changes(reader: &dyn Reader) -> Result<Vec<seen::Event>, String> {
    let change = |key: bytes::Bytes, value: bytes::Bytes| {
        let at = parse_record_key(&key).map_err(|error| error.to_string())?;
        Ok(match decode_record(at, value).map_err(|error| error.to_string())?.event {
            Event::Put(kv) => {
                seen::Event { kind: seen::EventKind::Put, kv: convert::pair(kv), prev_kv: None }
            }
            Event::Delete { key, mod_revision } => {
                let (key, mod_revision) = (key.as_ref().into(), Revision(mod_revision.0));
                let kv = seen::KeyValue { key, mod_revision, ..seen::KeyValue::default() };
                seen::Event { kind: seen::EventKind::Delete, kv, prev_kv: None }
            }
        })
    };
    each(reader, Bucket::Records, change)
}

fn leases(reader: &dyn Reader) -> Result<Vec<seen::ImageLease>, String> {
    let lease = |key: bytes::Bytes, value: bytes::Bytes| {
        let id = parse_lease_key(&key).ok_or("a lease's key makes no sense")?;
        let lease = Lease::decode(value).map_err(|error| error.to_string())?;
        Ok(seen::ImageLease { id: LeaseId(id.0), ttl_secs: lease.ttl.0 })
    };
    each(reader, Bucket::Leases, lease)
}

/// Every pair of a bucket, in order, as `read` takes it.
fn each<T>(
    reader: &dyn Reader,
    bucket: Bucket,
    read: impl Fn(bytes::Bytes, bytes::Bytes) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let (mut all, mut from) = (Vec::new(), bytes::Bytes::new());
    loop {
        let page = reader.range(bucket, &from, PAGE).map_err(|error| error.to_string())?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        from = successor(last);
        for (key, value) in page {
            all.push(read(key, value)?);
        }
    }
}
