//! Deaths right after a log was cut or recycled, or while a member gives up the one it has lost: moments that last a write or two, and that no clock would find.

use std::time::Duration;

use quorate_disk::{Arm, Call, Crash};

use super::disk::class;
use super::{Strike, unknown};
use crate::plan::fault::{DiskCall, LogMoment};
use crate::plan::{Fault, MemberIndex};
use crate::world::atlas::{segment, segments};
use crate::world::life::Death;
use crate::world::{World, product};

/// How long who dies stays down.
const DOWN_FOR: Duration = Duration::from_millis(300);

/// How long a segment brought into use counts as unused: longer than a change of segments takes, and its seal.
const UNUSED_FOR: Duration = Duration::from_millis(8);

/// A segment was brought into use.
const UNUSED: Moment = Moment::Log(LogMoment::Unused);

/// A death that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    id: u64,
    moment: Moment,
    nth: u64,
    crash: Crash,
}

/// The moments that deaths wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// In the life of a log; writes to it are counted from there.
    Log(LogMoment),
    /// A member that has lost its log begins to repair itself; such calls of its disk are counted from there.
    Repair(DiskCall),
}

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (moment, nth, power) = match fault {
        Fault::DeathAfter { moment, nth, power } => (Moment::Log(moment), nth, power),
        Fault::DeathInRepair { call, nth, power } => (Moment::Repair(call), nth, power),
        other => return unknown(other),
    };
    let crash = if power { Crash::PowerLoss } else { Crash::Kill };
    strike.world.waiting().push(Waiting { id: strike.id, moment, nth, crash });
    strike.last().await;
    strike.world.waiting().retain(|waiting| waiting.id != strike.id);
}

impl World {
    /// A member has come to such a moment. Told from inside its calls.
    pub(in crate::world) fn came_to(&self, index: MemberIndex, moment: LogMoment) {
        self.let_die(index, |waiting| waiting == Moment::Log(moment));
    }

    /// A member that has lost its log begins to repair itself. Told from inside its calls.
    pub(in crate::world) fn begins_repair(&self, index: MemberIndex) {
        self.let_die(index, |waiting| matches!(waiting, Moment::Repair(_)));
    }

    /// Arms the death that waits for this moment, if one does.
    fn let_die(&self, index: MemberIndex, is_meant: impl Fn(Moment) -> bool) {
        let seat = self.seat(index);
        // A death that is armed already comes first.
        if seat.disk.is_armed() {
            return;
        }
        let Some(Waiting { id, moment, nth, crash }) = self.whose_moment(is_meant) else { return };
        self.expect_death(index, Death { down_for: DOWN_FOR, power_after: None, event: id });
        let (call, path) = match moment {
            Moment::Log(_) => (Call::Write, Some(product::wal_dir(self.generation(index)))),
            Moment::Repair(call) => (class(call), None),
        };
        seat.disk.arm(Arm { call, path, nth, crash, event: id });
    }

    fn whose_moment(&self, is_meant: impl Fn(Moment) -> bool) -> Option<Waiting> {
        let mut all = self.waiting();
        let place = all.iter().position(|waiting| is_meant(waiting.moment));
        place.map(|place| all.remove(place))
    }

    /// A member has brought a segment into use. Told from inside its calls.
    pub(in crate::world) fn segment_named(&self, index: MemberIndex) {
        if !self.waiting().iter().any(|waiting| waiting.moment == UNUSED) {
            return;
        }
        let world = self.clone();
        self.inner.supervisor.spawn(async move {
            world.inner.time.sleep(UNUSED_FOR).await;
            let seat = world.seat(index);
            let newest = segments(seat).pop();
            let unused = newest.is_some_and(|newest| !segment(seat, &newest).is_used());
            if !unused || world.is_down(index) || world.inner.record.is_over() {
                return;
            }
            let Some(Waiting { id, crash, .. }) = world.whose_moment(|moment| moment == UNUSED) else {
                return;
            };
            world.hold(index, crash, id);
            world.inner.time.sleep(DOWN_FOR).await;
            world.release(index);
        });
    }
}
