//! The whole disk behind one lock: names, contents, switches, counters, and which process is alive.
//!
//! Every call of a process goes: [`Shared::enter`] (is this process alive?), [`State::judge`] (latency, counters,
//! faults), the work under the verdict, [`Shared::leave`] (crash if so judged, then the hooks, outside the lock).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::content::{Content, sectors};
use crate::crash::{PowerLoss, Survival, Toll, Torn};
use crate::dice::{Dice, Draw, Purpose, path_key};
use crate::faults::{Call, Crash, FaultKind, MILLION, Switchboard, Verdict};
use crate::latency::Latency;
use crate::platter::{PAGE_BYTES, SECTOR_BYTES, index, length};
use crate::tree::{Entry, Tree};

/// How a simulated disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Keys every decision.
    pub seed: u64,
    /// Size of the file system.
    pub capacity_bytes: u64,
    /// How long calls take.
    pub latency: Latency,
    /// What may become of a sector that is being written when the power goes.
    pub torn: Torn,
}

impl Config {
    /// A disk of 16 GiB with default latencies, whose torn sectors are a mix of old and new.
    pub fn new(seed: u64) -> Self {
        Self { seed, capacity_bytes: 16 << 30, latency: Latency::default(), torn: Torn::Mixed }
    }
}

/// What was done on the disk so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of [`Call::Read`].
    pub reads: u64,
    /// Calls of [`Call::Write`].
    pub writes: u64,
    /// Calls of [`Call::Sync`].
    pub syncs: u64,
    /// Calls of [`Call::Name`].
    pub names: u64,
    /// Bytes asked for by reads.
    pub bytes_read: u64,
    /// Bytes handed to writes.
    pub bytes_written: u64,
    /// Calls that failed by a fault.
    pub faults: u64,
    /// Calls that were acknowledged and not done as asked.
    pub astray: u64,
    /// Calls that a stall struck.
    pub stalls: u64,
    /// Process kills, armed ones included.
    pub kills: u64,
    /// Power losses, armed ones included.
    pub power_losses: u64,
    /// What all power losses together took.
    pub toll: Toll,
}

/// What a call did, for the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Bytes were read; the hash is of what was seen.
    Read,
    /// Bytes were written; the hash is of what was given.
    Write,
    /// The length was set to `offset`.
    SetLen,
    /// The first `offset` bytes were reserved.
    Allocate,
    /// The file was synced.
    Sync,
    /// The folder was synced.
    SyncDir,
    /// The file or folder was created.
    Create,
    /// The file or folder was removed.
    Remove,
    /// The path was renamed; the hash is of the new path.
    Rename,
}

/// One call, as the observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskEvent<'a> {
    /// What was done.
    pub action: Action,
    /// On which path, from the disk's root.
    pub path: &'a Path,
    /// First byte concerned.
    pub offset: u64,
    /// Bytes concerned.
    pub len: u64,
    /// xxh3 of the bytes; zero where there are none.
    pub hash: u64,
    /// Whether the caller was told of success.
    pub ok: bool,
}

/// Called for every call of a process.
pub type Observer = Box<dyn Fn(&DiskEvent<'_>) + Send + Sync>;
/// Called when an armed crash has happened, from within the dying call.
pub type DeathHook = Box<dyn Fn(Crash) + Send + Sync>;

/// A call as it is reported; the hash is taken only when somebody listens.
pub(crate) struct Report<'a> {
    pub(crate) action: Action,
    pub(crate) path: &'a Path,
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
}

