//! The lock and election oracle (see [`Contender`](crate::history::Contender)).
//!
//! Who holds is a fact of the key space: of the live keys below a lock's prefix the one created first. The replay
//! gives that fact for every revision (`tenure`), so at most one holds at a revision by construction, and what is
//! judged is what clients were told:
//! - a contender is granted at a revision at which its own key is the first (so after its predecessor's delete), and
//!   in real time not before the delete that let it in was sent;
//! - a guarded transaction that succeeds does so while its contender holds, and fences only grow with revisions;
//! - who was told that it has let go holds no longer at the revision of that answer.
//!
//! What observers of an election were told is judged in `observer`.
//!
//! That guarded transactions are linearizable is judged with all others in revision order; here only that they were
//! asked for in a way that can be. What the replay did not reach, or could only guess, is not judged. Whether the client
//! stood in line by itself or had a member do so makes no difference.

mod observer;
mod tenure;

use crate::bytes::Bytes;
use crate::history::{CompareResult, CompareTarget, Contender, History, Operation, Request, Response};
use crate::lives::Bounds;
use crate::options::Options;
use crate::revision_order::{Cause, Replayed};
use crate::types::{Nanos, OpId, Revision};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;
use tenure::Tenures;

struct Judge<'a, 'h> {
    replayed: &'a Replayed<'h>,
    operations: BTreeMap<OpId, &'h Operation>,
    tenures: BTreeMap<&'h Bytes, Tenures>,
    bounds: Bounds,
    /// The first revision that is not known for sure.
    unsure: Revision,
}

/// Judges every contender and every observer.
pub fn check<'h>(history: &'h History, replayed: &Replayed<'h>, options: &Options) -> Vec<Violation> {
    if history.contenders.is_empty() && history.observers.is_empty() {
        return Vec::new();
    }
    let mut tenures: BTreeMap<&Bytes, Tenures> = BTreeMap::new();
    let prefixes = history.contenders.iter().map(|contender| &contender.prefix);
    for prefix in prefixes.chain(history.observers.iter().map(|observer| &observer.prefix)) {
        tenures.entry(prefix).or_insert_with(|| Tenures::new(prefix, replayed));
    }
    let unsure = replayed.ambiguous_from.unwrap_or(replayed.reached.next()).min(replayed.reached.next());
    let operations = history.operations.iter().map(|operation| (operation.id, operation)).collect();
    let bounds = Bounds::new(history, replayed);
    let judge = Judge { replayed, operations, tenures, bounds, unsure };
    let mut violations: Vec<Violation> =
        history.contenders.iter().filter_map(|contender| judge.contender(contender)).collect();
    violations.extend(judge.fences(history));
    violations.extend(history.observers.iter().filter_map(|observer| judge.observer(observer)));
    violations.extend(history.observers.iter().filter_map(|observer| judge.nobody(observer)));
    violations.truncate(options.violations_max);
    violations
}

impl Judge<'_, '_> {
    fn contender(&self, contender: &Contender) -> Option<Violation> {
        let Contender { client, key, created, .. } = contender;
        let Some(granted) = contender.granted else {
            let sent = contender.guarded.first()?;
            let what = format!("{key} of {client} was never granted, and yet {sent} was sent under it");
            return Some(Violation::harness(what).operation(*sent));
        };
        if granted.revision >= self.unsure {
            return None;
        }
        let broken = |what: String| {
            Some(broken(format!("{key} of {client}, created at {created}, {what}")).at(granted.revision))
        };
        if granted.revision < *created {
            return broken(format!("was granted at revision {}, before it stood there", granted.revision));
        }
        let tenures = self.tenures.get(&contender.prefix)?;
        match tenures.holder(granted.revision) {
            Some(holder) if holder.key == *key && (holder.created == *created || created.0 == 0) => {}
            Some(holder) => {
                return broken(format!(
                    "was granted at revision {}, while {} held, created at {}",
                    granted.revision, holder.key, holder.created
                ));
            }
            None => {
                return broken(format!("was granted at revision {}, where nobody holds", granted.revision));
            }
        }
        let since = tenures.since(granted.revision);
        if let Some(sent) = self.sent(since).filter(|sent| *sent > granted.at) {
            return broken(format!(
                "was granted at {}, but what let it in, revision {since}, was sent only at {}",
                granted.at.as_secs(),
                sent.as_secs()
            ));
        }
        let guarded = contender.guarded.iter().find_map(|id| self.guarded(contender, granted.at, *id));
        guarded.or_else(|| self.released(contender, tenures))
    }

