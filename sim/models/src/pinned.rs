//! Compaction against pinned reads: a long read at one revision sees that revision, whatever is compacted meanwhile.
//!
//! # Modelled
//! A reader walks all keys at the revision at which it began, one key a step, and lets go of the state in between;
//! with a pin, or without. Meanwhile keys are put and deleted, history is compacted, and the real sweep goes on in
//! steps of one key. The values are read from the records at the end.
//!
//! # Abstracted
//! The pins of a member are one pin. Who holds one holds it to the end of the read.
//!
//! # Bounds
//! [`CHANGES`] changes to two keys, two compactions, one read.
//!
//! # Properties
//! Always: a read that ends has seen exactly its revision; a pinned read is never refused; when nothing is left to do,
//! all that is compacted is swept. Sometimes: history below a pinned read is compacted and swept while it runs; an
//! unpinned read is refused; an unpinned one ends all the same.

use bytes::Bytes;
use quorate::machine::command::{Command, Compact, DeleteRange, KeyValue, Put};
use quorate::machine::mvcc::range::{Found, read};
use quorate::types::{KeyRange, RevPair, Revision};
use stateright::{Model, Property};

use crate::planted::Planted;
use crate::replica::{Replica, everything};
use crate::search::{Checked, is_terminal};

/// Changes to keys in all.
const CHANGES: u8 = 3;
/// Compactions in all.
const COMPACTIONS: u8 = 2;

const KEYS: [&str; 2] = ["a", "b"];

