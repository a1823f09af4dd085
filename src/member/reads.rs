//! Reads of a member's state, each in steps: between two of them the state is free for whoever applies, and the
//! thread for whoever waits.
//!
//! A read is pinned at its revision: physical compaction stays behind it. A snapshot that is installed meanwhile
//! replaces the state under it; a range then begins again on the new one, a stream of pieces ends.

use std::sync::RwLockReadGuard;

use bytes::Bytes;
use tokio::task::yield_now;

use crate::config::limits;
use crate::machine::command::{
    AlarmKind, CommandError, KeyValue, Member as MemberInfo, Range, RangeReply, Txn, TxnReply,
};
use crate::machine::effects::RecordsError;
use crate::machine::mvcc::NEVER_COMPACTED;
use crate::machine::mvcc::hash_kv::HashKv;
use crate::machine::mvcc::range::{RangeCursor, read};
use crate::machine::state::State;
use crate::member::{Credential, Member};
use crate::raft::pins::Pin;
use crate::raft::read_index::ReadError;
use crate::types::{MemberId, Revision};

/// Keys that one step of a read walks, and values it reads: a few tens of microseconds.
const STEP_KEYS: usize = 128;

/// What a read answered, with the store's revision when it began; or why the store refused it.
pub type Read<T> = (Revision, Result<T, CommandError>);

/// Why a read ended without an answer of the store.
type Fatal = RecordsError;

