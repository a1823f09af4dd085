//! Which links between members a partition cuts, in pairs of who is not heard by whom.

use crate::plan::MemberIndex;
use crate::plan::fault::Direction;

/// Who is not heard, and by whom.
pub type Pair = (MemberIndex, MemberIndex);

/// Every pair across two sides, in the direction seen from the side that `side` names.
pub fn between(
    members: &[MemberIndex],
    direction: Direction,
    side: impl Fn(MemberIndex) -> bool,
) -> Vec<Pair> {
    pairs(members, |from, to| {
        let (out, into) = (side(from) && !side(to), !side(from) && side(to));
        match direction {
            Direction::Both => out || into,
            Direction::In => into,
            Direction::Out => out,
        }
    })
}

/// Every pair but neighbours in a ring: the members in an order of their own, by steps of one or two. In a ring of
/// three everybody is a neighbour, so there each hears only the one before.
pub fn ring(members: &[MemberIndex], order: u8) -> Vec<Pair> {
    let count = members.len();
    let place = |index: MemberIndex| members.iter().position(|other| *other == index).unwrap_or(0);
    let forwards = |from, to| (place(to) + count - place(from)) % count.max(1);
    let step = 1 + usize::from(order % 2);
    pairs(members, |from, to| match count {
        0..=3 => forwards(from, to) != step,
        _ => forwards(from, to) != step && forwards(to, from) != step,
    })
}

/// Every pair that `is_cut` names.
pub fn pairs(members: &[MemberIndex], mut is_cut: impl FnMut(MemberIndex, MemberIndex) -> bool) -> Vec<Pair> {
    let mut cut = Vec::new();
    for from in members {
        for to in members.iter().filter(|to| *to != from) {
            if is_cut(*from, *to) {
                cut.push((*from, *to));
            }
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(cut: &[Pair], members: &[MemberIndex], by: MemberIndex) -> usize {
        members.iter().filter(|from| **from != by && !cut.contains(&(**from, by))).count()
    }

    #[test]
    fn in_a_ring_each_hears_its_neighbours_alone() {
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
        assert!(alone(Direction::Out).iter().all(|(from, _)| from.0 == 0));
        assert!(alone(Direction::In).iter().all(|(_, to)| to.0 == 0));
    }
}
