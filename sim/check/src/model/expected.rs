//! The model's whole answer to a request, and its comparison with the answer a client got.
//!
//! The comparison is exact except where the API leaves freedom: ties of a sort may come in any order, and a
//! keys-only answer may carry the lease or leave it out.

use crate::bytes::Bytes;
use crate::history::{
    DeleteRangeResponse, InnerResponse, KeyValue, PutResponse, Range, RangeResponse, Response, SortOrder,
    SortTarget, TxnResponse,
};
use crate::types::{LeaseId, Revision};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a request must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// To a put.
    Put {
        /// The pair before, if it was asked for.
        prev_kv: Option<KeyValue>,
    },
    /// To a range.
    Range(Box<ExpectedRange>),
    /// To a delete.
    DeleteRange {
        /// How many keys go.
        deleted: i64,
        /// The pairs that go, if they were asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// To a transaction.
    Txn {
        /// Whether all comparisons hold.
        succeeded: bool,
        /// For each operation of the branch, the revision of its inner header and its answer.
        responses: Vec<(Revision, Expected)>,
    },
    /// An answer that says nothing (a lease revoke).
    Nothing,
}

/// What a range must answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedRange {
    /// How many keys the range holds.
    pub count: i64,
    /// Whether the limit cuts some.
    pub more: bool,
    /// The pairs to sort and cut, by key; several where the API allows several readings, none for a mere count.
    pub pools: Vec<Vec<KeyValue>>,
    /// The most pairs in the answer.
    pub length: usize,
    pub(super) target: SortTarget,
    pub(super) descending: bool,
    pub(super) keys_only: bool,
}

impl ExpectedRange {
    pub(super) fn of(range: &Range) -> ExpectedRange {
        ExpectedRange {
            target: range.sort_target,
            descending: range.sort_order == SortOrder::Descend,
            keys_only: range.keys_only,
            ..ExpectedRange::default()
        }
    }

    fn order(&self, a: &KeyValue, b: &KeyValue) -> Ordering {
        let order = match self.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if self.descending { order.reverse() } else { order }
    }

    /// The pairs of one answer that fits.
    fn chosen(&self) -> Vec<KeyValue> {
        let mut pairs = self.pools.first().cloned().unwrap_or_default();
        pairs.sort_by(|a, b| self.order(a, b));
        pairs.truncate(self.length);
        for kv in pairs.iter_mut().filter(|_| self.keys_only) {
            kv.value = Bytes::default();
            kv.lease = LeaseId::NONE;
        }
        pairs
    }

    /// Whether an answered pair is the pair of the store, as far as the request asked for it.
    fn same(&self, store: &KeyValue, got: &KeyValue) -> bool {
        if !self.keys_only {
            return store == got;
        }
        let lease_fits = got.lease == LeaseId::NONE || got.lease == store.lease;
        let bare = KeyValue { value: Bytes::default(), lease: got.lease, ..store.clone() };
        lease_fits && bare == *got
    }

    fn compare(&self, got: &RangeResponse) -> Result<(), String> {
        differ("count", &self.count, &got.count)?;
        differ("more", &self.more, &got.more)?;
        if self.pools.is_empty() {
            return if got.kvs.is_empty() {
                Ok(())
            } else {
                Err("pairs came although only the count was asked".into())
            };
        }
        let mut complaint = Ok(());
        for pool in &self.pools {
            complaint = self.compare_pairs(pool, &got.kvs);
            if complaint.is_ok() {
                break;
            }
        }
        complaint
    }

    fn compare_pairs(&self, pool: &[KeyValue], got: &[KeyValue]) -> Result<(), String> {
        let mut sorted: Vec<&KeyValue> = pool.iter().collect();
        if self.target != SortTarget::Key || self.descending {
            sorted.sort_by(|a, b| self.order(a, b));
        }
        sorted.truncate(self.length);
        if sorted.len() != got.len() {
            return Err(format!("{} pairs expected, {} came", sorted.len(), got.len()));
        }
        let exact = sorted.iter().zip(got).position(|(want, have)| !self.same(want, have));
        let Some(place) = exact else { return Ok(()) };
        let at_fault = || match (sorted.get(place), got.get(place)) {
            (Some(want), Some(have)) => format!("expected {}, came {}", show(want), show(have)),
            _ => "the pairs differ".to_owned(),
        };
        if self.target == SortTarget::Key {
            return Err(at_fault());
        }
        self.compare_with_ties(pool, &sorted, got).map_err(|()| at_fault())
    }

