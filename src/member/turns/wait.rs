//! A call that takes a place in a line and waits for its turn.
//!
//! It is a task of its own, because it must outlive a client that goes away: a place that nobody waits for any more would
//! hold up everybody behind it for as long as its lease lives. It is known to have gone when nobody listens to the task.
//!
//! Whether somebody stands before a place can be asked of this member's own state: places before it are only ever fewer. That
//! the place itself still stands is asked of a quorum.
//!
//! # Whose a place is
//! A client may call again with the same lease, here or at another member, while an earlier call of its is still under way: it
//! finds its place, and writes it once more. A call gives up only a place that it made, and only as long as nobody has
//! written it since. So what one call holds no other call gives away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::limits;
use crate::env::{Observation, Witness, after_it, in_its_name, within};
use crate::machine::command::{Answer, Caller, Command, CommandError, Range, RangeReply, Reply};
use crate::machine::effects::Event;
use crate::machine::watch::Filters;
use crate::member::turns::line::{Line, Place, give_up_untouched, look, take};
use crate::member::turns::watch::{Said, Watched};
use crate::member::turns::{TurnError, granted};
use crate::member::{Credential, Member};
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;
use crate::types::{KeyRange, LeaseId, Revision, TtlSecs};

/// What a lease lives that is made for a client that brings none, and that nobody renews.
const OWN_LEASE_TTL: TtlSecs = TtlSecs(60);
/// Who waits longer than this is asked anew whether it still may; that keeps its session alive, too.
pub(super) const ASKED_ANEW_AFTER: Duration = Duration::from_secs(60);
/// How often a member tries to give a place up, and what it waits after each time but the last; then the lease has to end.
const LEAVE_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];
/// What a call does by itself is numbered: its attempts to give a place up, and behind them the grant of its lease.
const GRANT: u32 = 4;
const _: () = assert!(LEAVE_PAUSES.len() == 3, "the number behind the attempts");
/// How long a call waits before it asks a quorum again that did not answer.
const QUORUM_PAUSE: Duration = Duration::from_millis(100);
/// The revision that stands for the newest of this member's.
const NEWEST: Revision = Revision(0);

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
    /// What the place is to say, also where it stands already; taken when it does.
    pub(super) value: Option<Bytes>,
}

/// What the task tells the call: a turn must be taken out, or it counts as missed.
type Told = Result<(Turn, oneshot::Sender<()>), TurnError>;

/// A call under way.
struct Call {
    member: Arc<Member>,
    wanted: Wanted,
    /// Whether the lease was made for this call.
    owns_lease: bool,
    /// The place that this call made, and did not find.
    made: Option<Place>,
    _waits: OwnedSemaphorePermit,
}

impl Member {
    /// Stands in line until the turn has come.
    pub(super) async fn turn(self: &Arc<Member>, wanted: Wanted) -> Result<Turn, TurnError> {
        // Who may not see the line must leave nothing in it, and take nobody's room.
        self.may_see(&wanted.who, &wanted.line).await?;
        let waits = self.turn_waits.0.clone().try_acquire_owned();
        let waits = waits.map_err(|_| ProposeError::TooManyRequests)?;
        let call = Call { member: self.clone(), wanted, owns_lease: false, made: None, _waits: waits };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(in_its_name(call.run(answer)));
        let (turn, taken) = answered.await.unwrap_or(Err(ReadError::Stopped.into()))?;
        // The task does not end before it hears this.
        let _heard = taken.send(());
        Ok(turn)
    }

    /// Refuses whoever may not read a line.
    pub(super) async fn may_see(&self, who: &Credential, line: &Line) -> Result<(), TurnError> {
        Ok(self.admit(who, |state, caller| state.auth().check_read(caller, &line.keys())).await??)
    }

