//! A member's disk: built from the plan, its calls in the trace, its armed deaths brought to the world.

use quorate_disk::{Action, Config, Crash, Latency, Range, SimDisk};

use super::atlas::segments;
use super::{Seat, World, product};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::LogMoment;
use crate::plan::{MemberIndex, Plan};

/// The disk of a member.
pub(super) fn build(plan: &Plan, member: MemberIndex) -> SimDisk {
    let seed = Dice::keyed(plan.seed, Purpose::Disk, u64::from(member.0)).bits();
    let knobs = &plan.knobs;
    let latency = Latency {
        read: Range::micros(knobs.disk_read_us.least, knobs.disk_read_us.most),
        sync: Range::micros(knobs.disk_sync_us.least, knobs.disk_sync_us.most),
        ..Latency::default()
    };
    SimDisk::new(Config { latency, ..Config::new(seed) })
}

/// Sets the disk's hooks: every call into the trace, every armed death to the world.
pub(super) fn watch(world: &World, seat: &Seat) {
    let (record, time, index) = (world.record().clone(), world.time().clone(), seat.index);
    let weak = std::sync::Arc::downgrade(&world.inner);
    seat.disk.observe(Box::new(move |event| {
        let leaves = matches!(event.action, Action::Rename | Action::Remove) && event.ok;
        if leaves
            && event.path.to_str().is_some_and(product::is_segment)
            && let Some(inner) = weak.upgrade()
        {
            segment_left(&World { inner }, index);
        }
        if event.action == Action::Create
            && event.ok
            && product::begins_repair(event.path)
            && let Some(inner) = weak.upgrade()
        {
            World { inner }.begins_repair(index);
        }
        if event.action == Action::Rename && event.ok && product::becomes_segment(event.path) {
            record.count(|figures| figures.wal_segments += 1);
        }
        if event.action == Action::Rename
            && event.ok
            && product::becomes_segment(event.path)
            && let Some(inner) = weak.upgrade()
        {
            World { inner }.segment_named(index);
        }
        let said = (
            "disk",
            index,
            event.action,
            event.path.as_os_str(),
            event.offset,
            event.len,
            event.hash,
            event.ok,
        );
        let path = event.path.display();
        record.event(
            time.now(),
            &said,
            format_args!(
                "disk {index} {:?} {path} {}+{} {:016x} {}",
                event.action, event.offset, event.len, event.hash, event.ok
            ),
        );
    }));
    let (weak, index) = (std::sync::Arc::downgrade(&world.inner), seat.index);
    seat.disk.on_death(Box::new(move |crash| {
        if let Some(inner) = weak.upgrade() {
            let how = match crash {
                Crash::Kill => "died inside a disk call",
                Crash::PowerLoss => "lost power inside a disk call",
            };
            World { inner }.died_in_disk(index, how);
        }
    }));
}

/// A segment has left a member's log.
fn segment_left(world: &World, index: MemberIndex) {
    let left = segments(world.seat(index)).len();
    if left == 1 && !world.is_down(index) {
        world.came_to(index, LogMoment::Recycled);
    }
}
