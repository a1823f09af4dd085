//! One member's copy of the state: the machine, its storage, its watchers, and the clients that wait for it.
//!
//! Applying a batch publishes in a fixed order: state, write buffer, watch events, answers, applied index.
//! Whoever sees a later step sees all earlier ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use std::time::Duration;

use bytes::Bytes;
use openraft::Membership;

use crate::config::limits;
use crate::env::{Clock, Env, Observation, Witness};
use crate::machine::command::{AlarmKind, Batch, Command, KeyValue, Member, MemberChange};
use crate::machine::effects::{Effects, Event, Records, RecordsError, SessionChange};
use crate::machine::lease::{Lease, parse_lease_key};
use crate::machine::members::Members;
use crate::machine::mvcc::record::record_key;
use crate::machine::overlay::Overlay;
use crate::machine::persist::{Bucket, Write};
use crate::machine::state::{State, applied_write};
use crate::machine::watch::{Previous, WatchLimits};
use crate::raft::applied::Applied;
use crate::raft::codec::{decode_stored_membership, encode_membership};
use crate::raft::compaction_hashes::{CompactionHash, CompactionHashes};
use crate::raft::lease::deadlines::{Deadlines, Granted};
use crate::raft::pending::{Pending, ProposeError};
use crate::raft::pins::{Pin, Pins};
use crate::raft::sessions::Sessions;
use crate::raft::types::{PeerNode, RaftMembership, log_id, raft_log_id};
use crate::raft::watch_hub::WatchHub;
use crate::storage::engine::{Engine, EngineError};
use crate::storage::store::Store;
use crate::types::{Incarnation, LeaseId, LogId, LogIndex, MemberId, RevPair, Revision, Term};

/// Under this key of the meta bucket stands the last applied membership, after the id of its entry.
const MEMBERSHIP_KEY: &[u8] = b"membership";

/// One committed entry, as it is applied.
pub enum Committed {
    /// A new leader's first entry.
    Blank,
    /// Client requests.
    Batch(Arc<Batch>),
    /// A membership.
    Membership(RaftMembership),
}

/// The state of one member. Shared by the applier, readers and watchers.
pub struct Replica {
    env: Env,
    member: MemberId,
    incarnation: Incarnation,
    state: RwLock<State>,
    membership: Mutex<RaftMembership>,
    store: Store,
    watches: WatchHub,
    deadlines: Mutex<Deadlines>,
    sessions: Mutex<Sessions>,
    /// Entries up to here were in the log when the member started: sessions that they opened are over.
    found: Option<LogId>,
    applied: Arc<Applied>,
    pending: Arc<Pending>,
    /// Who reads in steps.
    pins: Pins,
    compaction_hashes: Mutex<CompactionHashes>,
    /// Counts snapshots installed: whoever reads in steps must notice that the state was replaced.
    installs: AtomicU64,
    /// An apply failed half-way: see [`Replica::give_up`].
    given_up: AtomicBool,
}

impl Replica {
    /// A replica over loaded state.
    #[expect(clippy::too_many_arguments, reason = "each part is owned by the member that wires them")]
    pub fn new(
        env: Env,
        member: MemberId,
        incarnation: Incarnation,
        state: State,
        membership: RaftMembership,
        store: Store,
        watch_limits: WatchLimits,
        lease_checkpoint_interval: Duration,
        session_ttl: Duration,
        found: Option<LogId>,
        applied: Arc<Applied>,
        pending: Arc<Pending>,
    ) -> Replica {
        let watches = WatchHub::new(watch_limits, state.revision());
        let deadlines = Mutex::new(Deadlines::new(lease_checkpoint_interval));
        let sessions = Mutex::new(Sessions::new(session_ttl, limits::SESSIONS_MAX));
        if let Some(last) = state.applied() {
            applied.advance(last);
        }
        Witness::of(member).tell(|| Observation::Loaded { applied: state.applied(), hash: state.hash() });
        let (state, membership) = (RwLock::new(state), Mutex::new(membership));
        let (installs, given_up) = (AtomicU64::new(0), AtomicBool::new(false));
        Replica {
            env,
            member,
            incarnation,
            state,
            membership,
            store,
            watches,
            deadlines,
            sessions,
            found,
            applied,
            pending,
            pins: Pins::default(),
            compaction_hashes: Mutex::default(),
            installs,
            given_up,
        }
    }

