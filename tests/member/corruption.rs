//! Members that have parted, found by the others: one whose stored state was changed on purpose, with every sum and
//! checksum in it made to fit, so that nothing but a comparison can tell.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate::config::CorruptionChecks;
use quorate::env::real::RealDisk;
use quorate::machine::codec::record::{append_superseded, decode_record, encode_record, parse_record_key};
use quorate::machine::command::{AlarmKind, Command, CommandError, Put};
use quorate::machine::effects::Event;
use quorate::machine::mvcc::KV_META_KEY;
use quorate::machine::persist::{Bucket, Write};
use quorate::member::{Credential, Knobs, Member};
use quorate::node::StartError;
use quorate::pb::record as stored;
use quorate::storage::engine::redb::RedbEngine;
use quorate::storage::engine::{Engine, EngineKind, EngineOptions, Identity};
use quorate::types::{ClusterId, LeaseId, MemberId, Revision, TtlSecs};

use crate::cluster::{Cluster, Place, compact, put, quick, until};

const INITIAL: CorruptionChecks = CorruptionChecks { initial: true, every: None, compact_hash_every: None };
const OFTEN: Duration = Duration::from_millis(100);

fn checked(corruption_checks: CorruptionChecks) -> Knobs {
    Knobs { corruption_checks, ..quick() }
}

fn histories() -> Knobs {
    checked(CorruptionChecks { every: Some(OFTEN), ..CorruptionChecks::default() })
}

fn compactions() -> Knobs {
    checked(CorruptionChecks { compact_hash_every: Some(OFTEN), ..CorruptionChecks::default() })
}

/// Runs `story` as a process of its own, which is gone when it returns.
fn in_a_process<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(story)
}

/// Three members with some history, stopped in good order.
fn grown(root: &std::path::Path) -> Place {
    let place = Place::new(root, 3, EngineKind::Redb, quick());
    in_a_process(async {
        let cluster = place.start_all().await;
        let leader = cluster.leader().await;
        let lease = leader.lease_grant(&Credential::None, LeaseId(7), TtlSecs(5_000)).await.unwrap();
        lease.result.unwrap();
        for n in 0..30 {
            put(&leader, &format!("k{}", n % 10), &format!("value {n}"), LeaseId::NONE).await;
        }
        compact(&leader, Revision(12)).await;
        cluster.agreed_hash().await;
        for member in &cluster.members {
            member.stop().await;
        }
    });
    place
}

fn engine(place: &Place, number: u64) -> RedbEngine {
    let dir = place.data_dir(usize::try_from(number).unwrap()).join("state");
    let identity = Identity { cluster: ClusterId(7), member: MemberId(number) };
    let engine = RedbEngine::open(&RealDisk, &dir, identity, EngineOptions::default()).unwrap();
    engine.accept().unwrap();
    engine
}

fn close(engine: &RedbEngine, writes: &[Write]) {
    engine.apply(writes).unwrap();
    engine.close().unwrap();
}

/// Changes the newest value of a key in one member's engine, and the sums with it.
fn rewrite_value(place: &Place, number: u64, key: &str) {
    let engine = engine(place, number);
    let reader = engine.reader().unwrap();
    let records = reader.range(Bucket::Records, &[], 10_000).unwrap();
    let found = records.into_iter().rev().find_map(|(at, value)| {
        let record = decode_record(parse_record_key(&at).unwrap(), value).unwrap();
        (record.event.key() == key).then_some((at, record))
    });
    let (at, record) = found.unwrap();
    let place = parse_record_key(&at).unwrap();
    let Event::Put(mut kv) = record.event.clone() else { panic!("{key} lives") };
    let old = encode_record(place.sub, &record.event).tally;
    kv.value = kv.value.iter().map(|byte| byte ^ 1).collect();
    let mut new = encode_record(place.sub, &Event::Put(kv));
    if let Some(superseded) = record.superseded_sum {
        append_superseded(&mut new.bytes, superseded);
    }
    let meta = reader.get(Bucket::Meta, KV_META_KEY).unwrap().unwrap();
    let mut meta = stored::KvMeta::decode(meta).unwrap();
    let live = meta.live.as_mut().unwrap();
    let join = |tally: &stored::Tally| u128::from(tally.hash_high) << 64 | u128::from(tally.hash_low);
    let hash = join(live).wrapping_sub(old.hash).wrapping_add(new.tally.hash);
    live.hash_high = u64::try_from(hash >> 64).unwrap();
    live.hash_low = u64::try_from(hash & u128::from(u64::MAX)).unwrap();
    drop(reader);
    let meta_key = Bytes::from_static(KV_META_KEY);
    close(
        &engine,
        &[
            Write { bucket: Bucket::Records, key: at, value: Some(new.bytes.into()) },
            Write { bucket: Bucket::Meta, key: meta_key, value: Some(meta.encode_to_vec().into()) },
        ],
    );
}

