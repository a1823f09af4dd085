//! Single stories that the transcripts cannot tell.

use bytes::Bytes;
use quorate::machine::command::*;
use quorate::machine::effects::Records;
use quorate::machine::load::LoadError;
use quorate::machine::mvcc::record::record_key;
use quorate::machine::persist::Bucket;
use quorate::machine::snapshot::{SnapshotDecoder, SnapshotEncoder, SnapshotFrame};
use quorate::machine::{Overlay, State};
use quorate::types::{Incarnation, KeyRange, LeaseId, MemberId, RangeEnd, RevPair, Revision, TtlSecs};

use crate::store::{Node, Store, batch};

fn put(key: &str, value: &str) -> Command {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Command::Put(Put { key, value, ..Put::default() })
}

fn delete(key: &'static str) -> Command {
    Command::DeleteRange(DeleteRange { range: KeyRange::single(key), prev_kv: false })
}

fn compact(revision: i64) -> Command {
    Command::Compact(Compact { revision: Revision(revision) })
}

fn all() -> KeyRange {
    KeyRange { start: Bytes::new(), end: RangeEnd::Open }
}

/// A node with a bit of everything.
fn lived_in() -> Node {
    let mut node = Node::default();
    let members = [1, 2, 3].map(|id| Member { id: MemberId(id), ..Member::default() }).to_vec();
    node.run(Command::Bootstrap { members });
    let (member, client_urls) = (MemberId(2), vec!["http://two:2379".to_owned()]);
    node.run(Command::MemberAttributes { member, name: "two".to_owned(), client_urls });
    node.run(Command::LeaseGrant { id: LeaseId(8), ttl: TtlSecs(30) });
    for round in 0..3 {
        for key in ["a", "b", "c"] {
            node.run(put(key, &format!("{key}{round}")));
        }
    }
    node.run(Command::Put(Put { key: "d".into(), lease: LeaseId(8), ..Put::default() }));
    node.run(delete("b"));
    node.run(Command::Alarm { raise: true, member: MemberId(3), kind: AlarmKind::NoSpace });
    node.run(compact(6));
    node
}

#[test]
fn a_snapshot_sent_in_pieces_makes_an_equal_member() {
    let node = lived_in();
    let mut encoder = SnapshotEncoder::default();
    let mut stream = encoder.header(node.state.applied().unwrap()).to_vec();
    let pairs: Vec<_> = node.store.0.iter().map(|((b, k), v)| (*b, k.clone(), v.clone())).collect();
    pairs.chunks(3).for_each(|chunk| stream.extend(encoder.chunk(chunk)));
    stream.extend(encoder.end());

    let (mut store, mut decoder) = (Store::default(), SnapshotDecoder::default());
    for piece in stream.chunks(11) {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame().unwrap() {
            match frame {
                SnapshotFrame::Chunk(pairs) => store.0.extend(pairs.into_iter().map(|(b, k, v)| ((b, k), v))),
                SnapshotFrame::Header(applied) => assert_eq!(Some(applied), node.state.applied()),
                SnapshotFrame::End => {}
            }
        }
    }
    assert!(decoder.is_complete());
    assert_eq!(store, node.store);
    let installed = store.load();
    assert_eq!(installed.hash(), node.state.hash());
    assert_eq!(installed.members(), node.state.members());
    assert_eq!(installed.members().get(MemberId(2)).unwrap().name, "two");
    assert_eq!(installed.leases(), node.state.leases());
}

#[test]
fn a_store_that_lost_or_gained_anything_does_not_load() {
    let node = lived_in();
    let kinds = [Bucket::Records, Bucket::Leases];
    let places: Vec<_> = node.store.0.keys().filter(|(bucket, _)| kinds.contains(bucket)).cloned().collect();
    let forgotten = [RevPair { main: Revision(2), sub: 0 }, RevPair { main: Revision(3), sub: 0 }];
    for (bucket, key) in places {
        let mut damaged = node.store.clone();
        damaged.0.remove(&(bucket, key.clone()));
        let loaded = State::load(|bucket, from, limit| damaged.read(bucket, from, limit));
        // Compacting at 6 forgot the first values of a and b: a sweep may have deleted them, oldest first.
        let swept = forgotten.iter().any(|at| record_key(*at) == key);
        assert_eq!(loaded.is_ok(), swept, "without {key:?} of {bucket:?}");
        if !swept {
            assert!(matches!(loaded, Err(LoadError::Corrupt { .. })));
        }
    }
}

