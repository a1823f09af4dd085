//! The end of a run: demand that a quorum lives whatever is wrong with the others, then that all come to rest once
//! everything is healed, answer every client, and come back the same from their disks.
//!
//! 1. A quorum is healed, the plan's ending keeps the others broken: every client of the quorum is granted a write and
//!    then a read, and the quorum comes to one state, unless some hear of the others what some do not.
//! 2. Everything is healed: nobody is asked any more who he is, what operators had begun comes to an end, all come to one state, and every member that
//!    votes serves a write and a read by itself. A rest follows: whoever watches is told of everything; leases end.
//! 3. All are started again: they come to one state, every member that votes serves, operators change the cluster, and
//!    removed machines are switched on. A second rest follows.
//! 4. In some runs one member then parts from the others, which must be found out; nothing else is judged any more.
//!
//! All waits are bounded by the plan; what has not come by then is a liveness violation, which says what was seen
//! instead. What oracles hold against the end is what stood at a rest ([`Settled`]).

mod asker;

use std::time::Duration;

use quorate_check::history::Settled;
use quorate_check::types::{Nanos, Revision};
use quorate_check::verdict::Class;
use quorate_disk::Crash;

use self::asker::{Asker, Demand};
use crate::client::Ways;
use crate::client::guard::Guard;
use crate::client::observer::{LATECOMERS_STAY, follower_of};
use crate::plan::MemberIndex;
use crate::world::World;
use crate::world::product::Status;

/// How long the next events of a watch may be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long after its time to live a lease may take to end, once nobody is broken, and the clocks' errors with it: what
/// the oracle allows, and a little more.
const LEASES_END_WITHIN: Duration = Duration::from_secs(11);
/// How often members are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Looks in a row that must agree.
const AGREEING_LOOKS: u32 = 3;
/// How long clients go on writing while some members are broken.
const WRITING_MAX: Duration = Duration::from_secs(5);
/// Keys the crash of all members at the end.
const LAST_CRASH: u64 = u64::MAX >> 1;

/// The end of a run.
pub struct Settle {
    world: World,
    askers: Vec<Asker>,
    guard: Guard,
    within: Duration,
}

impl Settle {
    /// The end of this world's run.
    pub fn new(world: World, ways: &Ways, guard: Guard) -> Settle {
        let askers = world.plan().clients.iter().map(|client| Asker::new(&world, ways, client.id)).collect();
        let within = Duration::from_millis(world.plan().knobs.settle_ms);
        Settle { world, askers, guard, within }
    }

    /// Goes through all steps. Findings go to the record.
    pub async fn run(mut self) {
        if !self.world.plan().ending.broken.is_empty() && !self.heal_a_quorum().await {
            return;
        }
        let healed = self.world.time().now();
        self.world.heal();
        let when = "after everything was healed";
        if !self.guard.end(self.within).await
            || !self.world.attempts_end().await
            // Who has lost its log is taken back when everybody else votes who is to.
            || (self.world.is_anybody_away() && !self.world.finish_changes().await)
            || !self.converge(&self.world.seated(), when, false).await
            || !self.world.finish_changes().await
            || !self.all_converge(when).await
            || !self.demand_of_each(&[Demand::Write, Demand::Read], when).await
            || !self.rest(healed, self.world.plan().ending.outlives_leases).await
        {
            return;
        }
        let healed = self.world.time().now();
        self.restart_all();
        let when = "after all members were started again";
        if !self.all_converge(when).await
            || !self.demand_of_each(&[Demand::Read, Demand::Write], when).await
            || !self.operators_can_work().await
            || !self.world.check_member_list().await
        {
            return;
        }
        if self.world.switch_on_the_removed()
            && !self.all_converge("after removed members were switched on").await
        {
            return;
        }
        if self.rest(healed, false).await {
            self.one_parts().await;
        }
    }

