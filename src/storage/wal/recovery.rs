//! Opening a log: making a new one, or finding out what an earlier process left and making that durable.
//!
//! Recovery never appends to a segment that it finds. It always puts a fresh one behind, whose checkpoint states
//! where the found one ends, and rewrites into it whatever was read but is not known to be durable: bytes read
//! at start may sit in the page cache of a process that was killed, or be marked clean after a sync that failed.
//! Reading and writing are two steps, so that a log can be held against what must not be ahead of it first: one that turns
//! out to have lost something is left as it was found.
//! The fresh segment is complete before it gets its name, so a crash at any step of this leaves either the log
//! as it was or the log as it will be, and recovery simply runs again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::batch::Content;
use super::directory::{Directory, segment_name, segment_of_name};
use super::error::WalError;
use super::format::{BLOCK_BYTES, SEGMENT_BYTES_MIN, SUCCESSOR_OFFSET};
use super::header::{SegmentHeader, SegmentId, Successor};
use super::reading::{History, Layout, Reading, checkpoint_of};
use super::record::{Entry, Identity, Vote};
use super::recycle::Spares;
use super::segment::{Active, Founding, found, highest_index, segment_bytes_for, tail_bytes};
use super::state::{LogState, index_after};
use super::writer::{Salts, Wal, WalOptions};
use crate::env::{Disk, Entropy, Lock, OpenMode};
use crate::types::{Incarnation, LogId};

/// A last batch that was torn and cut. Nothing in it had been promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment it stood in.
    pub file: String,
    /// Where it began, in bytes.
    pub offset: u64,
}

/// What a log held when it was opened. All of it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The newest vote.
    pub vote: Option<Vote>,
    /// Everything up to here is forgotten.
    pub purged: Option<LogId>,
    /// The newest entry known to be committed: at or behind the last one, at or ahead of `purged`.
    pub committed: Option<LogId>,
    /// This start's number, already raised.
    pub incarnation: Incarnation,
    /// The entries behind `purged`, without a gap.
    pub entries: Vec<Entry>,
    /// Where a torn batch was cut, if one was.
    pub torn_tail: Option<TornTail>,
}

/// From where to where a log reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Everything up to here is forgotten.
    pub purged: Option<LogId>,
    /// The last entry; `purged` when none is behind it.
    pub last: Option<LogId>,
}

impl Recovered {
    /// From where to where the log reaches.
    pub fn reach(&self) -> Reach {
        let last = self.entries.last().map(|entry| entry.log_id).or(self.purged);
        Reach { purged: self.purged, last }
    }
}

impl Wal {
    /// Whether a log stands in `dir`. A folder in which creation never finished holds none.
    ///
    /// # Errors
    /// What the disk says.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
        Ok(disk.exists(dir)? && disk.list(dir)?.iter().any(|name| segment_of_name(name).is_some()))
    }

    /// Opens the log in `dir`, creating it when the folder is absent or holds none. Takes the folder's lock for
    /// as long as the log is open. What is returned is durable, the raised incarnation included.
    ///
    /// # Errors
    /// See [`WalError`]; nothing is ever cut but a torn tail.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Wal, Recovered), WalError> {
        Wal::read(disk, dir, identity, options, entropy)?.begin()
    }

    /// Reads the log in `dir`, whose lock it takes; a folder that is absent is made. Of a log that is there nothing is
    /// written before [`ReadLog::begin`].
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn read(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Result<ReadLog, WalError> {
        let bytes = options.segment_bytes;
        if bytes < SEGMENT_BYTES_MIN || !bytes.is_multiple_of(BLOCK_BYTES) {
            let what = format!(
                "a segment size of {bytes} bytes: it must be a multiple of {BLOCK_BYTES}, at least {SEGMENT_BYTES_MIN}"
            );
            return Err(WalError::Refused { dir: dir.display().to_string(), what });
        }
        let (dir, lock) = Directory::open(disk, dir)?;
        let reading = Reading { dir, identity, segment_bytes: bytes, mode: OpenMode::ReadWrite };
        let names = reading.dir.list()?;
        let layout = reading.find(names.iter().filter_map(|name| segment_of_name(name)))?;
        let history = reading.read(&layout.chain)?;
        let history = history.unwrap_or_else(|| History::none(options.segment_bytes));
        let opening = Opening { reading, lock, options, entropy: Salts(entropy) };
        Ok(ReadLog { opening, names, layout, history })
    }
}

/// A log that was read, and is as it was found. Dropped, it lets go of the folder.
pub struct ReadLog {
    opening: Opening,
    names: Vec<String>,
    layout: Layout,
    history: History,
}

impl ReadLog {
    /// From where to where the log reaches, as far as it could be read: not all of that need be durable yet.
    pub fn reach(&self) -> Reach {
        let state = &self.history.replay.state;
        Reach { purged: state.purged, last: state.last }
    }

