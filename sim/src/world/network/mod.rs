//! The network: every message between two hosts passes through it, and arrives when and if it says so.
//!
//! The simulator's own network draws latency and loss of all links from one stream, by one setting for all. This
//! one stands in its place, with nothing in the product: a member's public address belongs to a host of the
//! network, a relay, which carries each call to the address where the member listens. What a message meets is
//! drawn by key ([`crate::net::chance`]), under the conditions of its link ([`crate::net::weather`]).
//!
//! Rules: the messages of a call arrive in order, those of different calls may overtake each other; what is lost is
//! sent again, later; a cut holds messages back and breaks nothing; a reset breaks every call of a link at once,
//! whatever was under way; a dead member refuses. A link has a direction, and opens when its last cut has ended.

mod copies;
mod relay;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::net::Payload;
use madsim::runtime::Handle;
use quorate_check::types::Nanos;
use tokio::sync::{Notify, oneshot};

pub use self::relay::REFUSED;
use self::relay::{Opening, Relay};
use super::time::Time;
use crate::net::Link;
use crate::net::chance::{Chances, key_of};
use crate::net::weather::{Conditions, Scope, Sky, Weather};

/// A call of a client may carry a name under this metadata key; its chances then depend on the name, and not on how
/// many calls came before.
pub const CALL_NAME: &str = "quorate-sim-call";

/// A message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// Over which link.
    pub link: Link,
    /// In which call.
    pub call: u64,
    /// Which of the call's messages in this direction.
    pub number: u64,
}

/// Is told of every delivery.
pub type Observe = Box<dyn Fn(Nanos, Delivery) + Send + Sync>;

/// The network. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    seed: u64,
    time: Time,
    observe: Observe,
    state: Mutex<State>,
    /// A link has opened.
    opened: Notify,
    /// Everything was healed.
    healed: Notify,
}

