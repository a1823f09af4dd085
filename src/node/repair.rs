//! What becomes of a member that has lost its log, or its disk: it is never again who it was, and asks to be taken back
//! as another.
//!
//! It forgot what it voted and what it acknowledged, so under its old id it could vote twice. Where the operator allows
//! it, it gives the old id up by itself. In this order, each step durable before the next:
//!
//! 1. Where not even a log is left, or the cluster says that the member is gone, a note says who it was ([`Note`]): a member
//!    that does not know that it has run takes itself for a founder when nobody tells it otherwise. A log that is left and
//!    still its member's speaks for itself, and is not touched: as long as nobody has agreed, its owner may still put it
//!    right.
//! 2. The leader is asked to replace it ([`Asking`]): its id goes for good and another comes into its place, by one change.
//! 3. The note is written, and what is left of log and state is moved into a folder beside them. Nothing is deleted.
//! 4. It starts as that other one, the way of every newcomer. When its log is there, the note goes.
//!
//! Whatever ends the process in between, the next start goes on: the note says how far it has come, and the member list
//! whether it has been replaced.
//!
//! An owner may put the lost log back when another already has its place. It is moved away once more: by the folder that it
//! was moved into before, by the note, or, where neither is there, by the one that the member writes when it hears as it
//! runs that it is gone (`member`).
//!
//! What it does not do: it never lets the old member start on what is left, and it never judges whether the cluster can
//! spare it; the leader does (`raft::readmission`).

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::env::{Env, Lock};
use crate::member::MemberConfig;
use crate::node::asking::{Asking, Round};
use crate::node::{StartError, wal_dir};
use crate::peer::join::Place;
use crate::storage::lost_member::{Note, Stage, aside_dir};
use crate::storage::wal::{Identity, identity_of};
use crate::types::MemberId;

/// How long a member asks to be taken back before its start is refused; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause before it asks again.
const PAUSE: Duration = Duration::from_millis(500);
/// Held while a directory is repaired: there may be no log whose lock could be held.
const LOCK_NAME: &str = "repair.lock";
/// What is said in place of [`advice`] where nobody could take the member back.
const ALONE: &str = "it is the only member that it knows of, so nobody can take it back: put the log back from the same \
                     disk, or restore a backup";

/// Whether a member whose data directory this is has lost its log, and which it was.
///
/// # Errors
/// When the directory cannot be read.
pub fn lost_member(env: &Env, data_dir: &Path) -> io::Result<Option<Identity>> {
    Ok(Note::read(&*env.disk, data_dir)?.map(|note| note.lost))
}

/// The place in which a directory starts whose member has lost its log: whoever starts there, it is not that member.
pub fn lost_place(lost: Identity) -> Place {
    Place { cluster: lost.cluster, member: lost.member, members: Vec::new(), joins: true }
}

/// Writes down that the disk of this member is lost: there is nothing in the data directory, and the cluster says that
/// it has run.
///
/// # Errors
/// When the disk fails.
pub fn disk_is_lost(env: &Env, data_dir: &Path, lost: Identity) -> io::Result<()> {
    Note { lost, stage: Stage::Moving }.write(&*env.disk, data_dir)
}

/// Writes down that nothing of this member is left in its place any more, and that another one's log may be there.
///
/// # Errors
/// When the disk fails.
pub fn place_is_empty(env: &Env, data_dir: &Path, lost: Identity) -> io::Result<()> {
    Note { lost, stage: Stage::Asking }.write(&*env.disk, data_dir)
}

/// What is wrong where only the data directory says so.
fn given_up(member: MemberId) -> String {
    format!("member {member} has lost its log or its place in the cluster")
}

/// What an operator may do about a lost log, in words: the member has no other way.
pub fn advice(member: MemberId, name: &str, peer_urls: &[String]) -> String {
    format!(
        "remove the member and add it anew (quorate ctl member remove {member}; quorate ctl member add {name} \
         --peer-urls={}), then start it with --initial-cluster-state=existing and an empty data directory; or start it \
         with --self-repair, and it does that by itself",
        peer_urls.join(",")
    )
}

