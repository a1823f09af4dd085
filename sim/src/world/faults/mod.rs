//! What a plan does to the world: each fault a task of its own that waits for its time, settles whom it strikes,
//! strikes, waits, and lets go. One family a file.

pub(super) mod ambush;
mod calls;
mod clock;
mod cluster;
mod damage;
mod disk;
pub(super) mod edge;
mod ending;
mod flap;
mod partition;
mod process;
mod repair;
mod space;
mod succession;
mod weather;

use std::time::Duration;

use madsim::task::JoinHandle;
use quorate_check::types::Nanos;
use quorate_disk::{Call, Crash, FaultKind};

use super::{World, product};
use crate::plan::{Family, Fault, MemberIndex, PlannedFault, Target};

impl World {
    /// Starts all faults of the plan. The handles end them, for the time when everything is healed.
    pub fn start_faults(&self) -> Vec<JoinHandle<()>> {
        let faults = self.inner.plan.faults.clone();
        let tasks = faults.into_iter().map(|planned| {
            let world = self.clone();
            self.inner.supervisor.spawn(async move {
                world.inner.time.sleep_until(Nanos(planned.at_ms * 1_000_000)).await;
                if !world.inner.record.is_over() {
                    world.strike(planned).await;
                }
            })
        });
        tasks.collect()
    }

    /// Ends everything that is wrong with the world: links, weather, clocks, holds, pauses, armed disks, full
    /// ones. What disks have lost stays lost, damage that nobody has met stays, and clocks keep their own rates.
    pub fn heal(&self) {
        self.heal_but(&[], |_| false);
    }

    /// As [`World::heal`], but the links of some members are about to be broken anew, and some stay down.
    fn heal_but(&self, broken: &[MemberIndex], stays_down: impl Fn(MemberIndex) -> bool) {
        self.inner.record.note(self.now(), format_args!("heal"));
        let bad = broken.iter().flat_map(|member| self.around(*member)).collect();
        self.inner.network.heal(bad);
        for seat in &self.inner.seats {
            seat.clock.set_rate(None);
        }
        self.release_all(stays_down);
    }

    async fn strike(&self, planned: PlannedFault) {
        let struck = match planned.fault {
            // It begins when somebody comes.
            Fault::Ambush { .. } => match ambush::lie_in_wait(self, planned).await {
                None => return,
                came => came,
            },
            other => other.target().map(|target| self.settle(target)),
        };
        let member = struck.map(|index| self.member_id(index));
        let note = struck.map(|index| index.to_string()).unwrap_or_default();
        let note = format!("{}{}{}", planned.id, if note.is_empty() { "" } else { " " }, note);
        let open = self.inner.record.fault_begins(self.now(), planned.fault.name(), member, note);
        // Whole-cluster faults have no member; the first stands in where one is asked for.
        let struck = struck.unwrap_or_default();
        let strike =
            Strike { world: self, id: planned.id, for_: Duration::from_millis(planned.for_ms), struck };
        match planned.fault.family() {
            Family::Kill | Family::Power | Family::Pause => process::strike(&strike, planned.fault).await,
            Family::Partition => partition::strike(&strike, planned.fault).await,
            Family::Loss | Family::Delay | Family::Link | Family::Copies => {
                weather::strike(&strike, planned.fault).await;
            }
            Family::Flap => flap::strike(&strike, planned.fault).await,
            Family::Reset | Family::Client => calls::strike(&strike, planned.fault).await,
            Family::Cluster => cluster::strike(&strike, planned.fault).await,
            Family::Succession => succession::strike(&strike, planned.fault).await,
            Family::Clock => clock::strike(&strike, planned.fault).await,
            Family::DiskDeath | Family::DiskError | Family::DiskStall => {
                disk::strike(&strike, planned.fault).await;
            }
            Family::Space => space::strike(&strike, planned.fault).await,
            Family::Rot | Family::Latent => damage::strike(&strike, planned.fault).await,
            Family::Astray => damage::astray(&strike, planned.fault).await,
            Family::Ambush => ambush::strike(&strike, planned.fault).await,
            Family::Edge => edge::strike(&strike, planned.fault).await,
            Family::Repair => repair::strike(&strike, planned.fault).await,
            // Its story is told by `client::guard`, which clients and oracles look at too.
            Family::Auth => strike.last().await,
        }
        self.inner.record.fault_ends(self.now(), open);
    }

    /// Whom a fault strikes now.
    fn settle(&self, target: Target) -> MemberIndex {
        let living = self.living();
        let leader = self.leader();
        let first = living.first().copied().unwrap_or_default();
        match target {
            Target::Member(index) => index,
            Target::Leader => leader.unwrap_or(first),
            Target::Follower(nth) => {
                let followers: Vec<MemberIndex> =
                    living.into_iter().filter(|index| Some(*index) != leader).collect();
                let nth = usize::from(nth).checked_rem(followers.len());
                nth.and_then(|nth| followers.get(nth)).copied().unwrap_or(first)
            }
        }
    }
}

/// Keys a fault's second crash apart from its first.
const SECOND: u64 = 1 << 32;

/// A fault that is striking.
struct Strike<'a> {
    world: &'a World,
    /// The plan's number of the fault; keys what a crash does.
    id: u64,
    /// How long it lasts.
    for_: Duration,
    /// Whom it strikes.
    struck: MemberIndex,
}

impl Strike<'_> {
    async fn last(&self) {
        self.wait(self.for_).await;
    }

    /// The struck dies, and stays down for so long.
    async fn down(&self, crash: Crash, span: Duration) {
        self.world.hold(self.struck, crash, self.id);
        self.wait(span).await;
        self.world.release(self.struck);
    }

    /// The next sync of the struck's log takes so long.
    fn stall_log(&self, span: Duration) {
        self.world.seat(self.struck).disk.inject(quorate_disk::Fault {
            call: Call::Sync,
            path: Some(product::wal_dir(self.world.generation(self.struck))),
            nth: 1,
            kind: FaultKind::Stalled(span),
        });
    }

    /// The next sync of the folder of the struck's state fails.
    fn fail_sync_of_names(&self) {
        let generation = self.world.generation(self.struck);
        self.world.seat(self.struck).disk.inject(quorate_disk::Fault {
            call: Call::SyncDir,
            path: Some(product::state_dir(generation)),
            nth: 1,
            kind: FaultKind::Eio,
        });
    }

    async fn wait(&self, span: Duration) {
        if !span.is_zero() {
            self.world.inner.time.sleep(span).await;
        }
    }
}

/// A fault that its family's file does not know is a fault of this program.
fn unknown(fault: Fault) {
    debug_assert!(false, "a fault was sent to the wrong family: {fault:?}");
}
