//! The quota: what requests cost in logical bytes, and when they no longer fit.
//!
//! Sizes are logical, because the physical size of one state differs between members. A member checks its
//! quota before it proposes; what `apply` refuses depends on the replicated NOSPACE alarm alone, never on a
//! member's own setting, so that all members refuse alike.

use crate::machine::command::{Command, Put, Txn, TxnOp};
use crate::machine::state::State;

/// What every stored record costs beside its key and value, bytes.
pub const RECORD_OVERHEAD_BYTES: u64 = 256;
/// What a lease costs, bytes.
pub const LEASE_BYTES: u64 = 64;

/// The cost of one stored record, bytes.
pub fn record_cost(key_len: usize, value_len: usize) -> u64 {
    let len = |len| u64::try_from(len).unwrap_or(u64::MAX);
    RECORD_OVERHEAD_BYTES.saturating_add(len(key_len)).saturating_add(len(value_len))
}

/// The space a command may take, bytes; of a transaction the dearer branch counts. Zero for what takes none,
/// which is then also what a NOSPACE alarm lets pass.
pub fn cost(command: &Command) -> u64 {
    match command {
        Command::Put(put) => put_cost(put),
        Command::Txn(txn) => txn_cost(txn),
        Command::LeaseGrant { .. } => LEASE_BYTES,
        _ => 0,
    }
}

fn put_cost(put: &Put) -> u64 {
    record_cost(put.key.len(), put.value.len())
}

fn txn_cost(txn: &Txn) -> u64 {
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

fn branch_cost(ops: &[TxnOp]) -> u64 {
    ops.iter().fold(0, |sum: u64, op| {
        sum.saturating_add(match op {
            TxnOp::Put(put) => put_cost(put),
            TxnOp::Txn(txn) => txn_cost(txn),
            TxnOp::Range(_) | TxnOp::DeleteRange(_) => 0,
        })
    })
}

impl State {
    /// Logical bytes stored: live history and leases. Part of the replicated state.
    pub fn logical_size(&self) -> u64 {
        let leases = u64::try_from(self.leases.len()).unwrap_or(u64::MAX).saturating_mul(LEASE_BYTES);
        self.kv.sums.live.bytes.saturating_add(leases)
    }

    /// Whether a command of this cost would pass the quota (`None`: there is none). The member that would
    /// propose it proposes the NOSPACE alarm instead, and answers that space is exceeded.
    pub fn would_exceed(&self, cost: u64, quota_bytes: Option<u64>) -> bool {
        cost > 0 && quota_bytes.is_some_and(|quota| self.logical_size().saturating_add(cost) > quota)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(len: usize) -> TxnOp {
        TxnOp::Put(Put { key: Bytes::from_static(b"k"), value: vec![0; len].into(), ..Put::default() })
    }

    #[test]
    fn the_dearer_branch_of_a_transaction_counts_and_nested_puts_do_too() {
        let inner = Txn { failure: vec![put(100)], ..Txn::default() };
        let txn = Txn { success: vec![put(1), TxnOp::Txn(inner)], failure: vec![put(50)], ..Txn::default() };
        assert_eq!(cost(&Command::Txn(txn)), 2 * 257 + 101);
        assert_eq!(cost(&Command::Txn(Txn::default())), 0);
        assert_eq!(cost(&Command::Noop), 0);
    }
}
