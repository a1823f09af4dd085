//! Elections: an office under a name, which one client has at a time, and what it proclaims.

use std::sync::Arc;

use bytes::Bytes;

use crate::env::within;
use crate::machine::command::{Command, DeleteRange, KeyValue, RangeReply, Reply};
use crate::machine::effects::Event;
use crate::machine::watch::Filters;
use crate::member::turns::line::{Line, Place, give_up, rewrite};
use crate::member::turns::wait::{ASKED_ANEW_AFTER, Wanted};
use crate::member::turns::watch::{Said, Watched};
use crate::member::turns::{Turn, TurnError, granted};
use crate::member::{Credential, Member};
use crate::raft::read_index::ReadError;
use crate::types::{KeyRange, LeaseId, Revision};

impl Member {
    /// Waits until the client leads, proclaiming `value`, on a lease; without one, on one of a minute that is made for it. A
    /// client that leads by that lease only proclaims.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn campaign(
        self: &Arc<Member>,
        who: &Credential,
        name: Bytes,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Turn, TurnError> {
        let (who, line) = (who.clone(), Line::new(&name));
        self.turn(Wanted { who, line, lease, value: Some(value) }).await
    }

    /// Proclaims something else, for as long as the client's place stands.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn proclaim(
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

    /// Gives up the client's place. One that is gone, or somebody else's by now, is left alone.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn resign(&self, who: &Credential, place: &Place) -> Result<Revision, TurnError> {
        // The planted bug gives up what stands under that key, whoever took it and whenever.
        let command = if crate::mutant!("resign-of-another-place") {
            Command::DeleteRange(DeleteRange { range: KeyRange::single(place.key.clone()), prev_kv: false })
        } else {
            Command::Txn(give_up(place))
        };
        let (revision, _) = granted(self.propose_for(who, command).await?)?;
        Ok(revision)
    }

    /// Who leads, and what it proclaims. Linearizable.
    ///
    /// # Errors
    /// See [`TurnError`]: nobody leads.
    pub async fn leader_of(&self, who: &Credential, name: Bytes) -> Result<(Revision, KeyValue), TurnError> {
        // The planted bug asks nobody else.
        let linearizable = !crate::mutant!("election-leader-from-behind");
        let looked = self.look(who, Line::new(&name).first(), linearizable).await;
        // The planted bug takes what could not be read for what is not there.
        let (revision, first) = match looked {
            Err(_) if crate::mutant!("election-nobody-where-nothing-was-read") => {
                (self.revision(), RangeReply::default())
            }
            looked => looked?,
        };
        let first = first.kvs.into_iter().next().ok_or(TurnError::NoLeader)?;
        Ok((revision, first))
    }

    /// Everybody who leads, from now on.
    pub fn leaders_of(self: &Arc<Member>, who: &Credential, name: Bytes) -> Leaders {
        let (member, who, line) = (self.clone(), who.clone(), Line::new(&name));
        Leaders { member, who, line, watched: None, told: (Revision(0), Revision(0)) }
    }
}

/// The leaders of an election, one after the other, with everything that each proclaims. Who leads for a moment while others
/// are told may be passed over; nobody comes after one that leads later.
pub struct Leaders {
    member: Arc<Member>,
    who: Credential,
    line: Line,
    watched: Option<Watching>,
    /// What was told last: by when its key was created, and by when it was written.
    told: (Revision, Revision),
}

/// What is watched.
enum Watching {
    /// The key of whoever leads.
    Leader(Watched),
    /// All places, while there are none.
    Line(Watched),
}

impl Leaders {
    /// Waits for the next leader, or for what the leader proclaims next; with a revision at which that is so.
    ///
    /// # Errors
    /// See [`TurnError`].
    pub async fn next(&mut self) -> Result<(Revision, KeyValue), TurnError> {
        loop {
            let (revision, kv) = self.candidate().await?;
            let this = (kv.create_revision, kv.mod_revision);
            if this > self.told {
                self.told = this;
                return Ok((revision, kv));
            }
        }
    }

    /// Whoever leads now, or what changes next.
    async fn candidate(&mut self) -> Result<(Revision, KeyValue), TurnError> {
        loop {
            let said = match &mut self.watched {
                Some(Watching::Leader(watched) | Watching::Line(watched)) => {
                    let Some(said) = within(&*self.member.env.clock, ASKED_ANEW_AFTER, watched.next()).await
                    else {
                        self.member.may_see(&self.who, &self.line).await?;
                        continue;
                    };
                    said
                }
                None => match self.look().await? {
                    Some(leader) => return Ok(leader),
                    None => continue,
                },
            };
            match said {
                Said::Event(Event::Put(kv)) => {
                    // The first place in an empty line is the leader's.
                    if matches!(self.watched, Some(Watching::Line(_))) {
                        self.follow(&kv, kv.mod_revision);
                    }
                    return Ok((kv.mod_revision, kv));
                }
                Said::Event(Event::Delete { .. }) | Said::Ended => self.watched = None,
                Said::Stopped => return Err(ReadError::Stopped.into()),
            }
        }
    }

    /// Looks who leads, and watches from there.
    async fn look(&mut self) -> Result<Option<(Revision, KeyValue)>, TurnError> {
        // The planted bug begins with whoever led as far as this member knows.
        let linearizable = !crate::mutant!("observe-begins-behind");
        let (revision, first) = self.member.look(&self.who, self.line.first(), linearizable).await?;
        let Some(leader) = first.kvs.into_iter().next() else {
            let watched = self.member.watched(self.line.keys(), revision.next(), Filters::default());
            self.watched = Some(Watching::Line(watched));
            return Ok(None);
        };
        self.follow(&leader, revision);
        Ok(Some((revision, leader)))
    }

    /// Watches what becomes of a leader after a revision.
    fn follow(&mut self, leader: &KeyValue, revision: Revision) {
        // The planted bug hears of everybody in line, and takes whoever writes for the leader.
        let range = if crate::mutant!("observe-follows-everybody-in-line") {
            self.line.keys()
        } else {
            KeyRange::single(leader.key.clone())
        };
        let watched = self.member.watched(range, revision.next(), Filters::default());
        self.watched = Some(Watching::Leader(watched));
    }
}
