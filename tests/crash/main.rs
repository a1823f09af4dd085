//! Real processes killed under load: nothing that was acknowledged is lost, and the cluster writes again soon.
//!
//! `promises` judges the history of a run in which members, leaders, majorities and whole clusters are killed again
//! and again; `leaders` measures how long nobody is answered after the leader is gone; `shutdown` ends members the
//! civil way. `QUORATE_SERVER` names another server to put under all of it, such as the reference.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

mod leaders;
mod promises;
mod shutdown;

use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_jepsen::program::Server;

/// The server under test.
fn server() -> Server {
    Server::from_env(env!("CARGO_BIN_EXE_quorate"))
}

/// One cluster at a time, so that what is measured is not the neighbour.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime of the clients.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
