//! A member's randomness: a stream keyed by seed, member and process life, so that no two lives share one and no
//! member's draws move another's.

use std::sync::{Mutex, PoisonError};

use quorate::env::Entropy;

use crate::plan::MemberIndex;
use crate::plan::dice::{Dice, Purpose};

/// The stream of one process life.
pub struct SimEntropy(Mutex<Dice>);

impl SimEntropy {
    /// The stream of a member's `life`.
    pub fn new(seed: u64, member: MemberIndex, life: u64) -> SimEntropy {
        SimEntropy(Mutex::new(Dice::keyed_twice(seed, Purpose::Entropy, u64::from(member.0), life)))
    }
}

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bits()
    }
}