    /// The machine's state, for reading. Hold it shortly: applying waits for it.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where records are read.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The watchers.
    pub fn watches(&self) -> &WatchHub {
        &self.watches
    }

    /// The leases' deadlines, while this member leads. May be held while the state is read, never the other way
    /// round.
    pub fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The member's clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.env.clock
    }

    /// Whose replica this is.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// How far the log is applied.
    pub fn applied(&self) -> &Arc<Applied> {
        &self.applied
    }

    /// The last applied membership.
    pub fn membership(&self) -> MutexGuard<'_, RaftMembership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last applied membership has to do with this member at all.
    pub fn has_a_say(&self, member: MemberId) -> bool {
        self.membership().membership().get_node(&member.0).is_some()
    }

    /// Applies committed entries in order and publishes what they did.
    ///
    /// # Errors
    /// When stored history cannot be read: the member must stop.
    pub fn apply(&self, entries: Vec<(LogId, Committed)>) -> Result<(), RecordsError> {
        self.apply_all(entries).inspect_err(|error| self.give_up(error))
    }

    fn apply_all(&self, entries: Vec<(LogId, Committed)>) -> Result<(), RecordsError> {
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let last = *last;
        let mut writes = Vec::new();
        let mut answers = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        let mut leases = Vec::new();
        let revision = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let mut overlay = Overlay::new(&self.store);
            for (at, entry) in entries {
                match entry {
                    Committed::Batch(batch) => {
                        // Marked under the lock: nobody may see what a failed apply has left half done.
                        let mark = |_: &RecordsError| self.given_up.store(true, Ordering::Relaxed);
                        let compacted = state.compacted();
                        let effects = state.apply(&overlay, at, &batch).inspect_err(mark)?;
                        if state.compacted() != compacted {
                            self.remember_compaction(at, &state);
                        }
                        overlay.absorb(&effects.writes).inspect_err(mark)?;
                        self.tell_of(at, &batch, &effects, state.members());
                        leases.extend(effects.writes.iter().filter_map(lease_change));
                        self.follow_sessions(at, effects.sessions);
                        writes.extend(effects.writes);
                        answers.extend(effects.answers);
                        events.extend(effects.events);
                    }
                    Committed::Membership(membership) => {
                        Witness::of(self.member)
                            .tell(|| Observation::Configured { entry: at, voters: voters(&membership) });
                        writes.push(membership_write(&membership));
                        *self.membership() = membership;
                        state.set_applied(at);
                    }
                    Committed::Blank => state.set_applied(at),
                }
                Witness::of(self.member).tell(|| Observation::State { entry: at, hash: state.hash() });
            }
            writes.push(applied_write(last));
            self.store.push(writes);
            state.revision()
        };
        self.watches.publish(&events, revision, self)?;
        self.follow_leases(leases)?;
        for (id, answer) in answers {
            if id.member == self.member && id.incarnation == self.incarnation {
                self.pending.answer(id.sequence, Ok(answer));
            }
        }
        self.applied.advance(last);
        Ok(())
    }

    /// Tells what became of each command of a batch.
    fn tell_of(&self, entry: LogId, batch: &Batch, effects: &Effects, list: &Members) {
        for (id, answer) in &effects.answers {
            Witness::of(self.member).tell(|| Observation::Ran {
                entry,
                id: *id,
                revision: answer.revision,
                expired: expired_by(batch, id.sequence),
                alarm: alarm_by(batch, id.sequence),
                refused: answer.result.is_err(),
                denied: answer.result.as_ref().is_err_and(|refused| refused.is_denial()),
            });
            if let Some((member, by)) = replaced_by(batch, id.sequence).filter(|_| answer.result.is_ok()) {
                let voters = || list.iter().filter(|listed| !listed.is_learner).map(|listed| listed.id);
                Witness::of(self.member).tell(|| Observation::Replaced {
                    entry,
                    member,
                    by,
                    to_vote: voters().collect(),
                });
            }
        }
    }

    /// Brings the sessions in step with the users, while the state is held: nobody sees one without the other.
    fn follow_sessions(&self, at: LogId, changes: Vec<SessionChange>) {
        if changes.is_empty() || Some(at) <= self.found {
            return;
        }
        let now = self.env.clock.monotonic();
        let mut sessions = self.sessions();
        changes.into_iter().for_each(|change| sessions.follow(change, now));
    }

    /// Remembers the state's hash at a compaction.
    fn remember_compaction(&self, entry: LogId, state: &State) {
        self.hashes().push(CompactionHash { entry, compacted: state.compacted(), hash: state.hash() });
    }

    fn hashes(&self) -> MutexGuard<'_, CompactionHashes> {
        self.compaction_hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state's hashes at the last compactions, oldest first.
    pub fn compaction_hashes(&self) -> Vec<CompactionHash> {
        let mut hashes = self.hashes().all();
        // The planted bug remembers where, and looks at the state when it is asked.
        if crate::mutant!("compaction-hash-taken-when-asked") {
            let now = self.state().hash();
            hashes.iter_mut().for_each(|hash| hash.hash = now);
        }
        hashes
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user whose token this is. Call it while holding the state: sessions change with it.
    pub fn user_of(&self, token: &str) -> Option<Arc<str>> {
        self.sessions().user_of(token, self.env.clock.monotonic())
    }

    /// Forgets the sessions whose tokens nobody has shown for long.
    pub fn sweep_sessions(&self) {
        self.sessions().sweep(self.env.clock.monotonic());
    }

    /// Brings the deadlines in step with the leases bucket. Before the answers: whoever knows of a grant must
    /// find it there, and whoever waits for an expiry must find the lease gone.
    fn follow_leases(&self, changes: Vec<LeaseChange>) -> Result<(), RecordsError> {
        if changes.is_empty() {
            return Ok(());
        }
        let now = self.env.clock.monotonic();
        let mut deadlines = self.deadlines();
        for (id, value) in changes {
            match value {
                Some(value) => {
                    let lease = Lease::decode(value).map_err(|error| RecordsError(error.to_string()))?;
                    deadlines.granted(Granted { id, ttl: lease.ttl, remaining: lease.remaining }, now);
                }
                None if crate::mutant!("lease-deadline-outlives-the-lease") => {}
                None => deadlines.ended(id),
            }
        }
        Ok(())
    }

    /// The state, for answers to clients.
    ///
    /// # Errors
    /// The state was given up half changed: the member is about to end.
    pub fn readable(&self) -> Result<RwLockReadGuard<'_, State>, RecordsError> {
        let state = self.state();
        if self.given_up.load(Ordering::Relaxed) {
            return Err(RecordsError("the state was given up half applied".to_owned()));
        }
        Ok(state)
    }

    /// Keeps `revision` readable while the pin is held; call it while holding the state.
    pub fn pin(&self, revision: Revision) -> Pin {
        self.pins.pin(revision)
    }

    /// How many snapshots were installed. Changes only while nobody holds the state.
    pub fn installs(&self) -> u64 {
        self.installs.load(Ordering::Relaxed)
    }

    /// The state is half changed and must not be read again: watchers get nothing more, and the member ends.
    fn give_up(&self, error: &RecordsError) {
        self.given_up.store(true, Ordering::Relaxed);
        self.watches.stop();
        self.fatal(&error.to_string());
    }

    /// Deletes a little of what compactions have made unreadable; whether there is more to do.
    pub fn compact_step(&self, budget: usize) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // The planted bug forgets those who read in steps.
        let unpinned = crate::mutant!("compact-sweeps-under-a-read");
        let pinned = self.pins.lowest().filter(|_| !unpinned);
        if pinned.is_some_and(|pinned| pinned < state.compacted()) {
            crate::sometimes!("a compaction left alone what a reader needs");
        }
        let progress = state.compact_step(budget, pinned);
        if !progress.remove.is_empty() {
            // Pushed under the lock: no read can see an index entry whose record is gone.
            self.store.push(progress.remove.into_iter().map(remove_write).collect());
        }
        !progress.done
    }

    /// Takes over an installed snapshot: its engine and the state loaded from it, at one moment for readers.
    ///
    /// # Errors
    /// When the engine cannot be read: the member must stop.
    pub fn install(
        &self,
        state: State,
        membership: RaftMembership,
        engine: Arc<dyn Engine>,
    ) -> Result<(), EngineError> {
        let last = state.applied();
        let (revision, compacted) = (state.revision(), state.compacted());
        {
            let mut live = self.state.write().unwrap_or_else(PoisonError::into_inner);
            self.store.swap(engine)?;
            *live = state;
            // What ended on the way from the old state to this one is not known.
            self.sessions().follow(SessionChange::AllEnded, Duration::ZERO);
            Witness::of(self.member).tell(|| Observation::Installed { upto: last, hash: live.hash() });
            self.installs.fetch_add(1, Ordering::Relaxed);
            // They were of the state that goes, which may be why it goes.
            self.hashes().clear();
            *self.membership() = membership;
        }
        // Only who follows is sent a snapshot.
        self.deadlines().resign();
        self.watches.with(|hub| hub.snapshot_installed(revision, compacted));
        for sequence in self.pending.waiting_sequences() {
            if self.has_seen(sequence) {
                crate::sometimes!("snapshot passed over a waiting request");
                self.pending.answer(sequence, Err(ProposeError::AnswerLost));
            }
        }
        if let Some(last) = last {
            self.applied.advance(last);
        }
        Ok(())
    }

    /// Whether a request of this member's incarnation was applied.
    fn has_seen(&self, sequence: u64) -> bool {
        let state = self.state();
        let sender = state.dedupe().sender(self.member);
        sender.is_some_and(|sender| sender.incarnation() == self.incarnation && sender.has_seen(sequence))
    }

    /// The member stops: nothing it holds can be trusted to go on.
    pub fn fatal(&self, reason: &str) {
        self.store.fatal(reason);
    }
}

