//! Links that are cut for as long as the fault lasts: one member alone, two sides, a bridge, a ring.

use super::{Strike, unknown};
use crate::net::cuts::{Pair, between, ring};
use crate::plan::fault::Direction;
use crate::plan::{Fault, MemberIndex};
use crate::world::World;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let members: Vec<MemberIndex> = strike.world.members().collect();
    let links = World::links(&cut(strike, fault, &members));
    strike.world.network().cut(&links);
    strike.last().await;
    strike.world.network().mend(&links);
}

/// What a partition cuts.
fn cut(strike: &Strike<'_>, fault: Fault, members: &[MemberIndex]) -> Vec<Pair> {
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
        Fault::Ring { order } => ring(members, order),
        other => {
            unknown(other);
            Vec::new()
        }
    }
}
