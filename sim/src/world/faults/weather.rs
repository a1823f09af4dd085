//! Weather in which messages are late, lost, or arrive twice: everywhere, or over one link.

use super::{Strike, unknown};
use crate::net::weather::{Scope, Weather};
use crate::plan::fault::Direction;
use crate::plan::{Fault, MemberIndex, Span};
use crate::world::World;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (scope, weather) = match fault {
        Fault::Loss { permille } => (Scope::Everywhere, Weather::Loss(permille)),
        Fault::Delay { least_us, most_us } => {
            (Scope::Everywhere, Weather::Delay(Span::new(least_us, most_us)))
        }
        Fault::Copies { permille } => (Scope::Everywhere, Weather::Copies(permille)),
        Fault::SlowLink { other, direction, least_us, most_us, .. } => {
            (over(strike, other, direction), Weather::Delay(Span::new(least_us, most_us)))
        }
        Fault::LossyLink { other, direction, permille, .. } => {
            (over(strike, other, direction), Weather::Loss(permille))
        }
        other => return unknown(other),
    };
    let network = strike.world.network();
    network.open_window(strike.id, scope, weather);
    strike.last().await;
    network.close_window(strike.id);
}

/// The link between the struck member and the `other`th of the rest.
fn over(strike: &Strike<'_>, other: u8, direction: Direction) -> Scope {
    let rest: Vec<MemberIndex> = strike.world.members().filter(|index| *index != strike.struck).collect();
    let nth = usize::from(other).checked_rem(rest.len());
    let Some(other) = nth.and_then(|nth| rest.get(nth)) else { return Scope::Links(Vec::new()) };
    let out = World::link(strike.struck, *other);
    Scope::Links(match direction {
        Direction::Both => vec![out, out.back()],
        Direction::In => vec![out.back()],
        Direction::Out => vec![out],
    })
}
