//! The load: clients that ask one thing after the other and write down what came of it.
//!
//! Few keys, so that clients get in each other's way; values that no other operation writes; comparisons with what
//! the client saw last, so that they hold about as often as not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRef, LeaseTimeToLive,
    MemberAsked, Operation, Outcome, Put, Range, Request, Response, SortOrder, SortTarget, Txn, TxnOp,
};
use quorate_check::types::{ClientId, LeaseId, OpId, Revision};

use crate::client::Connection;
use crate::dice::Dice;
use crate::recorder::Recorder;

const KEYS: u64 = 24;
/// How long an operation may take before its client gives up on it.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a client waits that finds no member.
const NOBODY_THERE_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two operations of a client, milliseconds.
const PAUSE_MS_MAX: u64 = 12;
/// Leases have ids from here on, far from every other number.
const FIRST_LEASE: u64 = 0x1ea5_e000_0000;
/// How many of its leases a client goes on to use.
const LEASES_KEPT: usize = 3;
/// A compaction leaves so many revisions, at least, so that observers are seldom overtaken.
const KEPT_REVISIONS: i64 = 200;

/// One client with connections to every member.
#[derive(Debug)]
pub struct Session {
    id: ClientId,
    members: Vec<(MemberAsked, Connection)>,
    /// The member that is asked first, whose turn moves on when it cannot be reached.
    at: usize,
    recorder: Arc<Recorder>,
    dice: Dice,
    asked: u64,
    /// The mod revision last seen of each key, and the newest of all.
    seen: BTreeMap<Bytes, Revision>,
    newest: Revision,
    /// The leases it asked for last, granted or not.
    leases: Vec<LeaseId>,
}

impl Session {
    /// The client of this number, which asks the member at place `home` first.
    pub fn new(
        number: u64,
        home: usize,
        members: &[(MemberAsked, String)],
        recorder: Arc<Recorder>,
        seed: u64,
    ) -> Session {
        let connect = |(asked, endpoint): &(MemberAsked, String)| (*asked, Connection::new(endpoint.clone()));
        Session {
            id: ClientId(number),
            members: members.iter().map(connect).collect(),
            at: home,
            recorder,
            dice: Dice::new(seed, number),
            asked: 0,
            seen: BTreeMap::new(),
            newest: Revision::FIRST,
            leases: Vec::new(),
        }
    }

