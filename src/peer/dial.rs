//! How members are connected to: in plain text, or by TLS where a URL says so.

#[cfg(not(madsim))]
use std::sync::Arc;

use tonic::transport::{Channel, Endpoint};

#[cfg(not(madsim))]
use crate::tls::dial::Dial;

/// How a URL begins that is spoken to by TLS.
#[cfg(not(madsim))]
const HTTPS: &str = "https://";

/// How one member connects to others. Cheap to clone.
#[derive(Clone, Default)]
pub struct Dialer {
    /// What it shows of itself and whom it trusts; without it, nobody is reached by TLS.
    #[cfg(not(madsim))]
    pub tls: Option<Arc<Dial>>,
}

impl Dialer {
    /// A channel to `url`, set up as `endpoint` is, that connects when it is first used.
    ///
    /// # Errors
    /// The URL asks for TLS, and there is none.
    #[cfg(not(madsim))]
    pub fn channel(&self, endpoint: &Endpoint, url: &str) -> Result<Channel, String> {
        match &self.tls {
            _ if !url.starts_with(HTTPS) => Ok(endpoint.connect_lazy()),
            Some(tls) => Ok(endpoint.connect_with_connector_lazy(tls.connector())),
            None => Err("there is no --peer-trusted-ca-file to know it by".to_owned()),
        }
    }

    /// A channel that connects when it is first used.
    ///
    /// # Errors
    /// Never: the simulated network is plain.
    #[cfg(madsim)]
    pub fn channel(&self, endpoint: &Endpoint, _: &str) -> Result<Channel, String> {
        Ok(endpoint.connect_lazy())
    }

    /// Why the last connection to `url` came to nothing, if TLS knows.
    #[cfg(not(madsim))]
    pub fn failure(&self, url: &str) -> Option<String> {
        self.tls.as_ref()?.failure(url)
    }

    /// Why the last connection to `url` came to nothing: not known.
    #[cfg(madsim)]
    pub fn failure(&self, _: &str) -> Option<String> {
        None
    }
}