impl Member {
    /// Reads a range: linearizable, or from this member's state at once.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn range(
        &self,
        who: &Credential,
        range: Range,
        linearizable: bool,
    ) -> Result<Read<RangeReply>, ReadError> {
        if linearizable {
            self.linearizable().await?;
        } else {
            self.know_client(who).await?;
        }
        loop {
            match self.try_range(who, &range).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => crate::sometimes!("a snapshot replaced the state under a range"),
                Err(error) => return Err(self.unreadable(&error)),
            }
        }
    }

    /// `None` when the state was replaced meanwhile.
    async fn try_range(&self, who: &Credential, range: &Range) -> Result<Option<Read<RangeReply>>, Fatal> {
        let step = if crate::buggify!("a range is read in small steps") { 2 } else { STEP_KEYS };
        let (revision, installs, _pin, mut cursor) = {
            let state = self.replica.readable()?;
            let revision = state.revision();
            match self.range_begin(&state, who, range) {
                Err(refused) => return Ok(Some((revision, Err(refused)))),
                Ok(cursor) => {
                    (revision, self.replica.installs(), self.replica.pin(cursor.revision()), cursor)
                }
            }
        };
        loop {
            {
                let Some(state) = self.unreplaced(installs)? else { return Ok(None) };
                match state.range_step(&mut cursor, step) {
                    Err(refused) => return Ok(Some((revision, Err(refused)))),
                    Ok(true) => break,
                    Ok(false) => {}
                }
            }
            crate::disturb!("a range pauses in its walk", &*self.env.clock);
            yield_now().await;
        }
        let mut reading = cursor.arrange();
        loop {
            {
                let Some(_state) = self.unreplaced(installs)? else { return Ok(None) };
                if reading.step(self.replica.store(), step)? {
                    return Ok(Some((revision, Ok(reading.reply()))));
                }
            }
            crate::disturb!("a range pauses in its reading", &*self.env.clock);
            yield_now().await;
        }
    }

    /// Begins a range for whoever may read it.
    fn range_begin(
        &self,
        state: &State,
        who: &Credential,
        range: &Range,
    ) -> Result<RangeCursor, CommandError> {
        state.auth().check_read(&self.caller_in(state, who)?, &range.range)?;
        state.range_begin(range.clone())
    }

    /// The state, unless a snapshot replaced it since `installs` were counted.
    fn unreplaced(&self, installs: u64) -> Result<Option<RwLockReadGuard<'_, State>>, Fatal> {
        let state = self.replica.readable()?;
        Ok((self.replica.installs() == installs).then_some(state))
    }

    /// Reads a range piece by piece, as of one revision; only key order, without filters on revisions.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn range_pieces(
        &self,
        who: &Credential,
        range: Range,
        linearizable: bool,
    ) -> Result<Read<Pieces>, ReadError> {
        if linearizable {
            self.linearizable().await?;
        } else {
            self.know_client(who).await?;
        }
        let state = self.replica.readable().map_err(|error| self.unreadable(&error))?;
        let revision = state.revision();
        let at = match self.range_begin(&state, who, &range) {
            Err(refused) => return Ok((revision, Err(refused))),
            Ok(cursor) => cursor.revision(),
        };
        let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let pieces = Pieces {
            _pin: self.replica.pin(at),
            installs: self.replica.installs(),
            at,
            keys_left: if range.count_only { 0 } else { limit },
            range,
            resume: None,
            piece_keys: if crate::buggify!("a range is streamed in small pieces") {
                1
            } else {
                limits::RANGE_STREAM_FIRST_KEYS
            },
            count: 0,
            more: false,
            ended: false,
        };
        Ok((revision, Ok(pieces)))
    }

    /// The next piece of a range; `None` after the last.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]. Inner: the revision has been compacted.
    pub async fn next_piece(
        &self,
        pieces: &mut Pieces,
    ) -> Result<Result<Option<Piece>, CommandError>, ReadError> {
        if pieces.ended {
            return Ok(Ok(None));
        }
        crate::disturb!("a piece of a range is read late", &*self.env.clock);
        let mut kvs = Vec::new();
        let mut bytes = 0_usize;
        loop {
            {
                let state = self.unreplaced(pieces.installs).map_err(|error| self.unreadable(&error))?;
                let Some(state) = state else { return Err(ReadError::Replaced) };
                let room = pieces.piece_keys.saturating_sub(kvs.len());
                let budget = if pieces.keys_left == 0 { STEP_KEYS } else { room.clamp(1, STEP_KEYS) };
                let chunk =
                    state.range_chunk(&pieces.range.range, pieces.at, pieces.resume.as_deref(), budget);
                let chunk = match chunk {
                    Err(refused) => return Ok(Err(refused)),
                    Ok(chunk) => chunk,
                };
                pieces.count =
                    pieces.count.saturating_add(i64::try_from(chunk.found.len()).unwrap_or(i64::MAX));
                pieces.more |= !pieces.range.count_only && chunk.found.len() > pieces.keys_left;
                for found in chunk.found.into_iter().take(pieces.keys_left) {
                    pieces.keys_left -= 1;
                    let kv = if pieces.range.keys_only {
                        found.without_value()
                    } else {
                        read(self.replica.store(), found).map_err(|error| self.unreadable(&error))?
                    };
                    bytes = bytes.saturating_add(kv.key.len()).saturating_add(kv.value.len());
                    kvs.push(kv);
                }
                pieces.ended = chunk.resume.is_none();
                pieces.resume = chunk.resume;
            }
            let full = kvs.len() >= pieces.piece_keys || bytes >= self.config.knobs.request_bytes_max;
            if pieces.ended || (full && !kvs.is_empty()) {
                break;
            }
            yield_now().await;
        }
        pieces.fit(bytes, self.config.knobs.request_bytes_max);
        let total = pieces.ended.then_some((pieces.count, pieces.more));
        Ok(Ok(Some(Piece { kvs, total })))
    }

    /// Answers a transaction that only reads.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_txn(
        &self,
        who: &Credential,
        txn: &Txn,
        linearizable: bool,
    ) -> Result<Read<TxnReply>, ReadError> {
        if linearizable {
            self.linearizable().await?;
        } else {
            self.know_client(who).await?;
        }
        let answer = || -> Result<Read<TxnReply>, Fatal> {
            let state = self.replica.readable()?;
            let allowed = self.caller_in(&state, who).and_then(|caller| state.check_read_txn(&caller, txn));
            let answer = match allowed {
                Ok(()) => state.read_txn(self.replica.store(), txn)?,
                Err(refused) => Err(refused),
            };
            Ok((state.revision(), answer))
        };
        answer().map_err(|error| self.unreadable(&error))
    }

    /// The checksum over history up to `revision` (0: the current one) of this member alone.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn hash_kv(&self, revision: Revision) -> Result<Read<HashKv>, ReadError> {
        let hash = self.replica.checksum(revision, NEVER_COMPACTED).await;
        hash.map_err(|error| self.unreadable(&error))
    }

    /// The members, by id. Linearizable, or as this member knows them.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]. Inner: the client may not.
    pub async fn members(
        &self,
        who: &Credential,
        linearizable: bool,
    ) -> Result<Result<Vec<MemberInfo>, CommandError>, ReadError> {
        if linearizable {
            self.linearizable().await?;
        } else {
            self.know_client(who).await?;
        }
        self.admit_here(who, |state, caller| {
            state.auth().check_known(caller)?;
            if state.members().is_bootstrapped() {
                return Ok(state.members().iter().cloned().collect());
            }
            // Before the first leader has written the list, the initial one is all there is to know.
            Ok(self.config.members.clone())
        })
    }

    /// The alarms that are raised, and who raised them.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]. Inner: the client may not.
    pub async fn alarms(
        &self,
        who: &Credential,
    ) -> Result<Result<Vec<(AlarmKind, MemberId)>, CommandError>, ReadError> {
        // The planted bug believes a state that may lag behind.
        if !crate::mutant!("alarms-listed-from-behind") {
            self.linearizable().await?;
        }
        self.admit_here(who, |state, caller| {
            state.auth().check_known(caller)?;
            Ok(state.alarms().iter().collect())
        })
    }
}

/// A range that is read piece by piece.
#[derive(Debug)]
pub struct Pieces {
    _pin: Pin,
    installs: u64,
    range: Range,
    at: Revision,
    /// How many more keys may be answered.
    keys_left: usize,
    resume: Option<Bytes>,
    /// How many keys the next piece should hold.
    piece_keys: usize,
    count: i64,
    more: bool,
    ended: bool,
}

/// One piece of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its key-values, in key order.
    pub kvs: Vec<KeyValue>,
    /// In the last piece: how many keys the whole range holds, and whether the limit cut it.
    pub total: Option<(i64, bool)>,
}

impl Pieces {
    /// Lets the size of pieces come near to `bytes_max`, by doubling and halving.
    fn fit(&mut self, bytes: usize, bytes_max: usize) {
        if bytes > bytes_max {
            self.piece_keys = (self.piece_keys / 2).max(1);
        } else if bytes < bytes_max / 2 {
            self.piece_keys = self.piece_keys.saturating_mul(2);
        }
    }
}
