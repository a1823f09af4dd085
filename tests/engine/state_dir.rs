//! The state's folder at a start: a sled engine that was not closed is rebuilt from snapshot file and log, or is
//! left as it was found. And what a failure of the store's disk does to the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate::env::real::RealDisk;
use quorate::env::{Disk, Env, Process, run};
use quorate::machine::persist::{Bucket, Write};
use quorate::machine::state::{APPLIED_KEY, applied_write};
use quorate::storage::engine::{Engine, EngineError, EngineKind};
use quorate::storage::snapshot_file::verify_snapshot;
use quorate::storage::state_dir::{Origin, StateDir};
use quorate::storage::store::Store;
use quorate::storage::wal::{Wal, WalHandle, WalOptions};
use quorate::types::{LogId, LogIndex, Term};
use quorate_disk::{Arm, Call, Crash, Fault, FaultKind, Survival};

use crate::script::{Content, batch, content_of, put};
use crate::{OWNER, sim_disk};

/// A process that only notes why it was to end.
#[derive(Default)]
pub struct Witness(Mutex<Vec<String>>);

impl Process for Witness {
    fn fatal(&self, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }
}

impl Witness {
    pub fn said(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub fn at(index: u64) -> LogId {
    LogId { term: Term(2), index: LogIndex(index) }
}

/// One member's storage, as a process of its own.
pub struct Place {
    pub env: Env,
    pub witness: Arc<Witness>,
    pub state: StateDir,
    root: PathBuf,
}

impl Place {
    pub fn new(root: &Path, disk: Arc<dyn Disk>, kind: EngineKind) -> Place {
        let witness = Arc::new(Witness::default());
        let env = Env { disk, process: witness.clone(), ..Env::real().unwrap() };
        let worker = env.workers.start("engine");
        let state = StateDir::new(env.clone(), worker, root, kind, OWNER);
        Place { env, witness, state, root: root.to_owned() }
    }

    fn sled(root: &Path) -> Place {
        Place::new(root, Arc::new(RealDisk), EngineKind::Sled)
    }

    pub async fn wal(&self) -> WalHandle {
        let worker = self.env.workers.start("open");
        let (disk, entropy, dir) = (self.env.disk.clone(), self.env.entropy.clone(), self.root.join("wal"));
        let options = WalOptions { segment_bytes: 64 << 10, ..WalOptions::default() };
        let opened = run(&*worker, move || Wal::open(disk, &dir, OWNER, options, entropy)).await.unwrap();
        WalHandle::start(opened.unwrap().0, self.env.clone())
    }

    pub fn store(&self, engine: Arc<dyn Engine>) -> Store {
        let worker = self.env.workers.start("store");
        Store::new(self.env.clone(), worker, engine, self.state.full_snapshot().cloned()).unwrap()
    }

    /// Opens, which must work.
    pub async fn open(&self, purged: Option<LogId>) -> (Arc<dyn Engine>, Origin) {
        self.state.open(purged).await.unwrap()
    }

    /// Applies batches `1..=last`, each as the entry of its number.
    pub fn apply(&self, store: &Store, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let mut writes = batch(number);
            // The script's own mark stands where the applied entry belongs.
            writes.retain(|write| write.key != APPLIED_KEY);
            writes.push(applied_write(at(number)));
            store.push(writes);
        }
    }

    /// Writes the snapshot file of what is applied.
    async fn secure(&self, store: &Store, wal: &WalHandle, last: u64) -> Result<(), EngineError> {
        store.drained().await;
        let view = store.pin()?;
        store.secure(at(last), view, wal).await.map(drop)
    }
}

/// Where sled's marks and files stand under `root`.
fn names(root: &Path) -> Vec<String> {
    RealDisk.list(&root.join("state")).unwrap()
}

/// Batches 1..=30 in the snapshot file, 31..=40 in the engine alone, and no close. Returns the content at 30.
async fn left_open(root: &Path) -> Content {
    let place = Place::sled(root);
    let (engine, origin) = place.open(None).await;
    assert_eq!(origin, Origin::Created);
    let (wal, store) = (place.wal().await, place.store(engine.clone()));
    place.apply(&store, 1..=30);
    place.secure(&store, &wal, 30).await.unwrap();
    let content = content_of(&*engine);
    place.apply(&store, 31..=40);
    store.drained().await;
    assert_ne!(content_of(&*engine), content);
    assert!(place.witness.said().is_empty());
    content
}

#[tokio::test]
async fn an_engine_left_open_is_set_aside_and_rebuilt_from_the_snapshot_file() {
    let temp = tempfile::tempdir().unwrap();
    let content = left_open(temp.path()).await;
    let place = Place::sled(temp.path());
    let (engine, origin) = place.open(Some(at(25))).await;
    assert_eq!(origin, Origin::Rebuilt { from: Some(at(30)), why: "it was not closed cleanly".to_owned() });
    assert_eq!(content_of(&*engine), content, "exactly what the file holds");
    engine.integrity_check().unwrap();
    assert_eq!(names(temp.path()), ["full.snapshot", "sled-1", "sled-1.aside-1"]);
    fs::write(temp.path().join("state/sled-1.aside-1/first"), b"").unwrap();

    // Once more: only the newest is kept aside.
    drop((engine, place));
    let (engine, _) = Place::sled(temp.path()).open(Some(at(30))).await;
    assert_eq!(content_of(&*engine), content);
    assert_eq!(names(temp.path()), ["full.snapshot", "sled-1", "sled-1.aside-1"]);
    assert!(!temp.path().join("state/sled-1.aside-1/first").exists());
}

#[tokio::test]
async fn a_closed_engine_is_found_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::sled(temp.path());
    let (engine, _) = place.open(None).await;
    let (wal, store) = (place.wal().await, place.store(engine.clone()));
    place.apply(&store, 1..=20);
    store.drained().await;
    let content = content_of(&*engine);
    // A view that somebody still reads for a moment does not spoil the close.
    let view = store.pin().unwrap();
    let reading = std::thread::spawn(move || view.range(Bucket::Records, b"", 10).unwrap().len());
    store.close(&wal).await.unwrap();
    assert!(reading.join().unwrap() > 0);
    place.apply(&store, 21..=22);
    assert!(store.pin().is_err(), "a closed store gives no view");
    assert!(store.flush(&wal).await.is_err());
    assert!(place.witness.said().is_empty(), "what comes after a close is no failure");
    drop((engine, store, place));

