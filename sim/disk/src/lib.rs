//! The simulated disk: a file system in memory that is as bad as real ones are, and no worse.
//!
//! # The fault model
//!
//! **What a file is.** Three layers. The *platter* holds what nothing but rot can take. *Dirty* sectors (512
//! bytes) were written and not synced; each remembers the states it went through. *Limbo* sectors are visible
//! to reads and belong to no future sync: their own sync failed, or the device lied. Reads see dirty over limbo
//! over platter. The file's length goes the same way: one durable length, and the lengths since.
//!
//! **What makes things durable.** A successful `sync_data` moves all dirty sectors and the length of that file
//! to the platter. A successful `sync_dir` does so for the names in that folder. Nothing else does: not time,
//! not closing, not a sync of another file. A name that is not durable takes its file along when it is lost,
//! synced or not.
//!
//! **When a call happens.** At one moment: the world sees it undone or done, and its latency passes afterwards.
//! So a crash *between* calls finds no call half done, and a crash in the latency of a sync finds it complete and
//! unanswered. A crash *inside* a call comes only from [`SimDisk::arm`]: a plan that never arms tests half.
//!
//! **Two crashes.** A *kill* ends a process: everything it wrote stays visible to the next one, dirty, and is
//! still lost at a later power loss. A call that is interrupted by a kill is done up to some sector. Limbo
//! sectors may leave the page cache, and then the platter's old bytes are back. A *power loss* decides on each
//! dirty sector by itself: kept in its newest state or in one it went through, lost, or torn ([`Torn`]). So
//! unsynced writes come out reordered, and a write of 4 KiB may survive in part. A lost length cuts what was
//! written beyond it; a kept length over lost sectors reads as what was there before, or zero. Names: each
//! creation, removal or rename is kept or lost by itself, a rename always whole; a change whose ground is lost is
//! lost too. The crash as a whole has a mode ([`Survival`]), so that losing everything, keeping everything and
//! keeping all up to a moment all happen. All limbo is gone.
//!
//! **Fencing.** [`SimDisk::mount`] starts a process life. After [`SimDisk::kill`], [`SimDisk::power_loss`] or an
//! armed crash every handle of that life fails every call with `BrokenPipe` and changes nothing, destructors
//! included; its locks are gone.
//!
//! **Armed crashes.** [`SimDisk::arm`] lets the machine die inside the n-th write, sync or name change from now,
//! which reaches places that a crash between two calls never does: the middle of an engine's commit.
//!
//! **Faults** ([`Fault`], by the n-th call or by rate): EIO, ENOSPC (by capacity too, with `allocate` as the
//! reservation), latent read errors, misdirected and lost writes, lying syncs, stalls. *After a failed sync*
//! each dirty sector is either on the platter or in limbo; so the data reads back well, a second sync succeeds,
//! and a power loss takes it all the same. Rot and other damage come in from outside ([`SimDisk::flip_bit`],
//! [`SimDisk::corrupt`], [`SimDisk::make_unreadable`], [`SimDisk::truncate`], [`SimDisk::remove`]). What damage took
//! is remembered: [`SimDisk::damage`] says where it is, and [`SimDisk::mend`] puts it back, as an owner does who
//! rescues a disk.
//!
//! **Which faults break the promise.** `quorate::env::Disk` states what may be assumed. Crashes, EIO, ENOSPC and
//! stalls stay within it: every synced byte must survive them. Rot, latent errors, misdirected and lost writes
//! and lying syncs do not: there the product must notice, and survive where another member has the data.
//!
//! **Determinism.** No decision comes from a running stream. Each is a hash of the seed, the path under which
//! the file was created, the number of the call on that path, the sector, and for crashes the plan's number of
//! the event; so one operation or fault less leaves the other decisions as they were. Nothing here iterates
//! over a hash map, knows the time or starts a thread.
//!
//! **What it does not model.** Times and permissions; hard links; a page cache that drops pages by itself (each
//! read sees the newest write until a crash or [`SimDisk::drop_caches`]); stale bytes of other files in new
//! space; a removed file's space that stays taken until the removal is durable; writes shorter than asked without
//! an error. Nothing becomes durable by waiting: that the kernel had written some of it back is what a power loss
//! draws. At most four unsynced states of a sector and sixteen of a length are remembered.
//!
//! # Code map
//! `dice` keyed decisions; `platter` sparse bytes; `content` one file's layers; `tree` names; `crash` what a
//! power loss leaves; `harm` what damage took; `faults` the switchboard; `latency` simulated time; `state` all of it behind one lock;
//! `mount` the handles; `inspect` the view and the damage from outside.

mod content;
mod crash;
mod dice;
mod faults;
mod harm;
mod inspect;
mod latency;
mod mount;
mod platter;
mod state;
mod tree;

