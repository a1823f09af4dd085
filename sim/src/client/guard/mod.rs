//! Episodes in which every client is asked who it is.
//!
//! Somebody who administers users founds a user `root` and one with a role, has clients asked, and gives and takes the
//! role while others ask in the user's name, in `root`'s and in nobody's for things that the role allows and for things
//! that it does not. The plan's clients, who say nothing, are refused meanwhile. Everything is written down for the oracle of
//! rights; what is written to keys is an operation like any other.
//!
//! Members are called as objects, and changes of rights are tried again at another member until it is known that they
//! were made. Who is refused for a token that has ended signs in again, with the old password or, where nobody knows
//! whether it was changed, with the new one.

mod probe;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate::machine::auth::change::{Access, AuthChange, Permission};
use quorate::machine::command::CommandError;
use quorate::member::AuthError;
use quorate::node::Credential;
use quorate::raft::pending::ProposeError;
use quorate::types::KeyRange;
use quorate_check::history::{Asker, MemberAsked, Operation, Outcome, Request, RightsAre};
use quorate_check::types::{ClientId, LeaseId, Nanos};
use quorate_check::verdict::Class;

use self::probe::Probe;
use super::direct::answer;
use super::session::outcome;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::operation::op_id;
use crate::plan::{Fault, MemberIndex, PlannedFault};
use crate::record::OpenRights;
use crate::world::World;
use crate::world::product::Member;

/// Operations of these episodes are this client's; the plan's have smaller numbers, observers greater ones.
const CLIENT: ClientId = ClientId(900);
/// How long an attempt at a change may take before another member is asked.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an attempt may be under way at a member that lives: as long as a request may take there, and a little more.
const ATTEMPT_MAX: Duration = Duration::from_secs(35);
/// How long somebody waits for an answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// The pause between two attempts, and before somebody looks again for a member.
const PAUSE: Duration = Duration::from_millis(50);
/// Names of operations that the episodes of a run may use.
const NAMES_MAX: u64 = 20_000;

const ROOT: &str = "root";
const USER: &str = "user";
const ROLE: &str = "role";
const ROOT_PASSWORD: &str = "root's";
const FIRST_PASSWORD: &str = "user's 0";
/// Users are founded when there may be a leader.
const FOUNDED_FROM: Nanos = Nanos(1_000_000_000);
/// How many ask beside each other.
const ASKERS: u64 = 4;

/// Who administers users, and asks in their names. Clones share what they know.
#[derive(Clone)]
pub struct Guard {
    world: World,
    known: Arc<Mutex<Known>>,
    /// Held by every attempt at a change that is under way.
    attempts: Arc<()>,
}

#[derive(Default)]
struct Known {
    /// Clients may be asked now.
    may_be_asked: bool,
    /// Operations so far.
    asked: u64,
    /// What the user's password may be, the likeliest first.
    passwords: Vec<String>,
    /// The user's token, and when it came.
    user: Option<(String, Nanos)>,
    root: Option<String>,
    /// The lease of this episode that carries a key beyond the role, once it does.
    lease: Option<LeaseId>,
    /// Nothing more is begun.
    over: bool,
}

/// What came of an attempt at a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Yes,
    /// It was not, and never will be.
    No,
    /// Nobody knows.
    Unknown,
}

/// Whose name is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Root,
    User,
}

impl Guard {
    /// Begins the episodes of the world's plan, at their times.
    pub fn start(world: &World) -> Guard {
        let known = Known { passwords: vec![FIRST_PASSWORD.to_owned()], ..Known::default() };
        let guard =
            Guard { world: world.clone(), known: Arc::new(Mutex::new(known)), attempts: Arc::new(()) };
        let planned = world.plan().faults.iter().filter(|planned| planned.fault == Fault::Guard {});
        let planned: Vec<PlannedFault> = planned.copied().collect();
        if !planned.is_empty() {
            let actor = guard.clone();
            world.supervisor().spawn(async move {
                actor.world.time().sleep_until(FOUNDED_FROM).await;
                if !actor.found().await {
                    return;
                }
                for episode in planned {
                    actor.world.time().sleep_until(Nanos(episode.at_ms * 1_000_000)).await;
                    let until = Nanos((episode.at_ms + episode.for_ms) * 1_000_000);
                    actor.episode(episode.id, until).await;
                }
            });
        }
        guard
    }

