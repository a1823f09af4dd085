//! A call that takes a place in a line and waits for its turn.
//!
//! It is a task of its own, because it must outlive a client that goes away: a place that nobody waits for any more would
//! hold up everybody behind it for as long as its lease lives. It is known to have gone when nobody listens to the task.
//!
//! Whether somebody stands before a place can be asked of this member's own state: places before it are only ever fewer. That
//! the place itself still stands is asked of a quorum.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::limits;
use crate::env::{after_it, in_its_name, within};
use crate::machine::command::{Caller, Command, CommandError, KeyValue, Range, RangeReply, Reply};
use crate::machine::effects::Event;
use crate::member::turns::line::{Line, Place, give_up, look, rewrite, take};
use crate::member::turns::watch::Said;
use crate::member::turns::{TurnError, granted};
use crate::member::{Credential, Member};
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;
use crate::types::{KeyRange, LeaseId, Revision, TtlSecs};

/// What a lease lives that is made for a client that brings none, and that nobody renews.
const OWN_LEASE_TTL: TtlSecs = TtlSecs(60);
/// Who waits longer than this is asked anew whether it still may; that keeps its session alive, too.
const ASKED_ANEW_AFTER: Duration = Duration::from_secs(60);

/// Places of calls that wait for their turn.
pub struct TurnWaits(Arc<Semaphore>);

impl Default for TurnWaits {
    fn default() -> TurnWaits {
        TurnWaits(Arc::new(Semaphore::new(limits::TURN_WAITS_MAX)))
    }
}

/// A turn that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub place: Place,
    /// A revision at which it was there.
    pub revision: Revision,
}

/// A call that wants a turn.
pub(super) struct Wanted {
    pub(super) who: Credential,
    pub(super) line: Line,
    /// The lease to stand on; none makes one.
    pub(super) lease: LeaseId,
    /// What the place is to say, also where it stands already.
    pub(super) value: Option<Bytes>,
}

/// The revision that stands for the newest of this member's.
const NEWEST: Revision = Revision(0);

/// What the task tells the call: a turn must be taken out, or it counts as missed.
type Told = Result<(Turn, oneshot::Sender<()>), TurnError>;

/// A call under way.
struct Call {
    member: Arc<Member>,
    wanted: Wanted,
    /// Whether the lease was made for this call.
    owns_lease: bool,
    _waits: OwnedSemaphorePermit,
}

impl Member {
    /// Stands in line until the turn has come.
    pub(super) async fn turn(self: &Arc<Member>, wanted: Wanted) -> Result<Turn, TurnError> {
        let waits = self.turn_waits.0.clone().try_acquire_owned();
        let waits = waits.map_err(|_| ProposeError::TooManyRequests)?;
        let call = Call { member: self.clone(), wanted, owns_lease: false, _waits: waits };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(in_its_name(call.run(answer)));
        let (turn, taken) = answered.await.unwrap_or(Err(ReadError::Stopped.into()))?;
        // The task does not end before it hears this.
        let _heard = taken.send(());
        Ok(turn)
    }

    /// What a client reads in this member's state as it is.
    pub(super) async fn look(
        &self,
        who: &Credential,
        range: Range,
        linearizable: bool,
    ) -> Result<(Revision, RangeReply), TurnError> {
        let (revision, reply) = self.range(who, range, linearizable).await?;
        Ok((revision, reply?))
    }
}

impl Call {
    async fn run(mut self, mut answer: oneshot::Sender<Told>) {
        let (place, at) = match self.take().await {
            Ok(taken) => taken,
            Err(error) => return self.fail(None, error, answer).await,
        };
        let waited = tokio::select! {
            biased;
            waited = self.wait(&place, at) => Some(waited),
            () = answer.closed() => None,
        };
        let revision = match waited {
            Some(Ok(revision)) => revision,
            Some(Err(error)) => return self.fail(Some(&place), error, answer).await,
            None => {
                crate::sometimes!("a client went away while it stood in line");
                return self.leave(Some(&place)).await;
            }
        };
        let (take, taken) = oneshot::channel();
        let turn = Turn { place: place.clone(), revision };
        let missed = answer.send(Ok((turn, take))).is_err() || taken.await.is_err();
        if missed {
            crate::sometimes!("a client went away just when its turn came");
            self.leave(Some(&place)).await;
        }
    }

    /// Gives up what there is, and then says why: whoever hears it may come again at once.
    async fn fail(&self, place: Option<&Place>, error: TurnError, answer: oneshot::Sender<Told>) {
        self.leave(place).await;
        // Nobody may be there any more.
        drop(answer.send(Err(error)));
    }