    let place = Place::sled(temp.path());
    let (engine, origin) = place.open(None).await;
    assert_eq!(origin, Origin::Found);
    assert_eq!(content_of(&*engine), content);
    assert_eq!(names(temp.path()), ["sled-1"]);
}

#[tokio::test]
async fn nothing_is_touched_when_file_and_log_do_not_meet() {
    let temp = tempfile::tempdir().unwrap();
    left_open(temp.path()).await;
    let before = names(temp.path());
    let (state, file) = (temp.path().join("state"), temp.path().join("state/full.snapshot"));
    let folder = state.join("sled-1").display().to_string();
    let refusal = async |purged| {
        let error = Place::sled(temp.path()).state.open(Some(at(purged))).await.unwrap_err();
        assert!(matches!(error, EngineError::Lost { .. }), "{error}");
        assert_eq!(names(temp.path()), before, "all is where it was");
        error.to_string()
    };
    let begins = |purged: u64| format!("and the log begins behind T2-{purged}");
    let head = format!("state engine {folder} cannot be rebuilt: it was not closed cleanly; ");
    let behind = refusal(31).await;
    assert_eq!(behind, format!("{head}its snapshot file ends at T2-30, {}", begins(31)));

    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&file, &bytes).unwrap();
    let damaged = refusal(10).await;
    let what = format!("{head}snapshot file {} is corrupt at offset ", file.display());
    assert!(damaged.starts_with(&what) && damaged.ends_with(&begins(10)), "{damaged}");
    assert_eq!(damaged.lines().count(), 1);

    fs::write(&file, &whole).unwrap();
    let (engine, _) = Place::sled(temp.path()).open(Some(at(30))).await;
    drop(engine);
    fs::remove_dir_all(state.join("sled-1.aside-1")).unwrap();
    fs::remove_file(&file).unwrap();
    let error = Place::sled(temp.path()).state.open(Some(at(3))).await.unwrap_err().to_string();
    assert_eq!(error, format!("{head}there is no snapshot file, {}", begins(3)));
    // With the whole log there, neither is needed.
    let (engine, origin) = Place::sled(temp.path()).open(None).await;
    assert_eq!(origin, Origin::Rebuilt { from: None, why: "it was not closed cleanly".to_owned() });
    assert_eq!(content_of(&*engine), Content::new());
}

