//! Transactions compare before they write, and are whole: every small one against a naive reading of the rules.
//!
//! # Modelled
//! Every transaction of one compare, one operation and one nested transaction (compare, success, failure) over two
//! keys that the API's own check lets pass, one after the other on the real machine; beside it a naive machine, a map
//! from key to value and numbers, that decides all compares on the state before the transaction and then writes.
//!
//! # Abstracted
//! Nothing runs beside anything: transactions are entries of a log. This model enumerates inputs, not interleavings.
//!
//! # Bounds
//! [`TXNS`] transactions one after the other.
//!
//! # Properties
//! Always: branch taken at both levels, deleted counts, and then values, create and mod revisions, versions and the
//! store's revision are those of the naive machine. Sometimes: a nested compare would have gone the other way after
//! the outer write; a transaction changes nothing and takes no revision; a key is deleted and created anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::machine::check::check_txn;
use quorate::machine::command::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Put, Reply, Txn, TxnOp, TxnReply,
};
use quorate::types::{KeyRange, Revision};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, must};
use crate::search::Checked;

/// Transactions in all.
const TXNS: u8 = 3;

const TESTS: [Test; 3] = [Test::Missing("a"), Test::Missing("b"), Test::Holds("a", "x")];
const CHANGES: [Change; 3] = [Change::Put("a", "x"), Change::Put("b", "y"), Change::Delete("a")];

/// The model.
#[derive(Clone, Debug)]
pub struct TxnModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnState {
    machine: Replica,
    naive: Naive,
    txns: u8,
    same_answer: bool,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    torn: bool,
    idle: bool,
}

