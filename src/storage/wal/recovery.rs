//! Opening a log: making a new one, or finding out what an earlier process left and making that durable.
//!
//! Recovery never appends to a segment that it finds. It always puts a fresh one behind, whose checkpoint states
//! where the found one ends, and rewrites into it whatever was read but is not known to be durable: bytes read
//! at start may sit in the page cache of a process that was killed, or be marked clean after a sync that failed.
//! The fresh segment is complete before it gets its name, so a crash at any step of this leaves either the log
//! as it was or the log as it will be, and recovery simply runs again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::batch::{BatchKind, Content};
use super::checkpoint::{Checkpoint, PreviousEnd};
use super::directory::{Directory, Placed, segment_name, segment_of_name};
use super::error::WalError;
use super::format::{
    BLOCK_BYTES, DATA_OFFSET, FORMAT_VERSION, HEADER_OFFSETS, SEGMENT_BYTES_MIN, SUCCESSOR_OFFSET,
};
use super::header::{HeaderRead, SegmentHeader, SegmentId, Sequence, Successor};
use super::live::LiveBytes;
use super::record::{Entry, Identity, Vote, WalRecord};
use super::recycle::{Closed, Spares};
use super::replay::Replay;
use super::scan::{Scanned, is_used, read_checkpoint, read_link, scan};
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

/// A segment file found in the folder.
struct Found {
    file: Placed,
    header: SegmentHeader,
    checkpoint: Checkpoint,
}

/// The segment found last, and where it ends from now on.
struct Last {
    file: Placed,
    end: PreviousEnd,
}

/// The segment files, sorted out.
struct Layout {
    /// Oldest first.
    chain: Vec<Found>,
    /// Not part of the log; removed once the fresh segment is durable.
    stale: Vec<Sequence>,
    /// Above every sequence seen, so that no name is used twice.
    next: Sequence,
    /// The highest seen, in what is no part of the log too: of a log in which nobody wrote anything, damage to a single
    /// batch hides that it was opened, and requests were named after that opening.
    incarnation: Incarnation,
}

/// What the found segments add up to.
struct History {
    closed: VecDeque<Closed>,
    live: LiveBytes,
    /// At the place where the last found segment ends.
    at_end: LogState,
    /// Records behind that place: read, valid, not known to be durable.
    tail: Vec<WalRecord>,
    replay: Replay,
    /// `None` when no segment was found.
    last: Option<Last>,
    /// Only for the planted bug: where the last batch ends and its checksum.
    scanned_end: (u64, u32),
    torn_tail: Option<TornTail>,
}

impl History {
    /// Of a log that is new.
    fn none(segment_bytes: u64) -> History {
        History {
            closed: VecDeque::new(),
            live: LiveBytes::new(segment_bytes),
            at_end: LogState::default(),
            tail: Vec::new(),
            replay: Replay::new(&checkpoint_of(&LogState::default(), Incarnation(0), None)),
            last: None,
            scanned_end: (0, 0),
            torn_tail: None,
        }
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
        let bytes = options.segment_bytes;
        if bytes < SEGMENT_BYTES_MIN || !bytes.is_multiple_of(BLOCK_BYTES) {
            let what = format!(
                "a segment size of {bytes} bytes: it must be a multiple of {BLOCK_BYTES}, at least {SEGMENT_BYTES_MIN}"
            );
            return Err(WalError::Refused { dir: dir.display().to_string(), what });
        }
        let (dir, lock) = Directory::open(disk, dir)?;
        let opening = Opening { dir, lock, identity, options, entropy: Salts(entropy) };
        let names = opening.dir.list()?;
        let layout = opening.find(names.iter().filter_map(|name| segment_of_name(name)))?;
        let history = opening.read(&layout.chain)?;
        let spares = Spares::begin(&opening.dir, &names, options.segment_bytes, options.prepared_segments)?;
        opening.begin(history, &layout, spares)
    }
}

struct Opening {
    dir: Directory,
    lock: Box<dyn Lock>,
    identity: Identity,
    options: WalOptions,
    entropy: Salts,
}

