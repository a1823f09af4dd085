//! A wait for a turn that a member does, by its lock service or its election service.
//!
//! What the member writes for it is written down as operations of the client: the key that takes the place, and the
//! deletion that gives it up when the call comes to nothing. What became of them the services say only in part.

use std::time::Duration;

use quorate_check::history::{
    DeleteRange, Granted, Header, InnerResponse, MemberAsked, Operation, Outcome, PutResponse, Request,
    Response, TxnResponse,
};
use quorate_check::types::{OpId, Revision};

use super::Attempt;
use crate::client::api::{Reply, Turn, TurnAsk};
use crate::client::resolve::{lock_name, value_of};
use crate::plan::operation::Keeper;

impl Attempt<'_, '_> {
    /// Waits for the turn; the create revision of the place, and when it was the first. `None` when it did not come, or
    /// had passed before anybody could look.
    pub(super) async fn turn(&mut self) -> Option<(Revision, Granted)> {
        let (placed, left) = (self.name(), self.name());
        let proclaims = (self.hold.keeper == Keeper::ElectionService).then(|| value_of(placed));
        self.sent(placed, self.creation(proclaims.clone().unwrap_or_default()));
        self.sent(
            left,
            Request::DeleteRange(DeleteRange { key: self.key.clone(), ..DeleteRange::default() }),
        );
        let timeout = Duration::from_millis(self.op.timeout_ms);
        let ask = TurnAsk { line: lock_name(self.hold.lock), lease: self.lease, proclaims, timeout };
        let call = self.session.api.turn(self.op.member, placed, ask);
        let answer = madsim::time::timeout(timeout, call).await;
        let answer = answer.unwrap_or_else(|_| Err(Reply::Unknown("no answer in time".to_owned())));
        match answer {
            Ok(turn) => self.given(placed, left, turn).await,
            Err(Reply::NotSent) => {
                self.ended(placed, None);
                self.ended(left, None);
                None
            }
            Err(reply) => {
                let reason = format!("{reply:?}");
                self.ended(placed, Some(Outcome::Unknown { reason: reason.clone() }));
                self.ended(left, Some(Outcome::Unknown { reason }));
                None
            }
        }
    }

    async fn given(&mut self, placed: OpId, left: OpId, turn: Turn) -> Option<(Revision, Granted)> {
        let Turn { header, key, created } = turn;
        let granted = Granted { at: self.session.time.now(), revision: header.revision };
        // Whoever has the turn has not been given up.
        self.ended(left, None);
        let outcome = created.map_or_else(
            || Outcome::Unknown { reason: "the lock service does not say".to_owned() },
            |created| Outcome::Ok {
                header: Header { revision: created, ..header },
                response: Response::Txn(TxnResponse {
                    succeeded: true,
                    responses: vec![InnerResponse {
                        revision: None,
                        response: Response::Put(PutResponse::default()),
                    }],
                }),
            },
        );
        self.ended(placed, Some(outcome));
        assert_eq!(key, self.key, "a place is named after its lease");
        let created = match created {
            Some(created) => Some(created),
            None => self.look().await,
        };
        created.map(|created| (created, granted))
    }

    fn sent(&self, id: OpId, request: Request) {
        let (session, member) = (&self.session, self.op.member);
        let invoked = session.time.now();
        session.record.sent(Operation {
            id,
            client: session.id,
            member: MemberAsked { id: session.api.member_id(member), index: u32::from(member.0) },
            invoked,
            returned: invoked,
            request,
            outcome: Outcome::Unknown { reason: "no answer yet".to_owned() },
        });
    }

    fn ended(&self, id: OpId, outcome: Option<Outcome>) {
        self.session.record.ended(id, self.session.time.now(), outcome);
    }
}
