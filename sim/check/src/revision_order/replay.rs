//! The replay: every revision gets its cause, the model makes the change, and every answer is held against it.
//!
//! A revision with an answered change has one cause. A gap may have several: then the first that fits is taken and
//! the others are remembered; when a later answer does not fit, the search goes back to the last open choice.
//! States that failed before are not entered twice (the memo of Wing, Gong and Lowe). Once every choice has failed,
//! the failure is real: the furthest one is reported, the replay goes past it by force, and goes on.
//!
//! Invariant: `path` and `events` have one entry for each revision passed, and the model stands after the last.

use crate::history::{Event, History, Operation, Request};
use crate::lease::LeaseBook;
use crate::model::Model;
use crate::options::Options;
use crate::revision_order::candidates::{Unknowns, puts_of};
use crate::revision_order::evidence::{self, Evidence};
use crate::revision_order::sightings::Sightings;
use crate::revision_order::slots::{Seen, Slots, Witness};
use crate::types::{LeaseId, Nanos, OpId, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What made a revision.
#[derive(Clone, Debug)]
pub enum Cause<'h> {
    /// A change that was answered with this revision.
    Answered(&'h Operation),
    /// A change whose answer never came.
    Unknown(&'h Operation),
    /// A lease ran out.
    Expiry(LeaseId),
    /// The history says that this revision changed no key.
    Jump,
    /// Nothing explains it; the violation has been reported.
    Unexplained,
}

/// The replayed history.
#[derive(Debug)]
pub struct Replayed<'h> {
    /// What made each revision.
    pub causes: BTreeMap<Revision, Cause<'h>>,
    /// The changes of each revision, in order, each with the pair before it.
    pub events: BTreeMap<Revision, Vec<Event>>,
    /// The model after the last revision.
    pub model: Model,
    /// When each revision was first seen.
    pub slots: Slots<'h>,
    /// The last revision that the replay reached.
    pub reached: Revision,
    /// Whether it reached every revision that was seen.
    pub complete: bool,
    /// The first revision that could have been made otherwise; what follows it is one possible course of several.
    pub ambiguous_from: Option<Revision>,
    /// Steps beyond a straight replay.
    pub search_steps: u64,
}

struct Choice<'h> {
    place: usize,
    rest: Vec<Cause<'h>>,
}

struct Failure<'h> {
    place: usize,
    violation: Violation,
    path: Vec<Cause<'h>>,
}

struct Replay<'a, 'h> {
    history: &'h History,
    slots: &'a Slots<'h>,
    book: &'a LeaseBook<'h>,
    evidence: BTreeMap<Revision, Evidence>,
    unknowns: Unknowns<'h>,
    /// Collected as soon as something is ambiguous.
    sightings: Option<Sightings<'h>>,
    /// Whether some choice is open, so that watches are asked too.
    ambiguous: bool,
    /// The first choice that was open when something failed: what is forced later may rest on it.
    guessed_from: Option<usize>,
    places: Vec<Revision>,
    model: Model,
    path: Vec<Cause<'h>>,
    events: Vec<Vec<Event>>,
    used: BTreeSet<OpId>,
    choices: Vec<Choice<'h>>,
    failed: BTreeSet<(usize, (u64, u64), u64)>,
    violations: Vec<Violation>,
}

