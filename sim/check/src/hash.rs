//! The hash oracle: members that hash the same revision over the same compaction get the same hash.

use crate::history::{History, Response};
use crate::types::{OpId, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// Judges every hash that was answered.
pub fn check(history: &History) -> Vec<Violation> {
    let mut known: BTreeMap<(Revision, Revision), (u32, OpId)> = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in &history.operations {
        let Some((_, Response::HashKv(got))) = operation.answer() else { continue };
        let place = (got.hash_revision, got.compact_revision);
        let (hash, first) = *known.entry(place).or_insert((got.hash, operation.id));
        if hash != got.hash {
            let sentence = format!(
                "the hash of revision {} above compaction {} is {hash:08x} in {first} and {:08x} in {}",
                got.hash_revision, got.compact_revision, got.hash, operation.id
            );
            let violation = Violation::safety(Oracle::Hash, sentence).at(got.hash_revision);
            violations.push(violation.operation(first).operation(operation.id));
        }
    }
    violations
}
