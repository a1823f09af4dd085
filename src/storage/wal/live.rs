//! How many bytes of the log are still needed, in constant memory a segment.
//!
//! Bytes are kept in chunks, each with the highest entry index in it; a chunk goes when all of it is purged.

use std::collections::VecDeque;

use super::state::index_after;
use crate::types::{LogId, LogIndex};

#[derive(Clone, Copy, Debug)]
struct Chunk {
    highest: Option<LogIndex>,
    bytes: u64,
}

/// The count.
#[derive(Debug)]
pub(super) struct LiveBytes {
    chunks: VecDeque<Chunk>,
    total: u64,
    chunk_bytes: u64,
}

impl LiveBytes {
    pub(super) fn new(segment_bytes: u64) -> LiveBytes {
        LiveBytes { chunks: VecDeque::new(), total: 0, chunk_bytes: segment_bytes.div_ceil(16) }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Counts a batch.
    pub(super) fn wrote(&mut self, highest: Option<LogIndex>, bytes: u64) {
        self.total = self.total.saturating_add(bytes);
        match self.chunks.back_mut() {
            Some(chunk) if chunk.bytes < self.chunk_bytes => {
                chunk.highest = chunk.highest.max(highest);
                chunk.bytes = chunk.bytes.saturating_add(bytes);
            }
            _ => self.chunks.push_back(Chunk { highest, bytes }),
        }
    }

    /// Lets go of what stands in front of the oldest entry still needed.
    pub(super) fn purged(&mut self, upto: Option<LogId>) {
        let needed = index_after(upto);
        while let Some(chunk) =
            self.chunks.front().filter(|chunk| chunk.highest.is_none_or(|top| top < needed))
        {
            self.total = self.total.saturating_sub(chunk.bytes);
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    #[test]
    fn a_purge_lets_go_of_whole_chunks_in_front_of_the_oldest_entry_needed() {
        let mut live = LiveBytes::new(64 << 10);
        for index in 0..10 {
            live.wrote(Some(LogIndex(index)), 4096);
        }
        assert_eq!(live.total(), 40960);
        live.purged(Some(LogId { term: Term(1), index: LogIndex(3) }));
        assert_eq!(live.total(), 6 * 4096);
        live.wrote(None, 4096);
        live.purged(Some(LogId { term: Term(1), index: LogIndex(9) }));
        assert_eq!(live.total(), 0, "what holds no entry goes with what stands before it");
    }
}
