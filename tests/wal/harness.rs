//! A naive log beside the real one: a machine whose disk may crash at any call, and the states it may come back
//! in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use quorate::env::{Disk, Entropy};
use quorate::storage::wal::{Entry, Identity, Recovered, Vote, Wal, WalError, WalOptions, WalRecord};
use quorate::types::{ClusterId, Incarnation, LogId, LogIndex, MemberId, Term};
use quorate_disk::{Arm, Call, Config, Crash, SimDisk};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub const IDENTITY: Identity = Identity { cluster: ClusterId(0xc1), member: MemberId(0xa1) };
/// The smallest segments there are, so that a few dozen batches change segments many times.
pub const OPTIONS: WalOptions = WalOptions { segment_bytes: 32 << 10, prepared_segments: 1 };

pub fn dir() -> PathBuf {
    PathBuf::from("/data/wal")
}

/// Seeded randomness for salts.
pub struct Dice(Mutex<ChaCha8Rng>);

impl Dice {
    pub fn new(seed: u64) -> Arc<Dice> {
        Arc::new(Dice(Mutex::new(ChaCha8Rng::seed_from_u64(seed))))
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64() % bound
    }
}

impl Entropy for Dice {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap().next_u64()
    }
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: LogIndex(index) }
}

pub fn entry(term: u64, index: u64, payload: &[u8]) -> WalRecord {
    WalRecord::Entry(Entry { log_id: log_id(term, index), payload: Bytes::copy_from_slice(payload) })
}

pub fn vote(term: u64, member: u64) -> Vote {
    Vote { term: Term(term), voted_for: Some(MemberId(member)), committed: false }
}

/// What a log should hold, kept the plainest way there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub vote: Option<Vote>,
    pub purged: Option<LogId>,
    pub entries: Vec<Entry>,
    /// At least this is known to be committed after a restart.
    pub committed: Option<LogId>,
}

impl Model {
    pub fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    pub fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index.0 + 1)
    }

    pub fn take(&mut self, records: &[WalRecord], committed: Option<LogId>) {
        for record in records {
            match record {
                WalRecord::Entry(entry) => self.entries.push(entry.clone()),
                WalRecord::Vote(vote) => self.vote = Some(*vote),
                WalRecord::TruncateAfter(last) => {
                    self.entries.retain(|entry| last.is_some_and(|last| entry.log_id.index <= last.index));
                }
                WalRecord::Purge(upto) => {
                    self.entries.retain(|entry| entry.log_id.index > upto.index);
                    self.purged = self.purged.max(Some(*upto));
                }
            }
        }
        if committed.is_some_and(|id| id.index.0 < self.next_index()) {
            self.committed = self.committed.max(committed);
        }
        self.committed = self.committed.max(self.purged);
    }

    fn is(&self, recovered: &Recovered) -> bool {
        self.vote == recovered.vote
            && self.purged == recovered.purged
            && self.entries == recovered.entries
            && recovered.committed >= self.committed
            && recovered.committed <= self.last()
    }
}

/// One thing that a log is asked for.
#[derive(Clone, Debug)]
pub enum Step {
    Commit(Vec<WalRecord>, Option<LogId>),
    /// Writes the purge and recycles at once.
    Purge(LogId),
    /// Recycles what an earlier record lets go.
    Recycle,
    Seal,
    Prepare,
}

/// One member's machine: its disk, its process when one is alive, and what it may hold.
pub struct Machine {
    pub disk: SimDisk,
    pub dice: Arc<Dice>,
    pub wal: Option<Wal>,
    /// What was acknowledged.
    pub sure: Model,
    /// What may be there instead: the one request that was never answered took effect.
    pub maybe: Option<Model>,
    pub incarnation: Incarnation,
    /// Numbers the crashes.
    pub events: u64,
    pub torn: u64,
}

impl Machine {
    pub fn new(seed: u64) -> Machine {
        Machine {
            disk: SimDisk::new(Config::new(seed)),
            dice: Dice::new(seed),
            wal: None,
            sure: Model::default(),
            maybe: None,
            incarnation: Incarnation(0),
            events: 0,
            torn: 0,
        }
    }

    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    pub fn arm(&mut self, call: Call, nth: u64, crash: Crash) {
        let event = self.event();
        self.disk.arm(Arm { call, path: None, nth, crash, event });
    }

    pub fn kill(&mut self) {
        let event = self.event();
        self.disk.kill(event);
        self.wal = None;
    }

    pub fn power_loss(&mut self) {
        let event = self.event();
        self.disk.power_loss(event);
        self.wal = None;
    }

    pub fn try_open(&mut self) -> Result<Recovered, WalError> {
        // The handle of the life before goes first: it is fenced by now.
        self.wal = None;
        let (wal, recovered) = Wal::open(
            self.disk.mount(),
            &dir(),
            IDENTITY,
            OPTIONS,
            Arc::clone(&self.dice) as Arc<dyn Entropy>,
        )?;
        self.wal = Some(wal);
        Ok(recovered)
    }