#[test]
fn the_hash_tells_states_apart_that_differ_in_one_thing() {
    let differences = [
        put("a", "other"),
        put("new", ""),
        delete("c"),
        compact(7),
        Command::LeaseCheckpoint { remaining: vec![(LeaseId(8), TtlSecs(3))] },
        Command::LeaseGrant { id: LeaseId(9), ttl: TtlSecs(30) },
        Command::LeaseRevoke { id: LeaseId(8) },
        Command::Alarm { raise: false, member: MemberId(0), kind: AlarmKind::NoSpace },
        Command::Alarm { raise: true, member: MemberId(2), kind: AlarmKind::NoSpace },
        Command::MemberAttributes { member: MemberId(1), name: "one".to_owned(), client_urls: Vec::new() },
        Command::Noop,
    ];
    let disarmed = || {
        let mut node = lived_in();
        node.run(Command::Alarm { raise: false, member: MemberId(3), kind: AlarmKind::NoSpace });
        node.run(Command::Alarm { raise: true, member: MemberId(9), kind: AlarmKind::NoSpace });
        node.run(Command::Alarm { raise: false, member: MemberId(9), kind: AlarmKind::NoSpace });
        node
    };
    let mut hashes = vec![disarmed().state.hash()];
    for command in differences {
        // Each but the last leaves the same requests behind, so only its own effect can tell it apart.
        let mut node = disarmed();
        node.run(command);
        hashes.push(node.state.hash());
    }
    let noop = hashes.pop().unwrap();
    let cleared = 8;
    assert_eq!(hashes[cleared], noop, "clearing what is not raised does as much as nothing");
    hashes.remove(cleared);
    hashes.push(noop);
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn a_reader_who_pinned_its_revision_is_not_disturbed_by_compaction() {
    let mut node = lived_in();
    let pinned = Revision(7);
    let whole = node.state.range_chunk(&all(), pinned, None, 100).unwrap();
    let first = node.state.range_chunk(&all(), pinned, None, 2).unwrap();
    node.run(compact(12));
    while !node.state.compact_step(1, Some(pinned)).done {}
    let rest = node.state.range_chunk(&all(), pinned, first.resume.as_deref(), 100).unwrap();
    assert_eq!([first.found, rest.found].concat(), whole.found);

    // Once the pin is gone the sweep goes on, and a reader who did not pin is told so.
    assert!(!node.state.compact_step(1, None).done);
    let refused = node.state.range_chunk(&all(), pinned, None, 100);
    assert_eq!(refused, Err(CommandError::Compacted(Revision(12))));
}

#[test]
fn a_late_request_of_an_earlier_life_is_not_applied() {
    let mut node = Node::default();
    let mut old = batch(5, 1, vec![put("a", "old")]);
    let mut new = batch(5, 1, vec![put("a", "new")]);
    new.incarnation = Incarnation(2);
    assert_eq!(node.apply(&old).answers.len(), 1);
    assert_eq!(node.apply(&new).answers.len(), 1);
    old.requests = batch(5, 2, vec![put("a", "late")]).requests;
    let effects = node.apply(&old);
    assert!(effects.answers.is_empty() && effects.writes.is_empty(), "{effects:?}");
    assert_eq!(node.state.revision(), Revision(3));
    node.flush();
    assert_eq!(node.store.load().hash(), node.state.hash());
    let kept = node.store.0.keys().filter(|(bucket, _)| *bucket == Bucket::Dedupe).count();
    assert_eq!(kept, 1, "only the newest incarnation is remembered");
}

#[test]
fn the_initial_members_are_set_once() {
    let mut node = lived_in();
    let before = node.state.members().clone();
    node.run(Command::Bootstrap { members: vec![Member { id: MemberId(66), ..Member::default() }] });
    assert_eq!(node.state.members(), &before);
    let name = "nobody".to_owned();
    let stranger = Command::MemberAttributes { member: MemberId(66), name, client_urls: Vec::new() };
    assert_eq!(node.run(stranger).0.result, Err(CommandError::MemberNotFound));
}

#[test]
fn hash_kv_ends_at_its_revision_and_at_a_compaction() {
    let mut node = Node::default();
    for round in 0..300 {
        node.run(put("k", &round.to_string()));
    }
    let at_200 = node.state.hash_kv(&node.store, Revision(200)).unwrap().unwrap();
    assert_eq!((at_200.revision, at_200.compacted), (Revision(200), Revision(-1)));
    node.run(put("k", "more"));
    assert_eq!(node.state.hash_kv(&node.store, Revision(200)).unwrap().unwrap(), at_200);
    assert_ne!(node.state.hash_kv(&node.store, Revision(201)).unwrap().unwrap().hash, at_200.hash);

    let mut scan = node.state.hash_kv_begin(Revision(0), Revision(-1)).unwrap();
    assert_eq!(
        node.state.hash_kv_step(&mut scan, &node.store).unwrap(),
        Ok(None),
        "300 records are two chunks"
    );
    node.run(compact(150));
    let refused = node.state.hash_kv_step(&mut scan, &node.store).unwrap();
    assert_eq!(refused, Err(CommandError::Compacted(Revision(150))));
    let before = node.state.hash_kv(&node.store, Revision(0)).unwrap();
    while !node.sweep(7) {}
    assert_eq!(node.state.hash_kv(&node.store, Revision(0)).unwrap(), before, "sweeping is invisible");
    assert_eq!(node.store.scan(RevPair::default(), 1000).unwrap().len(), 302 - 149);
}

#[test]
fn the_quota_counts_what_is_kept_and_is_asked_before_proposing() {
    let mut node = Node::default();
    node.run(put("k", "1234567890"));
    let full = node.state.logical_size();
    assert_eq!(full, 256 + 1 + 10);
    assert!(!node.state.would_exceed(1, Some(full + 1)));
    assert!(node.state.would_exceed(2, Some(full + 1)));
    assert!(!node.state.would_exceed(u64::MAX, None));
    assert!(!node.state.would_exceed(0, Some(1)), "what needs no space is never refused");
}

/// Wherever a crash cuts the deletions of a sweep, nothing forgotten comes back to life.
#[test]
fn a_torn_sweep_raises_no_dead() {
    let commands = [
        put("a", "1"),
        put("b", "1"),
        put("a", "2"),
        delete("a"),
        delete("b"),
        put("c", "1"),
        compact(7),
        put("a", "3"),
    ];
    for deletions in 0..=5 {
        let mut node = Node::default();
        for command in commands.clone() {
            node.run(command);
        }
        let before = (node.state.hash(), node.state.range_chunk(&all(), Revision(7), None, 9).unwrap());
        node.sweep_torn(100, deletions);
        let after = (node.state.hash(), node.state.range_chunk(&all(), Revision(7), None, 9).unwrap());
        assert_eq!(after, before, "after {deletions} deletions");
        while !node.sweep(1) {}
        let stored = node.store.0.keys().filter(|(bucket, _)| *bucket == Bucket::Records).count();
        assert_eq!(stored, 2, "c and the new a are left");
    }
}

#[test]
fn what_has_been_answered_costs_no_memory_and_is_never_applied_late() {
    let mut node = Node::default();
    for sequence in (1..=400).step_by(2) {
        let mut entry = batch(1, sequence, vec![put("k", "v")]);
        entry.lowest_unanswered = sequence.saturating_sub(10);
        assert_eq!(node.apply(&entry).answers.len(), 1);
    }
    node.flush();
    let remembered = node.store.read(Bucket::Dedupe, &[], 10).unwrap();
    let [(_, value)] = remembered.as_slice() else { panic!("one sender: {remembered:?}") };
    assert!(value.len() < 100, "{} bytes for some ten open requests", value.len());

    let mut late = batch(1, 200, vec![put("k", "late")]);
    late.lowest_unanswered = 0;
    assert!(
        node.apply(&late).answers.is_empty(),
        "200 was never seen, but its sender has had an answer to it"
    );
    let mut open = batch(1, 398, vec![put("k", "open")]);
    open.lowest_unanswered = 0;
    assert_eq!(node.apply(&open).answers.len(), 1, "398 was never seen and may still be waited for");
}

#[test]
fn records_on_their_way_to_the_store_read_like_stored_ones() {
    let mut node = lived_in();
    let stored = node.store.clone();
    let revision = node.state.revision();
    let clear = Command::Alarm { raise: false, member: MemberId(0), kind: AlarmKind::NoSpace };
    let effects = node.apply(&batch(9, 1, vec![clear, put("x", "1"), put("y", "2"), delete("x")]));
    let mut overlay = Overlay::new(&stored);
    overlay.absorb(&effects.writes).unwrap();
    assert_eq!(overlay.len(), 3);
    node.flush();
    let everything = node.store.scan(RevPair::default(), 100).unwrap();
    for from in 0..=revision.0 + 4 {
        let from = RevPair { main: Revision(from), sub: 0 };
        for limit in [1, 2, 5, 100] {
            assert_eq!(overlay.scan(from, limit).unwrap(), node.store.scan(from, limit).unwrap());
        }
    }
    for (at, record) in everything {
        assert_eq!(overlay.record(at).unwrap(), record);
    }
}

#[test]
fn a_store_with_users_is_not_opened_without_guarding_it() {
    let mut node = lived_in();
    node.store.0.insert((Bucket::AuthUsers, "root".into()), Bytes::new());
    let loaded = State::load(|bucket, from, limit| node.store.read(bucket, from, limit));
    assert!(matches!(loaded, Err(LoadError::Corrupt { bucket: "auth_users", .. })));
}
