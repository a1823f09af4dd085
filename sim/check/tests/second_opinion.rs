//! Small histories, sound and broken, judged by our oracles and by stateright's linearizability tester: both verdicts
//! must be the same.
//!
//! The tester tries every order of a plain sequential store, written here apart from the reference model: revision,
//! and for each key value, create revision, mod revision and version. Operations without an answer may or may not
//! have happened. Histories are drawn from a correct store with overlap, then changed in up to three places, or none.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

mod common;

use common::Dice;
use proptest::prelude::*;
use quorate_check::history::*;
use quorate_check::types::*;
use quorate_check::verdict::Class;
use quorate_check::{Options, judge};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::collections::BTreeMap;

/// A pair as the plain store keeps it: value, create revision, mod revision, version.
type Pair = (u64, i64, i64, i64);

/// The plain store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Plain {
    written: i64,
    keys: BTreeMap<u64, Pair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ask {
    Put(u64, u64),
    Get(u64),
    Delete(u64),
    /// Writes the value if the key has this create revision.
    PutIf(u64, i64, u64),
}

/// What is answered: the header's revision, and the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    revision: i64,
    /// The previous pair of a put, or the pair of a get.
    pair: Option<Pair>,
    /// How many keys were deleted.
    deleted: i64,
    /// Whether the comparison held.
    succeeded: bool,
}

impl SequentialSpec for Plain {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        let mut told = Told { revision: 0, pair: None, deleted: 0, succeeded: false };
        match ask {
            Ask::Get(key) => told.pair = self.keys.get(key).copied(),
            Ask::Put(key, value) => told.pair = self.put(*key, *value),
            Ask::Delete(key) => {
                told.deleted = i64::from(self.keys.remove(key).is_some());
                self.written += told.deleted;
            }
            Ask::PutIf(key, created, value) => {
                told.succeeded = self.keys.get(key).map_or(0, |pair| pair.1) == *created;
                if told.succeeded {
                    self.put(*key, *value);
                }
            }
        }
        told.revision = 1 + self.written;
        told
    }
}

impl Plain {
    fn put(&mut self, key: u64, value: u64) -> Option<Pair> {
        self.written += 1;
        let revision = 1 + self.written;
        let before = self.keys.get(&key).copied();
        let (created, version) = before.map_or((revision, 1), |pair| (pair.1, pair.3 + 1));
        self.keys.insert(key, (value, created, revision, version));
        before
    }
}

/// One operation: sent and, perhaps, answered.
#[derive(Clone, Debug)]
struct Call {
    client: u64,
    sent: u64,
    back: u64,
    ask: Ask,
    told: Option<Told>,
}

/// A history of a correct store: three clients, each with one operation under way at a time.
fn sound(dice: &mut Dice, length: u64) -> Vec<Call> {
    let mut store = Plain::default();
    let mut free = [0_u64; 3];
    let mut late: Vec<Ask> = Vec::new();
    let mut calls = Vec::new();
    let mut now = 0;
    for number in 0..length {
        now += 10;
        if dice.percent(30) && !late.is_empty() {
            let ask = late.remove(0);
            store.invoke(&ask);
        }
        let slot = dice.below(3) as usize;
        // The operation takes effect now; it was sent before, and its answer comes later.
        now = now.max(free[slot] + 2);
        let sent = now - dice.below(now - free[slot] - 1);
        let back = now + 1 + dice.below(35);
        free[slot] = back;
        let (key, value) = (dice.below(2), 100 + number);
        let ask = match dice.below(10) {
            0..=3 => Ask::Put(key, value),
            4..=6 => Ask::Get(key),
            7 => Ask::Delete(key),
            _ => Ask::PutIf(key, if dice.percent(50) { 0 } else { 2 + dice.below(3) as i64 }, value),
        };
        let told = match dice.below(10) {
            0 => None,
            1 => {
                store.invoke(&ask);
                None
            }
            2 => {
                late.push(ask.clone());
                None
            }
            _ => Some(store.invoke(&ask)),
        };
        calls.push(Call {
            client: slot as u64,
            sent: sent * 8 + slot as u64,
            back: back * 8 + slot as u64,
            ask,
            told,
        });
    }
    calls
}

/// Changes one thing, as a wrong store or a wrong order might have.
fn tamper(dice: &mut Dice, calls: &mut [Call]) {
    let place = dice.below(calls.len() as u64) as usize;
    let other = dice.below(calls.len() as u64) as usize;
    let shift = if dice.percent(50) { 1 } else { -1 };
    match dice.below(6) {
        0 => calls[place].told = None,
        1 => {
            if let Some(told) = &mut calls[place].told {
                told.revision += shift;
            }
        }
        2 => {
            if let Some(told) = &mut calls[place].told {
                match &mut told.pair {
                    Some(pair) if dice.percent(50) => pair.0 = 100 + dice.below(8),
                    Some(pair) => pair.3 += shift,
                    None => {}
                }
            }
        }
        3 => {
            // An operation that ran a while earlier or later than it says.
            let span = 8 * (1 + dice.below(40));
            calls[place].sent += span;
            calls[place].back += span;
        }
        4 => {
            let told = calls[other].told.clone();
            if std::mem::discriminant(&calls[place].ask) == std::mem::discriminant(&calls[other].ask) {
                calls[place].told = told;
            }
        }
        _ => {
            if let Some(told) = &mut calls[place].told {
                match calls[place].ask {
                    Ask::Delete(_) => told.deleted = 1 - told.deleted,
                    Ask::PutIf(..) => told.succeeded = !told.succeeded,
                    _ => {}
                }
            }
        }
    }
}

