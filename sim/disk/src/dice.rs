//! Decisions drawn by hashing what they are about, never from one running stream.
//!
//! A decision's key is its purpose, the name of what it concerns (a path's hash, a sector, the number of a call
//! on that file) and the plan's number of the event behind it. So two runs that differ in one operation or one
//! fault still agree in every other decision, which is what makes a failing plan shrink.
//!
//! Not cryptographic, and not meant to be: nobody attacks a simulated disk.

use std::path::Path;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What a decision is about; keeps the draws for different purposes on one file apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// How long a call takes.
    Latency = 1,
    /// Whether a rate of faults strikes this call.
    FaultRate = 2,
    /// How much of a failed or interrupted write was done.
    Partial = 3,
    /// Where a misdirected write goes.
    Misdirect = 4,
    /// Which sectors a failed sync brought to the platter all the same.
    FailedSync = 5,
    /// How a power loss treats the disk as a whole.
    CrashMode = 6,
    /// How a power loss treats one file: its length and its general luck.
    CrashFile = 7,
    /// How a power loss treats one sector.
    CrashSector = 8,
    /// How a power loss treats one name.
    CrashName = 9,
    /// Which visible but never durable sectors leave the page cache at a kill.
    Evict = 10,
    /// Which of too many versions of a sector is forgotten.
    Forget = 11,
    /// No decision: what tells apart two files that were created under one path.
    Origin = 12,
}

impl Purpose {
    #[expect(clippy::as_conversions, reason = "a field-less enum's own number")]
    const fn number(self) -> u64 {
        self as u64
    }
}

/// The seed, as a source of keyed decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    seed: u64,
}

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The draws for one decision.
    pub(crate) fn about(self, purpose: Purpose, key: [u64; 3]) -> Draw {
        let mut bytes = [0_u8; 32];
        let words = [purpose.number(), key[0], key[1], key[2]];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Draw { state: xxh3_64_with_seed(&bytes, self.seed) }
    }
}

/// The draws that belong to one decision, in order.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    /// Sixty-four bits (splitmix64 over the key's hash).
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero when the bound is zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True `hits` times out of `of`.
    pub(crate) fn chance(&mut self, hits: u64, of: u64) -> bool {
        self.below(of) < hits
    }
}

/// The number that stands for a path in keys.
pub(crate) fn path_key(path: &Path) -> u64 {
    xxh3_64(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_depends_on_its_key_and_on_nothing_else() {
        let dice = Dice::new(7);
        let first = dice.about(Purpose::CrashSector, [1, 2, 3]).next();
        let _unrelated = dice.about(Purpose::CrashSector, [1, 2, 4]).next();
        assert_eq!(first, dice.about(Purpose::CrashSector, [1, 2, 3]).next());
        assert_ne!(first, dice.about(Purpose::Evict, [1, 2, 3]).next());
        assert_ne!(first, Dice::new(8).about(Purpose::CrashSector, [1, 2, 3]).next());
    }

    #[test]
    fn chances_come_out_near_their_rate() {
        let dice = Dice::new(1);
        let hits = (0..10_000).filter(|n| dice.about(Purpose::FaultRate, [*n, 0, 0]).chance(1, 4)).count();
        assert!((2_300..2_700).contains(&hits), "{hits} of 10000 at one in four");
    }
}
