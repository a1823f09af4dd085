//! Turns a planned operation into a request: names for key numbers, ids for leases, revisions for symbols.
//!
//! A pure function of the operation and the client's memory. Lease ids and values follow from the names of the
//! operations that made them, so a plan without that operation still names the same lease and the same value.

use quorate::config::API_LEVEL;
use quorate::types::ApiLevel;
use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Alarm, AlarmAction, AlarmKind, Compact, Compare, CompareTarget, DeleteRange, Downgrade, HashKv,
    LeaseGrant, LeaseRef, LeaseTimeToLive, Put, Range, Request, SortOrder, SortTarget, Txn, TxnOp,
};
use quorate_check::types::{LeaseId, MemberId, OpId, Revision};

use super::memory::Memory;
use crate::plan::operation::{
    Against, AlarmAsk, Ask, CompareAsk, DeleteAsk, Keys, PlannedOp, PutAsk, RangeAsk, RevisionAt, StepAsk,
    TxnAsk, op_parts,
};
use crate::plan::{NOBODY, founder_id};

/// The key of a number. Two digits keep the order of names the order of numbers.
pub fn key_name(number: u16) -> Bytes {
    Bytes::from(format!("k{number:02}").as_str())
}

/// The lease that an operation grants.
pub fn lease_id(grant: OpId) -> LeaseId {
    // Leases count from far above zero, so that no number is taken for one by accident.
    LeaseId(i64::try_from(grant.0).unwrap_or(i64::MAX).saturating_add(0x1ea5e << 20))
}

/// The value that an operation writes first.
pub fn value_of(id: OpId) -> Bytes {
    let (client, nth) = op_parts(id);
    Bytes::from(format!("{client}-{nth}").as_str())
}

/// The request of a planned operation; none of what no oracle knows as one.
pub fn resolve(op: &PlannedOp, memory: &Memory) -> Option<Request> {
    let mut resolver = Resolver { id: op.id, written: 0, memory };
    Some(match &op.ask {
        Ask::Put(put) => Request::Put(resolver.put(put)),
        Ask::Range(range) => Request::Range(resolver.range(range)),
        Ask::Delete(delete) => Request::DeleteRange(delete_range(delete)),
        Ask::Txn(txn) => Request::Txn(resolver.txn(txn)),
        Ask::Compact { at } => {
            Request::Compact(Compact { revision: resolver.compaction(*at), physical: false })
        }
        Ask::LeaseGrant { ttl_secs } => {
            Request::LeaseGrant(LeaseGrant { id: lease_id(op.id), ttl_secs: *ttl_secs })
        }
        Ask::LeaseRevoke { grant } => Request::LeaseRevoke(LeaseRef { id: lease_id(*grant) }),
        Ask::LeaseKeepAlive { grant } => Request::LeaseKeepAlive(LeaseRef { id: lease_id(*grant) }),
        Ask::LeaseTimeToLive { grant, keys } => {
            Request::LeaseTimeToLive(LeaseTimeToLive { id: lease_id(*grant), keys: *keys })
        }
        Ask::LeaseList {} => Request::LeaseLeases,
        Ask::Stream { range, .. } => Request::Range(resolver.range(range)),
        Ask::HashKv { at } => Request::HashKv(HashKv { revision: resolver.revision(*at) }),
        Ask::Status {} => Request::Status,
        Ask::MakeRoom {} => {
            Request::Compact(Compact { revision: resolver.compaction(RevisionAt::Now), physical: true })
        }
        Ask::Hold(hold) => Request::LeaseGrant(LeaseGrant { id: lease_id(op.id), ttl_secs: hold.ttl_secs }),
        Ask::Lead { lock, .. } => Request::Range(holder_of(*lock)),
        Ask::ListAlarms { kind } => Request::Alarm(Alarm { kind: *kind, ..Alarm::default() }),
        Ask::RaiseAlarm { alarm } => Request::Alarm(of_alarm(AlarmAction::Raise, *alarm)),
        Ask::ClearAlarm { alarm } => Request::Alarm(of_alarm(AlarmAction::Clear, *alarm)),
        Ask::ClearAlarms { kind } => Request::Alarm(every_alarm(*kind)),
        Ask::Downgrade { action, levels } => {
            Request::Downgrade(Downgrade { action: *action, version: version_below(*levels) })
        }
        Ask::Observe { .. } | Ask::Image {} | Ask::Defragment {} => return None,
    })
}

