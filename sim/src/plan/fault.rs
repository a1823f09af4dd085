//! What will go wrong, and when. A fault names whom it strikes by role, which is settled when it strikes.

use quorate_check::types::ClientId;
use serde::{Deserialize, Serialize};

use super::MemberIndex;
use super::ambush::{Blow, PlaceName};
use super::family::Family;

/// One fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Its name, unique in the plan and never renumbered. Keys what a power loss does.
    pub id: u64,
    /// When it strikes, simulated milliseconds.
    pub at_ms: u64,
    /// How long it lasts: a member stays down, a link cut, a window open.
    pub for_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// This member.
    Member(MemberIndex),
    /// Whoever leads; the first living member when nobody does.
    Leader,
    /// The `n`th living member that does not lead, counted round.
    Follower(u8),
}

/// Which way a cut works, seen from the struck member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Nothing passes.
    Both,
    /// It hears nothing.
    In,
    /// It is not heard.
    Out,
}

/// The class of disk calls that a disk fault counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskCall {
    /// Writes and changes of length.
    Write,
    /// Syncs of files and folders.
    Sync,
    /// Names that are given, changed and taken away.
    Name,
}

/// The part of a disk whose calls a disk fault counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskArea {
    /// All of it.
    #[default]
    Any,
    /// The write-ahead log.
    Wal,
}

/// The part of a disk that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageArea {
    /// Segments of the write-ahead log that take no more batches.
    SealedLog,
    /// The segment of the write-ahead log that was written last.
    LogTail,
    /// The state engine's file.
    Engine,
    /// The head of the state engine's file, which says where all else stands.
    EngineHead,
}

/// A moment in the life of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMoment {
    /// A conflicting suffix is being cut off.
    Cut,
    /// A segment was recycled, and one alone is left.
    Recycled,
    /// A segment was brought into use, and nothing has been written to it for a while.
    Unused,
}

/// How a leader is taken away for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseat {
    /// Its process dies.
    Kill,
    /// Its links to all other members are cut; its clients still reach it.
    Isolate,
    /// It stands still.
    Pause,
}

