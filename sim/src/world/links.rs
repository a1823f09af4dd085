//! The plan's part in the network: base conditions, hosts of clients, and links named by members.
//!
//! In a run of its own, the simulator's network is set to carry everything at once and lose nothing: what happens
//! to a message is the business of [`super::network`] alone.

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use madsim::net::NetSim;
use madsim::runtime::NodeHandle;
use quorate_check::types::ClientId;

use super::network::{Delivery, Network};
use super::time::Time;
use super::{World, product};
use crate::net::Link;
use crate::net::cuts::Pair;
use crate::net::weather::{Conditions, Sky};
use crate::plan::{MemberIndex, Plan};
use crate::record::Record;

/// The network of a plan.
pub(super) fn build(plan: &Plan, record: &Arc<Record>, time: &Time) -> Network {
    let knobs = &plan.knobs;
    let between_members = Conditions::new(knobs.latency_us, knobs.loss_permille);
    let to_clients = Conditions::new(knobs.client_latency_us, knobs.loss_permille);
    let record = record.clone();
    let observe = Box::new(move |at, delivery: Delivery| {
        let Delivery { link, call, number } = delivery;
        record.event(at, &("deliver", delivery), format_args!("deliver {link} {call}.{number}"));
    });
    Network::new(plan.schedule_seed, time.clone(), Sky::new(between_members, to_clients), observe)
}

/// The host of a client of the plan.
pub fn client_address(client: ClientId) -> Ipv4Addr {
    // Clients are few; the address only has to be one of its own.
    let number = u16::try_from(client.0).unwrap_or(u16::MAX).to_be_bytes();
    let [high, low] = number;
    Ipv4Addr::new(10, 78, high, low)
}

impl World {
    /// Takes latency and loss away from the simulator's own network: for a simulation that holds nothing else.
    pub fn silence_the_simulators_network(&self) {
        NetSim::current().update_config(|config| {
            config.packet_loss_rate = 0.0;
            // The range that the network draws from must hold something.
            config.send_latency = Duration::ZERO..Duration::from_nanos(1);
        });
    }

    /// The host of a client, made when it is first asked for: what runs there calls members from an address of its
    /// own.
    pub fn client_host(&self, client: ClientId) -> NodeHandle {
        let mut hosts = self.inner.client_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(client).or_insert_with(|| {
            let address = client_address(client);
            self.inner.handle.create_node().name(format!("client {client}")).ip(address.into()).build()
        });
        host.clone()
    }

    /// The link from one member to another.
    pub(super) fn link(from: MemberIndex, to: MemberIndex) -> Link {
        Link { from: product::public_address(from), to: product::public_address(to) }
    }

    /// The links of these pairs.
    pub fn links(pairs: &[Pair]) -> Vec<Link> {
        pairs.iter().map(|(from, to)| World::link(*from, *to)).collect()
    }

    /// The links between a client and a member: there, and back.
    pub(super) fn client_links(client: ClientId, member: MemberIndex) -> [Link; 2] {
        let there = Link { from: client_address(client), to: product::public_address(member) };
        [there, there.back()]
    }
}
