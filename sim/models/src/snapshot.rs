//! Snapshot install equals log replay: any prefix, a snapshot, and the rest give the same state, hash and answers.
//!
//! # Modelled
//! One member replays a log; at any point its snapshot (real stream format, frames of one pair or of three, cut into
//! odd pieces) makes a second member through the real loader; both apply the rest. History may be swept on the first
//! before the snapshot is taken, and on either afterwards.
//!
//! # Abstracted
//! Engines: a store is a map. The log is any word over ten commands that touch every bucket: keys, leases with
//! attached keys, checkpoints, alarms, members, compaction, a transaction, and a repetition of the last request.
//!
//! # Bounds
//! [`LOG_MAX`] entries, one snapshot, a sweep on each member after each compaction.
//!
//! # Properties
//! Always: the snapshot loads; state hash, every answer from then on, leases, members, alarms, and the key space at
//! every readable revision are equal; once both have swept, so are the stores, byte for byte.
//! Sometimes: a snapshot carries a lease with a key; it is taken of swept history; a repetition comes after it.

use bytes::Bytes;
use quorate::machine::command::{
    AlarmKind, Batch, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, Member, Put, Txn,
    TxnOp,
};
use quorate::machine::effects::Effects;
use quorate::machine::persist::Bucket;
use quorate::types::{KeyRange, LeaseId, MemberId, Revision, TtlSecs};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, batch};
use crate::search::Checked;

/// Entries in all.
const LOG_MAX: u64 = 4;

const LEASE: LeaseId = LeaseId(7);

/// The model.
#[derive(Clone, Debug)]
pub struct SnapshotModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotState {
    replayed: Replica,
    installed: Option<Replica>,
    /// The last entry, which may be repeated.
    last: Option<Entry>,
    /// What the two said differently, or why the snapshot did not load.
    differs: Option<String>,
    carried_lease: bool,
    of_swept: bool,
    repeated_after: bool,
}

/// An entry: what it asks, under which sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    ask: Ask,
    sequence: u64,
}

/// What an entry asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Put `a`.
    Put,
    /// Put `b`, attached to the lease.
    PutLeased,
    /// Delete `a`.
    Delete,
    /// Grant the lease.
    Grant,
    /// Revoke the lease.
    Revoke,
    /// Checkpoint the lease.
    Checkpoint,
    /// Compact at the newest revision.
    Compact,
    /// Put `b` if `a` exists, else put both.
    Txn,
    /// Raise an alarm.
    Alarm,
    /// The first member list.
    Members,
}

const ASKS: [Ask; 10] = [
    Ask::Put,
    Ask::PutLeased,
    Ask::Delete,
    Ask::Grant,
    Ask::Revoke,
    Ask::Checkpoint,
    Ask::Compact,
    Ask::Txn,
    Ask::Alarm,
    Ask::Members,
];

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotAction {
    /// The next entry.
    Apply(Ask),
    /// The last entry once more, as a retry brings it.
    Repeat,
    /// A snapshot of so many pairs a frame makes the second member.
    Install(usize),
    /// The first member sweeps.
    SweepReplayed,
    /// The second member sweeps.
    SweepInstalled,
}

fn put(key: &'static str, lease: LeaseId) -> Put {
    Put { key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(b"v"), lease, ..Put::default() }
}

fn command(ask: Ask, revision: Revision) -> Command {
    match ask {
        Ask::Put => Command::Put(put("a", LeaseId::NONE)),
        Ask::PutLeased => Command::Put(put("b", LEASE)),
        Ask::Delete => Command::DeleteRange(DeleteRange { range: KeyRange::single("a"), prev_kv: true }),
        Ask::Grant => Command::LeaseGrant { id: LEASE, ttl: TtlSecs(60) },
        Ask::Revoke => Command::LeaseRevoke { id: LEASE },
        Ask::Checkpoint => Command::LeaseCheckpoint { remaining: vec![(LEASE, TtlSecs(9))] },
        Ask::Compact => Command::Compact(Compact { revision }),
        Ask::Txn => Command::Txn(Txn {
            compares: vec![Compare {
                range: KeyRange::single("a"),
                result: CompareResult::Greater,
                target: CompareTarget::Version(0),
            }],
            success: vec![TxnOp::Put(put("b", LeaseId::NONE))],
            failure: vec![TxnOp::Put(put("a", LeaseId::NONE)), TxnOp::Put(put("b", LeaseId::NONE))],
        }),
        Ask::Alarm => Command::Alarm { raise: true, member: MemberId(3), kind: AlarmKind::NoSpace },
        Ask::Members => Command::Bootstrap { members: vec![Member { id: MemberId(3), ..Member::default() }] },
    }
}

