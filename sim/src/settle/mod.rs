//! The end of a run: demand that a quorum lives whatever is wrong with the others, then that all come to rest once
//! everything is healed, answer every client, and come back the same from their disks.
//!
//! 1. A quorum is healed, the plan's ending keeps the others broken: every client of the quorum is granted a write and
//!    then a read, and the quorum comes to one state, unless some hear of the others what some do not.
//! 2. Everything is healed: all come to one state, and every client writes and reads.
//! 3. All are started again: they come to one state, and every client reads.
//!
//! All waits are bounded by the plan; what has not come by then is a liveness violation, which says what was seen
//! instead. What oracles call healed is the second step.

mod asker;

use std::time::Duration;

use quorate_check::history::Settled;
use quorate_check::types::{Nanos, Revision};
use quorate_check::verdict::Class;
use quorate_disk::Crash;

use self::asker::{Asker, Demand};
use crate::client::Ways;
use crate::plan::MemberIndex;
use crate::world::World;
use crate::world::product::Status;

/// How long the next events of a watch may be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);
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
    within: Duration,
}

impl Settle {
    /// The end of this world's run.
    pub fn new(world: World, ways: &Ways) -> Settle {
        let askers = world.plan().clients.iter().map(|client| Asker::new(&world, ways, client.id)).collect();
        let within = Duration::from_millis(world.plan().knobs.settle_ms);
        Settle { world, askers, within }
    }

    /// Goes through all steps. Findings go to the record.
    pub async fn run(mut self) {
        if !self.world.plan().ending.broken.is_empty() && !self.heal_a_quorum().await {
            return;
        }
        let healed = self.world.time().now();
        self.world.heal();
        let when = "after everything was healed";
        if !self.all_converge(when).await || !self.demand_of_all(&[Demand::Write, Demand::Read], when).await {
            return;
        }
        self.restart_all();
        let when = "after all members were started again";
        if !self.all_converge(when).await || !self.demand_of_all(&[Demand::Read], when).await {
            return;
        }
        self.world.check_member_list();
        if self.world.switch_on_the_removed()
            && !self.all_converge("after removed members were switched on").await
        {
            return;
        }
        let at = self.world.time().now();
        let revision = self.world.record().newest_revision();
        self.world.record().settled(Settled { healed, at, revision });
        self.watches_come_to_rest(at, revision).await;
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
        let lives = self.demand(&[Demand::Write, Demand::Read], &quorum, ending.writes, &when).await
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

    /// What is demanded of all who vote; a learner answers no client.
    async fn demand_of_all(&mut self, demands: &[Demand], when: &str) -> bool {
        self.demand(demands, &self.world.voting(), 0, when).await
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
                let mut seen = shown(members, &statuses);
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

    /// All clients at once: each gets what is demanded from these members, asked in turn, one thing after the other.
    /// With `writes`, each writes on for a while after its first.
    async fn demand(&mut self, demands: &[Demand], members: &[MemberIndex], writes: u64, when: &str) -> bool {
        let mut asking = Vec::new();
        for (nth, mut asker) in std::mem::take(&mut self.askers).into_iter().enumerate() {
            let turn = nth.checked_rem(members.len()).unwrap_or(0);
            let members = [members.get(turn..), members.get(..turn)].into_iter().flatten().flatten();
            let members: Vec<MemberIndex> = members.copied().collect();
            let (world, within, when) = (self.world.clone(), self.within, when.to_owned());
            let demands = demands.to_vec();
            asking.push(asker.host().spawn(async move {
                for demand in demands {
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

    /// Kills all members and starts them: what they answer then comes from their disks.
    fn restart_all(&self) {
        let members = self.world.seated();
        for member in &members {
            self.world.hold(*member, Crash::Kill, LAST_CRASH);
        }
        for member in &members {
            self.world.release(*member);
        }
    }
}

fn agree(statuses: &[(MemberIndex, Status)], members: usize) -> bool {
    let Some((_, first)) = statuses.first() else { return false };
    statuses.len() == members
        && statuses.iter().all(|(_, status)| status.hash == first.hash && status.leader.is_some())
}

fn shown(members: &[MemberIndex], statuses: &[(MemberIndex, Status)]) -> String {
    let shown = members.iter().map(|index| {
        let Some((_, status)) = statuses.iter().find(|(seen, _)| seen == index) else {
            return format!("{index} is not up");
        };
        let at = status.hash.0.map_or("nothing".to_owned(), |at| at.to_string());
        let leader = status.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
        format!("{index} applied {at} and follows {leader}")
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