    /// Makes what was read durable, and opens the log behind it.
    ///
    /// # Errors
    /// See [`WalError`].
    pub fn begin(self) -> Result<(Wal, Recovered), WalError> {
        let ReadLog { opening, names, layout, history } = self;
        let WalOptions { segment_bytes, prepared_segments } = opening.options;
        let spares = Spares::begin(&opening.reading.dir, &names, segment_bytes, prepared_segments)?;
        opening.begin(history, &layout, spares)
    }
}

struct Opening {
    reading: Reading,
    lock: Box<dyn Lock>,
    options: WalOptions,
    entropy: Salts,
}

impl Opening {
    /// Puts a fresh segment behind what was found and opens the log on it.
    fn begin(
        self,
        mut history: History,
        layout: &Layout,
        mut spares: Spares,
    ) -> Result<(Wal, Recovered), WalError> {
        let mut before = history.replay.incarnation;
        if !crate::mutant!("wal-incarnation-passed-over") {
            before = before.max(layout.incarnation);
        }
        let incarnation = Incarnation(before.0.saturating_add(1));
        let state = history.replay.state;
        if crate::mutant!("wal-reuse-tail-segment")
            && let Some(active) = self.reuse_tail(&history, incarnation)?
        {
            history.closed.pop_back();
            return Ok(self.opened(history, active, spares, incarnation));
        }
        let tail = std::mem::take(&mut history.tail);
        let tail_size = tail_bytes(&tail);
        let length_bytes = segment_bytes_for(self.options.segment_bytes, tail_size);
        let spare = spares.take(&self.reading.dir, length_bytes, &self.entropy)?;
        let id = SegmentId { sequence: layout.next, salt: self.entropy.next() };
        let mut at_end = history.at_end;
        at_end.commit(state.committed);
        let founding = Founding {
            header: self.header_of(id, &at_end, length_bytes),
            checkpoint: checkpoint_of(&at_end, incarnation, history.last.as_ref().map(|last| last.end)),
            tail: &tail,
            committed: state.committed,
        };
        let mut active = found(&self.reading.dir, &spare, &founding)?;
        // Written after the name is durable: the proof that it is, and a seal for the rewritten tail.
        let seal_bytes = active.write(&mut Vec::new(), Content::Seal, state.committed)?;
        active.sync()?;
        if let Some(last) = &history.last {
            last.file.write(SUCCESSOR_OFFSET, &Successor { next: id }.encode(last.end.id))?;
            last.file.sync(SUCCESSOR_OFFSET)?;
        }
        for &stale in &layout.stale {
            self.reading.dir.remove(&segment_name(stale))?;
        }
        history.live.wrote(highest_index(&tail), tail_size.saturating_add(seal_bytes));
        history.live.purged(state.purged);
        Ok(self.opened(history, active, spares, incarnation))
    }

    fn header_of(&self, id: SegmentId, state: &LogState, length_bytes: u64) -> SegmentHeader {
        SegmentHeader {
            identity: self.reading.identity,
            id,
            first_index: index_after(state.last),
            length_bytes,
        }
    }

    fn opened(
        self,
        history: History,
        active: Active,
        spares: Spares,
        incarnation: Incarnation,
    ) -> (Wal, Recovered) {
        let state = history.replay.state;
        if state.vote.is_some() && !history.replay.vote_read {
            crate::sometimes!("the vote came from a checkpoint");
        }
        let recovered = Recovered {
            vote: state.vote,
            purged: state.purged,
            committed: state.committed,
            incarnation,
            entries: history.replay.into_entries(),
            torn_tail: history.torn_tail,
        };
        let wal = Wal {
            dir: self.reading.dir,
            _lock: self.lock,
            identity: self.reading.identity,
            options: self.options,
            entropy: self.entropy,
            incarnation,
            state,
            committed: state.committed,
            closed: history.closed,
            active,
            spares,
            live: history.live,
            sealed: true,
            failed: false,
            buffer: Vec::new(),
        };
        (wal, recovered)
    }

    /// The planted bug: goes on in the found segment, trusting what was read from it, and leaves the sync to the
    /// first commit. `None` when it has no room.
    fn reuse_tail(&self, history: &History, incarnation: Incarnation) -> Result<Option<Active>, WalError> {
        let Some(last) = &history.last else { return Ok(None) };
        let header = self.reading.header(&last.file, last.end.id.sequence)?;
        let (offset, chain) = history.scanned_end;
        let state = history.replay.state;
        let mut active = Active {
            file: last.file.clone(),
            header,
            offset,
            chain,
            last_index: state.last.map(|last| last.index),
            checkpoint_vote: state.vote,
            used: true,
        };
        if !active.fits(BLOCK_BYTES) {
            return Ok(None);
        }
        let checkpoint = checkpoint_of(&state, incarnation, None);
        active.write(&mut Vec::new(), Content::Checkpoint(&checkpoint), state.committed)?;
        Ok(Some(active))
    }
}