#[tokio::test]
async fn a_closed_engine_without_its_snapshot_file_writes_one_before_anything_else() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("state/full.snapshot");
    {
        let place = Place::sled(temp.path());
        let (engine, _) = place.open(None).await;
        let (wal, store) = (place.wal().await, place.store(engine));
        place.apply(&store, 1..=20);
        place.secure(&store, &wal, 20).await.unwrap();
        place.apply(&store, 21..=25);
        store.close(&wal).await.unwrap();
    }
    fs::write(&file, b"rotten").unwrap();
    let place = Place::sled(temp.path());
    let (engine, origin) = place.open(Some(at(15))).await;
    assert_eq!(origin, Origin::Found);
    assert_eq!(verify_snapshot(&RealDisk, &file, OWNER).unwrap().applied, at(25));
    let full = place.state.full_snapshot().unwrap();
    assert!(full.covers(at(25)) && !full.covers(at(26)));
    let content = content_of(&*engine);
    // And it does what it is for.
    drop((engine, place));
    let (engine, _) = Place::sled(temp.path()).open(Some(at(25))).await;
    assert_eq!(content_of(&*engine), content);
}

#[tokio::test]
async fn a_received_snapshot_is_durable_before_the_engine_is_built() {
    let temp = tempfile::tempdir().unwrap();
    left_open(temp.path()).await;
    let place = Place::sled(temp.path());
    let (engine, _) = place.open(None).await;
    let mut staging = place.state.staging().await.unwrap();
    staging.begin(at(90));
    let applied = Write { value: applied_write(at(90)).value, ..put(Bucket::Meta, APPLIED_KEY, b"") };
    let foreign = put(Bucket::Meta, b"installed", b"the sender's");
    let pairs = [applied, foreign, put(Bucket::Records, b"k", b"v")];
    let pairs = pairs.into_iter().map(|write| (write.bucket, write.key, write.value.unwrap())).collect();
    staging.add(pairs).await.unwrap();
    drop(place.state.staging().await.unwrap());
    let before = content_of(&*engine);
    let next = staging.finish().await.unwrap();
    assert_eq!(content_of(&*engine), before, "the live engine is still read until it is swapped");
    let reader = next.reader().unwrap();
    assert_eq!(reader.get(Bucket::Records, b"k").unwrap(), Some(Bytes::from_static(b"v")));
    assert_eq!(place.state.installed_at(&*reader).unwrap(), Some(at(90)), "this member's own mark");
    let content = content_of(&*next);
    drop((reader, next, engine, place));

    // No close: built again, from the received file.
    let place = Place::sled(temp.path());
    let (engine, origin) = place.open(Some(at(90))).await;
    assert_eq!(origin, Origin::Rebuilt { from: Some(at(90)), why: "it was not closed cleanly".to_owned() });
    assert_eq!(content_of(&*engine), content);
    assert_eq!(names(temp.path()), ["full.snapshot", "sled-2", "sled-2.aside-1"]);
}

#[tokio::test]
async fn what_a_broken_transfer_left_goes_when_the_next_one_begins() {
    for kind in [EngineKind::Redb, EngineKind::Sled] {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::new(temp.path(), Arc::new(RealDisk), kind);
        let (engine, _) = place.open(None).await;
        let incoming = || {
            names(temp.path()).into_iter().filter(|name| name.starts_with("incoming-")).collect::<Vec<_>>()
        };
        let begin = async || {
            let mut staging = place.state.staging().await.unwrap();
            staging.begin(at(90));
            let applied = (Bucket::Meta, APPLIED_KEY.into(), applied_write(at(90)).value.unwrap());
            staging.add(vec![applied]).await.unwrap();
            staging
        };
        let alive = begin().await;
        let of_alive = incoming();
        assert_eq!(of_alive.len(), 1);
        drop(begin().await);
        assert_eq!(incoming().len(), 2, "nobody has begun since");
        drop(begin().await);
        let next = begin().await;
        assert_eq!(incoming().len(), 2, "the two that are still received");
        assert!(incoming().contains(&of_alive[0]));
        // One that is finished is the state, and stays.
        let live = next.finish().await.unwrap();
        drop((alive, engine));
        drop(begin().await);
        assert_eq!(incoming().len(), 1);
        assert_eq!(place.state.installed_at(&*live.reader().unwrap()).unwrap(), Some(at(90)));
        live.integrity_check().unwrap();
    }
}

