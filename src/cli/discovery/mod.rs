//! Members that are looked up in DNS instead of being listed, for the server and for `quorate ctl`.
//!
//! - [`resolver`]: asks the host's name servers for SRV records;
//! - [`members`]: which of the records is the member itself, and who the others are;
//! - [`endpoints`]: where clients reach a cluster.
//!
//! Invariants: every question ends within [`resolver::LOOKUP_TIMEOUT`]; what is not found is one line that names the records
//! that were asked for. Answers are believed as DNS gives them: who may write the zone chooses the members. TLS decides
//! whether whoever is reached there is one.

pub mod endpoints;
pub mod members;
pub mod resolver;

pub use endpoints::endpoints;
pub use members::{FirstMembers, MembersError, first_members};
pub use resolver::Resolver;
