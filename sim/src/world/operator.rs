//! What operators do to the cluster: they ask a living member of it, and then another, until the change is made, is
//! refused for good, or the time for it is over.
//!
//! Changes are made one after the other. A member whose disk is lost is removed before another may lose its own:
//! losing one at a time, each while all others are up with sound disks and a quorum by themselves, is what a cluster
//! must survive.
//!
//! Invariant: a place is given away only when nobody of the cluster sits there any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_check::types::{MemberId, Nanos};
use quorate_check::verdict::Class;
use quorate_disk::Crash;

use super::World;
use super::changes::{self, Change, Changed};
use super::product::{self, Member};
use super::tenant::{Standing, Tenant};
use crate::plan::MemberIndex;

/// Election time-outs that a member may take to answer one attempt: before it refuses one it looks for two of them
/// whether it hears the others.
const ATTEMPT_ELECTIONS: u64 = 4;
/// How long a member may take over one attempt that nobody waits for any more: the promotion of a learner asks its
/// leader up to four times, for 7 s each.
const ATTEMPT_MAX: Duration = Duration::from_secs(35);
/// The pause before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Keys the changes after everything was healed.
const LAST_CHANGES: u64 = u64::MAX >> 2;
/// How long operators try before they give a change up.
const PATIENCE: Duration = Duration::from_secs(25);

/// What operators know.
#[derive(Default)]
pub(super) struct Operators {
    /// One change at a time.
    at_work: tokio::sync::Mutex<()>,
    /// Held by every attempt under way: one may outlive whoever made it, and be granted late.
    attempts: Arc<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Members that the cluster said are removed.
    removed: BTreeSet<MemberId>,
    /// A member whose disk is lost and that may still be in the list.
    lost: Option<(MemberIndex, MemberId)>,
    /// Additions at an address that brought no certain answer, how many: each may still be granted.
    unanswered: BTreeMap<String, u32>,
    /// Why the last change that was given up could not be made.
    obstacle: String,
}

impl Known {
    /// An attempt at a change brought no certain answer.
    fn leaves_open(&mut self, change: &Change) {
        if let Change::Add { url, .. } = change {
            *self.unanswered.entry(url.clone()).or_default() += 1;
        }
    }

    /// Whether an addition at this address may still have been granted; each explains one.
    fn explains(&mut self, url: &str) -> bool {
        let Some(left) = self.unanswered.get_mut(url).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }
}

impl Operators {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Asks the leader to hand over; what becomes of it is its own business.
    pub(super) async fn move_leader(&self, to: MemberIndex) {
        let Some((node, member)) = self.leader().and_then(|leader| self.reach(leader)) else { return };
        let to = self.member_id(to);
        let asked = node.spawn(async move { changes::change(&member, Change::MoveLeader(to)).await });
        // A member that dies meanwhile answers nothing.
        let _answer = self.inner.time.within(self.attempt_timeout(), asked).await;
    }