impl SnapshotState {
    fn apply(&mut self, entry: Entry) {
        // The revision of a compaction is what the log says: that of the member that replays.
        let command = command(entry.ask, self.replayed.state().revision());
        let request: Batch = batch(1, 1, entry.sequence, entry.sequence, command);
        let replayed: Effects = self.replayed.apply(&request);
        if let Some(installed) = &mut self.installed {
            let said = installed.apply(&request);
            if said != replayed {
                self.differs = Some(format!("{said:?} and not {replayed:?}"));
            }
        }
        self.last = Some(entry);
    }
}

/// Whether two members at the same entry cannot be told apart.
fn agree(one: &Replica, other: &Replica) -> bool {
    let (a, b) = (one.state(), other.state());
    let readable = a.compacted().0.max(1)..=a.revision().0;
    one.applied() == other.applied()
        && a.hash() == b.hash()
        && (a.revision(), a.compacted()) == (b.revision(), b.compacted())
        && a.leases() == b.leases()
        && a.members() == b.members()
        && a.alarms() == b.alarms()
        && a.dedupe() == b.dedupe()
        && a.logical_size() == b.logical_size()
        && readable.map(Revision).all(|revision| one.all(revision) == other.all(revision))
        && (!(one.is_swept() && other.is_swept()) || one.same_store(other))
}

impl Model for SnapshotModel {
    type State = SnapshotState;
    type Action = SnapshotAction;

    fn init_states(&self) -> Vec<SnapshotState> {
        vec![SnapshotState {
            replayed: Replica::default(),
            installed: None,
            last: None,
            differs: None,
            carried_lease: false,
            of_swept: false,
            repeated_after: false,
        }]
    }

    fn actions(&self, state: &SnapshotState, actions: &mut Vec<SnapshotAction>) {
        if state.differs.is_some() {
            return;
        }
        if state.replayed.applied() < LOG_MAX {
            actions.extend(ASKS.map(SnapshotAction::Apply));
            if state.last.is_some() {
                actions.push(SnapshotAction::Repeat);
            }
        }
        if state.installed.is_none() && state.replayed.applied() > 0 {
            actions.extend([1, 3].map(SnapshotAction::Install));
        }
        if !state.replayed.is_swept() {
            actions.push(SnapshotAction::SweepReplayed);
        }
        if state.installed.as_ref().is_some_and(|installed| !installed.is_swept()) {
            actions.push(SnapshotAction::SweepInstalled);
        }
    }

    fn next_state(&self, last: &SnapshotState, action: SnapshotAction) -> Option<SnapshotState> {
        let mut state = last.clone();
        match action {
            SnapshotAction::Apply(ask) => {
                state.apply(Entry { ask, sequence: state.last.map_or(1, |entry| entry.sequence + 1) });
            }
            SnapshotAction::Repeat => {
                state.repeated_after |= state.installed.is_some();
                state.apply(state.last?);
            }
            SnapshotAction::Install(chunk) => {
                let left_out = (self.planted == Planted::SnapshotWithoutLeases).then_some(Bucket::Leases);
                let mut stream = state.replayed.snapshot(chunk, left_out);
                if self.planted == Planted::SnapshotCutShort {
                    stream.pop();
                }
                match Replica::install(&stream) {
                    Ok(mut installed) => {
                        if self.planted == Planted::EntryAppliedAgain
                            && let Some(entry) = state.last
                        {
                            let command = command(entry.ask, state.replayed.state().revision());
                            installed.apply(&batch(1, 1, entry.sequence, entry.sequence, command));
                        }
                        state.installed = Some(installed);
                    }
                    Err(why) => state.differs = Some(why),
                }
                let leases = state.replayed.state().leases();
                state.carried_lease |= leases.iter().any(|(_, lease)| lease.keys().len() > 0);
                state.of_swept |=
                    state.replayed.is_swept() && state.replayed.state().compacted() > Revision(0);
            }
            SnapshotAction::SweepReplayed => state.replayed.sweep(),
            SnapshotAction::SweepInstalled => state.installed.as_mut()?.sweep(),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<SnapshotModel>> {
        vec![
            Property::always("a snapshot loads, and answers are the same", |_, state: &SnapshotState| {
                state.differs.is_none()
            }),
            Property::always("the members cannot be told apart", |_, state: &SnapshotState| {
                state.installed.as_ref().is_none_or(|installed| agree(&state.replayed, installed))
            }),
            Property::sometimes("a snapshot carries a lease with a key", |_, state: &SnapshotState| {
                state.carried_lease
            }),
            Property::sometimes("a snapshot of swept history", |_, state: &SnapshotState| state.of_swept),
            Property::sometimes("a repetition after the snapshot", |_, state: &SnapshotState| {
                state.repeated_after
            }),
        ]
    }
}

impl Checked for SnapshotModel {
    const NAME: &'static str = "snapshot";
    const ABOUT: &'static str = "snapshot install equals log replay: same state, hash and answers";
    const PLANTED: &'static [Planted] =
        &[Planted::SnapshotWithoutLeases, Planted::EntryAppliedAgain, Planted::SnapshotCutShort];

    fn new(planted: Planted) -> SnapshotModel {
        SnapshotModel { planted }
    }
}
