//! Clients: they turn a plan's symbols into requests, ask members, and write down what came of it.
//!
//! `memory` what a client has seen; `resolve` symbols to requests; `api` the seam to the members; `convert`
//! requests and answers in the product's own types; `direct` members called as objects; `wire` members called over
//! the network; `ways` which of the two; `session` one client; `observer` watches; `image`
//! restores what a member sends of its state; `guard` asks in the names of users.

#[cfg(madsim)]
mod api;
pub mod convert;
#[cfg(madsim)]
mod direct;
#[cfg(madsim)]
pub mod guard;
#[cfg(madsim)]
mod image;
mod memory;
#[cfg(madsim)]
pub mod observer;
mod resolve;
#[cfg(madsim)]
mod session;
#[cfg(madsim)]
mod ways;
#[cfg(madsim)]
mod wire;

#[cfg(madsim)]
pub use api::{Api, Reply};
pub use memory::Memory;
pub use resolve::{every_alarm, key_name, resolve, value_of};
#[cfg(madsim)]
pub use session::{Session, Whom};
#[cfg(madsim)]
pub use ways::Ways;
