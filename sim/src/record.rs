//! Everything that is written down while a run goes on: history, trace, findings, counts.
//!
//! One record a run, shared by clients, faults, disks and the monitor. It outlives a panic of the run, so that
//! even then there is something to show.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_check::history::{Fault, History, Incarnation, Operation, Settled};
use quorate_check::types::{MemberId, Nanos};
use quorate_check::verdict::Class;

use crate::figures::Figures;
use crate::report::Finding;
use crate::trace::Trace;

/// The record of a run.
#[derive(Debug, Default)]
pub struct Record(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    history: History,
    trace: Trace,
    findings: Vec<Finding>,
    figures: Figures,
}

/// What a run leaves behind.
#[derive(Debug)]
pub struct Written {
    /// The history for the oracles.
    pub history: History,
    /// What the runner itself found.
    pub findings: Vec<Finding>,
    /// The counts.
    pub figures: Figures,
    /// The trace.
    pub trace: Trace,
}

/// A fault in the history that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct OpenFault(usize);

impl Record {
    /// A record with this trace.
    pub fn new(trace: Trace) -> Record {
        Record(Mutex::new(Inner { trace, ..Inner::default() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event into the trace.
    pub fn event(&self, at: Nanos, what: fmt::Arguments<'_>) {
        self.inner().trace.event(at.0, what);
    }

    /// Writes down an operation that has ended.
    pub fn operation(&self, operation: Operation) {
        self.inner().history.operations.push(operation);
    }

    /// Writes down that a fault began.
    pub fn fault_begins(&self, at: Nanos, kind: &str, member: Option<MemberId>, note: String) -> OpenFault {
        let mut inner = self.inner();
        inner.trace.event(at.0, format_args!("fault {kind} {member:?} {note}"));
        inner.figures.faults += 1;
        inner.history.faults.push(Fault { from: at, until: None, kind: kind.to_owned(), member, note });
        OpenFault(inner.history.faults.len() - 1)
    }

    /// Writes down that a fault ended.
    pub fn fault_ends(&self, at: Nanos, fault: OpenFault) {
        let mut inner = self.inner();
        let Some(fault) = inner.history.faults.get_mut(fault.0) else { return };
        fault.until = Some(at);
        let kind = fault.kind.clone();
        inner.trace.event(at.0, format_args!("end of {kind}"));
    }

    /// Writes down that a member's process started.
    pub fn life_begins(&self, at: Nanos, member: MemberId) {
        let mut inner = self.inner();
        inner.trace.event(at.0, format_args!("start {member}"));
        inner.history.incarnations.push(Incarnation { member, started: at, stopped: None });
    }

    /// Writes down that a member's process ended.
    pub fn life_ends(&self, at: Nanos, member: MemberId, how: &str) {
        let mut inner = self.inner();
        inner.trace.event(at.0, format_args!("end {member} {how}"));
        inner.figures.crashes += 1;
        let last = inner.history.incarnations.iter_mut().rev().find(|life| life.member == member);
        if let Some(life) = last {
            life.stopped.get_or_insert(at);
        }
    }

    /// Writes down the end of the liveness phase.
    pub fn settled(&self, settled: Settled) {
        self.inner().history.settled = Some(settled);
    }

    /// Writes down something that is wrong.
    pub fn finding(&self, at: Nanos, finding: Finding) {
        let mut inner = self.inner();
        inner.trace.event(at.0, format_args!("finding {}", finding.sentence));
        if !inner.findings.contains(&finding) {
            inner.findings.push(finding);
        }
    }

    /// Whether something so wrong was found that going on is of no use.
    pub fn is_over(&self) -> bool {
        self.inner().findings.iter().any(|finding| finding.class != Class::Liveness)
    }

    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.inner().figures);
    }

    /// The largest revision that any answer carried.
    pub fn newest_revision(&self) -> quorate_check::types::Revision {
        let inner = self.inner();
        let answers = inner.history.operations.iter().filter_map(Operation::answer);
        answers.map(|(header, _)| header.revision).max().unwrap_or_default()
    }

    /// Takes everything out.
    pub fn take(&self) -> Written {
        let mut inner = std::mem::take(&mut *self.inner());
        inner.trace.flush();
        Written {
            history: inner.history,
            findings: inner.findings,
            figures: inner.figures,
            trace: inner.trace,
        }
    }
}
