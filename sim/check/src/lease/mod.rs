//! The lease oracle.
//!
//! A lease does not end before (sending of its last acknowledged renewal + time to live), the fastest allowed clock
//! considered; all its keys go at one revision; it is gone in time once healthy. That keys do not go early, and go
//! together, comes out of the replay (`revision_order`), because only there it shows which revision ended a lease.
//! Here stand the answers that speak of a lease: not found, time to live, lists, keys.
//!
//! Existence is judged by possible intervals: a complaint is made only if the lease was alive, or dead, throughout.

mod attached;
pub mod book;

pub use book::LeaseBook;

use crate::bytes::Bytes;
use crate::error_table::LEASE_NOT_FOUND;
use crate::history::{History, LeaseTimeToLiveResponse, Operation, Outcome, Request, Response, Settled};
use crate::lives::Bounds;
use crate::options::Options;
use crate::revision_order::{Cause, Replayed, puts_of};
use crate::types::{LeaseId, Nanos, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::{BTreeMap, BTreeSet};

struct Judge<'a, 'h> {
    history: &'h History,
    book: &'a LeaseBook<'h>,
    replayed: &'a Replayed<'h>,
    bounds: Bounds,
    options: &'a Options,
    /// The keys of each lease, as they were from a revision on.
    keys: BTreeMap<LeaseId, Vec<(Revision, BTreeSet<Bytes>)>>,
    /// The keys that anybody ever asked to be attached to each lease.
    asked: BTreeMap<LeaseId, BTreeSet<Bytes>>,
    /// For each lease granted once: the moment from which, and until which, nothing speaks against its life.
    lives: Vec<(LeaseId, Nanos, Nanos)>,
    /// Whether a lease may have been granted under an id that nobody was told.
    unknown_ids: bool,
    /// When each lease was surely gone.
    gone: BTreeMap<LeaseId, Nanos>,
}

/// Judges every answer about leases.
pub fn check<'h>(
    history: &'h History,
    book: &LeaseBook<'h>,
    replayed: &Replayed<'h>,
    options: &Options,
) -> Vec<Violation> {
    let keys = keys_over_time(history, replayed);
    let mut judge = Judge {
        history,
        book,
        replayed,
        bounds: Bounds::new(history, replayed),
        options,
        keys,
        asked: attached::asked(history),
        lives: Vec::new(),
        unknown_ids: history.operations.iter().any(|operation| {
            operation.is_unknown()
                && matches!(&operation.request, Request::LeaseGrant(grant) if grant.id == LeaseId::NONE)
        }),
        gone: BTreeMap::new(),
    };
    for (lease, story) in book.stories() {
        judge.lives.extend(book.possible_life(story).map(|(from, until)| (lease, from, until)));
        if let Some(gone) = judge.gone_by(lease) {
            judge.gone.insert(lease, gone);
        }
    }
    let mut violations: Vec<Violation> =
        history.operations.iter().filter_map(|operation| judge.operation(operation)).collect();
    violations.extend(judge.leftovers());
    violations.truncate(options.violations_max);
    violations
}

/// The keys of every lease whose keys somebody asked for.
fn keys_over_time(
    history: &History,
    replayed: &Replayed<'_>,
) -> BTreeMap<LeaseId, Vec<(Revision, BTreeSet<Bytes>)>> {
    let mut keys: BTreeMap<LeaseId, Vec<(Revision, BTreeSet<Bytes>)>> = BTreeMap::new();
    for operation in &history.operations {
        if let Request::LeaseTimeToLive(ask) = &operation.request {
            keys.entry(ask.id).or_insert_with(|| vec![(Revision(0), BTreeSet::new())]);
        }
    }
    for (revision, events) in &replayed.events {
        for event in events {
            let before = event.prev_kv.as_ref().map_or(LeaseId::NONE, |kv| kv.lease);
            for (lease, attached) in [(before, false), (event.kv.lease, true)] {
                let Some(states) = keys.get_mut(&lease) else { continue };
                let Some((last, present)) = states.last_mut() else { continue };
                let mut next = present.clone();
                if attached {
                    next.insert(event.kv.key.clone())
                } else {
                    next.remove(&event.kv.key)
                };
                if *last == *revision { *present = next } else { states.push((*revision, next)) }
            }
        }
    }
    keys
}

