//! Finding out what a log's folder holds: which segments are the log, and what their records add up to.
//!
//! Nothing is changed here. [`super::recovery`] makes durable what was found and goes on from it; [`super::inspect`] only
//! looks.

use std::collections::{BTreeMap, VecDeque};

use super::batch::BatchKind;
use super::checkpoint::{Checkpoint, PreviousEnd};
use super::directory::{Directory, Placed, segment_name};
use super::error::WalError;
use super::format::{
    BLOCK_BYTES, DATA_OFFSET, FORMAT_VERSION, HEADER_OFFSETS, SEGMENT_BYTES_MIN, SUCCESSOR_OFFSET,
};
use super::header::{HeaderRead, SegmentHeader, Sequence, Successor};
use super::live::LiveBytes;
use super::record::{Identity, WalRecord};
use super::recovery::TornTail;
use super::recycle::Closed;
use super::replay::Replay;
use super::scan::{Scanned, is_used, read_checkpoint, read_link, scan};
use super::state::LogState;
use crate::env::OpenMode;
use crate::types::Incarnation;

/// A segment file found in the folder.
pub(super) struct Found {
    pub(super) file: Placed,
    pub(super) header: SegmentHeader,
    pub(super) checkpoint: Checkpoint,
}

/// The segment found last, and where it ends from now on.
pub(super) struct Last {
    pub(super) file: Placed,
    pub(super) end: PreviousEnd,
}

/// The segment files, sorted out.
pub(super) struct Layout {
    /// Oldest first.
    pub(super) chain: Vec<Found>,
    /// Not part of the log; removed once the fresh segment is durable.
    pub(super) stale: Vec<Sequence>,
    /// Above every sequence seen, so that no name is used twice.
    pub(super) next: Sequence,
    /// The highest seen, in what is no part of the log too: of a log in which nobody wrote anything, damage to a single
    /// batch hides that it was opened, and requests were named after that opening.
    pub(super) incarnation: Incarnation,
}

/// What the found segments add up to.
pub(super) struct History {
    pub(super) closed: VecDeque<Closed>,
    pub(super) live: LiveBytes,
    /// At the place where the last found segment ends.
    pub(super) at_end: LogState,
    /// Records behind that place: read, valid, not known to be durable.
    pub(super) tail: Vec<WalRecord>,
    pub(super) replay: Replay,
    /// `None` when no segment was found.
    pub(super) last: Option<Last>,
    /// Only for the planted bug: where the last batch ends and its checksum.
    pub(super) scanned_end: (u64, u32),
    pub(super) torn_tail: Option<TornTail>,
}

impl History {
    /// Of a log that is new.
    pub(super) fn none(segment_bytes: u64) -> History {
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

/// A look at a log's folder.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) dir: Directory,
    pub(super) identity: Identity,
    /// The usual length of a segment.
    pub(super) segment_bytes: u64,
    /// How segments are opened.
    pub(super) mode: OpenMode,
}

impl Reading {
    /// Sorts the segment files into the log's chain and what is not part of it.
    ///
    /// The chain is what the newest segment's checkpoint leads back to. Not part of it: a newest segment that was
    /// never promised (see [`Reading::is_promised`]), what such a one was passed over for, and old segments that
    /// came back because their recycling was not durable. Whether the chain reaches back far enough is judged by
    /// the entries in it.
    pub(super) fn find(&self, sequences: impl Iterator<Item = Sequence>) -> Result<Layout, WalError> {
        let mut all: BTreeMap<Sequence, Found> = BTreeMap::new();
        for sequence in sequences {
            let file = self.dir.open_file(&segment_name(sequence), self.mode)?;
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

    pub(super) fn header(&self, file: &Placed, sequence: Sequence) -> Result<SegmentHeader, WalError> {
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
    pub(super) fn read(&self, found: &[Found]) -> Result<Option<History>, WalError> {
        let Some((last, older)) = found.split_last() else { return Ok(None) };
        let mut closed = VecDeque::new();
        let mut live = LiveBytes::new(self.segment_bytes);
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
        let mut uncounted = LiveBytes::new(self.segment_bytes);
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
}

fn closed_segment(header: &SegmentHeader, last_index: Option<crate::types::LogIndex>) -> Closed {
    Closed { sequence: header.id.sequence, length_bytes: header.length_bytes, last_index }
}

/// A checkpoint that states all of `state`.
pub(super) fn checkpoint_of(
    state: &LogState,
    incarnation: Incarnation,
    previous: Option<PreviousEnd>,
) -> Checkpoint {
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
