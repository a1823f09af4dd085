//! The engine's file written anew while it is in use: what is in it stays, what is free goes, and a machine that dies at
//! any point of it finds the old file or the new one, whole.

use std::path::Path;
use std::sync::Arc;

use quorate::env::Disk;
use quorate::machine::persist::Bucket;
use quorate::machine::state::{APPLIED_KEY, applied_write, decode_applied};
use quorate::storage::defragment::DefragmentError;
use quorate::storage::engine::{EngineError, EngineKind};
use quorate::storage::store::Store;
use quorate::storage::wal::{Vote, WalRecord};
use quorate::types::Term;
use quorate_disk::{Arm, Call, Crash, Fault, FaultKind, SimDisk};

use crate::script::{Content, content_of, contents_after, put, read_all};
use crate::sim_disk;
use crate::state_dir::{Place, at};

const ROOT: &str = "/data";
const BEFORE: u64 = 20;
const LAST: u64 = 32;

fn place(disk: &SimDisk) -> Place {
    Place::new(Path::new(ROOT), disk.mount(), EngineKind::Redb)
}

/// What batches 1..=`last` leave, as a store is given them.
fn expected(last: u64) -> Content {
    let contents = contents_after(LAST);
    let mut content = contents[usize::try_from(last).unwrap()].clone();
    let applied = applied_write(at(last));
    content.insert((Bucket::Meta, applied.key), applied.value.unwrap());
    content
}

fn applied(content: &Content) -> u64 {
    let value = content.get(&(Bucket::Meta, bytes::Bytes::from_static(APPLIED_KEY))).unwrap();
    decode_applied(value.clone()).unwrap().index.0
}

/// A store with batches 1..=20, all of them durable.
async fn grown(place: &Place) -> (Store, quorate::storage::wal::WalHandle) {
    let (engine, _) = place.open(None).await;
    engine.accept().unwrap();
    let (store, wal) = (place.store(engine), place.wal().await);
    place.apply(&store, 1..=BEFORE);
    store.flush(&wal).await.unwrap();
    (store, wal)
}

/// Opens what is there now as the next process does, and reads it.
async fn reopened(disk: &SimDisk) -> Content {
    let place = place(disk);
    let (engine, _) = place.open(None).await;
    engine.integrity_check().unwrap();
    engine.accept().unwrap();
    content_of(&*engine)
}

fn incoming(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list(&Path::new(ROOT).join("state")).unwrap();
    names.retain(|name| name.starts_with("incoming-"));
    names
}

#[tokio::test]
async fn what_is_written_meanwhile_is_in_the_new_file_too() {
    let disk = sim_disk(1);
    let place = place(&disk);
    let (store, wal) = grown(&place).await;
    let writing = async {
        for number in BEFORE + 1..=LAST {
            place.apply(&store, number..=number);
            store.drained().await;
        }
    };
    let (done, ()) = tokio::join!(store.defragment(&place.state, &wal), writing);
    done.unwrap();
    store.drained().await;
    assert_eq!(read(&store), expected(LAST), "read through the store");
    store.flush(&wal).await.unwrap();
    disk.power_loss(7);
    assert_eq!(reopened(&disk).await, expected(LAST), "and after a power loss");
    assert_eq!(place.witness.said(), Vec::<String>::new());
    assert!(incoming(&*disk.mount()).is_empty());
}

fn read(store: &Store) -> Content {
    read_all(&*store.pin().unwrap()).unwrap()
}

#[tokio::test]
async fn free_space_goes_and_the_file_can_be_written_anew_again_and_again() {
    let disk = sim_disk(2);
    let place = place(&disk);
    let (store, wal) = grown(&place).await;
    let value = vec![7; 50_000];
    let large: Vec<_> = (0..100_u8).map(|n| put(Bucket::Dedupe, &[n], &value)).collect();
    store.push(large.clone());
    store.flush(&wal).await.unwrap();
    let gone = large.into_iter().map(|write| quorate::machine::persist::Write { value: None, ..write });
    store.push(gone.collect());
    store.flush(&wal).await.unwrap();
    let before = store.size().unwrap();
    for _ in 0..3 {
        store.defragment(&place.state, &wal).await.unwrap();
        let after = store.size().unwrap();
        assert_eq!(after.in_use_bytes, before.in_use_bytes);
        assert!(after.file_bytes * 3 < before.file_bytes, "{before:?} {after:?}");
        assert_eq!(read(&store), expected(BEFORE));
    }
    store.close(&wal).await.unwrap();
    assert_eq!(reopened(&disk).await, expected(BEFORE));
}