impl Judge<'_, '_> {
    fn operation(&self, operation: &Operation) -> Option<Violation> {
        let not_found = operation.refusal() == Some(LEASE_NOT_FOUND);
        let answer = operation.answer().map(|(_, response)| response);
        match (&operation.request, answer) {
            (Request::LeaseRevoke(revoke), _) if not_found => self.missing(operation, revoke.id),
            (Request::LeaseKeepAlive(keep), Some(Response::LeaseKeepAlive(got))) => {
                if got.id != keep.id {
                    return self
                        .complain(operation, format!("for lease {} renewed lease {}", keep.id, got.id));
                }
                if got.ttl_secs <= 0 {
                    return self.missing(operation, keep.id);
                }
                self.undead(operation, keep.id).or_else(|| self.full_ttl(operation, keep.id, got.ttl_secs))
            }
            (Request::LeaseTimeToLive(ask), Some(Response::LeaseTimeToLive(got))) => {
                if got.id != ask.id {
                    return self
                        .complain(operation, format!("about lease {} speaks of lease {}", ask.id, got.id));
                }
                self.time_to_live(operation, ask.keys, got)
            }
            (Request::LeaseLeases, Some(Response::LeaseLeases(got))) => self.list(operation, &got.leases),
            (Request::LeaseGrant(grant), Some(Response::LeaseGrant(got))) => {
                let wrong_id = grant.id != LeaseId::NONE && got.id != grant.id;
                (wrong_id || got.ttl_secs < grant.ttl_secs).then(|| {
                    let what = format!(
                        "grant {} asked for lease {} with {} s and got lease {} with {} s",
                        operation.id, grant.id, grant.ttl_secs, got.id, got.ttl_secs
                    );
                    Violation::safety(Oracle::Lease, what).operation(operation.id)
                })
            }
            (Request::Put(put), None) if not_found => self.missing(operation, put.lease),
            (Request::Put(_) | Request::Txn(_), Some(_)) => self.never_granted(operation),
            _ => None,
        }
    }

    fn complain(&self, operation: &Operation, what: String) -> Option<Violation> {
        let sentence = format!("{} {} {what}", operation.request.name(), operation.id);
        Some(Violation::safety(Oracle::Lease, sentence).operation(operation.id))
    }

    /// Whether the lease was surely there from one moment to the other.
    fn alive_throughout(&self, lease: LeaseId, from: Nanos, until: Nanos) -> bool {
        let Some(story) = self.book.story(lease) else { return false };
        let granted = matches!(story.grants.as_slice(), [only] if only.returned < from);
        let revoked = story.revokes.iter().any(|revoke| revoke.invoked <= until);
        granted && !revoked && self.book.forbids_expiry(lease, until).is_some()
    }

    /// When the lease was surely gone, if it ever was.
    fn gone_by(&self, lease: LeaseId) -> Option<Nanos> {
        let story = self.book.story(lease)?;
        if story.grants.len() > 1 {
            return None;
        }
        let answered =
            |revoke: &&Operation| matches!(revoke.outcome, Outcome::Ok { .. }).then_some(revoke.returned);
        let revoked = story.revokes.iter().filter_map(answered).min();
        let ended = self.replayed.model.dead_since(lease).filter(|revision| !self.is_guess(*revision));
        let seen = ended.and_then(|revision| self.replayed.slots.first_sight(revision)).map(|seen| seen.at);
        let seen = seen.filter(|_| ended.is_some_and(|revision| self.made(lease, revision)));
        revoked.into_iter().chain(seen).min()
    }

    /// Whether the state at a revision is only one of several that explain the history.
    fn is_guess(&self, revision: Revision) -> bool {
        self.replayed.ambiguous_from.is_some_and(|from| from <= revision)
    }