use std::sync::Arc;
use std::time::Duration;

use quorate::env::Disk;

pub use crash::{Survival, Toll, Torn};
pub use faults::{Arm, Call, Crash, Fault, FaultKind};
pub use inspect::Damage;
pub use latency::{Latency, Range};
pub use platter::{PAGE_BYTES, SECTOR_BYTES};
pub use state::{Action, Config, Counters, DeathHook, DiskEvent, Observer};

/// One machine's disk. It outlives the processes that mount it; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    shared: Arc<state::Shared>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(config: Config) -> Self {
        Self { shared: Arc::new(state::Shared::new(config)) }
    }

    /// Starts a process life and returns its disk. A life that has not ended is killed first.
    pub fn mount(&self) -> Arc<dyn Disk> {
        let life = self.shared.state().start();
        Arc::new(mount::Mount { shared: Arc::clone(&self.shared), life })
    }

    /// The number of the living process, if there is one; the first is 1.
    pub fn incarnation(&self) -> Option<u64> {
        self.shared.state().life
    }

    /// Whether the last process life ended by a crash and none has begun since.
    pub fn died(&self) -> bool {
        self.crash().is_some()
    }

    /// How the last process life ended, when none has begun since.
    pub fn crash(&self) -> Option<Crash> {
        self.shared.state().died
    }

    /// Kills the process: what it wrote stays visible to the next, and is not durable for that. `event` is the
    /// plan's number of this fault. Does nothing when no process is alive.
    pub fn kill(&self, event: u64) {
        let mut state = self.shared.state();
        if state.life.is_some() {
            state.crash(Crash::Kill, event, Survival::Drawn);
        }
    }

    /// The power goes, for the process if one is alive and for all that is not durable. `event` is the plan's
    /// number of this fault and keys every decision on what survives.
    pub fn power_loss(&self, event: u64) {
        self.power_loss_with(event, Survival::Drawn);
    }

    /// A power loss whose mode is chosen.
    pub fn power_loss_with(&self, event: u64, survival: Survival) {
        self.shared.state().crash(Crash::PowerLoss, event, survival);
    }

    /// Lets the machine die inside a coming call; replaces what was armed before. A crash disarms.
    pub fn arm(&self, arm: Arm) {
        self.shared.state().switchboard.arm(Some(arm));
    }

    /// Takes [`SimDisk::arm`] back.
    pub fn disarm(&self) {
        self.shared.state().switchboard.arm(None);
    }

    /// Whether an armed crash is still to come.
    pub fn is_armed(&self) -> bool {
        self.shared.state().switchboard.is_armed()
    }

    /// Called when an armed crash has happened, from within the dying call, with the disk unlocked.
    pub fn on_death(&self, hook: DeathHook) {
        self.shared.on_death(hook);
    }

    /// Called for every call of a process, with the disk unlocked.
    pub fn observe(&self, observer: Observer) {
        self.shared.observe(observer);
    }

    /// Adds a fault on one chosen call.
    ///
    /// # Panics
    /// When such a call can never meet such a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().switchboard.choose(fault);
    }

    /// Lets this share of all calls of a class fail, in a million; 0 takes it back.
    ///
    /// # Panics
    /// When such a call can never meet such a fault.
    pub fn set_rate(&self, call: Call, kind: FaultKind, per_million: u32) {
        self.shared.state().switchboard.set_rate(call, kind, per_million);
    }

    /// Drops pages from the cache while the process lives, as memory pressure does: half of the sectors that were
    /// visible and never reached the platter show their old bytes again. `event` is the plan's number of this
    /// fault.
    pub fn drop_caches(&self, event: u64) {
        self.shared.state().evict(event);
    }

    /// Takes back chosen faults of this kind that have not struck.
    pub fn take_back(&self, kind: FaultKind) {
        self.shared.state().switchboard.take_back(kind);
    }

    /// Takes back all faults that have not struck, and all rates. Damage already done stays.
    pub fn clear_faults(&self) {
        self.shared.state().switchboard.clear();
    }

    /// Changes the size of the file system; below what is used, nothing more can be reserved.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.state().config.capacity_bytes = bytes;
    }

    /// Fills the file system up to this many free bytes.
    pub fn leave_free(&self, bytes: u64) {
        let mut state = self.shared.state();
        let used = state.config.capacity_bytes.saturating_sub(state.free_bytes());
        state.config.capacity_bytes = used.saturating_add(bytes);
    }

    /// Changes how long calls take.
    pub fn set_latency(&self, latency: Latency) {
        self.shared.state().config.latency = latency;
    }

    /// The simulated time that calls have taken since this was last asked.
    pub fn take_latency(&self) -> Duration {
        std::mem::take(&mut self.shared.state().owed)
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.shared.state().counters
    }
}
