//! What a transaction must do and answer.
//!
//! Every comparison, nested ones too, looks at the state before the transaction, so the whole path through the
//! branches is known before the first write. The checks of the path come before any write as well.

use super::{Expected, Model, Refusal};
use crate::history::{
    Compare, CompareResult, CompareTarget, DeleteRange, Event, KeyValue, Put, Range, Txn, TxnOp,
};
use crate::types::{LeaseId, Revision};
use std::cmp::Ordering;

/// The branches that a transaction takes.
struct Path<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
}

enum Step<'t> {
    Put(&'t Put),
    Range(&'t Range),
    Delete(&'t DeleteRange),
    Txn(Path<'t>),
}

impl Model {
    pub(super) fn txn(
        &mut self,
        txn: &Txn,
        at: Revision,
        events: &mut Vec<Event>,
    ) -> Result<Expected, Refusal> {
        let path = self.path(txn);
        self.check_path(&path)?;
        let before = self.revision;
        self.run(&path, before, at, events)
    }

    fn path<'t>(&self, txn: &'t Txn) -> Path<'t> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let steps = branch
            .iter()
            .map(|op| match op {
                TxnOp::Put(put) => Step::Put(put),
                TxnOp::Range(range) => Step::Range(range),
                TxnOp::DeleteRange(delete) => Step::Delete(delete),
                TxnOp::Txn(inner) => Step::Txn(self.path(inner)),
            })
            .collect();
        Path { succeeded, steps }
    }

    fn check_path(&self, path: &Path<'_>) -> Result<(), Refusal> {
        for step in &path.steps {
            match step {
                Step::Put(put) => self.check_put(put)?,
                Step::Range(range) if range.revision > self.revision => return Err(Refusal::FutureRevision),
                Step::Range(range) if self.is_compacted(range.revision) => return Err(Refusal::Compacted),
                Step::Txn(inner) => self.check_path(inner)?,
                Step::Range(_) | Step::Delete(_) => {}
            }
        }
        Ok(())
    }

    fn is_compacted(&self, revision: Revision) -> bool {
        let compacted = self.exact.as_ref().map(|exact| exact.compacted);
        revision > Revision(0) && compacted.is_some_and(|compacted| revision < compacted)
    }

    fn run(
        &mut self,
        path: &Path<'_>,
        before: Revision,
        at: Revision,
        events: &mut Vec<Event>,
    ) -> Result<Expected, Refusal> {
        let mut responses = Vec::with_capacity(path.steps.len());
        for step in &path.steps {
            let expected = match step {
                Step::Put(put) => self.put(put, at, events),
                Step::Delete(delete) => self.delete_range(delete, at, events),
                Step::Range(range) => self.range(range, at)?,
                Step::Txn(inner) => self.run(inner, before, at, events)?,
            };
            let now = if events.is_empty() { before } else { at };
            responses.push((now, expected));
        }
        Ok(Expected::Txn { succeeded: path.succeeded, responses })
    }

    /// Whether a comparison holds for every key of its range; a missing key has no value and zeros elsewhere.
    fn holds(&self, compare: &Compare) -> bool {
        let pairs = self.live_pairs(&compare.key, &compare.range_end, self.revision);
        if pairs.is_empty() {
            let missing = KeyValue::default();
            return !matches!(compare.target, CompareTarget::Value(_)) && relates(compare, &missing);
        }
        pairs.iter().all(|kv| relates(compare, kv))
    }
}

fn relates(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(LeaseId(lease)) => kv.lease.0.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}