/// What happens.
// Who has no fields has braces all the same: only then is a field that nobody knows refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The process is killed and starts again afterwards.
    Kill {
        /// Whose.
        target: Target,
    },
    /// All processes are killed at once.
    KillAll {},
    /// The processes are killed one after the other, as an upgrade does, evenly over the fault's time; each starts again
    /// after a while.
    RollingRestart {
        /// How long each is down, milliseconds.
        down_ms: u64,
    },
    /// The process is killed, started, and killed again while it starts.
    KillInStart {
        /// Whose.
        target: Target,
        /// How long after the start the second kill comes.
        after_ms: u64,
    },
    /// The machine loses power: what was not synced is kept, lost or torn.
    PowerLoss {
        /// Whose.
        target: Target,
    },
    /// All machines lose power at once.
    PowerLossAll {},
    /// A kill, a start, and then the power: data written before the kill and never synced is lost late.
    KillThenPowerLoss {
        /// Whose.
        target: Target,
        /// How long after the kill the power goes.
        after_ms: u64,
    },
    /// The process stands still.
    Pause {
        /// Whose.
        target: Target,
    },
    /// One member is cut off from all others.
    Isolate {
        /// Who.
        target: Target,
        /// Which way.
        direction: Direction,
    },
    /// The members named by the bits of `side` are cut off from the rest.
    Split {
        /// Bit n stands for member n.
        side: u8,
        /// Which way, seen from that side.
        direction: Direction,
    },
    /// One member hears everybody; the others are in two halves that do not hear each other.
    Bridge {
        /// Who stands between.
        target: Target,
    },
    /// Every member hears only its neighbours in a ring: of five the next two, of three the one before.
    Ring {
        /// Which of the rings, counted round.
        order: u8,
    },
    /// The links of one member to all others come and go.
    Flap {
        /// Whose.
        target: Target,
        /// Which way.
        direction: Direction,
        /// How long they are cut and then there, milliseconds.
        period_ms: u64,
    },
    /// Links are cut one by one, and mended one by one in another order.
    Swizzle {
        /// Draws the links and both orders.
        key: u64,
        /// Links of a thousand that are cut.
        permille: u64,
    },
    /// One link takes long.
    SlowLink {
        /// From or to whom.
        target: Target,
        /// The other end, counted round.
        other: u8,
        /// Which way, seen from the target.
        direction: Direction,
        /// The quickest, microseconds.
        least_us: u64,
        /// The slowest, microseconds.
        most_us: u64,
    },
    /// One link loses messages.
    LossyLink {
        /// From or to whom.
        target: Target,
        /// The other end, counted round.
        other: u8,
        /// Which way, seen from the target.
        direction: Direction,
        /// Of a thousand.
        permille: u64,
    },
    /// Every call between one member and the others breaks, again and again.
    Reset {
        /// Whose.
        target: Target,
        /// How often, milliseconds.
        every_ms: u64,
    },
    /// Requests between members arrive twice.
    Copies {
        /// Of a thousand.
        permille: u64,
    },
    /// A client loses a member.
    ClientCut {
        /// Which client; does nothing where clients call members as objects.
        client: ClientId,
        /// Which member.
        target: Target,
        /// Which way, seen from the client.
        direction: Direction,
    },
    /// The calls of every client to a member break, again and again.
    ClientReset {
        /// Which member.
        target: Target,
        /// How often, milliseconds.
        every_ms: u64,
    },
    /// Messages are lost.
    Loss {
        /// Of a thousand.
        permille: u64,
    },
    /// Messages are slow.
    Delay {
        /// The quickest, microseconds.
        least_us: u64,
        /// The slowest, microseconds.
        most_us: u64,
    },
    /// The monotonic clock jumps forward, as after a suspend.
    ClockJump {
        /// Whose.
        target: Target,
        /// By how much.
        by_ms: u64,
    },
    /// The monotonic clock runs at another rate for a while.
    ClockRate {
        /// Whose.
        target: Target,
        /// How much too fast, in millionths.
        ppm: i64,
    },
    /// The wall clock is set.
    WallJump {
        /// Whose.
        target: Target,
        /// By how much; negative is back.
        by_ms: i64,
    },
    /// The machine dies inside the `nth` call of its disk from now.
    DiskDeath {
        /// Whose.
        target: Target,
        /// Which calls are counted.
        call: DiskCall,
        /// And where.
        #[serde(default)]
        area: DiskArea,
        /// 1 is the next one.
        nth: u64,
        /// The power goes, rather than the process alone.
        power: bool,
        /// How long after it is up again the power goes, if it does: what the next life has read of the page cache
        /// must not be taken for durable. Milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        power_after_ms: Option<u64>,
    },
    /// The `nth` call of the disk from now fails.
    DiskError {
        /// Whose.
        target: Target,
        /// Which calls are counted.
        call: DiskCall,
        /// And where.
        #[serde(default)]
        area: DiskArea,
        /// 1 is the next one.
        nth: u64,
        /// How long after the failure, over which the process may have ended and started again, the power goes, if
        /// it does: what the failed call left in the page cache goes with it. Milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        power_after_ms: Option<u64>,
    },
    /// The leader falls; when another one leads and has done so for a while, that one may fall too; then the first comes
    /// back, while the others are without a leader or have just got one, and knows of nothing.
    Succession {
        /// How the first falls.
        first: Unseat,
        /// How the second does, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<Unseat>,
        /// How long the second leads before anything else happens, milliseconds.
        dwell_ms: u64,
        /// How long after that the first comes back, milliseconds.
        gap_ms: u64,
        /// How long messages between members take at most, from as long before the first falls, microseconds; 0 is
        /// as always.
        most_us: u64,
    },
    /// The next sync of the write-ahead log takes long, and before it has ended the power goes: what came after the sync
    /// before was never durable, however far the member went on.
    PowerLossInStall {
        /// Whose.
        target: Target,
        /// How long the sync takes, until the power goes, milliseconds.
        stall_ms: u64,
    },
    /// The next call of the disk takes long: as long as the fault lasts.
    DiskStall {
        /// Whose.
        target: Target,
        /// Which call.
        call: DiskCall,
    },
    /// The file system is full: as long as the fault lasts, little more than what is taken can be.
    DiskFull {
        /// Whose.
        target: Target,
        /// What is still free, bytes.
        free_bytes: u64,
    },
    /// Durable bytes change. Where too many members are damaged already, nothing does.
    Rot {
        /// Whose.
        target: Target,
        /// Where.
        area: DamageArea,
        /// Draws the place.
        key: u64,
        /// The process is killed first and starts when the fault ends; otherwise it runs on, and is killed then.
        down: bool,
    },
    /// A majority's newest segments of the log rot while all of them are down: more than what survival is promised
    /// for. Each must refuse to start, until its disk is rescued when the fault ends.
    RotBeyond {
        /// Draws the members and the places.
        key: u64,
    },
    /// Sectors cannot be read until they are written again. Where too many members are damaged already, all can.
    Unreadable {
        /// Whose.
        target: Target,
        /// Where.
        area: DamageArea,
        /// Draws the place.
        key: u64,
        /// As for [`Fault::Rot`].
        down: bool,
    },
    /// The `nth` write from now is acknowledged and lost, or lands elsewhere in its file; when the fault ends, the power
    /// goes, and with it what the page cache made good.
    WriteAstray {
        /// Whose.
        target: Target,
        /// The log's, or any.
        #[serde(default)]
        area: DiskArea,
        /// 1 is the next one.
        nth: u64,
        /// Lost, rather than landing elsewhere.
        lost: bool,
    },
    /// While the fault lasts, whichever member comes to this moment first dies inside the `nth` write to its log from
    /// there, and starts again soon; where nothing is written, at once.
    DeathAfter {
        /// Which moment.
        moment: LogMoment,
        /// 1 is the next one.
        nth: u64,
        /// The power goes, rather than the process alone.
        power: bool,
    },
    /// Whoever is the `nth` to come to a place in the product's code, from now and for as long as the fault may last,
    /// is held up there and struck.
    Ambush {
        /// Whom alone it is laid for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberIndex>,
        /// The place.
        place: PlaceName,
        /// 1 is the first.
        nth: u64,
        /// For how long, milliseconds.
        hold_ms: u64,
        /// How it is struck.
        blow: Blow,
        /// How long it stays down, or cut off, or how long after its restart the power goes; milliseconds.
        down_ms: u64,
    },
    /// The leader is asked to hand over.
    MoveLeader {
        /// To whom.
        target: Target,
    },
    /// A place that is free gets a member; nothing happens when none is.
    AddMember {
        /// Whether it is to follow without a vote.
        learner: bool,
    },
    /// A learner gets its vote, if there is one.
    PromoteMember {},
    /// Every client is asked who it is; some say so, and their rights come and go.
    Guard {},
    /// A member is removed, and ends by itself.
    RemoveMember {
        /// Who.
        target: Target,
    },
    /// The power goes, and with it all that a member's disk holds; it starts on an empty one. Where a quorum would not be
    /// left without it, or nobody has heard of the member yet, nothing happens.
    LoseDisk {
        /// Whose.
        target: Target,
    },
    /// While the fault lasts, whoever first begins to repair itself, because its log is lost, dies inside the `nth` call of
    /// its disk from there, and starts again soon.
    DeathInRepair {
        /// Which calls are counted.
        call: DiskCall,
        /// 1 is the next one.
        nth: u64,
        /// The power goes, rather than the process alone.
        power: bool,
    },
    /// A member dies and its disk is lost: it is removed, and another is added in its place.
    ReplaceMember {
        /// Who.
        target: Target,
    },
}