/// Changes what a lease was granted in one member's engine: no checksum over keys tells.
fn rewrite_lease(place: &Place, number: u64, lease: i64) {
    let engine = engine(place, number);
    let key = Bytes::copy_from_slice(&lease.to_be_bytes());
    assert!(engine.reader().unwrap().get(Bucket::Leases, &key).unwrap().is_some());
    let value = stored::Lease { ttl_secs: 4_000, remaining_secs: 0 }.encode_to_vec();
    close(&engine, &[Write { bucket: Bucket::Leases, key, value: Some(value.into()) }]);
}

const NOBODY: [u64; 0] = [];

fn corrupt(member: &Member) -> Vec<u64> {
    let alarms = member.status().alarms.into_iter();
    alarms.filter(|(kind, _)| *kind == AlarmKind::Corrupt).map(|(_, member)| member.0).collect()
}

async fn raised(members: &[Arc<Member>], want: &[u64]) {
    for member in members {
        until("the alarm", || (corrupt(member) == want).then_some(())).await;
    }
}

async fn refuses_writes(member: &Member) {
    let put = Put { key: Bytes::from_static(b"k1"), ..Put::default() };
    let answer = member.propose_for(&Credential::None, Command::Put(put)).await.unwrap();
    assert_eq!(answer.result, Err(CommandError::Corrupt));
}

#[test]
fn a_member_that_differs_refuses_to_start_and_the_others_serve() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: checked(INITIAL), ..grown(dir.path()) };
    rewrite_value(&place, 3, "k4");
    in_a_process(async {
        let members = [place.start(1).await.unwrap(), place.start(2).await.unwrap()];
        until("a leader", || members[0].status().raft.leader).await;
        let Err(error) = place.start(3).await else { panic!("a corrupt member serves") };
        let StartError::Differs { member: MemberId(3), .. } = &error else { panic!("{error}") };
        let said = error.to_string();
        assert!(said.starts_with("member 3 is corrupt: its history up to revision 31"), "{said}");
        assert!(said.contains("and they are a majority; remove it from the cluster"), "{said}");
        assert!(!said.contains('\n'), "{said}");
        put(&members[0], "k4", "new", LeaseId::NONE).await;
        assert_eq!(corrupt(&members[0]), NOBODY, "who does not take part needs no alarm");
    });
    in_a_process(async {
        // Without the check it would have been let in.
        let unchecked = Place { knobs: quick(), ..place };
        let cluster = unchecked.start_all().await;
        assert_eq!(cluster.members.len(), 3);
    });
}

#[test]
fn where_two_differ_and_nobody_else_is_heard_the_second_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: checked(INITIAL), ..grown(dir.path()) };
    rewrite_value(&place, 1, "k4");
    in_a_process(async {
        let first = place.start(1).await.unwrap();
        let Err(error) = place.start(2).await else { panic!("one of the two is corrupt") };
        let said = error.to_string();
        assert!(said.contains("no majority says which is right"), "{said}");
        drop(first);
    });
}

