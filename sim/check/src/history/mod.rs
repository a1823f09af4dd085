//! The recorded form of a run: what clients saw, and the faults beside it. One JSON record a line.
//!
//! Invariant: operations and watches have unique ids; times are of one clock. Nothing here judges.

mod image;
mod lock;
mod logged;
mod operation;
mod request;
mod response;
mod rights;
mod upkeep;
mod watch;

pub use image::{Image, ImageLease};
pub use lock::{Contender, Granted, LeaderSeen, NobodySeen, Observer, Released};
pub use logged::Logged;
pub use operation::{MemberAsked, Operation, Outcome};
pub use request::{
    Compact, Compare, CompareResult, CompareTarget, DeleteRange, HashKv, LeaseGrant, LeaseRef,
    LeaseTimeToLive, Put, Range, Request, SortOrder, SortTarget, Txn, TxnOp,
};
pub use response::{
    DeleteRangeResponse, Event, EventKind, HashKvResponse, Header, InnerResponse, KeyValue,
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse, PutResponse,
    RangeResponse, Response, StatusResponse, TxnResponse,
};
pub use rights::{AskedBy, Asker, RightsAre, RightsChange};
pub use upkeep::{
    Alarm, AlarmAction, AlarmChange, AlarmKind, AlarmResponse, Downgrade, DowngradeAction, DowngradeResponse,
    Raised,
};
pub use watch::{Watch, WatchCreate, WatchEnd, WatchReceived};

use crate::types::{MemberId, Nanos, Revision, is_default};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};

/// A fault that was injected; the oracles do not judge it, reports show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it began.
    pub from: Nanos,
    /// When it ended, if it did.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: Option<Nanos>,
    /// Its family and kind, such as `network/partition`.
    pub kind: String,
    /// The member it hit, if it hit one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub member: Option<MemberId>,
    /// More for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub note: String,
}

/// One life of a member's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// Whose life.
    pub member: MemberId,
    /// When it started.
    pub started: Nanos,
    /// When it ended, if it did.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stopped: Option<Nanos>,
}

/// Revisions that no operation made: an import, or a raised revision after a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionJump {
    /// The last revision before the jump.
    pub from: Revision,
    /// The revision after it; everything in between, and this one, changed no key.
    pub to: Revision,
}

/// A rest: all was healed, nobody wrote any more, and the harness waited its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// When the cluster was healed; nothing was wrong from then on until `at`.
    pub healed: Nanos,
    /// Since when the cluster stood at `revision`: who asks for progress from then on is told of it.
    #[serde(default)]
    pub still: Nanos,
    /// When the harness stopped waiting; everything due must have come by then.
    pub at: Nanos,
    /// The cluster's revision that everybody had to reach.
    pub revision: Revision,
}

/// One line of a history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A client operation.
    Operation(Operation),
    /// A watch.
    Watch(Watch),
    /// A fault.
    Fault(Fault),
    /// A life of a member.
    Incarnation(Incarnation),
    /// A legal gap in the revisions.
    RevisionJump(RevisionJump),
    /// A rest.
    Settled(Settled),
    /// A command that the replicated log carried out.
    Logged(Logged),
    /// One attempt to hold a lock or to lead.
    Contender(Contender),
    /// Who was seen to lead.
    Observer(Observer),
    /// An image of a member's state.
    Image(Image),
    /// A change of who may do what.
    RightsChange(RightsChange),
    /// Who asked for an operation.
    AskedBy(AskedBy),
}

/// Everything a run recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The client operations, in any order.
    pub operations: Vec<Operation>,
    /// The watches.
    pub watches: Vec<Watch>,
    /// The faults.
    pub faults: Vec<Fault>,
    /// The members' lives; a member without any is taken to have had one.
    pub incarnations: Vec<Incarnation>,
    /// The legal gaps.
    pub jumps: Vec<RevisionJump>,
    /// The rests, in order of time.
    pub settled: Vec<Settled>,
    /// What the log carried out, in its order; empty where nobody could look inside.
    pub log: Vec<Logged>,
    /// Attempts to hold a lock or to lead.
    pub contenders: Vec<Contender>,
    /// Who was seen to lead.
    pub observers: Vec<Observer>,
    /// Images of members' states.
    pub images: Vec<Image>,
    /// Changes of who may do what; empty where nobody was ever asked who he is.
    pub rights: Vec<RightsChange>,
    /// Who said who he is, by operation.
    pub askers: Vec<AskedBy>,
}

/// A history file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Reading or writing failed.
    #[error("history file: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not a record.
    #[error("history line {line}: {error}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl History {
    /// Puts one record where it belongs.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Operation(operation) => self.operations.push(operation),
            Record::Watch(watch) => self.watches.push(watch),
            Record::Fault(fault) => self.faults.push(fault),
            Record::Incarnation(life) => self.incarnations.push(life),
            Record::RevisionJump(jump) => self.jumps.push(jump),
            Record::Settled(settled) => self.settled.push(settled),
            Record::Logged(logged) => self.log.push(logged),
            Record::Contender(contender) => self.contenders.push(contender),
            Record::Observer(observer) => self.observers.push(observer),
            Record::Image(image) => self.images.push(image),
            Record::RightsChange(change) => self.rights.push(change),
            Record::AskedBy(asked) => self.askers.push(asked),
        }
    }

    /// Reads a history, one JSON record a line; blank lines are skipped.
    pub fn read(source: impl BufRead) -> Result<History, HistoryError> {
        let mut history = History::default();
        for (number, line) in source.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let record = serde_json::from_str(&line)
                .map_err(|error| HistoryError::Line { line: number + 1, error })?;
            history.add(record);
        }
        Ok(history)
    }

    /// Writes a history, one JSON record a line.
    pub fn write(&self, mut target: impl Write) -> Result<(), HistoryError> {
        let records = (self.incarnations.iter().map(|life| Record::Incarnation(*life)))
            .chain(self.jumps.iter().map(|jump| Record::RevisionJump(*jump)))
            .chain(self.operations.iter().map(|operation| Record::Operation(operation.clone())))
            .chain(self.watches.iter().map(|watch| Record::Watch(watch.clone())))
            .chain(self.faults.iter().map(|fault| Record::Fault(fault.clone())))
            .chain(self.log.iter().map(|logged| Record::Logged(logged.clone())))
            .chain(self.contenders.iter().map(|contender| Record::Contender(contender.clone())))
            .chain(self.observers.iter().map(|observer| Record::Observer(observer.clone())))
            .chain(self.images.iter().map(|image| Record::Image(image.clone())))
            .chain(self.rights.iter().map(|change| Record::RightsChange(*change)))
            .chain(self.askers.iter().map(|asked| Record::AskedBy(*asked)))
            .chain(self.settled.iter().map(|settled| Record::Settled(*settled)));
        for record in records {
            serde_json::to_writer(&mut target, &record).map_err(std::io::Error::from)?;
            target.write_all(b"\n")?;
        }
        target.flush()?;
        Ok(())
    }
}