    /// Where the plan's ending asks for it: one member's stored state is changed, and it must be found out, by the others
    /// or by itself as it starts.
    async fn one_parts(&self) {
        let (plan, voting) = (self.world.plan(), self.world.voting());
        let nth = usize::try_from(plan.seed).ok().and_then(|seed| seed.checked_rem(voting.len()));
        let Some(index) = nth.and_then(|nth| voting.get(nth)).copied() else { return };
        if !plan.ending.parts
            || plan.knobs.compare_ms.is_none()
            || voting.len() < 3
            || !self.world.part(index)
        {
            return;
        }
        let (time, id) = (self.world.time(), self.world.member_id(index));
        let deadline = time.now().0 + nanos(self.within);
        let mut differs = false;
        while time.now().0 < deadline {
            let statuses = self.world.statuses();
            let said = statuses.iter().find_map(|(_, status)| status.parted);
            if said.is_some_and(|said| said.0 == id.0) || self.world.parted_refused() {
                quorate::sometimes!("a member that had parted was found out");
                return;
            }
            if let Some(said) = said {
                let sentence =
                    format!("{index} has parted from the others, and member {said} is said to have");
                return self.world.finding(Class::Safety, "settle", sentence);
            }
            differs |= stand_apart(&statuses, index);
            time.sleep(LOOK_INTERVAL).await;
        }
        // What its log has held of later changes may have taken the difference away.
        if differs {
            let within = self.within.as_secs();
            let sentence =
                format!("{index} has parted from the others, and nobody said so within {within} s");
            self.world.finding(Class::Safety, "settle", sentence);
        }
    }

    /// Where the plan's ending asks for it, one more member must be able to come and to go again.
    async fn operators_can_work(&self) -> bool {
        !self.world.plan().ending.changes
            || (self.world.seat_one_more().await
                && self.all_converge("after a member was added").await
                && self.world.unseat_the_last().await
                && self.all_converge("after a member was removed").await)
    }

    /// Waits until nothing more is due, with `leases` until every lease has ended too, and writes down what stood then.
    async fn rest(&mut self, healed: Nanos, leases: bool) -> bool {
        let (time, record) = (self.world.time().clone(), self.world.record().clone());
        time.sleep_until(Nanos(healed.0 + nanos(LATECOMERS_STAY))).await;
        if !self.everybody_is_watched().await || !self.all_converge("at rest").await {
            return false;
        }
        let (still, revision) = (time.now(), record.newest_revision());
        self.watches_come_to_rest(still, revision).await;
        if leases {
            let longest = Duration::from_secs(record.longest_lease_secs());
            time.sleep_until(Nanos(healed.0 + nanos(longest + longest / 10 + LEASES_END_WITHIN))).await;
        }
        record.settled(Settled { healed, still, at: time.now(), revision });
        !leases || self.leases_have_ended(healed).await
    }

    /// Asks which leases there are: nobody renewed any, and the longest has had its time.
    async fn leases_have_ended(&mut self, healed: Nanos) -> bool {
        let voting = self.world.voting();
        let Some(mut asker) = self.askers.pop() else { return true };
        let deadline = Nanos(self.world.time().now().0 + nanos(self.within));
        let asked = asker.host().spawn(async move { (asker.leases(&voting, deadline).await, asker) });
        // A client's host never dies, so its task cannot be cancelled, only panic, which ends the run itself.
        let Ok((leases, asker)) = asked.await else { return false };
        self.askers.push(asker);
        let since = (self.world.time().now().0.saturating_sub(healed.0)) / 1_000_000_000;
        let sentence = match leases.as_deref() {
            Some([]) => return true,
            Some([lease, ..]) => format!("lease {lease} lives on, though all was healed {since} s ago"),
            None => "nobody could say which leases there are, though all was healed".to_owned(),
        };
        self.world.finding(Class::Liveness, "settle", sentence);
        false
    }

