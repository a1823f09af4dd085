//! Members that end and come back: stopped, dropped without a close, killed; with either engine.
//!
//! A "process" is a runtime of its own: when it is dropped, every task of its members is gone with it, like after a
//! kill, but for what the library behind an engine does as it is dropped. Where that matters the process is a real
//! one, and is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use quorate::env::real::RealDisk;
use quorate::member::Security;
use quorate::member::{Knobs, Member};
use quorate::node::StartError;
use quorate::storage::engine::{EngineKind, Identity};
use quorate::storage::snapshot_file::verify_snapshot;
use quorate::types::{ClusterId, LeaseId, MemberId, Revision};

use crate::cluster::{Place, put, quick, until};

/// Set for the child: its root and its addresses.
const CHILD: &str = "QUORATE_MEMBER_CHILD";

/// Knobs under which a snapshot is taken, and the log purged, every few writes.
fn purging() -> Knobs {
    Knobs { snapshot_entries: 20, keep_entries: 5, ..quick() }
}

/// Runs `story` as a process of its own, which ends without a word to what is left running.
pub fn in_a_process<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let result = runtime.block_on(story);
    drop(runtime);
    result
}

/// Writes keys `from..to` and answers the last revision.
async fn write(member: &Member, keys: std::ops::Range<u64>) -> Revision {
    let mut last = Revision(0);
    for key in keys {
        last =
            put(member, &format!("key-{key:04}"), &format!("value {key} ").repeat(20), LeaseId::NONE).await;
    }
    last
}

/// Waits until the log of each of these is purged at least up to this index.
async fn purged(members: &[Arc<Member>], upto: u64) {
    until("purged logs", || {
        let far = |member: &Arc<Member>| member.status().raft.purged.is_some_and(|at| at.index.0 >= upto);
        members.iter().all(far).then_some(())
    })
    .await;
}

fn state_names(place: &Place, number: usize) -> Vec<String> {
    let entries = fs::read_dir(place.data_dir(number).join("state")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn identity(number: u64) -> Identity {
    Identity { cluster: ClusterId(7), member: MemberId(number) }
}

/// Where the snapshot file of a member stands, after all of it was checked.
fn snapshot_index(place: &Place, number: usize) -> u64 {
    let file = place.data_dir(number).join("state/full.snapshot");
    let header = verify_snapshot(&RealDisk, &file, identity(u64::try_from(number).unwrap())).unwrap();
    header.applied.index.0
}

/// Not a test of its own: the body of the killed process. Without the variable it does nothing.
#[test]
fn child_cluster_writes_until_it_is_killed() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let mut words = task.split(' ');
    let root = PathBuf::from(words.next().unwrap());
    let mut addresses: Vec<SocketAddr> = words.map(|word| word.parse().unwrap()).collect();
    let clients = addresses.split_off(addresses.len() / 2);
    let (engine, security) = (EngineKind::Sled, Security::default());
    let place = Place { root, addresses, clients, engine, knobs: purging(), security };
    in_a_process(async {
        let cluster = place.start_all().await;
        for round in 0.. {
            write(&*cluster.leader().await, round..round + 1).await;
            let purged = cluster.members.iter().map(|member| member.status().raft.purged).min().unwrap();
            println!("acknowledged {round} {}", purged.map_or(0, |at| at.index.0));
        }
    });
}

/// Lets three sled members in a child write, kills it once every log is purged, and answers how many keys they had
/// acknowledged.
fn killed_cluster(place: &Place) -> u64 {
    let addresses: Vec<String> =
        place.addresses.iter().chain(&place.clients).map(ToString::to_string).collect();
    let name = "restarts::child_cluster_writes_until_it_is_killed";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{} {}", place.root.display(), addresses.join(" ")))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, figures)) = line.split_once("acknowledged ") else { continue };
        let (key, purged) = figures.split_once(' ').unwrap();
        acknowledged = key.parse::<u64>().unwrap() + 1;
        if purged.parse::<u64>().unwrap() > 60 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(acknowledged > 60, "the child got no further than {acknowledged}");
    acknowledged
}

#[test]
fn sled_members_come_back_from_a_kill_by_snapshot_file_and_log_and_from_a_stop_as_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), 3, EngineKind::Sled, purging());
    let acknowledged = killed_cluster(&place);
    let (hash, revision) = in_a_process(async {
        let cluster = place.start_all().await;
        for (number, member) in (1..).zip(&cluster.members) {
            // The log had forgotten what the engine was built from.
            assert!(member.status().raft.purged.is_some_and(|at| at.index.0 > 60));
            assert_eq!(state_names(&place, number), ["full.snapshot", "sled-1", "sled-1.aside-1"]);
        }
        let leader = cluster.leader().await;
        // The first key was written at revision 2, and no other write changes it: one more was perhaps on its way.
        let revision = put(&leader, "after", "the kill", LeaseId::NONE).await;
        let lost_none = revision.0 == 2 + i64::try_from(acknowledged).unwrap();
        let one_more = revision.0 == 3 + i64::try_from(acknowledged).unwrap();
        assert!(lost_none || one_more, "{acknowledged} writes were acknowledged, the next is at {revision}");
        let hash = cluster.agreed_hash().await;
        for member in &cluster.members {
            member.stop().await;
        }
        (hash, revision)
    });

    // Stopped, not killed: nothing is set aside, nothing is rebuilt.
    for number in 1..=3 {
        fs::remove_dir_all(place.data_dir(number).join("state/sled-1.aside-1")).unwrap();
        assert!(place.data_dir(number).join("state/sled-1/clean").exists(), "member {number} was closed");
    }
    in_a_process(async {
        let cluster = place.start_all().await;
        assert_eq!(cluster.members[0].status().revision, revision);
        assert_eq!(cluster.agreed_hash().await, hash);
        for number in 1..=3 {
            assert_eq!(state_names(&place, number), ["full.snapshot", "sled-1"]);
        }
        let before = snapshot_index(&place, 1);
        write(&*cluster.leader().await, 500..560).await;
        assert_ne!(cluster.agreed_hash().await, hash);
        until("a newer snapshot file", || (snapshot_index(&place, 1) > before).then_some(())).await;
    });
}

