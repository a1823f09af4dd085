//! The write-ahead log on the simulated disk: what was acknowledged survives every crash, what was not comes back
//! whole or never, and damage is refused by name.

mod crashes;
mod damage;
mod group;
mod harness;
mod random;
mod stories;
