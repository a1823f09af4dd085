//! The revision-order checker: exact, near-linear, from client-visible data alone.
//!
//! Every changing transaction that was answered with revision r stands at (r, 0); everything else that observed r
//! stands at (r, 1). Revisions that nobody was answered for are filled with operations of unknown fate and with
//! lease expiries (`candidates`), by what watches and reads show of them (`evidence`). The changes are then replayed
//! in order through the reference model, whole answers compared (`replay`); at last the order is held against real
//! time (`sweep`). Compactions form a register beside it (`compaction`).
//!
//! Invariant: a history that is linearizable and keeps the API's rules never gets a violation here. What a bounded
//! search cannot decide is reported as the harness's failure.

mod candidates;
mod compaction;
mod evidence;
mod replay;
mod sightings;
mod slots;
mod sweep;

pub(crate) use candidates::puts_of;
pub use compaction::Register;
pub use replay::{Cause, Replayed};
pub use slots::{Seen, Witness, kinds_match};

use crate::history::History;
use crate::lease::LeaseBook;
use crate::options::Options;
use crate::verdict::Violation;

/// Judges the order of a history, and hands back the replayed changes for the other oracles.
pub fn check<'h>(
    history: &'h History,
    book: &LeaseBook<'h>,
    options: &Options,
) -> (Replayed<'h>, Vec<Violation>) {
    let (slots, mut violations) = slots::Slots::new(history, book);
    let (replayed, mut found) = replay::run(history, slots, book, options);
    violations.append(&mut found);
    violations.append(&mut sweep::check(history, &replayed, options));
    violations.append(&mut compaction::check(history, options));
    (replayed, violations)
}
