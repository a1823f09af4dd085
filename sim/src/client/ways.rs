//! How the clients of a run reach members, and from where.

use std::sync::Arc;

use madsim::runtime::NodeHandle;
use quorate_check::types::ClientId;

use super::api::Api;
use super::direct::Direct;
use super::wire::Wire;
use crate::plan::ClientPath;
use crate::world::World;

/// The ways of a run's clients. Clones share them.
#[derive(Clone)]
pub struct Ways {
    world: World,
    api: Arc<dyn Api>,
}

impl Ways {
    /// The ways that the world's plan wants.
    pub fn new(world: World) -> Ways {
        let api: Arc<dyn Api> = match world.plan().client_path {
            ClientPath::Direct => Arc::new(Direct::new(world.clone())),
            ClientPath::Wire => Arc::new(Wire::new(world.clone())),
        };
        Ways { world, api }
    }

    /// What calls members.
    pub fn api(&self) -> Arc<dyn Api> {
        self.api.clone()
    }

    /// The host that a client runs on; made when it is first asked for.
    pub fn host(&self, client: ClientId) -> NodeHandle {
        match self.world.plan().client_path {
            ClientPath::Direct => self.world.supervisor().clone(),
            ClientPath::Wire => self.world.client_host(client),
        }
    }
}
