//! Leaders that fall one after the other. The first comes back while nobody leads, or while somebody has just begun to:
//! that is when what a former leader still believes, and what a new one does not know yet, can be told to a client.

use std::time::Duration;

use quorate_disk::Crash;

use super::{SECOND, Strike, unknown};
use crate::net::weather::{Scope, Weather};
use crate::plan::fault::Unseat;
use crate::plan::{Fault, MemberIndex, Span};
use crate::world::World;

/// How often a new leader is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let Fault::Succession { first, second, dwell_ms, gap_ms, most_us } = fault else { return unknown(fault) };
    let (world, network) = (strike.world, strike.world.network());
    if most_us > 0 {
        network.open_window(strike.id, Scope::Everywhere, Weather::Delay(Span::new(500, most_us)));
        // What the first is about to have acknowledged the others are to hear of late.
        strike.wait(Duration::from_micros(most_us)).await;
    }
    let fallen = fall(world, strike.struck, first, strike.id);
    if let Some(successor) = successor(strike).await {
        strike.wait(Duration::from_millis(dwell_ms)).await;
        // Where it fell by itself meanwhile, so much the better.
        let second = second.map(|how| (fall(world, successor, how, strike.id + SECOND), how));
        strike.wait(Duration::from_millis(gap_ms)).await;
        rise(world, strike.struck, first, fallen);
        strike.last().await;
        if let Some((fallen, how)) = second {
            rise(world, successor, how, fallen);
        }
    } else {
        rise(world, strike.struck, first, fallen);
    }
    network.close_window(strike.id);
}

/// Whoever leads instead of the struck; `None` when nobody came to within the fault's time.
async fn successor(strike: &Strike<'_>) -> Option<MemberIndex> {
    let looks = strike.for_.as_millis() / LOOK_INTERVAL.as_millis().max(1);
    for _ in 0..looks {
        let leading = strike.world.leader().filter(|leader| *leader != strike.struck);
        if leading.is_some() {
            return leading;
        }
        strike.wait(LOOK_INTERVAL).await;
    }
    None
}

/// The links that were cut.
type Fallen = Vec<crate::net::Link>;

fn fall(world: &World, member: MemberIndex, how: Unseat, event: u64) -> Fallen {
    match how {
        Unseat::Kill => world.hold(member, Crash::Kill, event),
        Unseat::Pause => world.pause(member),
        Unseat::Isolate => {
            let links = world.around(member);
            world.network().cut(&links);
            return links;
        }
    }
    Vec::new()
}

fn rise(world: &World, member: MemberIndex, how: Unseat, cut: Fallen) {
    match how {
        Unseat::Kill => world.release(member),
        Unseat::Pause => world.resume(member),
        Unseat::Isolate => world.network().mend(&cut),
    }
}