impl Opening {
    /// Sorts the segment files into the log's chain and what is not part of it.
    ///
    /// The chain is what the newest segment's checkpoint leads back to. Not part of it: a newest segment that was
    /// never promised (see [`Opening::is_promised`]), what such a one was passed over for, and old segments that
    /// came back because their recycling was not durable. Whether the chain reaches back far enough is judged by
    /// the entries in it.
    fn find(&self, sequences: impl Iterator<Item = Sequence>) -> Result<Layout, WalError> {
        let mut all: BTreeMap<Sequence, Found> = BTreeMap::new();
        for sequence in sequences {
            let file = self.dir.open_file(&segment_name(sequence), OpenMode::ReadWrite)?;
            let header = self.header(&file, sequence)?;
            let image = file.image(DATA_OFFSET, DATA_OFFSET.saturating_add(BLOCK_BYTES))?;
            let checkpoint = read_checkpoint(&image, &file.shown(), &header)?;
            all.insert(sequence, Found { file, header, checkpoint });
        }
        let next = all.last_key_value().map_or(Sequence(1), |(newest, _)| newest.next());
        let incarnation = all.values().map(|found| found.checkpoint.incarnation).max().unwrap_or_default();
        let mut layout = Layout { chain: Vec::new(), stale: Vec::new(), next, incarnation };
        let mut wanted = loop {
            let Some((&newest, segment)) = all.last_key_value() else { break None };
            if self.is_promised(segment, &all)? {
                break Some(newest);
            }
            all.remove(&newest);
            layout.stale.push(newest);
        };
        while let Some(segment) = wanted.and_then(|sequence| all.remove(&sequence)) {
            wanted = segment.checkpoint.previous.map(|previous| previous.id.sequence);
            if let Some(before) = wanted.and_then(|sequence| all.get(&sequence)) {
                self.follows(before, &segment.file, &segment.checkpoint)?;
            }
            layout.chain.push(segment);
        }
        layout.chain.reverse();
        if !all.is_empty() {
            crate::sometimes!("a removed segment came back");
        }
        layout.stale.extend(all.into_keys());
        Ok(layout)
    }

    /// Whether the newest segment's name was made durable and its founding reported done. If not, nobody relies
    /// on it: everything it holds still stands in its predecessor, and its name cannot be trusted, for a sync of
    /// the folder may have failed, and then no later one makes it durable. Proof is anything written into it
    /// after it was named, or its predecessor naming it, each of which happens only after that sync.
    fn is_promised(&self, newest: &Found, all: &BTreeMap<Sequence, Found>) -> Result<bool, WalError> {
        let image = newest.file.image(DATA_OFFSET, newest.header.length_bytes)?;
        if is_used(&image, &newest.header, &newest.checkpoint) {
            return Ok(true);
        }
        let Some(previous) = newest.checkpoint.previous else { return Ok(false) };
        let Some(before) = all.get(&previous.id.sequence) else {
            // It is recycled only once something durable stands in the newest segment, and nothing does.
            return Err(WalError::MissingSegment {
                file: self.dir.shown(&segment_name(previous.id.sequence)),
                named_by: newest.file.shown(),
                offset: DATA_OFFSET,
                unless: Some((newest.file.shown(), newest.checkpoint.durable_through)),
            });
        };
        self.follows(before, &newest.file, &newest.checkpoint)?;
        // Proof that cannot be read is no proof.
        let note = before.file.read(SUCCESSOR_OFFSET, DATA_OFFSET).unwrap_or_default();
        let link =
            before.file.read(previous.end, previous.end.saturating_add(BLOCK_BYTES)).unwrap_or_default();
        let noted = Successor::decode(&note, before.header.id).map(|note| note.next);
        let linked = read_link(&link, &before.header, previous.end).map(|link| link.next);
        Ok(noted == Some(newest.header.id) || linked == Some(newest.header.id))
    }

