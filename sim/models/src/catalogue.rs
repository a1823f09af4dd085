//! Every model by name, with what can be done to it.

use std::net::SocketAddr;

use stateright::Checker as _;

use crate::planted::Planted;
use crate::search::{Checked, Counterexample, Figures, always, exhaust, hunt};

/// One model.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The bugs that can be planted in it.
    pub planted: &'static [Planted],
    /// The properties that must hold in every state.
    pub always: fn() -> Vec<&'static str>,
    /// Searches all of it.
    pub exhaust: fn(Planted) -> Figures,
    /// Looks for the shortest way to a violation.
    pub hunt: fn(Planted) -> Option<Counterexample>,
    /// Serves it to a browser, for as long as the process lives.
    pub explore: fn(Planted, SocketAddr),
}

impl Entry {
    const fn of<M: Checked>() -> Entry {
        Entry {
            name: M::NAME,
            about: M::ABOUT,
            planted: M::PLANTED,
            always: always::<M>,
            exhaust: exhaust::<M>,
            hunt: hunt::<M>,
            explore: explore::<M>,
        }
    }
}

fn explore<M: Checked>(planted: Planted, address: SocketAddr) {
    let served = M::new(planted).checker().serve(address);
    assert!(served.is_done(), "the explorer of {} ended by itself", M::NAME);
}

/// All models, in the order in which they are listed.
pub const ALL: &[Entry] = &[
    Entry::of::<crate::lease::LeaseModel>(),
    Entry::of::<crate::watch::WatchModel>(),
    Entry::of::<crate::read_index::ReadIndexModel>(),
    Entry::of::<crate::dedupe::DedupeModel>(),
    Entry::of::<crate::snapshot::SnapshotModel>(),
    Entry::of::<crate::learner::LearnerModel>(),
    Entry::of::<crate::lock::LockModel>(),
    Entry::of::<crate::linear::LinearModel>(),
    Entry::of::<crate::pinned::PinnedModel>(),
    Entry::of::<crate::txn::TxnModel>(),
];

/// The model of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}