/// The model.
#[derive(Clone, Debug)]
pub struct PinnedModel {
    planted: Planted,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PinnedState {
    machine: Replica,
    reader: Reader,
    changes: u8,
    compactions: u8,
    /// The present compaction is swept as far as pins allow.
    swept: bool,
    swept_under_pin: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Idle,
    Reading(Reading),
    /// Whether it was pinned, and whether what it saw is what was there.
    Ended {
        pinned: bool,
        right: bool,
    },
    Refused {
        pinned: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reading {
    pinned: bool,
    revision: Revision,
    /// What the key space was when it began.
    truth: Vec<KeyValue>,
    resume: Option<Bytes>,
    /// Key, place, creation, version.
    found: Vec<(Bytes, RevPair, Revision, i64)>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedAction {
    /// A key is put.
    Put(&'static str),
    /// A key is deleted.
    Delete(&'static str),
    /// History is compacted at the newest revision.
    Compact,
    /// The sweep goes on by a key.
    Sweep,
    /// A read begins, with a pin or without.
    Begin(bool),
    /// It walks on by a key; at the end it reads the values.
    Walk,
}

impl PinnedState {
    /// The sweep must be told of this revision.
    fn pin(&self) -> Option<Revision> {
        match &self.reader {
            Reader::Reading(reading) if reading.pinned => Some(reading.revision),
            _ => None,
        }
    }

    fn walk(&mut self, planted: Planted) -> Option<()> {
        let Reader::Reading(reading) = &mut self.reader else { return None };
        let (all, machine) = (everything(), self.machine.state());
        let at = if planted == Planted::WalkedAtNewest { machine.revision() } else { reading.revision };
        let chunk = machine.range_chunk(&all, at, reading.resume.as_deref(), 1);
        let Ok(chunk) = chunk else {
            self.reader = Reader::Refused { pinned: reading.pinned };
            return Some(());
        };
        let found = chunk.found.into_iter().map(|found| (found.key, found.at, found.created, found.version));
        reading.found.extend(found);
        reading.resume = chunk.resume;
        if reading.resume.is_none() {
            let values = reading.found.iter().cloned().map(|(key, at, created, version)| {
                read(self.machine.records(), Found { key, at, created, version })
            });
            // A record that a sweep took away under an unpinned reader is a refusal, not an answer.
            self.reader = match values.collect::<Result<Vec<_>, _>>() {
                Ok(seen) => Reader::Ended { pinned: reading.pinned, right: seen == reading.truth },
                Err(_) => Reader::Refused { pinned: reading.pinned },
            };
        }
        Some(())
    }
}

impl Model for PinnedModel {
    type State = PinnedState;
    type Action = PinnedAction;

    fn init_states(&self) -> Vec<PinnedState> {
        vec![PinnedState {
            machine: Replica::default(),
            reader: Reader::Idle,
            changes: 0,
            compactions: 0,
            swept: true,
            swept_under_pin: false,
        }]
    }

    fn actions(&self, state: &PinnedState, actions: &mut Vec<PinnedAction>) {
        if state.changes < CHANGES {
            for key in KEYS {
                actions.push(PinnedAction::Put(key));
                if state.machine.get(key).is_some() {
                    actions.push(PinnedAction::Delete(key));
                }
            }
        }
        let machine = state.machine.state();
        if state.compactions < COMPACTIONS && machine.revision() > machine.compacted().max(Revision::FIRST) {
            actions.push(PinnedAction::Compact);
        }
        if !state.swept {
            actions.push(PinnedAction::Sweep);
        }
        match &state.reader {
            Reader::Idle => actions.extend([true, false].map(PinnedAction::Begin)),
            Reader::Reading(_) => actions.push(PinnedAction::Walk),
            Reader::Ended { .. } | Reader::Refused { .. } => {}
        }
    }

    fn next_state(&self, last: &PinnedState, action: PinnedAction) -> Option<PinnedState> {
        let mut state = last.clone();
        match action {
            PinnedAction::Put(key) => {
                let key = Bytes::from_static(key.as_bytes());
                state.machine.run(Command::Put(Put { key, ..Put::default() }));
                state.changes += 1;
            }
            PinnedAction::Delete(key) => {
                let range = KeyRange::single(key);
                state.machine.run(Command::DeleteRange(DeleteRange { range, prev_kv: false }));
                state.changes += 1;
            }
            PinnedAction::Compact => {
                let revision = state.machine.state().revision();
                state.machine.run(Command::Compact(Compact { revision }));
                state.compactions += 1;
                state.swept = false;
            }
            PinnedAction::Sweep => {
                let pin = state.pin().filter(|_| self.planted != Planted::PinIgnored);
                state.swept = state.machine.sweep_step(pin);
                state.swept_under_pin |= state.swept && state.pin().is_some();
            }
            PinnedAction::Begin(pinned) => {
                let revision = state.machine.state().revision();
                let truth = state.machine.all(Revision(0)).kvs;
                let (resume, found) = (None, Vec::new());
                state.reader = Reader::Reading(Reading { pinned, revision, truth, resume, found });
            }
            PinnedAction::Walk => {
                state.walk(self.planted)?;
                // The pin is gone: what it held back can be swept.
                let ended = !matches!(state.reader, Reader::Reading(_));
                if ended && self.planted != Planted::SweepNotResumed {
                    state.swept = state.machine.state().compacted() < Revision::FIRST;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<PinnedModel>> {
        vec![
            Property::always("a read sees its revision", |_, state: &PinnedState| {
                !matches!(state.reader, Reader::Ended { right: false, .. })
            }),
            Property::always("a pinned read is never refused", |_, state: &PinnedState| {
                state.reader != Reader::Refused { pinned: true }
            }),
            Property::always("in the end all that is compacted is swept", |model, state: &PinnedState| {
                !is_terminal(model, state) || state.machine.holds_nothing_compacted()
            }),
            Property::sometimes("a sweep ends under a pinned read", |_, state: &PinnedState| {
                state.swept_under_pin && state.reader == Reader::Ended { pinned: true, right: true }
            }),
            Property::sometimes("an unpinned read is refused", |_, state: &PinnedState| {
                state.reader == Reader::Refused { pinned: false }
            }),
            Property::sometimes("an unpinned read ends", |_, state: &PinnedState| {
                state.reader == Reader::Ended { pinned: false, right: true }
            }),
        ]
    }
}

impl Checked for PinnedModel {
    const NAME: &'static str = "pinned";
    const ABOUT: &'static str = "compaction against pinned reads: a long read sees its revision";
    const PLANTED: &'static [Planted] =
        &[Planted::PinIgnored, Planted::WalkedAtNewest, Planted::SweepNotResumed];

    fn new(planted: Planted) -> PinnedModel {
        PinnedModel { planted }
    }
}
