//! Which of many key ranges hold a key.
//!
//! Single keys stand in a map. Wider ranges stand in a treap ordered by start key in which every node knows the
//! furthest end below it, so that a lookup costs about log(ranges) plus the ranges found, and a change costs
//! about log(ranges), whatever the nesting. Priorities come from a counter through a fixed mixing function:
//! the shape is the same in every run.
//!
//! What it does not do: hold watchers. It maps ranges to group ids, which its user gives meaning.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::types::{KeyRange, RangeEnd};

/// Names the watchers of one range with the same options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// Ranges, each with the groups that watch it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeIndex {
    singles: BTreeMap<Bytes, BTreeSet<GroupId>>,
    spans: Link,
    inserted: u64,
}

type Link = Option<Box<Node>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    span: Span,
    groups: BTreeSet<GroupId>,
    priority: u64,
    /// The furthest end in this subtree.
    reach: End,
    left: Link,
    right: Link,
}

/// A range of more than one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Span {
    start: Bytes,
    end: End,
}

/// The end of a span; the open end is the greatest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum End {
    Before(Bytes),
    Open,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => end.as_ref() > key,
            End::Open => true,
        }
    }
}

impl Span {
    fn of(range: &KeyRange) -> Option<Span> {
        let end = match &range.end {
            RangeEnd::Single => return None,
            RangeEnd::Before(end) => End::Before(end.clone()),
            RangeEnd::Open => End::Open,
        };
        Some(Span { start: range.start.clone(), end })
    }
}

impl RangeIndex {
    /// Adds a group to a range.
    pub fn insert(&mut self, range: &KeyRange, group: GroupId) {
        let Some(span) = Span::of(range) else {
            self.singles.entry(range.start.clone()).or_default().insert(group);
            return;
        };
        if let Some(groups) = find(&mut self.spans, &span) {
            groups.insert(group);
            return;
        }
        self.inserted = self.inserted.wrapping_add(1);
        let node = Node {
            reach: span.end.clone(),
            groups: BTreeSet::from([group]),
            priority: mix(self.inserted),
            left: None,
            right: None,
            span,
        };
        let (left, right) = split(self.spans.take(), &node.span);
        self.spans = merge(merge(left, Some(Box::new(node))), right);
    }

    /// Takes a group off a range; nothing happens when it is not there.
    pub fn remove(&mut self, range: &KeyRange, group: GroupId) {
        let Some(span) = Span::of(range) else {
            if let Some(groups) = self.singles.get_mut(&range.start) {
                groups.remove(&group);
                if groups.is_empty() {
                    self.singles.remove(&range.start);
                }
            }
            return;
        };
        let Some(groups) = find(&mut self.spans, &span) else { return };
        groups.remove(&group);
        if groups.is_empty() {
            self.spans = without(self.spans.take(), &span);
        }
    }

    /// Adds to `found` every group with a range that holds `key`, once a range, in no particular order.
    pub fn stab(&self, key: &[u8], found: &mut Vec<GroupId>) {
        if let Some(groups) = self.singles.get(key) {
            found.extend(groups);
        }
        collect(&self.spans, key, found);
    }

    /// Whether no range is held.
    pub fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.spans.is_none()
    }
}

/// Spreads a counter over 64 bits (the finalizer of SplitMix64).
fn mix(counter: u64) -> u64 {
    let mut bits = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn find<'a>(link: &'a mut Link, span: &Span) -> Option<&'a mut BTreeSet<GroupId>> {
    let node = link.as_mut()?;
    match span.cmp(&node.span) {
        Ordering::Less => find(&mut node.left, span),
        Ordering::Equal => Some(&mut node.groups),
        Ordering::Greater => find(&mut node.right, span),
    }
}

fn collect(link: &Link, key: &[u8], found: &mut Vec<GroupId>) {
    let Some(node) = link else { return };
    if !node.reach.is_after(key) {
        return;
    }
    collect(&node.left, key, found);
    if node.span.start.as_ref() > key {
        return;
    }
    if node.span.end.is_after(key) {
        found.extend(&node.groups);
    }
    collect(&node.right, key, found);
}

/// Parts a subtree into what is below `span` and what is not.
fn split(link: Link, span: &Span) -> (Link, Link) {
    let Some(mut node) = link else { return (None, None) };
    if node.span < *span {
        let (left, right) = split(node.right.take(), span);
        node.right = left;
        (Some(refreshed(node)), right)
    } else {
        let (left, right) = split(node.left.take(), span);
        node.left = right;
        (left, Some(refreshed(node)))
    }
}

/// Joins two subtrees of which the first is wholly below the second.
fn merge(left: Link, right: Link) -> Link {
    match (left, right) {
        (None, link) | (link, None) => link,
        (Some(mut left), Some(mut right)) => Some(if left.priority > right.priority {
            left.right = merge(left.right.take(), Some(right));
            refreshed(left)
        } else {
            right.left = merge(Some(left), right.left.take());
            refreshed(right)
        }),
    }
}

fn without(link: Link, span: &Span) -> Link {
    let mut node = link?;
    match span.cmp(&node.span) {
        Ordering::Less => node.left = without(node.left.take(), span),
        Ordering::Greater => node.right = without(node.right.take(), span),
        Ordering::Equal => return merge(node.left.take(), node.right.take()),
    }
    Some(refreshed(node))
}

fn refreshed(mut node: Box<Node>) -> Box<Node> {
    let below = [&node.left, &node.right].into_iter().flatten().map(|child| &child.reach).max();
    node.reach = match below {
        Some(reach) if *reach > node.span.end => reach.clone(),
        _ => node.span.end.clone(),
    };
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn depth(link: &Link) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    #[test]
    fn nested_and_sorted_ranges_stay_shallow() {
        let mut index = RangeIndex::default();
        for number in 0..10_000_u64 {
            let start = Bytes::from(format!("{number:05}"));
            index.insert(&KeyRange { start, end: RangeEnd::Open }, GroupId(number));
        }
        assert!(depth(&index.spans) < 60, "depth {}", depth(&index.spans));
        let mut found = Vec::new();
        index.stab(b"00041", &mut found);
        assert_eq!(found.len(), 42);
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let key = || proptest::collection::vec(0_u8..4, 0..3).prop_map(Bytes::from);
        (key(), prop_oneof![Just(RangeEnd::Single), Just(RangeEnd::Open), key().prop_map(RangeEnd::Before)])
            .prop_map(|(start, end)| KeyRange { start, end })
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_list_finds(
            steps in proptest::collection::vec((any::<bool>(), any_range(), 0_u64..3), 0..60),
            keys in proptest::collection::vec(proptest::collection::vec(0_u8..4, 0..4), 1..20),
        ) {
            let mut index = RangeIndex::default();
            let mut list = BTreeSet::new();
            for (add, range, group) in steps {
                let group = GroupId(group);
                if add {
                    index.insert(&range, group);
                    list.insert((range, group));
                } else {
                    index.remove(&range, group);
                    list.remove(&(range, group));
                }
            }
            prop_assert_eq!(index.is_empty(), list.is_empty());
            for key in keys {
                let mut found = Vec::new();
                index.stab(&key, &mut found);
                found.sort();
                let mut expected: Vec<GroupId> =
                    list.iter().filter(|(range, _)| range.contains(&key)).map(|(_, group)| *group).collect();
                expected.sort();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
