//! The simulated world: members on their nodes, the network between them, their disks and clocks.
//!
//! `product` the product's entry points, all in one place; `life` starts and ends of members; `clock`, `entropy`,
//! `workers`, `process`, `disk` the seams that a member gets; `network` links and weather, `links` the plan's part
//! in them; `faults` what a plan does to all of it; `atlas` damaged and full disks; `repair` members that have themselves taken back; `tenant` who sits where, `operator`
//! who changes that; `monitor` what is looked at all the time; `timeline` what of that is written down for people;
//! `witness` what members' logs and machines tell.
//!
//! Invariants: a member's disk is fenced before its node is killed, and its node is killed before it starts
//! again; no lock is held across an await or while a member is dropped.

mod atlas;
mod changes;
mod clock;
mod disk;
mod entropy;
mod faults;
mod life;
pub mod links;
mod monitor;
pub mod network;
mod operator;
mod parting;
mod process;
pub mod product;
mod repair;
mod tenant;
mod time;
mod timeline;
pub mod witness;
mod workers;
mod workshop;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::runtime::{Handle, NodeHandle};
use madsim::task::NodeId;
use quorate_check::types::{ClientId, MemberId, Nanos};
use quorate_check::verdict::Class;
use quorate_disk::SimDisk;

use crate::plan::{MemberIndex, Plan};
use crate::record::Record;
use crate::report::Finding;

pub use time::Time;

use tenant::{Standing, Tenant};

/// A simulated world. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
}

struct Inner {
    plan: Plan,
    record: Arc<Record>,
    handle: Handle,
    time: Time,
    /// The node that faults, clients and the monitor run on; it never dies.
    supervisor: NodeHandle,
    network: network::Network,
    seats: Vec<Seat>,
    client_hosts: Mutex<BTreeMap<ClientId, NodeHandle>>,
    monitor: Mutex<monitor::Seen>,
    heard: Mutex<witness::Heard>,
    /// Deaths that wait for their moment.
    waiting: Mutex<Vec<faults::edge::Waiting>>,
    /// Ambushes that nobody has come to yet.
    ambushes: Mutex<Vec<faults::ambush::Laid>>,
    /// What operators know of the members that they have changed.
    operators: operator::Operators,
    /// Who was made to part from the others.
    parting: Mutex<parting::Parting>,
    /// The time of faults is over.
    healed: AtomicBool,
}

/// One member's place: what outlives its processes.
struct Seat {
    index: MemberIndex,
    node: NodeId,
    tenant: Mutex<Tenant>,
    clock: Arc<clock::HostClock>,
    disk: SimDisk,
    state: Mutex<life::Life>,
}

impl Seat {
    fn tenant(&self) -> MutexGuard<'_, Tenant> {
        self.tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who sits here, or sat here last.
    fn id(&self) -> MemberId {
        self.tenant().id
    }

    fn life(&self) -> MutexGuard<'_, life::Life> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Builds the world of a plan inside a running simulation. No member runs yet.
    pub fn new(plan: Plan, record: Arc<Record>) -> World {
        let handle = Handle::current();
        let time = Time::current();
        let supervisor = handle.create_node().name("supervisor").build();
        let mut seats = Vec::new();
        for (number, member) in (0_u8..).zip(&plan.members) {
            let index = MemberIndex(number);
            let address = product::own_address(index);
            let node = handle.create_node().name(index.to_string()).ip(address.into()).build();
            seats.push(Seat {
                index,
                node: node.id(),
                tenant: Mutex::new(Tenant::first(&plan, index)),
                clock: Arc::new(clock::HostClock::new(time.clone(), *member)),
                disk: disk::build(&plan, index),
                state: Mutex::default(),
            });
        }
        let network = links::build(&plan, &record, &time);
        for seat in &seats {
            let (public, own) = (product::public_address(seat.index), product::own_address(seat.index));
            let ports = [product::PEER_PORT, product::CLIENT_PORT];
            network.add_member(&handle, &seat.index.to_string(), public, own, &ports);
        }
        let inner = Inner {
            plan,
            record,
            handle,
            time,
            supervisor,
            network,
            seats,
            client_hosts: Mutex::default(),
            monitor: Mutex::default(),
            heard: Mutex::default(),
            waiting: Mutex::default(),
            ambushes: Mutex::default(),
            operators: operator::Operators::default(),
            parting: Mutex::default(),
            healed: AtomicBool::new(false),
        };
        let world = World { inner: Arc::new(inner) };
        for seat in &world.inner.seats {
            disk::watch(&world, seat);
        }
        world
    }

    /// The plan that the world was built for.
    pub fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// Simulated time.
    pub fn time(&self) -> &Time {
        &self.inner.time
    }

    /// Where everything is written down.
    pub fn record(&self) -> &Arc<Record> {
        &self.inner.record
    }

    /// The node that never dies.
    pub fn supervisor(&self) -> &NodeHandle {
        &self.inner.supervisor
    }

    /// The network.
    pub fn network(&self) -> &network::Network {
        &self.inner.network
    }

    /// The id of the member in this place, or of the one that was there last.
    pub fn member_id(&self, index: MemberIndex) -> MemberId {
        self.seat(index).id()
    }

    /// Counts the members that were in this place.
    fn generation(&self, index: MemberIndex) -> u32 {
        self.seat(index).tenant().generation
    }

    /// The places that hold a member of the cluster, up or down.
    pub fn seated(&self) -> Vec<MemberIndex> {
        let seated = self.inner.seats.iter().filter(|seat| seat.tenant().standing == Standing::Member);
        seated.map(|seat| seat.index).collect()
    }

    /// The places of members that vote, as far as is known; of all of them, when nothing is.
    pub fn voting(&self) -> Vec<MemberIndex> {
        let learners: Vec<MemberId> = self.learners();
        self.seated().into_iter().filter(|index| !learners.contains(&self.member_id(*index))).collect()
    }

    /// The members' places.
    pub fn members(&self) -> impl Iterator<Item = MemberIndex> + '_ {
        self.inner.seats.iter().map(|seat| seat.index)
    }

    fn now(&self) -> Nanos {
        self.inner.time.now()
    }

    fn seat(&self, index: MemberIndex) -> &Seat {
        let seat = self.inner.seats.get(usize::from(index.0));
        #[expect(clippy::expect_used, reason = "plans are checked before they run")]
        seat.expect("a plan names only members that it has")
    }

    fn monitor(&self) -> MutexGuard<'_, monitor::Seen> {
        self.inner.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<faults::edge::Waiting>> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ambushes(&self) -> MutexGuard<'_, Vec<faults::ambush::Laid>> {
        self.inner.ambushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down something that is wrong.
    pub fn finding(&self, class: Class, by: &str, sentence: impl Into<String>) {
        self.inner.record.finding(self.now(), Finding::new(class, by, sentence));
    }
}
