//! Ambushes: a member comes to a place in its code that lasts microseconds, is held up there, and is struck.

use std::time::Duration;

use quorate_disk::Crash;
use tokio::sync::oneshot;

use super::{SECOND, Strike, unknown};
use crate::plan::ambush::Blow;
use crate::plan::{Fault, MemberIndex, PlannedFault};
use crate::world::World;

/// How long after it was let go a member whose log stands still has power: long enough for a flush of the engine.
const POWER_AFTER: Duration = Duration::from_millis(40);

/// An ambush that nobody has come to yet.
#[derive(Debug)]
pub struct Laid {
    id: u64,
    member: Option<MemberIndex>,
    place: &'static str,
    /// Counts down to who is struck.
    left: u64,
    hold: Duration,
    sprung: oneshot::Sender<MemberIndex>,
}

/// Lays an ambush and waits, as long as it lasts, for who comes.
pub(super) async fn lie_in_wait(world: &World, planned: PlannedFault) -> Option<MemberIndex> {
    let Fault::Ambush { member, place, nth, hold_ms, .. } = planned.fault else { return None };
    let (sprung, came) = oneshot::channel();
    let hold = Duration::from_millis(hold_ms);
    world.ambushes().push(Laid { id: planned.id, member, place: place.0, left: nth, hold, sprung });
    let came = world.time().within(Duration::from_millis(planned.for_ms), came).await;
    world.ambushes().retain(|laid| laid.id != planned.id);
    came?.ok()
}

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let Fault::Ambush { hold_ms, down_ms, blow, .. } = fault else { return unknown(fault) };
    let (world, struck) = (strike.world, strike.struck);
    let (hold, down) = (Duration::from_millis(hold_ms), Duration::from_millis(down_ms));
    match blow {
        Blow::None => strike.wait(hold).await,
        Blow::Kill | Blow::Power => {
            strike.wait(hold / 2).await;
            let crash = if blow == Blow::Kill { Crash::Kill } else { Crash::PowerLoss };
            strike.down(crash, down).await;
        }
        Blow::Isolate => {
            let links = world.around(struck);
            world.network().cut(&links);
            strike.wait(hold + down).await;
            world.network().mend(&links);
        }
        Blow::StallLog => {
            // Longer than the power lasts.
            strike.stall_log(hold + POWER_AFTER + down);
            strike.wait(hold + POWER_AFTER).await;
            strike.down(Crash::PowerLoss, down).await;
        }
        Blow::FailSync => {
            world.expect_errors(struck, Some((down, strike.id + SECOND)));
            strike.fail_sync_of_names();
            strike.wait(hold + down).await;
        }
    }
}

impl World {
    /// Somebody has come to a place in the product's code: how long it is held up there, when an ambush was laid.
    /// Told from inside its calls.
    pub fn came_by(&self, place: &'static str) -> Option<Duration> {
        let mut all = self.ambushes();
        if all.iter().all(|laid| laid.place != place) {
            return None;
        }
        let node = madsim::plugin::node();
        // What clients do in a member's code is not the member's.
        let who = self.inner.seats.iter().find(|seat| seat.node == node)?.index;
        let is_meant = |laid: &Laid| laid.place == place && laid.member.is_none_or(|meant| meant == who);
        let laid = all.iter().position(is_meant)?;
        let ambush = all.get_mut(laid)?;
        ambush.left = ambush.left.saturating_sub(1);
        if ambush.left > 0 {
            return None;
        }
        let ambush = all.remove(laid);
        // Where its time has just run out, nobody is struck.
        ambush.sprung.send(who).ok().map(|()| ambush.hold)
    }
}