impl Fault {
    /// The name of [`Fault::ClockJump`], which the oracles must know of.
    pub const CLOCK_JUMP: &str = "clock/jump";

    /// Whom it strikes, when it strikes one.
    pub fn target(&self) -> Option<Target> {
        match *self {
            Fault::Kill { target }
            | Fault::KillInStart { target, .. }
            | Fault::PowerLoss { target }
            | Fault::KillThenPowerLoss { target, .. }
            | Fault::Pause { target }
            | Fault::Isolate { target, .. }
            | Fault::Bridge { target }
            | Fault::ClockJump { target, .. }
            | Fault::ClockRate { target, .. }
            | Fault::WallJump { target, .. }
            | Fault::DiskDeath { target, .. }
            | Fault::DiskError { target, .. }
            | Fault::DiskStall { target, .. }
            | Fault::DiskFull { target, .. }
            | Fault::Rot { target, .. }
            | Fault::Unreadable { target, .. }
            | Fault::WriteAstray { target, .. }
            | Fault::Flap { target, .. }
            | Fault::SlowLink { target, .. }
            | Fault::LossyLink { target, .. }
            | Fault::Reset { target, .. }
            | Fault::ClientCut { target, .. }
            | Fault::ClientReset { target, .. }
            | Fault::MoveLeader { target }
            | Fault::RemoveMember { target }
            | Fault::ReplaceMember { target }
            | Fault::LoseDisk { target }
            | Fault::PowerLossInStall { target, .. } => Some(target),
            Fault::Succession { .. } => Some(Target::Leader),
            Fault::Ambush { member, .. } => member.map(Target::Member),
            Fault::AddMember { .. }
            | Fault::PromoteMember {}
            | Fault::Guard {}
            | Fault::KillAll {}
            | Fault::RollingRestart { .. }
            | Fault::PowerLossAll {}
            | Fault::Split { .. }
            | Fault::Ring { .. }
            | Fault::Swizzle { .. }
            | Fault::Copies { .. }
            | Fault::Loss { .. }
            | Fault::Delay { .. }
            | Fault::RotBeyond { .. }
            | Fault::DeathAfter { .. }
            | Fault::DeathInRepair { .. } => None,
        }
    }

