//! One client: asks its operations one after the other, none before its time, and writes each down.

use std::sync::Arc;
use std::time::Duration;

use quorate_check::error_table::{self, Dialect, Fate};
use quorate_check::history::{MemberAsked, Operation, Outcome, Request};
use quorate_check::types::{ClientId, Nanos, OpId};

use super::api::{Api, Reply};
use super::memory::Memory;
use super::resolve::resolve;
use crate::plan::{ClientPlan, MemberIndex};
use crate::record::Record;
use crate::world::Time;

/// A client that finds no member asks again after this long.
const NOBODY_THERE_PAUSE: Duration = Duration::from_millis(50);

/// A running client.
pub struct Session {
    id: ClientId,
    api: Arc<dyn Api>,
    record: Arc<Record>,
    time: Time,
    memory: Memory,
}

impl Session {
    /// A client of this name.
    pub fn new(id: ClientId, api: Arc<dyn Api>, record: Arc<Record>, time: Time) -> Session {
        Session { id, api, record, time, memory: Memory::default() }
    }

    /// Runs the client's plan; stops early at `until`, or when the run is over.
    pub async fn run(&mut self, plan: &ClientPlan, until: Nanos) {
        for op in &plan.operations {
            self.time.sleep_until(Nanos(op.at_ms * 1_000_000)).await;
            if self.time.now() >= until || self.record.is_over() {
                break;
            }
            let request = resolve(op, &self.memory);
            self.ask(op.id, op.member, Duration::from_millis(op.timeout_ms), request).await;
        }
    }

    /// Asks once and writes it down; true when an answer came. When no member can be reached within the time,
    /// nothing was asked and nothing is written down.
    pub async fn ask(&mut self, id: OpId, first: MemberIndex, timeout: Duration, request: Request) -> bool {
        let deadline = self.time.now().0 + u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let members = self.api.members();
        let mut member = first;
        for attempt in 0.. {
            let invoked = self.time.now();
            let left = Duration::from_nanos(deadline.saturating_sub(invoked.0));
            if left.is_zero() {
                break;
            }
            self.record.sent(Operation {
                id,
                client: self.id,
                member: MemberAsked { id: self.api.member_id(member), index: u32::from(member.0) },
                invoked,
                returned: invoked,
                request: request.clone(),
                outcome: Outcome::Unknown { reason: "no answer yet".to_owned() },
            });
            let call = self.api.call(member, id, attempt, request.clone());
            let reply = madsim::time::timeout(left, call)
                .await
                .unwrap_or_else(|_| Reply::Unknown("no answer in time".to_owned()));
            let outcome = outcome(reply);
            self.record.ended(id, self.time.now(), outcome.clone());
            match outcome {
                Some(Outcome::Ok { header, response }) => {
                    self.memory.learn(&request, &header, &response);
                    return true;
                }
                Some(_) => return false,
                None => {}
            }
            member = MemberIndex((member.0 + 1) % members);
            if member == first {
                madsim::time::sleep(NOBODY_THERE_PAUSE).await;
            }
        }
        false
    }
}

/// What the client knows; `None` when nothing was sent.
fn outcome(reply: Reply) -> Option<Outcome> {
    Some(match reply {
        Reply::Answered(header, response) => Outcome::Ok { header, response },
        Reply::Refused(code, message) => match error_table::fate(Dialect::Quorate, code, &message) {
            Fate::NotApplied => Outcome::Failed { code, message },
            Fate::Unknown => Outcome::Unknown { reason: message },
        },
        Reply::Unknown(reason) => Outcome::Unknown { reason },
        Reply::NotSent => return None,
    })
}
