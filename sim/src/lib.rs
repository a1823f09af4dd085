//! The deterministic simulator: a seed makes a plan, a world runs it, a history records it, oracles judge it.
//!
//! # Code map
//! - [`plan`]: what a run will do; seed to plan.
//! - [`net`]: links, weather, chances, cuts: what a network does to messages, in numbers.
//! - [`atlas`]: which damage to a disk must be survived, noticed, or cannot be seen.
//! - `world` (simulated build): members, network, disks, clocks, faults.
//! - [`client`]: what clients ask, and how they reach members.
//! - `embed` (simulated build): a cluster for other projects' simulations.
//! - `run`, `settle` (simulated build): one run, and its end; [`disturbance`]: which offers of the product it takes.
//! - [`record`], [`trace`], [`timeline`], [`figures`], [`report`]: what a run leaves behind.
//! - [`page`]: the same as an offline HTML page, for a run and for a sweep.
//! - [`signature`], [`shrink`], [`story`], [`failure`]: what kind of failure it is, the shortest plan that still has
//!   it, the screen that tells it, the folder that keeps it.
//! - [`replay`], [`moment`], [`diff`]: a run up to a moment; where two runs part.
//! - [`sweep`]: many runs, a process each; [`mutants`]: the planted bugs, and how soon each is caught.
//! - [`explore`]: hands over to the models, a crate of their own.
//! - [`cli`], [`log`]: what the program is told, and what the product says.
//!
//! # Invariants
//! One process runs one seed. No floating point and no unkeyed chance in plans. Whatever may differ between two
//! processes of one seed (addresses, folders, host time) is never read by a run.
//!
//! Without `--cfg madsim` this crate compiles, tests its plain parts, and its program refuses to run.

pub mod atlas;
pub mod cli;
pub mod client;
pub mod diff;
pub mod disturbance;
#[cfg(madsim)]
pub mod embed;
pub mod explore;
pub mod failure;
pub mod figures;
pub mod hooks;
pub mod log;
pub mod moment;
pub mod mutants;
pub mod net;
pub mod page;
pub mod plan;
mod progress;
pub mod record;
pub mod replay;
pub mod report;
#[cfg(madsim)]
pub mod run;
#[cfg(madsim)]
mod settle;
pub mod shrink;
pub mod signature;
pub mod story;
pub mod sweep;
pub mod timeline;
pub mod trace;
#[cfg(madsim)]
pub mod world;

#[cfg(madsim)]
mod obey;
#[cfg(madsim)]
pub use obey::obey;