/// The sync that makes an installed engine's name durable fails, and the member ends. What its next start finds is what a
/// power loss leaves: by it the log is purged.
#[tokio::test]
async fn what_a_start_finds_survives_a_power_loss_even_where_a_sync_has_failed() {
    let (root, folder) = (Path::new("/data"), Some(PathBuf::from("/data/state")));
    let mut ahead = 0;
    for nth in 1..20 {
        let disk = sim_disk(nth);
        let installed = async |place: &Place| {
            let (engine, _) = place.open(None).await;
            place.state.installed_at(&*engine.reader().unwrap()).unwrap()
        };
        let place = Place::new(root, disk.mount(), EngineKind::Redb);
        assert_eq!(installed(&place).await, None);
        let mut staging = place.state.staging().await.unwrap();
        staging.begin(at(90));
        let applied = (Bucket::Meta, APPLIED_KEY.into(), applied_write(at(90)).value.unwrap());
        staging.add(vec![applied]).await.unwrap();
        disk.inject(Fault { call: Call::Sync, path: folder.clone(), nth, kind: FaultKind::Eio });
        let failed = staging.finish().await.is_err();
        disk.clear_faults();
        disk.kill(nth);
        let found = installed(&Place::new(root, disk.mount(), EngineKind::Redb)).await;
        ahead += u32::from(failed && found.is_some());
        disk.power_loss_with(nth, Survival::Nothing);
        let left = installed(&Place::new(root, disk.mount(), EngineKind::Redb)).await;
        assert_eq!(left, found, "sync {nth} failed");
        if !failed {
            break;
        }
    }
    assert!(ahead > 0, "no failed sync left the new engine visible");
}

/// A sync fails in the very first start, that of a folder's own name among them; the second start works, and the power goes.
#[tokio::test]
async fn a_first_start_that_cannot_sync_a_name_leaves_none_that_is_doubtful() {
    let root = Path::new("/data");
    let mut refused = 0;
    for nth in 1..40 {
        let disk = sim_disk(nth);
        disk.inject(Fault { call: Call::Sync, path: None, nth, kind: FaultKind::Eio });
        let first = Place::new(root, disk.mount(), EngineKind::Redb);
        let failed = first.state.open(None).await.is_err();
        refused += u32::from(failed);
        disk.clear_faults();
        drop(first);
        disk.kill(nth);
        let place = Place::new(root, disk.mount(), EngineKind::Redb);
        let (engine, _) = place.open(None).await;
        let store = place.store(engine.clone());
        place.apply(&store, 1..=5);
        store.drained().await;
        engine.flush().unwrap();
        let content = content_of(&*engine);
        drop((store, engine, place));
        disk.power_loss_with(nth, Survival::Nothing);
        let (engine, _) = Place::new(root, disk.mount(), EngineKind::Redb).open(None).await;
        assert!(content_of(&*engine) == content, "sync {nth} failed");
    }
    assert!(refused > 5, "{refused} starts refused");
}

