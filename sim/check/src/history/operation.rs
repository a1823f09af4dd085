//! One client operation: who asked whom, when, what, and what came of it.

use crate::error_table::Code;
use crate::history::request::Request;
use crate::history::response::{Header, Response};
use crate::types::{ClientId, MemberId, Nanos, OpId};
use serde::{Deserialize, Serialize};

/// The member an operation or a watch was sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberAsked {
    /// Its id, which the answer's header must carry.
    pub id: MemberId,
    /// Its place in the plan, for people.
    pub index: u32,
}

/// What a client knows about an operation's fate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Ok {
        /// The header.
        header: Header,
        /// The answer.
        response: Response,
    },
    /// It was refused with an error that proves it was not applied (see `error_table`).
    Failed {
        /// The gRPC status code.
        code: Code,
        /// The text.
        message: String,
    },
    /// A time-out, a crash, a broken stream, or an error that proves nothing: it may have been applied, or may yet be.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// One client operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// Its name in the history.
    pub id: OpId,
    /// Who asked.
    pub client: ClientId,
    /// Who was asked.
    pub member: MemberAsked,
    /// When it was sent.
    pub invoked: Nanos,
    /// When the client had its answer or gave up.
    pub returned: Nanos,
    /// What was asked.
    pub request: Request,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Operation {
    /// Header and answer, if it was answered.
    pub fn answer(&self) -> Option<(&Header, &Response)> {
        match &self.outcome {
            Outcome::Ok { header, response } => Some((header, response)),
            _ => None,
        }
    }

    /// The text of the refusal, if it was refused.
    pub fn refusal(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Whether it may have been applied: all but the refused ones.
    pub fn may_have_applied(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed { .. })
    }

    /// Whether its fate is unknown.
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown { .. })
    }
}
