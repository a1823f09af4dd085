//! The product's own pure code under a model checker: small bounds, every interleaving.
//!
//! The simulator runs the whole product along one course a seed. A model here runs a small part of it along
//! *every* course within its bounds: it proves less, and proves it completely. What is checked is the real code
//! (`quorate::machine`, the leader's lease deadlines, the watch hub, the snapshot codec, the quorum rule), never a
//! copy; what stands around it (log, network, elections, clocks, clients) is abstracted in the model, and each
//! model's header says how far.
//!
//! # Code map
//! - [`replica`]: the machine with a store, as a value that can be hashed and compared.
//! - [`raft`]: textbook Raft in four steps, for the models that need leaders and votes.
//! - [`planted`]: the planted bugs; each must be caught by its model, and each `always` property by one of them.
//! - [`catalogue`]: every model by name; [`search`]: exhaustive checks, and hunts for planted bugs.
//! - [`cli`]: the program `quorate-explore`.
//! - One module a model: [`lease`], [`watch`], [`read_index`], [`dedupe`], [`snapshot`], [`learner`], [`lock`],
//!   [`linear`], [`pinned`], [`txn`].
//!
//! # Invariants
//! - Bounds are budgets that only shrink, or counters that only grow. A model that says what must come in the end has
//!   no cycles, so every run of it ends.
//! - What must happen in the end is an `always` property of the states in which nothing is left to do. The
//!   checker's own `eventually` is not used: it overlooks counterexamples where two paths meet.

pub mod catalogue;
pub mod cli;
pub mod dedupe;
pub mod learner;
pub mod lease;
pub mod linear;
pub mod lock;
pub mod pinned;
pub mod planted;
pub mod raft;
pub mod read_index;
pub mod replica;
pub mod search;
pub mod snapshot;
pub mod txn;
pub mod watch;
