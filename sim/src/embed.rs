//! A simulated Quorate cluster inside somebody else's simulation.
//!
//! A project that tests itself under madsim starts a [`Cluster`] in its own simulation, lets its own code talk to it
//! through tonic clients, and breaks the cluster as it likes. The members are the product's own code on simulated
//! disks that lose what was not synced; their clocks are their own, too.
//!
//! ```no_run
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_sim::embed::{Cluster, pb};
//!
//! let cluster = Cluster::builder().members(3).start().await?;
//! let mut kv = pb::kv_client::KvClient::connect(cluster.endpoint(0)).await?;
//! cluster.kill(1);
//! kv.put(pb::PutRequest { key: "a".into(), value: "1".into(), ..Default::default() }).await?;
//! cluster.restart(1);
//! assert_eq!(cluster.findings(), [""; 0]);
//! # Ok(())
//! # }
//! ```
//!
//! Rules: calls must come from a madsim node with an IP address (`Handle::create_node().ip(..)`), for the network
//! knows hosts by theirs. The cluster takes the addresses `10.77.0.0/16`, so there is one a simulation. What the
//! simulation's own network settings do to messages, they do to the cluster's as well. The seed of everything is
//! the simulation's, so a seed of yours replays the cluster too; exactly so only as the first simulation
//! of its process, because some of what async code depends on counts for the whole process.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate::env::armed;
use quorate_disk::Crash;

use crate::mutants;
use crate::net::Link;
use crate::net::cuts::{Pair, between};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::Direction;
use crate::plan::{ClientPath, Ending, Knobs, MemberIndex, MemberPlan, Plan, Span, VERSION};
use crate::record::Record;
use crate::trace::Trace;
use crate::world::{World, product};

/// The client API's messages and tonic clients.
pub use quorate::pb::etcdserverpb as pb;
/// The pairs and events that the messages hold.
pub use quorate::pb::mvccpb;

/// The most members that a cluster may have.
pub const MEMBERS_MAX: u8 = 9;
/// How often a starting cluster is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Arms one of the bugs that `cargo sim mutants` lists, for as long as this process lives: a test that passes all the same
/// would not notice it. False when no bug has this name, or one is armed already.
pub fn plant_bug(name: &str) -> bool {
    mutants::find(name).is_some() && armed::arm_mutant(name)
}

/// A cluster did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// So many members cannot form a cluster.
    #[error("{0} members: a cluster has from 1 to {MEMBERS_MAX}")]
    Members(u8),
    /// A member ended by itself.
    #[error("{0}")]
    Member(String),
    /// There is no leader that all members follow.
    #[error("no leader after {0:?}")]
    NoLeader(Duration),
}

/// What a cluster is to be like. Made by [`Cluster::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    members: u8,
    election: Duration,
    start_within: Duration,
}

impl Builder {
    /// How many members: 3 unless said otherwise.
    pub fn members(mut self, members: u8) -> Builder {
        self.members = members;
        self
    }

    /// How long followers bear a leader's silence: 500 ms of simulated time unless said otherwise.
    pub fn election_timeout(mut self, election: Duration) -> Builder {
        self.election = election;
        self
    }

    /// How long the start may take: 30 s of simulated time unless said otherwise.
    pub fn start_within(mut self, limit: Duration) -> Builder {
        self.start_within = limit;
        self
    }

    /// Starts the members, and waits until all of them follow one leader.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Panics
    /// Outside a simulation; when another cluster runs in this one.
    pub async fn start(self) -> Result<Cluster, StartError> {
        if !(1..=MEMBERS_MAX).contains(&self.members) {
            return Err(StartError::Members(self.members));
        }
        let world = World::new(
            self.plan(madsim::runtime::Handle::current().seed()),
            Arc::new(Record::new(Trace::default())),
        );
        let cluster = Cluster { world, down: Mutex::default() };
        cluster.world.start_witness();
        cluster.world.start_all();
        cluster.world.start_monitor();
        let deadline = cluster.world.time().elapsed() + self.start_within;
        while !cluster.is_ready() {
            if let Some(finding) = cluster.findings().into_iter().next() {
                return Err(StartError::Member(finding));
            }
            if cluster.world.time().elapsed() >= deadline {
                return Err(StartError::NoLeader(self.start_within));
            }
            cluster.world.time().sleep(LOOK_INTERVAL).await;
        }
        Ok(cluster)
    }

    /// A plan that does nothing by itself: no clients, no faults, a fair network.
    fn plan(&self, seed: u64) -> Plan {
        let election_ms = u64::try_from(self.election.as_millis()).unwrap_or(u64::MAX).max(100);
        Plan {
            version: VERSION,
            seed,
            schedule_seed: Dice::keyed(seed, Purpose::Schedule, 0).bits(),
            duration_ms: 0,
            founders: None,
            members: vec![MemberPlan::default(); usize::from(self.members)],
            knobs: Knobs {
                heartbeat_ms: election_ms / 5,
                election_ms,
                wal_segment_bytes: 1 << 20,
                snapshot_entries: 1_000,
                snapshot_wal_bytes: 4 << 20,
                keep_entries: 500,
                latency_us: Span::new(100, 1_000),
                client_latency_us: Span::new(100, 1_000),
                disk_sync_us: Span::new(100, 1_500),
                settle_ms: 0,
                ..Knobs::default()
            },
            focus: None,
            families: BTreeSet::new(),
            client_path: ClientPath::Wire,
            observer_path: ClientPath::Wire,
            clients: Vec::new(),
            faults: Vec::new(),
            ending: Ending::default(),
        }
    }
}