/// Who starts where the data directory remembers a member that has lost its log; the same as before where it remembers
/// none, or where another's log is there by now.
///
/// # Errors
/// See [`StartError`].
pub async fn resume(config: MemberConfig, env: &Env) -> Result<MemberConfig, StartError> {
    let repair = Repair { config: &config, env };
    let Some(note) = repair.checked(repair.remembered())? else { return Ok(config) };
    // The planted bug starts whom the options name.
    if crate::mutant!("repair-note-passed-over") {
        return Ok(config);
    }
    crate::sometimes!("a start went on with a repair");
    let _held = repair.lock()?;
    // Written again: what a start finds need not be durable.
    repair.checked(note.write(&*env.disk, &config.data_dir))?;
    if config.knobs.self_repair {
        return repair.take_back(note, None).await;
    }
    // The operator may have done by hand what the member was not to do.
    let given_up =
        |member| StartError::GivenUp { member, advice: advice(member, &config.name, &config.peer_urls) };
    match repair.asking().place_in_the_list(note).await {
        Ok(Some(place)) => repair.settle(note, place),
        Ok(None) | Err(Round::NotYet(_)) => Err(given_up(note.lost.member)),
        Err(Round::Was(member)) => Err(given_up(member)),
        Err(Round::Taken(by)) => Err(repair.replaced(note.lost.member, by)),
        Err(Round::Gone) => Err(repair.removed(note.lost.member)),
    }
}

/// Gives the member up that lost its log for this reason, and answers who starts in its place.
///
/// # Errors
/// See [`StartError`]; without leave to do so, nothing was touched.
pub async fn begin(config: MemberConfig, env: &Env, why: StartError) -> Result<MemberConfig, StartError> {
    let has_log = identity_of(&*env.disk, &wal_dir(&config.data_dir)).is_ok_and(|log| log.is_some());
    let stage = if has_log { Stage::Moving } else { Stage::Unsure };
    let repair = Repair { config: &config, env };
    // Who was removed has nothing left to be removed from.
    if !config.knobs.self_repair && matches!(why, StartError::Removed { .. }) {
        return Err(why);
    }
    if repair.asking().urls().is_empty() {
        return Err(StartError::LogLost { why: Box::new(why), advice: ALONE.to_owned() });
    }
    if !config.knobs.self_repair {
        let advice = advice(config.member, &config.name, &config.peer_urls);
        return Err(StartError::LogLost { why: Box::new(why), advice });
    }
    tracing::error!(%why, member = %config.member, "the member gives itself up, to be taken back as another");
    let note = Note { lost: Identity { cluster: config.cluster, member: config.member }, stage };
    repair.checked(env.disk.create_dir_all(&config.data_dir))?;
    let _held = repair.lock()?;
    // Before anybody is asked: the next start may find nobody who says so once more, and nothing here that does. A log that
    // is damaged is found so again, even one that does not say whose it is, and may still be put right.
    if matches!(why, StartError::Wiped { .. } | StartError::Removed { .. }) {
        repair.checked(note.write(&*env.disk, &config.data_dir))?;
    }
    repair.take_back(note, Some(why)).await
}

/// The log of the new member is there: the old one is history.
///
/// # Errors
/// When the disk fails.
pub fn finish(config: &MemberConfig, env: &Env) -> Result<(), StartError> {
    let repair = Repair { config, env };
    if repair.checked(Note::read(&*env.disk, &config.data_dir))?.is_none() {
        return Ok(());
    }
    repair.checked(Note::remove(&*env.disk, &config.data_dir))?;
    crate::sometimes!("a repair came to its end");
    Ok(())
}

/// One member that is being repaired.
struct Repair<'r> {
    config: &'r MemberConfig,
    env: &'r Env,
}

