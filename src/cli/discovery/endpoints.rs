//! Where clients reach a cluster, as SRV records have it.
//!
//! Unlike for a member, one kind of records is enough: a client that reaches any member reaches the cluster.

use crate::cli::discovery::resolver::{LookupError, Resolver};
use crate::config::Scheme;
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
    #[error("there are no SRV records {secure} or {plain}")]
    NoRecords {
        /// What was asked for, with TLS.
        secure: String,
        /// What was asked for, without.
        plain: String,
    },
}

/// The endpoints of the cluster of `domain` as URLs, those with TLS first, each kind in the order in which to try them.
///
/// # Errors
/// See [`EndpointsError`].
pub async fn endpoints(resolver: &Resolver, domain: &SrvDomain) -> Result<Vec<String>, EndpointsError> {
    let [secure, plain] =
        [Scheme::Https, Scheme::Http].map(|scheme| domain.question(Service::Client, scheme));
    let (found_secure, found_plain) = tokio::join!(resolver.srv(&secure), resolver.srv(&plain));
    let failed = match (&found_secure, &found_plain) {
        (Err(one), Err(other)) => return Err(EndpointsError::Lookup(one.clone(), other.clone())),
        (Err(one), Ok(_)) | (Ok(_), Err(one)) => Some(one.clone()),
        (Ok(_), Ok(_)) => None,
    };
    let secure_urls =
        found_secure.into_iter().flatten().map(|target| format!("https://{}", target.authority()));
    let plain_urls = found_plain.into_iter().flatten().map(|target| format!("http://{}", target.authority()));
    let urls: Vec<String> = secure_urls.chain(plain_urls).collect();
    match failed {
        _ if !urls.is_empty() => Ok(urls),
        Some(error) => Err(error.into()),
        None => Err(EndpointsError::NoRecords { secure, plain }),
    }
}

#[cfg(test)]
mod tests;
