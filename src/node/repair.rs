//! What becomes of a member that has lost its log, or its disk: it is never again who it was, and asks to be taken back
//! as another.
//!
//! It forgot what it voted and what it acknowledged, so under its old id it could vote twice. Where the operator allows
//! it, it gives the old id up by itself. In this order, each step durable before the next:
//!
//! 1. A note says who it was ([`Note`]). From here on no start takes this directory for that member's.
//! 2. What is left of its log and its state is moved into a folder beside them. Nothing is deleted.
//! 3. The leader is asked to replace it: its id goes for good and another comes into its place, by one change.
//! 4. It starts as that other one, the way of every newcomer. When its log is there, the note goes.
//!
//! Whatever ends the process in between, the next start goes on: the note says how far it has come, and the member list
//! whether it has been replaced, because a member that has not started yet stands in its place then.
//!
//! What it does not do: it never lets the old member start on what is left, and it never judges whether the cluster can
//! spare it; the leader does (`raft::readmission`).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::env::{Env, Lock};
use crate::machine::command::Member as MemberInfo;
use crate::member::MemberConfig;
use crate::node::note::{Note, Stage};
use crate::node::{StartError, wal_dir};
use crate::pb::peer::readmit_response::Outcome;
use crate::peer::Peers;
use crate::peer::join::{Place, discovered};
use crate::storage::wal::{Identity, identity_of};
use crate::types::{ClusterId, MemberId};

/// How long a member asks to be taken back before its start is refused; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before it asks again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a member of the cluster may take to say who belongs to it.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader may take to take a member back: it looks twice, and who votes follows the list.
const READMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// What is left of a lost member lies in a folder of this name and its id.
const ASIDE_PREFIX: &str = "damaged-";
/// Held while a directory is repaired: there may be no log whose lock could be held.
const LOCK_NAME: &str = "repair.lock";

/// Whether a member whose data directory this is has lost its log, and which it was.
///
/// # Errors
/// When the directory cannot be read.
pub fn lost_member(env: &Env, data_dir: &Path) -> io::Result<Option<Identity>> {
    Ok(Note::read(&*env.disk, data_dir)?.map(|note| note.lost))
}

/// Writes down that the disk of this member is lost: there is nothing in the data directory, and the cluster says that
/// it has run.
///
/// # Errors
/// When the disk fails.
pub fn disk_is_lost(env: &Env, data_dir: &Path, lost: Identity) -> io::Result<()> {
    Note { lost, stage: Stage::Moving }.write(&*env.disk, data_dir)
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
    let repair = Repair::of(&config, env);
    let Some(note) = repair.blocked(Note::read(&*env.disk, &config.data_dir))? else { return Ok(config) };
    let kept = repair.blocked(identity_of(&*env.disk, &wal_dir(&config.data_dir)))?;
    if note.stage == Stage::Asking && kept.is_some_and(|kept| kept.member != note.lost.member) {
        finish(&config, env)?;
        return Ok(config);
    }
    crate::sometimes!("a start went on with a repair");
    if config.knobs.self_repair {
        return repair.take_back(note).await;
    }
    // The operator may have done by hand what the member was not to do.
    let replaced = if note.stage == Stage::Asking { repair.place_in_the_list(&note).await } else { None };
    let advice = advice(note.lost.member, &config.name, &config.peer_urls);
    let given_up = StartError::GivenUp { member: note.lost.member, advice };
    replaced.map(|place| repair.starts_in(place)).ok_or(given_up)
}

/// Gives the member up that lost its log for this reason, and answers who starts in its place.
///
/// # Errors
/// See [`StartError`]; without leave to do so, nothing was touched.
pub async fn begin(config: MemberConfig, env: &Env, why: StartError) -> Result<MemberConfig, StartError> {
    let repair = Repair::of(&config, env);
    if repair.urls().is_empty() {
        return Err(StartError::LogLost { why: Box::new(why), advice: ALONE.to_owned() });
    }
    if !config.knobs.self_repair {
        // Who was removed has nothing left to be removed from.
        if matches!(why, StartError::Removed { .. }) {
            return Err(why);
        }
        let advice = advice(config.member, &config.name, &config.peer_urls);
        return Err(StartError::LogLost { why: Box::new(why), advice });
    }
    tracing::error!(%why, member = %config.member, "the member gives itself up, to be taken back as another");
    let note =
        Note { lost: Identity { cluster: config.cluster, member: config.member }, stage: Stage::Moving };
    repair.take_back(note).await
}

