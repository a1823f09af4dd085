//! Real processes under real clients: clusters on loopback, load, kills, and the history that they leave.
//!
//! - `program`: which server runs; `ports`, `member`, `cluster`: its processes;
//! - `dns`: a name server, for members that are looked up;
//! - `client`, `convert`: one connection to one member, in a history's own terms;
//! - `recorder`: the history; `load`, `observer`: who asks and who watches; `dice`: every choice, from a seed;
//! - `chaos`: which members are killed and for how long; `settle`: the end of a run.
//!
//! Invariants: the server is only known as a program with the flags of the reference and a socket, never as a
//! crate; every process dies with the [`cluster::Cluster`] that started it; what cannot be decided about an
//! operation is recorded as unknown. It does not judge: that is `quorate_check`.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot go on stops its test where it stands"
)]

pub mod chaos;
pub mod client;
pub mod cluster;
mod convert;
pub mod dice;
pub mod dns;
pub mod load;
pub mod member;
pub mod observer;
mod pb;
pub mod ports;
pub mod program;
pub mod recorder;
pub mod settle;