    /// Opens and judges; false when the machine died meanwhile. What came back is a promise from now on.
    pub fn open(&mut self, story: &str) -> bool {
        match self.try_open() {
            Ok(recovered) => self.judge(&recovered, story),
            Err(error) => assert!(self.disk.died(), "{story}: a sound disk is refused: {error}"),
        }
        self.wal.is_some()
    }

    /// The same on a disk whose calls may fail: such a failure ends the process.
    pub fn open_or_fail(&mut self, story: &str) -> bool {
        match self.try_open() {
            Ok(recovered) => self.judge(&recovered, story),
            Err(error) => {
                let failed = matches!(error, WalError::Io { .. });
                assert!(self.disk.died() || failed, "{story}: a sound disk is refused: {error}");
                if !self.disk.died() {
                    self.kill();
                }
            }
        }
        self.wal.is_some()
    }

    fn judge(&mut self, recovered: &Recovered, story: &str) {
        assert!(
            recovered.incarnation > self.incarnation,
            "{story}: incarnation {:?} came back after {:?}",
            recovered.incarnation,
            self.incarnation
        );
        self.incarnation = recovered.incarnation;
        self.torn += u64::from(recovered.torn_tail.is_some());
        let maybe = self.maybe.take();
        if !self.sure.is(recovered) {
            match maybe {
                Some(maybe) if maybe.is(recovered) => self.sure = maybe,
                maybe => panic!(
                    "{story}: recovered\n{}\nacknowledged\n{}\nunanswered\n{}",
                    shown(recovered),
                    brief(&self.sure),
                    maybe.as_ref().map_or("nothing".to_owned(), brief)
                ),
            }
        }
        self.sure.committed = recovered.committed;
    }

    /// Does one step; false when the machine died in it or the log gave up.
    pub fn step(&mut self, step: &Step) -> bool {
        let mut after = self.sure.clone();
        match step {
            Step::Commit(records, committed) => after.take(records, *committed),
            Step::Purge(upto) => after.take(&[WalRecord::Purge(*upto)], None),
            Step::Recycle | Step::Seal | Step::Prepare => {}
        }
        let wal = self.wal.as_mut().expect("a log is open");
        let result = match step {
            Step::Commit(records, committed) => wal.commit(records, *committed).map(drop),
            Step::Purge(upto) => wal.purge(*upto).map(drop),
            Step::Recycle => wal.recycle(),
            Step::Seal => wal.seal().map(drop),
            Step::Prepare => wal.prepare(),
        };
        match result {
            Ok(()) => {
                self.sure = after;
                true
            }
            Err(error) => {
                assert!(
                    !matches!(error, WalError::Refused { .. } | WalError::NoSpace { .. }),
                    "a rightful step is refused: {error}"
                );
                self.maybe = Some(after);
                // A process whose log failed ends; only the written bytes are left.
                if !self.disk.died() {
                    self.kill();
                }
                self.wal = None;
                false
            }
        }
    }

    /// The log still works: it takes a batch, and holds it after a power loss.
    pub fn still_works(&mut self, story: &str) {
        let next = self.sure.next_index();
        let term = self.sure.last().map_or(1, |last| last.term.0);
        assert!(self.step(&Step::Commit(vec![entry(term, next, b"after")], None)), "{story}: a last commit");
        self.power_loss();
        assert!(self.open(story), "{story}: a last start");
    }

    /// Every file of the log as a process sees it.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        files_of(&self.disk)
    }
}

/// Every file of the log as a process sees it.
pub fn files_of(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let inside = disk.files().into_iter().map(|path| PathBuf::from("/").join(path));
    inside
        .filter(|path| path.starts_with(dir()))
        .map(|path| (path.clone(), disk.written_bytes(&path).unwrap()))
        .collect()
}

/// A disk that durably holds these files.
pub fn disk_of(files: &[(PathBuf, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(Config::new(1));
    let mounted = disk.mount();
    for (path, bytes) in files {
        put(mounted.as_ref(), path, bytes);
    }
    disk
}

fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk.open(path, quorate::env::OpenMode::Create).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

pub fn open_on(disk: &SimDisk, identity: Identity) -> Result<(Wal, Recovered), WalError> {
    Wal::open(disk.mount(), &dir(), identity, OPTIONS, Dice::new(99))
}

fn shown(recovered: &Recovered) -> String {
    let model = Model {
        vote: recovered.vote,
        purged: recovered.purged,
        entries: recovered.entries.clone(),
        committed: recovered.committed,
    };
    brief(&model)
}

fn brief(model: &Model) -> String {
    let entries: Vec<String> =
        model.entries.iter().map(|entry| format!("{}({})", entry.log_id, entry.payload.len())).collect();
    format!(
        "  vote {:?}, purged {:?}, committed {:?}, entries {}",
        model.vote,
        model.purged,
        model.committed,
        entries.join(" ")
    )
}
