//! The seam between clients and members: everything above it is the same whatever carries the calls.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::error_table::Code;
use quorate_check::history::{Header, KeyValue, Range, Request, Response};
use quorate_check::types::{LeaseId, MemberId, Nanos, OpId, Revision};
use tokio::sync::mpsc::UnboundedSender;

use crate::plan::MemberIndex;

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It was answered.
    Answered(Header, Response),
    /// An error came back; whether it proves that nothing was done is for the error table to say.
    Refused(Code, String),
    /// Nobody knows.
    Unknown(String),
    /// The member could not be reached: nothing was sent.
    NotSent,
}

/// A turn that somebody asks a member for: a lock, or an office.
#[derive(Clone, Debug)]
pub struct TurnAsk {
    /// The lock's name, or the election's.
    pub line: String,
    /// The lease to stand on.
    pub lease: LeaseId,
    /// What is proclaimed in the office; of a lock, nothing.
    pub proclaims: Option<Bytes>,
    /// How long the member may take.
    pub timeout: Duration,
}

/// An office that somebody has.
#[derive(Clone, Debug)]
pub struct Office {
    /// The election's name.
    pub line: String,
    /// The key in the line.
    pub key: Bytes,
    /// The revision that created it.
    pub created: Revision,
    /// The lease that it stands on.
    pub lease: LeaseId,
}

/// A turn that has come.
#[derive(Clone, Debug)]
pub struct Turn {
    /// As of when.
    pub header: Header,
    /// The key in the line.
    pub key: Bytes,
    /// The revision that created it; the lock service does not say.
    pub created: Option<Revision>,
}

/// What the election service says of who leads.
#[derive(Clone, Debug)]
pub enum Lead {
    /// This one, proclaiming this.
    By(Header, KeyValue),
    /// Nobody.
    Nobody,
    /// It says nothing.
    Unsaid,
}

/// Where sights of leaders go, each with its time.
pub type Sights = UnboundedSender<(Nanos, Header, KeyValue)>;

/// What comes of a call, in its time.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A way to call members.
pub trait Api: Send + Sync {
    /// Calls a member. `id` names the call; `attempt` counts its members asked, from 0.
    fn call(&self, member: MemberIndex, id: OpId, attempt: u64, request: Request) -> Answering<Reply>;

    /// Reads a range piece by piece, with this pause after each.
    fn stream(
        &self,
        member: MemberIndex,
        id: OpId,
        attempt: u64,
        range: Range,
        pause: Duration,
    ) -> Answering<Reply>;

    /// Waits for a turn. What the member does after a call that has come to nothing has the next operations' names.
    fn turn(&self, member: MemberIndex, id: OpId, ask: TurnAsk) -> Answering<Result<Turn, Reply>>;

    /// Proclaims something in an office.
    fn proclaim(
        &self,
        member: MemberIndex,
        id: OpId,
        office: Office,
        value: Bytes,
    ) -> Answering<Result<Header, Reply>>;

    /// Gives up an office.
    fn resign(&self, member: MemberIndex, id: OpId, office: Office) -> Answering<Result<Header, Reply>>;

    /// Deletes a place of a lock.
    fn unlock(&self, member: MemberIndex, id: OpId, key: Bytes) -> Answering<Result<Header, Reply>>;

    /// Who leads, as the election service says.
    fn leader(&self, member: MemberIndex, id: OpId, line: String) -> Answering<Lead>;

    /// Observes an election and tells each leader, until the stream ends or nobody listens any more.
    fn observe(&self, member: MemberIndex, id: OpId, line: String, tell: Sights) -> Answering<()>;

    /// Clears the alarm about space, as well as it goes; nobody writes down what comes of it.
    fn disarm(&self, member: MemberIndex, id: OpId) -> Answering<()>;

    /// An image of a member's state, if it came whole.
    fn image(&self, member: MemberIndex, id: OpId) -> Answering<Option<Vec<u8>>>;

    /// Has a member write its state anew, as well as it goes; nobody writes down what comes of it.
    fn defragment(&self, member: MemberIndex, id: OpId) -> Answering<()>;

    /// How many members there are.
    fn members(&self) -> u8;

    /// The id of a member.
    fn member_id(&self, member: MemberIndex) -> MemberId;
}
