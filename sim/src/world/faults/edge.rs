//! Deaths right after a log was cut or recycled: moments that last a write or two, and that no clock would find.

use std::time::Duration;

use quorate_disk::{Arm, Call, Crash};

use super::{Strike, unknown};
use crate::plan::fault::LogMoment;
use crate::plan::{Fault, MemberIndex};
use crate::world::atlas::{segment, segments};
use crate::world::life::Death;
use crate::world::{World, product};

/// How long who dies stays down.
const DOWN_FOR: Duration = Duration::from_millis(300);

/// How long a segment brought into use counts as unused: longer than a change of segments takes, and its seal.
const UNUSED_FOR: Duration = Duration::from_millis(8);

/// A death that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    id: u64,
    moment: LogMoment,
    nth: u64,
    crash: Crash,
}

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let Fault::DeathAfter { moment, nth, power } = fault else { return unknown(fault) };
    let crash = if power { Crash::PowerLoss } else { Crash::Kill };
    strike.world.waiting().push(Waiting { id: strike.id, moment, nth, crash });
    strike.last().await;
    strike.world.waiting().retain(|waiting| waiting.id != strike.id);
}

impl World {
    /// A member has come to such a moment. Told from inside its calls.
    pub(in crate::world) fn came_to(&self, index: MemberIndex, moment: LogMoment) {
        let seat = self.seat(index);
        // A death that is armed already comes first.
        if seat.disk.is_armed() {
            return;
        }
        let Some(Waiting { id, nth, crash, .. }) = self.whose_moment(moment) else { return };
        self.expect_death(index, Death { down_for: DOWN_FOR, power_after: None, event: id });
        seat.disk.arm(Arm {
            call: Call::Write,
            path: Some(product::wal_dir(self.generation(index))),
            nth,
            crash,
            event: id,
        });
    }

    fn whose_moment(&self, moment: LogMoment) -> Option<Waiting> {
        let mut all = self.waiting();
        let place = all.iter().position(|waiting| waiting.moment == moment);
        place.map(|place| all.remove(place))
    }

    /// A member has brought a segment into use. Told from inside its calls.
    pub(in crate::world) fn segment_named(&self, index: MemberIndex) {
        if !self.waiting().iter().any(|waiting| waiting.moment == LogMoment::Unused) {
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
            let Some(Waiting { id, crash, .. }) = world.whose_moment(LogMoment::Unused) else { return };
            world.hold(index, crash, id);
            world.inner.time.sleep(DOWN_FOR).await;
            world.release(index);
        });
    }
}