#[test]
fn a_sled_member_that_fell_behind_takes_a_snapshot_and_keeps_it_through_a_kill() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), 3, EngineKind::Sled, purging());
    in_a_process(async {
        let cluster = place.start_all().await;
        write(&*cluster.leader().await, 0..10).await;
        cluster.agreed_hash().await;
    });
    // Two go on without the third until their log no longer has what it lacks.
    in_a_process(async {
        let two = [place.start(1).await.unwrap(), place.start(2).await.unwrap()];
        let leader =
            until("a leader of two", || two.iter().find(|member| member.status().raft.is_leader).cloned())
                .await;
        write(&leader, 10..90).await;
        purged(&two, 60).await;
        for member in &two {
            member.stop().await;
        }
    });
    let installed = in_a_process(async {
        let cluster = place.start_all().await;
        let hash = cluster.agreed_hash().await;
        assert!(state_names(&place, 3).contains(&"sled-2".to_owned()), "{:?}", state_names(&place, 3));
        assert!(snapshot_index(&place, 3) > 60, "what was received stands in the file");
        hash
    });
    in_a_process(async {
        let cluster = place.start_all().await;
        assert!(state_names(&place, 3).contains(&"sled-2.aside-1".to_owned()));
        assert!(!state_names(&place, 3).contains(&"sled-1".to_owned()), "the engine before it is gone");
        assert_eq!(cluster.members[2].status().compacted, cluster.members[0].status().compacted);
        write(&*cluster.leader().await, 90..91).await;
        assert_ne!(cluster.agreed_hash().await, installed);
    });
}

/// One member whose log is purged; answers its revision.
fn one_purged(place: &Place, keys: std::ops::Range<u64>, stop: bool) -> Revision {
    in_a_process(async {
        let cluster = place.start_all().await;
        let revision = write(&cluster.members[0], keys).await;
        purged(&cluster.members, 30).await;
        if stop {
            cluster.members[0].stop().await;
        }
        revision
    })
}

#[test]
fn a_damaged_snapshot_file_refuses_the_start_and_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), 1, EngineKind::Sled, purging());
    let revision = one_purged(&place, 0..90, false);
    let file = place.data_dir(1).join("state/full.snapshot");
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 3] ^= 1;
    fs::write(&file, bytes).unwrap();
    let before = state_names(&place, 1);
    let refused = in_a_process(async { place.start(1).await.err() }).expect("nothing to start from");
    let line = refused.to_string();
    assert!(matches!(refused, StartError::Engine(_)), "{line}");
    assert!(line.contains("cannot be rebuilt: it was not closed cleanly; snapshot file"), "{line}");
    assert!(line.contains("is corrupt at offset") && line.lines().count() == 1, "{line}");
    assert_eq!(state_names(&place, 1), before, "nothing is touched");

    fs::write(&file, whole).unwrap();
    in_a_process(async {
        let cluster = place.start_all().await;
        assert_eq!(write(&cluster.members[0], 0..1).await.0, revision.0 + 1);
    });
}

#[test]
fn an_engine_behind_the_purged_log_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), 1, EngineKind::Redb, purging());
    one_purged(&place, 0..60, true);
    let file = place.data_dir(1).join("state/state.redb");
    let old = fs::read(&file).unwrap();
    in_a_process(async {
        let cluster = place.start_all().await;
        write(&cluster.members[0], 60..160).await;
        purged(&cluster.members, 120).await;
        cluster.members[0].stop().await;
    });
    let new = fs::read(&file).unwrap();
    fs::write(&file, &old).unwrap();
    let refused =
        in_a_process(async { place.start(1).await.err() }).expect("entries are missing between them");
    assert!(matches!(refused, StartError::Mismatch { .. }), "{refused}");
    let line = refused.to_string();
    assert!(line.contains("but the write-ahead log begins behind T"), "{line}");
    assert!(line.ends_with("what is between is gone") && line.lines().count() == 1, "{line}");
    fs::write(&file, &new).unwrap();
    in_a_process(async { place.start_all().await.agreed_hash().await });
}

#[test]
fn a_stopped_member_does_nothing_more_and_does_not_die_of_it() {
    for engine in [EngineKind::Redb, EngineKind::Sled] {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::new(temp.path(), 1, engine, purging());
        in_a_process(async {
            let cluster = place.start_all().await;
            let member = &cluster.members[0];
            write(member, 0..50).await;
            let stream = member.watch();
            member.stop().await;
            assert!(stream.next(1).await.is_empty(), "watches end");
            // Fatal in a running member: the engine can no longer be read.
            assert!(member.hash_kv(Revision(0)).await.is_err());
        });
        in_a_process(async { place.start_all().await.agreed_hash().await });
        assert!(!state_names(&place, 1).iter().any(|name| name.contains("aside")), "{engine}");
    }
}

#[test]
fn a_lost_engine_folder_is_rebuilt_too() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::new(temp.path(), 1, EngineKind::Sled, purging());
    let revision = one_purged(&place, 0..70, true);
    fs::remove_dir_all(place.data_dir(1).join("state/sled-1")).unwrap();
    in_a_process(async {
        let cluster = place.start_all().await;
        assert_eq!(write(&cluster.members[0], 0..1).await.0, revision.0 + 1);
        assert_eq!(state_names(&place, 1), ["full.snapshot", "sled-1"]);
    });
}
