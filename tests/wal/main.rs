//! The write-ahead log on the simulated disk: what was acknowledged survives every crash, what was not comes back
//! whole or never, and damage is refused by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "a test stops where it finds something wrong"
)]

mod crashes;
mod damage;
mod group;
mod harness;
mod inspect;
mod random;
mod stories;
