//! Randomness: one stream cipher, seeded once from the host.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::env::Entropy;

/// A ChaCha20 stream.
#[derive(Debug)]
pub struct RealEntropy {
    stream: Mutex<ChaCha20Rng>,
}

impl RealEntropy {
    /// Seeds from the kernel's generator.
    ///
    /// # Errors
    /// Those of reading `/dev/urandom`.
    pub fn from_host() -> io::Result<Self> {
        let mut seed = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Self { stream: Mutex::new(ChaCha20Rng::from_seed(seed)) })
    }
}

impl Entropy for RealEntropy {
    fn next_u64(&self) -> u64 {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sources_give_the_same_stream() {
        let draw = || {
            let entropy = RealEntropy::from_host().unwrap();
            [entropy.next_u64(), entropy.next_u64()]
        };
        let (one, other) = (draw(), draw());
        assert_ne!(one, other);
        assert_ne!(one[0], one[1]);
    }
}
