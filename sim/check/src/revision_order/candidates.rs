//! Who may have made a revision that nobody was answered for: operations of unknown fate, and leases that ran out.
//!
//! The harness writes every value once, so a value seen at a revision names its writer. Deletes carry no value and
//! are tried against the model. Among operations that ask for the very same thing the earliest stands for all.

use crate::bytes::Bytes;
use crate::history::{DeleteRange, History, Operation, Put, Request, TxnOp};
use crate::revision_order::evidence::Evidence;
use crate::span;
use crate::types::{LeaseId, Nanos, OpId, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// The operations of unknown fate that may change keys, by what they may do.
#[derive(Debug, Default)]
pub struct Unknowns<'h> {
    all: Vec<&'h Operation>,
    by_value: BTreeMap<(&'h Bytes, &'h Bytes), Vec<&'h Operation>>,
    keeping_value: BTreeMap<&'h Bytes, Vec<&'h Operation>>,
    deleting: Vec<(&'h Operation, Vec<&'h DeleteRange>)>,
    revoking: BTreeMap<LeaseId, Vec<&'h Operation>>,
    /// Operations whose unique value was seen at one revision: they can be nowhere else.
    bound: BTreeMap<OpId, Revision>,
}

/// Every put of a request, in whatever branch.
pub fn puts_of(request: &Request) -> Vec<&Put> {
    match request {
        Request::Put(put) => vec![put],
        Request::Txn(txn) => txn
            .every_op()
            .into_iter()
            .filter_map(|op| match op {
                TxnOp::Put(put) => Some(put),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn deletes_of(request: &Request) -> Vec<&DeleteRange> {
    match request {
        Request::DeleteRange(delete) => vec![delete],
        Request::Txn(txn) => txn
            .every_op()
            .into_iter()
            .filter_map(|op| match op {
                TxnOp::DeleteRange(delete) => Some(delete),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

impl<'h> Unknowns<'h> {
    /// Sorts the unknown changes of a history, and ties those whose value was seen to their revision.
    pub fn new(history: &'h History, evidence: &BTreeMap<Revision, Evidence>) -> Unknowns<'h> {
        let mut unknowns = Unknowns {
            all: history
                .operations
                .iter()
                .filter(|operation| operation.is_unknown() && operation.request.may_change())
                .collect(),
            ..Unknowns::default()
        };
        unknowns.all.sort_by_key(|operation| (operation.invoked, operation.id));
        for operation in unknowns.all.iter().copied() {
            for put in puts_of(&operation.request) {
                if put.ignore_value {
                    unknowns.keeping_value.entry(&put.key).or_default().push(operation);
                } else {
                    unknowns.by_value.entry((&put.key, &put.value)).or_default().push(operation);
                }
            }
            let deletes = deletes_of(&operation.request);
            if !deletes.is_empty() {
                unknowns.deleting.push((operation, deletes));
            }
            if let Request::LeaseRevoke(revoke) = &operation.request {
                unknowns.revoking.entry(revoke.id).or_default().push(operation);
            }
        }
        unknowns.bind(evidence);
        unknowns
    }

    fn bind(&mut self, evidence: &BTreeMap<Revision, Evidence>) {
        for (revision, seen) in evidence {
            for (key, (kv, with_value)) in &seen.puts {
                // A put that keeps the value shows the same value again at a later revision.
                if !with_value || self.keeping_value.contains_key(key) {
                    continue;
                }
                if let Some([only]) = self.by_value.get(&(key, &kv.value)).map(Vec::as_slice) {
                    self.bound.entry(only.id).or_insert(*revision);
                }
            }
        }
    }

    /// The operations that may have made `revision`, the likeliest first; `used` ones and those sent after
    /// `seen_at` are left out, and so are repeats of one request.
    pub fn for_revision(
        &self,
        revision: Revision,
        evidence: &Evidence,
        lease_of: impl Fn(&Bytes) -> LeaseId,
        used: &BTreeSet<OpId>,
        seen_at: Nanos,
    ) -> Vec<&'h Operation> {
        let mut found: Vec<&'h Operation> = Vec::new();
        let hinted_put = evidence.puts.iter().find(|(_, (_, with_value))| *with_value);
        if let Some((key, (kv, _))) = hinted_put {
            found.extend(self.by_value.get(&(key, &kv.value)).into_iter().flatten());
            found.extend(self.keeping_value.get(key).into_iter().flatten());
        } else if let (true, Some(key)) = (evidence.puts.is_empty(), evidence.deletes.keys().next()) {
            found.extend(self.revoking.get(&lease_of(key)).into_iter().flatten());
            let covering = self.deleting.iter().filter(|(_, deletes)| {
                deletes.iter().any(|delete| span::covers(&delete.key, &delete.range_end, key))
            });
            found.extend(covering.map(|(operation, _)| *operation));
        } else {
            found.extend(&self.all);
        }
        let mut asked: BTreeSet<&'h Request> = BTreeSet::new();
        found.retain(|operation| {
            !used.contains(&operation.id)
                && operation.invoked <= seen_at
                && self.bound.get(&operation.id).is_none_or(|bound| *bound == revision)
                && asked.insert(&operation.request)
        });
        found
    }
}
