//! The API's HashKV: a checksum over history up to a revision, for comparing members.
//!
//! CRC-32C over `key` and then, for each change in order, its place (a deletion is marked) and its record.
//! Left out is what the compacted revision no longer shows, deletions at that revision included: so the
//! checksum does not depend on how far a member's sweep has come. Members of equal compacted revision agree at
//! equal revisions; the bytes are Quorate's own and agree with no other implementation's. A member can also leave out
//! what a later compaction would: so one that lags can be held against one that has compacted further.

use crate::machine::command::CommandError;
use crate::machine::effects::{Event, Record, Records, RecordsError};
use crate::machine::mvcc::record::encode_record;
use crate::machine::mvcc::{Mvcc, NEVER_COMPACTED};
use crate::machine::state::State;
use crate::types::{RevPair, Revision};

/// Records read at a time.
const CHUNK_RECORDS: usize = 256;

/// The answer of HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The checksum.
    pub hash: u32,
    /// The revision up to which it counts.
    pub revision: Revision,
    /// The compacted revision it was taken as of; -1 if there was none.
    pub compacted: Revision,
}

/// A checksum on its way, in steps between which the state may move on. A compaction in between ends it.
#[derive(Clone, Copy, Debug)]
pub struct HashKvScan {
    next: RevPair,
    so_far: HashKv,
}

impl State {
    /// Begins a checksum up to `revision` (0 means the current one), as if history were compacted at `compacted`, or
    /// where it is if that is later.
    ///
    /// # Errors
    /// The revision is compacted or in the future.
    pub fn hash_kv_begin(&self, revision: Revision, compacted: Revision) -> Result<HashKvScan, CommandError> {
        let revision = self.kv.read_revision(revision, self.kv.revision)?;
        let compacted = compacted.max(self.kv.compacted);
        if revision < compacted {
            return Err(CommandError::Compacted(compacted));
        }
        let so_far = HashKv { hash: crc32c::crc32c(b"key"), revision, compacted };
        Ok(HashKvScan { next: RevPair { main: Revision::FIRST.next(), sub: 0 }, so_far })
    }

    /// Takes in one more chunk of records; the checksum when there are no more.
    ///
    /// # Errors
    /// Outer: a record could not be read. Inner: a compaction beyond what is left out came in between.
    pub fn hash_kv_step(
        &self,
        scan: &mut HashKvScan,
        records: &dyn Records,
    ) -> Result<Result<Option<HashKv>, CommandError>, RecordsError> {
        if self.kv.compacted > scan.so_far.compacted {
            return Ok(Err(CommandError::Compacted(self.kv.compacted)));
        }
        let chunk = records.scan(scan.next, CHUNK_RECORDS)?;
        let mut ended = chunk.len() < CHUNK_RECORDS;
        for (at, record) in chunk {
            if at.main > scan.so_far.revision {
                ended = true;
                break;
            }
            scan.next = RevPair { main: at.main, sub: at.sub.saturating_add(1) };
            if self.kv.counts(at, &record, scan.so_far.compacted) {
                scan.so_far.hash = add(scan.so_far.hash, at, &record);
            }
        }
        Ok(Ok(ended.then_some(scan.so_far)))
    }

    /// The whole checksum at once.
    ///
    /// # Errors
    /// As [`State::hash_kv_begin`] and [`State::hash_kv_step`].
    pub fn hash_kv(
        &self,
        records: &dyn Records,
        revision: Revision,
    ) -> Result<Result<HashKv, CommandError>, RecordsError> {
        let mut scan = match self.hash_kv_begin(revision, NEVER_COMPACTED) {
            Ok(scan) => scan,
            Err(refused) => return Ok(Err(refused)),
        };
        loop {
            match self.hash_kv_step(&mut scan, records)? {
                Ok(None) => {}
                Ok(Some(done)) => return Ok(Ok(done)),
                Err(refused) => return Ok(Err(refused)),
            }
        }
    }
}

impl Mvcc {
    /// Whether a stored record belongs to the checksum as of a compacted revision: it is above it, or what that
    /// revision reads.
    fn counts(&self, at: RevPair, record: &Record, compacted: Revision) -> bool {
        at.main > compacted
            || self
                .index
                .get(record.event.key())
                .and_then(|history| history.visible_at(compacted))
                .is_some_and(|change| change.at == at)
    }
}

fn add(hash: u32, at: RevPair, record: &Record) -> u32 {
    let mut place = [b'_'; 13];
    let (main, rest) = place.split_at_mut(8);
    main.copy_from_slice(&at.main.0.to_be_bytes());
    let (sub, mark) = rest.split_at_mut(4);
    sub.copy_from_slice(&at.sub.to_be_bytes());
    if matches!(record.event, Event::Delete { .. }) {
        mark.fill(b't');
    }
    let hash = crc32c::crc32c_append(hash, &place);
    crc32c::crc32c_append(hash, &encode_record(at.sub, &record.event).bytes)
}