    /// Whether the lease's end is what made this revision; a lease may also end without keys, beside a revision.
    fn made(&self, lease: LeaseId, revision: Revision) -> bool {
        match self.replayed.causes.get(&revision) {
            Some(Cause::Expiry(expired)) => *expired == lease,
            Some(Cause::Answered(operation) | Cause::Unknown(operation)) => {
                matches!(&operation.request, Request::LeaseRevoke(revoke) if revoke.id == lease)
            }
            _ => false,
        }
    }

    fn missing(&self, operation: &Operation, lease: LeaseId) -> Option<Violation> {
        if !self.alive_throughout(lease, operation.invoked, operation.returned) {
            return None;
        }
        let (renewal, end) = self.book.forbids_expiry(lease, operation.returned)?;
        let what = format!(
            "was told that lease {lease} is not there, though {} promised it until {}",
            renewal.operation,
            end.as_secs()
        );
        self.complain(operation, what).map(|violation| violation.operation(renewal.operation))
    }

    fn undead(&self, operation: &Operation, lease: LeaseId) -> Option<Violation> {
        let gone = self.gone.get(&lease).filter(|gone| **gone < operation.invoked)?;
        self.complain(operation, format!("found lease {lease} alive, which was gone by {}", gone.as_secs()))
    }

    fn full_ttl(&self, operation: &Operation, lease: LeaseId, ttl_secs: i64) -> Option<Violation> {
        let story = self.book.story(lease)?;
        let [grant] = story.grants.as_slice() else { return None };
        if grant.returned == Nanos::NEVER || grant.ttl_secs == ttl_secs {
            return None;
        }
        let what = format!("gave lease {lease} {ttl_secs} s, but {} s were granted", grant.ttl_secs);
        self.complain(operation, what)
    }

    fn time_to_live(
        &self,
        operation: &Operation,
        with_keys: bool,
        got: &LeaseTimeToLiveResponse,
    ) -> Option<Violation> {
        if !self.options.lease_reads_linearizable {
            return None;
        }
        if got.ttl_secs < 0 {
            return self.missing(operation, got.id);
        }
        if let Some(violation) = self.undead(operation, got.id) {
            return Some(violation);
        }
        if got.ttl_secs > got.granted_ttl_secs {
            let what =
                format!("shows lease {} with {} s left of {}", got.id, got.ttl_secs, got.granted_ttl_secs);
            return self.complain(operation, what);
        }
        if let Some(violation) = self.full_ttl(operation, got.id, got.granted_ttl_secs) {
            return Some(violation);
        }
        if let Some(violation) = self.too_little(operation, got) {
            return Some(violation);
        }
        if with_keys {
            return self.keys_fit(operation, got);
        }
        let unasked =
            (!got.keys.is_empty()).then(|| format!("shows keys of lease {} that nobody asked for", got.id));
        unasked.and_then(|what| self.complain(operation, what))
    }

    /// What is left, in whole seconds, is no less than what a renewal promised at the time of the answer.
    fn too_little(&self, operation: &Operation, got: &LeaseTimeToLiveResponse) -> Option<Violation> {
        if !self.alive_throughout(got.id, operation.invoked, operation.returned) {
            return None;
        }
        let (renewal, end) = self.book.promised_before(got.id, operation.invoked, operation.returned)?;
        let shown = operation.returned.plus_secs(got.ttl_secs.saturating_add(1));
        if shown >= end {
            return None;
        }
        let what = format!(
            "shows {} s left of lease {}, though {} promised it until {}",
            got.ttl_secs,
            got.id,
            renewal.operation,
            end.as_secs()
        );
        self.complain(operation, what).map(|violation| violation.operation(renewal.operation))
    }