#[derive(Default)]
struct Hooks {
    observer: Option<Arc<Observer>>,
    death: Option<Arc<DeathHook>>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    hooks: Mutex<Hooks>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self { state: Mutex::new(State::new(config)), hooks: Mutex::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn observe(&self, observer: Observer) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).observer = Some(Arc::new(observer));
    }

    pub(crate) fn on_death(&self, hook: DeathHook) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).death = Some(Arc::new(hook));
    }

    /// The disk, for a process that is alive.
    pub(crate) fn enter(&self, life: u64) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.life == Some(life) { Ok(state) } else { Err(fenced()) }
    }

    /// Ends a call: crashes if so judged, lets go of the disk, tells the hooks.
    pub(crate) fn leave<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        verdict: &Verdict,
        result: io::Result<T>,
        report: &Report<'_>,
    ) -> io::Result<T> {
        let died = match verdict {
            Verdict::Die(crash, event) => {
                state.crash(*crash, *event, Survival::Drawn);
                Some(*crash)
            }
            Verdict::Proceed | Verdict::Fault(_) => None,
        };
        drop(state);
        let (observer, death) = {
            let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
            (hooks.observer.clone(), hooks.death.clone())
        };
        if let Some(observer) = observer {
            observer(&DiskEvent {
                action: report.action,
                path: report.path,
                offset: report.offset,
                len: length(report.bytes.len()),
                hash: if report.bytes.is_empty() { 0 } else { xxh3_64(report.bytes) },
                ok: result.is_ok() && died.is_none(),
            });
        }
        match died {
            None => result,
            Some(crash) => {
                if let Some(death) = death {
                    death(crash);
                }
                Err(fenced())
            }
        }
    }
}

/// One file: its bytes, and what keys the decisions about it.
#[derive(Debug)]
pub(crate) struct FileNode {
    /// Of the path it was created under and how many were created there before; renames do not change it.
    pub(crate) origin: u64,
    pub(crate) content: Content,
    /// Whether a process finds it under a name.
    pub(crate) linked: bool,
    /// Where it was read last, the newest at the end.
    pub(crate) reads: VecDeque<u64>,
}

/// How many reads of a file are remembered.
const READS_KEPT: usize = 16;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) dice: Dice,
    pub(crate) tree: Tree,
    pub(crate) files: BTreeMap<u64, FileNode>,
    /// Open handles of the living process, by file.
    pub(crate) open: BTreeMap<u64, u64>,
    /// Files the living process holds a lock on.
    pub(crate) locks: BTreeSet<u64>,
    pub(crate) switchboard: Switchboard,
    pub(crate) counters: Counters,
    pub(crate) owed: Duration,
    /// The living process, if there is one.
    pub(crate) life: Option<u64>,
    pub(crate) lives: u64,
    /// How the last process ended.
    pub(crate) died: Option<Crash>,
    time: u64,
    calls_of_path: BTreeMap<(u64, Call), u64>,
}

impl State {
    fn new(config: Config) -> Self {
        Self {
            config,
            dice: Dice::new(config.seed),
            tree: Tree::new(),
            files: BTreeMap::new(),
            open: BTreeMap::new(),
            locks: BTreeSet::new(),
            switchboard: Switchboard::default(),
            counters: Counters::default(),
            owed: Duration::ZERO,
            life: None,
            lives: 0,
            died: None,
            time: 0,
            calls_of_path: BTreeMap::new(),
        }
    }

