//! The part of the product that a seed strikes hardest.
//!
//! What is rare by itself is hopeless twice over: a read in many steps, a compaction in its midst and a sweep right
//! after it never meet by chance. A seed with a focus presses all places of a few files that work together, sets the
//! knobs that make them busy, and lays its ambushes there.

use serde::{Deserialize, Serialize};

/// A part of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Focus {
    /// Reads and watches of the past, under compactions.
    History,
    /// Reads while one leader follows another.
    Handover,
    /// Followers that lag, and the snapshots that they get.
    CatchUp,
    /// The log, the engine, and which of them is durable first.
    Storage,
    /// Leases that are renewed, checkpointed and expire.
    Leases,
    /// Requests on their way to the leader and back.
    Writes,
    /// Members that come and go, and leaders that go themselves.
    Membership,
    /// What stands in the engine's file, when it rots.
    Rot,
}

impl Focus {
    /// All of them.
    pub const ALL: [Focus; 8] = [
        Focus::History,
        Focus::Handover,
        Focus::CatchUp,
        Focus::Storage,
        Focus::Leases,
        Focus::Writes,
        Focus::Membership,
        Focus::Rot,
    ];

    /// The files whose places of disturbance are pressed.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Focus::History => &[
                "src/member/reads.rs",
                "src/member/maintain.rs",
                "src/raft/watch_driver.rs",
                "src/machine/watch/catch_up.rs",
                "src/machine/watch/hub.rs",
                "src/service/watch.rs",
            ],
            Focus::Handover => &[
                "src/raft/leadership.rs",
                "src/raft/read_index.rs",
                "src/raft/network.rs",
                "src/storage/wal/group.rs",
            ],
            Focus::CatchUp => {
                &["src/raft/network.rs", "src/raft/log_store.rs", "src/raft/serve.rs", "src/raft/snapshot.rs"]
            }
            Focus::Storage => &["src/storage/store.rs", "src/storage/wal/group.rs"],
            Focus::Leases => &["src/raft/lease/keeper.rs"],
            Focus::Writes => &["src/raft/proposer.rs", "src/raft/state_machine.rs"],
            Focus::Membership => &["src/raft/membership.rs", "src/raft/leadership.rs", "src/node.rs"],
            Focus::Rot => &["src/member/reads.rs", "src/raft/snapshot.rs", "src/raft/state_machine.rs"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::PLACES;

    #[test]
    fn every_file_of_a_focus_has_places() {
        for file in Focus::ALL.into_iter().flat_map(Focus::files) {
            assert!(PLACES.iter().any(|place| place.file == *file), "{file}");
        }
    }
}
