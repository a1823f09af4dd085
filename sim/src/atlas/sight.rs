//! What the product can see of damage, by what its formats promise.

use std::ops::Range;

use quorate_disk::Damage;

use super::log_map::{Batch, BatchKind, HEADER_COPIES, SegmentMap};

/// What can be seen of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// It strikes what nothing depends on, or what stands twice: the member runs on.
    Harmless,
    /// The member runs on while it has not read it, and then gives the right answers, repairs it, or gives up.
    Seen,
    /// Nothing that checks out speaks against it: the product states that it cannot see it. Never left on a disk.
    Unseen,
}

/// The copies of the engine file's own header.
const ENGINE_HEADER_COPIES: [Range<u64>; 2] = [0..36, 2_048..2_084];
/// The byte of the engine's file that selects its root and has no checksum.
const ENGINE_ROOT_BYTE: u64 = 4_096 + 9;

fn meets(damage: &Damage, range: &Range<u64>) -> bool {
    damage.offset < range.end && range.start < damage.offset + damage.bytes
}

/// Whether damage strikes one copy of something that stands twice (`Some(true)`), every copy, or none of it.
fn one_of_two(damage: &[&Damage], copies: &[Range<u64>; 2]) -> Option<bool> {
    let struck = copies.iter().filter(|copy| damage.iter().any(|damage| meets(damage, copy))).count();
    (struck > 0).then_some(struck == 1)
}

/// What stands beside a segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// No earlier segment is there.
    pub first: bool,
    /// A later segment that is in use states where this one ends.
    pub followed: bool,
}

/// What can be seen of the damage in one segment of the log. `map` is what it would be without.
pub fn sight_in_log(map: &SegmentMap, damage: &[&Damage], neighbours: Neighbours) -> Sight {
    let struck = |range: &Range<u64>| damage.iter().any(|damage| meets(damage, range));
    let mut sight = Sight::Harmless;
    // A log is read whole, so a sector that cannot be read is met wherever it is.
    if damage.iter().any(|damage| damage.unreadable) || one_of_two(damage, &HEADER_COPIES) == Some(false) {
        sight = Sight::Seen;
    }
    for (nth, batch) in map.batches.iter().enumerate().filter(|(_, batch)| struck(&batch.content)) {
        let later = map.batches.iter().skip(nth + 1);
        let vouched = nth == 0
            || neighbours.followed
            || map.founded > batch.content.start
            || later.clone().any(|later| !struck(&later.head()) && later.vouches > batch.content.start);
        let here = match (vouched, batch.kind) {
            (true, _) => Sight::Seen,
            (false, BatchKind::Records) => Sight::Unseen,
            // The only proof that this segment was put to use: without it the one before, which was given up since, may
            // be missing.
            (false, _) if neighbours.first && !proofs(map).any(|proof| !struck(&proof.head())) => Sight::Seen,
            (false, _) => Sight::Harmless,
        };
        sight = sight.max(here);
    }
    sight
}

/// What was written after the segment got its name.
fn proofs(map: &SegmentMap) -> impl Iterator<Item = &Batch> {
    map.batches.iter().filter(|batch| batch.content.start >= map.founded)
}

/// What can be seen of the damage in the state engine's file.
pub fn sight_in_engine(damage: &[&Damage]) -> Sight {
    let root_alone = |damage: &&Damage| damage.offset == ENGINE_ROOT_BYTE && damage.bytes == 1;
    let in_header = |damage: &&Damage| damage.offset + damage.bytes <= 4_096;
    if damage.iter().any(|damage| !damage.unreadable && root_alone(damage)) {
        Sight::Unseen
    } else if damage.iter().all(in_header) && one_of_two(damage, &ENGINE_HEADER_COPIES) != Some(false) {
        Sight::Harmless
    } else {
        Sight::Seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(offset: u64, bytes: u64) -> Damage {
        Damage { path: "/f".to_owned(), offset, bytes, unreadable: false }
    }

    fn segment() -> SegmentMap {
        let batch =
            |start: u64, bytes: u64, kind, vouches| Batch { content: start..start + bytes, kind, vouches };
        SegmentMap {
            batches: vec![
                batch(12_288, 250, BatchKind::Checkpoint, 12_288),
                batch(16_384, 600, BatchKind::Records, 16_384),
                batch(20_480, 700, BatchKind::Records, 20_480),
                batch(24_576, 80, BatchKind::Seal, 24_576),
            ],
            founded: 16_384,
        }
    }

    fn seen(damages: &[Damage], map: &SegmentMap, followed: bool) -> Sight {
        sight_in_log(map, &damages.iter().collect::<Vec<_>>(), Neighbours { first: false, followed })
    }

    #[test]
    fn the_only_proof_that_the_segment_before_is_not_needed_is_seen() {
        let mut map = segment();
        let damage = damage(24_600, 1);
        let first =
            |map: &SegmentMap| sight_in_log(map, &[&damage], Neighbours { first: true, followed: false });
        assert_eq!(first(&map), Sight::Harmless, "records prove it too");
        map.founded = 24_576;
        assert_eq!(first(&map), Sight::Seen);
        assert_eq!(
            seen(std::slice::from_ref(&damage), &map, false),
            Sight::Harmless,
            "the one before is there"
        );
    }

    #[test]
    fn what_a_later_batch_vouches_for_is_seen() {
        let map = segment();
        assert_eq!(seen(&[damage(12_300, 1)], &map, false), Sight::Seen, "the checkpoint");
        assert_eq!(seen(&[damage(16_400, 1)], &map, false), Sight::Seen);
        assert_eq!(seen(&[damage(20_500, 1)], &map, false), Sight::Seen, "the seal vouches");
        assert_eq!(seen(&[damage(17_000, 100)], &map, false), Sight::Harmless, "padding");
        assert_eq!(
            seen(&[damage(24_600, 1)], &map, false),
            Sight::Harmless,
            "a seal that nothing vouches for"
        );
    }

    #[test]
    fn the_last_batch_is_unseen_without_its_seal() {
        let mut map = segment();
        assert_eq!(seen(&[damage(20_500, 1), damage(24_600, 1)], &map, false), Sight::Unseen);
        map.batches.pop();
        assert_eq!(seen(&[damage(20_500, 1)], &map, false), Sight::Unseen);
        assert_eq!(seen(&[damage(20_500, 1)], &map, true), Sight::Seen, "the next segment states the end");
    }

    #[test]
    fn what_stands_twice_may_be_struck_once() {
        let map = segment();
        assert_eq!(seen(&[damage(10, 1)], &map, false), Sight::Harmless);
        assert_eq!(seen(&[damage(10, 1), damage(4_100, 1)], &map, false), Sight::Seen);
        let engine = |damages: &[Damage]| sight_in_engine(&damages.iter().collect::<Vec<_>>());
        assert_eq!(engine(&[damage(2_050, 1)]), Sight::Harmless);
        assert_eq!(engine(&[damage(0, 3_000)]), Sight::Seen);
        assert_eq!(engine(&[damage(4_105, 1)]), Sight::Unseen);
        assert_eq!(engine(&[damage(9_000, 4)]), Sight::Seen);
    }

    #[test]
    fn what_cannot_be_read_is_always_met() {
        let unreadable = Damage { unreadable: true, ..damage(24_576, 512) };
        assert_eq!(seen(&[unreadable], &segment(), false), Sight::Seen);
    }
}
