//! Which endpoints are spoken to by TLS, what is shown to them, and by what they are known.
//!
//! An endpoint that says `https` is, one that says `http` is not, and one that says neither is when any certificate is
//! named or plain text is refused. Nobody's word is taken for who he is: without `--cacert` a server is known by nothing.

use std::sync::Arc;

use crate::cli::ctl::args::Global;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::config::tls::{Allowed, KeyPairFiles, NamedFile, TlsProtocol};
use crate::env::Env;
use crate::tls::dial::{Dial, DialFiles, Trust};

/// How endpoints are spoken to.
#[derive(Clone)]
pub struct Secure {
    dial: Option<Arc<Dial>>,
    /// Whether an endpoint that does not say is spoken to by TLS.
    unless_told: bool,
}

impl Secure {
    /// As the options have it; files are read now.
    ///
    /// # Errors
    /// A file cannot be used, or two options belong together of which one is missing.
    pub fn new(global: &Global) -> Result<Secure, CtlError> {
        // Whoever answers for the domain sends clients where he likes: what is there must be known by the domain itself.
        let known_as = (!global.discovery_srv.is_empty() && !global.insecure_discovery)
            .then(|| global.discovery_srv.trim_end_matches('.').to_owned());
        let named = |flag, path: &str| NamedFile { flag, path: path.into() };
        let own = match (global.cert.as_str(), global.key.as_str()) {
            ("", "") => None,
            ("", _) | (_, "") => return Err(CtlError::bad_args("--cert and --key must be given together")),
            (cert, key) => Some(KeyPairFiles { cert: named("cert", cert), key: named("key", key) }),
        };
        let unless_told = own.is_some() || !global.cacert.is_empty() || !global.insecure_transport;
        let trust = match global.cacert.as_str() {
            _ if global.insecure_skip_tls_verify => Trust::Anybody,
            "" => return Ok(Secure { dial: None, unless_told }),
            path => Trust::Authorities(named("cacert", path)),
        };
        let env = Env::real()?;
        let files = DialFiles {
            trust,
            own,
            crl: None,
            allowed: Allowed::Any,
            known_as,
            protocol: TlsProtocol::default(),
            clock: env.clock.clone(),
        };
        let dial = Dial::once(&files, &env).map_err(|error| CtlError::bad_args(error.to_string()))?;
        Ok(Secure { dial: Some(dial), unless_told })
    }

    /// An endpoint as a URL, and what it is connected to with if that is not plain text.
    ///
    /// # Errors
    /// It is to be spoken to by TLS, and nothing says who it should be.
    pub fn endpoint(&self, endpoint: &str) -> Result<(String, Option<Arc<Dial>>), CtlError> {
        let (by_tls, bare) = match endpoint.split_once("://") {
            None => (self.unless_told, endpoint),
            Some(("http", bare)) => (false, bare),
            Some(("https", bare)) => (true, bare),
            Some((scheme, _)) => {
                let why = format!("{scheme} endpoints are not supported yet: {endpoint}");
                return Err(CtlError::bad_args(why));
            }
        };
        match &self.dial {
            _ if !by_tls => Ok((format!("http://{bare}"), None)),
            Some(dial) => Ok((format!("https://{bare}"), Some(dial.clone()))),
            None => Err(CtlError::new(
                Exit::BadArgs,
                format!("{endpoint} is spoken to by TLS: --cacert is needed to know it by"),
            )),
        }
    }
}