impl Previous for Replica {
    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, RecordsError> {
        // Below the first revision there is nothing, and 0 would be read as "now".
        if at < Revision::FIRST {
            return Ok(None);
        }
        let Ok(Some(place)) = self.readable()?.locate(key, at) else { return Ok(None) };
        // The record is read with the state free, so a compaction may come in between and sweep it away.
        match self.store.record(place) {
            Ok(record) => match record.event {
                Event::Put(kv) => Ok(Some(kv)),
                Event::Delete { .. } => Ok(None),
            },
            Err(_) if self.state().compacted() > at => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The command of a batch's request.
fn command_of(batch: &Batch, sequence: u64) -> Option<&Command> {
    let request = batch.requests.iter().find(|request| request.sequence == sequence)?;
    Some(&request.command)
}

/// The leases that a request of a batch ends because their time is up.
fn expired_by(batch: &Batch, sequence: u64) -> Vec<LeaseId> {
    match command_of(batch, sequence) {
        Some(Command::LeaseExpire { ids }) => ids.clone(),
        _ => Vec::new(),
    }
}

/// What a request of a batch makes of an alarm: whether it raises it, which, and of which member.
fn alarm_by(batch: &Batch, sequence: u64) -> Option<(bool, AlarmKind, MemberId)> {
    match command_of(batch, sequence)? {
        Command::Alarm { raise, member, kind } => Some((*raise, *kind, *member)),
        _ => None,
    }
}

/// The member that a command of a batch replaces, and the one that comes in its place.
fn replaced_by(batch: &Batch, sequence: u64) -> Option<(MemberId, MemberId)> {
    match command_of(batch, sequence)? {
        Command::ChangeMembers(MemberChange::Replace { member, by, .. }) => Some((*member, *by)),
        _ => None,
    }
}

/// A lease, and what is stored of it now; `None` when it is gone.
type LeaseChange = (LeaseId, Option<Bytes>);

/// The change to a lease that a write is, if it is one.
fn lease_change(write: &Write) -> Option<LeaseChange> {
    let id = (write.bucket == Bucket::Leases).then(|| parse_lease_key(&write.key))??;
    Some((id, write.value.clone()))
}

/// What deletes a record.
fn remove_write(at: RevPair) -> Write {
    Write { bucket: Bucket::Records, key: record_key(at), value: None }
}

/// The sets of voters of a membership.
fn voters(membership: &RaftMembership) -> Vec<BTreeSet<MemberId>> {
    let sets = membership.membership().get_joint_config();
    sets.iter().map(|set| set.iter().map(|id| MemberId(*id)).collect()).collect()
}

/// What persists a membership.
fn membership_write(membership: &RaftMembership) -> Write {
    let mut value = Vec::new();
    let id = membership.log_id().as_ref().map(log_id);
    value.push(u8::from(id.is_some()));
    let id = id.unwrap_or_default();
    value.extend_from_slice(&id.term.0.to_be_bytes());
    value.extend_from_slice(&id.index.0.to_be_bytes());
    value.extend_from_slice(&encode_membership(membership.membership()));
    Write { bucket: Bucket::Meta, key: Bytes::from_static(MEMBERSHIP_KEY), value: Some(Bytes::from(value)) }
}

/// What persists, as of `at`, that exactly these members vote.
///
/// # Errors
/// When there is none.
pub fn founding_write(at: LogId, members: &[Member]) -> Result<Write, String> {
    let voters = members.iter().map(|member| member.id.0).collect::<BTreeSet<u64>>();
    let nodes: BTreeMap<u64, PeerNode> =
        members.iter().map(|member| (member.id.0, PeerNode { urls: member.peer_urls.clone() })).collect();
    let membership = Membership::new(vec![voters], nodes).map_err(|error| error.to_string())?;
    Ok(membership_write(&RaftMembership::new(Some(raft_log_id(at)), membership)))
}

/// Reads the membership that an engine holds; the empty one when there is none.
///
/// # Errors
/// When what is stored is no membership.
pub fn load_membership(stored: Option<Bytes>) -> Result<RaftMembership, String> {
    let Some(stored) = stored else { return Ok(RaftMembership::default()) };
    let (head, membership) = stored.split_at_checked(17).ok_or("stored membership is cut short")?;
    let number =
        |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).map_err(|_| "stored membership is cut short");
    let (flag, id) = head.split_at_checked(1).ok_or("stored membership is cut short")?;
    let (term, index) = id.split_at_checked(8).ok_or("stored membership is cut short")?;
    let id = LogId { term: Term(number(term)?), index: LogIndex(number(index)?) };
    decode_stored_membership((flag == [1]).then_some(id), membership)
}

/// The key under which [`load_membership`] finds its value in [`Bucket::Meta`].
pub fn membership_key() -> &'static [u8] {
    MEMBERSHIP_KEY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Process;
    use crate::machine::command::{DeleteRange, Put, Request};
    use crate::storage::engine::redb::RedbEngine;
    use crate::storage::engine::{EngineOptions, Identity};
    use crate::types::{ClusterId, KeyRange};

    /// Is told to end, and lives on for a moment.
    #[derive(Default)]
    struct Dying(AtomicBool);

    impl Process for Dying {
        fn fatal(&self, _: &str) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn put(key: &'static [u8]) -> Command {
        Command::Put(Put { key: Bytes::from_static(key), ..Put::default() })
    }

    fn batch(commands: Vec<Command>, first: u64) -> Batch {
        let requests = (first..).zip(commands).map(|(sequence, command)| Request::new(sequence, command));
        Batch {
            member: MemberId(1),
            incarnation: Incarnation(1),
            lowest_unanswered: first,
            wall_ms: 0,
            requests: requests.collect(),
        }
    }

    fn at(index: u64) -> LogId {
        LogId { term: Term(1), index: LogIndex(index) }
    }

    /// The state holds a key whose record is not in the store, as where a page of the engine cannot be read.
    fn without_a_record(process: Arc<Dying>, dir: &std::path::Path) -> Replica {
        let env = Env { process, ..Env::real().unwrap() };
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let engine = RedbEngine::open(&*env.disk, dir, identity, EngineOptions::default()).unwrap();
        let store = Store::new(env.clone(), env.workers.start("engine"), Arc::new(engine), None).unwrap();
        let mut state = State::empty();
        drop(state.apply(&Overlay::new(&store), at(1), &batch(vec![put(b"lost")], 1)).unwrap());
        Replica::new(
            env,
            MemberId(1),
            Incarnation(1),
            state,
            RaftMembership::default(),
            store,
            WatchLimits::default(),
            Duration::from_secs(1),
            Duration::from_secs(1),
            None,
            Arc::new(Applied::default()),
            Arc::new(Pending::default()),
        )
    }

    #[test]
    fn what_a_failed_apply_leaves_half_done_is_never_read() {
        let (dir, process) = (tempfile::tempdir().unwrap(), Arc::new(Dying::default()));
        let replica = without_a_record(process.clone(), dir.path());
        let before = replica.readable().unwrap().revision();
        let range = KeyRange::single(Bytes::from_static(b"lost"));
        let delete = Command::DeleteRange(DeleteRange { range, prev_kv: true });
        let failing = Committed::Batch(Arc::new(batch(vec![put(b"half"), delete], 2)));
        assert!(replica.apply(vec![(at(2), failing)]).is_err());
        assert!(process.0.load(Ordering::Relaxed), "the member ends");
        assert!(replica.state().revision() > before, "half of the batch is done");
        assert!(replica.readable().is_err(), "and nobody reads it");
    }
}
