//! Calls that break under way, and clients that lose members.

use std::time::Duration;

use super::{Strike, unknown};
use crate::net::Link;
use crate::plan::Fault;
use crate::plan::fault::Direction;
use crate::world::World;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (world, struck) = (strike.world, strike.struck);
    match fault {
        Fault::Reset { every_ms, .. } => {
            let others = world.members().filter(|index| *index != struck);
            let links: Vec<Link> = others.map(|other| World::link(struck, other)).collect();
            reset(strike, &links, every_ms).await;
        }
        Fault::ClientReset { every_ms, .. } => {
            let clients = world.plan().clients.iter();
            let links: Vec<Link> = clients.map(|client| World::client_links(client.id, struck)[0]).collect();
            reset(strike, &links, every_ms).await;
        }
        Fault::ClientCut { client, direction, .. } => {
            let [there, back] = World::client_links(client, struck);
            let links = match direction {
                Direction::Both => vec![there, back],
                Direction::In => vec![back],
                Direction::Out => vec![there],
            };
            world.network().cut(&links);
            strike.last().await;
            world.network().mend(&links);
        }
        other => unknown(other),
    }
}

async fn reset(strike: &Strike<'_>, links: &[Link], every_ms: u64) {
    let every = Duration::from_millis(every_ms.max(1));
    let mut left = strike.for_;
    loop {
        strike.world.network().reset(links);
        if left.is_zero() {
            return;
        }
        strike.wait(every.min(left)).await;
        left = left.saturating_sub(every);
    }
}
