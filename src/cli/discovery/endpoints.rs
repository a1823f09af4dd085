//! Where clients reach a cluster, as SRV records have it.
//!
//! Unlike for a member, one kind of records is enough: a client that reaches any member reaches the cluster.

use crate::cli::discovery::resolver::{LookupError, Resolver};
use crate::cli::discovery::{Answers, NoRecords, ask};
use crate::config::discovery::{Service, SrvDomain};

/// Why there are no endpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointsError {
    /// DNS gives no answer, for either kind of records.
    #[error("{0}; {1}")]
    Lookup(LookupError, LookupError),
    /// DNS gives no answer for one kind of records, and there are none of the other.
    #[error(transparent)]
    HalfLookup(#[from] LookupError),
    /// There are no records.
    #[error(transparent)]
    NoRecords(#[from] NoRecords),
}

/// The endpoints of the cluster of `domain` as URLs, those with TLS first, each kind in the order in which to try them.
///
/// # Errors
/// See [`EndpointsError`].
pub async fn endpoints(resolver: &Resolver, domain: &SrvDomain) -> Result<Vec<String>, EndpointsError> {
    let Answers { secure, plain, none } = ask(resolver, domain, Service::Client).await;
    let failed = match (&secure, &plain) {
        (Err(one), Err(other)) => return Err(EndpointsError::Lookup(one.clone(), other.clone())),
        (Err(one), Ok(_)) | (Ok(_), Err(one)) => Some(one.clone()),
        (Ok(_), Ok(_)) => None,
    };
    let secure = secure.into_iter().flatten().map(|target| format!("https://{}", target.authority()));
    let plain = plain.into_iter().flatten().map(|target| format!("http://{}", target.authority()));
    let urls: Vec<String> = secure.chain(plain).collect();
    match failed {
        _ if !urls.is_empty() => Ok(urls),
        Some(error) => Err(error.into()),
        None => Err(none.into()),
    }
}

#[cfg(test)]
mod tests;
