//! What holds for every sequence of commands.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate::machine::State;
use quorate::machine::codec::{decode_batch, encode_batch};
use quorate::machine::command::*;
use quorate::machine::effects::Records;
use quorate::machine::mvcc::range::RangeCursor;
use quorate::types::{Incarnation, KeyRange, MemberId, RangeEnd, Revision};

use crate::generate::{command, key_range, range};
use crate::model::Model;
use crate::store::{Node, batch};

fn everything(revision: i64) -> Range {
    Range {
        range: KeyRange { start: Bytes::new(), end: RangeEnd::Open },
        revision: Revision(revision),
        ..plain()
    }
}

fn plain() -> Range {
    Range::of(KeyRange::single("a"))
}

/// Every revision reads as the model has it, the refused ones too.
fn assert_reads_agree(state: &State, records: &dyn Records, model: &Model) {
    for revision in 0..=model.revision() + 1 {
        let query = everything(revision);
        assert_eq!(state.range(records, &query).unwrap(), model.range(&query), "at revision {revision}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_events_and_sizes_are_the_models(commands in vec(command(), 1..50)) {
        let (mut node, mut model) = (Node::default(), Model::default());
        for command in commands {
            let expected = model.run(&command);
            prop_assert_eq!(node.run(command), expected);
            prop_assert_eq!(node.state.logical_size(), model.size());
            for (id, lease) in node.state.leases().iter() {
                let attached: Vec<_> = lease.keys().cloned().collect();
                let named: Vec<_> = model.history.last().unwrap().values()
                    .filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect();
                prop_assert_eq!(attached, named, "keys of lease {}", id);
            }
        }
        assert_reads_agree(&node.state, &node.store, &model);
        prop_assert_eq!(node.state.leases().len(), model.leases.len());
    }

    #[test]
    fn any_range_is_the_models_whole_or_in_steps(
        commands in vec(command(), 1..40),
        queries in vec((range(), 1_usize..4), 1..20),
    ) {
        let (mut node, mut model) = (Node::default(), Model::default());
        for command in commands {
            model.run(&command);
            node.run(command);
        }
        for (query, budget) in queries {
            let expected = model.range(&query);
            prop_assert_eq!(&node.state.range(&node.store, &query).unwrap(), &expected, "{:?}", query);
            let stepped = node.state.range_begin(query).and_then(|mut cursor: RangeCursor| {
                while !node.state.range_step(&mut cursor, budget)? {}
                Ok(cursor.finish(&node.store).unwrap())
            });
            prop_assert_eq!(stepped, expected);
        }
    }

    /// A crash may come at any moment, and in the middle of a sweep.
    #[test]
    fn a_reloaded_member_is_the_same_member(
        script in vec(
            (command(), prop::option::weighted(0.3, 1_usize..4), prop::bool::weighted(0.2), 0_usize..4),
            1..50,
        ),
    ) {
        let (mut node, mut model) = (Node::default(), Model::default());
        for (command, sweep, crash, deletions) in script {
            let expected = model.run(&command);
            prop_assert_eq!(node.run(command), expected);
            if let Some(budget) = sweep {
                node.sweep(budget);
            }
            if crash {
                let loaded = node.store.load();
                prop_assert_eq!(loaded.hash(), node.state.hash());
                prop_assert_eq!(loaded.applied(), node.state.applied());
                prop_assert_eq!(loaded.logical_size(), node.state.logical_size());
                prop_assert_eq!(loaded.leases(), node.state.leases());
                prop_assert_eq!(loaded.alarms(), node.state.alarms());
                prop_assert_eq!(loaded.members(), node.state.members());
                node.state = loaded;
                let before = node.state.hash();
                node.sweep_torn(8, deletions);
                prop_assert_eq!(node.state.hash(), before);
            }
            assert_reads_agree(&node.state, &node.store, &model);
        }
    }

    /// One member stores every entry at once and sweeps eagerly, another stores in groups and sweeps now and
    /// then, a third never sweeps.
    #[test]
    fn members_are_equal_whatever_their_disks_and_sweeps_do(
        commands in vec((vec(command(), 1..4), prop::bool::weighted(0.3), 1_usize..5), 1..30),
    ) {
        let mut nodes: [Node; 3] = Default::default();
        let mut sequence = 1;
        for (commands, flush, budget) in commands {
            let entry = batch(1, sequence, commands);
            sequence += u64::try_from(entry.requests.len()).unwrap();
            let effects: Vec<_> = nodes.iter_mut().map(|node| node.apply(&entry)).collect();
            prop_assert_eq!(&effects[0], &effects[1]);
            prop_assert_eq!(&effects[0], &effects[2]);
            let [eager, grouped, plain] = &mut nodes;
            eager.flush();
            while !eager.sweep(100) {}
            if flush {
                grouped.flush();
                grouped.sweep(budget);
            }
            plain.flush();
            prop_assert_eq!(eager.state.hash(), grouped.state.hash());
            prop_assert_eq!(eager.state.hash(), plain.state.hash());
            let sum = |node: &Node| node.state.hash_kv(&node.store, Revision(0)).unwrap();
            prop_assert_eq!(sum(eager), sum(plain), "HashKV sees the same history");
        }
        nodes.iter_mut().for_each(Node::flush);
        for node in &nodes {
            prop_assert_eq!(node.store.load().hash(), nodes[0].state.hash());
        }
        let [eager, _, plain] = &nodes;
        prop_assert!(eager.store.0.len() <= plain.store.0.len());
    }

    /// After a finished sweep nothing is stored that no readable revision shows.
    #[test]
    fn a_finished_sweep_leaves_exactly_what_can_be_read(commands in vec(command(), 1..60), budget in 1_usize..5) {
        let mut node = Node::default();
        for command in commands {
            node.run(command);
        }
        while !node.sweep(budget) {}
        let records = node.store.scan(Default::default(), usize::MAX).unwrap();
        let stored: u64 = records.iter().map(|(_, record)| quorate::machine::mvcc::record::event_size(&record.event)).sum();
        let leases = 64 * u64::try_from(node.state.leases().len()).unwrap();
        prop_assert_eq!(stored + leases, node.state.logical_size());
    }

    /// Every entry may arrive again, whole or in part, at any later time: nothing happens twice.
    #[test]
    fn repeated_requests_change_nothing(
        commands in vec((command(), vec(prop::sample::Index::arbitrary(), 0..3)), 1..40),
    ) {
        let (mut once, mut often) = (Node::default(), Node::default());
        let mut sent: Vec<Batch> = Vec::new();
        for (place, (command, repeats)) in (1_u64..).zip(commands) {
            let mut entry = batch(1, place, vec![command]);
            entry.lowest_unanswered = place.saturating_sub(5);
            let (first, second) = (once.apply(&entry), often.apply(&entry));
            prop_assert_eq!(&first.answers, &second.answers);
            sent.push(entry);
            for repeat in repeats {
                let effects = often.apply(&sent[repeat.index(sent.len())]);
                prop_assert!(effects.answers.is_empty() && effects.events.is_empty() && effects.writes.is_empty());
            }
            prop_assert_eq!(once.state.hash(), often.state.hash());
        }
    }

    #[test]
    fn batches_survive_the_way_through_bytes(
        commands in vec(command(), 0..10),
        extra in vec(key_range(), 1..3),
        numbers in any::<(u64, u64, u64, u64)>(),
    ) {
        let mut entry = batch(1, numbers.0 >> 1, commands);
        entry.member = MemberId(numbers.1);
        entry.incarnation = Incarnation(numbers.2);
        entry.wall_ms = numbers.3;
        let deletes = extra.into_iter().map(|range| TxnOp::DeleteRange(DeleteRange { range, prev_kv: true }));
        let command = Command::Txn(Txn { failure: deletes.collect(), ..Txn::default() });
        entry.requests.push(Request::new(1, command));
        let bytes = encode_batch(&entry);
        prop_assert_eq!(&bytes, &encode_batch(&entry));
        prop_assert_eq!(decode_batch(bytes).unwrap(), entry);
    }
}