/// A running cluster. Members are named by number, from 0. When it is dropped, its members are killed.
///
/// # Panics
/// Every method that takes a member panics when there is none of this number.
pub struct Cluster {
    world: World,
    /// Members that were killed and not started again.
    down: Mutex<BTreeSet<u8>>,
}

impl Cluster {
    /// Begins to describe a cluster.
    pub fn builder() -> Builder {
        Builder { members: 3, election: Duration::from_millis(500), start_within: Duration::from_secs(30) }
    }

    /// How many members there are.
    pub fn members(&self) -> u8 {
        u8::try_from(self.world.plan().members.len()).unwrap_or(u8::MAX)
    }

    fn index(&self, member: u8) -> MemberIndex {
        assert!(member < self.members(), "the cluster has no member {member}");
        MemberIndex(member)
    }

    /// Where a member's clients reach it, as a URL.
    pub fn endpoint(&self, member: u8) -> String {
        product::client_url(self.index(member))
    }

    /// Where each member's clients reach it, as URLs.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members()).map(|member| self.endpoint(member)).collect()
    }

    /// Who leads, as far as can be seen; of several that believe so, the one with the newest term.
    pub fn leader(&self) -> Option<u8> {
        self.world.leader().map(|index| index.0)
    }

    /// Whether all members run and follow one leader.
    pub fn is_ready(&self) -> bool {
        let statuses = self.world.statuses();
        let leader = statuses.first().and_then(|(_, status)| status.leader);
        statuses.len() == usize::from(self.members())
            && leader.is_some()
            && statuses.iter().all(|(_, status)| status.leader == leader)
    }

    /// Waits until [`Cluster::is_ready`]; false when it is not within `limit`.
    pub async fn ready_within(&self, limit: Duration) -> bool {
        let deadline = self.world.time().elapsed() + limit;
        while !self.is_ready() {
            if self.world.time().elapsed() >= deadline {
                return false;
            }
            self.world.time().sleep(LOOK_INTERVAL).await;
        }
        true
    }

    /// Kills a member's process: what it has written stays, though not all of it may be durable.
    pub fn kill(&self, member: u8) {
        self.crash(member, Crash::Kill);
    }

    /// Takes the power from a member's machine: what it has written and not synced is kept, lost or torn.
    pub fn power_loss(&self, member: u8) {
        self.crash(member, Crash::PowerLoss);
    }

    fn crash(&self, member: u8, crash: Crash) {
        let index = self.index(member);
        // What a crash leaves is drawn by member and moment.
        let event = u64::try_from(self.world.time().elapsed().as_nanos()).unwrap_or(u64::MAX);
        let first = self.down.lock().unwrap_or_else(PoisonError::into_inner).insert(member);
        if first {
            self.world.hold(index, crash, event);
        } else {
            self.world.crash_again(index, crash, event);
        }
    }

    /// Starts a member that was killed or has lost its power; does nothing when it runs.
    pub fn restart(&self, member: u8) {
        let index = self.index(member);
        let was_down = self.down.lock().unwrap_or_else(PoisonError::into_inner).remove(&member);
        if was_down {
            self.world.release(index);
        }
    }

    /// Lets a member's process stand still, until [`Cluster::resume`].
    pub fn pause(&self, member: u8) {
        self.world.pause(self.index(member));
    }

    /// Takes one [`Cluster::pause`] back.
    pub fn resume(&self, member: u8) {
        self.world.resume(self.index(member));
    }

    /// Cuts these members off from the others, both ways, until [`Cluster::heal`]. Clients still reach all of them.
    pub fn partition(&self, side: &[u8]) {
        let side: BTreeSet<MemberIndex> = side.iter().map(|member| self.index(*member)).collect();
        let members: Vec<MemberIndex> = self.world.members().collect();
        self.cut_pairs(&between(&members, Direction::Both, |index| side.contains(&index)));
    }

    /// Cuts the link from one member to another, this way alone, until [`Cluster::heal`].
    pub fn cut(&self, from: u8, to: u8) {
        self.cut_pairs(&[(self.index(from), self.index(to))]);
    }

    fn cut_pairs(&self, pairs: &[Pair]) {
        self.world.network().cut(&World::links(pairs));
    }

    /// Cuts a host of yours off from a member, both ways, until [`Cluster::heal`]. IPv6 hosts cannot be named.
    pub fn cut_host(&self, host: Ipv4Addr, member: u8) {
        let link = self.link_of(host, member);
        self.world.network().cut(&[link, link.back()]);
    }

    /// Breaks every call that a host of yours has under way at a member.
    pub fn reset_host(&self, host: Ipv4Addr, member: u8) {
        self.world.network().reset(&[self.link_of(host, member)]);
    }

    fn link_of(&self, host: Ipv4Addr, member: u8) -> Link {
        Link { from: host, to: product::public_address(self.index(member)) }
    }

    /// Mends every link. Members that are down or paused stay so.
    pub fn heal(&self) {
        self.world.network().heal(BTreeSet::new());
    }

    /// What the simulator holds against the cluster: members that ended by themselves, states that differ at one
    /// entry, and whatever breaks an invariant of Raft. Empty, or the product has a bug.
    pub fn findings(&self) -> Vec<String> {
        self.world.look();
        self.world.record().findings().into_iter().map(|finding| finding.sentence).collect()
    }

    /// The hosts that the cluster takes up: no node of yours may have one of these addresses.
    pub fn is_taken(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if matches!(address.octets(), [10, 77, ..]))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if madsim::time::TimeHandle::try_current().is_some() {
            for member in 0..self.members() {
                self.kill(member);
            }
        }
        self.world.stop_witness();
    }
}
