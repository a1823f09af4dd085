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

use crate::cli::discovery::resolver::{LookupError, Target};
use crate::config::Scheme;
use crate::config::discovery::{Service, SrvDomain};

/// There are no records of a service, with TLS or without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no SRV records {secure} or {plain}")]
pub struct NoRecords {
    /// What was asked for, with TLS.
    pub secure: String,
    /// What was asked for, without.
    pub plain: String,
}

/// What DNS says of a service.
struct Answers {
    secure: Result<Vec<Target>, LookupError>,
    plain: Result<Vec<Target>, LookupError>,
    /// What to say when both are empty.
    none: NoRecords,
}

/// Asks for both kinds of records at once.
async fn ask(resolver: &Resolver, domain: &SrvDomain, service: Service) -> Answers {
    let [secure, plain] = [Scheme::Https, Scheme::Http].map(|scheme| domain.question(service, scheme));
    let answers = tokio::join!(resolver.srv(&secure), resolver.srv(&plain));
    Answers { secure: answers.0, plain: answers.1, none: NoRecords { secure, plain } }
}
