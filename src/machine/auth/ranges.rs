//! A set of keys as disjoint intervals: what several permissions reach together.

use bytes::Bytes;

use crate::types::{KeyRange, RangeEnd};

/// Intervals that neither overlap nor touch, by their starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Interval>);

/// The keys from `start` on, and below `end` if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    start: Bytes,
    end: Option<Bytes>,
}

impl Interval {
    /// The keys of a range. One that holds no key counts as its first key, so that asking for nothing of what one may not
    /// touch is refused too.
    fn of(range: &KeyRange) -> Interval {
        let end = match &range.end {
            RangeEnd::Open => None,
            RangeEnd::Before(end) if *end > range.start => Some(end.clone()),
            RangeEnd::Before(_) | RangeEnd::Single => Some([&range.start[..], &[0]].concat().into()),
        };
        Interval { start: range.start.clone(), end }
    }

    /// Whether a key lies beyond all of it, and does not follow on it either.
    fn ends_before(&self, key: &Bytes) -> bool {
        self.end.as_ref().is_some_and(|end| end < key)
    }

    /// Whether it reaches as far as `other`.
    fn reaches(&self, other: &Interval) -> bool {
        match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own >= other,
        }
    }
}

impl Ranges {
    /// The keys that any of the ranges holds.
    pub fn union<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Ranges {
        let mut all: Vec<Interval> = ranges.map(Interval::of).collect();
        all.sort_by(|a, b| a.start.cmp(&b.start));
        let mut union: Vec<Interval> = Vec::new();
        for next in all {
            match union.last_mut() {
                Some(last) if !last.ends_before(&next.start) => {
                    if !last.reaches(&next) {
                        last.end = next.end;
                    }
                }
                _ => union.push(next),
            }
        }
        Ranges(union)
    }

    /// Whether every key of the range is among them.
    pub fn contain(&self, range: &KeyRange) -> bool {
        let wanted = Interval::of(range);
        let behind = self.0.partition_point(|interval| interval.start <= wanted.start);
        let candidate = behind.checked_sub(1).and_then(|place| self.0.get(place));
        candidate.is_some_and(|interval| interval.reaches(&wanted))
    }

    /// Whether a key is among them.
    pub fn contain_key(&self, key: &Bytes) -> bool {
        self.contain(&KeyRange::single(key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_wire(start.into(), end.into())
    }

    fn union(ranges: &[KeyRange]) -> Ranges {
        Ranges::union(ranges.iter())
    }

    #[test]
    fn neighbours_and_overlaps_melt_into_one() {
        let ranges = union(&[range("d", "f"), range("a", "c"), range("c", "d"), range("b", "c")]);
        assert_eq!(ranges, union(&[range("a", "f")]));
        assert!(ranges.contain(&range("a", "f")) && ranges.contain(&range("b", "e")));
        assert!(!ranges.contain(&range("a", "g")) && !ranges.contain(&range("a", "\0")));
        assert!(!ranges.contain_key(&Bytes::from("f")) && ranges.contain_key(&Bytes::from("ezz")));
    }

    #[test]
    fn a_gap_of_one_key_is_a_gap() {
        // The first key behind "b" is "b\0".
        let ranges = union(&[range("a", "b"), range("b\0", "c")]);
        assert!(!ranges.contain(&range("a", "c")));
        assert!(!ranges.contain_key(&Bytes::from("b")));
        let closed = union(&[range("a", "b"), range("b\0", "c"), range("b", "")]);
        assert!(closed.contain(&range("a", "c")));
    }

    #[test]
    fn an_open_end_is_reached_by_an_open_end_only() {
        let open = union(&[range("m", "\0"), range("x", "z")]);
        assert!(open.contain(&range("n", "\0")) && open.contain(&range("x", "")));
        assert!(!open.contain(&range("l", "\0")));
        assert!(!union(&[range("m", "zzzz")]).contain(&range("n", "\0")));
        assert!(union(&[range("\0", "\0")]).contain(&range("\0", "\0")));
    }

    #[test]
    fn asking_for_nothing_needs_the_right_to_its_start() {
        let ranges = union(&[range("m", "p")]);
        assert!(ranges.contain(&range("n", "a")) && !ranges.contain(&range("b", "a")));
        assert!(!Ranges::default().contain(&range("b", "a")));
    }

    /// Against the plain meaning: every key of a small world.
    #[test]
    fn a_union_holds_what_its_parts_hold() {
        let edges = ["a", "a\0", "aa", "b", "b\0", "c"];
        let keys = ["a", "a\0", "a\0\0", "aa", "aa\0", "ab", "b", "b\0", "b\0\0", "bb", "c", "c\0", "zz"];
        let ends = edges.iter().copied().chain(["", "\0"]);
        let all: Vec<KeyRange> =
            edges.iter().flat_map(|start| ends.clone().map(move |end| range(start, end))).collect();
        let is_empty = |range: &KeyRange| !keys.iter().any(|key| range.contains(key.as_bytes()));
        for first in all.iter().filter(|range| !is_empty(range)) {
            for second in all.iter().filter(|range| !is_empty(range)) {
                let both = union(&[first.clone(), second.clone()]);
                for key in keys {
                    let plain = first.contains(key.as_bytes()) || second.contains(key.as_bytes());
                    assert_eq!(
                        both.contain_key(&Bytes::from(key)),
                        plain,
                        "{key:?} in {first:?} or {second:?}"
                    );
                }
            }
        }
    }
}
