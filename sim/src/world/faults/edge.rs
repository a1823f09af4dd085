//! Deaths right after a log was cut or recycled: moments that last a write or two, and that no clock would find.

use std::time::Duration;

use quorate_disk::{Arm, Call, Crash};

use super::{Strike, unknown};
use crate::plan::fault::LogMoment;
use crate::plan::{Fault, MemberIndex};
use crate::world::life::Death;
use crate::world::{World, product};

/// How long who dies stays down.
const DOWN_FOR: Duration = Duration::from_millis(300);

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
        let waiting = {
            let mut all = self.waiting();
            let place = all.iter().position(|waiting| waiting.moment == moment);
            place.map(|place| all.remove(place))
        };
        let Some(Waiting { id, nth, crash, .. }) = waiting else { return };
        self.expect_death(index, Death { down_for: DOWN_FOR, power_after: None, event: id });
        seat.disk.arm(Arm { call: Call::Write, path: Some(product::wal_dir()), nth, crash, event: id });
    }
}