/// Replays a history.
pub fn run<'h>(
    history: &'h History,
    slots: Slots<'h>,
    book: &LeaseBook<'h>,
    options: &Options,
) -> (Replayed<'h>, Vec<Violation>) {
    let in_jump = |revision: Revision| {
        revision <= Revision::FIRST
            || history.jumps.iter().any(|jump| revision > jump.from && revision <= jump.to)
    };
    let is_open = |revision: Revision| {
        revision <= slots.top && !slots.changes.contains_key(&revision) && !in_jump(revision)
    };
    // Asked for every pair of every answer; without jumps there are no more revisions than operations.
    let answered: Vec<bool> = match history.jumps.as_slice() {
        [] => (0..=slots.top.0).map(|revision| !is_open(Revision(revision))).collect(),
        _ => Vec::new(),
    };
    let is_open = |revision: Revision| {
        let known = usize::try_from(revision.0).ok().and_then(|place| answered.get(place));
        known.map_or_else(|| is_open(revision), |answered| !answered)
    };
    let evidence = evidence::collect(history, is_open);
    let unknowns = Unknowns::new(history, &evidence);
    let mut replay = Replay {
        history,
        slots: &slots,
        book,
        evidence,
        unknowns,
        sightings: None,
        ambiguous: false,
        guessed_from: None,
        places: places(history, &slots),
        model: Model::new(book.regranted()),
        path: Vec::new(),
        events: Vec::new(),
        used: BTreeSet::new(),
        choices: Vec::new(),
        failed: BTreeSet::new(),
        violations: Vec::new(),
    };
    let search_steps = replay.search(options);
    let Replay { places, model, path, events, violations, choices, guessed_from, .. } = replay;
    let first_choice = choices.first().map(|choice| choice.place).into_iter().chain(guessed_from).min();
    let ambiguous_from = first_choice.and_then(|place| places.get(place)).copied();
    let complete = path.len() == places.len();
    let reached = places.get(path.len().saturating_sub(1)).copied().unwrap_or(Revision::FIRST);
    let causes = places.iter().copied().zip(path).collect();
    let events = places.into_iter().zip(events).collect();
    (Replayed { causes, events, model, slots, reached, complete, ambiguous_from, search_steps }, violations)
}

/// The revisions to walk through: all of them, but of a jump only those that somebody observed.
fn places(history: &History, slots: &Slots<'_>) -> Vec<Revision> {
    let mut places = Vec::new();
    let mut next = Revision::FIRST;
    let mut jumps: Vec<_> = history.jumps.iter().filter(|jump| jump.to > jump.from).collect();
    jumps.sort_by_key(|jump| jump.from);
    for jump in jumps {
        while next <= jump.from && next <= slots.top {
            places.push(next);
            next = next.next();
        }
        let first = jump.from.next().max(next);
        if first <= jump.to {
            let watched = slots.observers.range(first..=jump.to).map(|(revision, _)| *revision);
            places.extend(watched.filter(|revision| *revision < jump.to));
            places.push(jump.to);
            next = jump.to.next();
        }
    }
    while next <= slots.top {
        places.push(next);
        next = next.next();
    }
    places
}