/// A key space as a map, by the book.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Naive {
    revision: i64,
    keys: BTreeMap<&'static str, Stored>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stored {
    value: &'static str,
    created: i64,
    changed: i64,
    version: i64,
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// The key does not exist.
    Missing(&'static str),
    /// The key has this value.
    Holds(&'static str, &'static str),
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put a value.
    Put(&'static str, &'static str),
    /// Delete a key.
    Delete(&'static str),
}

/// If the first test holds: the change, and the second test's choice between two more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnAction {
    test: Test,
    change: Change,
    inner: Test,
    success: Change,
    failure: Change,
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn compare(test: Test) -> Compare {
    let (key, target) = match test {
        Test::Missing(key) => (key, CompareTarget::Version(0)),
        Test::Holds(key, value) => (key, CompareTarget::Value(bytes(value))),
    };
    Compare { range: KeyRange::single(key), result: CompareResult::Equal, target }
}

fn operation(change: Change) -> TxnOp {
    match change {
        Change::Put(key, value) => TxnOp::Put(Put { key: bytes(key), value: bytes(value), ..Put::default() }),
        Change::Delete(key) => {
            TxnOp::DeleteRange(DeleteRange { range: KeyRange::single(key), prev_kv: false })
        }
    }
}

impl TxnAction {
    fn txn(self) -> Txn {
        let inner = Txn {
            compares: vec![compare(self.inner)],
            success: vec![operation(self.success)],
            failure: vec![operation(self.failure)],
        };
        let success = vec![operation(self.change), TxnOp::Txn(inner)];
        Txn { compares: vec![compare(self.test)], success, failure: Vec::new() }
    }
}

impl Naive {
    fn holds(&self, test: Test) -> bool {
        match test {
            Test::Missing(key) => !self.keys.contains_key(key),
            Test::Holds(key, value) => self.keys.get(key).is_some_and(|stored| stored.value == value),
        }
    }

    /// Makes a change at a revision; whether it changed anything.
    fn change(&mut self, planted: Planted, change: Change, at: i64) -> bool {
        match change {
            Change::Put(key, value) => {
                let before = self.keys.get(key).filter(|_| planted != Planted::PutCreatesAnew);
                let created = before.map_or(at, |before| before.created);
                let version = before.map_or(0, |before| before.version) + 1;
                self.keys.insert(key, Stored { value, created, changed: at, version });
                true
            }
            Change::Delete(key) => self.keys.remove(key).is_some(),
        }
    }

    /// Does a transaction: whether each level's test held, and how much each change deleted.
    fn run(&mut self, planted: Planted, action: TxnAction) -> Vec<i64> {
        let (outer, mut inner) = (self.holds(action.test), self.holds(action.inner));
        if !outer {
            return vec![0];
        }
        let at = self.revision + 1;
        let deleted = |change: Change, changed: bool| match change {
            Change::Put(..) => -1,
            Change::Delete(_) => i64::from(changed),
        };
        let first = self.change(planted, action.change, at);
        if planted == Planted::ComparedAfterWrite {
            inner = self.holds(action.inner);
        }
        let chosen = if inner { action.success } else { action.failure };
        let second = self.change(planted, chosen, at);
        if first || second {
            self.revision = at;
        }
        vec![1, deleted(action.change, first), i64::from(inner), deleted(chosen, second)]
    }
}

/// A reply in the naive machine's form.
fn flatten(reply: &TxnReply) -> Vec<i64> {
    let mut flat = vec![i64::from(reply.succeeded)];
    for (_, reply) in &reply.replies {
        match reply {
            Reply::DeleteRange { deleted, .. } => flat.push(*deleted),
            Reply::Txn(nested) => flat.extend(flatten(nested)),
            _ => flat.push(-1),
        }
    }
    flat
}

impl Model for TxnModel {
    type State = TxnState;
    type Action = TxnAction;

    fn init_states(&self) -> Vec<TxnState> {
        vec![TxnState {
            machine: Replica::default(),
            naive: Naive { revision: 1, keys: BTreeMap::new() },
            txns: 0,
            same_answer: true,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &TxnState, actions: &mut Vec<TxnAction>) {
        if state.txns == TXNS {
            return;
        }
        for test in TESTS {
            for change in CHANGES {
                for inner in TESTS {
                    for success in CHANGES {
                        for failure in CHANGES {
                            let action = TxnAction { test, change, inner, success, failure };
                            if check_txn(&action.txn(), 128).is_ok() {
                                actions.push(action);
                            }
                        }
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &TxnState, action: TxnAction) -> Option<TxnState> {
        let mut state = last.clone();
        state.txns += 1;
        let (answer, _) = state.machine.run(Command::Txn(action.txn()));
        let reply = match must(answer.result, "a transaction") {
            Reply::Txn(reply) => flatten(&reply),
            _ => Vec::new(),
        };
        let said = state.naive.run(self.planted, action);
        state.same_answer = said == reply && answer.revision == Revision(state.naive.revision);
        state.seen.idle |= state.naive.revision == last.naive.revision;
        let run = |planted: Planted| last.naive.clone().run(planted, action);
        state.seen.torn |= run(Planted::ComparedAfterWrite) != run(Planted::Nothing);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<TxnModel>> {
        vec![
            Property::always("the answer is by the book", |_, state: &TxnState| state.same_answer),
            Property::always("the key space is by the book", |_, state: &TxnState| {
                let found = state.machine.all(Revision(0)).kvs;
                let same = |((key, stored), kv): ((&&str, &Stored), &quorate::machine::command::KeyValue)| {
                    kv.key == key.as_bytes()
                        && kv.value == stored.value.as_bytes()
                        && kv.create_revision == Revision(stored.created)
                        && kv.mod_revision == Revision(stored.changed)
                        && kv.version == stored.version
                };
                found.len() == state.naive.keys.len() && state.naive.keys.iter().zip(&found).all(same)
            }),
            Property::sometimes("the outer write would turn the inner compare", |_, state: &TxnState| {
                state.seen.torn
            }),
            Property::sometimes("nothing is changed and no revision taken", |_, state: &TxnState| {
                state.seen.idle
            }),
            Property::sometimes("a key is created anew", |_, state: &TxnState| {
                state.naive.keys.get("a").is_some_and(|stored| stored.created > 2 && stored.version == 1)
            }),
        ]
    }
}

impl Checked for TxnModel {
    const NAME: &'static str = "txn";
    const ABOUT: &'static str = "transactions compare before they write, and are whole";
    const PLANTED: &'static [Planted] = &[Planted::ComparedAfterWrite, Planted::PutCreatesAnew];

    fn new(planted: Planted) -> TxnModel {
        TxnModel { planted }
    }
}