    /// What a client reads.
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
        let turn = match self.take().await {
            Err(error) => Some(Err(error)),
            Ok((place, at)) => tokio::select! {
                biased;
                waited = self.wait(&place, at) => Some(waited.map(|revision| Turn { place, revision })),
                () = answer.closed() => None,
            },
        };
        let gone = match turn {
            Some(Ok(turn)) => {
                let (take, taken) = oneshot::channel();
                answer.send(Ok((turn, take))).is_err() || taken.await.is_err()
            }
            Some(Err(error)) => {
                // A client that comes again at once writes its place, which is then no longer this call's to give up.
                drop(answer.send(Err(error)));
                // What is gone needs no giving up.
                error != TurnError::PlaceGone || self.owns_lease
            }
            None => {
                crate::sometimes!("a client went away while it stood in line");
                true
            }
        };
        if gone {
            self.leave().await;
        }
    }

    /// Takes a place, or finds the client's own; with the revision at which it stood.
    async fn take(&mut self) -> Result<(Place, Revision), TurnError> {
        let Wanted { who, line, lease, value } = &mut self.wanted;
        if !lease.is_some() {
            *lease = self.member.unused_lease();
            self.owns_lease = true;
            let made = *lease;
            Witness::of(self.member.config.member).tell(|| Observation::MadeLease { lease: made });
            // The planted bug gives it a tenth of that.
            let lives = if crate::mutant!("turn-lease-ends-early") { TtlSecs(6) } else { OWN_LEASE_TTL };
            let answer = after_it(GRANT, self.member.lease_grant(who, made, lives)).await?;
            if let Err(refused) = answer.result {
                // Whoever has that id now does not lose it.
                self.owns_lease = false;
                return Err(refused.into());
            }
        }
        let key = line.key(*lease);
        let answer = self.member.propose_for(who, Command::Txn(take(&key, *lease, value.take()))).await?;
        let (revision, Reply::Txn(reply)) = granted(answer)? else {
            return Err(ProposeError::AnswerLost.into());
        };
        if reply.succeeded {
            let place = Place { key, created: revision, lease: *lease };
            self.made = Some(place.clone());
            return Ok((place, revision));
        }
        let found = reply.replies.into_iter().find_map(|(_, reply)| match reply {
            Reply::Put { prev_kv } => prev_kv,
            _ => None,
        });
        let found = found.ok_or(TurnError::PlaceGone)?;
        Ok((Place { key, created: found.create_revision, lease: *lease }, revision))
    }

    /// Waits until nobody stands before `place`, which stood at revision `at`; a revision at which that is so.
    async fn wait(&self, place: &Place, at: Revision) -> Result<Revision, TurnError> {
        let mut as_of = at;
        let mut own = None;
        loop {
            match self.ahead(place, as_of).await {
                Ok(None) if as_of == at => return Ok(at),
                Ok(None) => break,
                Ok(Some((key, from))) => {
                    let own = own.get_or_insert_with(|| self.deletions(&place.key, at.next()));
                    self.until_gone(self.deletions(&key, from), place, own).await?;
                }
                // Nobody knows any more who stood there then: whoever does now counts.
                Err(TurnError::Refused(CommandError::Compacted(_))) if as_of == at => {}
                Err(error) => return Err(error),
            }
            as_of = NEWEST;
            // The planted bug takes the place before it for the only one.
            if crate::mutant!("turn-after-one-wait") {
                break;
            }
        }
        crate::disturb!("a turn is about to be given", &*self.member.env.clock);
        // The planted bug believes that the client has kept its lease alive.
        if crate::mutant!("turn-of-a-place-that-is-gone") {
            return Ok(self.member.revision());
        }
        self.stands(place).await
    }

    /// The key just before a place as of a revision, and from where on to watch it.
    async fn ahead(&self, place: &Place, as_of: Revision) -> Result<Option<(Bytes, Revision)>, TurnError> {
        let Wanted { who, line, .. } = &self.wanted;
        let before = Range { revision: as_of, ..line.before(place.created) };
        let (now, found) = self.member.look(who, before, false).await?;
        let seen = if as_of == NEWEST { now } else { as_of };
        Ok(found.kvs.into_iter().next().map(|kv| (kv.key, seen.next())))
    }

    /// Waits until what `ahead` watches is deleted, or may have been. `own` watches the call's own place, which may go first.
    async fn until_gone(
        &self,
        mut ahead: Watched,
        place: &Place,
        own: &mut Watched,
    ) -> Result<(), TurnError> {
        enum Heard {
            Own(Said),
            Ahead(Said),
        }
        loop {
            let heard = async {
                tokio::select! {
                    biased;
                    said = own.next() => Heard::Own(said),
                    said = ahead.next() => Heard::Ahead(said),
                }
            };
            let asked_anew_after = if crate::buggify!("who waits in line is soon asked anew") {
                QUORUM_PAUSE
            } else {
                ASKED_ANEW_AFTER
            };
            match within(&*self.member.env.clock, asked_anew_after, heard).await {
                Some(Heard::Own(Said::Event(Event::Delete { .. }))) => return Err(TurnError::PlaceGone),
                Some(Heard::Own(Said::Ended)) => {
                    let revision = self.stands(place).await?;
                    *own = self.deletions(&place.key, revision.next());
                }
                Some(Heard::Ahead(Said::Event(Event::Delete { .. }) | Said::Ended)) => return Ok(()),
                Some(Heard::Own(Said::Stopped) | Heard::Ahead(Said::Stopped)) => {
                    return Err(ReadError::Stopped.into());
                }
                Some(Heard::Own(Said::Event(Event::Put(_))) | Heard::Ahead(Said::Event(Event::Put(_)))) => {}
                None => self.member.may_see(&self.wanted.who, &self.wanted.line).await?,
            }
        }
    }

    /// A revision at which a place stands, and no older than the question.
    async fn stands(&self, place: &Place) -> Result<Revision, TurnError> {
        loop {
            match self.member.look(&self.wanted.who, look(&place.key), true).await {
                Ok((revision, own)) => {
                    let stands = own.kvs.first().is_some_and(|kv| kv.create_revision == place.created);
                    return if stands { Ok(revision) } else { Err(TurnError::PlaceGone) };
                }
                // Whoever has come so far goes on waiting: how long is for its client to say.
                Err(TurnError::Read(ReadError::Timeout | ReadError::Replaced)) => {
                    self.member.env.clock.sleep(QUORUM_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The deletions of a key from a revision on.
    fn deletions(&self, key: &Bytes, from: Revision) -> Watched {
        let filters = Filters { no_put: true, ..Filters::default() };
        self.member.watched(KeyRange::single(key.clone()), from, filters)
    }

    /// Gives up the place that this call made, or the lease that was made for it. The member does so by itself: the client's
    /// right to be there may have gone meanwhile.
    async fn leave(&self) {
        let command = match &self.made {
            _ if self.owns_lease => Command::LeaseRevoke { id: self.wanted.lease },
            Some(place) => Command::Txn(give_up_untouched(place)),
            None => return,
        };
        let mut pauses = LEAVE_PAUSES.iter();
        for nth in 0.. {
            let left = after_it(nth, self.member.propose(Caller::Member, command.clone())).await;
            let why = match left {
                // What is gone needs no giving up.
                Ok(Answer { result: Ok(_) | Err(CommandError::LeaseNotFound), .. }) => return,
                Ok(Answer { result: Err(refused), .. }) => refused.to_string(),
                Err(ProposeError::Stopped) => return,
                Err(error) => error.to_string(),
            };
            let Some(pause) = pauses.next() else {
                let lease = self.wanted.lease;
                tracing::warn!(why, %lease, "a place in line was not given up, and stays until its lease ends");
                return;
            };
            self.member.env.clock.sleep(*pause).await;
        }
    }
}
