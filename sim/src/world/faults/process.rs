//! Processes and machines that die, lose power, or stand still.

use std::time::Duration;

use quorate_disk::Crash;

use super::{SECOND, Strike, unknown};
use crate::plan::{Fault, MemberIndex};

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (world, struck) = (strike.world, strike.struck);
    match fault {
        Fault::Kill { .. } => one(strike, Crash::Kill).await,
        Fault::PowerLoss { .. } => one(strike, Crash::PowerLoss).await,
        Fault::KillAll {} => all(strike, Crash::Kill).await,
        Fault::RollingRestart { down_ms } => one_by_one(strike, Duration::from_millis(down_ms)).await,
        Fault::PowerLossAll {} => all(strike, Crash::PowerLoss).await,
        Fault::KillInStart { after_ms, .. } => {
            one(strike, Crash::Kill).await;
            strike.wait(Duration::from_millis(after_ms)).await;
            one(&Strike { id: strike.id + SECOND, ..*strike }, Crash::Kill).await;
        }
        Fault::KillThenPowerLoss { after_ms, .. } => {
            // The next process may read what the first has written and not synced; then that goes too.
            world.hold(struck, Crash::Kill, strike.id);
            strike.wait(Duration::from_millis(after_ms / 2)).await;
            if after_ms % 2 == 0 {
                world.release(struck);
            }
            strike.wait(Duration::from_millis(after_ms / 2)).await;
            if after_ms % 2 == 0 {
                world.hold(struck, Crash::PowerLoss, strike.id + SECOND);
            } else {
                world.crash_again(struck, Crash::PowerLoss, strike.id + SECOND);
            }
            strike.last().await;
            world.release(struck);
        }
        Fault::PowerLossInStall { stall_ms, .. } => {
            let stall = Duration::from_millis(stall_ms);
            // Longer than the power lasts.
            strike.stall_log(stall + strike.for_);
            strike.wait(stall).await;
            one(strike, Crash::PowerLoss).await;
        }
        Fault::Pause { .. } => {
            world.pause(struck);
            strike.last().await;
            world.resume(struck);
        }
        other => unknown(other),
    }
}

async fn one(strike: &Strike<'_>, crash: Crash) {
    strike.down(crash, strike.for_).await;
}

async fn all(strike: &Strike<'_>, crash: Crash) {
    let members: Vec<MemberIndex> = strike.world.members().collect();
    for member in &members {
        strike.world.hold(*member, crash, strike.id);
    }
    strike.last().await;
    for member in &members {
        strike.world.release(*member);
    }
}

async fn one_by_one(strike: &Strike<'_>, down: Duration) {
    let members: Vec<MemberIndex> = strike.world.members().collect();
    let turn = u32::try_from(members.len()).ok().and_then(|count| strike.for_.checked_div(count));
    for member in members {
        let turn = turn.unwrap_or_default();
        strike.world.hold(member, Crash::Kill, strike.id);
        strike.wait(down.min(turn)).await;
        strike.world.release(member);
        strike.wait(turn.saturating_sub(down)).await;
    }
}
