//! Locks and elections by the client's own recipe, as a client library does it over plain requests and a watch; by a service
//! the wait is the member's (see `turn`).
//!
//! A contender writes a key of its own below the lock's prefix, on a lease, if it is not there yet; the live key with
//! the smallest create revision holds. Who does not hold waits for the key before its own to be deleted, then reads
//! again. What is done under the lock compares the create revision of the key, which fences it.

mod turn;

use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Compare, CompareResult, CompareTarget, Contender, DeleteRange, Granted, Header, KeyValue, LeaseGrant,
    LeaseRef, Put, Range, Released, Request, Response, Txn, TxnOp,
};
use quorate_check::types::{LeaseId, Nanos, OpId, Revision};

use super::{Session, Whom};
use crate::client::observer;
use crate::client::resolve::{lease_id, lock_end, lock_prefix, value_of};
use crate::plan::PlannedOp;
use crate::plan::operation::{HoldAsk, Keeper, Release, part_id};

/// How often who waits for a lock looks again, at most.
const ROUNDS_MAX: u32 = 12;
/// How long one wait for a deletion lasts; the lease is renewed in between.
const WAIT: Duration = Duration::from_millis(700);
/// Guarded writes, at most: each has a name of its own.
const GUARDED_MAX: u64 = 40;

/// An attempt under way.
struct Attempt<'s, 'o> {
    session: &'s mut Session,
    op: &'o PlannedOp,
    hold: &'o HoldAsk,
    lease: LeaseId,
    key: Bytes,
    /// Parts asked so far.
    parts: u64,
}

impl Session {
    pub(super) async fn hold(&mut self, op: &PlannedOp, hold: &HoldAsk) {
        let prefix = lock_prefix(hold.lock);
        let (lease, key) = if is_served_lease(hold) {
            // Whoever keeps the line says later which it is.
            (LeaseId::NONE, prefix)
        } else {
            let lease = lease_id(op.id);
            (lease, Bytes::from(format!("{prefix}{:x}", lease.0).as_str()))
        };
        let contender = Attempt { session: self, op, hold, lease, key, parts: 0 }.run().await;
        if let Some(contender) = contender {
            self.record.contended(self.time.now(), contender);
        }
    }
}

/// Whether the service makes the lease; by recipe there is none.
fn is_served_lease(hold: &HoldAsk) -> bool {
    hold.served_lease && hold.keeper != Keeper::Recipe
}

impl Attempt<'_, '_> {
    /// What became of it; `None` when the key did not come to stand, as far as is known.
    async fn run(mut self) -> Option<Contender> {
        if !is_served_lease(self.hold) {
            let grant = LeaseGrant { id: self.lease, ttl_secs: self.hold.ttl_secs };
            self.ask_named(self.op.id, Request::LeaseGrant(grant)).await?;
        }
        let (created, granted) = match self.hold.keeper {
            Keeper::Recipe => {
                let created = self.create().await?;
                (created, self.wait(created).await)
            }
            Keeper::LockService | Keeper::ElectionService => {
                let Some(turn) = self.turn().await else {
                    // Whatever stands there is nobody's; of a place on a lease that nobody has told there is nothing to ask.
                    if self.lease != LeaseId::NONE {
                        self.release(Revision(0)).await;
                    }
                    return None;
                };
                (turn.created, Some(turn.granted))
            }
        };
        let contender = Contender {
            client: self.session.id,
            prefix: lock_prefix(self.hold.lock),
            key: self.key.clone(),
            created,
            granted,
            ..Contender::default()
        };
        Some(self.use_it(contender).await)
    }

    /// Does what is to be done under the lock, and lets it go.
    async fn use_it(&mut self, mut contender: Contender) -> Contender {
        if contender.granted.is_some() && contender.created > Revision(0) {
            for _ in 0..self.hold.guarded.min(GUARDED_MAX) {
                self.session.time.sleep(Duration::from_millis(self.hold.pause_ms)).await;
                contender.guarded.extend(self.write_guarded(contender.created).await);
            }
        }
        contender.released = self.release(contender.created).await;
        contender
    }

    /// Writes the key if it is not there; its create revision.
    async fn create(&mut self) -> Option<Revision> {
        let name = self.name();
        let creation = self.creation(value_of(name), TxnOp::Range(self.own()));
        match self.ask_named(name, creation).await {
            Some((header, Response::Txn(answer))) if answer.succeeded => Some(header.revision),
            // It may stand all the same.
            _ => self.look().await,
        }
    }