    /// Takes a place, or finds the client's own; with the revision at which it stood.
    async fn take(&mut self) -> Result<(Place, Revision), TurnError> {
        let Wanted { who, line, lease, value } = &mut self.wanted;
        // Who may not see the line must leave nothing in it.
        self.member.admit(who, |state, caller| state.auth().check_read(caller, &line.keys())).await??;
        if !lease.is_some() {
            match granted(self.member.lease_grant(who, *lease, OWN_LEASE_TTL).await?)? {
                (_, Reply::LeaseGrant { id, .. }) => *lease = id,
                _ => return Err(ProposeError::AnswerLost.into()),
            }
            self.owns_lease = true;
        }
        let key = line.key(*lease);
        let answer = self
            .member
            .propose_for(who, Command::Txn(take(&key, *lease, value.clone().unwrap_or_default())))
            .await?;
        let (revision, Reply::Txn(reply)) = granted(answer)? else {
            return Err(ProposeError::AnswerLost.into());
        };
        if reply.succeeded {
            return Ok((Place { key, created: revision, lease: *lease }, revision));
        }
        let found = reply.replies.into_iter().find_map(|(_, reply)| match reply {
            Reply::Range(range) => range.kvs.into_iter().next(),
            _ => None,
        });
        let Some(KeyValue { create_revision, value: says, .. }) = found else {
            return Err(TurnError::PlaceGone);
        };
        let place = Place { key, created: create_revision, lease: *lease };
        let revision = match value.as_ref().filter(|value| **value != says) {
            Some(value) => self.member.rewrite(who, &place, value.clone()).await?,
            None => revision,
        };
        Ok((place, revision))
    }

    /// Waits until nobody stands before `place`, which stood at revision `at`; a revision at which that is so.
    async fn wait(&self, place: &Place, at: Revision) -> Result<Revision, TurnError> {
        let mut as_of = at;
        loop {
            match self.ahead(place, as_of).await {
                Ok(None) if as_of == at => return Ok(at),
                Ok(None) => break,
                Ok(Some((key, from))) => self.until_gone(key, from).await?,
                Err(TurnError::Refused(CommandError::Compacted(_))) if as_of == at => {
                    crate::sometimes!("a line was compacted away before it was looked at");
                }
                Err(error) => return Err(error),
            }
            as_of = NEWEST;
            // The planted bug takes the place before it for the only one.
            if crate::mutant!("turn-after-one-wait") {
                break;
            }
        }
        // The planted bug believes that the client has kept its lease alive.
        if crate::mutant!("turn-of-a-place-that-is-gone") {
            return Ok(self.member.revision());
        }
        crate::disturb!("a turn is about to be given", &*self.member.env.clock);
        let (revision, own) = self.member.look(&self.wanted.who, look(&place.key), true).await?;
        let stands = own.kvs.first().is_some_and(|kv| kv.create_revision == place.created);
        if stands { Ok(revision) } else { Err(TurnError::PlaceGone) }
    }

    /// The key just before a place as of a revision, and from where on to watch it.
    async fn ahead(&self, place: &Place, as_of: Revision) -> Result<Option<(Bytes, Revision)>, TurnError> {
        let Wanted { who, line, .. } = &self.wanted;
        let before = Range { revision: as_of, ..line.before(place.created) };
        let (now, found) = self.member.look(who, before, false).await?;
        let seen = if as_of == NEWEST { now } else { as_of };
        Ok(found.kvs.into_iter().next().map(|kv| (kv.key, seen.next())))
    }

    /// Waits until a key that was there just before `from` is deleted, or until it is time to look anew.
    async fn until_gone(&self, key: Bytes, from: Revision) -> Result<(), TurnError> {
        let Wanted { who, line, .. } = &self.wanted;
        let mut watched = self.member.watched(KeyRange::single(key), from, true);
        loop {
            match within(&*self.member.env.clock, ASKED_ANEW_AFTER, watched.next()).await {
                Some(Said::Event(Event::Delete { .. }) | Said::Ended) => return Ok(()),
                Some(Said::Event(Event::Put(_))) => {}
                Some(Said::Stopped) => return Err(ReadError::Stopped.into()),
                None => {
                    let check =
                        self.member.admit(who, |state, caller| state.auth().check_read(caller, &line.keys()));
                    check.await??;
                }
            }
        }
    }

    /// Gives up a place, and the lease if it was made for it. The member does so by itself: the client's right to be there
    /// may have gone meanwhile. Where that fails the lease ends in its time.
    async fn leave(&self, place: Option<&Place>) {
        let command = if self.owns_lease {
            Command::LeaseRevoke { id: self.wanted.lease }
        } else if let Some(place) = place {
            Command::Txn(give_up(place))
        } else {
            return;
        };
        let left = after_it(self.member.propose(Caller::Member, command)).await;
        if let Err(error) = left {
            tracing::warn!(%error, lease = %self.wanted.lease, "a place in line was not given up, and stays until its lease ends");
        }
    }
}

impl Member {
    /// Makes a place say something else.
    pub(super) async fn rewrite(
        &self,
        who: &Credential,
        place: &Place,
        value: Bytes,
    ) -> Result<Revision, TurnError> {
        match granted(self.propose_for(who, Command::Txn(rewrite(place, value))).await?)? {
            (revision, Reply::Txn(reply)) if reply.succeeded => Ok(revision),
            _ => Err(TurnError::PlaceGone),
        }
    }
}