    /// Who was told that it has let go, and still held.
    fn released(&self, contender: &Contender, tenures: &Tenures) -> Option<Violation> {
        let Contender { client, key, created, .. } = contender;
        let revision = contender.released?.revision;
        let holder = tenures.holder(revision).filter(|_| revision < self.unsure)?;
        (holder.key == *key && holder.created == *created).then(|| {
            let what =
                format!("{client} was told at revision {revision} that {key} is let go, which still held");
            broken(what).at(revision)
        })
    }

    /// When the operation that made a revision was sent.
    fn sent(&self, revision: Revision) -> Option<Nanos> {
        match self.replayed.causes.get(&revision)? {
            Cause::Answered(operation) | Cause::Unknown(operation) => Some(operation.invoked),
            _ => None,
        }
    }

    fn guarded(&self, contender: &Contender, granted: Nanos, id: OpId) -> Option<Violation> {
        let Some(operation) = self.operations.get(&id) else {
            return Some(Violation::harness(format!("guarded operation {id} is not recorded")));
        };
        if !compares_fence(&operation.request, contender) || operation.invoked < granted {
            let sentence =
                format!("operation {id} is no transaction guarded by {} since its grant", contender.key);
            return Some(Violation::harness(sentence).operation(id));
        }
        let revision = success(operation).filter(|revision| *revision < self.unsure)?;
        // Its compares looked at the state before the revision that it made.
        let before = self.tenures.get(&contender.prefix)?.holder(revision.previous());
        let own =
            before.is_some_and(|holder| holder.key == contender.key && holder.created == contender.created);
        (!own).then(|| {
            let holder = before.map_or("nobody".to_owned(), |holder| holder.key.to_string());
            broken(format!(
                "guarded transaction {id} of {} succeeded at revision {revision}, while {holder} held",
                contender.key
            ))
            .operation(id)
            .at(revision)
        })
    }

    /// Successful guarded transactions of one lock, by revision: their fences never fall.
    fn fences(&self, history: &History) -> Option<Violation> {
        let mut done: BTreeMap<(&Bytes, Revision, OpId), Revision> = BTreeMap::new();
        for contender in &history.contenders {
            for operation in contender.guarded.iter().filter_map(|id| self.operations.get(id)) {
                if let Some(revision) = success(operation) {
                    done.insert((&contender.prefix, revision, operation.id), contender.created);
                }
            }
        }
        let pairs = done.iter().zip(done.iter().skip(1));
        pairs.into_iter().find_map(|(((prefix, _, first), fence), ((same, revision, second), next))| {
            (prefix == same && next < fence).then(|| {
                broken(format!(
                    "{second} was let through at revision {revision} under fence {next}, after {first} under fence {fence}"
                ))
                .operation(*first)
                .operation(*second)
                .at(*revision)
            })
        })
    }
}

/// The revision of a guarded transaction whose compares held; of a read-only one, the revision it saw.
fn success(operation: &Operation) -> Option<Revision> {
    match operation.answer()? {
        (header, Response::Txn(got)) if got.succeeded => {
            let changed = got.responses.iter().any(|inner| inner.response.tells_change() == Some(true));
            Some(if changed { header.revision } else { header.revision.next() })
        }
        _ => None,
    }
}

fn compares_fence(request: &Request, contender: &Contender) -> bool {
    let Request::Txn(txn) = request else { return false };
    request.is_linearizable()
        && txn.compare.iter().any(|compare| {
            compare.key == contender.key
                && compare.range_end.is_empty()
                && compare.result == CompareResult::Equal
                && compare.target == CompareTarget::Create(contender.created)
        })
}

fn broken(sentence: String) -> Violation {
    Violation::safety(Oracle::Lock, sentence)
}
