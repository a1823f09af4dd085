//! A history made anew from its changes alone: everything reads the same, and both go on the same.

use proptest::collection::vec;
use proptest::prelude::*;
use quorate::machine::command::*;
use quorate::machine::effects::{Event, Records};
use quorate::machine::mvcc::rebuild::Rebuild;
use quorate::machine::persist::{Bucket, Write};
use quorate::types::{KeyRange, RangeEnd, RevPair, Revision};

use crate::generate::command;
use crate::store::{Node, Store};

fn everything(revision: Revision) -> Range {
    Range { revision, ..Range::of(KeyRange { start: "\0".into(), end: RangeEnd::Open }) }
}

/// A node over a store whose history was made anew from the changes that `node` has stored.
fn rebuilt(node: &Node) -> Node {
    let compacted = node.state.compacted();
    let mut store = Store::default();
    store.0.extend(
        node.store
            .0
            .iter()
            .filter(|((bucket, _), _)| *bucket != Bucket::Records)
            .map(|(place, value)| (place.clone(), value.clone())),
    );
    let mut history = Rebuild::new(compacted);
    let first = RevPair { main: Revision(2), sub: 0 };
    let mut records = Vec::new();
    let stored = node.store.scan(first, usize::MAX).unwrap();
    let last_of = |key: &[u8], revision: Revision| {
        let changes = stored.iter().filter(|(at, record)| at.main == revision && record.event.key() == key);
        changes.map(|(at, _)| *at).max()
    };
    for (at, record) in &stored {
        let at = *at;
        let is_read = at.main > compacted
            || match &record.event {
                Event::Put(kv) => node.state.locate(&kv.key, compacted).unwrap() == Some(at),
                // The last change of its revision to the key, of several.
                Event::Delete { key, .. } => at.main == compacted && last_of(key, compacted) == Some(at),
            };
        if is_read {
            records.extend(history.add(at, &record.event).unwrap());
        }
    }
    let (last, numbers) = history.finish();
    records.extend(last);
    let records =
        records.into_iter().map(|(key, value)| Write { bucket: Bucket::Records, key, value: Some(value) });
    store.write(&records.collect::<Vec<_>>());
    store.write(&[numbers]);
    node.twin(store)
}

/// Holds all that can be read of one against the other.
fn same(node: &Node, twin: &Node) {
    assert_eq!(node.state.revision(), twin.state.revision());
    assert_eq!(node.state.compacted(), twin.state.compacted());
    assert_eq!(node.state.logical_size(), twin.state.logical_size());
    for revision in 0..=node.state.revision().0 + 1 {
        let query = everything(Revision(revision));
        let read = |node: &Node| node.state.range(&node.store, &query).unwrap();
        assert_eq!(read(node), read(twin), "as of {revision}");
        let hash = |node: &Node| node.state.hash_kv(&node.store, Revision(revision)).unwrap();
        assert_eq!(hash(node), hash(twin), "up to {revision}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_made_anew_reads_and_goes_on_the_same(
        before in vec(command(), 1..50),
        swept in 0_usize..8,
        after in vec(command(), 0..25),
    ) {
        let mut node = Node::default();
        for command in before {
            node.run(command);
        }
        // How far the original was swept is its own business.
        if swept > 0 {
            node.sweep(swept);
        }
        let mut twin = rebuilt(&node);
        same(&node, &twin);
        for command in after {
            prop_assert_eq!(node.run(command.clone()), twin.run(command));
            prop_assert_eq!(node.state.logical_size(), twin.state.logical_size());
        }
        while !twin.sweep(3) {}
        same(&node, &twin);
        // It loads again, with the sums that it has come to.
        let again = twin.twin(twin.store.clone());
        prop_assert_eq!(again.state.hash(), twin.state.hash());
    }

    #[test]
    fn a_raised_revision_leaves_what_is_live_and_nothing_else(
        before in vec(command(), 1..40),
        by in 1_i64..1_000_000,
        after in vec(command(), 0..15),
    ) {
        let mut node = Node::default();
        for command in before {
            node.run(command);
        }
        let live = node.state.range(&node.store, &everything(Revision(0))).unwrap();
        let revision = node.state.revision();
        let numbers = node.state.leap(by).unwrap();
        node.store.write(&[numbers]);
        prop_assert_eq!(node.state.revision(), Revision(revision.0 + by));
        prop_assert_eq!(node.state.compacted(), node.state.revision());
        let loaded = node.twin(node.store.clone());
        prop_assert_eq!(loaded.state.hash(), node.state.hash());
        let now = |node: &Node| node.state.range(&node.store, &everything(Revision(0))).unwrap().map(|reply| reply.kvs);
        prop_assert_eq!(now(&node), live.map(|reply| reply.kvs));
        for command in after {
            node.run(command);
        }
        let swept = node.state.clone();
        while !node.sweep(2) {}
        prop_assert_eq!(node.state.hash(), swept.hash(), "a sweep changes nothing that is replicated");
        let loaded = node.twin(node.store.clone());
        prop_assert_eq!(loaded.state.hash(), node.state.hash());
    }
}

#[test]
fn a_revision_is_not_raised_beyond_all_numbers() {
    let mut node = Node::default();
    for by in [0, -1, i64::MAX, 1 << 62] {
        assert!(node.state.leap(by).is_err(), "by {by}");
    }
    assert_eq!(node.state.revision(), Revision(1));
}