    /// Accepts any order among pairs that sort alike, and any choice among them at the cut.
    fn compare_with_ties(&self, pool: &[KeyValue], sorted: &[&KeyValue], got: &[KeyValue]) -> Result<(), ()> {
        let mut open: BTreeMap<&Bytes, &KeyValue> = pool.iter().map(|kv| (&kv.key, kv)).collect();
        for (want, have) in sorted.iter().zip(got) {
            let own = open.remove(&have.key).ok_or(())?;
            if !self.same(own, have) || self.order(own, want) != Ordering::Equal {
                return Err(());
            }
        }
        Ok(())
    }
}

impl Expected {
    /// One answer that fits: ties in key order, inner headers filled.
    pub fn to_response(&self) -> Response {
        match self {
            Expected::Put { prev_kv } => Response::Put(PutResponse { prev_kv: prev_kv.clone() }),
            Expected::Range(expected) => Response::Range(RangeResponse {
                kvs: expected.chosen(),
                more: expected.more,
                count: expected.count,
            }),
            Expected::DeleteRange { deleted, prev_kvs } => {
                Response::DeleteRange(DeleteRangeResponse { deleted: *deleted, prev_kvs: prev_kvs.clone() })
            }
            Expected::Txn { succeeded, responses } => {
                let inner = |(revision, expected): &(Revision, Expected)| InnerResponse {
                    revision: Some(*revision),
                    response: expected.to_response(),
                };
                Response::Txn(TxnResponse {
                    succeeded: *succeeded,
                    responses: responses.iter().map(inner).collect(),
                })
            }
            Expected::Nothing => Response::LeaseRevoke,
        }
    }

    /// Compares with what came; the error says what differs.
    pub fn compare(&self, got: &Response) -> Result<(), String> {
        match (self, got) {
            (Expected::Put { prev_kv }, Response::Put(got)) => {
                differ_pair("previous value", prev_kv.as_ref(), got.prev_kv.as_ref())
            }
            (Expected::Range(expected), Response::Range(got)) => expected.compare(got),
            (Expected::DeleteRange { deleted, prev_kvs }, Response::DeleteRange(got)) => {
                differ("deleted count", deleted, &got.deleted)?;
                differ("number of previous pairs", &prev_kvs.len(), &got.prev_kvs.len())?;
                (prev_kvs.iter().zip(&got.prev_kvs))
                    .try_for_each(|(want, have)| differ_pair("previous pair", Some(want), Some(have)))
            }
            (Expected::Txn { succeeded, responses }, Response::Txn(got)) => {
                differ("branch taken (succeeded)", succeeded, &got.succeeded)?;
                differ("number of inner answers", &responses.len(), &got.responses.len())?;
                for (number, ((revision, want), have)) in responses.iter().zip(&got.responses).enumerate() {
                    let named = |complaint| format!("operation {number} of the branch: {complaint}");
                    want.compare(&have.response).map_err(named)?;
                    // A nested transaction's own inner header is empty on the reference.
                    let nested_blank =
                        matches!(want, Expected::Txn { .. }) && have.revision == Some(Revision(0));
                    if let (Some(inner), false) = (have.revision, nested_blank) {
                        differ("inner header revision", revision, &inner).map_err(named)?;
                    }
                }
                Ok(())
            }
            (Expected::Nothing, Response::LeaseRevoke) => Ok(()),
            _ => Err("the answer is of another kind than the question".into()),
        }
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, want: &T, have: &T) -> Result<(), String> {
    if want == have { Ok(()) } else { Err(format!("{what} should be {want:?}, was {have:?}")) }
}

fn differ_pair(what: &str, want: Option<&KeyValue>, have: Option<&KeyValue>) -> Result<(), String> {
    if want == have {
        return Ok(());
    }
    let text = |kv: Option<&KeyValue>| kv.map_or("nothing".to_owned(), show);
    Err(format!("{what} should be {}, was {}", text(want), text(have)))
}

/// A pair in one short line.
pub(crate) fn show(kv: &KeyValue) -> String {
    let lease = if kv.lease == LeaseId::NONE { String::new() } else { format!(" lease {}", kv.lease) };
    format!(
        "{}={} (created {}, modified {}, version {}{lease})",
        kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version
    )
}