    /// The family it belongs to.
    pub fn family(&self) -> Family {
        match self {
            Fault::Kill { .. }
            | Fault::KillAll {}
            | Fault::KillInStart { .. }
            | Fault::RollingRestart { .. } => Family::Kill,
            Fault::PowerLoss { .. }
            | Fault::PowerLossAll {}
            | Fault::KillThenPowerLoss { .. }
            | Fault::PowerLossInStall { .. } => Family::Power,
            Fault::Succession { .. } => Family::Succession,
            Fault::Ambush { .. } => Family::Ambush,
            Fault::Pause { .. } => Family::Pause,
            Fault::Isolate { .. } | Fault::Split { .. } | Fault::Bridge { .. } | Fault::Ring { .. } => {
                Family::Partition
            }
            Fault::Flap { .. } | Fault::Swizzle { .. } => Family::Flap,
            Fault::SlowLink { .. } | Fault::LossyLink { .. } => Family::Link,
            Fault::Reset { .. } => Family::Reset,
            Fault::Copies { .. } => Family::Copies,
            Fault::ClientCut { .. } | Fault::ClientReset { .. } => Family::Client,
            Fault::Loss { .. } => Family::Loss,
            Fault::Delay { .. } => Family::Delay,
            Fault::ClockJump { .. } | Fault::ClockRate { .. } | Fault::WallJump { .. } => Family::Clock,
            Fault::DiskDeath { .. } => Family::DiskDeath,
            Fault::DiskError { .. } => Family::DiskError,
            Fault::DiskStall { .. } => Family::DiskStall,
            Fault::DiskFull { .. } => Family::Space,
            Fault::Rot { .. } | Fault::RotBeyond { .. } => Family::Rot,
            Fault::Unreadable { .. } => Family::Latent,
            Fault::WriteAstray { .. } => Family::Astray,
            Fault::DeathAfter { .. } => Family::Edge,
            Fault::MoveLeader { .. }
            | Fault::AddMember { .. }
            | Fault::PromoteMember {}
            | Fault::RemoveMember { .. }
            | Fault::ReplaceMember { .. } => Family::Cluster,
            Fault::Guard {} => Family::Auth,
            Fault::LoseDisk { .. } | Fault::DeathInRepair { .. } => Family::Repair,
        }
    }

