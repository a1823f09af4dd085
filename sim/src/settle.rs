//! The end of a run: heal everything and demand that the cluster comes to rest, answers every client, and comes
//! back the same from its disks.
//!
//! All waits are bounded; what has not come by then is a liveness violation, which says what was seen instead.

use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{Range, Request, Settled};
use quorate_check::types::{Nanos, OpId};
use quorate_check::verdict::Class;
use quorate_disk::Crash;

use crate::client::{Session, Ways};
use crate::plan::operation::{OPS_PER_CLIENT, op_id};
use crate::plan::{ClientPlan, MemberIndex};
use crate::world::World;
use crate::world::product::Status;

/// How long all members may take to stand at one entry with one hash.
const CONVERGE_WITHIN: Duration = Duration::from_secs(60);
/// How long a client's last read may take, all attempts together.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How long one attempt of it may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last events of watches may be under way.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How often members are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Looks in a row that must agree.
const AGREEING_LOOKS: u32 = 3;
/// Keys the crash of all members at the end.
const LAST_CRASH: u64 = u64::MAX >> 1;

/// The end of a run.
pub struct Settle {
    world: World,
    ways: Ways,
}

impl Settle {
    /// The end of this world's run.
    pub fn new(world: World, ways: Ways) -> Settle {
        Settle { world, ways }
    }

    /// Heals, waits, reads, restarts everybody, waits and reads again. Findings go to the record.
    pub async fn run(&self) {
        let healed = self.world.time().now();
        self.world.heal();
        if !self.converge("after everything was healed").await || !self.last_reads(0).await {
            return;
        }
        self.restart_all();
        if !self.converge("after all members were started again").await || !self.last_reads(1).await {
            return;
        }
        self.world.check_member_list();
        let at = self.world.time().now();
        let revision = self.world.record().newest_revision();
        self.world.record().settled(Settled { healed, at, revision });
        // What watches were sent by then is under way for a little longer.
        self.world.time().sleep(UNDER_WAY).await;
    }

    /// Waits until every member runs, knows a leader, and all stand at one entry with one hash for a while.
    async fn converge(&self, when: &str) -> bool {
        let time = self.world.time();
        let deadline = time.now().0 + nanos(CONVERGE_WITHIN);
        let mut agreeing = 0;
        while !self.world.record().is_over() {
            self.world.look();
            let statuses = self.world.statuses();
            agreeing = if self.agree(&statuses) { agreeing + 1 } else { 0 };
            if agreeing >= AGREEING_LOOKS {
                return true;
            }
            if time.now().0 >= deadline {
                let seen = self.shown(&statuses);
                let within = CONVERGE_WITHIN.as_secs();
                let sentence =
                    format!("the members did not come to one state within {within} s {when}: {seen}");
                self.world.finding(Class::Liveness, "settle", sentence);
                return false;
            }
            time.sleep(LOOK_INTERVAL).await;
        }
        false
    }

    fn agree(&self, statuses: &[(MemberIndex, Status)]) -> bool {
        let seated = self.world.seated();
        let of_members: Vec<&Status> =
            statuses.iter().filter(|(index, _)| seated.contains(index)).map(|(_, status)| status).collect();
        let Some(first) = of_members.first() else { return false };
        of_members.len() == seated.len()
            && of_members.iter().all(|status| status.hash == first.hash && status.leader.is_some())
            && self.world.outstaying().is_empty()
            && self.world.voters_are_listed()
    }

    fn shown(&self, statuses: &[(MemberIndex, Status)]) -> String {
        let shown = self.world.seated().into_iter().chain(self.world.outstaying()).map(|index| {
            let Some((_, status)) = statuses.iter().find(|(seen, _)| *seen == index) else {
                return format!("{index} is not up");
            };
            let at = status.hash.0.map_or("nothing".to_owned(), |at| at.to_string());
            let leader = status.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
            let unfinished = if self.world.voters_are_listed() { "" } else { ", voters are not as listed" };
            format!("{index} applied {at} and follows {leader}{unfinished}")
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Every client reads everything, each from another member first; `round` keeps the names apart.
    async fn last_reads(&self, round: u64) -> bool {
        let mut all = true;
        // A learner answers no such read.
        let seated = self.world.voting();
        for (nth, client) in self.world.plan().clients.iter().enumerate() {
            let first = nth.checked_rem(seated.len()).and_then(|nth| seated.get(nth)).copied();
            all &= self.last_read(client, first.unwrap_or_default(), round).await;
        }
        all
    }

    async fn last_read(&self, client: &ClientPlan, first: MemberIndex, round: u64) -> bool {
        let (client, world, api) = (client.clone(), self.world.clone(), self.ways.api());
        let reading = self.ways.host(client.id).spawn(async move {
            let (time, record) = (world.time(), world.record());
            let mut session = Session::new(client.id, api, record.clone(), time.clone());
            let everything = Bytes::from(&b"\0"[..]);
            let range = Range { key: everything.clone(), range_end: everything, ..Range::default() };
            let deadline = Nanos(time.now().0 + nanos(READ_WITHIN));
            for attempt in 0.. {
                let ask = Request::Range(range.clone());
                if session.ask(name(&client, round, attempt), first, READ_TIMEOUT, ask).await {
                    return true;
                }
                if time.now() >= deadline || record.is_over() {
                    break;
                }
                time.sleep(LOOK_INTERVAL).await;
            }
            let within = READ_WITHIN.as_secs();
            let sentence =
                format!("{} could read nothing from {first} within {within} s after healing", client.id);
            world.finding(Class::Liveness, "settle", sentence);
            false
        });
        reading.await.unwrap_or(false)
    }

    /// Kills all members and starts them: what they answer then comes from their disks.
    fn restart_all(&self) {
        let members: Vec<MemberIndex> = self.world.seated();
        for member in &members {
            self.world.hold(*member, Crash::Kill, LAST_CRASH);
        }
        for member in &members {
            self.world.release(*member);
        }
    }
}

/// Names beyond those of planned operations: the last thousand of the client's.
fn name(client: &ClientPlan, round: u64, attempt: u64) -> OpId {
    op_id(client.id, OPS_PER_CLIENT - 1000 + round * 500 + attempt.min(499))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
