//! The catalogue of planted bugs: what each breaks, and where it stands in the product.
//!
//! A mutant passes every ordinary test; it is there to measure the simulator. The places come from the product's
//! source itself, so that the catalogue cannot point to where nothing is.

use crate::hooks::{self, Place};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name, as `mutant!` and `--mutant` say it.
    pub name: &'static str,
    /// What it breaks, in a sentence.
    pub breaks: &'static str,
}

/// All of them.
pub const CATALOGUE: &[Mutant] = &[
    Mutant {
        name: "engine-flush-ahead-of-wal",
        breaks: "the state engine becomes durable before the log entries it has applied, so a power loss leaves \
                 state that the log does not know",
    },
    Mutant {
        name: "lease-checkpoint-not-reset",
        breaks: "a keep-alive of a lease with a checkpointed remainder is answered without clearing it, so the next \
                 leader ends the lease too early",
    },
    Mutant {
        name: "lease-renewed-while-expiring",
        breaks: "a keep-alive is answered while the lease's expiry is already proposed, so a lease just renewed dies",
    },
    Mutant {
        name: "lease-renewed-without-quorum",
        breaks: "a keep-alive is answered without a quorum round, so a deposed leader renews leases for nothing",
    },
    Mutant {
        name: "read-index-skipped",
        breaks: "linearizable reads are answered without asking a quorum, so a deposed or lagging member serves \
                 the past",
    },
    Mutant {
        name: "snapshot-behind-the-log-installed",
        breaks: "a follower installs a snapshot that its log has overtaken, and its record of what was submitted to \
                 the log moves backwards",
    },
    Mutant {
        name: "stream-asks-for-purged-entries-for-ever",
        breaks: "replication that needs purged entries asks again and again instead of sending a snapshot, so a \
                 follower never catches up",
    },
    Mutant {
        name: "wal-ack-before-sync",
        breaks: "log entries are acknowledged before they are synced, so a power loss takes back promises",
    },
    Mutant {
        name: "wal-proof-of-segment-recycled",
        breaks: "the segment that vouches for an unused newest one is recycled, so a member refuses to start after a \
                 power loss",
    },
    Mutant {
        name: "wal-reuse-tail-segment",
        breaks: "recovery appends to the segment it found, so an unsynced batch of an earlier life can come back",
    },
    Mutant {
        name: "wal-vote-lost-at-recycle",
        breaks: "a new segment's checkpoint carries an old vote, so a member votes twice in one term",
    },
    Mutant {
        name: "watch-drop-event-at-catch-up",
        breaks: "a watcher that catches up from history misses an event when it turns live",
    },
];

/// The planted bug of this name.
pub fn find(name: &str) -> Option<&'static Mutant> {
    CATALOGUE.iter().find(|mutant| mutant.name == name)
}

impl Mutant {
    /// Where it stands, as `file:line`; empty when the product does not hold it.
    pub fn places(&self) -> Vec<String> {
        hooks::MUTANTS
            .iter()
            .filter(|place| place.name == self.name)
            .map(|Place { file, line, .. }| format!("{file}:{line}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(find("wal-ack-before-sync").map(|mutant| mutant.name), Some("wal-ack-before-sync"));
        assert_eq!(find("no-such-bug"), None);
    }

    #[test]
    fn every_bug_planted_in_the_product_is_in_the_catalogue() {
        for place in hooks::MUTANTS {
            assert!(find(place.name).is_some(), "{} at {}:{}", place.name, place.file, place.line);
        }
    }
}
