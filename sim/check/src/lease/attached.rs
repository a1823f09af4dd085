//! Which keys may ever have hung on which lease: whatever anybody asked to be written with it, whatever became of that.

use crate::bytes::Bytes;
use crate::history::{History, Put, Request, Txn, TxnOp};
use crate::types::LeaseId;
use std::collections::{BTreeMap, BTreeSet};

/// The keys that were asked to be attached to each lease.
pub fn asked(history: &History) -> BTreeMap<LeaseId, BTreeSet<Bytes>> {
    let mut asked: BTreeMap<LeaseId, BTreeSet<Bytes>> = BTreeMap::new();
    for operation in &history.operations {
        match &operation.request {
            Request::Put(put) => note(&mut asked, put),
            Request::Txn(txn) => note_all(&mut asked, txn),
            _ => {}
        }
    }
    asked
}

fn note(asked: &mut BTreeMap<LeaseId, BTreeSet<Bytes>>, put: &Put) {
    if put.lease != LeaseId::NONE {
        asked.entry(put.lease).or_default().insert(put.key.clone());
    }
}

fn note_all(asked: &mut BTreeMap<LeaseId, BTreeSet<Bytes>>, txn: &Txn) {
    for step in txn.success.iter().chain(&txn.failure) {
        match step {
            TxnOp::Put(put) => note(asked, put),
            TxnOp::Txn(inner) => note_all(asked, inner),
            TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
        }
    }
}