    /// Waits until somebody watches each member that votes; a learner serves no watch.
    async fn everybody_is_watched(&self) -> bool {
        let deadline = self.world.time().now().0 + nanos(self.within);
        loop {
            let mut voting = self.world.voting().into_iter();
            let unwatched = voting.find(|index| {
                !self.world.record().is_watching(follower_of(*index), self.world.member_id(*index))
            });
            let Some(index) = unwatched else { return true };
            if self.world.record().is_over() {
                return false;
            }
            if self.world.time().now().0 >= deadline {
                let within = self.within.as_secs();
                let sentence = format!("no watch lives on {index}, though all was healed {within} s ago");
                self.world.finding(Class::Liveness, "settle", sentence);
                return false;
            }
            self.world.time().sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until watches have delivered nothing up to `revision` for a while: who asked for a long history an instant
    /// ago is still told of it. What is due and has not come by then is judged from the history.
    async fn watches_come_to_rest(&self, since: Nanos, revision: Revision) {
        let time = self.world.time();
        let deadline = since.0 + nanos(self.within);
        let quiet_since =
            || self.world.record().last_delivery(revision).map_or(since, |last| last.max(since));
        while !self.world.record().is_over()
            && time.now().0 < (quiet_since().0 + nanos(UNDER_WAY)).min(deadline)
        {
            time.sleep(LOOK_INTERVAL).await;
        }
    }

    /// A quorum alone is healed, for as long as it takes it to show that it lives.
    async fn heal_a_quorum(&mut self) -> bool {
        let ending = self.world.plan().ending.clone();
        let broken = ending.broken.iter().map(|broken| broken.how.to_string());
        let when = format!("while one of them was {}", broken.collect::<Vec<_>>().join(", and one "));
        let Some((quorum, faults)) = self.world.heal_a_quorum() else { return true };
        let members = self.world.plan().members.len();
        let partial = ending.broken.iter().any(|broken| broken.how.is_partial(members));
        let lives = self.demand(&[Demand::Write, Demand::Read], in_turn(&quorum), ending.writes, &when).await
            && (partial || self.converge(&quorum, &when, false).await);
        for fault in faults {
            self.world.record().fault_ends(self.world.time().now(), fault);
        }
        lives
    }

    /// All who belong to the cluster come to one state, who votes is what the list says, and removed members end.
    async fn all_converge(&self, when: &str) -> bool {
        self.converge(&self.world.seated(), when, true).await
    }

    /// What is demanded of each who votes, by itself; a learner answers no client.
    async fn demand_of_each(&mut self, demands: &[Demand], when: &str) -> bool {
        let voting = self.world.voting();
        let askers = self.askers.len();
        // Where there are more clients than members some are asked twice.
        let members_of = |nth: usize| -> Vec<Vec<MemberIndex>> {
            let most = voting.len().max(askers);
            let nths = (nth..most).step_by(askers.max(1));
            let members = nths.filter_map(|nth| voting.get(nth.checked_rem(voting.len())?));
            members.map(|member| vec![*member]).collect()
        };
        self.demand(demands, members_of, 0, when).await
    }

    /// Waits until every one of these members runs, knows a leader, and all stand at one entry with one hash for a
    /// while; with `whole`, also until the cluster is what its operators made it.
    async fn converge(&self, members: &[MemberIndex], when: &str, whole: bool) -> bool {
        let time = self.world.time();
        let deadline = time.now().0 + nanos(self.within);
        let mut agreeing = 0;
        while !self.world.record().is_over() {
            self.world.look();
            let mut statuses = self.world.statuses();
            statuses.retain(|(index, _)| members.contains(index));
            let done = !whole || (self.world.outstaying().is_empty() && self.world.voters_are_listed());
            agreeing = if done && agree(&statuses, members.len()) { agreeing + 1 } else { 0 };
            if agreeing >= AGREEING_LOOKS {
                return true;
            }
            if time.now().0 >= deadline {
                let mut seen = shown(&self.world, members, &statuses);
                if whole {
                    seen.push_str(&self.unfinished());
                }
                let within = self.within.as_secs();
                let sentence =
                    format!("the members did not come to one state within {within} s {when}: {seen}");
                self.world.finding(Class::Liveness, "settle", sentence);
                return false;
            }
            time.sleep(LOOK_INTERVAL).await;
        }
        false
    }

    /// What operators began and the cluster has not finished.
    fn unfinished(&self) -> String {
        let outstaying =
            self.world.outstaying().into_iter().map(|index| format!(", {index} was removed and runs"));
        let voters =
            (!self.world.voters_are_listed()).then(|| ", and who votes is not what is listed".to_owned());
        outstaying.chain(voters).collect()
    }

    /// All clients at once, each of all groups of members that `asked_of` gives it: it gets what is demanded from one of
    /// the group, asked in turn, one thing after the other. With `writes`, each writes on for a while after its first.
    async fn demand(
        &mut self,
        demands: &[Demand],
        asked_of: impl Fn(usize) -> Vec<Vec<MemberIndex>>,
        writes: u64,
        when: &str,
    ) -> bool {
        let mut asking = Vec::new();
        for (nth, mut asker) in std::mem::take(&mut self.askers).into_iter().enumerate() {
            let (world, within, when) = (self.world.clone(), self.within, when.to_owned());
            let mut errands: Vec<(Vec<MemberIndex>, Demand)> = Vec::new();
            for members in asked_of(nth).into_iter().filter(|members| !members.is_empty()) {
                errands.extend(demands.iter().map(|demand| (members.clone(), *demand)));
            }
            if errands.is_empty() {
                let sentence = format!("there was nobody to ask {when}");
                world.finding(Class::Liveness, "settle", sentence);
                return false;
            }
            asking.push(asker.host().spawn(async move {
                for (members, demand) in errands {
                    let deadline = Nanos(world.time().now().0 + nanos(within));
                    if !asker.get(demand, &members, deadline).await {
                        let what = if demand == Demand::Write { "write" } else { "read" };
                        let (client, within) = (asker.client(), within.as_secs());
                        let asked = members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                        let sentence = format!(
                            "{client} could {what} nothing within {within} s {when}: it asked {asked}"
                        );
                        world.finding(Class::Liveness, "settle", sentence);
                        return None;
                    }
                    if demand == Demand::Write {
                        asker.write_on(writes, WRITING_MAX).await;
                    }
                }
                Some(asker)
            }));
        }
        let asked = asking.len();
        for asker in asking {
            // A client's host never dies, so its task cannot be cancelled, only panic, which ends the run itself.
            self.askers.extend(asker.await.ok().flatten());
        }
        self.askers.len() == asked
    }

    /// Ends all members and starts them: what they answer then comes from their disks.
    fn restart_all(&self) {
        let members = self.world.seated();
        let crash = if self.world.plan().ending.power { Crash::PowerLoss } else { Crash::Kill };
        for member in &members {
            self.world.hold(*member, crash, LAST_CRASH);
        }
        for member in &members {
            self.world.release(*member);
        }
    }
}

/// Who each client asks: all of these, each beginning with another.
fn in_turn(members: &[MemberIndex]) -> impl Fn(usize) -> Vec<Vec<MemberIndex>> {
    let members = members.to_vec();
    move |nth| {
        let turn = nth.checked_rem(members.len()).unwrap_or(0);
        let group = [members.get(turn..), members.get(..turn)].into_iter().flatten().flatten();
        vec![group.copied().collect()]
    }
}

/// Whether this member has another state than some other behind the same entry.
fn stand_apart(statuses: &[(MemberIndex, Status)], index: MemberIndex) -> bool {
    let Some((_, own)) = statuses.iter().find(|(seen, _)| *seen == index) else { return false };
    statuses.iter().any(|(_, other)| other.hash.0 == own.hash.0 && other.hash.1 != own.hash.1)
}

fn agree(statuses: &[(MemberIndex, Status)], members: usize) -> bool {
    let Some((_, first)) = statuses.first() else { return false };
    statuses.len() == members
        && statuses.iter().all(|(_, status)| status.hash == first.hash && status.leader.is_some())
}

/// What was seen of these members, each with the head of its state's hash.
fn shown(world: &World, members: &[MemberIndex], statuses: &[(MemberIndex, Status)]) -> String {
    let place_of = |leader: quorate::types::MemberId| {
        let place = world.members().find(|index| world.member_id(*index).0 == leader.0);
        place.map_or_else(|| format!("member {leader}"), |index| index.to_string())
    };
    let shown = members.iter().map(|index| {
        let Some((_, status)) = statuses.iter().find(|(seen, _)| seen == index) else {
            return format!("{index} is not up");
        };
        let (at, hash) = status.hash;
        let at = at.map_or("nothing".to_owned(), |at| format!("{at} (state {:08x})", hash >> 96));
        let leader = status.leader.map_or("nobody".to_owned(), place_of);
        format!("{index} applied {at} and follows {leader}")
    });
    let all = shown.collect::<Vec<_>>().join(", ");
    if agree(statuses, members.len()) { format!("{all}, which did not last") } else { all }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
