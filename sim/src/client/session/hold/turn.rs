//! A wait for a turn that a member does, by its lock service or its election service.
//!
//! What the member writes for it is written down as operations of the client: the transaction that takes the place, and the
//! deletions that give it up when the call comes to nothing. What became of them the services say only in part. A call that
//! comes to nothing is followed by another at the next member, on the same lease, while the first may still be giving up.

use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Compare, CompareTarget, Granted, Header, InnerResponse, LeaseGrant, LeaseRef, MemberAsked, Operation,
    Outcome, Put, PutResponse, Released, Request, Response, Txn, TxnOp, TxnResponse,
};
use quorate_check::types::{LeaseId, OpId, Revision};

use super::{Attempt, is_served_lease};
use crate::client::api::{Office, Reply, Turn, TurnAsk};
use crate::client::resolve::{lock_name, value_of};
use crate::plan::MemberIndex;
use crate::plan::operation::{Keeper, Release};

/// Calls for one turn.
const CALLS: u8 = 2;
/// How often a member tries to give a place up; each is an operation of its own.
const LEAVES: u64 = 4;

/// What a lease lives that a service makes, seconds.
const SERVED_LEASE_SECS: i64 = 60;

/// A turn that came.
pub(super) struct Given {
    /// The revision that created it; 0 when nobody could tell any more.
    pub(super) created: Revision,
    pub(super) granted: Granted,
}

impl Attempt<'_, '_> {
    /// Waits for the turn; `None` when it did not come.
    pub(super) async fn turn(&mut self) -> Option<Given> {
        let served_lease = is_served_lease(self.hold);
        // Who brings no lease stands elsewhere with each call.
        for call in 0..if served_lease { 1 } else { CALLS } {
            let members = self.session.api.members();
            let member = MemberIndex((self.op.member.0 + call) % members);
            if let Some(turn) = self.call_for_turn(member, call == 0).await {
                self.key = turn.key.clone();
                if served_lease {
                    self.lease = lease_of(&turn.key)?;
                }
                return self.given(turn).await;
            }
            if self.session.record.is_over() {
                break;
            }
        }
        None
    }

    async fn call_for_turn(&mut self, member: MemberIndex, first: bool) -> Option<Turn> {
        let placed = self.name();
        let proclaims = (self.hold.keeper == Keeper::ElectionService).then(|| value_of(placed));
        let again = Put {
            key: self.key.clone(),
            value: proclaims.clone().unwrap_or_default(),
            ignore_value: proclaims.is_none(),
            lease: self.lease,
            prev_kv: true,
            ..Put::default()
        };
        self.sent(member, placed, self.creation(proclaims.clone().unwrap_or_default(), TxnOp::Put(again)));
        // Named after the one before, as what a member does after a call is.
        let leaves: Vec<OpId> = (0..LEAVES).map(|_| self.name()).collect();
        for leave in &leaves {
            if is_served_lease(self.hold) {
                self.sent(member, *leave, Request::LeaseRevoke(LeaseRef { id: self.lease }));
            } else {
                self.sent(member, *leave, self.giving_up());
                self.session.record.gives_up(*leave, placed);
            }
        }
        let grant = is_served_lease(self.hold).then(|| self.name());
        if let Some(grant) = grant {
            let lease = LeaseGrant { id: self.lease, ttl_secs: SERVED_LEASE_SECS };
            self.sent(member, grant, Request::LeaseGrant(lease));
            for operation in leaves.iter().copied().chain([placed, grant]) {
                self.session.record.on_a_lease_of(operation, placed);
            }
        }
        let timeout = Duration::from_millis(self.op.timeout_ms / u64::from(CALLS));
        let ask = TurnAsk { line: lock_name(self.hold.lock), lease: self.lease, proclaims, timeout };
        let call = self.session.api.turn(member, placed, ask);
        let answer = madsim::time::timeout(timeout, call).await;
        let answer = answer.unwrap_or_else(|_| Err(Reply::Unknown("no answer in time".to_owned())));
        let (turn, outcome, left) = match answer {
            Ok(turn) => {
                // Who has the turn is not given up. The lock service does not say what it did, nor does any whether it
                // made the place; but nobody else can have made it before the first call.
                let made = turn.created.filter(|_| first);
                let outcome = made
                    .map_or_else(|| unknown("not told what was done"), |created| was_made(&turn, created));
                (Some(turn), Some(outcome), None)
            }
            Err(Reply::NotSent) => (None, None, None),
            Err(reply) => {
                let reason = format!("{reply:?}");
                (None, Some(unknown(&reason)), Some(unknown(&reason)))
            }
        };
        if let Some(grant) = grant {
            // Where it was granted nobody says so but the turn itself.
            self.ended(grant, outcome.as_ref().map(|_| unknown("not told what was done")));
        }
        self.ended(placed, outcome);
        for leave in leaves {
            self.ended(leave, left.clone());
        }
        turn
    }

