//! Lines and places in them: names of keys, and the requests that take, look at, change and give up a place.
//!
//! The layout is the API's: below `name/`, the lease in hexadecimal without leading zeros.

use bytes::Bytes;

use crate::machine::command::{
    Compare, CompareResult, CompareTarget, DeleteRange, Put, Range, SortOrder, SortTarget, Txn, TxnOp,
};
use crate::types::{KeyRange, LeaseId, RangeEnd, Revision};

/// What stands between a name and its places, and the byte after it.
const SEPARATOR: u8 = b'/';
const PAST_SEPARATOR: u8 = SEPARATOR + 1;

/// A revision that there never is.
const NEVER: Revision = Revision(-1);

/// All who stand in line under one name.
#[derive(Clone, Debug)]
pub(super) struct Line {
    name: Bytes,
}

/// A client's place in a line: a key, which is this place for as long as this revision is the one that created it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The key.
    pub key: Bytes,
    /// The revision that created it.
    pub created: Revision,
    /// The lease that it stands on.
    pub lease: LeaseId,
}

impl Line {
    /// The line under a name.
    pub(super) fn new(name: &[u8]) -> Line {
        // A copy, so that a call that waits for long does not hold the message that it came in.
        Line { name: Bytes::copy_from_slice(name) }
    }

    /// The keys of all places.
    pub(super) fn keys(&self) -> KeyRange {
        KeyRange { start: self.with(&[SEPARATOR]), end: RangeEnd::Before(self.with(&[PAST_SEPARATOR])) }
    }

    /// The key of the place on a lease.
    pub(super) fn key(&self, lease: LeaseId) -> Bytes {
        let sign = if lease.0 < 0 { "-" } else { "" };
        self.with(format!("/{sign}{:x}", lease.0.unsigned_abs()).as_bytes())
    }

    /// The first place.
    pub(super) fn first(&self) -> Range {
        Range {
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Create,
            limit: 1,
            ..Range::of(self.keys())
        }
    }

    /// The place just before one that was created at `created`.
    pub(super) fn before(&self, created: Revision) -> Range {
        assert!(created > Revision::FIRST, "the first revision creates nothing");
        Range {
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            limit: 1,
            keys_only: true,
            max_create_revision: Revision(created.0 - 1),
            ..Range::of(self.keys())
        }
    }

    fn with(&self, rest: &[u8]) -> Bytes {
        Bytes::from([self.name.as_ref(), rest].concat())
    }
}

/// Takes a place, or writes it once more where it stands, and says how it stood. Without a value one that stands keeps its
/// own.
pub(super) fn take(key: &Bytes, lease: LeaseId, value: Option<Bytes>) -> Txn {
    let ignore_value = value.is_none();
    let put = Put { key: key.clone(), value: value.unwrap_or_default(), lease, ..Put::default() };
    let again = Put { prev_kv: true, ignore_value, ..put.clone() };
    Txn {
        compares: vec![is(key, CompareTarget::Create(Revision(0)))],
        success: vec![TxnOp::Put(put)],
        failure: vec![TxnOp::Put(again)],
    }
}

/// Changes the value of a place, as long as it stands. Without a lease it stays on its own.
pub(super) fn rewrite(place: &Place, value: Bytes) -> Txn {
    let (key, lease) = (place.key.clone(), place.lease);
    let put = Put { key, value, lease, ignore_lease: !lease.is_some(), ..Put::default() };
    while_it_stands(place, TxnOp::Put(put))
}

/// Gives up a place, if it stands.
pub(super) fn give_up(place: &Place) -> Txn {
    let range = KeyRange::single(place.key.clone());
    while_it_stands(place, TxnOp::DeleteRange(DeleteRange { range, prev_kv: false }))
}

/// Gives up a place that nobody has written since it was taken.
pub(super) fn give_up_untouched(place: &Place) -> Txn {
    let mut txn = give_up(place);
    txn.compares.push(is(&place.key, CompareTarget::Mod(place.created)));
    txn
}

/// Reads one key.
pub(super) fn look(key: &Bytes) -> Range {
    Range::of(KeyRange::single(key.clone()))
}

fn while_it_stands(place: &Place, op: TxnOp) -> Txn {
    // What no revision has created stands nowhere, also where there is no key.
    let created = if place.created > Revision::FIRST { place.created } else { NEVER };
    let compares = vec![is(&place.key, CompareTarget::Create(created))];
    Txn { compares, success: vec![op], failure: Vec::new() }
}

fn is(key: &Bytes, target: CompareTarget) -> Compare {
    Compare { range: KeyRange::single(key.clone()), result: CompareResult::Equal, target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_after_its_line_and_its_lease() {
        let line = Line::new(b"jobs");
        assert_eq!(line.key(LeaseId(0x0012_ab00)), "jobs/12ab00");
        assert_eq!(line.key(LeaseId(i64::MAX)), "jobs/7fffffffffffffff");
        // As the API's clients write one.
        assert_eq!(line.key(LeaseId(-255)), "jobs/-ff");
        assert_eq!(line.key(LeaseId(i64::MIN)), "jobs/-8000000000000000");
        assert_eq!(Line::new(b"").key(LeaseId(1)), "/1");
    }

    #[test]
    fn a_line_holds_its_places_and_no_other_key() {
        let keys = Line::new(b"jobs").keys();
        for (key, inside) in [
            ("jobs/1", true),
            ("jobs/", true),
            ("jobs/a/b", true),
            ("jobs", false),
            ("jobs0", false),
            ("jobs.1", false),
            ("jobsite/1", false),
        ] {
            assert_eq!(keys.contains(key.as_bytes()), inside, "{key}");
        }
    }
}
