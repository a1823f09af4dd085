//! One member's copy of the state: the machine, its storage, its watchers, and the clients that wait for it.
//!
//! Applying a batch publishes in a fixed order: state, write buffer, watch events, answers, applied index.
//! Whoever sees a later step sees all earlier ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use crate::env::Env;
use crate::machine::command::{Batch, CommandError, Range, RangeReply};
use crate::machine::effects::RecordsError;
use crate::machine::mvcc::record::record_key;
use crate::machine::overlay::Overlay;
use crate::machine::persist::{Bucket, Write};
use crate::machine::state::{State, applied_write};
use crate::raft::applied::Applied;
use crate::raft::codec::{decode_stored_membership, encode_membership};
use crate::raft::pending::{Pending, ProposeError};
use crate::raft::types::{RaftMembership, log_id};
use crate::storage::engine::{Engine, EngineError};
use crate::storage::store::Store;
use crate::types::{Incarnation, LogId, LogIndex, MemberId, RevPair, Revision, Term};

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
    applied: Arc<Applied>,
    pending: Arc<Pending>,
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
        applied: Arc<Applied>,
        pending: Arc<Pending>,
    ) -> Replica {
        if let Some(last) = state.applied() {
            applied.advance(last);
        }
        let (state, membership) = (RwLock::new(state), Mutex::new(membership));
        Replica { env, member, incarnation, state, membership, store, applied, pending }
    }

    /// The machine's state, for reading. Hold it shortly: applying waits for it.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where records are read.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How far the log is applied.
    pub fn applied(&self) -> &Arc<Applied> {
        &self.applied
    }

    /// The last applied membership.
    pub fn membership(&self) -> MutexGuard<'_, RaftMembership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies committed entries in order and publishes what they did.
    ///
    /// # Errors
    /// When stored history cannot be read: the member must stop.
    pub fn apply(&self, entries: Vec<(LogId, Committed)>) -> Result<(), RecordsError> {
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let last = *last;
        let mut writes = Vec::new();
        let mut answers = Vec::new();
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let mut overlay = Overlay::new(&self.store);
            for (at, entry) in entries {
                match entry {
                    Committed::Batch(batch) => {
                        let effects = state.apply(&overlay, at, &batch)?;
                        overlay.absorb(&effects.writes)?;
                        writes.extend(effects.writes);
                        answers.extend(effects.answers);
                    }
                    Committed::Membership(membership) => {
                        writes.push(membership_write(&membership));
                        *self.membership() = membership;
                        state.set_applied(at);
                    }
                    Committed::Blank => state.set_applied(at),
                }
            }
            writes.push(applied_write(last));
            self.store.push(writes);
        }
        for (id, answer) in answers {
            if id.member == self.member && id.incarnation == self.incarnation {
                self.pending.answer(id.sequence, Ok(answer));
            }
        }
        self.applied.advance(last);
        Ok(())
    }

    /// Reads a range of the applied state.
    ///
    /// # Errors
    /// The outer error is fatal for the member; the inner one is the client's.
    pub fn range(&self, range: &Range) -> Result<(Revision, Result<RangeReply, CommandError>), RecordsError> {
        let state = self.state();
        let reply = state.range(&self.store, range)?;
        Ok((state.revision(), reply))
    }

    /// Deletes a little of what compactions have made unreadable; whether there is more to do.
    pub fn compact_step(&self, budget: usize) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let progress = state.compact_step(budget, None);
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
        {
            let mut live = self.state.write().unwrap_or_else(PoisonError::into_inner);
            self.store.swap(engine)?;
            *live = state;
            *self.membership() = membership;
        }
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
        self.env.process.fatal(reason);
    }
}

/// What deletes a record.
fn remove_write(at: RevPair) -> Write {
    Write { bucket: Bucket::Records, key: record_key(at), value: None }
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
