//! What can be refused without looking at the state: done before a transaction is proposed.
//!
//! `apply` does not rely on it for its own soundness, only the API's rules do.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::machine::codec::TXN_DEPTH_MAX;
use crate::machine::command::{CommandError, Txn, TxnOp};
use crate::types::KeyRange;

/// Checks the number of operations and the overlap of writes.
///
/// Compares, and each branch, may hold up to `max_ops` entries; what the largest of the three uses is missing
/// to the transactions nested below. In one branch, nested transactions included, no key may be written twice
/// or written where a deletion of the branch reaches; the two branches of one nested transaction may write the
/// same key, as only one of them is taken. Nesting is bounded by [`TXN_DEPTH_MAX`].
///
/// # Errors
/// [`CommandError::TooManyOps`] or [`CommandError::DuplicateKey`].
pub fn check_txn(txn: &Txn, max_ops: usize) -> Result<(), CommandError> {
    check_count(txn, max_ops, TXN_DEPTH_MAX)?;
    writes(&txn.success)?;
    writes(&txn.failure)?;
    Ok(())
}

fn check_count(txn: &Txn, budget: usize, depth: usize) -> Result<(), CommandError> {
    let depth = depth.checked_sub(1).ok_or(CommandError::TooManyOps)?;
    let used = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    let left = budget.checked_sub(used).ok_or(CommandError::TooManyOps)?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
        TxnOp::Txn(nested) => check_count(nested, left, depth),
        TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::DeleteRange(_) => Ok(()),
    })
}

/// Keys put and ranges deleted by a list of operations.
#[derive(Default)]
struct Writes<'t> {
    puts: BTreeSet<&'t Bytes>,
    deletes: Vec<&'t KeyRange>,
}

impl Writes<'_> {
    fn deletes(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|range| range.contains(key))
    }
}

/// The order of the three passes is the API's: this level's deletions are known before any put is looked at,
/// those of a nested transaction only to what stands behind it and to this level's own puts.
fn writes(ops: &[TxnOp]) -> Result<Writes<'_>, CommandError> {
    let mut all = Writes::default();
    all.deletes.extend(ops.iter().filter_map(|op| match op {
        TxnOp::DeleteRange(delete) => Some(&delete.range),
        _ => None,
    }));
    for op in ops {
        let TxnOp::Txn(nested) = op else { continue };
        let (success, failure) = (writes(&nested.success)?, writes(&nested.failure)?);
        for key in success.puts.union(&failure.puts) {
            if all.puts.contains(key) || all.deletes(key) {
                return Err(CommandError::DuplicateKey);
            }
        }
        all.puts.extend(success.puts);
        all.puts.extend(failure.puts);
        all.deletes.extend(success.deletes);
        all.deletes.extend(failure.deletes);
    }
    for op in ops {
        let TxnOp::Put(put) = op else { continue };
        if all.deletes(&put.key) || !all.puts.insert(&put.key) {
            return Err(CommandError::DuplicateKey);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::{DeleteRange, Put};

    fn put(key: &'static str) -> TxnOp {
        TxnOp::Put(Put { key: Bytes::from_static(key.as_bytes()), ..Put::default() })
    }

    fn delete(key: &'static str, end: &'static str) -> TxnOp {
        let range = KeyRange::from_wire(key.into(), end.into());
        TxnOp::DeleteRange(DeleteRange { range, prev_kv: false })
    }

    fn either(success: Vec<TxnOp>, failure: Vec<TxnOp>) -> TxnOp {
        TxnOp::Txn(Txn { compares: Vec::new(), success, failure })
    }

    fn check(success: Vec<TxnOp>) -> Result<(), CommandError> {
        check_txn(&Txn { success, ..Txn::default() }, 128)
    }

    #[test]
    fn writing_a_key_twice_in_one_branch_is_refused() {
        let duplicate = Err(CommandError::DuplicateKey);
        assert_eq!(check(vec![put("a"), put("b")]), Ok(()));
        assert_eq!(check(vec![put("a"), put("a")]), duplicate);
        assert_eq!(check(vec![put("b"), delete("a", "c")]), duplicate);
        assert_eq!(check(vec![put("c"), delete("a", "c")]), Ok(()));
        assert_eq!(check(vec![put("x"), delete("a", "\0")]), duplicate);
        assert_eq!(check(vec![delete("a", "c"), delete("b", "d")]), Ok(()));
        assert_eq!(check(vec![either(vec![put("a")], vec![]), put("a")]), duplicate);
        assert_eq!(check(vec![either(vec![delete("a", "")], vec![]), put("a")]), duplicate);
        assert_eq!(check(vec![either(vec![put("a")], vec![]), either(vec![], vec![put("a")])]), duplicate);
        let two_branches = Txn { success: vec![put("a")], failure: vec![put("a")], ..Txn::default() };
        assert_eq!(check_txn(&two_branches, 128), Ok(()));
    }

    #[test]
    fn the_two_branches_of_a_nested_transaction_may_write_one_key() {
        assert_eq!(check(vec![either(vec![put("a")], vec![put("a")])]), Ok(()));
        assert_eq!(check(vec![either(vec![put("a")], vec![delete("a", "")])]), Ok(()));
    }

    #[test]
    fn a_nested_transaction_has_what_its_parent_leaves() {
        let many = |n: usize| vec![delete("a", "b"); n];
        let nested = |outer: usize, inner: usize| {
            let mut success = many(outer - 1);
            success.push(either(many(inner), vec![]));
            check_txn(&Txn { success, ..Txn::default() }, 128)
        };
        assert_eq!(check_txn(&Txn { failure: many(128), ..Txn::default() }, 128), Ok(()));
        assert_eq!(
            check_txn(&Txn { failure: many(129), ..Txn::default() }, 128),
            Err(CommandError::TooManyOps)
        );
        assert_eq!(nested(100, 28), Ok(()));
        assert_eq!(nested(100, 29), Err(CommandError::TooManyOps));
    }
}
