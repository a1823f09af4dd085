//! The seam between clients and members: everything above it is the same whatever carries the calls.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use quorate_check::error_table::Code;
use quorate_check::history::{Header, Range, Request, Response};
use quorate_check::types::{MemberId, OpId};

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

/// A way to call members.
pub trait Api: Send + Sync {
    /// Calls a member. `id` names the call; `attempt` counts its members asked, from 0.
    fn call(
        &self,
        member: MemberIndex,
        id: OpId,
        attempt: u64,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

    /// Reads a range piece by piece, with this pause after each.
    fn stream(
        &self,
        member: MemberIndex,
        id: OpId,
        attempt: u64,
        range: Range,
        pause: Duration,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

    /// Clears the alarm about space, as well as it goes; nobody writes down what comes of it.
    fn disarm(&self, member: MemberIndex, id: OpId) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// How many members there are.
    fn members(&self) -> u8;

    /// The id of a member.
    fn member_id(&self, member: MemberIndex) -> MemberId;
}
