//! Links that are cut, and weather in which messages are lost or late.

use super::{Strike, unknown};
use crate::plan::fault::Direction;
use crate::plan::{Fault, MemberIndex, Span};
use crate::world::network::{Link, Weather};

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let network = &strike.world.inner.network;
    let members: Vec<MemberIndex> = strike.world.members().collect();
    let weather = match fault {
        Fault::Loss { permille } => Weather::Loss(permille),
        Fault::Delay { least_us, most_us } => Weather::Delay(Span::new(least_us, most_us)),
        _ => {
            let links = cut(strike, fault, &members);
            network.cut(&links);
            strike.last().await;
            network.mend(&links);
            return;
        }
    };
    network.open_window(strike.id, weather);
    strike.last().await;
    network.close_window(strike.id);
}

/// The links that a partition cuts.
fn cut(strike: &Strike<'_>, fault: Fault, members: &[MemberIndex]) -> Vec<Link> {
    match fault {
        Fault::Isolate { direction, .. } => between(members, direction, |index| index == strike.struck),
        Fault::Split { side, direction } => {
            between(members, direction, |index| u32::from(side) >> u32::from(index.0) & 1 == 1)
        }
        Fault::Bridge { .. } => {
            let halves: Vec<MemberIndex> =
                members.iter().copied().filter(|index| *index != strike.struck).collect();
            let middle = halves.len() / 2;
            between(&halves, Direction::Both, |index| halves.iter().take(middle).any(|left| *left == index))
        }
        other => {
            unknown(other);
            Vec::new()
        }
    }
}

/// Every link between one side and the other, in the direction seen from that side.
fn between(members: &[MemberIndex], direction: Direction, side: impl Fn(MemberIndex) -> bool) -> Vec<Link> {
    let mut links = Vec::new();
    for from in members {
        for to in members {
            let (out, into) = (side(*from) && !side(*to), !side(*from) && side(*to));
            let cut = match direction {
                Direction::Both => out || into,
                Direction::In => into,
                Direction::Out => out,
            };
            if cut {
                links.push((*from, *to));
            }
        }
    }
    links
}
