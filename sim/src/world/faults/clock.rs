//! Clocks that jump, run at another rate, or show another day.

use std::time::Duration;

use super::{Strike, unknown};
use crate::plan::Fault;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let clock = strike.world.seat(strike.struck).clock.clone();
    match fault {
        Fault::ClockJump { by_ms, .. } => clock.jump(Duration::from_millis(by_ms)),
        Fault::ClockRate { ppm, .. } => {
            clock.set_rate(Some(ppm));
            strike.last().await;
            clock.set_rate(None);
        }
        Fault::WallJump { by_ms, .. } => clock.jump_wall(by_ms),
        other => unknown(other),
    }
}