    fn header(&self, file: &Placed, sequence: Sequence) -> Result<SegmentHeader, WalError> {
        let corrupt = |what: &str| WalError::Corrupt { file: file.shown(), offset: 0, what: what.to_owned() };
        let length_bytes = file.len()?;
        if length_bytes < SEGMENT_BYTES_MIN {
            return Err(corrupt("the segment is cut short"));
        }
        let (mut valid, mut stale): (Option<SegmentHeader>, _) = (None, false);
        let mut unreadable = None;
        for offset in HEADER_OFFSETS {
            // The planted bug has one copy to go by.
            if offset > 0 && crate::mutant!("wal-second-header-copy-not-tried") {
                break;
            }
            let block = match file.read(offset, offset.saturating_add(BLOCK_BYTES)) {
                Ok(block) => block,
                Err(error) => {
                    unreadable = Some(error);
                    continue;
                }
            };
            match SegmentHeader::decode(&block) {
                // Of an earlier use of the file: a write of this copy has not come to the medium.
                HeaderRead::Valid(header) if header.id.sequence != sequence => stale = true,
                HeaderRead::Valid(header) if valid.is_some_and(|other| other != header) => {
                    return Err(corrupt("the two copies of the segment header differ"));
                }
                HeaderRead::Valid(header) => valid = Some(header),
                HeaderRead::Newer(found) => {
                    let supported = FORMAT_VERSION;
                    return Err(WalError::NewerFormat { file: file.shown(), offset, found, supported });
                }
                HeaderRead::Bad => {}
            }
        }
        let Some(header) = valid else {
            let what = if stale {
                "the header's sequence is not the file name's"
            } else {
                "both copies of the segment header are damaged"
            };
            return Err(unreadable.unwrap_or_else(|| corrupt(what)));
        };
        if header.identity != self.identity {
            return Err(WalError::Foreign {
                file: file.shown(),
                offset: 0,
                found_cluster: header.identity.cluster,
                found_member: header.identity.member,
                cluster: self.identity.cluster,
                member: self.identity.member,
            });
        }
        if header.length_bytes != length_bytes {
            return Err(corrupt("the segment is not as long as its header states"));
        }
        Ok(header)
    }

    /// Whether a segment stands directly behind the one found before it.
    fn follows(&self, before: &Found, file: &Placed, checkpoint: &Checkpoint) -> Result<(), WalError> {
        let corrupt =
            |what: &str| WalError::Corrupt { file: file.shown(), offset: DATA_OFFSET, what: what.to_owned() };
        let previous =
            checkpoint.previous.ok_or_else(|| corrupt("the checkpoint names no previous segment"))?;
        if previous.id != before.header.id || previous.end > before.header.length_bytes {
            return Err(corrupt("the checkpoint names another use of the previous segment"));
        }
        Ok(())
    }

    /// Reads the segments' content; `None` when there is no segment.
    fn read(&self, found: &[Found]) -> Result<Option<History>, WalError> {
        let Some((last, older)) = found.split_last() else { return Ok(None) };
        let mut closed = VecDeque::new();
        let mut live = LiveBytes::new(self.options.segment_bytes);
        let oldest = found.first().unwrap_or(last);
        let mut replay = Replay::new(&oldest.checkpoint);
        for (segment, next) in older.iter().zip(found.iter().skip(1)) {
            let end = next.checkpoint.previous;
            let scanned = self.scan(segment, end.as_ref())?;
            let last_index = replay.take(&segment.file.shown(), scanned.batches, &mut live)?;
            closed.push_back(closed_segment(&segment.header, last_index));
        }
        let mut scanned = self.scan(last, None)?;
        self.successor(last, &scanned)?;
        let torn_tail = scanned.torn.map(|offset| TornTail { file: last.file.shown(), offset });
        let scanned_end = (scanned.end, scanned.batches.last().map_or(0, |batch| batch.header.chain));
        let founded = last.checkpoint.durable_through;
        let own = scanned.batches.iter().filter(|batch| batch.offset >= founded);
        if last.checkpoint.previous.is_some() && own.clone().all(|batch| batch.header.kind == BatchKind::Seal)
        {
            crate::sometimes!("an earlier life ended before it wrote anything");
        }
        let behind = scanned.batches.partition_point(|batch| batch.offset < scanned.durable);
        let tail_batches = scanned.batches.split_off(behind);
        let chain = scanned.batches.last().map_or(0, |batch| batch.header.chain);
        let end = PreviousEnd { id: last.header.id, end: scanned.durable, chain };
        let ends_at = scanned.batches.last().map(|batch| batch.offset.saturating_add(batch.header.span()));
        if ends_at != Some(scanned.durable) {
            return Err(WalError::Corrupt {
                file: last.file.shown(),
                offset: scanned.durable,
                what: "the place stated as durable is inside a batch".to_owned(),
            });
        }
        let last_index = replay.take(&last.file.shown(), scanned.batches, &mut live)?;
        closed.push_back(closed_segment(&last.header, last_index));
        let at_end = replay.state;
        let tail: Vec<WalRecord> = tail_batches
            .iter()
            .filter(|batch| batch.header.kind == BatchKind::Records)
            .flat_map(|batch| batch.records.iter())
            .filter_map(|record| match record {
                super::record::Decoded::Log(record) => Some(record.clone()),
                _ => None,
            })
            .collect();
        // Counted when they are rewritten.
        let mut uncounted = LiveBytes::new(self.options.segment_bytes);
        replay.take(&last.file.shown(), tail_batches, &mut uncounted)?;
        replay.complete(&oldest.file.shown(), torn_tail.as_ref(), || {
            let before = oldest.checkpoint.previous.map_or(Sequence(0), |previous| previous.id.sequence);
            self.dir.shown(&segment_name(before))
        })?;
        live.purged(at_end.purged);
        if torn_tail.is_some() {
            crate::sometimes!("torn tail found");
        }
        let last = Some(Last { file: last.file.clone(), end });
        Ok(Some(History { closed, live, at_end, tail, replay, last, scanned_end, torn_tail }))
    }

