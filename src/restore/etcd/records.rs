//! Stored history, read back from an engine that nobody else writes to.

use crate::machine::effects::{Record, Records, RecordsError};
use crate::machine::mvcc::record::{decode_record, parse_record_key, record_key};
use crate::machine::persist::Bucket;
use crate::storage::engine::{EngineError, Reader};
use crate::types::RevPair;

/// What a view of an engine holds.
pub struct EngineRecords(pub Box<dyn Reader>);

fn failed(error: EngineError) -> RecordsError {
    RecordsError(error.to_string())
}

impl Records for EngineRecords {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        let value = self.0.get(Bucket::Records, &record_key(at)).map_err(failed)?;
        decode_record(at, value.ok_or_else(|| RecordsError(format!("no record at {}/{}", at.main, at.sub)))?)
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        let pairs = self.0.range(Bucket::Records, &record_key(from), limit).map_err(failed)?;
        let read = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            let at = parse_record_key(&key)?;
            Ok((at, decode_record(at, value)?))
        };
        pairs.into_iter().map(read).collect()
    }
}
