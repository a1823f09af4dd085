//! What observers of an election were told.
//!
//! - Whoever is shown leads at the revision that is named, with what it proclaims there; never one that led earlier after one
//!   that led later. Whoever asked who leads now, or began to observe, hears of no revision older than what was
//!   acknowledged before.
//! - One stream tells nothing twice: leaders come by their create revisions, what each proclaims by its mod revisions. Leaders
//!   may be passed over.
//! - That nobody leads is told only where nobody did at some revision that the answer could know.

use super::{Judge, broken};
use crate::history::{LeaderSeen, NobodySeen, Observer};
use crate::revision_order::Cause;
use crate::types::{Nanos, Revision};
use crate::verdict::Violation;

impl Judge<'_, '_> {
    /// The first sight of a leader that is out of order, or was none.
    pub(super) fn observer(&self, observer: &Observer) -> Option<Violation> {
        let mut before: Option<&LeaderSeen> = None;
        observer.seen.iter().find_map(|seen| {
            let wrong =
                before.and_then(|before| out_of_order(before, seen)).or_else(|| self.wrong(observer, seen));
            before = Some(seen);
            wrong.map(|what| {
                let LeaderSeen { revision, key, .. } = seen;
                broken(format!("{} saw {key} lead at revision {revision}, {what}", observer.client))
                    .at(*revision)
            })
        })
    }

    /// What is wrong about one sight, by itself.
    fn wrong(&self, observer: &Observer, seen: &LeaderSeen) -> Option<String> {
        let tenures = self.tenures.get(&observer.prefix)?;
        if seen.revision >= self.unsure {
            return None;
        }
        if let Some(missed) = seen.asked.and_then(|asked| self.acknowledged_before(asked, seen.revision)) {
            return Some(format!("though revision {missed} had been acknowledged before it asked"));
        }
        let Some(holder) = tenures.holder(seen.revision) else {
            return Some("where nobody leads".to_owned());
        };
        if holder.key != seen.key || holder.created != seen.created {
            return Some(format!("while {} led, created at {}", holder.key, holder.created));
        }
        let said = self.replayed.model.pair_at(&holder.key, seen.revision).unwrap_or_default();
        if said.value != seen.value {
            return Some(format!("proclaiming {} instead of {}", seen.value, said.value));
        }
        (said.mod_revision != seen.modified)
            .then(|| format!("proclaiming that since {} instead of {}", seen.modified, said.mod_revision))
    }

    /// The first answer that nobody leads, where somebody did all the time.
    pub(super) fn nobody(&self, observer: &Observer) -> Option<Violation> {
        let tenures = self.tenures.get(&observer.prefix)?;
        observer.nobody.iter().find_map(|NobodySeen { asked, at }| {
            let (least, end) = (self.bounds.at_least(*asked), self.bounds.at_most(*at).next());
            // What is not known for sure may have been otherwise, and nobody may have led there.
            let always = end <= self.unsure && tenures.always_held(least, end);
            let holder = tenures.holder(least).filter(|_| always)?;
            let what = format!(
                "{} was told that nobody leads, while {} did from revision {least} on, acknowledged before it asked",
                observer.client, holder.key
            );
            Some(broken(what).at(least))
        })
    }

    /// The newest revision above this one that was acknowledged before a moment.
    fn acknowledged_before(&self, moment: Nanos, above: Revision) -> Option<Revision> {
        let later = self.replayed.causes.range(above.next()..self.unsure);
        later.rev().find_map(|(revision, cause)| match cause {
            Cause::Answered(operation) if operation.returned < moment => Some(*revision),
            _ => None,
        })
    }
}

/// Why one sight cannot come after another.
fn out_of_order(before: &LeaderSeen, seen: &LeaderSeen) -> Option<String> {
    let LeaderSeen { revision, created, modified, stream, .. } = before;
    if seen.revision < *revision || seen.created < *created {
        return Some(format!("after one created at {created} had led at revision {revision}"));
    }
    let again =
        seen.stream > 0 && seen.stream == *stream && (seen.created, seen.modified) <= (*created, *modified);
    again.then(|| {
        format!("once more: its stream had told of what was created at {created} and written at {modified}")
    })
}