    /// Has nobody asked any more, whatever was under way. False, with a finding, when no member does it in time.
    pub async fn end(&self, within: Duration) -> bool {
        self.known().over = true;
        if !self.known().may_be_asked {
            return true;
        }
        let time = self.world.time();
        let over = async {
            while Arc::strong_count(&self.attempts) > 1 && !self.world.record().is_over() {
                time.sleep(PAUSE).await;
            }
        };
        // A change that is granted late must not be granted behind the last.
        let ended = time.within(ATTEMPT_MAX, over).await.is_some();
        let deadline = Nanos(time.now().0 + u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
        let mut dice = self.dice(u64::MAX);
        let done =
            ended && self.make(&mut dice, Some(RightsAre::NotAsked), AuthChange::Disable, deadline).await;
        if !done && !self.world.record().is_over() {
            let what = if ended {
                "nobody could be told to ask no client"
            } else {
                "a change of rights never ended"
            };
            self.world.finding(Class::Liveness, "guard", format!("{what}, though all was healed"));
        }
        done
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self, number: u64) -> Dice {
        Dice::keyed_twice(self.world.plan().schedule_seed, Purpose::Guard, 2, number)
    }

    fn goes_on(&self, until: Nanos) -> bool {
        self.world.time().now() < until && !self.known().over && !self.world.record().is_over()
    }

    async fn episode(&self, number: u64, until: Nanos) {
        let mut dice = self.dice(number);
        if !self.goes_on(until) {
            return;
        }
        self.known().may_be_asked = true;
        self.known().lease = None;
        if self.make(&mut dice, Some(RightsAre::Asked), AuthChange::Enable, until).await {
            self.lend(&mut dice).await;
            let askers = (0..ASKERS).map(|nth| {
                let (asker, mut dice) = (self.clone(), self.dice(number + (nth + 1) * 1_000_000));
                self.world.supervisor().spawn(async move {
                    while asker.goes_on(until) {
                        asker.ask(&mut dice).await;
                        asker.world.time().sleep(Duration::from_millis(dice.between(1, 40))).await;
                    }
                })
            });
            let askers: Vec<_> = askers.collect();
            while self.goes_on(until) {
                self.change(&mut dice, until).await;
                self.world.time().sleep(Duration::from_millis(dice.between(50, 900))).await;
            }
            for asker in askers {
                // The supervisor's host never dies, so it can only panic, which ends the run itself.
                drop(asker.await);
            }
        }
        // Whatever is wrong with the cluster: nothing else can be done until then.
        self.make(&mut dice, Some(RightsAre::NotAsked), AuthChange::Disable, Nanos(u64::MAX)).await;
    }

    /// Users and roles, before anything else; false when the run was over first.
    async fn found(&self) -> bool {
        let (mut dice, until) = (self.dice(0), Nanos(u64::MAX));
        let dice = &mut dice;
        let hashes = loop {
            let Some((node, member)) = self.reach(dice).await else { return false };
            let hashed = node.spawn(async move {
                let mut hashes = Vec::new();
                for password in [ROOT_PASSWORD, FIRST_PASSWORD] {
                    hashes.push(member.hash_password(&Credential::None, password).await.ok()?);
                }
                Some(hashes)
            });
            match self.world.time().within(ATTEMPT_TIMEOUT, hashed).await {
                Some(Ok(Some(hashes))) => break hashes,
                _ => self.world.time().sleep(PAUSE).await,
            }
        };
        let named = |name: &str| name.to_owned();
        let mut changes: Vec<AuthChange> = [ROOT, USER]
            .into_iter()
            .zip(hashes)
            .map(|(user, hash)| AuthChange::UserAdd { user: named(user), password: Some(hash) })
            .collect();
        changes.push(AuthChange::UserGrantRole { user: named(ROOT), role: named(ROOT) });
        changes.push(AuthChange::RoleAdd { role: named(ROLE) });
        for (start, end, access) in [probe::READ, probe::WRITE] {
            let range = KeyRange::from_wire(start.into(), end.into());
            let permission = Permission { range, access };
            changes.push(AuthChange::RoleGrantPermission { role: named(ROLE), permission });
        }
        for change in changes {
            if !self.make(dice, None, change, until).await {
                return false;
            }
        }
        self.make(dice, Some(RightsAre::Granted), granted(), until).await
    }

    /// A lease that carries a key beyond the role, behind one of the user's: the user may not touch it.
    async fn lend(&self, dice: &mut Dice) {
        let lease = self.probe(dice, Who::Root, probe::LEASE).await;
        if let Some((Request::LeaseGrant(grant), true)) = lease
            && let Some((_, true)) = self.probe(dice, Who::Root, Probe::leased(grant.id, "guard/s")).await
            && let Some((_, true)) = self.probe(dice, Who::Root, Probe::leased(grant.id, "guard/z")).await
        {
            self.known().lease = Some(grant.id);
        }
    }

    /// Changes something about the user.
    async fn change(&self, dice: &mut Dice, until: Nanos) {
        match dice.below(8) {
            0..=2 => {
                self.make(dice, Some(RightsAre::Revoked), revoked(), until).await;
            }
            3..=5 => {
                self.make(dice, Some(RightsAre::Granted), granted(), until).await;
            }
            _ => self.change_password(dice, until).await,
        }
    }

    /// Asks for something in somebody's name.
    async fn ask(&self, dice: &mut Dice) {
        let (who, probe) = match dice.below(10) {
            0 | 1 => (Who::Nobody, probe::of_nobody(dice)),
            2 => (Who::Root, probe::of_root(dice)),
            _ => {
                let lease = self.known().lease;
                (Who::User, probe::of_user(dice, lease))
            }
        };
        self.probe(dice, who, probe).await;
    }

    async fn change_password(&self, dice: &mut Dice, until: Nanos) {
        let password = format!("user's {}", self.world.time().now().0);
        // Before it is asked for: from then on it may be the one.
        let place = self.known().passwords.len().min(1);
        self.known().passwords.insert(place, password.clone());
        let Some((node, member)) = self.reach(dice).await else { return };
        let hashed = node.spawn(async move {
            let root = as_root(&member).await.ok()?;
            let hash = member.hash_password(&root, &password).await.ok()?;
            Some((password, hash))
        });
        let hashed = self.world.time().within(ATTEMPT_TIMEOUT, hashed).await;
        let Some(Ok(Some((password, hash)))) = hashed else { return };
        let change = AuthChange::UserChangePassword { user: USER.to_owned(), password: hash };
        if self.make(dice, Some(RightsAre::PasswordChanged), change, until).await {
            let mut known = self.known();
            known.passwords.retain(|other| *other != password);
            known.passwords.insert(0, password);
        }
    }

    /// A member that can be reached, waited for.
    async fn reach(&self, dice: &mut Dice) -> Option<(madsim::runtime::NodeHandle, Member)> {
        while !self.world.record().is_over() && !self.known().over {
            if let Some((_, node, member)) = self.somebody(dice) {
                return Some((node, member));
            }
            self.world.time().sleep(PAUSE).await;
        }
        None
    }

    fn somebody(&self, dice: &mut Dice) -> Option<(MemberIndex, madsim::runtime::NodeHandle, Member)> {
        let seated = self.world.seated();
        let index = dice.pick(&seated).copied()?;
        let (node, member) = self.world.reach(index)?;
        Some((index, node, member))
    }

    /// Makes a change, at one member after the other, until it is known to be made; false when it is not by then.
    async fn make(&self, dice: &mut Dice, what: Option<RightsAre>, change: AuthChange, until: Nanos) -> bool {
        let time = self.world.time();
        while time.now() < until && !self.world.record().is_over() {
            // What ends it all is made though it is over.
            if self.known().over && what != Some(RightsAre::NotAsked) {
                return false;
            }
            if let Some((_, node, member)) = self.somebody(dice) {
                let open = what.map(|what| self.world.record().rights_change(what, time.now()));
                let (wanted, under_way) = (change.clone(), self.attempts.clone());
                let attempt = node.spawn(async move { attempt(&member, wanted).await });
                let guard = self.clone();
                let attempt = self.world.supervisor().spawn(async move {
                    // Who dies meanwhile may have handed it on.
                    let made = attempt.await.unwrap_or(Made::Unknown);
                    guard.came_out(open, made);
                    drop(under_way);
                    made
                });
                if time
                    .within(ATTEMPT_TIMEOUT, attempt)
                    .await
                    .is_some_and(|made| matches!(made, Ok(Made::Yes)))
                {
                    return true;
                }
            }
            time.sleep(PAUSE).await;
        }
        false
    }

    fn came_out(&self, open: Option<OpenRights>, made: Made) {
        let made = match made {
            Made::Yes => Some(true),
            Made::No => Some(false),
            Made::Unknown => None,
        };
        if let Some(open) = open {
            self.world.record().rights_changed(open, self.world.time().now(), made);
        }
    }

    /// Asks for something; what was asked, and whether it was answered. Nothing, when nobody could be asked.
    async fn probe(&self, dice: &mut Dice, who: Who, probe: Probe) -> Option<(Request, bool)> {
        let (index, node, member) = self.somebody(dice)?;
        let (credential, asker) = match who {
            Who::Nobody => (Credential::None, None),
            Who::Root => (self.root(&node, &member).await?, Some(Asker::Root)),
            Who::User => {
                let (token, signed_in) = self.user(&node, &member).await?;
                (Credential::Token(token), Some(Asker::User { signed_in, within: probe.within }))
            }
        };
        let nth = {
            let mut known = self.known();
            known.asked += 1;
            known.asked
        };
        if nth >= NAMES_MAX {
            return None;
        }
        let id = op_id(CLIENT, nth);
        let request = probe.request(id);
        let record = self.world.record();
        if let Some(asker) = asker {
            record.asked_by(id, asker);
        }
        let now = self.world.time().now();
        record.sent(Operation {
            id,
            client: CLIENT,
            member: MemberAsked { id: self.world.member_id(index), index: u32::from(index.0) },
            invoked: now,
            returned: now,
            request: request.clone(),
            outcome: Outcome::Unknown { reason: "no answer yet".to_owned() },
        });
        let asked = request.clone();
        let call = node.spawn(async move { answer(&member, &credential, id, &asked).await });
        let came = match self.world.time().within(PROBE_TIMEOUT, call).await {
            Some(Ok(reply)) => outcome(reply),
            Some(Err(_)) => Some(Outcome::Unknown { reason: "the member died".to_owned() }),
            None => Some(Outcome::Unknown { reason: "no answer in time".to_owned() }),
        };
        record.ended(id, self.world.time().now(), came.clone());
        self.forget_what_has_ended(who, came.as_ref());
        Some((request, matches!(came, Some(Outcome::Ok { .. }))))
    }

    fn forget_what_has_ended(&self, who: Who, came: Option<&Outcome>) {
        let Some(Outcome::Failed { message, .. }) = came else { return };
        if message == "etcdserver: invalid auth token" {
            let mut known = self.known();
            match who {
                Who::Nobody => {}
                Who::Root => known.root = None,
                Who::User => known.user = None,
            }
        }
    }

    /// What `root` shows.
    async fn root(&self, node: &madsim::runtime::NodeHandle, member: &Member) -> Option<Credential> {
        if let Some(token) = self.known().root.clone() {
            return Some(Credential::Token(token));
        }
        let member = member.clone();
        let signed = node.spawn(async move { member.sign_in(ROOT, ROOT_PASSWORD).await.ok() });
        let token = self.world.time().within(ATTEMPT_TIMEOUT, signed).await?.ok()??;
        self.known().root = Some(token.clone());
        Some(Credential::Token(token))
    }

    /// The user's token, and when it came.
    async fn user(&self, node: &madsim::runtime::NodeHandle, member: &Member) -> Option<(String, Nanos)> {
        if let Some(known) = self.known().user.clone() {
            return Some(known);
        }
        let (member, passwords) = (member.clone(), self.known().passwords.clone());
        let time = self.world.time().clone();
        let signed = node.spawn(async move {
            for password in passwords {
                match member.sign_in(USER, &password).await {
                    Ok(token) => return Some((token, time.now())),
                    Err(AuthError::WrongPassword) => {}
                    Err(_) => return None,
                }
            }
            None
        });
        let user = self.world.time().within(ATTEMPT_TIMEOUT, signed).await?.ok()??;
        self.known().user = Some(user.clone());
        Some(user)
    }
}

fn granted() -> AuthChange {
    AuthChange::UserGrantRole { user: USER.to_owned(), role: ROLE.to_owned() }
}

fn revoked() -> AuthChange {
    AuthChange::UserRevokeRole { user: USER.to_owned(), role: ROLE.to_owned() }
}

/// `root`'s credential at a member; nothing is needed where nobody is asked, as the member knows.
async fn as_root(member: &Member) -> Result<Credential, AuthError> {
    if !member.replica().state().auth().is_enabled() {
        return Ok(Credential::None);
    }
    member.sign_in(ROOT, ROOT_PASSWORD).await.map(Credential::Token)
}

/// One attempt at a change.
async fn attempt(member: &Member, change: AuthChange) -> Made {
    let Ok(root) = as_root(member).await else { return Made::No };
    match member.change_auth(&root, change).await {
        // It is so already: by an attempt before this one.
        Ok(())
        | Err(AuthError::Refused(
            CommandError::UserExists | CommandError::RoleExists | CommandError::RoleNotGranted,
        )) => Made::Yes,
        Err(AuthError::Propose(ProposeError::TooManyRequests | ProposeError::TooLarge)) => Made::No,
        Err(AuthError::Propose(_)) => Made::Unknown,
        Err(_) => Made::No,
    }
}

/// The keys of a role's permission, and what it allows.
type Given = (&'static str, &'static str, Access);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_operations_are_no_other_clients() {
        assert!(CLIENT.0 < super::super::observer::follower_of(MemberIndex(0)).0);
        assert!((1..100).all(|client| op_id(ClientId(client), 1) != op_id(CLIENT, 1)));
    }
}
