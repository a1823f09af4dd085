//! Transactions: compare, check everything, then do one branch; nothing of it can fail half-way.
//!
//! Which branch each level takes is decided by all compares, nested ones included, against the state before the
//! transaction. Then the branches taken are checked against that same state. Only then is anything written.

use crate::machine::command::{
    Command, CommandError, Compare, CompareResult, CompareTarget, DeleteRange, KeyValue, Put, Range,
    RangeReply, Reply, Txn, TxnOp, TxnReply,
};
use crate::machine::effects::{Event, Records, RecordsError};
use crate::machine::lease::Leases;
use crate::machine::mvcc::Mvcc;
use crate::machine::mvcc::history::Latest;
use crate::machine::mvcc::range::RangeCursor;
use crate::machine::mvcc::write::Writer;
use crate::types::{LeaseId, Revision};

/// What a transaction will do, decided but not done.
pub(crate) struct Plan<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
    /// Only for a planted bug: what was decided about.
    txn: &'t Txn,
}

enum Step<'t> {
    Range(&'t Range),
    Put(&'t Put),
    DeleteRange(&'t DeleteRange),
    Txn(Plan<'t>),
}

impl<'t> Plan<'t> {
    /// Evaluates the compares of `txn` and of the nested transactions on the way, in the present state.
    pub(crate) fn decide(kv: &Mvcc, records: &dyn Records, txn: &'t Txn) -> Result<Plan<'t>, RecordsError> {
        let mut succeeded = true;
        for compare in &txn.compares {
            if !holds(kv, records, compare)? {
                succeeded = false;
                break;
            }
        }
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let mut steps = Vec::with_capacity(ops.len());
        for op in ops {
            steps.push(match op {
                TxnOp::Range(range) => Step::Range(range),
                TxnOp::Put(put) => Step::Put(put),
                TxnOp::DeleteRange(delete) => Step::DeleteRange(delete),
                TxnOp::Txn(txn) => {
                    crate::sometimes!("a transaction within a transaction");
                    Step::Txn(Plan::decide(kv, records, txn)?)
                }
            });
        }
        Ok(Plan { succeeded, steps, txn })
    }

    /// Whether everything that will be done can be done.
    pub(crate) fn check(&self, kv: &Mvcc, leases: &Leases) -> Result<(), CommandError> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Range(range) => kv.read_revision(range.revision, kv.revision).map(|_| ()),
            Step::Put(put) => check_put(kv, leases, put),
            Step::DeleteRange(_) => Ok(()),
            // The planted bug leaves what is inside to itself.
            Step::Txn(_) if crate::mutant!("txn-inner-puts-unchecked") => Ok(()),
            Step::Txn(plan) => plan.check(kv, leases),
        })
    }

    /// Answers a transaction that only reads.
    pub(crate) fn read(&self, kv: &Mvcc, records: &dyn Records) -> Result<TxnReply, RecordsError> {
        let mut replies = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            match step {
                Step::Range(query) => {
                    replies.push((kv.revision, Reply::Range(range(kv, kv.revision, records, query)?)));
                }
                Step::Txn(plan) => replies.push((Revision(0), Reply::Txn(plan.read(kv, records)?))),
                Step::Put(_) | Step::DeleteRange(_) => {
                    return Err(RecordsError("a transaction that writes was given to a reader".to_owned()));
                }
            }
        }
        Ok(TxnReply { succeeded: self.succeeded, replies })
    }

    /// Does it. The revision beside a nested transaction's reply is 0: its header carries none.
    pub(crate) fn execute(&self, writer: &mut Writer<'_, '_>) -> Result<TxnReply, RecordsError> {
        let mut replies = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let reply = match step {
                Step::Range(query) => {
                    // The planted bug reads what was there before the transaction.
                    let unseen = crate::mutant!("txn-range-misses-own-writes");
                    let current = if unseen { writer.kv.revision } else { writer.read_revision() };
                    Reply::Range(range(writer.kv, current, writer, query)?)
                }
                Step::Put(put) => self::put(writer, put)?,
                Step::DeleteRange(delete) => delete_range(writer, delete)?,
                // The planted bug compares only now, after earlier steps have written.
                Step::Txn(plan) if crate::mutant!("txn-inner-compares-after-writes") => {
                    let late = Plan::decide(writer.kv, writer, plan.txn)?;
                    replies.push((Revision(0), Reply::Txn(late.execute(writer)?)));
                    continue;
                }
                Step::Txn(plan) => {
                    replies.push((Revision(0), Reply::Txn(plan.execute(writer)?)));
                    continue;
                }
            };
            replies.push((writer.read_revision(), reply));
        }
        Ok(TxnReply { succeeded: self.succeeded, replies })
    }
}