    /// The keys must be the lease's at some revision while the question was under way.
    fn keys_fit(&self, operation: &Operation, got: &LeaseTimeToLiveResponse) -> Option<Violation> {
        let low = self.bounds.at_least(operation.invoked);
        let high = self.bounds.at_most(operation.returned);
        // Also where it is not certain what the keys were, they are such as somebody asked for.
        let asked = self.asked.get(&got.id);
        if let Some(key) = got.keys.iter().find(|key| asked.is_none_or(|asked| !asked.contains(*key))) {
            let what = format!("shows key {key} of lease {}, to which nobody attached it", got.id);
            return self.complain(operation, what);
        }
        if low > self.replayed.reached || self.is_guess(high.max(low)) {
            return None;
        }
        let states = self.keys.get(&got.id)?;
        let first = states.partition_point(|(revision, _)| *revision <= low).saturating_sub(1);
        let keys: BTreeSet<Bytes> = got.keys.iter().cloned().collect();
        let mut possible = states.iter().skip(first).take_while(|(revision, _)| *revision <= high.max(low));
        if possible.any(|(_, state)| *state == keys) {
            return None;
        }
        let what = format!(
            "shows {} keys of lease {}, a set it had at no revision from {low} to {high}",
            keys.len(),
            got.id
        );
        self.complain(operation, what).map(|violation| violation.at(low))
    }

    fn list(&self, operation: &Operation, listed: &[LeaseId]) -> Option<Violation> {
        if !self.options.lease_reads_linearizable {
            return None;
        }
        let listed: BTreeSet<LeaseId> = listed.iter().copied().collect();
        let missing = self.lives.iter().find(|(lease, from, until)| {
            *from < operation.invoked
                && *until > operation.returned
                && !listed.contains(lease)
                && self.alive_throughout(*lease, operation.invoked, operation.returned)
        });
        if let Some((lease, ..)) = missing {
            return self
                .complain(operation, format!("does not show lease {lease}, which was alive throughout"));
        }
        let never = listed.iter().find(|lease| {
            let asked = |story: &book::LeaseStory<'_>| {
                story.grants.iter().any(|grant| grant.invoked <= operation.returned)
            };
            !self.unknown_ids && !self.book.story(**lease).is_some_and(asked)
        });
        if let Some(lease) = never {
            return self.complain(operation, format!("shows lease {lease}, which nobody had asked for"));
        }
        listed.iter().find_map(|lease| self.undead(operation, *lease))
    }

    /// A key cannot hang on a lease that nobody had asked for.
    fn never_granted(&self, operation: &Operation) -> Option<Violation> {
        if !matches!(operation.request, Request::Put(_)) {
            return None;
        }
        let leases =
            puts_of(&operation.request).into_iter().filter(|put| !put.ignore_lease).map(|put| put.lease);
        let unknown = leases.filter(|lease| *lease != LeaseId::NONE).find(|lease| {
            let asked = |story: &book::LeaseStory<'_>| {
                story.grants.iter().any(|grant| grant.invoked <= operation.returned)
            };
            !self.book.story(*lease).is_some_and(asked)
        })?;
        self.complain(operation, format!("attached a key to lease {unknown}, which nobody had asked for"))
    }

    /// Leases that ought to be gone once healthy, and whose keys are still there.
    fn leftovers(&self) -> Vec<Violation> {
        // A lease that has keys when all is over lived at every rest before.
        let known = |settled: &&Settled| {
            self.replayed.complete
                && !self.is_guess(settled.revision)
                && self.replayed.reached >= settled.revision
        };
        let overdue = |lease: LeaseId, settled: &Settled| {
            let story = self.book.story(lease)?;
            let longest = story.grants.iter().chain(&story.renewals).map(|renewal| renewal.ttl_secs).max()?;
            let from = story.last_attempt.max(settled.healed);
            let due = from.plus(self.book.longest(longest)).plus(self.options.lease_gone_slack);
            (due < settled.at).then_some(due)
        };
        let mut violations = Vec::new();
        for lease in self.replayed.model.leases_with_keys() {
            let mut rests = self.history.settled.iter().filter(known);
            if let Some((settled, due)) = rests.find_map(|rest| Some((rest, overdue(lease, rest)?))) {
                let sentence = format!(
                    "lease {lease} still holds {} keys at {}, though it had to be gone by {}",
                    self.replayed.model.attached(lease).len(),
                    settled.at.as_secs(),
                    due.as_secs()
                );
                violations.push(Violation::liveness(Oracle::Lease, sentence).at(settled.revision));
            }
        }
        violations
    }
}