#[test]
fn members_that_agree_start_with_the_check_and_so_does_one_that_lags() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: checked(INITIAL), ..grown(dir.path()) };
    in_a_process(async {
        let members = [place.start(1).await.unwrap(), place.start(2).await.unwrap()];
        until("a leader", || members[0].status().raft.leader).await;
        // The third was away: others have written more, and have compacted beyond all that it has.
        for n in 0..20 {
            put(&members[0], &format!("k{}", n % 10), "while it was away", LeaseId::NONE).await;
        }
        compact(&members[0], Revision(45)).await;
        let third = place.start(3).await.unwrap();
        put(&third, "k1", "it serves", LeaseId::NONE).await;
        assert_eq!(corrupt(&third), NOBODY);
    });
}

#[test]
fn the_leader_finds_the_odd_one_out_by_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: histories(), ..grown(dir.path()) };
    rewrite_value(&place, 2, "k9");
    in_a_process(async {
        // The two that agree come first: one of them and the odd one alone could not tell.
        let mut members = Vec::new();
        for number in [1, 3, 2] {
            members.push(place.start(number).await.unwrap());
        }
        raised(&members, &[2]).await;
        for member in &members {
            refuses_writes(member).await;
        }
        // Cleared without a cure, it is raised again.
        let clear = Command::Alarm { raise: false, member: MemberId(2), kind: AlarmKind::Corrupt };
        let cleared = members[0].propose_for(&Credential::None, clear).await.unwrap();
        cleared.result.unwrap();
        raised(&members, &[2]).await;
    });
}

#[test]
fn without_a_majority_the_alarm_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: histories(), ..grown(dir.path()) };
    rewrite_value(&place, 2, "k9");
    rewrite_value(&place, 3, "k8");
    in_a_process(async {
        let cluster = place.start_all().await;
        raised(&cluster.members, &[0]).await;
        refuses_writes(&cluster.members[0]).await;
    });
}

#[test]
fn a_difference_beside_the_keys_shows_at_the_next_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: compactions(), ..grown(dir.path()) };
    rewrite_lease(&place, 1, 7);
    in_a_process(async {
        let cluster = place.start_all().await;
        let member = &cluster.members[1];
        put(member, "k1", "before", LeaseId::NONE).await;
        assert_eq!(corrupt(member), NOBODY, "nobody has compacted yet");
        compact(member, Revision(20)).await;
        raised(&cluster.members, &[1]).await;
        refuses_writes(member).await;
    });
}

#[test]
fn a_difference_of_keys_shows_at_the_next_compaction_too() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { knobs: compactions(), ..grown(dir.path()) };
    rewrite_value(&place, 3, "k9");
    in_a_process(async {
        let cluster = place.start_all().await;
        compact(&cluster.members[0], Revision(20)).await;
        raised(&cluster.members, &[3]).await;
    });
}

#[tokio::test]
async fn sound_members_are_compared_while_they_write_and_compact_and_no_alarm_comes() {
    let checks = CorruptionChecks {
        initial: true,
        every: Some(Duration::from_millis(5)),
        compact_hash_every: Some(Duration::from_millis(5)),
    };
    let cluster = Cluster::start(3, checked(checks)).await;
    let leader = cluster.leader().await;
    let write = async |member: Arc<Member>, name: &str| {
        for n in 0..200 {
            let at = put(&member, &format!("{name}{}", n % 7), &format!("{n}"), LeaseId::NONE).await;
            if n % 10 == 9 {
                let answer =
                    Command::Compact(quorate::machine::command::Compact { revision: Revision(at.0 - 3) });
                // Both compact: whoever comes second may be late.
                let _ = member.propose_for(&Credential::None, answer).await.unwrap();
            }
        }
    };
    let other = cluster.others(&leader).remove(0);
    tokio::join!(write(leader.clone(), "a"), write(other, "b"));
    cluster.agreed_hash().await;
    for member in &cluster.members {
        assert_eq!(corrupt(member), NOBODY);
        assert_eq!(member.replica().compaction_hashes().len(), 10);
    }
    let hashes: Vec<_> = cluster.members.iter().map(|member| member.replica().compaction_hashes()).collect();
    assert!(hashes.iter().all(|other| *other == hashes[0]), "{hashes:?}");
}
