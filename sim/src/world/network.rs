//! Links and weather. Cuts and windows may overlap: a link opens when its last cut has ended, and the weather is
//! the worst of all windows that are open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::net::NetSim;
use madsim::task::NodeId;

use crate::plan::{Knobs, MemberIndex, Span};

/// A window of bad weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Messages lost of a thousand.
    Loss(u64),
    /// How long messages take, microseconds.
    Delay(Span),
}

/// A link, from one member to another.
pub(super) type Link = (MemberIndex, MemberIndex);

/// The network between members.
pub(super) struct Network {
    sim: Arc<NetSim>,
    nodes: Vec<NodeId>,
    knobs: Knobs,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cuts: BTreeMap<Link, u32>,
    windows: BTreeMap<u64, Weather>,
}

impl Network {
    pub(super) fn new(nodes: Vec<NodeId>, knobs: Knobs) -> Network {
        let network = Network { sim: NetSim::current(), nodes, knobs, state: Mutex::default() };
        network.apply(&network.state());
        network
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes_of(&self, (from, to): Link) -> Option<(NodeId, NodeId)> {
        let node = |index: MemberIndex| self.nodes.get(usize::from(index.0)).copied();
        node(from).zip(node(to))
    }

    /// Cuts these links.
    pub(super) fn cut(&self, links: &[Link]) {
        let mut state = self.state();
        for link in links {
            let cuts = state.cuts.entry(*link).or_default();
            *cuts += 1;
            if let (1, Some((from, to))) = (*cuts, self.nodes_of(*link)) {
                self.sim.clog_link(from, to);
            }
        }
    }

    /// Takes one cut of each of these links back.
    pub(super) fn mend(&self, links: &[Link]) {
        let mut state = self.state();
        for link in links {
            let Some(cuts) = state.cuts.get_mut(link) else { continue };
            *cuts -= 1;
            if *cuts == 0 {
                state.cuts.remove(link);
                if let Some((from, to)) = self.nodes_of(*link) {
                    self.sim.unclog_link(from, to);
                }
            }
        }
    }

    /// Opens a window of weather.
    pub(super) fn open_window(&self, id: u64, weather: Weather) {
        let mut state = self.state();
        state.windows.insert(id, weather);
        self.apply(&state);
    }

    /// Closes it.
    pub(super) fn close_window(&self, id: u64) {
        let mut state = self.state();
        state.windows.remove(&id);
        self.apply(&state);
    }

    /// Mends every link and ends all bad weather, the base loss included.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        for link in std::mem::take(&mut state.cuts).into_keys() {
            if let Some((from, to)) = self.nodes_of(link) {
                self.sim.unclog_link(from, to);
            }
        }
        state.windows.clear();
        self.apply(&state);
        self.sim.update_config(|config| config.packet_loss_rate = 0.0);
    }

    /// Messages that were sent so far.
    pub(super) fn messages(&self) -> u64 {
        self.sim.stat().msg_count
    }

    fn apply(&self, state: &State) {
        let mut permille = self.knobs.loss_permille;
        let mut latency = self.knobs.latency_us;
        for weather in state.windows.values() {
            match weather {
                Weather::Loss(more) => permille = permille.max(*more),
                Weather::Delay(span) if span.most > latency.most => latency = *span,
                Weather::Delay(_) => {}
            }
        }
        let permille = u32::try_from(permille.min(1000)).unwrap_or(1000);
        let least = Duration::from_micros(latency.least.min(latency.most));
        // The range that the network draws from must hold something.
        let most = Duration::from_micros(latency.most.max(latency.least + 1));
        self.sim.update_config(|config| {
            config.packet_loss_rate = f64::from(permille) / 1000.0;
            config.send_latency = least..most;
        });
    }
}
