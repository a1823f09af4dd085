//! One client: asks its operations one after the other, none before its time, and writes each down.

mod hold;
mod sight;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_check::error_table::{self, Dialect, Fate};
use quorate_check::history::{Header, Image, MemberAsked, Observer, Operation, Outcome, Request, Response};
use quorate_check::types::{ClientId, Nanos, OpId};
use quorate_check::verdict::Class;

use self::sight::Sight;
use super::api::{Api, Reply};
use super::image;
use super::memory::Memory;
use super::resolve::resolve;
use crate::plan::{Ask, ClientPlan, MemberIndex, PlannedOp};
use crate::record::Record;
use crate::report::Finding;
use crate::world::{Time, World};

/// A client that finds no member asks again after this long.
const NOBODY_THERE_PAUSE: Duration = Duration::from_millis(50);

/// A running client.
pub struct Session {
    id: ClientId,
    api: Arc<dyn Api>,
    record: Arc<Record>,
    time: Time,
    memory: Memory,
    /// Who was seen to lead, by election.
    seen: BTreeMap<u16, Observer>,
    /// Streams of leaders that it has opened.
    streams: u64,
    /// Where deletions are waited for; a session without it holds no locks.
    watches: Option<World>,
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Whole,
    Streamed(Duration),
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// This member, or whoever can be reached in its stead.
    First(MemberIndex),
    /// This member and nobody else: where it cannot be reached, again and again.
    Only(MemberIndex),
}

impl Session {
    /// A client of this name.
    pub fn new(id: ClientId, api: Arc<dyn Api>, record: Arc<Record>, time: Time) -> Session {
        let (memory, seen) = (Memory::default(), BTreeMap::new());
        Session { id, api, record, time, memory, seen, streams: 0, watches: None }
    }

    /// The client, able to wait for a lock: it watches members of this world.
    #[must_use]
    pub fn watching(self, world: &World) -> Session {
        Session { watches: Some(world.clone()), ..self }
    }

    /// Runs the client's plan; stops early at `until`, or when the run is over.
    pub async fn run(&mut self, plan: &ClientPlan, until: Nanos) {
        for op in &plan.operations {
            self.time.sleep_until(Nanos(op.at_ms * 1_000_000)).await;
            if self.time.now() >= until || self.record.is_over() {
                break;
            }
            self.perform(op).await;
        }
        for observer in std::mem::take(&mut self.seen).into_values() {
            self.record.observed(observer);
        }
    }

    async fn perform(&mut self, op: &PlannedOp) {
        let timeout = Duration::from_millis(op.timeout_ms);
        let how = match op.ask {
            Ask::Stream { pause_ms, .. } => How::Streamed(Duration::from_millis(pause_ms)),
            _ => How::Whole,
        };
        match &op.ask {
            Ask::Hold(hold) => return self.hold(op, hold).await,
            Ask::Lead { lock, served: true } => return self.ask_who_leads(op, *lock).await,
            Ask::Observe { lock, for_ms } => {
                return self.observe(op, *lock, Duration::from_millis(*for_ms)).await;
            }
            Ask::Image {} => return self.take_image(op).await,
            Ask::Defragment {} => {
                // Begun, it goes on; nobody waits for what comes of it.
                drop(madsim::time::timeout(timeout, self.api.defragment(op.member, op.id)).await);
            }
            _ => {}
        }
        let Some(request) = resolve(op, &self.memory) else { return };
        let answer = self.ask_how(op.id, Whom::First(op.member), timeout, request, how).await;
        match (&op.ask, answer) {
            (Ask::MakeRoom {}, Some(_)) => {
                // No longer than for an answer: the member may have died.
                drop(madsim::time::timeout(timeout, self.api.disarm(op.member, op.id)).await);
            }
            (Ask::Lead { lock, .. }, Some((header, Response::Range(range)))) => {
                if let Some(first) = range.kvs.first() {
                    self.sees(op, *lock, &header, first, Sight::at(self.time.now()));
                }
            }
            _ => {}
        }
    }

    /// Takes an image of a member's state and writes down what a store holds that is made of it.
    async fn take_image(&mut self, op: &PlannedOp) {
        let Some(world) = self.watches.clone() else { return };
        let (asked, id) = (self.time.now(), self.api.member_id(op.member));
        let call = self.api.image(op.member, op.id);
        let image = madsim::time::timeout(Duration::from_millis(op.timeout_ms), call).await;
        // Another may have moved in meanwhile: nobody knows then whose it is.
        let Some(image) = image.ok().flatten().filter(|_| self.api.member_id(op.member) == id) else {
            return;
        };
        let received = self.time.now();
        match image::read(&world, &image) {
            Ok(image) => {
                let member = MemberAsked { id, index: u32::from(op.member.0) };
                self.record.image(Image { client: self.id, member, asked, received, ..image });
            }
            Err(why) => {
                let sentence = format!("the image that {} took of {} is none: {why}", self.id, op.member);
                self.record.finding(received, Finding::new(Class::Safety, "image", sentence));
            }
        }
    }

    /// Asks once and writes it down; the answer, when one came. When nobody can be reached within the time, nothing was
    /// asked and nothing is written down.
    pub async fn ask(
        &mut self,
        id: OpId,
        whom: Whom,
        timeout: Duration,
        request: Request,
    ) -> Option<(Header, Response)> {
        self.ask_how(id, whom, timeout, request, How::Whole).await
    }

    async fn ask_how(
        &mut self,
        id: OpId,
        whom: Whom,
        timeout: Duration,
        request: Request,
        how: How,
    ) -> Option<(Header, Response)> {
        let deadline = self.time.now().0 + u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let members = self.api.members();
        let (Whom::First(first) | Whom::Only(first)) = whom;
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
            let call = match (&request, how) {
                (Request::Range(range), How::Streamed(pause)) => {
                    self.api.stream(member, id, attempt, range.clone(), pause)
                }
                _ => self.api.call(member, id, attempt, request.clone()),
            };
            let reply = madsim::time::timeout(left, call)
                .await
                .unwrap_or_else(|_| Reply::Unknown("no answer in time".to_owned()));
            let outcome = outcome(reply);
            self.record.ended(id, self.time.now(), outcome.clone());
            match outcome {
                Some(Outcome::Ok { header, response }) => {
                    self.memory.learn(&request, &header, &response);
                    return Some((header, response));
                }
                Some(_) => return None,
                None => {}
            }
            if whom == Whom::First(first) {
                member = MemberIndex((member.0 + 1) % members);
            }
            if member == first {
                madsim::time::sleep(NOBODY_THERE_PAUSE).await;
            }
        }
        None
    }
}

/// What the client knows; `None` when nothing was sent.
pub(super) fn outcome(reply: Reply) -> Option<Outcome> {
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
