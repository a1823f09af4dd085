//! What the clients' own lease calls say about each lease: when it was made, kept alive, ended.
//!
//! Times are judged by possible intervals: a call took effect at some moment between its sending and its answer.

use crate::history::{History, Operation, Request, Response};
use crate::options::Options;
use crate::types::{LeaseId, Nanos, OpId};
use std::collections::{BTreeMap, BTreeSet};

/// An acknowledged moment from which a lease had its whole time to live.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    /// The grant or keep-alive.
    pub operation: OpId,
    /// When it was asked: the renewal happened no earlier.
    pub invoked: Nanos,
    /// When it was answered: the renewal happened no later. `NEVER` if no answer came.
    pub returned: Nanos,
    /// The time to live, in seconds.
    pub ttl_secs: i64,
}

/// All that is known of one lease.
#[derive(Clone, Debug, Default)]
pub struct LeaseStory<'h> {
    /// Grants of this id that were answered, or may have been applied.
    pub grants: Vec<Renewal>,
    /// Keep-alives that were answered with a time to live.
    pub renewals: Vec<Renewal>,
    /// The last moment at which some keep-alive, of whatever fate, may still have been under way.
    pub last_attempt: Nanos,
    /// Revokes that were answered, or may have been applied.
    pub revokes: Vec<&'h Operation>,
}

/// All leases that the history names.
#[derive(Clone, Debug, Default)]
pub struct LeaseBook<'h> {
    stories: BTreeMap<LeaseId, LeaseStory<'h>>,
    clock_rate_error_ppm: u64,
    clock_jumps: Vec<Nanos>,
}

impl<'h> LeaseBook<'h> {
    /// Collects every lease call of the history.
    pub fn new(history: &'h History, options: &Options) -> LeaseBook<'h> {
        let mut book = LeaseBook {
            stories: BTreeMap::new(),
            clock_rate_error_ppm: options.clock_rate_error_ppm,
            clock_jumps: options.clock_jumps.clone(),
        };
        book.clock_jumps.sort_unstable();
        for operation in history.operations.iter().filter(|operation| operation.may_have_applied()) {
            book.note(operation);
        }
        book
    }

    fn note(&mut self, operation: &'h Operation) {
        let answer = operation.answer().map(|(_, response)| response);
        let returned = if answer.is_some() { operation.returned } else { Nanos::NEVER };
        let renewal =
            |ttl_secs| Renewal { operation: operation.id, invoked: operation.invoked, returned, ttl_secs };
        match (&operation.request, answer) {
            (Request::LeaseGrant(_), Some(Response::LeaseGrant(got))) => {
                let story = self.stories.entry(got.id).or_default();
                story.grants.push(renewal(got.ttl_secs));
                story.last_attempt = story.last_attempt.max(operation.returned);
            }
            (Request::LeaseGrant(grant), None) if grant.id != LeaseId::NONE => {
                let story = self.stories.entry(grant.id).or_default();
                story.grants.push(renewal(grant.ttl_secs));
                story.last_attempt = story.last_attempt.max(operation.returned);
            }
            (Request::LeaseKeepAlive(keep), answer) => {
                let story = self.stories.entry(keep.id).or_default();
                story.last_attempt = story.last_attempt.max(operation.returned);
                if let Some(Response::LeaseKeepAlive(got)) = answer
                    && got.ttl_secs > 0
                {
                    story.renewals.push(renewal(got.ttl_secs));
                }
            }
            (Request::LeaseRevoke(revoke), _) => {
                self.stories.entry(revoke.id).or_default().revokes.push(operation);
            }
            _ => {}
        }
    }

    /// What is known of one lease.
    pub fn story(&self, lease: LeaseId) -> Option<&LeaseStory<'h>> {
        self.stories.get(&lease)
    }

    /// Every lease with its story.
    pub fn stories(&self) -> impl Iterator<Item = (LeaseId, &LeaseStory<'h>)> {
        self.stories.iter().map(|(lease, story)| (*lease, story))
    }

    /// The leases whose id may have been granted more than once.
    pub fn regranted(&self) -> BTreeSet<LeaseId> {
        self.stories().filter(|(_, story)| story.grants.len() > 1).map(|(lease, _)| lease).collect()
    }

    /// How many leases there may be.
    pub fn len(&self) -> usize {
        self.stories.len()
    }

    /// Whether no lease is named at all.
    pub fn is_empty(&self) -> bool {
        self.stories.is_empty()
    }

    /// The renewal that forbids the lease to have expired before `seen_at`, with the first moment it allows.
    pub fn forbids_expiry(&self, lease: LeaseId, seen_at: Nanos) -> Option<(Renewal, Nanos)> {
        let story = self.stories.get(&lease)?;
        if story.grants.len() > 1 {
            return None;
        }
        (story.grants.iter().chain(&story.renewals))
            .map(|renewal| (*renewal, self.earliest_end(renewal)))
            .filter(|(renewal, end)| *end > seen_at && !self.jumped(renewal.invoked, seen_at))
            .max_by_key(|(_, end)| *end)
    }

    /// The longest promise that was acknowledged before something was asked, for what was answered at `seen_at`.
    pub fn promised_before(&self, lease: LeaseId, asked: Nanos, seen_at: Nanos) -> Option<(Renewal, Nanos)> {
        let story = self.stories.get(&lease)?;
        let known = story.grants.iter().chain(&story.renewals).filter(|renewal| renewal.returned < asked);
        known
            .filter(|renewal| !self.jumped(renewal.invoked, seen_at))
            .map(|renewal| (*renewal, self.earliest_end(renewal)))
            .max_by_key(|(_, end)| *end)
    }

    /// The widest span in which a lease may have been surely alive: from the answer to its only grant to the first
    /// revoke or the last promise.
    pub fn possible_life(&self, story: &LeaseStory<'_>) -> Option<(Nanos, Nanos)> {
        let [grant] = story.grants.as_slice() else { return None };
        let promised =
            story.renewals.iter().chain([grant]).map(|renewal| self.earliest_end(renewal)).max()?;
        let revoked = story.revokes.iter().map(|revoke| revoke.invoked).min();
        Some((grant.returned, revoked.map_or(promised, |revoked| revoked.min(promised))))
    }

    /// The first moment at which this renewal lets the lease expire, the fastest allowed clock considered.
    fn earliest_end(&self, renewal: &Renewal) -> Nanos {
        let span = Nanos(0).plus_secs(renewal.ttl_secs).0;
        let shrink = span / 1_000_000 * self.clock_rate_error_ppm;
        renewal.invoked.plus(Nanos(span.saturating_sub(shrink)))
    }

    /// How long a time to live may take on the slowest allowed clock.
    pub fn longest(&self, ttl_secs: i64) -> Nanos {
        let span = Nanos(0).plus_secs(ttl_secs).0;
        Nanos(span.saturating_add(span / 1_000_000 * self.clock_rate_error_ppm))
    }

    fn jumped(&self, from: Nanos, to: Nanos) -> bool {
        let first = self.clock_jumps.partition_point(|jump| *jump < from);
        self.clock_jumps.get(first).is_some_and(|jump| *jump <= to)
    }
}
