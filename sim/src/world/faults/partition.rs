//! Links that are cut for as long as the fault lasts: one member alone, two sides, a bridge, a ring.

use super::{Strike, unknown};
use crate::plan::fault::Direction;
use crate::plan::{Fault, MemberIndex};
use crate::world::World;
use crate::world::network::Link;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let members: Vec<MemberIndex> = strike.world.members().collect();
    let links = cut(strike, fault, &members);
    strike.world.network().cut(&links);
    strike.last().await;
    strike.world.network().mend(&links);
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
        Fault::Ring { order } => ring(members, order),
        other => {
            unknown(other);
            Vec::new()
        }
    }
}

/// Every link between one side and the other, in the direction seen from that side.
pub(super) fn between(
    members: &[MemberIndex],
    direction: Direction,
    side: impl Fn(MemberIndex) -> bool,
) -> Vec<Link> {
    pairs(members, |from, to| {
        let (out, into) = (side(from) && !side(to), !side(from) && side(to));
        match direction {
            Direction::Both => out || into,
            Direction::In => into,
            Direction::Out => out,
        }
    })
}

/// Every link but those between neighbours in a ring: the members in an order of their own, by steps of one or two.
/// In a ring of three everybody is a neighbour, so there each hears only the one before.
fn ring(members: &[MemberIndex], order: u8) -> Vec<Link> {
    let count = members.len();
    let place = |index: MemberIndex| members.iter().position(|other| *other == index).unwrap_or(0);
    let forwards = |from, to| (place(to) + count - place(from)) % count.max(1);
    let step = 1 + usize::from(order % 2);
    pairs(members, |from, to| match count {
        0..=3 => forwards(from, to) != step,
        _ => forwards(from, to) != step && forwards(to, from) != step,
    })
}

fn pairs(members: &[MemberIndex], is_cut: impl Fn(MemberIndex, MemberIndex) -> bool) -> Vec<Link> {
    let mut links = Vec::new();
    for from in members {
        for to in members.iter().filter(|to| *to != from) {
            if is_cut(*from, *to) {
                links.push(World::link(*from, *to));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(links: &[Link], members: &[MemberIndex], by: MemberIndex) -> usize {
        let open = |from: &&MemberIndex| **from != by && !links.contains(&World::link(**from, by));
        members.iter().filter(open).count()
    }

    #[test]
    fn in_a_ring_each_hears_as_many_as_its_neighbours_and_no_two_the_same() {
        let members: Vec<MemberIndex> = (0..5).map(MemberIndex).collect();
        for order in 0..4 {
            let (five, three) = (ring(&members, order), ring(&members[..3], order));
            assert_eq!((five.len(), three.len()), (10, 3));
            assert!(members.iter().all(|by| heard(&five, &members, *by) == 2));
            assert!(members[..3].iter().all(|by| heard(&three, &members[..3], *by) == 1));
        }
        assert_ne!(ring(&members, 0), ring(&members, 1));
        assert_ne!(ring(&members[..3], 0), ring(&members[..3], 1));
    }

    #[test]
    fn a_cut_between_sides_goes_one_way_or_both() {
        let members: Vec<MemberIndex> = (0..3).map(MemberIndex).collect();
        let alone = |direction| between(&members, direction, |index| index.0 == 0);
        assert_eq!(alone(Direction::Both).len(), 4);
        let from = |link: &Link| link.from == World::link(MemberIndex(0), MemberIndex(1)).from;
        assert!(alone(Direction::Out).iter().all(from));
        assert!(!alone(Direction::In).iter().any(from));
    }
}
