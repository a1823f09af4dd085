//! Listens to what members' logs and machines are seen doing, and judges it in that moment.
//!
//! Raft's invariants and the equality of states are held against every observation, so that a run ends at the first
//! one that breaks them. What the log carries out is written down once, with the client operation that asked for it:
//! an operation's request id is learnt inside the very call that the client made ([`asking`]).
//!
//! Nothing here asks a member anything: observations are told from inside its locks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, MutexGuard, Once, PoisonError};

use quorate::env::{Observation, armed};
use quorate::types as product;
use quorate_check::equality::Equality;
use quorate_check::history::{AlarmChange, Logged};
use quorate_check::raft::{self, Invariants};
use quorate_check::types::{Digest, LeaseId, LogId, LogIndex, MemberId, OpId, Revision, Term};
use quorate_check::verdict::{Class, Violation};

use super::World;
use super::product::alarm_kind;
use crate::plan::fault::LogMoment;
use crate::report::Finding;

thread_local! {
    /// The operation whose call is being polled.
    static ASKING: Cell<Option<OpId>> = const { Cell::new(None) };
    /// The world whose simulation this thread runs.
    static WITNESS: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Makes a call to a member in the name of an operation.
pub async fn asking<T>(operation: OpId, call: impl Future<Output = T>) -> T {
    armed::named(Some(format!("{}.0", operation.0)), call).await
}

/// The operation that a call is named after: its number, and the attempt's behind a dot. What is done after it are the next
/// operations.
fn operation_of(name: &str) -> Option<OpId> {
    let (operation, attempt) = name.split_once('.')?;
    let after = match attempt.split_once(armed::AFTER) {
        Some((_, nth)) => 1 + nth.parse::<u64>().ok()?,
        None => 0,
    };
    operation.parse::<u64>().ok().map(|operation| OpId(operation + after))
}

/// What was heard so far.
#[derive(Default)]
pub(super) struct Heard {
    invariants: Invariants,
    equality: Equality,
    /// Requests that carry a client's operation.
    requests: BTreeMap<product::RequestId, OpId>,
    /// Entries up to here are written down.
    written: Option<LogIndex>,
    /// How many commands of the entry behind that are.
    commands: u32,
}

impl World {
    /// Listens to the members of this world from now on, and no longer to those of another on this thread.
    pub fn start_witness(&self) {
        WITNESS.with(|witness| witness.replace(Some(self.clone())));
        // One process may run simulations one after the other, and beside each other on threads of their own.
        static ARMED: Once = Once::new();
        ARMED.call_once(|| {
            let listener = armed::arm_listener(Box::new(|member, seen| {
                let world = WITNESS.with(|witness| witness.borrow().clone());
                if let Some(world) = world {
                    world.hear(member, seen);
                }
            }));
            let named = armed::arm_calls(Box::new(|name| ASKING.set(name.and_then(operation_of))));
            assert!(listener && named, "nobody else listens to members");
        });
    }

    /// Listens no longer, unless it is to another world by now.
    pub fn stop_witness(&self) {
        WITNESS.with(|witness| {
            witness.borrow_mut().take_if(|world| Arc::ptr_eq(&world.inner, &self.inner));
        });
    }

    fn hear(&self, member: product::MemberId, seen: Observation) {
        if matches!(seen, Observation::Truncated { .. })
            && let Some(index) = self.members().find(|index| self.seat(*index).id().0 == member.0)
        {
            self.came_to(index, LogMoment::Cut);
        }
        if let Observation::Replaced { member, by, .. } = seen {
            self.was_replaced(MemberId(member.0), MemberId(by.0));
        }
        if let Observation::Rebuilding { why } = &seen {
            self.rebuilds(member, why);
        }
        if let (Observation::MadeLease { lease }, Some(call)) = (&seen, ASKING.get()) {
            self.record().made_lease(call, LeaseId(lease.0));
        }
        let violations = self.heard().hear(MemberId(member.0), seen, |logged| self.record().logged(logged));
        for violation in violations {
            self.record().finding(self.now(), Finding::from(&violation));
        }
    }

    /// What a member has made durable is there after every crash: only damage may cost it its state engine.
    fn rebuilds(&self, member: product::MemberId, why: &str) {
        let seat = self.members().find(|index| self.seat(*index).id().0 == member.0);
        let Some(index) = seat.filter(|index| !self.was_ever_damaged(*index)) else { return };
        let sentence =
            format!("{index} builds its state engine anew, and nothing ever damaged its disk: {why}");
        self.finding(Class::Safety, "member", sentence);
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.inner.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, member: MemberId, seen: Observation, write: impl FnOnce(Logged)) -> Vec<Violation> {
        let translated = match seen {
            Observation::Recovered { purged, vote, entries } => raft::Observation::Recovered {
                purged: purged.map(log_id),
                vote: vote.map(ballot),
                entries: entries.into_iter().map(|(entry, digest)| (log_id(entry), Digest(digest))).collect(),
            },
            Observation::Rebuilding { .. } | Observation::MadeLease { .. } => return Vec::new(),
            Observation::Loaded { applied, hash } => {
                let applied = applied.map(log_id);
                return self.state(member, raft::Observation::Loaded { applied }, applied, hash);
            }
            Observation::Installed { upto, hash } => {
                let upto = upto.map(log_id);
                return self.state(member, raft::Observation::Installed { upto }, upto, hash);
            }
            Observation::Appended { entry, digest } => {
                raft::Observation::Appended { entry: log_id(entry), digest: Digest(digest) }
            }
            Observation::Applied { entry, digest } => {
                raft::Observation::Applied { entry: log_id(entry), digest: Digest(digest) }
            }
            Observation::Configured { entry, voters } => raft::Observation::Configured {
                entry: log_id(entry),
                voters: voters
                    .into_iter()
                    .map(|set| set.into_iter().map(|voter| MemberId(voter.0)).collect())
                    .collect(),
            },
            Observation::Replaced { entry, member, by, to_vote } => raft::Observation::Replaced {
                entry: log_id(entry),
                gone: MemberId(member.0),
                by: MemberId(by.0),
                to_vote: to_vote.into_iter().map(|member| MemberId(member.0)).collect(),
            },
            Observation::Durable { upto } => raft::Observation::Durable { upto: log_id(upto) },
            Observation::Acknowledged { upto } => raft::Observation::Acknowledged { upto: log_id(upto) },
            Observation::Truncated { after } => raft::Observation::Truncated { after: after.map(log_id) },
            Observation::Contradicted { after } => {
                raft::Observation::Contradicted { after: after.map(log_id) }
            }
            Observation::Purged { upto } => raft::Observation::Purged { upto: log_id(upto) },
            Observation::Voted(vote) => raft::Observation::Voted(ballot(vote)),
            Observation::Committed { upto } => raft::Observation::Committed { upto: log_id(upto) },
            Observation::State { entry, hash } => {
                let at = log_id(entry);
                if self.written < Some(at.index) {
                    self.written = Some(at.index);
                    self.commands = 0;
                }
                return self.equality.note(member, at, hash).into_iter().collect();
            }
            Observation::Proposed { id } => {
                self.requests.extend(ASKING.get().map(|operation| (id, operation)));
                return Vec::new();
            }
            Observation::Ran { entry, id, revision, expired, alarm, refused, denied } => {
                let entry = log_id(entry);
                if self.written < Some(entry.index) {
                    write(Logged {
                        entry,
                        place: self.commands,
                        operation: self.requests.get(&id).copied(),
                        revision: Revision(revision.0),
                        expired: expired.into_iter().map(|lease| LeaseId(lease.0)).collect(),
                        alarm: alarm.map(|(raise, kind, member)| AlarmChange {
                            raise,
                            kind: alarm_kind(kind),
                            member: MemberId(member.0),
                        }),
                        refused,
                        denied,
                    });
                    self.commands += 1;
                }
                return Vec::new();
            }
        };
        self.invariants.note(member, &translated)
    }

    /// A whole state came from a disk or from a snapshot.
    fn state(
        &mut self,
        member: MemberId,
        seen: raft::Observation,
        at: Option<LogId>,
        hash: u128,
    ) -> Vec<Violation> {
        let mut violations = self.invariants.note(member, &seen);
        violations.extend(at.and_then(|at| self.equality.note(member, at, hash)));
        violations
    }
}

fn log_id(id: product::LogId) -> LogId {
    LogId { term: Term(id.term.0), index: LogIndex(id.index.0) }
}

fn ballot(vote: quorate::env::Ballot) -> raft::Ballot {
    raft::Ballot { term: Term(vote.term.0), candidate: MemberId(vote.candidate.0), won: vote.won }
}