impl<'r> Repair<'r> {
    fn asking(&self) -> Asking<'r> {
        Asking { config: self.config, env: self.env }
    }

    fn checked<T>(&self, result: io::Result<T>) -> Result<T, StartError> {
        result.map_err(|source| StartError::Io { dir: self.config.data_dir.display().to_string(), source })
    }

    fn lock(&self) -> Result<Box<dyn Lock>, StartError> {
        let held = self.env.disk.lock(&self.config.data_dir.join(LOCK_NAME));
        self.checked(held.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(error.kind(), "another process repairs it"),
            _ => error,
        }))
    }

    /// Who was given up here, if anybody was whose place this still is, and how far that has come.
    fn remembered(&self) -> io::Result<Option<Note>> {
        let (disk, config) = (&*self.env.disk, self.config);
        let note = Note::read(disk, &config.data_dir)?;
        let was_moved = |member| disk.exists(&aside_dir(&config.data_dir, member));
        if note.is_none() && !was_moved(config.member)? {
            return Ok(None);
        }
        let moved = |lost, stage| Some(Note { lost, stage });
        Ok(match (identity_of(disk, &wal_dir(&config.data_dir))?, note) {
            // What is left of it, whether it was never moved or was put back.
            (Some(kept), Some(note)) if note.lost == kept => moved(kept, Stage::Moving),
            (Some(kept), _) if was_moved(kept.member)? => moved(kept, Stage::Moving),
            (Some(_), None) => None,
            (Some(_), Some(_)) => {
                crate::sometimes!("a start found another's log beside the note");
                // The note goes when its member has started: what was found of the log need not be durable.
                None
            }
            (None, Some(note)) => Some(note),
            (None, None) => moved(Identity { cluster: config.cluster, member: config.member }, Stage::Unsure),
        })
    }

    fn removed(&self, member: MemberId) -> StartError {
        StartError::Removed { member, dir: self.config.data_dir.display().to_string() }
    }

    fn replaced(&self, member: MemberId, by: MemberId) -> StartError {
        StartError::Replaced { member, by, dir: self.config.data_dir.display().to_string() }
    }

    /// Asks for another place until there is one, and moves into it. `why` is what is wrong with the log, when that is
    /// still to be told.
    async fn take_back(&self, mut note: Note, why: Option<StartError>) -> Result<MemberConfig, StartError> {
        let clock = &*self.env.clock;
        let deadline = clock.monotonic() + PATIENCE;
        loop {
            let said = match self.asking().round(note).await {
                Ok(place) => return self.settle(note, place),
                Err(Round::Gone) => return Err(self.removed(note.lost.member)),
                Err(Round::Taken(by)) => return Err(self.replaced(note.lost.member, by)),
                Err(Round::Was(member)) => {
                    note = Note { lost: Identity { member, ..note.lost }, stage: Stage::Moving };
                    // Before anybody is asked as that one: a start that goes on from here must know as whom.
                    if self.checked(Note::read(&*self.env.disk, &self.config.data_dir))?.is_some() {
                        self.checked(note.write(&*self.env.disk, &self.config.data_dir))?;
                    }
                    format!("it was taken back before, as {member}")
                }
                Err(Round::NotYet(said)) => said,
            };
            tracing::info!(member = %note.lost.member, said, "not taken back yet");
            if clock.monotonic() >= deadline {
                let why = why.map(|why| why.to_string());
                let why = why.unwrap_or_else(|| given_up(note.lost.member));
                return Err(StartError::NotReadmitted { why, said });
            }
            clock.sleep(PAUSE).await;
        }
    }

    /// Leaves the place of the lost member, durably, for that of the one that comes after it.
    fn settle(&self, Note { lost, stage }: Note, place: Place) -> Result<MemberConfig, StartError> {
        let dir = &self.config.data_dir;
        if stage != Stage::Asking {
            self.checked(disk_is_lost(self.env, dir, lost))?;
            self.checked(self.move_aside(lost.member))?;
        }
        self.checked(place_is_empty(self.env, dir, lost))?;
        let Place { cluster, member, members, joins } = place;
        Ok(MemberConfig { cluster, member, members, joins, ..self.config.clone() })
    }

    /// Moves what is left of a member beside it.
    fn move_aside(&self, member: MemberId) -> io::Result<()> {
        let (disk, dir) = (&*self.env.disk, &self.config.data_dir);
        let aside = aside_dir(dir, member);
        disk.create_dir_all(&aside)?;
        disk.sync_dir(dir)?;
        for name in ["wal", "state"] {
            let (from, to) = (dir.join(name), aside.join(name));
            if !disk.exists(&from)? {
                continue;
            }
            if disk.exists(&to)? {
                let what = format!("{} and {} are both there: remove one", from.display(), to.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            disk.rename(&from, &to)?;
            disk.sync_dir(&aside)?;
            disk.sync_dir(dir)?;
        }
        tracing::warn!(aside = %aside.display(), "what was left of the member was moved aside");
        Ok(())
    }
}