/// A start that ends while it gives the engine's file its name anew leaves it to the next one.
#[tokio::test]
async fn a_start_that_ends_between_two_names_loses_nothing() {
    let root = Path::new("/data");
    let mut between = 0;
    for nth in 1..8 {
        for (event, crash) in [(1, Crash::Kill), (2, Crash::PowerLoss), (3, Crash::PowerLoss)] {
            let disk = sim_disk(event);
            let place = Place::new(root, disk.mount(), EngineKind::Redb);
            let (engine, _) = place.open(None).await;
            let store = place.store(engine.clone());
            place.apply(&store, 1..=5);
            store.drained().await;
            engine.flush().unwrap();
            let content = content_of(&*engine);
            drop((store, engine, place));
            disk.kill(event);
            disk.arm(Arm { call: Call::Name, path: None, nth, crash, event });
            let second = Place::new(root, disk.mount(), EngineKind::Redb);
            let died = second.state.open(None).await.is_err();
            drop(second);
            between += u32::from(died);
            let (engine, _) = Place::new(root, disk.mount(), EngineKind::Redb).open(None).await;
            assert!(content_of(&*engine) == content, "name {nth}, {crash:?}");
        }
    }
    assert!(between >= 6, "{between} deaths");
}

/// A file between two names is found; where both are taken, nobody guesses.
#[tokio::test]
async fn a_file_that_is_just_being_renamed_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let content = left_open(temp.path()).await;
    let (file, renamed) =
        (temp.path().join("state/full.snapshot"), temp.path().join("state/full.snapshot.renamed"));
    fs::rename(&file, &renamed).unwrap();
    let place = Place::sled(temp.path());
    let (engine, _) = place.open(None).await;
    assert_eq!(content_of(&*engine), content);
    assert!(file.exists() && !renamed.exists());
    drop((engine, place));
    fs::copy(&file, &renamed).unwrap();
    let error = Place::sled(temp.path()).state.open(None).await.unwrap_err().to_string();
    assert!(error.contains("full.snapshot.renamed are both there: remove one"), "{error}");
    assert!(file.exists() && renamed.exists());
}

#[tokio::test]
async fn an_older_snapshot_never_replaces_a_newer_one() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::sled(temp.path());
    let (engine, _) = place.open(None).await;
    let (wal, store) = (place.wal().await, place.store(engine));
    place.apply(&store, 1..=5);
    store.drained().await;
    let older = store.pin().unwrap();
    place.apply(&store, 6..=9);
    place.secure(&store, &wal, 9).await.unwrap();
    store.secure(at(5), older, &wal).await.map(drop).unwrap();
    let file = temp.path().join("state/full.snapshot");
    assert_eq!(verify_snapshot(&RealDisk, &file, OWNER).unwrap().applied, at(9));
}

#[tokio::test]
async fn another_engines_state_is_refused() {
    for (first, second) in [(EngineKind::Redb, EngineKind::Sled), (EngineKind::Sled, EngineKind::Redb)] {
        let temp = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (engine, _) = Place::new(temp.path(), disk.clone(), first).open(None).await;
        engine.close().unwrap();
        let error = Place::new(temp.path(), disk, second).state.open(None).await.unwrap_err().to_string();
        let expected = format!("is refused: it was written by another storage engine, {first}");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[tokio::test]
async fn a_failed_sync_of_the_engine_ends_the_process_at_once() {
    let disk = sim_disk(9);
    let place = Place::new(Path::new("/data"), disk.mount(), EngineKind::Redb);
    let (engine, _) = place.open(None).await;
    let (wal, store) = (place.wal().await, place.store(engine));
    place.apply(&store, 1..=5);
    store.flush(&wal).await.unwrap();
    place.apply(&store, 6..=9);
    let path = Some(PathBuf::from("/data/state"));
    disk.inject(Fault { call: Call::Sync, path, nth: 1, kind: FaultKind::Eio });
    let error = store.flush(&wal).await.unwrap_err().to_string();
    // Told when the flush returns, with no read in between that could have noticed.
    assert_eq!(place.witness.said(), [error]);
}

#[tokio::test]
async fn a_snapshot_file_that_cannot_be_written_ends_the_process_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place::sled(temp.path());
    let (engine, _) = place.open(None).await;
    let (wal, store) = (place.wal().await, place.store(engine));
    place.apply(&store, 1..=5);
    // A folder in the way of the file: it cannot be opened for writing.
    fs::create_dir(temp.path().join("state/full.snapshot.new")).unwrap();
    let error = place.secure(&store, &wal, 5).await.unwrap_err().to_string();
    assert!(error.contains("full.snapshot.new"), "{error}");
    assert_eq!(place.witness.said(), [error]);
    assert!(!place.state.full_snapshot().unwrap().covers(at(5)), "the log may not be purged");
}