    /// Takes the place if it is not there, and otherwise does something else.
    fn creation(&self, value: Bytes, otherwise: TxnOp) -> Request {
        let put = Put { key: self.key.clone(), value, lease: self.lease, ..Put::default() };
        Request::Txn(Txn {
            compare: vec![self.fence(Revision(0))],
            success: vec![TxnOp::Put(put)],
            failure: vec![otherwise],
        })
    }

    fn own(&self) -> Range {
        Range { key: self.key.clone(), ..Range::default() }
    }

    /// The create revision of the key, if it stands.
    async fn look(&mut self) -> Option<Revision> {
        match self.ask(Request::Range(self.own())).await? {
            (_, Response::Range(range)) => range.kvs.first().map(|pair| pair.create_revision),
            _ => None,
        }
    }

    /// Waits until nobody stands before it.
    async fn wait(&mut self, created: Revision) -> Option<Granted> {
        for _ in 0..ROUNDS_MAX {
            let prefix = lock_prefix(self.hold.lock);
            let all = Range { key: prefix, range_end: lock_end(self.hold.lock), ..Range::default() };
            let answer = self.ask(Request::Range(all)).await;
            if self.session.record.is_over() {
                return None;
            }
            let Some((header, Response::Range(range))) = answer else { continue };
            let own = |pair: &&KeyValue| pair.key == self.key && pair.create_revision == created;
            range.kvs.iter().find(own)?;
            let earlier = range.kvs.iter().filter(|pair| pair.create_revision < created);
            let Some(before) = earlier.max_by_key(|pair| pair.create_revision) else {
                return Some(Granted { at: self.session.time.now(), revision: header.revision });
            };
            self.wait_behind(before.key.clone(), &header).await;
            self.ask(Request::LeaseKeepAlive(LeaseRef { id: self.lease })).await;
        }
        None
    }

    async fn wait_behind(&mut self, key: Bytes, header: &Header) {
        let Some(world) = self.session.watches.clone() else { return };
        let until = self.session.time.now().0 + u64::try_from(WAIT.as_nanos()).unwrap_or(u64::MAX);
        // Where the name of a part is unique, so is its number within the client.
        let number = self.name().0;
        let from = header.revision.next();
        let client = self.session.id;
        observer::wait_for_deletion(&world, self.op.member, client, number, (key, from), Nanos(until)).await;
    }

    /// One write that holds only as long as the lock does; its name, if it was sent.
    async fn write_guarded(&mut self, created: Revision) -> Option<OpId> {
        if self.hold.keeper == Keeper::ElectionService {
            return self.proclaim(created).await;
        }
        let name = self.name();
        let compare = self.fence(created);
        let key = Bytes::from(format!("under-lock{}", self.hold.lock).as_str());
        let put = Put { key, value: value_of(name), ..Put::default() };
        let txn = Txn { compare: vec![compare], success: vec![TxnOp::Put(put)], failure: Vec::new() };
        self.ask_named(name, Request::Txn(txn)).await.map(|_| name)
    }

    /// Holds while the place is the one that was created then.
    fn fence(&self, created: Revision) -> Compare {
        Compare {
            key: self.key.clone(),
            range_end: Bytes::default(),
            result: CompareResult::Equal,
            target: CompareTarget::Create(created),
        }
    }

    /// Lets go of the place that was created then; when a service has said that it did.
    async fn release(&mut self, created: Revision) -> Option<Released> {
        let request = match self.hold.release {
            Release::Revoke => Request::LeaseRevoke(LeaseRef { id: self.lease }),
            Release::Abandon => return None,
            // Of a place that nobody knows there is only its key.
            Release::Served | Release::ServedLate if created > Revision(0) => {
                return self.let_go(created).await;
            }
            Release::Delete | Release::Served | Release::ServedLate => self.deletion(),
        };
        self.ask(request).await;
        None
    }

    fn deletion(&self) -> Request {
        Request::DeleteRange(self.of_the_key())
    }

    fn of_the_key(&self) -> DeleteRange {
        DeleteRange { key: self.key.clone(), ..DeleteRange::default() }
    }

    fn name(&mut self) -> OpId {
        let part = self.parts;
        self.parts += 1;
        part_id(self.op.id, part)
    }

    async fn ask(&mut self, request: Request) -> Option<(Header, Response)> {
        let name = self.name();
        self.ask_named(name, request).await
    }

    async fn ask_named(&mut self, name: OpId, request: Request) -> Option<(Header, Response)> {
        let timeout = Duration::from_millis(self.op.timeout_ms);
        self.session.ask(name, Whom::First(self.op.member), timeout, request).await
    }
}
