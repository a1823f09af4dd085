//! Restoring, on images made by hand and on a disk that dies: what each bucket becomes (`content`), what is refused
//! (`refused`), and that no crash leaves half of a state for a whole one (`crashes`).
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

mod content;
mod crashes;
mod image;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate::env::{Disk, Env, OpenMode};
use quorate::machine::State;
use quorate::machine::command::Member;
use quorate::restore::{Order, Origin, RestoreError, Restored, restore};
use quorate::storage::data_dir::{state_dir, wal_dir};
use quorate::storage::engine::redb::RedbEngine;
use quorate::storage::engine::{Engine as _, EngineOptions, Identity, PageLimit, Reader};
use quorate::storage::wal::{Inspected, inspect};
use quorate::types::{ClusterId, MemberId};

/// Whose the directories are.
const OWNER: Identity = Identity { cluster: ClusterId(0xc1), member: MemberId(1) };

/// A host whose disk is this one.
fn env_on(disk: Arc<dyn Disk>) -> Env {
    Env { disk, ..Env::real().unwrap() }
}

/// Where everything is made.
fn data_dir() -> PathBuf {
    PathBuf::from("/data/member")
}

fn image_file() -> PathBuf {
    PathBuf::from("/backup/image.db")
}

/// Lays an image onto a disk, durably.
fn lay(disk: &dyn Disk, bytes: &[u8]) {
    disk.create_dir_all(Path::new("/backup")).unwrap();
    disk.create_dir_all(Path::new("/data")).unwrap();
    let file = disk.open(&image_file(), OpenMode::Create).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/backup")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
}

/// What is asked for: a cluster of three, this member the first.
fn order(bump: i64) -> Order {
    let member = |id: u64| Member {
        id: MemberId(id),
        name: format!("m{id}"),
        peer_urls: vec![format!("http://host{id}:2380")],
        ..Member::default()
    };
    Order {
        from: Origin::Image { file: image_file(), trusted: false },
        data_dir: data_dir(),
        identity: OWNER,
        members: (1..=3).map(member).collect(),
        bump,
    }
}

/// Restores an image on a disk of its own.
fn restored(bytes: &[u8], order: &Order) -> (Arc<dyn Disk>, Result<Restored, RestoreError>) {
    let disk = quorate_disk::SimDisk::new(quorate_disk::Config::new(7)).mount();
    lay(&*disk, bytes);
    let made = restore(&env_on(Arc::clone(&disk)), order);
    (disk, made)
}

/// What a member would start on: its state and a view of the engine, and its log.
struct Found {
    state: State,
    reader: Box<dyn Reader>,
    log: Inspected,
}

fn find(disk: &Arc<dyn Disk>) -> Found {
    let options = EngineOptions::default();
    let engine = RedbEngine::open(&**disk, &state_dir(&data_dir()), OWNER, options).unwrap();
    let reader = engine.reader().unwrap();
    let state = State::load(|bucket, from, limit| reader.page(bucket, from, PageLimit::of(limit))).unwrap();
    let log = inspect(disk, &wal_dir(&data_dir()), OWNER).unwrap().unwrap();
    Found { state, reader, log }
}