fn of_alarm(action: AlarmAction, alarm: AlarmAsk) -> Alarm {
    let (kind, member) = match alarm {
        AlarmAsk::NoSpace(index) => (AlarmKind::NoSpace, founder_id(index)),
        AlarmAsk::Corrupt => (AlarmKind::Corrupt, NOBODY),
    };
    Alarm { action, kind: Some(kind), member }
}

/// The version so many levels below the product's own.
fn version_below(levels: u32) -> String {
    let ApiLevel { major, minor } = API_LEVEL;
    ApiLevel { major, minor: minor.saturating_sub(levels) }.to_string()
}

/// Clears every alarm of a kind.
pub fn every_alarm(kind: AlarmKind) -> Alarm {
    Alarm { action: AlarmAction::Clear, kind: Some(kind), member: MemberId(0) }
}

/// What all keys of a lock begin with.
pub fn lock_prefix(lock: u16) -> Bytes {
    Bytes::from(format!("{}/", lock_name(lock)).as_str())
}

/// The name of a lock, or of an election.
pub fn lock_name(lock: u16) -> String {
    format!("lock{lock}")
}

/// The end of the range of all keys of a lock.
pub fn lock_end(lock: u16) -> Bytes {
    // The byte behind the slash.
    Bytes::from(format!("lock{lock}0").as_str())
}

/// Reads a lock's holder.
fn holder_of(lock: u16) -> Range {
    Range {
        key: lock_prefix(lock),
        range_end: lock_end(lock),
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..Range::default()
    }
}

/// First key and range end, in the API's convention.
pub(super) fn span(keys: Keys) -> (Bytes, Bytes) {
    match keys {
        Keys::One(key) => (key_name(key), Bytes::default()),
        Keys::Between(first, end) => (key_name(first), key_name(end)),
        Keys::Ten(ten) => {
            (Bytes::from(format!("k{ten}").as_str()), Bytes::from(format!("k{}", ten + 1).as_str()))
        }
        Keys::From(first) => (key_name(first), Bytes::from(&b"\0"[..])),
        Keys::All => (Bytes::from(&b"\0"[..]), Bytes::from(&b"\0"[..])),
    }
}

/// The value with so many bytes more.
fn padded(value: &Bytes, pad: u16) -> Bytes {
    let mut bytes = value.as_slice().to_vec();
    bytes.push(b' ');
    bytes.resize(bytes.len() + usize::from(pad), b'.');
    Bytes::from(bytes)
}

fn delete_range(ask: &DeleteAsk) -> DeleteRange {
    let (key, range_end) = span(ask.keys);
    DeleteRange { key, range_end, prev_kv: ask.prev_kv }
}

struct Resolver<'a> {
    id: OpId,
    /// Values made so far: a transaction may write several.
    written: u64,
    memory: &'a Memory,
}

