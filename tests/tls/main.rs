//! TLS end to end: the real program behind certificates that are made here, asked by raw TLS, by gRPC, by `quorate ctl` and,
//! where it is at hand, by the real `etcdctl`.
//!
//! Every option of TLS has a story here that ends otherwise when the option is ignored. What was refused is also looked for
//! in the log: whom, and why.

#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails"
)]

mod authority;
mod calls;
mod clients;
mod crowd;
mod discovery;
mod ends;
mod flood;
mod knock;
mod member;
#[path = "../serve/namespace.rs"]
mod namespace;
mod peers;
#[path = "../serve/program.rs"]
mod program;
mod reloads;
mod room;
mod starts;
mod tokens;
mod users;
mod versions;
