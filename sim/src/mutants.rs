//! The catalogue of planted bugs: what each breaks, and where it stands in the product.
//!
//! A mutant passes every ordinary test; it is there to measure the simulator. The places come from the product's
//! source itself, so that the catalogue cannot point to where nothing is.

use crate::hooks::{self, Place};

mod catalogue;

pub use catalogue::CATALOGUE;

/// The part of the product that a planted bug stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Users, roles and sessions.
    Auth,
    /// Compaction and its sweep.
    Compaction,
    /// Members compared with each other.
    Comparison,
    /// The state engine and the buffer before it.
    Engine,
    /// The state's hash.
    Hash,
    /// Images of members' states.
    Image,
    /// Keys, revisions and ranges.
    KeySpace,
    /// Leases.
    Lease,
    /// Who belongs to the cluster, and who votes.
    Membership,
    /// The quota and its alarm.
    Quota,
    /// Votes and the commit index.
    Raft,
    /// Linearizable reads.
    Read,
    /// Members that have themselves taken back.
    Repair,
    /// Entries on their way to followers.
    Replication,
    /// Which requests were seen.
    Requests,
    /// Snapshots between members.
    Snapshot,
    /// Locks and elections.
    Turn,
    /// Transactions.
    Txn,
    /// Alarms that operators raise and clear, and the preparation for a lower version.
    Upkeep,
    /// The write-ahead log.
    Wal,
    /// Watches.
    Watch,
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Area::Compaction => "compaction",
            Area::Comparison => "comparison",
            Area::Engine => "engine",
            Area::Hash => "hash",
            Area::Image => "image",
            Area::KeySpace => "key space",
            Area::Lease => "lease",
            Area::Membership => "membership",
            Area::Auth => "auth",
            Area::Quota => "quota",
            Area::Raft => "raft",
            Area::Read => "reads",
            Area::Repair => "repair",
            Area::Replication => "replication",
            Area::Requests => "requests",
            Area::Snapshot => "snapshot",
            Area::Turn => "turns",
            Area::Txn => "transaction",
            Area::Upkeep => "upkeep",
            Area::Wal => "log",
            Area::Watch => "watch",
        })
    }
}

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The part of the product it stands in.
    pub area: Area,
    /// Its name, as `mutant!` and `--mutant` say it.
    pub name: &'static str,
    /// What it breaks, in a sentence.
    pub breaks: &'static str,
}

/// Planted bugs that the range measured last did not catch, and those that few of its seeds catch. What is drawn for a
/// verification leaves them out, so that it tells of what the simulator has lost; the table leaves nothing out. Each is
/// owed a quicker catch: a richer workload, a fault that is missing, or an oracle that sees more.
pub const UNCAUGHT: &[&str] = &[
    "auth-old-finding-accepted",
    "engine-fed-during-a-flush",
    "engine-header-read-by-halves",
    "engine-pages-not-verified-when-read",
    "engine-written-before-it-is-verified",
    "hello-refused-at-a-reused-address",
    "join-as-one-that-has-run",
    "member-seeds-not-asked",
    "membership-removed-leader-goes-on",
    "peer-answers-for-another",
    "raft-leader-stays-unanswered",
    "read-confirmed-by-a-voter-that-moved-on",
    "readmission-of-two-at-once",
    "replication-skips-purged-entries",
    "snapshot-behind-the-log-installed",
    "state-name-taken-for-durable",
    "stream-asks-for-purged-entries-for-ever",
    "stream-polled-after-its-call",
    "turn-of-a-place-that-is-gone",
    "wal-incarnation-passed-over",
    "wal-second-header-copy-not-tried",
];

/// The planted bug of this name.
pub fn find(name: &str) -> Option<&'static Mutant> {
    CATALOGUE.iter().find(|mutant| mutant.name == name)
}

impl Mutant {
    /// Whether some seed is known to catch it.
    pub fn is_known_to_be_caught(&self) -> bool {
        !UNCAUGHT.contains(&self.name)
    }

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
    fn what_is_uncaught_is_in_the_catalogue() {
        assert!(UNCAUGHT.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(UNCAUGHT.iter().all(|name| find(name).is_some()));
        assert!(UNCAUGHT.len() * 4 <= CATALOGUE.len(), "most of the catalogue must be caught");
    }

    #[test]
    fn every_bug_planted_in_the_product_is_in_the_catalogue() {
        for place in hooks::MUTANTS {
            assert!(find(place.name).is_some(), "{} at {}:{}", place.name, place.file, place.line);
        }
    }

    #[test]
    fn every_bug_of_the_catalogue_stands_in_one_place() {
        for mutant in CATALOGUE {
            assert_eq!(mutant.places().len(), 1, "{} stands at {:?}", mutant.name, mutant.places());
        }
    }
}
