//! Families of faults: what a seed switches on and off as one.

use serde::{Deserialize, Serialize};

/// The families; each has its own switch and rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Processes die and start again.
    Kill,
    /// Machines lose power.
    Power,
    /// Processes stand still for a while.
    Pause,
    /// Links are cut.
    Partition,
    /// Messages are lost.
    Loss,
    /// Messages are slow, and overtake each other.
    Delay,
    /// Clocks jump and change their rate.
    Clock,
    /// A machine dies inside a chosen call of its disk.
    DiskDeath,
    /// A disk refuses a write or a sync.
    DiskError,
    /// A disk stands still.
    DiskStall,
    /// Links that come and go, all at once or one after the other.
    Flap,
    /// One link that is slow or loses messages.
    Link,
    /// Calls that break under way.
    Reset,
    /// Requests between members that arrive twice.
    Copies,
    /// Links between a client and members.
    Client,
    /// File systems that are full for a while.
    Space,
    /// Bytes that change on the medium.
    Rot,
    /// Sectors that cannot be read any more.
    Latent,
    /// Writes that are acknowledged and lost, or land elsewhere.
    Astray,
    /// Machines that die right after their log was cut or recycled.
    Edge,
    /// Members come and go, and leadership is handed over.
    Cluster,
    /// Leaders that fall one after the other, and come back.
    Succession,
    /// Members that are held up, and struck, at a place in their code.
    Ambush,
    /// Clients are asked who they are, for a while.
    Auth,
    /// Disks that are lost whole, and deaths of members that have themselves taken back.
    Repair,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 25] = [
        Family::Kill,
        Family::Power,
        Family::Pause,
        Family::Partition,
        Family::Loss,
        Family::Delay,
        Family::Clock,
        Family::DiskDeath,
        Family::DiskError,
        Family::DiskStall,
        Family::Flap,
        Family::Link,
        Family::Reset,
        Family::Copies,
        Family::Client,
        Family::Space,
        Family::Rot,
        Family::Latent,
        Family::Astray,
        Family::Edge,
        Family::Cluster,
        Family::Succession,
        Family::Ambush,
        Family::Auth,
        Family::Repair,
    ];

    /// Families of the disk atlas: their faults go beyond what the product may assume of a disk, take its space,
    /// or wait for a moment in the life of its log.
    pub const ATLAS: [Family; 5] = [Family::Space, Family::Rot, Family::Latent, Family::Astray, Family::Edge];

    /// Families that can take a leader away.
    pub const UNSEATING: [Family; 4] = [Family::Kill, Family::Power, Family::Partition, Family::Succession];
}