/// Dies in every `step`-th call of this class while the file is written anew and batches come in; returns how often.
async fn sweep(call: Call, crash: Crash, step: usize) -> usize {
    for (deaths, nth) in (1_u64..).step_by(step).enumerate() {
        let disk = sim_disk(nth);
        let place = place(&disk);
        let (store, wal) = grown(&place).await;
        disk.arm(Arm { call, path: None, nth, crash, event: nth });
        place.apply(&store, BEFORE + 1..=LAST);
        let done = store.defragment(&place.state, &wal).await;
        let died = disk.died();
        assert!(died || done.is_ok(), "{call:?} {nth}: {done:?}");
        if crash == Crash::Kill && died {
            // What a killed process wrote is visible to the next one, and lost when the power goes.
            let seen = reopened(&disk).await;
            assert_eq!(seen, expected(applied(&seen)), "{call:?} {nth}");
            disk.power_loss(nth + 1_000_000);
        } else if !died {
            disk.power_loss(nth);
        }
        let content = reopened(&disk).await;
        let last = applied(&content);
        assert!((BEFORE..=LAST).contains(&last), "{call:?} {nth}: {last}");
        assert_eq!(content, expected(last), "{crash:?} in {call:?} {nth}: not exactly batches 1..{last}");
        assert!(incoming(&*disk.mount()).is_empty(), "{call:?} {nth}: a start leaves no unfinished file");
        if !died {
            return deaths;
        }
    }
    unreachable!("it ends")
}

#[tokio::test]
async fn a_power_loss_inside_any_write_loses_nothing() {
    assert!(sweep(Call::Write, Crash::PowerLoss, 1).await > 15);
}

#[tokio::test]
async fn a_power_loss_inside_any_sync_loses_nothing() {
    assert!(sweep(Call::Sync, Crash::PowerLoss, 1).await > 5);
}

#[tokio::test]
async fn a_power_loss_or_a_kill_inside_any_name_change_loses_nothing() {
    assert!(sweep(Call::Name, Crash::PowerLoss, 1).await >= 2);
    assert!(sweep(Call::Name, Crash::Kill, 1).await >= 2);
}

#[tokio::test]
async fn a_kill_inside_any_write_and_then_a_power_loss_loses_nothing() {
    assert!(sweep(Call::Write, Crash::Kill, 3).await > 5);
}

#[tokio::test]
async fn a_full_disk_is_an_answer_and_the_member_goes_on() {
    let disk = sim_disk(3);
    let place = place(&disk);
    let (store, wal) = grown(&place).await;
    // The engine is at rest: the first write below its folder is the copy's.
    let path = Some(Path::new(ROOT).join("state"));
    disk.inject(Fault { call: Call::Write, path, nth: 2, kind: FaultKind::NoSpace });
    let refused = store.defragment(&place.state, &wal).await;
    assert!(matches!(&refused, Err(DefragmentError::Engine(EngineError::Io { .. }))), "{refused:?}");
    disk.clear_faults();
    assert!(incoming(&*place.env.disk).is_empty(), "who asked for space has lost none");
    assert_eq!(place.witness.said(), Vec::<String>::new(), "nothing was lost");
    place.apply(&store, BEFORE + 1..=LAST);
    store.flush(&wal).await.unwrap();
    assert_eq!(read(&store), expected(LAST));
    store.defragment(&place.state, &wal).await.unwrap();
    assert_eq!(read(&store), expected(LAST));
    assert!(incoming(&*disk.mount()).is_empty());
}

#[tokio::test]
async fn whichever_write_fails_nothing_is_left_but_the_live_file() {
    let disk = sim_disk(4);
    let place = place(&disk);
    let (store, wal) = grown(&place).await;
    let state = Path::new(ROOT).join("state");
    let mut refusals = 0;
    for nth in 1.. {
        let (call, path, kind) = (Call::Write, Some(state.clone()), FaultKind::NoSpace);
        disk.inject(Fault { call, path, nth, kind });
        let done = store.defragment(&place.state, &wal).await;
        disk.clear_faults();
        assert_eq!(place.env.disk.list(&state).unwrap(), ["state.redb"], "write {nth}: {done:?}");
        assert_eq!(read(&store), expected(BEFORE));
        if done.is_ok() {
            break;
        }
        refusals += 1;
    }
    assert!(refusals > 5, "{refusals}");
    assert_eq!(place.witness.said(), Vec::<String>::new());
    // Nor when the log fails, just before the new file would take its place.
    let path = Some(Path::new(ROOT).join("wal"));
    disk.inject(Fault { call: Call::Sync, path, nth: 1, kind: FaultKind::Eio });
    let vote = Vote { term: Term(3), voted_for: None, committed: false };
    wal.append(vec![WalRecord::Vote(vote)], Box::new(drop));
    store.defragment(&place.state, &wal).await.unwrap_err();
    assert_eq!(place.env.disk.list(&state).unwrap(), ["state.redb"]);
}

#[tokio::test]
async fn sled_says_that_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let real: Arc<dyn Disk> = Arc::new(quorate::env::real::RealDisk);
    let place = Place::new(dir.path(), real, EngineKind::Sled);
    let (engine, _) = place.open(None).await;
    engine.accept().unwrap();
    let (store, wal) = (place.store(engine), place.wal().await);
    let refused = store.defragment(&place.state, &wal).await.unwrap_err().to_string();
    assert!(refused.contains("sled cannot be written anew while it is in use"), "{refused}");
    place.apply(&store, 1..=BEFORE);
    store.drained().await;
    assert_eq!(read(&store), expected(BEFORE));
}
