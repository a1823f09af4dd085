//! The side that is connected to: what the member shows of itself, and what whoever connects has to show.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{InconsistentKeys, ServerConfig};

use crate::config::tls::{Allowed, KeyPairFiles, NamedFile, TlsProtocol, Transport, Whom};
use crate::env::{Clock, Env, Worker};
use crate::tls::authorities::{Authorities, Timely};
use crate::tls::fit::{Fit, FitClients};
use crate::tls::hands::Hands;
use crate::tls::material::Contents;
use crate::tls::reload::{Recipe, Reloaded};
use crate::tls::{ALPN_H2, TlsError, WallClock, provider, revoked, versions, why};

/// The TLS side of a listener.
pub struct Server {
    config: Arc<Reloaded<ServerConfig>>,
    hands: Hands,
    any_address: bool,
}

impl Server {
    /// With the files of `transport`, and `own` to show, for as long as it is held.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn start(
        whom: Whom,
        transport: &Transport,
        own: KeyPairFiles,
        protocol: &TlsProtocol,
        env: &Env,
        worker: &Arc<dyn Worker>,
    ) -> Result<Arc<Server>, TlsError> {
        let recipe = ServerFiles {
            whom,
            own,
            trusted_ca: transport.trusted_ca.clone(),
            crl: transport.crl.clone(),
            allowed: transport.allowed.clone(),
            protocol: protocol.clone(),
            clock: env.clock.clone(),
        };
        let config = Reloaded::start(recipe, env, worker).await?;
        let hands = Hands::start(whom, env).await?;
        Ok(Arc::new(Server { config, hands, any_address: transport.any_address }))
    }

    /// As it is now.
    pub fn now(&self) -> Arc<ServerConfig> {
        self.config.now()
    }

    /// Where handshakes are computed.
    pub fn hands(&self) -> &Hands {
        &self.hands
    }

    /// Whether whoever connects may come from an address that its certificate is not for.
    pub fn any_address(&self) -> bool {
        self.any_address
    }
}

/// What the server's side is made of.
#[derive(Clone)]
struct ServerFiles {
    whom: Whom,
    own: KeyPairFiles,
    trusted_ca: Option<NamedFile>,
    crl: Option<NamedFile>,
    allowed: Allowed,
    protocol: TlsProtocol,
    clock: Arc<dyn Clock>,
}

impl Recipe for ServerFiles {
    type Made = ServerConfig;

    fn what(&self) -> &'static str {
        match self.whom {
            Whom::Clients => "the client listener",
            Whom::Peers => "the peer listener",
        }
    }

    fn files(&self) -> Vec<&NamedFile> {
        let own = [&self.own.cert, &self.own.key];
        own.into_iter().chain(&self.trusted_ca).chain(&self.crl).collect()
    }

    fn make(&self, contents: &Contents) -> Result<ServerConfig, TlsError> {
        let provider = provider(&self.protocol)?;
        let clock = Arc::new(WallClock(self.clock.clone()));
        let builder = ServerConfig::builder_with_details(provider.clone(), clock)
            .with_protocol_versions(&versions(&self.protocol))
            .map_err(|error| TlsError::Library(error.to_string()))?;
        let builder = match &self.trusted_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let authorities = Authorities::read(contents, file, self.clock.wall_ms())?;
                let revoked = self.crl.as_ref().map(|list| revoked::read(contents, list, &authorities));
                let fit =
                    Fit { allowed: self.allowed.clone(), revoked: revoked.transpose()?.unwrap_or_default() };
                let made = move |roots| {
                    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                    builder.build().map_err(|error| error.to_string())
                };
                let library = Timely::new(authorities, made).map_err(|error| TlsError::file(file, error))?;
                builder.with_client_cert_verifier(Arc::new(FitClients { library, fit }))
            }
        };
        let pair = contents.pair(&self.own)?;
        pair.tell_if_ended(&self.own.cert, self.clock.wall_ms());
        let config = builder.with_single_cert(pair.chain, pair.key);
        let mut config = config.map_err(|error| unusable(&self.own, &error))?;
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        // A session that is taken up again would skip the question who connects.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// What is wrong with a certificate and its key.
pub(super) fn unusable(own: &KeyPairFiles, error: &rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { cert: own.cert.to_string(), key: own.key.to_string() }
        }
        rustls::Error::InvalidCertificate(why) => TlsError::file(&own.cert, why::of_own(why)),
        other => TlsError::file(&own.key, other),
    }
}