    /// Family and kind, for histories and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill/one",
            Fault::KillAll {} => "kill/all",
            Fault::RollingRestart { .. } => "kill/rolling",
            Fault::KillInStart { .. } => "kill/in-start",
            Fault::PowerLoss { .. } => "power/one",
            Fault::PowerLossAll {} => "power/all",
            Fault::KillThenPowerLoss { .. } => "power/after-kill",
            Fault::PowerLossInStall { .. } => "power/in-stall",
            Fault::Succession { .. } => "succession/leaders",
            Fault::Ambush { blow, .. } => match blow {
                Blow::None => "ambush/held",
                Blow::Kill => "ambush/kill",
                Blow::Power => "ambush/power",
                Blow::Isolate => "ambush/isolate",
                Blow::StallLog => "ambush/stalled-log",
                Blow::FailSync => "ambush/failed-sync",
            },
            Fault::Pause { .. } => "pause/one",
            Fault::Isolate { .. } => "partition/isolate",
            Fault::Split { .. } => "partition/split",
            Fault::Bridge { .. } => "partition/bridge",
            Fault::Ring { .. } => "partition/ring",
            Fault::Flap { .. } => "flap/member",
            Fault::Swizzle { .. } => "flap/swizzle",
            Fault::SlowLink { .. } => "link/slow",
            Fault::LossyLink { .. } => "link/lossy",
            Fault::Reset { .. } => "reset/member",
            Fault::Copies { .. } => "copies/window",
            Fault::ClientCut { .. } => "client/cut",
            Fault::ClientReset { .. } => "client/reset",
            Fault::Loss { .. } => "loss/window",
            Fault::Delay { .. } => "delay/window",
            Fault::ClockJump { .. } => Fault::CLOCK_JUMP,
            Fault::ClockRate { .. } => "clock/rate",
            Fault::WallJump { .. } => "clock/wall",
            Fault::DiskDeath { .. } => "disk-death/armed",
            Fault::DiskError { .. } => "disk-error/eio",
            Fault::DiskStall { .. } => "disk-stall/one",
            Fault::DiskFull { .. } => "space/full",
            Fault::Rot { .. } => "rot/bits",
            Fault::RotBeyond { .. } => "rot/beyond",
            Fault::Unreadable { .. } => "latent/unreadable",
            Fault::WriteAstray { lost: true, .. } => "astray/lost",
            Fault::WriteAstray { lost: false, .. } => "astray/misdirected",
            Fault::DeathAfter { moment: LogMoment::Cut, .. } => "edge/cut",
            Fault::DeathAfter { moment: LogMoment::Recycled, .. } => "edge/recycled",
            Fault::DeathAfter { moment: LogMoment::Unused, .. } => "edge/unused",
            Fault::MoveLeader { .. } => "cluster/move-leader",
            Fault::AddMember { .. } => "cluster/add",
            Fault::Guard {} => "auth/guard",
            Fault::PromoteMember {} => "cluster/promote",
            Fault::RemoveMember { .. } => "cluster/remove",
            Fault::ReplaceMember { .. } => "cluster/replace",
            Fault::LoseDisk { .. } => "repair/lost-disk",
            Fault::DeathInRepair { .. } => "repair/death",
        }
    }
}
