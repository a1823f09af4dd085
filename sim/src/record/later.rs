//! What no client knew when it asked, and is known once the run is over: revisions and leases that a member chose for it.

use std::collections::BTreeMap;

use quorate_check::bytes::Bytes;
use quorate_check::history::{Compare, CompareTarget, DeleteRange, History, Operation, Put, Request, TxnOp};
use quorate_check::types::{LeaseId, OpId, Revision};

/// What is to be written into operations later.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Operations that give up a place, with the one that took it.
    given_up: BTreeMap<OpId, OpId>,
    /// Operations on a lease that a member makes, with the one in whose call it does.
    on_a_lease: BTreeMap<OpId, OpId>,
    /// The leases that were made, by those calls.
    made: BTreeMap<OpId, LeaseId>,
}

impl Later {
    /// An operation means the revision at which another took its place.
    pub(super) fn gives_up(&mut self, leave: OpId, placed: OpId) {
        self.given_up.insert(leave, placed);
    }

    /// An operation means the lease that is made in another's call; its keys end with the lease.
    pub(super) fn on_a_lease_of(&mut self, operation: OpId, call: OpId) {
        self.on_a_lease.insert(operation, call);
    }

    /// A lease is made in an operation's call.
    pub(super) fn made(&mut self, call: OpId, lease: LeaseId) {
        self.made.insert(call, lease);
    }

    /// Writes it all into the history, whose log is whole by now. What was to be done on a lease that nobody made, nobody did.
    pub(super) fn write_into(&self, history: &mut History) {
        let lease_of = |id: &OpId| self.on_a_lease.get(id).map(|call| self.made.get(call));
        history.operations.retain(|operation| lease_of(&operation.id) != Some(None));
        let taken: BTreeMap<OpId, Revision> = history
            .log
            .iter()
            .filter_map(|logged| Some((logged.operation?, logged.revision)))
            .filter(|(operation, _)| self.given_up.values().any(|placed| placed == operation))
            .collect();
        for Operation { id, request, .. } in &mut history.operations {
            if let Some(Some(lease)) = lease_of(id) {
                put_on(request, *lease);
            }
            if let Some(revision) = self.given_up.get(id).and_then(|placed| taken.get(placed)) {
                put_at(request, *revision);
            }
        }
    }
}

/// Writes a revision into every condition on one.
fn put_at(request: &mut Request, revision: Revision) {
    let Request::Txn(txn) = request else { return };
    for compare in &mut txn.compare {
        if let CompareTarget::Create(at) | CompareTarget::Mod(at) = &mut compare.target {
            *at = revision;
        }
    }
}

/// Writes a lease into a request that is about one, and behind its keys.
fn put_on(request: &mut Request, made: LeaseId) {
    let named = |key: &mut Bytes| *key = Bytes::from(format!("{key}{:x}", made.0).as_str());
    match request {
        Request::LeaseGrant(grant) => grant.id = made,
        Request::LeaseRevoke(revoke) => revoke.id = made,
        Request::Txn(txn) => {
            txn.compare.iter_mut().for_each(|Compare { key, .. }| named(key));
            for op in txn.success.iter_mut().chain(&mut txn.failure) {
                match op {
                    TxnOp::Put(Put { key, lease, .. }) => {
                        named(key);
                        *lease = made;
                    }
                    TxnOp::DeleteRange(DeleteRange { key, .. }) => named(key),
                    TxnOp::Range(_) | TxnOp::Txn(_) => {}
                }
            }
        }
        _ => {}
    }
}