    /// Waits until no operator is at work, and keeps them waiting.
    pub(super) async fn operators_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.operators.at_work.lock().await
    }

    /// Whether nobody leaves the cluster, as far as is known, and nothing of what operators have asked for is under way.
    pub(super) fn nobody_leaves(&self) -> bool {
        let leaves = |seat: &super::Seat| seat.tenant().standing == Standing::Leaving;
        Arc::strong_count(&self.inner.operators.attempts) == 1 && !self.inner.seats.iter().any(leaves)
    }

    /// Another member has the place of one that operators may be about to remove, for want of its disk.
    pub(super) fn operators_follow(&self, gone: MemberId, by: MemberId) {
        if let Some((_, lost)) = self.inner.operators.known().lost.as_mut().filter(|(_, lost)| *lost == gone)
        {
            *lost = by;
        }
    }

    /// Whether a disk is lost whose member may still be in the list.
    pub(super) fn is_a_disk_lost(&self) -> bool {
        self.inner.operators.known().lost.is_some()
    }

    /// Gives the first free place to a new member.
    pub(super) async fn add_member(&self, key: u64, learner: bool) {
        let _turn = self.inner.operators.at_work.lock().await;
        if let Some(index) = self.free_place() {
            self.seat_member(key, index, learner).await;
        }
    }

    /// The first place that nobody has, and whose last member is not still in the list for want of its disk.
    fn free_place(&self) -> Option<MemberIndex> {
        let lost = self.inner.operators.known().lost.map(|(index, _)| index);
        let mut free = self.inner.seats.iter().filter(|seat| seat.tenant().standing == Standing::Vacant);
        free.find(|seat| Some(seat.index) != lost).map(|seat| seat.index)
    }

    async fn seat_member(&self, key: u64, index: MemberIndex, learner: bool) {
        let change = Change::Add { url: product::peer_url(index), learner };
        match self.ask_until_done(key, &change).await {
            Some(Changed::Added(id)) => {
                self.inner.record.moves_in(self.now(), index, id);
                self.seat(index).tenant().move_in(id);
                self.start_if_nobody_holds(index);
            }
            Some(_) | None => self.inner.record.note(self.now(), format_args!("not added {index}")),
        }
    }

    /// Gives a learner its vote, if there is one.
    pub(super) async fn promote_member(&self, key: u64) {
        let _turn = self.inner.operators.at_work.lock().await;
        let mut listed = self.listed().into_iter().flatten();
        if let Some(learner) = listed.find(|member| member.is_learner) {
            self.ask_until_done(key, &Change::Promote(learner.id)).await;
        }
    }

    /// Removes a member; its process ends when it knows.
    pub(super) async fn remove_member(&self, key: u64, index: MemberIndex) {
        let _turn = self.inner.operators.at_work.lock().await;
        // The cluster would refuse to lose its last voter for as long as it is asked, so who votes is looked up first.
        if self.until_listed().await.is_none() || self.voting().iter().all(|voter| *voter == index) {
            return;
        }
        if self.plan().knobs.self_repair && !self.can_spare(index) {
            return;
        }
        let id = {
            let mut tenant = self.seat(index).tenant();
            if tenant.standing != Standing::Member {
                return;
            }
            tenant.standing = Standing::Leaving;
            tenant.id
        };
        if !self.remove(key, index, id).await {
            // It may have left meanwhile, by an attempt that seemed to fail.
            let id = self.member_id(index);
            self.seat(index).tenant().stay(id);
        }
    }

    /// Whether those whose disks are sound are a quorum without this member. Who has lost its log needs them, and may go
    /// itself.
    fn can_spare(&self, index: MemberIndex) -> bool {
        let nobody_else = self.damaged().iter().all(|other| *other == index);
        let (sound, gone) = (self.ids_of(&self.sound_without(index)), self.member_id(index));
        nobody_else
            || self.electorates().into_iter().all(|mut set| {
                set.remove(&gone);
                set.intersection(&sound).count() * 2 > set.len()
            })
    }

    /// Whether the cluster said that the member in this place is removed, whoever that is by then. When it is not known,
    /// the member is still leaving.
    async fn remove(&self, key: u64, index: MemberIndex, id: MemberId) -> bool {
        let mut asked = id;
        while self.remove_by_id(key, index, asked).await {
            let now = self.member_id(index);
            if now == asked {
                return true;
            }
            asked = now;
        }
        false
    }

    async fn remove_by_id(&self, key: u64, index: MemberIndex, id: MemberId) -> bool {
        match self.ask_until_done(key, &Change::Remove(id)).await {
            Some(Changed::Removed) => {
                self.inner.record.note(self.now(), format_args!("removed {index}"));
                self.inner.operators.known().removed.insert(id);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// A member's machine is lost with its disk; another is added in its place.
    pub(super) async fn replace_member(&self, key: u64, index: MemberIndex) {
        let _turn = self.inner.operators.at_work.lock().await;
        let unfinished = self.inner.operators.known().lost;
        if let Some((index, id)) = unfinished {
            return self.finish_replacement(key, index, id).await;
        }
        // Before there is a list nobody can be taken off it.
        if self.until_listed().await.is_none() {
            return;
        }
        let seat = self.seat(index);
        let others: Vec<MemberIndex> = self.seated().into_iter().filter(|other| *other != index).collect();
        let all_are_up = others.iter().all(|other| !self.is_down(*other));
        let sound = self.damaged().is_empty();
        if seat.tenant().standing != Standing::Member || !all_are_up || !sound || !self.is_a_quorum(&others) {
            return;
        }
        self.crash_again(index, Crash::PowerLoss, key);
        let id = {
            let mut tenant = seat.tenant();
            tenant.vanish();
            tenant.id
        };
        self.inner.record.note(self.now(), format_args!("lost {index}"));
        self.inner.operators.known().lost = Some((index, id));
        self.finish_replacement(key, index, id).await;
    }

    async fn finish_replacement(&self, key: u64, index: MemberIndex, id: MemberId) {
        if self.remove(key, index, id).await || self.is_removed(id) {
            self.inner.operators.known().lost = None;
            self.seat_member(key, index, false).await;
        }
    }

    fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(ATTEMPT_ELECTIONS * self.plan().knobs.election_ms)
    }

    /// Asks one member after the other. `None` when the time was over and nobody knows.
    async fn ask_until_done(&self, key: u64, change: &Change) -> Option<Changed> {
        let time = &self.inner.time;
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        let deadline = Nanos(time.now().0.saturating_add(patience));
        self.inner.operators.known().obstacle.clear();
        let mut last = "nobody was up to be asked".to_owned();
        for attempt in 0.. {
            if time.now() >= deadline || self.inner.record.is_over() {
                break;
            }
            let up: Vec<MemberIndex> =
                self.seated().into_iter().filter(|index| self.reach(*index).is_some()).collect();
            let turn = usize::try_from(key.wrapping_add(attempt)).unwrap_or(0).checked_rem(up.len());
            let asked = turn.and_then(|turn| up.get(turn)).and_then(|index| self.reach(*index));
            if let Some((node, member)) = asked {
                let (wanted, under_way) = (change.clone(), self.inner.operators.attempts.clone());
                let answer = node.spawn(async move {
                    let answer = changes::change(&member, wanted).await;
                    drop(under_way);
                    answer
                });
                let answer = time.within(self.attempt_timeout(), answer).await;
                if matches!(answer, None | Some(Err(_) | Ok(Changed::NotYet(_)))) {
                    self.inner.operators.known().leaves_open(change);
                }
                match answer {
                    Some(Ok(Changed::NotYet(why))) => last = why,
                    Some(Err(_)) => last = "who was asked died".to_owned(),
                    None => last = "no answer in time".to_owned(),
                    // Somebody who lags still has the one before in the list.
                    Some(Ok(Changed::Added(id))) if self.is_removed(id) => {
                        last = format!("{id} is gone and still listed");
                    }
                    Some(Ok(done)) => {
                        self.inner.record.note(self.now(), format_args!("operators: {change:?}: {done:?}"));
                        if let Changed::Refused(why) = &done {
                            self.inner.operators.known().obstacle.clone_from(why);
                        }
                        return Some(done);
                    }
                }
            }
            time.sleep(RETRY_PAUSE).await;
        }
        self.inner.record.note(self.now(), format_args!("operators: {change:?} given up: {last}"));
        self.inner.operators.known().obstacle = format!("{last}, for {} s", PATIENCE.as_secs());
        None
    }

    /// Waits until somebody leads, who knows the member list; `None` when nobody does in time.
    async fn until_listed(&self) -> Option<Vec<changes::Listed>> {
        let list = || self.listed().filter(|list| !list.is_empty());
        self.until(PATIENCE, || list().is_some()).await.then(list).flatten()
    }

    /// Waits until it has come, or the run is over; false when neither is so within the time.
    async fn until(&self, within: Duration, has_come: impl Fn() -> bool) -> bool {
        let looked = async {
            while !has_come() && !self.inner.record.is_over() {
                self.inner.time.sleep(RETRY_PAUSE).await;
            }
        };
        self.inner.time.within(within, looked).await.is_some()
    }

    /// The member list, as whoever leads knows it.
    fn listed(&self) -> Option<Vec<changes::Listed>> {
        let (_, member) = self.leader().and_then(|leader| self.reach(leader))?;
        Some(changes::listed(&member))
    }

    /// Every set of voters that counts, as the members that are up know: those of their configurations, and those of
    /// their lists, to which the configurations are on their way.
    fn electorates(&self) -> BTreeSet<BTreeSet<MemberId>> {
        let up = self.seated().into_iter().filter_map(|index| self.reach(index));
        up.flat_map(|(_, member)| changes::electorates(&member)).collect()
    }

    /// Whether these are a majority of every set of voters that counts; never, when nobody can say which do.
    pub(super) fn is_a_quorum(&self, members: &[MemberIndex]) -> bool {
        let ids = self.ids_of(members);
        let electorates = self.electorates();
        let majority = |set: &BTreeSet<MemberId>| set.intersection(&ids).count() * 2 > set.len();
        !electorates.is_empty() && electorates.iter().all(majority)
    }

    fn ids_of(&self, members: &[MemberIndex]) -> BTreeSet<MemberId> {
        members.iter().map(|index| self.member_id(*index)).collect()
    }

    /// Whether this member votes in every set that counts.
    pub(super) fn has_a_vote(&self, id: MemberId) -> bool {
        let electorates = self.electorates();
        !electorates.is_empty() && electorates.iter().all(|set| set.contains(&id))
    }

    /// Whether the list has this member.
    pub(super) fn is_listed(&self, id: MemberId) -> bool {
        self.listed().into_iter().flatten().any(|member| member.id == id)
    }

    /// Whether the list has this member as one that has run.
    pub(super) fn knows_by_name(&self, id: MemberId) -> bool {
        self.listed().into_iter().flatten().any(|member| member.id == id && member.has_run)
    }

    /// Those who follow without a vote.
    pub(super) fn learners(&self) -> Vec<MemberId> {
        let listed = self.listed().into_iter().flatten();
        listed.filter(|member| member.is_learner).map(|member| member.id).collect()
    }

    /// Waits until every attempt of an operator has its answer, so that none is granted behind the back of who reads the
    /// member list next. False, with a finding, when one has none in time.
    pub async fn attempts_end(&self) -> bool {
        let are_over = || Arc::strong_count(&self.inner.operators.attempts) == 1;
        self.until(ATTEMPT_MAX, are_over).await || self.no_change("a member let an operator wait for ever")
    }

    /// Finishes what operators had begun when everything was healed: whoever was leaving, whose disk was lost, or who was
    /// added and never came, is removed, if the cluster lets it. False, with a finding, when nobody answers.
    pub async fn finish_changes(&self) -> bool {
        let _turn = self.inner.operators.at_work.lock().await;
        let Some(listed) = self.until_listed().await else {
            return self.no_change("nobody could tell who belongs to the cluster");
        };
        let lost = self.inner.operators.known().lost.map(|(_, id)| id);
        let tenants: Vec<Tenant> = self.inner.seats.iter().map(|seat| *seat.tenant()).collect();
        let has_a_seat =
            |id: MemberId| tenants.iter().any(|it| it.id == id && it.standing != Standing::Vacant);
        let listed = listed.into_iter().map(|member| member.id);
        let ghosts = listed.filter(|id| !has_a_seat(*id) && Some(*id) != lost);
        let leaving =
            tenants.iter().filter(|tenant| tenant.standing == Standing::Leaving).map(|tenant| tenant.id);
        let gone: Vec<MemberId> = lost.into_iter().chain(ghosts).chain(leaving).collect();
        for id in gone.into_iter().filter(|id| !self.is_removed(*id)) {
            match self.ask_until_done(LAST_CHANGES, &Change::Remove(id)).await {
                Some(Changed::Removed) => {
                    self.inner.operators.known().removed.insert(id);
                }
                Some(_) => self.inner.seats.iter().for_each(|seat| seat.tenant().stay(id)),
                None => return self.no_change(&format!("member {id} could not be removed")),
            }
        }
        self.inner.operators.known().lost = None;
        self.attempts_end().await
    }

    /// Gives a member to the first free place, if there is one. False, with a finding, when nobody answers.
    pub async fn seat_one_more(&self) -> bool {
        let Some(index) = self.free_place() else { return true };
        self.add_member(LAST_CHANGES, false).await;
        (self.free_place() != Some(index) || self.no_change(&format!("no member could be added at {index}")))
            && self.attempts_end().await
    }

    /// Removes the member in the last place, unless no voter would be left. False, with a finding, when nobody answers.
    pub async fn unseat_the_last(&self) -> bool {
        let others_vote = |last: &MemberIndex| self.voting().iter().any(|voter| voter != last);
        let Some(last) = self.seated().last().copied().filter(others_vote) else { return true };
        let id = self.member_id(last);
        self.remove_member(LAST_CHANGES, last).await;
        (self.is_removed(id) || self.no_change(&format!("{last} could not be removed")))
            && self.attempts_end().await
    }

    fn no_change(&self, what: &str) -> bool {
        if !self.inner.record.is_over() {
            let why = std::mem::take(&mut self.inner.operators.known().obstacle);
            let why = if why.is_empty() { why } else { format!(": {why}") };
            let sentence = format!("{what}, though all was healed{why}");
            self.finding(Class::Liveness, "operators", sentence);
        }
        false
    }

    /// Holds the member list against what operators were told: who was said to be removed is not in it, and everybody
    /// who was added and not removed is, and nobody else. To be asked when the cluster is at rest; false when there is no
    /// list to be had.
    pub async fn check_member_list(&self) -> bool {
        let Some(listed) = self.until_listed().await else {
            return self.no_change("nobody could tell who belongs to the cluster");
        };
        let listed: BTreeSet<MemberId> = listed.into_iter().map(|member| member.id).collect();
        let removed = self.inner.operators.known().removed.clone();
        if let Some(back) = removed.intersection(&listed).next() {
            self.finding(
                Class::Safety,
                "member list",
                format!("member {back} was removed, and is in the list"),
            );
        }
        let mut unknown = listed.clone();
        for index in self.seated() {
            let id = self.member_id(index);
            if !unknown.remove(&id) {
                let sentence = format!("{index} ({id}) was added and never removed, and is not in the list");
                self.finding(Class::Safety, "member list", sentence);
            }
        }
        if let Some(id) = unknown.first() {
            let sentence = format!("member {id} is in the list, and sits nowhere");
            self.finding(Class::Safety, "member list", sentence);
        }
        self.check_who_is_back();
        true
    }

    /// The process of a member that was leaving says that it was removed: so it must be for everybody.
    pub(super) fn says_it_was_removed(&self, id: MemberId) {
        self.inner.operators.known().removed.insert(id);
    }

    /// Holds who started in a place against who was given it: one that takes another's id votes in its place. Whoever
    /// was removed before it ran may find an addition at its address that was granted late, and is that one then.
    pub(super) fn check_identity(&self, index: MemberIndex, tenant: Tenant, started: &Member) {
        let runs_as = started.config().member;
        self.goes_on_as(index, MemberId(runs_as.0));
        if self.runs_rightly(index, MemberId(runs_as.0)) {
            return;
        }
        if runs_as.0 != tenant.id.0 {
            let may_join = tenant.joins || self.plan().knobs.self_repair;
            let leaves = tenant.standing == Standing::Leaving && may_join;
            if leaves && self.inner.operators.known().explains(&product::peer_url(index)) {
                let id = MemberId(runs_as.0);
                self.inner.record.moves_in(self.now(), index, id);
                return self.seat(index).tenant().move_in(id);
            }
            let sentence =
                format!("{index} is the place of member {}, and runs as member {runs_as}", tenant.id);
            self.finding(Class::Safety, "identity", sentence);
        }
    }

    /// Switches the machines of removed members on again; whether there were any. They must end by themselves. One
    /// whose address is another's by now stays off: what never ran would rightly take that other's place.
    pub fn switch_on_the_removed(&self) -> bool {
        let listed = self.listed().unwrap_or_default();
        let is_given =
            |index| listed.iter().any(|member| member.peer_urls.contains(&product::peer_url(index)));
        let places = self.inner.seats.iter().map(|seat| seat.index).filter(|index| !is_given(*index));
        let back: Vec<MemberIndex> = places.filter(|index| self.seat(*index).tenant().come_back()).collect();
        for index in &back {
            self.inner.record.note(self.now(), format_args!("switched on {index}"));
            self.start_if_nobody_holds(*index);
        }
        !back.is_empty()
    }

    /// Whether everybody who is up agrees that who votes is what the member list says. The cluster must come to that by
    /// itself.
    pub fn voters_are_listed(&self) -> bool {
        let up = self.seated().into_iter().filter_map(|index| self.reach(index));
        up.into_iter().all(|(_, member)| changes::voters_are_listed(&member))
    }

    /// Whether the cluster said that this member is removed.
    pub(super) fn is_removed(&self, id: MemberId) -> bool {
        self.inner.operators.known().removed.contains(&id)
    }

    /// Members that were removed and whose processes have not ended.
    pub fn outstaying(&self) -> Vec<MemberIndex> {
        let outstaying = self.inner.seats.iter().filter(|seat| {
            let tenant = *seat.tenant();
            tenant.standing == Standing::Leaving && self.is_removed(tenant.id)
        });
        outstaying.map(|seat| seat.index).collect()
    }
}