/// What stateright says.
fn is_linearizable(calls: &[Call]) -> bool {
    // Sending comes before an answer at the same moment: then nothing is ordered, as with our oracles.
    let mut moments: Vec<(u64, u8, usize)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        moments.push((call.sent, 0, number));
        if call.told.is_some() {
            moments.push((call.back, 1, number));
        }
    }
    moments.sort_unstable();
    // Every operation on a thread of its own: only real time orders them.
    let mut tester = LinearizabilityTester::new(Plain::default());
    for (_, what, number) in moments {
        let call = &calls[number];
        match what {
            0 => tester.on_invoke(number, call.ask.clone()).map(drop).unwrap(),
            _ => tester.on_return(number, call.told.clone().unwrap()).map(drop).unwrap(),
        }
    }
    tester.is_consistent()
}

fn key(number: u64) -> quorate_check::bytes::Bytes {
    common::key(number)
}

fn value(number: u64) -> quorate_check::bytes::Bytes {
    format!("v{number}").as_str().into()
}

fn kv(of: u64, pair: Pair) -> KeyValue {
    KeyValue {
        key: key(of),
        value: value(pair.0),
        create_revision: Revision(pair.1),
        mod_revision: Revision(pair.2),
        version: pair.3,
        lease: LeaseId::NONE,
    }
}

/// The same history in our form.
fn history(calls: &[Call]) -> History {
    let operation = |(number, call): (usize, &Call)| {
        let put = |of: u64, written: u64, prev_kv| Put {
            key: key(of),
            value: value(written),
            prev_kv,
            ..Put::default()
        };
        let request = match &call.ask {
            Ask::Put(of, written) => Request::Put(put(*of, *written, true)),
            Ask::Get(of) => Request::Range(Range { key: key(*of), ..Range::default() }),
            Ask::Delete(of) => Request::DeleteRange(DeleteRange { key: key(*of), ..DeleteRange::default() }),
            Ask::PutIf(of, created, written) => Request::Txn(Txn {
                compare: vec![Compare {
                    key: key(*of),
                    range_end: "".into(),
                    result: CompareResult::Equal,
                    target: CompareTarget::Create(Revision(*created)),
                }],
                success: vec![TxnOp::Put(put(*of, *written, false))],
                failure: Vec::new(),
            }),
        };
        let outcome = match &call.told {
            None => Outcome::Unknown { reason: "no answer".into() },
            Some(told) => Outcome::Ok {
                // Every operation has a member of its own: what one member may show is another oracle's matter.
                header: Header {
                    member_id: MemberId(number as u64),
                    revision: Revision(told.revision),
                    ..Header::default()
                },
                response: response(&call.ask, told),
            },
        };
        Operation {
            id: OpId(number as u64),
            client: ClientId(call.client),
            member: MemberAsked { id: MemberId(number as u64), index: 0 },
            invoked: Nanos(call.sent),
            returned: Nanos(call.back),
            request,
            outcome,
        }
    };
    History { operations: calls.iter().enumerate().map(operation).collect(), ..History::default() }
}

fn response(ask: &Ask, told: &Told) -> Response {
    match ask {
        Ask::Put(of, _) => Response::Put(PutResponse { prev_kv: told.pair.map(|pair| kv(*of, pair)) }),
        Ask::Get(of) => {
            let kvs: Vec<KeyValue> = told.pair.map(|pair| kv(*of, pair)).into_iter().collect();
            Response::Range(RangeResponse { count: kvs.len() as i64, kvs, more: false })
        }
        Ask::Delete(_) => {
            Response::DeleteRange(DeleteRangeResponse { deleted: told.deleted, prev_kvs: Vec::new() })
        }
        Ask::PutIf(..) => {
            let inner = InnerResponse { revision: None, response: Response::Put(PutResponse::default()) };
            let responses = if told.succeeded { vec![inner] } else { Vec::new() };
            Response::Txn(TxnResponse { succeeded: told.succeeded, responses })
        }
    }
}

fn agree(seed: u64, length: u64, changes: u64) -> bool {
    let mut dice = Dice(seed);
    let mut calls = sound(&mut dice, length);
    for _ in 0..changes {
        tamper(&mut dice, &mut calls);
    }
    let theirs = is_linearizable(&calls);
    let verdict = judge(&history(&calls), &Options::default());
    assert_ne!(verdict.class, Class::Harness, "too small to be undecided: {verdict}");
    assert_eq!(verdict.is_pass(), theirs, "stateright says {theirs}, we say {verdict}\n{calls:#?}");
    assert!(changes > 0 || theirs, "a sound history is linearizable: {calls:#?}");
    theirs
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn both_give_the_same_verdict(seed in any::<u64>(), length in 1_u64..=8, changes in 0_u64..=3) {
        agree(seed, length, changes);
    }
}

#[test]
fn there_is_something_to_agree_on() {
    let verdicts: Vec<bool> = (0..400).map(|seed| agree(seed, 8, 2)).collect();
    let sound = verdicts.iter().filter(|sound| **sound).count();
    assert!((60..=340).contains(&sound), "{sound} of 400 changed histories are still linearizable");
}
