//! redb's storage on top of our own disk: one page of ours, then redb's file.
//!
//! Errors say where in the file: redb's own do not, so the gate remembers the last page that was read, which is the one
//! that redb looked at when it found something wrong with it.
//!
//! What is read is held against what was written there ([`Pages`]). What redb writes while it opens a file waits until the
//! member starts on it ([`Held`]).
//!
//! Invariant: once the [`Gate`] is shut nothing is written any more. redb writes when it is dropped (it turns
//! pending batches into durable ones), and that would let the engine overtake the WAL, or make a clean
//! shutdown of a crash; so the engine shuts the gate before it lets go of redb.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use redb::StorageBackend;

use super::held::Held;
use super::pages::Pages;
use crate::env::File;
use crate::storage::engine::identity::HEADER_BYTES;

/// Decides whether writes pass, and remembers whether one failed.
#[derive(Debug, Default)]
pub struct Gate {
    shut: AtomicBool,
    /// The first call that failed: what was said of it.
    failure: OnceLock<(io::ErrorKind, String)>,
    /// Where the last read began and how long it was, in bytes of the file.
    last_read: (AtomicU64, AtomicU64),
    /// The first page that was found to have changed by itself: what was said of it.
    rot: OnceLock<String>,
    /// Whether there are such; read before the lock is taken.
    holds: AtomicBool,
    /// The writes that wait, while the file is opened.
    held: Mutex<Option<Held>>,
}

impl Gate {
    /// From now on writes wait, over a file of this length in bytes.
    pub fn hold(&self, len: u64) {
        *self.waiting() = Some(Held::over(len));
        self.holds.store(true, Ordering::Release);
    }

    /// Lets the writes that wait through to `file`, and all further ones. Whoever comes meanwhile finds all of it done.
    ///
    /// # Errors
    /// The disk's, with its place, or that the gate is shut.
    pub fn release(&self, file: &dyn File) -> io::Result<()> {
        if !self.holds.load(Ordering::Acquire) {
            return Ok(());
        }
        self.pass()?;
        let mut waiting = self.waiting();
        let released = waiting.take().map_or(Ok(()), |held| held.release(file));
        self.holds.store(false, Ordering::Release);
        self.note(released)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the writes that wait, if they do.
    fn held<T>(&self, work: impl FnOnce(&mut Held) -> T) -> Option<T> {
        if !self.holds.load(Ordering::Acquire) {
            return None;
        }
        self.waiting().as_mut().map(work)
    }

    /// From now on every write fails.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::Release);
    }

    /// Whether any call to the file failed, the gate's own refusals included.
    pub fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// What is wrong with the file: a page that has changed, else the first failure of a call.
    pub fn failure(&self) -> Option<io::Error> {
        if let Some(text) = self.rot.get() {
            return Some(io::Error::new(io::ErrorKind::InvalidData, text.clone()));
        }
        self.failure.get().map(|(kind, text)| io::Error::new(*kind, text.clone()))
    }

    /// The last read of the file, for errors.
    pub fn last_read(&self) -> String {
        let (offset, bytes) = &self.last_read;
        let (offset, bytes) = (offset.load(Ordering::Acquire), bytes.load(Ordering::Acquire));
        format!("the last page read is at offset {offset}, {bytes} bytes")
    }

    fn pass(&self) -> io::Result<()> {
        if self.shut.load(Ordering::Acquire) {
            return self.note(Err(io::Error::other("the engine is closed")));
        }
        Ok(())
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            self.failure.get_or_init(|| (error.kind(), error.to_string()));
        })
    }
}

/// redb's view of an engine file.
#[derive(Debug)]
pub struct Backend {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
    pages: Pages,
}

impl Backend {
    /// redb's storage in `file`, behind the header page.
    pub fn new(file: Arc<dyn File>, gate: Arc<Gate>) -> Backend {
        Backend { file, gate, pages: Pages::default() }
    }

    /// Holds what was read against what stood there.
    fn check(&self, at: u64, data: &[u8]) -> io::Result<()> {
        // The planted bug takes what it reads for what was written.
        let wrong = self
            .pages
            .read(at, data)
            .err()
            .filter(|_| !crate::mutant!("engine-pages-not-verified-when-read"));
        let Some(wrong) = wrong else { return Ok(()) };
        let text = format!("the page at offset {wrong} has changed since it was written or first read");
        let text = self.gate.rot.get_or_init(|| text);
        Err(io::Error::new(io::ErrorKind::InvalidData, text.clone()))
    }
}

fn header_bytes() -> u64 {
    u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX)
}

fn shifted(offset: u64) -> io::Result<u64> {
    offset
        .checked_add(header_bytes())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "offset past the end of any file"))
}

/// The disk's error with what was tried and where; its kind stays.
pub fn placed(doing: &str, offset: u64, result: io::Result<()>) -> io::Result<()> {
    result
        .map_err(|error| io::Error::new(error.kind(), format!("cannot {doing} at offset {offset}: {error}")))
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        let len = self.gate.held(|held| held.file_len()).map_or_else(|| self.file.len(), Ok);
        self.gate.note(len).map(|len| len.saturating_sub(header_bytes()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let at = shifted(offset)?;
        self.gate.last_read.0.store(at, Ordering::Release);
        self.gate.last_read.1.store(u64::try_from(out.len()).unwrap_or(u64::MAX), Ordering::Release);
        let read = match self.gate.held(|held| held.read(&*self.file, at, out)) {
            Some(read) => read,
            None => self.file.read_at(at, out),
        };
        self.gate.note(placed("read", at, read))?;
        self.gate.note(self.check(at, out))
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.gate.pass()?;
        let len = shifted(len)?;
        self.pages.end(len);
        if self.gate.held(|held| held.set_len(len)).is_some() {
            return Ok(());
        }
        self.gate.note(placed("end the file", len, self.file.set_len(len)))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.gate.pass()?;
        if self.gate.held(Held::sync).is_some() {
            return Ok(());
        }
        self.gate.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.gate.pass()?;
        let at = shifted(offset)?;
        self.pages.forget(at, u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.gate.held(|held| held.write(at, data)).is_none() {
            self.gate.note(placed("write", at, self.file.write_at(at, data)))?;
        }
        self.pages.wrote(at, data);
        Ok(())
    }
}