struct State {
    sky: Sky,
    cuts: BTreeMap<Link, u32>,
    /// The public address of each member's own host.
    members: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Calls so far, by link and path.
    counts: BTreeMap<(Link, u64), u64>,
    /// Calls under way, with what breaks them.
    calls: BTreeMap<u64, (Link, oneshot::Sender<()>)>,
    next_call: u64,
    messages: u64,
    /// The time of faults is over.
    healed: bool,
    /// Links for which it is not.
    bad: BTreeSet<Link>,
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
struct Call {
    id: u64,
    link: Link,
    chances: Chances,
}

/// A host's address; hosts of the simulation have no other kind.
fn host(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

impl Network {
    /// A network without hosts. `seed` keys every chance.
    pub fn new(seed: u64, time: Time, sky: Sky, observe: Observe) -> Network {
        let state = State {
            sky,
            cuts: BTreeMap::new(),
            members: BTreeMap::new(),
            counts: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            messages: 0,
            healed: false,
            bad: BTreeSet::new(),
        };
        let inner = Inner {
            seed,
            time,
            observe,
            state: Mutex::new(state),
            opened: Notify::new(),
            healed: Notify::new(),
        };
        Network { inner: Arc::new(inner) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a member: what is sent to these ports of its `public` address is carried to the same ports of its `own`.
    pub fn add_member(&self, handle: &Handle, name: &str, public: Ipv4Addr, own: Ipv4Addr, ports: &[u16]) {
        self.state().members.insert(own, public);
        let node = handle.create_node().name(format!("network of {name}")).ip(public.into()).build();
        for port in ports {
            let (outside, inside) =
                (SocketAddr::new(public.into(), *port), SocketAddr::new(own.into(), *port));
            let network = self.clone();
            node.spawn(async move { Relay::serve(network, outside, inside).await });
        }
    }

    /// Cuts these links.
    pub fn cut(&self, links: &[Link]) {
        let mut state = self.state();
        for link in links {
            *state.cuts.entry(*link).or_default() += 1;
        }
    }

    /// Takes one cut of each of these links back.
    pub fn mend(&self, links: &[Link]) {
        {
            let mut state = self.state();
            for link in links {
                let Some(cuts) = state.cuts.get_mut(link) else { continue };
                *cuts -= 1;
                if *cuts == 0 {
                    state.cuts.remove(link);
                }
            }
        }
        self.inner.opened.notify_waiters();
    }

    /// Opens a window of weather.
    pub fn open_window(&self, id: u64, scope: Scope, weather: Weather) {
        self.state().sky.open(id, scope, weather);
    }

    /// Closes it.
    pub fn close_window(&self, id: u64) {
        self.state().sky.close(id);
    }

    /// Breaks every call between the ends of these links, whoever made it.
    pub fn reset(&self, links: &[Link]) {
        let broken: Vec<oneshot::Sender<()>> = {
            let mut state = self.state();
            let struck = |link: &Link| links.contains(link) || links.contains(&link.back());
            let ids: Vec<u64> =
                state.calls.iter().filter(|(_, (link, _))| struck(link)).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| state.calls.remove(id)).map(|(_, reset)| reset).collect()
        };
        for reset in broken {
            // A call that has just ended needs no breaking.
            let _ = reset.send(());
        }
    }

    /// Mends every link and ends all bad weather, the base loss included. What was lost before is soon sent again, but
    /// not over the links in `bad`, which are to be broken anew.
    pub fn heal(&self, bad: BTreeSet<Link>) {
        {
            let mut state = self.state();
            state.cuts.clear();
            state.sky.clear();
            state.healed = true;
            state.bad = bad;
        }
        self.inner.opened.notify_waiters();
        self.inner.healed.notify_waiters();
    }

    /// Messages that arrived so far.
    pub fn messages(&self) -> u64 {
        self.state().messages
    }

    /// A call begins; also what resolves when it is broken.
    fn begin(&self, from: IpAddr, to: IpAddr, first: &Payload) -> (Call, Opening, oneshot::Receiver<()>) {
        let opening = Opening::of(first);
        let (reset, broken) = oneshot::channel();
        let mut state = self.state();
        let from = host(from);
        let link = Link { from: state.members.get(&from).copied().unwrap_or(from), to: host(to) };
        let nth = match &opening.name {
            Some(name) => key_of(name),
            None => {
                let count = state.counts.entry((link, key_of(&opening.path))).or_default();
                *count += 1;
                *count
            }
        };
        let id = state.next_call;
        state.next_call += 1;
        state.calls.insert(id, (link, reset));
        let chances = Chances::new(self.inner.seed, link, &opening.path, nth);
        (Call { id, link, chances }, opening, broken)
    }

    fn end(&self, call: Call) {
        self.state().calls.remove(&call.id);
    }

    fn conditions(&self, link: Link) -> Conditions {
        let state = self.state();
        let is_member = |host| state.members.values().any(|public| *public == host);
        state.sky.over(link, is_member(link.from) && is_member(link.to))
    }

    fn is_cut(&self, link: Link) -> bool {
        self.state().cuts.contains_key(&link)
    }

    /// Waits until the link is there; true when it was not.
    async fn opened(&self, link: Link) -> bool {
        let mut waited = false;
        loop {
            // Listening begins before the look, so that no change is missed.
            let opened = self.inner.opened.notified();
            if !self.is_cut(link) {
                return waited;
            }
            waited = true;
            opened.await;
        }
    }

    /// Completes when this link was healed for good; at once if that is so.
    async fn healed(&self, link: Link) {
        loop {
            // Listening begins before the look, so that the change is not missed.
            let healed = self.inner.healed.notified();
            {
                let state = self.state();
                if state.healed && !state.bad.contains(&link) {
                    return;
                }
            }
            healed.await;
        }
    }

    fn delivered(&self, call: Call, link: Link, number: u64) {
        self.state().messages += 1;
        (self.inner.observe)(self.inner.time.now(), Delivery { link, call: call.id, number });
    }
}