/// A range that has been checked, at `current` as the newest revision.
fn range(
    kv: &Mvcc,
    current: Revision,
    records: &dyn Records,
    query: &Range,
) -> Result<RangeReply, RecordsError> {
    let refused = |error: CommandError| RecordsError(format!("a checked range was refused: {error}"));
    let mut cursor = RangeCursor::begin(kv, query.clone(), current).map_err(refused)?;
    while !cursor.step_in(kv, usize::MAX).map_err(refused)? {}
    cursor.finish(records)
}

/// Whether a put can be done: what it keeps exists, and so does its lease.
pub(crate) fn check_put(kv: &Mvcc, leases: &Leases, put: &Put) -> Result<(), CommandError> {
    let keeps = put.ignore_value || put.ignore_lease;
    if keeps && kv.index.get(&put.key).and_then(|history| history.live()).is_none() {
        return Err(CommandError::KeyNotFound);
    }
    if put.lease.is_some() && leases.get(put.lease).is_none() {
        return Err(CommandError::LeaseNotFound);
    }
    Ok(())
}

/// Does a put that has been checked.
pub(crate) fn put(writer: &mut Writer<'_, '_>, put: &Put) -> Result<Reply, RecordsError> {
    let before =
        if put.ignore_value || put.ignore_lease || put.prev_kv { writer.current(&put.key)? } else { None };
    let value = match &before {
        Some(kv) if put.ignore_value => kv.value.clone(),
        _ => put.value.clone(),
    };
    let lease = match &before {
        Some(kv) if put.ignore_lease => kv.lease,
        _ => put.lease,
    };
    writer.put(&put.key, value, lease);
    Ok(Reply::Put { prev_kv: before.filter(|_| put.prev_kv) })
}

/// Deletes a range.
pub(crate) fn delete_range(writer: &mut Writer<'_, '_>, delete: &DeleteRange) -> Result<Reply, RecordsError> {
    let mut prev_kvs: Vec<KeyValue> = Vec::new();
    if delete.prev_kv {
        for (key, _) in writer.kv.index.range(&delete.range, None) {
            prev_kvs.extend(writer.current(key)?);
        }
    }
    let deleted = writer.delete_range(&delete.range);
    Ok(Reply::DeleteRange { deleted, prev_kvs })
}

fn holds(kv: &Mvcc, records: &dyn Records, compare: &Compare) -> Result<bool, RecordsError> {
    let mut any = false;
    for (_, history) in kv.index.range(&compare.range, None) {
        let Some(latest) = history.live() else { continue };
        any = true;
        if !holds_for(records, compare, Some(latest))? {
            return Ok(false);
        }
    }
    if any { Ok(true) } else { holds_for(records, compare, None) }
}

fn holds_for(
    records: &dyn Records,
    compare: &Compare,
    stored: Option<&Latest>,
) -> Result<bool, RecordsError> {
    let number = |read: fn(&Latest) -> i64| stored.map_or(0, read);
    let order = match &compare.target {
        CompareTarget::Version(version) => number(|latest| latest.change.version).cmp(version),
        CompareTarget::Create(revision) => number(|latest| latest.change.created.0).cmp(&revision.0),
        CompareTarget::Mod(revision) => number(|latest| latest.change.at.main.0).cmp(&revision.0),
        CompareTarget::Lease(LeaseId(lease)) => number(|latest| latest.lease.0).cmp(lease),
        CompareTarget::Value(value) => {
            let Some(latest) = stored else { return Ok(false) };
            match records.record(latest.change.at)?.event {
                Event::Put(kv) => kv.value.cmp(value),
                Event::Delete { .. } => {
                    return Err(RecordsError(format!(
                        "a living key's record {:?} is a deletion",
                        latest.change.at
                    )));
                }
            }
        }
    };
    Ok(match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    })
}

/// Whether a command only reads, whatever branch it takes.
pub fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        TxnOp::Range(_) => true,
        TxnOp::Txn(txn) => is_read_only(txn),
        TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
    })
}

/// Whether a command may change the key space.
pub fn may_write_keys(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::DeleteRange(_) => true,
        Command::Txn(txn) => !is_read_only(txn),
        Command::LeaseRevoke { .. } | Command::LeaseExpire { .. } => true,
        _ => false,
    }
}
