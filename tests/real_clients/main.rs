//! Clients that were written for the reference, unmodified, against three members started with the reference's flags.
//!
//! `ctl`, `auth` and `upkeep` run the real `etcdctl`; `image` takes the state away with it and founds a cluster of the reference
//! on that; `restore` brings images and data directories of the reference here, and back; `turns` stands in line with it;
//! `go_client` runs a program on the public Go client (`tests/go`). Each says so
//! loudly when its tools are missing, and fails without them under `CI=true`. `QUORATE_SERVER` names another server to put
//! under both, such as the reference itself: what is expected here is what it does.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

mod auth;
mod ctl;
mod etcdctl;
mod go_client;
mod image;
mod restore;
mod single;
mod turns;
mod upkeep;

use quorate_jepsen::cluster::Cluster;
use quorate_jepsen::program::Server;

/// Three members of the server under test.
fn cluster() -> Cluster {
    Cluster::start(Server::from_env(env!("CARGO_BIN_EXE_quorate")), 3)
}