    /// Asks until `stop` is set.
    pub async fn run(mut self, stop: Arc<AtomicBool>) {
        let home = self.at;
        while !stop.load(Ordering::Relaxed) {
            let request = self.request();
            self.at = home;
            if self.ask(request, TIMEOUT).await.is_none() {
                tokio::time::sleep(NOBODY_THERE_PAUSE).await;
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(PAUSE_MS_MAX))).await;
        }
    }

    /// Asks the first member that can be reached; `None` when none can, and nothing was asked.
    pub async fn ask(&mut self, request: Request, timeout: Duration) -> Option<Outcome> {
        for _ in 0..self.members.len() {
            let place = self.at % self.members.len();
            let (member, connection) = self.members.get_mut(place).expect("a place below the length");
            if !connection.reach().await {
                self.at += 1;
                continue;
            }
            self.asked += 1;
            let id = OpId(self.id.0 * 1_000_000 + self.asked);
            let invoked = self.recorder.now();
            self.recorder.sent(Operation {
                id,
                client: self.id,
                member: *member,
                invoked,
                returned: invoked,
                request: request.clone(),
                outcome: Outcome::Unknown { reason: "no answer yet".to_owned() },
            });
            let outcome = connection.call(&request, timeout).await;
            self.recorder.ended(id, outcome.clone());
            if let Outcome::Ok { header, response } = &outcome {
                self.newest = self.newest.max(header.revision);
                self.learn(&request, header.revision, response);
            }
            return Some(outcome);
        }
        None
    }

    fn learn(&mut self, request: &Request, revision: Revision, response: &Response) {
        let seen = &mut self.seen;
        response.pairs(&mut |pair| {
            let known = seen.entry(pair.key.clone()).or_default();
            *known = pair.mod_revision.max(*known);
        });
        match request {
            Request::Put(put) => {
                seen.insert(put.key.clone(), revision);
            }
            Request::DeleteRange(delete) if delete.range_end.is_empty() => {
                seen.remove(&delete.key);
            }
            _ => {}
        }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("k{:02}", self.dice.below(KEYS)).as_str())
    }

    /// First key and end of some neighbours.
    fn span(&mut self, most: u64) -> (Bytes, Bytes) {
        let first = self.dice.below(KEYS);
        let end = first + self.dice.between(1, most);
        (Bytes::from(format!("k{first:02}").as_str()), Bytes::from(format!("k{end:02}").as_str()))
    }

    fn put(&mut self, nth: u64) -> Put {
        let value = format!("c{}-{}.{nth}", self.id.0, self.asked + 1);
        Put {
            key: self.key(),
            value: Bytes::from(value.as_str()),
            prev_kv: self.dice.percent(25),
            lease: if self.dice.percent(15) { self.lease() } else { LeaseId::NONE },
            ..Put::default()
        }
    }

    fn request(&mut self) -> Request {
        match self.dice.below(100) {
            0..34 => Request::Put(self.put(0)),
            34..43 => Request::DeleteRange(self.delete()),
            43..72 => Request::Range(self.range()),
            72..90 => Request::Txn(self.txn()),
            90..93 => Request::LeaseGrant(self.grant()),
            93..96 => Request::LeaseKeepAlive(LeaseRef { id: self.lease() }),
            96..97 => Request::LeaseRevoke(LeaseRef { id: self.lease() }),
            97..98 => Request::LeaseTimeToLive(LeaseTimeToLive { id: self.lease(), keys: true }),
            98..99 => Request::LeaseLeases,
            _ => {
                let revision = Revision((self.newest.0 - KEPT_REVISIONS).max(1));
                Request::Compact(Compact { revision, physical: self.dice.percent(20) })
            }
        }
    }

    /// One of its last leases, which may have ended; one that nobody ever granted before it has asked for any.
    fn lease(&mut self) -> LeaseId {
        if self.leases.is_empty() { self.next_lease() } else { self.dice.pick(&self.leases) }
    }

    /// The lease that its next operation would grant. The client chooses, so that a grant without an answer is known.
    fn next_lease(&self) -> LeaseId {
        let named = FIRST_LEASE + self.id.0 * 1_000_000 + self.asked + 1;
        LeaseId(i64::try_from(named).expect("a small number"))
    }

    fn grant(&mut self) -> LeaseGrant {
        let id = self.next_lease();
        self.leases.push(id);
        if self.leases.len() > LEASES_KEPT {
            self.leases.remove(0);
        }
        LeaseGrant { id, ttl_secs: i64::try_from(self.dice.between(2, 8)).expect("a small number") }
    }

    fn delete(&mut self) -> DeleteRange {
        let prev_kv = self.dice.percent(50);
        if self.dice.percent(70) {
            return DeleteRange { key: self.key(), prev_kv, ..DeleteRange::default() };
        }
        let (key, range_end) = self.span(4);
        DeleteRange { key, range_end, prev_kv }
    }

    fn range(&mut self) -> Range {
        let (key, range_end) = match self.dice.below(3) {
            0 => (self.key(), Bytes::default()),
            1 => self.span(8),
            _ => (Bytes::from(&b"\0"[..]), Bytes::from(&b"\0"[..])),
        };
        let past = self.dice.percent(15);
        let back = i64::try_from(self.dice.below(60)).expect("a small number");
        Range {
            key,
            range_end,
            limit: if self.dice.percent(20) { 3 } else { 0 },
            revision: if past { Revision((self.newest.0 - back).max(1)) } else { Revision(0) },
            sort_order: self.dice.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]),
            sort_target: self.dice.pick(&[
                SortTarget::Key,
                SortTarget::Key,
                SortTarget::Mod,
                SortTarget::Version,
            ]),
            serializable: self.dice.percent(40),
            count_only: self.dice.percent(5),
            ..Range::default()
        }
    }

    fn txn(&mut self) -> Txn {
        let key = self.key();
        let known = self.seen.get(&key).copied().unwrap_or_default();
        let target = match self.dice.below(4) {
            0 | 1 => CompareTarget::Mod(known),
            2 => CompareTarget::Version(0),
            _ => CompareTarget::Create(self.newest),
        };
        let result = self.dice.pick(&[
            CompareResult::Equal,
            CompareResult::Equal,
            CompareResult::Less,
            CompareResult::NotEqual,
        ]);
        let read = TxnOp::Range(Range { key: key.clone(), ..Range::default() });
        let first = Put { key: key.clone(), ..self.put(1) };
        let mut success = vec![read.clone(), TxnOp::Put(first), read.clone()];
        if self.dice.percent(50) {
            let second = self.put(2);
            if second.key != key {
                success.push(TxnOp::Put(second));
            }
        }
        let failure = if self.dice.percent(30) {
            vec![
                TxnOp::DeleteRange(DeleteRange { key: key.clone(), prev_kv: true, ..DeleteRange::default() }),
                read,
            ]
        } else {
            vec![read]
        };
        let compare = vec![Compare { key, range_end: Bytes::default(), result, target }];
        Txn { compare, success, failure }
    }
}