impl<'h> Replay<'_, 'h> {
    /// Walks through all places; returns how many steps the search took beyond that.
    fn search(&mut self, options: &Options) -> u64 {
        let mut steps: u64 = 0;
        let mut best: Option<Failure<'h>> = None;
        let mut pending: Option<Vec<Cause<'h>>> = None;
        while let Some(revision) = self.places.get(self.path.len()).copied() {
            let outcome = self.advance(revision, pending.take());
            let Err(violation) = outcome else { continue };
            let place = self.path.len();
            if best.as_ref().is_none_or(|best| place > best.place) {
                let first = self.choices.first().map(|choice| choice.place);
                self.guessed_from = self.guessed_from.into_iter().chain(first).min();
                best = Some(Failure { place, violation, path: self.path.clone() });
            }
            pending = self.step_back(&mut steps);
            if steps > options.search_steps_max {
                self.give_up(best);
                return steps;
            }
            if pending.is_none() {
                let Some(failure) = best.take() else { return steps };
                self.pass_by_force(failure);
                if self.violations.len() >= options.violations_max {
                    return steps;
                }
            }
        }
        steps
    }

    /// Passes one revision, by the first cause that fits; several that fit make a choice.
    fn advance(&mut self, revision: Revision, pending: Option<Vec<Cause<'h>>>) -> Result<(), Violation> {
        let is_retry = pending.is_some();
        let causes = pending.unwrap_or_else(|| self.causes(revision));
        let is_gap = !matches!(causes.as_slice(), [Cause::Answered(_) | Cause::Jump]);
        if is_gap && !is_retry && !self.choices.is_empty() && self.failed.contains(&self.memo()) {
            return Err(Violation::safety(Oracle::RevisionOrder, "this state failed before"));
        }
        self.ambiguous = !self.choices.is_empty() || causes.len() > 1 || is_retry;
        let mut complaint = None;
        let mut fitting = Vec::new();
        let mut untried = causes.into_iter();
        for cause in untried.by_ref() {
            match self.attempt(revision, &cause) {
                Ok(events) if !is_gap => {
                    self.pass(cause, events);
                    return Ok(());
                }
                Ok(_) => {
                    self.model.undo_to(self.model_floor(revision));
                    fitting.push(cause);
                    // Two that fit make a choice; the others are tried only if the search comes back here.
                    if fitting.len() == 2 {
                        break;
                    }
                }
                Err(violation) => {
                    complaint.get_or_insert(violation);
                }
            }
        }
        let mut rest = fitting.into_iter();
        let Some(cause) = rest.next() else {
            if is_gap {
                let memo = self.memo();
                self.failed.insert(memo);
            }
            return Err(self.blame(revision, complaint));
        };
        let rest: Vec<_> = rest.chain(untried).collect();
        if is_retry || !rest.is_empty() {
            self.choices.push(Choice { place: self.path.len(), rest });
        }
        let events = self.attempt(revision, &cause)?;
        self.pass(cause, events);
        Ok(())
    }

    fn pass(&mut self, cause: Cause<'h>, events: Vec<Event>) {
        if let Cause::Unknown(operation) | Cause::Answered(operation) = &cause {
            self.used.insert(operation.id);
        }
        self.path.push(cause);
        self.events.push(events);
    }

    /// The model's revision before this place.
    fn model_floor(&self, revision: Revision) -> Revision {
        let before = self.path.len().checked_sub(1).and_then(|last| self.places.get(last));
        before.copied().unwrap_or(Revision::FIRST).min(revision)
    }

    /// Returns to the last open choice; hands back what is left to try there.
    fn step_back(&mut self, steps: &mut u64) -> Option<Vec<Cause<'h>>> {
        while let Some(choice) = self.choices.pop() {
            let undone = self.path.len().saturating_sub(choice.place);
            *steps = steps.saturating_add(u64::try_from(undone).unwrap_or(u64::MAX)).saturating_add(1);
            self.rewind(choice.place);
            if !choice.rest.is_empty() {
                return Some(choice.rest);
            }
            let memo = self.memo();
            self.failed.insert(memo);
        }
        None
    }

    fn rewind(&mut self, place: usize) {
        for cause in self.path.drain(place..) {
            if let Cause::Unknown(operation) | Cause::Answered(operation) = cause {
                self.used.remove(&operation.id);
            }
        }
        self.events.truncate(place);
        let floor = place.checked_sub(1).and_then(|last| self.places.get(last));
        self.model.undo_to(floor.copied().unwrap_or(Revision(0)));
        if place == 0 {
            self.model.skip_to(Revision::FIRST);
        }
    }

    fn memo(&self) -> (usize, (u64, u64), u64) {
        let used: BTreeSet<OpId> = (self.path.iter())
            .filter_map(|cause| match cause {
                Cause::Unknown(operation) => Some(operation.id),
                _ => None,
            })
            .collect();
        let mut hasher = DefaultHasher::new();
        used.hash(&mut hasher);
        (self.path.len(), self.model.fingerprint(), hasher.finish())
    }

    /// What may have made a revision, the likeliest first.
    fn causes(&self, revision: Revision) -> Vec<Cause<'h>> {
        if let Some(operation) = self.slots.changes.get(&revision) {
            return vec![Cause::Answered(operation)];
        }
        let jumped = self.history.jumps.iter().any(|jump| revision > jump.from && revision <= jump.to);
        if jumped || revision == Revision::FIRST {
            return vec![Cause::Jump];
        }
        let nothing = Evidence::default();
        let evidence = self.evidence.get(&revision).unwrap_or(&nothing);
        let seen = self.slots.first_sight(revision);
        let seen_at = seen.map_or(Nanos::NEVER, |seen| seen.at);
        let mut causes: Vec<Cause<'h>> = Vec::new();
        let mut ended = BTreeSet::new();
        for operation in self.slots.revokes.get(&revision).into_iter().flatten() {
            if let Request::LeaseRevoke(revoke) = &operation.request
                && operation.invoked <= seen_at
                && !self.model.attached(revoke.id).is_empty()
                && ended.insert(revoke.id)
            {
                causes.push(Cause::Answered(operation));
            }
        }
        let lease_of = |key: &_| self.model.lease_of(key);
        for operation in self.unknowns.for_revision(revision, evidence, lease_of, &self.used, seen_at) {
            if let Request::LeaseRevoke(revoke) = &operation.request
                && !ended.insert(revoke.id)
            {
                continue;
            }
            causes.push(Cause::Unknown(operation));
        }
        if evidence.puts.is_empty() {
            let leases: Vec<LeaseId> = match evidence.deletes.keys().next() {
                Some(key) => vec![self.model.lease_of(key)],
                None => self.model.leases_with_keys().collect(),
            };
            let expiring = leases.into_iter().filter(|lease| {
                *lease != LeaseId::NONE
                    && !ended.contains(lease)
                    && self.book.forbids_expiry(*lease, seen_at).is_none()
            });
            causes.extend(expiring.map(Cause::Expiry));
        }
        causes
    }

    /// Makes the change in the model and holds every answer against it; on failure the model is as before.
    fn attempt(&mut self, revision: Revision, cause: &Cause<'h>) -> Result<Vec<Event>, Violation> {
        let floor = self.model_floor(revision);
        let outcome = self.make(revision, cause).and_then(|events| {
            if self.ambiguous {
                let history = self.history;
                let sightings = self.sightings.get_or_insert_with(|| Sightings::new(history));
                sightings.agree(revision, &events)?;
            }
            let mut complaint = None;
            self.observe(revision, cause, &mut |violation| {
                complaint.get_or_insert(violation);
                false
            });
            complaint.map_or(Ok(events), Err)
        });
        if outcome.is_err() {
            self.model.undo_to(floor);
        }
        outcome
    }

    fn make(&mut self, revision: Revision, cause: &Cause<'h>) -> Result<Vec<Event>, Violation> {
        let events = match cause {
            Cause::Jump => {
                self.model.skip_to(revision);
                return Ok(Vec::new());
            }
            Cause::Unexplained => return Ok(self.force(revision)),
            Cause::Expiry(lease) => self.model.expire(*lease, revision),
            Cause::Answered(operation) | Cause::Unknown(operation) => {
                let broken = |what: String| {
                    Violation::safety(
                        Oracle::RevisionOrder,
                        format!(
                            "{} {} at revision {revision}: {what}",
                            operation.request.name(),
                            operation.id
                        ),
                    )
                    .operation(operation.id)
                    .at(revision)
                };
                let applied = self.model.apply(&operation.request, revision).map_err(|refusal| {
                    broken(format!("it was acknowledged, but had to be refused: {refusal}"))
                })?;
                if let Some((_, response)) = operation.answer() {
                    applied.expected.compare(response).map_err(broken)?;
                }
                if applied.events.is_empty() {
                    return Err(broken("it changes nothing there, but was given a revision".into()));
                }
                applied.events
            }
        };
        match self.evidence.get(&revision) {
            Some(evidence) if !evidence.fits(&events) => Err(Violation::safety(
                Oracle::RevisionOrder,
                format!("revision {revision} does not show what {} would do", name(cause)),
            )
            .at(revision)
            .detail(evidence.describe())),
            _ => Ok(events),
        }
    }

    /// Holds the answers that show this revision against the model; `report` says whether to go on.
    fn observe(&mut self, revision: Revision, cause: &Cause<'h>, report: &mut dyn FnMut(Violation) -> bool) {
        let slots = self.slots;
        for operation in slots.revokes.get(&revision).into_iter().flatten() {
            if matches!(cause, Cause::Answered(change) if change.id == operation.id) {
                continue;
            }
            let Request::LeaseRevoke(revoke) = &operation.request else { continue };
            let left = self.model.attached(revoke.id);
            if let Some(key) = left.first() {
                let violation = Violation::safety(
                    Oracle::Lease,
                    format!(
                        "lease {} was revoked by revision {revision} ({}), but key {key} still hangs on it",
                        revoke.id, operation.id
                    ),
                );
                if !report(violation.operation(operation.id).at(revision)) {
                    return;
                }
            }
            self.model.mark_dead(revoke.id);
        }
        for operation in slots.observers.get(&revision).into_iter().flatten() {
            if let Err(what) = self.compare_observer(operation, revision) {
                let name = operation.request.name();
                let sentence = format!(
                    "{name} {} at revision {revision} does not show that state: {what}",
                    operation.id
                );
                let violation = Violation::safety(Oracle::RevisionOrder, sentence);
                if !report(violation.operation(operation.id).at(revision)) {
                    return;
                }
            }
        }
    }

    fn compare_observer(&mut self, operation: &Operation, revision: Revision) -> Result<(), String> {
        let Some((_, response)) = operation.answer() else { return Ok(()) };
        if let Request::Range(range) = &operation.request {
            let expected = self.model.range(range, revision).map_err(|refusal| refusal.to_string())?;
            return expected.compare(response);
        }
        let applied = self.model.apply(&operation.request, revision.next());
        self.model.undo_to(revision);
        let applied = applied.map_err(|refusal| format!("it had to be refused: {refusal}"))?;
        applied.expected.compare(response)?;
        if applied.events.is_empty() { Ok(()) } else { Err("it had to change keys".into()) }
    }

    /// The sentence for a revision that no cause explains.
    fn blame(&self, revision: Revision, complaint: Option<Violation>) -> Violation {
        let nothing = Evidence::default();
        let evidence = self.evidence.get(&revision).unwrap_or(&nothing);
        if let Some(violation) = self.blame_lease(revision, evidence) {
            return violation;
        }
        if let Some(violation) = self.blame_writer(revision, evidence) {
            return violation;
        }
        complaint.unwrap_or_else(|| {
            let seen = self.slots.first_sight(revision);
            let violation = Violation::safety(
                Oracle::RevisionOrder,
                format!("revision {revision} exists, but nothing that was asked explains it"),
            );
            with_witness(violation.at(revision).detail(evidence.describe()), seen)
        })
    }

    fn blame_lease(&self, revision: Revision, evidence: &Evidence) -> Option<Violation> {
        let seen = self.slots.first_sight(revision)?;
        if !evidence.puts.is_empty() {
            return None;
        }
        let lease = self.model.lease_of(evidence.deletes.keys().next()?);
        let (renewal, end) = self.book.forbids_expiry(lease, seen.at)?;
        let keys = self.model.attached(lease);
        let all_went = keys.iter().all(|key| evidence.deletes.contains_key(key));
        let only_they_went = evidence.deletes.keys().all(|key| keys.contains(key));
        if !all_went || !only_they_went {
            return None;
        }
        let sentence = format!(
            "lease {lease} ended at revision {revision}, seen at {}, though {} promised it until {}",
            seen.at.as_secs(),
            renewal.operation,
            end.as_secs()
        );
        let violation = Violation::safety(Oracle::Lease, sentence).operation(renewal.operation).at(revision);
        Some(with_witness(
            violation.detail(format!(
                "asked at {}, time to live {} s",
                renewal.invoked.as_secs(),
                renewal.ttl_secs
            )),
            Some(seen),
        ))
    }

    fn blame_writer(&self, revision: Revision, evidence: &Evidence) -> Option<Violation> {
        let (key, (kv, _)) = evidence.puts.iter().find(|(_, (_, with_value))| *with_value)?;
        let writes = |operation: &&Operation| {
            puts_of(&operation.request).iter().any(|put| put.key == *key && put.value == kv.value)
        };
        let writer = self.history.operations.iter().find(writes);
        let what = match writer {
            None => "which nobody wrote".to_owned(),
            Some(writer) if !writer.may_have_applied() => {
                format!("which only {} wrote, and that was refused", writer.id)
            }
            Some(writer) if self.used.contains(&writer.id) || writer.answer().is_some() => {
                format!("which only {} wrote, and that took effect at another revision", writer.id)
            }
            Some(writer) => {
                let sent_late = self.slots.first_sight(revision).is_some_and(|seen| seen.at < writer.invoked);
                if !sent_late {
                    return None;
                }
                format!("which only {} wrote, and that was sent later", writer.id)
            }
        };
        let sentence = format!("revision {revision} shows {key}={}, {what}", kv.value);
        let mut violation = Violation::safety(Oracle::RevisionOrder, sentence).at(revision);
        if let Some(writer) = writer {
            violation = violation.operation(writer.id);
        }
        Some(with_witness(violation, self.slots.first_sight(revision)))
    }

    /// Reports a failure that no choice avoids, and goes on behind it.
    fn pass_by_force(&mut self, failure: Failure<'h>) {
        self.rewind(0);
        self.choices.clear();
        self.failed.clear();
        for cause in failure.path {
            let Some(revision) = self.places.get(self.path.len()).copied() else { return };
            let events = self.make_anyway(revision, &cause);
            self.observe(revision, &cause, &mut |_| true);
            self.pass(cause, events);
        }
        let Some(revision) = self.places.get(self.path.len()).copied() else { return };
        let causes = self.causes(revision);
        let cause = match causes.as_slice() {
            [Cause::Answered(operation)] => Cause::Answered(operation),
            [Cause::Jump] => Cause::Jump,
            [only] => only.clone(),
            _ => Cause::Unexplained,
        };
        let events = self.make_anyway(revision, &cause);
        self.violations.push(failure.violation);
        let mut more = Vec::new();
        self.observe(revision, &cause, &mut |violation| {
            more.push(violation);
            true
        });
        for violation in more {
            if !self.violations.contains(&violation) {
                self.violations.push(violation);
            }
        }
        self.pass(cause, events);
    }

    /// Makes a change without asking whether it fits.
    fn make_anyway(&mut self, revision: Revision, cause: &Cause<'h>) -> Vec<Event> {
        let made = match cause {
            Cause::Answered(operation) | Cause::Unknown(operation) => self
                .model
                .apply(&operation.request, revision)
                .map(|applied| applied.events)
                .unwrap_or_default(),
            Cause::Expiry(lease) => self.model.expire(*lease, revision),
            Cause::Jump => Vec::new(),
            Cause::Unexplained => return self.force(revision),
        };
        self.model.skip_to(revision);
        made
    }

    fn force(&mut self, revision: Revision) -> Vec<Event> {
        let seen = self.evidence.get(&revision).map(Evidence::as_events).unwrap_or_default();
        self.model.force(&seen, revision)
    }

    /// Says that the search ran out of steps. Never a pass, and the first thing that did not fit is named.
    fn give_up(&mut self, best: Option<Failure<'h>>) {
        let mut violation = Violation::harness(
            "the order of the operations with unknown outcome could not be decided within the search's bound",
        );
        if let Some(failure) = best {
            violation = violation.at(failure.violation.revision.unwrap_or_default());
            violation.operations.extend(failure.violation.operations);
            violation =
                violation.detail(format!("the furthest try failed with: {}", failure.violation.sentence));
        }
        self.violations.push(violation);
    }
}

fn with_witness(violation: Violation, seen: Option<Seen>) -> Violation {
    match seen.map(|seen| seen.by) {
        Some(Witness::Operation(id)) => violation.operation(id),
        Some(Witness::Watch(id)) => violation.watch(id),
        None => violation,
    }
}

fn name(cause: &Cause<'_>) -> String {
    match cause {
        Cause::Answered(operation) | Cause::Unknown(operation) => {
            format!("{} {}", operation.request.name(), operation.id)
        }
        Cause::Expiry(lease) => format!("the end of lease {lease}"),
        Cause::Jump => "a jump of the revision".into(),
        Cause::Unexplained => "nothing".into(),
    }
}
