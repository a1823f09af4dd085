//! What every state engine promises, held against each of them on each disk it may run on.
//!
//! `promises`: one function a promise, run over redb on the host's disk, redb on the simulated disk, and sled.
//! `crashes`: redb on the simulated disk, dying inside every write, sync and name change of a script.
//! `sled_trust` and `state_dir`: when sled's folder is believed, and what is done when it is not.
//! `kills`: a real child process, killed while it writes. `damage`: foreign, newer and rotten files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests: a failure is the point")]
#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "tests: a failure is the point")]

mod crashes;
mod damage;
#[cfg(not(madsim))]
mod defragment;
#[cfg(not(madsim))]
mod kills;
mod promises;
mod script;
#[cfg(not(madsim))]
mod sled_trust;
mod snapshots;
#[cfg(not(madsim))]
mod state_dir;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate::env::Disk;
use quorate::storage::engine::{
    Engine, EngineError, EngineKind, EngineOptions, Identity, Opened, open_engine,
};
use quorate::types::{ClusterId, MemberId};
use quorate_disk::{Config, SimDisk};

/// Whose engines these are.
pub const OWNER: Identity = Identity { cluster: ClusterId(0xc1), member: MemberId(0xa1) };

/// A cache so small that pages are written out before they are flushed.
pub const SMALL: EngineOptions = EngineOptions { cache_bytes: 64 << 10 };

/// One engine on one disk.
pub struct World {
    /// Which engine.
    pub kind: EngineKind,
    /// The disk, as one process sees it.
    pub disk: Arc<dyn Disk>,
    /// The engine's folder.
    pub dir: PathBuf,
}

impl World {
    /// Opens or creates the engine.
    pub fn open(&self) -> Result<Opened, EngineError> {
        open_engine(self.kind, &self.disk, &self.dir, OWNER, SMALL)
    }

    /// Opens an engine that must be fit for use.
    pub fn engine(&self) -> Arc<dyn Engine> {
        usable(self.open().unwrap())
    }
}

/// The engine inside, which must not be untrusted.
pub fn usable(opened: Opened) -> Arc<dyn Engine> {
    match opened {
        Opened::Existing(engine) | Opened::Created(engine) => engine,
        Opened::Untrusted { why } => panic!("the engine is not trusted: {why}"),
    }
}

/// redb on this simulated disk, as a new process sees it.
pub fn redb_on(disk: &SimDisk) -> World {
    World { kind: EngineKind::Redb, disk: disk.mount(), dir: Path::new("/data/state").to_owned() }
}

/// A simulated disk with the durable folder `/data`.
pub fn sim_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(Config::new(seed));
    let mount = disk.mount();
    mount.create_dir_all(Path::new("/data")).unwrap();
    mount.sync_dir(Path::new("/")).unwrap();
    disk
}

/// Runs a promise over every engine and disk, each with an empty folder.
pub fn on_all(promise: impl Fn(&World)) {
    promise(&redb_on(&sim_disk(1)));
    #[cfg(not(madsim))]
    for kind in [EngineKind::Redb, EngineKind::Sled] {
        let temp = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(quorate::env::real::RealDisk);
        promise(&World { kind, disk, dir: temp.path().join("state") });
    }
}