/// What is said in place of [`advice`] where nobody could take the member back.
const ALONE: &str = "it is the only member that it knows of, so nobody can take it back: put the log back from the same \
                     disk, or restore a backup";

/// The log of the new member is there: the old one is history.
///
/// # Errors
/// When the disk fails.
pub fn finish(config: &MemberConfig, env: &Env) -> Result<(), StartError> {
    let repair = Repair::of(config, env);
    if repair.blocked(Note::read(&*env.disk, &config.data_dir))?.is_none() {
        return Ok(());
    }
    repair.blocked(Note::remove(&*env.disk, &config.data_dir))?;
    crate::sometimes!("a repair came to its end");
    Ok(())
}

/// One member that is being repaired.
struct Repair<'r> {
    config: &'r MemberConfig,
    env: &'r Env,
}

/// What one round of asking brought, short of a place.
enum Round {
    /// To be tried again.
    NotYet(String),
    /// The cluster has no place for it.
    Gone,
    /// The disk failed.
    Failed(StartError),
}

impl<'r> Repair<'r> {
    fn of(config: &'r MemberConfig, env: &'r Env) -> Repair<'r> {
        Repair { config, env }
    }

    fn blocked<T>(&self, result: io::Result<T>) -> Result<T, StartError> {
        result.map_err(|source| StartError::Io { dir: self.config.data_dir.display().to_string(), source })
    }

    async fn take_back(&self, mut note: Note) -> Result<MemberConfig, StartError> {
        let (disk, dir) = (&*self.env.disk, &self.config.data_dir);
        // Written again where it was found: what a start sees need not be durable.
        self.blocked(note.write(disk, dir))?;
        let _held = self.lock()?;
        if note.stage == Stage::Moving {
            self.blocked(self.move_aside(note.lost.member))?;
            note.stage = Stage::Asking;
            self.blocked(note.write(disk, dir))?;
        }
        // The planted bug takes the empty place for that of a member that has not run.
        if crate::mutant!("readmission-under-the-old-id") {
            let Identity { cluster, member } = note.lost;
            let members = self.config.members.clone();
            return Ok(self.starts_in(Place { cluster, member, members, joins: true }));
        }
        let clock = &*self.env.clock;
        let deadline = clock.monotonic() + PATIENCE;
        loop {
            let why = match self.ask(&mut note).await {
                Ok(place) => return Ok(self.starts_in(place)),
                Err(Round::Failed(error)) => return Err(error),
                Err(Round::Gone) => {
                    let dir = dir.display().to_string();
                    return Err(StartError::Removed { member: note.lost.member, dir });
                }
                Err(Round::NotYet(why)) => why,
            };
            tracing::info!(member = %note.lost.member, why, "not taken back yet");
            if clock.monotonic() >= deadline {
                return Err(StartError::NotReadmitted { member: note.lost.member, why });
            }
            clock.sleep(PAUSE).await;
        }
    }

    fn lock(&self) -> Result<Box<dyn Lock>, StartError> {
        self.blocked(self.env.disk.lock(&self.config.data_dir.join(LOCK_NAME)))
    }

    /// Moves what is left of a member beside it.
    fn move_aside(&self, member: MemberId) -> io::Result<()> {
        let (disk, dir) = (&*self.env.disk, &self.config.data_dir);
        let aside = dir.join(format!("{ASIDE_PREFIX}{member}"));
        disk.create_dir_all(&aside)?;
        disk.sync_dir(dir)?;
        for name in ["wal", "state"] {
            let (from, to): (PathBuf, PathBuf) = (dir.join(name), aside.join(name));
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

    /// Where others of the cluster may be reached.
    fn urls(&self) -> Vec<String> {
        let named = self.config.members.iter().filter(|member| member.id != self.config.member);
        let named = named.flat_map(|member| member.peer_urls.iter());
        let all: BTreeSet<String> = self.config.seeds.iter().chain(named).cloned().collect();
        all.into_iter().filter(|url| !self.config.peer_urls.contains(url)).collect()
    }

    /// The newest member list, from whoever answers.
    async fn list(&self, cluster: ClusterId) -> Result<Vec<MemberInfo>, String> {
        let mut refused = Vec::new();
        for url in self.urls() {
            match discovered(&*self.env.clock, &url, DISCOVER_TIMEOUT).await {
                Ok((answers, list)) if answers == cluster => return Ok(list),
                Ok((answers, _)) => refused.push(format!("{url}: it belongs to cluster {answers}")),
                Err(why) => refused.push(format!("{url}: {why}")),
            }
        }
        Err(format!("no member of the cluster answers: {}", refused.join("; ")))
    }

    fn is_here(&self, member: &MemberInfo) -> bool {
        let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
        set(&member.peer_urls) == set(&self.config.peer_urls)
    }

    /// The place of one that has not started, where the lost member was, if the cluster has such a place by now.
    async fn place_in_the_list(&self, note: &Note) -> Option<Place> {
        let list = self.list(note.lost.cluster).await.ok()?;
        self.newcomer(note, &list).map(|member| place_of(member, note.lost, &list))
    }

    fn newcomer(&self, note: &Note, list: &[MemberInfo]) -> Option<MemberId> {
        let here = list.iter().find(|member| self.is_here(member))?;
        (here.id != note.lost.member && here.name.is_empty()).then_some(here.id)
    }

    /// Looks who is in the lost member's place, and asks for another one if it is still itself.
    async fn ask(&self, note: &mut Note) -> Result<Place, Round> {
        let cluster = note.lost.cluster;
        let list = self.list(cluster).await.map_err(Round::NotYet)?;
        if let Some(member) = self.newcomer(note, &list) {
            return Ok(place_of(member, note.lost, &list));
        }
        match list.iter().find(|member| self.is_here(member)) {
            // It was taken back before, has run, and has lost its log once more.
            Some(here) if here.id != note.lost.member => {
                note.lost.member = here.id;
                note.write(&*self.env.disk, &self.config.data_dir).map_err(|source| {
                    let dir = self.config.data_dir.display().to_string();
                    Round::Failed(StartError::Io { dir, source })
                })?;
            }
            Some(_) => {}
            None if list.iter().any(|member| member.id == note.lost.member) => {}
            None => return Err(Round::Gone),
        }
        let member = self.readmitted(note.lost, &list).await.map_err(Round::NotYet)?;
        Ok(place_of(member, note.lost, &list))
    }

    /// Asks one after the other, and whoever they take for the leader, to be taken back.
    async fn readmitted(&self, lost: Identity, list: &[MemberInfo]) -> Result<MemberId, String> {
        let peers = Peers::new(self.env.clock.clone(), lost.cluster, lost.member);
        let others = || list.iter().filter(|member| member.id != lost.member);
        others().for_each(|member| peers.learn(member.id, &member.peer_urls));
        let mut said = Vec::new();
        for member in others() {
            let mut asked = member.id;
            for _ in 0..2 {
                let answer = peers.readmit(asked, READMIT_TIMEOUT, self.config.peer_urls.clone()).await;
                match answer {
                    Ok(answer) => match Outcome::try_from(answer.outcome) {
                        Ok(Outcome::Readmitted) => return Ok(MemberId(answer.member)),
                        Ok(Outcome::NotLeader) if answer.leader != 0 && answer.leader != asked.0 => {
                            asked = MemberId(answer.leader);
                        }
                        Ok(Outcome::NotLeader) => {
                            said.push(format!("{asked} does not lead"));
                            break;
                        }
                        // The leader has spoken; nobody else could say more.
                        Ok(Outcome::NotNow) => return Err(format!("{asked}: {}", answer.why)),
                        Err(_) => {
                            return Err(format!("{asked} gives an answer that this version does not know"));
                        }
                    },
                    Err(error) => {
                        said.push(error.to_string());
                        break;
                    }
                }
            }
        }
        Err(said.join("; "))
    }

    /// The member that starts, in this place.
    fn starts_in(&self, place: Place) -> MemberConfig {
        let Place { cluster, member, members, joins } = place;
        MemberConfig { cluster, member, members, joins, ..self.config.clone() }
    }
}

/// The place of a newcomer among the members of a list, without the one that was there before.
fn place_of(member: MemberId, lost: Identity, list: &[MemberInfo]) -> Place {
    let members = list.iter().filter(|member| member.id != lost.member).cloned().collect();
    Place { cluster: lost.cluster, member, members, joins: true }
}