    /// Accounts for a call and decides what happens to it; returns the draw for partial effects too.
    pub(crate) fn judge(&mut self, call: Call, path: &Path, bytes: u64) -> (Verdict, Draw) {
        self.time += 1;
        let key = path_key(path);
        let nth = self.calls_of_path.entry((key, call.class())).or_default();
        *nth += 1;
        let kind = match call {
            Call::Read => 0,
            Call::Write => 1,
            Call::Sync | Call::SyncDir => 2,
            Call::Name => 3,
        };
        let about = [key, *nth, kind];
        match call {
            Call::Read => {
                (self.counters.reads, self.counters.bytes_read) =
                    (self.counters.reads + 1, self.counters.bytes_read + bytes)
            }
            Call::Write => {
                (self.counters.writes, self.counters.bytes_written) =
                    (self.counters.writes + 1, self.counters.bytes_written + bytes)
            }
            Call::Sync | Call::SyncDir => self.counters.syncs += 1,
            Call::Name => self.counters.names += 1,
        }
        self.owed += self.config.latency.draw(call, self.dice.about(Purpose::Latency, about));
        let dice = self.dice;
        let rate =
            |fault: u64| dice.about(Purpose::FaultRate, [key, about[1], kind << 8 | fault]).below(MILLION);
        let mut verdict = self.switchboard.judge(call, path, rate);
        match verdict {
            Verdict::Fault(FaultKind::Stalled(time)) => {
                self.owed += time;
                self.counters.stalls += 1;
                verdict = Verdict::Proceed;
            }
            Verdict::Fault(FaultKind::Lost | FaultKind::Misdirected) => self.counters.astray += 1,
            Verdict::Fault(_) => self.counters.faults += 1,
            Verdict::Proceed | Verdict::Die(..) => {}
        }
        (verdict, dice.about(Purpose::Partial, about))
    }