    fn scan(&self, segment: &Found, end: Option<&PreviousEnd>) -> Result<Scanned, WalError> {
        // Not a byte behind the stated end is read.
        let to = end.map_or(segment.header.length_bytes, |end| end.end);
        let image = segment.file.image(DATA_OFFSET, to)?;
        scan(&image, &segment.file.shown(), &segment.header, end)
    }

    /// Refuses when the last segment found names one behind it.
    fn successor(&self, last: &Found, scanned: &Scanned) -> Result<(), WalError> {
        // The note guards against the loss of a whole file; a sector of it that cannot be read guards nothing,
        // and is no reason to refuse a log that is whole.
        let block = last.file.read(SUCCESSOR_OFFSET, DATA_OFFSET).unwrap_or_default();
        let noted = Successor::decode(&block, last.header.id).map(|note| (note.next, SUCCESSOR_OFFSET));
        let linked = scanned.link.map(|link| (link.next, scanned.end.saturating_sub(BLOCK_BYTES)));
        match noted.or(linked) {
            None => Ok(()),
            Some((next, offset)) => Err(WalError::MissingSegment {
                file: self.dir.shown(&segment_name(next.sequence)),
                named_by: last.file.shown(),
                offset,
                unless: None,
            }),
        }
    }

    /// Puts a fresh segment behind what was found and opens the log on it.
    fn begin(
        self,
        history: Option<History>,
        layout: &Layout,
        mut spares: Spares,
    ) -> Result<(Wal, Recovered), WalError> {
        let mut history = history.unwrap_or_else(|| History::none(self.options.segment_bytes));
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
        let spare = spares.take(&self.dir, length_bytes, &self.entropy)?;
        let id = SegmentId { sequence: layout.next, salt: self.entropy.next() };
        let mut at_end = history.at_end;
        at_end.commit(state.committed);
        let founding = Founding {
            header: self.header_of(id, &at_end, length_bytes),
            checkpoint: checkpoint_of(&at_end, incarnation, history.last.as_ref().map(|last| last.end)),
            tail: &tail,
            committed: state.committed,
        };
        let mut active = found(&self.dir, &spare, &founding)?;
        // Written after the name is durable: the proof that it is, and a seal for the rewritten tail.
        let seal_bytes = active.write(&mut Vec::new(), Content::Seal, state.committed)?;
        active.sync()?;
        if let Some(last) = &history.last {
            last.file.write(SUCCESSOR_OFFSET, &Successor { next: id }.encode(last.end.id))?;
            last.file.sync(SUCCESSOR_OFFSET)?;
        }
        for &stale in &layout.stale {
            self.dir.remove(&segment_name(stale))?;
        }
        history.live.wrote(highest_index(&tail), tail_size.saturating_add(seal_bytes));
        history.live.purged(state.purged);
        Ok(self.opened(history, active, spares, incarnation))
    }

    fn header_of(&self, id: SegmentId, state: &LogState, length_bytes: u64) -> SegmentHeader {
        SegmentHeader { identity: self.identity, id, first_index: index_after(state.last), length_bytes }
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
            dir: self.dir,
            _lock: self.lock,
            identity: self.identity,
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
        let header = self.header(&last.file, last.end.id.sequence)?;
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

fn closed_segment(header: &SegmentHeader, last_index: Option<crate::types::LogIndex>) -> Closed {
    Closed { sequence: header.id.sequence, length_bytes: header.length_bytes, last_index }
}

fn checkpoint_of(state: &LogState, incarnation: Incarnation, previous: Option<PreviousEnd>) -> Checkpoint {
    Checkpoint {
        incarnation,
        durable_through: 0,
        vote: state.vote,
        purged: state.purged,
        committed: state.committed,
        last: state.last,
        previous,
    }
}