    async fn given(&mut self, turn: Turn) -> Option<Given> {
        let granted = Granted { at: self.session.time.now(), revision: turn.header.revision };
        let created = match turn.created {
            Some(created) => created,
            None => self.look().await.unwrap_or_default(),
        };
        Some(Given { created, granted })
    }

    /// Proclaims something in the office; its name, if it was sent.
    pub(super) async fn proclaim(&mut self, created: Revision) -> Option<OpId> {
        let (name, member) = (self.name(), self.op.member);
        let value = value_of(name);
        let put = Put { key: self.key.clone(), value: value.clone(), lease: self.lease, ..Put::default() };
        let txn =
            Txn { compare: vec![self.fence(created)], success: vec![TxnOp::Put(put)], failure: Vec::new() };
        self.sent(member, name, Request::Txn(txn));
        let call = self.session.api.proclaim(member, name, self.office(created), value);
        let answer = madsim::time::timeout(Duration::from_millis(self.op.timeout_ms), call).await;
        let outcome = match answer {
            Ok(Ok(header)) => Some(wrote(header)),
            Ok(Err(Reply::NotSent)) => None,
            // That the place is gone is no answer of the transaction's.
            Ok(Err(reply)) => Some(unknown(&format!("{reply:?}"))),
            Err(_) => Some(unknown("no answer in time")),
        };
        let sent = outcome.is_some();
        self.ended(name, outcome);
        sent.then_some(name)
    }

    /// Lets the place that was created then go, by the service; when that has said so.
    pub(super) async fn let_go(&mut self, created: Revision) -> Option<Released> {
        if self.hold.release == Release::ServedLate && self.hold.keeper == Keeper::ElectionService {
            // Of a place under the same key before this one, as its holder then would.
            self.leave(created.previous()).await;
        }
        self.leave(created).await
    }

    /// Has the service give up the place that was created then.
    async fn leave(&mut self, created: Revision) -> Option<Released> {
        let (name, member) = (self.name(), self.op.member);
        let api = self.session.api.clone();
        let call = if self.hold.keeper == Keeper::ElectionService {
            let (compare, success) = (vec![self.fence(created)], vec![TxnOp::DeleteRange(self.of_the_key())]);
            self.sent(member, name, Request::Txn(Txn { compare, success, failure: Vec::new() }));
            api.resign(member, name, self.office(created))
        } else {
            self.sent(member, name, self.deletion());
            api.unlock(member, name, self.key.clone())
        };
        let answer = madsim::time::timeout(Duration::from_millis(self.op.timeout_ms), call).await;
        let at = self.session.time.now();
        let (released, outcome) = match answer {
            // How much there was to delete is not told.
            Ok(Ok(header)) => {
                (Some(Released { at, revision: header.revision }), Some(unknown("not told what was done")))
            }
            Ok(Err(Reply::NotSent)) => (None, None),
            Ok(Err(reply)) => (None, Some(unknown(&format!("{reply:?}")))),
            Err(_) => (None, Some(unknown("no answer in time"))),
        };
        self.ended(name, outcome);
        released
    }

    fn office(&self, created: Revision) -> Office {
        Office { line: lock_name(self.hold.lock), key: self.key.clone(), created, lease: self.lease }
    }

    /// Deletes the key that one call has taken, if nobody has written it since. Which revision that was the record knows once
    /// the run is over.
    fn giving_up(&self) -> Request {
        let not_known = Revision(0);
        let untouched = Compare { target: CompareTarget::Mod(not_known), ..self.fence(not_known) };
        Request::Txn(Txn {
            compare: vec![self.fence(not_known), untouched],
            success: vec![TxnOp::DeleteRange(self.of_the_key())],
            failure: Vec::new(),
        })
    }

    fn sent(&self, member: MemberIndex, id: OpId, request: Request) {
        let session = &self.session;
        let invoked = session.time.now();
        session.record.sent(Operation {
            id,
            client: session.id,
            member: MemberAsked { id: session.api.member_id(member), index: u32::from(member.0) },
            invoked,
            returned: invoked,
            request,
            outcome: unknown("no answer yet"),
        });
    }

    fn ended(&self, id: OpId, outcome: Option<Outcome>) {
        self.session.record.ended(id, self.session.time.now(), outcome);
    }
}

/// The lease that a place is named after.
fn lease_of(key: &Bytes) -> Option<LeaseId> {
    let name = std::str::from_utf8(key.as_slice()).ok()?;
    let (_, lease) = name.rsplit_once('/')?;
    i64::from_str_radix(lease, 16).ok().map(LeaseId)
}

fn unknown(reason: &str) -> Outcome {
    Outcome::Unknown { reason: reason.to_owned() }
}

/// What the transaction that made the place answered.
fn was_made(turn: &Turn, created: Revision) -> Outcome {
    wrote(Header { revision: created, ..turn.header })
}

/// What a transaction answers whose conditions held, and that wrote.
fn wrote(header: Header) -> Outcome {
    let put = InnerResponse { revision: None, response: Response::Put(PutResponse::default()) };
    Outcome::Ok { header, response: Response::Txn(TxnResponse { succeeded: true, responses: vec![put] }) }
}