    /// The number of the call being served.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    pub(crate) fn file(&self, file: u64) -> io::Result<&FileNode> {
        self.files.get(&file).ok_or_else(|| io::Error::other("the simulated disk lost an open file"))
    }

    pub(crate) fn file_mut(&mut self, file: u64) -> io::Result<&mut FileNode> {
        self.files.get_mut(&file).ok_or_else(|| io::Error::other("the simulated disk lost an open file"))
    }

    /// Bytes that may still be reserved.
    pub(crate) fn free_bytes(&self) -> u64 {
        let held = |(id, file): (&u64, &FileNode)| {
            if file.linked || self.open.contains_key(id) { file.content.space().pages() } else { 0 }
        };
        let used: u64 = self.files.iter().map(held).sum();
        self.config.capacity_bytes.saturating_sub(used * PAGE_BYTES)
    }

    pub(crate) fn read(
        &mut self,
        file: u64,
        offset: u64,
        buf: &mut [u8],
        verdict: &Verdict,
    ) -> io::Result<()> {
        let FileNode { content, reads, .. } = self.file_mut(file)?;
        if reads.len() == READS_KEPT {
            reads.pop_front();
        }
        reads.push_back(offset);
        let end = offset.checked_add(length(buf.len())).ok_or(io::ErrorKind::InvalidInput)?;
        match verdict {
            Verdict::Fault(FaultKind::Eio) | Verdict::Die(..) => return Err(eio()),
            Verdict::Fault(FaultKind::Latent) => content.spoil(offset / SECTOR_BYTES),
            _ => {}
        }
        if end > content.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of the file"));
        }
        if content.unreadable_in(offset, length(buf.len())).is_some() {
            return Err(eio());
        }
        content.read(offset, buf);
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        file: u64,
        offset: u64,
        data: &[u8],
        verdict: &Verdict,
        mut draw: Draw,
    ) -> io::Result<()> {
        let end = offset.checked_add(length(data.len())).ok_or(io::ErrorKind::InvalidInput)?;
        let (dice, time) = (self.dice, self.time);
        let space = self.file(file)?.content.space();
        let (first, last) = (offset / PAGE_BYTES, end.div_ceil(PAGE_BYTES));
        let mut done = end;
        let mut failure = None;
        if space.missing(first, last) > 0 {
            let free = self.free_bytes() / PAGE_BYTES;
            done = done.min(self.file(file)?.content.space().fits_until(first, last, free) * PAGE_BYTES);
            failure = (done < end).then(enospc);
        }
        // An interrupted write was copied sector by sector up to some point.
        let range = sectors(offset, length(data.len()));
        let partial = (range.start + draw.below(range.end - range.start + 1)) * SECTOR_BYTES;
        match verdict {
            Verdict::Fault(FaultKind::Eio) => (done, failure) = (done.min(partial), Some(eio())),
            Verdict::Fault(FaultKind::NoSpace) => (done, failure) = (done.min(partial), Some(enospc())),
            Verdict::Die(Crash::Kill, _) => done = done.min(partial),
            _ => {}
        }
        let data = data.get(..index(done.saturating_sub(offset))).unwrap_or(data);
        let node = self.file_mut(file)?;
        let origin = node.origin;
        if !data.is_empty() {
            node.content.write(time, offset, data, &|sector| {
                dice.about(Purpose::Forget, [origin, sector, time]).next()
            });
        }
        match verdict {
            Verdict::Fault(FaultKind::Lost) => node.content.lose(offset, length(data.len())),
            Verdict::Fault(FaultKind::Misdirected) => {
                let wrong = dice.about(Purpose::Misdirect, [origin, offset, length(data.len())]).next();
                node.content.misdirect(offset, length(data.len()), wrong);
            }
            _ => {}
        }
        failure.map_or(Ok(()), Err)
    }

    /// `set_len` and `allocate`: done whole or not at all.
    pub(crate) fn resize(
        &mut self,
        file: u64,
        len: u64,
        reserve: bool,
        verdict: &Verdict,
        mut draw: Draw,
    ) -> io::Result<()> {
        match verdict {
            Verdict::Fault(FaultKind::Eio) => return Err(eio()),
            Verdict::Fault(FaultKind::NoSpace) => return Err(enospc()),
            Verdict::Die(Crash::Kill, _) if draw.chance(1, 2) => return Ok(()),
            _ => {}
        }
        let (dice, time) = (self.dice, self.time);
        if reserve {
            let missing = self.file(file)?.content.space().missing(0, len.div_ceil(PAGE_BYTES));
            if missing > 0 && missing.saturating_mul(PAGE_BYTES) > self.free_bytes() {
                return Err(enospc());
            }
        }
        let node = self.file_mut(file)?;
        let origin = node.origin;
        if reserve {
            node.content.allocate(time, len);
        } else {
            node.content
                .set_len(time, len, &|sector| dice.about(Purpose::Forget, [origin, sector, time]).next());
        }
        Ok(())
    }

    pub(crate) fn sync(
        &mut self,
        file: u64,
        path: &Path,
        verdict: &Verdict,
        mut draw: Draw,
    ) -> io::Result<()> {
        let dice = self.dice;
        let nth = self.calls_of_path.get(&(path_key(path), Call::Sync)).copied().unwrap_or(0);
        let node = self.file_mut(file)?;
        let origin = node.origin;
        let reached = |sector: u64| dice.about(Purpose::FailedSync, [origin, nth, sector]).chance(1, 2);
        match verdict {
            Verdict::Fault(kind @ (FaultKind::Eio | FaultKind::NoSpace)) => {
                node.content.fail_sync(&mut |sector| reached(sector), reached(u64::MAX));
                Err(if *kind == FaultKind::Eio { eio() } else { enospc() })
            }
            Verdict::Fault(FaultKind::Lost) | Verdict::Die(Crash::PowerLoss, _) => Ok(()),
            Verdict::Die(Crash::Kill, _) if draw.chance(1, 2) => Ok(()),
            _ => {
                node.content.sync();
                Ok(())
            }
        }
    }

    pub(crate) fn sync_dir(&mut self, dir: u64, verdict: &Verdict, mut draw: Draw) -> io::Result<()> {
        match verdict {
            Verdict::Fault(kind @ (FaultKind::Eio | FaultKind::NoSpace)) => {
                self.tree.fail_sync(dir);
                return Err(if *kind == FaultKind::Eio { eio() } else { enospc() });
            }
            Verdict::Fault(FaultKind::Lost) | Verdict::Die(Crash::PowerLoss, _) => return Ok(()),
            Verdict::Die(Crash::Kill, _) if draw.chance(1, 2) => return Ok(()),
            _ => self.tree.sync(dir),
        }
        self.collect();
        Ok(())
    }

    /// A file leaves its name, or was replaced.
    pub(crate) fn unlinked(&mut self, entry: Entry) {
        if let Entry::File(file) = entry
            && let Some(node) = self.files.get_mut(&file)
        {
            node.linked = false;
        }
    }

    /// Forgets files that no name, no waiting change and no handle leads to.
    fn collect(&mut self) {
        if self.files.iter().all(|(id, file)| file.linked || self.open.contains_key(id)) {
            return;
        }
        let reachable = self.tree.reachable();
        let open = &self.open;
        self.files
            .retain(|id, file| file.linked || open.contains_key(id) || reachable.contains(&Entry::File(*id)));
    }

    /// Starts a process; one that still lives is killed first.
    pub(crate) fn start(&mut self) -> u64 {
        if self.life.is_some() {
            self.crash(Crash::Kill, 0, Survival::Drawn);
        }
        self.lives += 1;
        self.life = Some(self.lives);
        self.died = None;
        self.lives
    }

    pub(crate) fn crash(&mut self, crash: Crash, event: u64, survival: Survival) {
        if self.life.take().is_some() {
            self.died = Some(crash);
        }
        // A crash that was armed for the process that is gone must not strike the next one.
        self.switchboard.arm(None);
        self.open.clear();
        self.locks.clear();
        match crash {
            Crash::Kill => {
                self.counters.kills += 1;
                self.evict(event);
            }
            Crash::PowerLoss => {
                self.counters.power_losses += 1;
                self.power_loss(event, survival);
            }
        }
        self.collect();
    }

    /// Takes half of the limbo sectors out of the page cache.
    pub(crate) fn evict(&mut self, event: u64) {
        let dice = self.dice;
        for file in self.files.values_mut() {
            let origin = file.origin;
            file.content
                .evict(&mut |sector| dice.about(Purpose::Evict, [origin, sector, event]).chance(1, 2));
        }
    }

    /// What keys the decisions about a file created now under a path: no two files have the same, or equal luck
    /// would tie together files that only passed through one temporary name.
    pub(crate) fn origin(&self, path_key: u64) -> u64 {
        let nth = self.calls_of_path.get(&(path_key, Call::Name)).copied().unwrap_or(0);
        self.dice.about(Purpose::Origin, [path_key, nth, 0]).next()
    }

    fn power_loss(&mut self, event: u64, survival: Survival) {
        let times = self.files.values().filter_map(|file| file.content.oldest());
        let oldest = times.chain(self.tree.oldest()).min().unwrap_or(self.time);
        let torn = self.config.torn;
        let mut loss = PowerLoss::new(self.dice, event, survival, torn, oldest, self.time);
        self.tree.power_loss(&mut |op| loss.keeps(op));
        for file in self.files.values_mut() {
            loss.strike(file.origin, &mut file.content);
            file.linked = false;
        }
        for entry in self.tree.reachable() {
            if let Entry::File(file) = entry
                && let Some(node) = self.files.get_mut(&file)
            {
                node.linked = true;
            }
        }
        let toll = &mut self.counters.toll;
        toll.sectors_lost += loss.toll.sectors_lost;
        toll.sectors_torn += loss.toll.sectors_torn;
        toll.lengths_lost += loss.toll.lengths_lost;
        toll.names_lost += loss.toll.names_lost;
    }

    /// The components of a path, and the path they make from the root.
    pub(crate) fn split(path: &Path) -> io::Result<(Vec<String>, PathBuf)> {
        use std::path::Component;
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    parts.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned());
                }
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leaves its folder"));
                }
            }
        }
        let full = parts.iter().fold(PathBuf::from("/"), |path, part| path.join(part));
        Ok((parts, full))
    }
}

/// What every call of a dead process gets.
fn fenced() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the process that held this handle is dead")
}

/// "Input/output error", as the host reports it.
pub(crate) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// "No space left on device", as the host reports it.
pub(crate) fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}