impl Resolver<'_> {
    /// The revision meant; 0 is the present.
    fn revision(&self, at: RevisionAt) -> Revision {
        let newest = self.memory.newest().0;
        match at {
            RevisionAt::Now => Revision(0),
            RevisionAt::Back(by) => Revision(newest.saturating_sub(by).max(1)),
            RevisionAt::Ahead(by) => Revision(newest.saturating_add(by)),
            RevisionAt::Round(to) => Revision((newest - newest.checked_rem(to).unwrap_or(0)).max(1)),
        }
    }

    /// A compaction needs a number: the present is the newest revision seen.
    fn compaction(&self, at: RevisionAt) -> Revision {
        match at {
            RevisionAt::Now => self.revision(RevisionAt::Back(0)),
            other => self.revision(other),
        }
    }

    fn put(&mut self, ask: &PutAsk) -> Put {
        let nth = self.written;
        self.written += 1;
        let value = match nth {
            _ if ask.ignore_value => Bytes::default(),
            0 => value_of(self.id),
            nth => Bytes::from(format!("{}.{nth}", value_of(self.id)).as_str()),
        };
        let value = if ask.pad > 0 && !ask.ignore_value { padded(&value, ask.pad) } else { value };
        Put {
            key: key_name(ask.key),
            value,
            lease: if ask.ignore_lease { LeaseId::NONE } else { ask.lease.map(lease_id).unwrap_or_default() },
            prev_kv: ask.prev_kv,
            ignore_value: ask.ignore_value,
            ignore_lease: ask.ignore_lease,
        }
    }

    fn range(&self, ask: &RangeAsk) -> Range {
        let (key, range_end) = span(ask.keys);
        Range {
            key,
            range_end,
            limit: ask.limit,
            revision: self.revision(ask.at),
            sort_order: ask.sort_order,
            sort_target: ask.sort_target,
            serializable: ask.serializable,
            keys_only: ask.keys_only,
            count_only: ask.count_only,
            min_mod_revision: ask.modified_since.map(|at| self.revision(at)).unwrap_or_default(),
            ..Range::default()
        }
    }

    fn txn(&mut self, ask: &TxnAsk) -> Txn {
        Txn {
            compare: ask.compares.iter().map(|compare| self.compare(compare)).collect(),
            success: ask.success.iter().map(|step| self.step(step)).collect(),
            failure: ask.failure.iter().map(|step| self.step(step)).collect(),
        }
    }

    fn step(&mut self, ask: &StepAsk) -> TxnOp {
        match ask {
            StepAsk::Put(put) => TxnOp::Put(self.put(put)),
            StepAsk::Range(range) => TxnOp::Range(self.range(range)),
            StepAsk::Delete(delete) => TxnOp::DeleteRange(delete_range(delete)),
            StepAsk::Txn(txn) => TxnOp::Txn(self.txn(txn)),
        }
    }

    fn compare(&self, ask: &CompareAsk) -> Compare {
        let (key, range_end) = span(ask.keys);
        let target = match ask.against {
            Against::Version(version) => CompareTarget::Version(version),
            Against::VersionSeen(key) => CompareTarget::Version(self.memory.known(&key_name(key)).version),
            Against::ModSeen(key) => CompareTarget::Mod(self.memory.known(&key_name(key)).mod_revision),
            Against::Mod(at) => CompareTarget::Mod(self.revision(at)),
            Against::Create(at) => CompareTarget::Create(self.revision(at)),
            Against::ValueOf(put) => CompareTarget::Value(value_of(put)),
            Against::LeaseOf(grant) => CompareTarget::Lease(lease_id(grant)),
        };
        Compare { key, range_end, result: ask.result, target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MemberIndex;
    use crate::plan::operation::op_id;
    use quorate_check::history::{Header, PutResponse, Response};
    use quorate_check::types::ClientId;

    fn planned(nth: u64, ask: Ask) -> PlannedOp {
        PlannedOp { id: op_id(ClientId(3), nth), at_ms: 0, member: MemberIndex(0), timeout_ms: 1, ask }
    }

    #[test]
    fn values_name_their_operation_and_are_unique_within_it() {
        let put = |key| StepAsk::Put(PutAsk { key, ..PutAsk::default() });
        let txn = TxnAsk { success: vec![put(1), put(2)], failure: vec![put(1)], ..TxnAsk::default() };
        let Some(Request::Txn(txn)) = resolve(&planned(17, Ask::Txn(txn)), &Memory::default()) else {
            panic!("a transaction was asked for")
        };
        let values: Vec<String> = txn
            .every_op()
            .into_iter()
            .filter_map(|op| if let TxnOp::Put(put) = op { Some(put.value.to_string()) } else { None })
            .collect();
        assert_eq!(values, ["c3-17", "c3-17.1", "c3-17.2"]);
    }

    #[test]
    fn revisions_are_relative_to_the_newest_seen() {
        let mut memory = Memory::default();
        let ask = |at| planned(2, Ask::Compact { at });
        let revision = |memory: &Memory, at| match resolve(&ask(at), memory) {
            Some(Request::Compact(compact)) => compact.revision.0,
            other => panic!("a compaction was asked for, not {other:?}"),
        };
        assert_eq!(revision(&memory, RevisionAt::Back(5)), 1, "nothing is older than the empty store");
        let request = resolve(&planned(1, Ask::Put(PutAsk::default())), &memory).unwrap();
        let header = Header { revision: Revision(40), ..Header::default() };
        memory.learn(&request, &header, &Response::Put(PutResponse::default()));
        assert_eq!(revision(&memory, RevisionAt::Back(5)), 35);
        assert_eq!(revision(&memory, RevisionAt::Ahead(5)), 45);
        assert_eq!(revision(&memory, RevisionAt::Now), 40);
        assert_eq!(memory.known(&key_name(0)).mod_revision, Revision(40));
    }

    #[test]
    fn a_lease_is_named_by_the_operation_that_grants_it() {
        let grant = planned(4, Ask::LeaseGrant { ttl_secs: 9 });
        let revoke = planned(5, Ask::LeaseRevoke { grant: grant.id });
        let memory = Memory::default();
        let (Some(Request::LeaseGrant(granted)), Some(Request::LeaseRevoke(revoked))) =
            (resolve(&grant, &memory), resolve(&revoke, &memory))
        else {
            panic!("a grant and a revoke were asked for")
        };
        assert_eq!(granted.id, revoked.id);
        assert_ne!(granted.id, LeaseId::NONE);
    }
}
