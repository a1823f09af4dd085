//! The side that connects: whom it takes for who he says he is, and what it shows of itself.
//!
//! A member looks at its files again and again; a command has them read once. Why a connection came to nothing is said
//! once for each address, until the reason is another one or it has worked in between.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Uri;
use tower::Service;

use crate::config::tls::{Allowed, KeyPairFiles, NamedFile, TlsProtocol};
use crate::env::{Clock, Env, Worker};
use crate::tls::authorities::{Authorities, Timely};
use crate::tls::fit::{AnyServer, Fit, FitServers};
use crate::tls::material::Contents;
use crate::tls::reached::Reached;
use crate::tls::reload::{Recipe, Reloaded};
use crate::tls::server::unusable;
use crate::tls::{ALPN_H2, TlsError, WallClock, provider, revoked, versions, why};

/// The port of a URL that names none.
const HTTPS_PORT: u16 = 443;

/// Who is taken for who he says he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever shows a certificate of these authorities for the name that was called.
    Authorities(NamedFile),
    /// Everybody.
    Anybody,
}

/// What the connecting side is made of.
#[derive(Clone)]
pub struct DialFiles {
    /// Who is trusted.
    pub trust: Trust,
    /// What is shown to whoever asks for it.
    pub own: Option<KeyPairFiles>,
    /// Certificates that count no more.
    pub crl: Option<NamedFile>,
    /// What a certificate must bear.
    pub allowed: Allowed,
    /// The name that every certificate must be for, if that is not the one that was called.
    pub known_as: Option<String>,
    /// What of TLS is spoken.
    pub protocol: TlsProtocol,
    /// By which certificates are valid or not.
    pub clock: Arc<dyn Clock>,
}

impl Recipe for DialFiles {
    type Made = ClientConfig;

    fn what(&self) -> &'static str {
        "connections to peers"
    }

    fn files(&self) -> Vec<&NamedFile> {
        let authorities = match &self.trust {
            Trust::Authorities(file) => Some(file),
            Trust::Anybody => None,
        };
        let own = self.own.iter().flat_map(|own| [&own.cert, &own.key]);
        own.chain(authorities).chain(&self.crl).collect()
    }

    fn make(&self, contents: &Contents) -> Result<ClientConfig, TlsError> {
        let provider = provider(&self.protocol)?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            Trust::Anybody => Arc::new(AnyServer::new(&provider)),
            Trust::Authorities(file) => {
                let authorities = Authorities::read(contents, file, self.clock.wall_ms())?;
                let revoked = self.crl.as_ref().map(|list| revoked::read(contents, list, &authorities));
                let fit =
                    Fit { allowed: self.allowed.clone(), revoked: revoked.transpose()?.unwrap_or_default() };
                let provider = provider.clone();
                let made = move |roots| {
                    let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                    let made: Arc<dyn ServerCertVerifier> =
                        builder.build().map_err(|error| error.to_string())?;
                    Ok(made)
                };
                let library = Timely::new(authorities, made).map_err(|error| TlsError::file(file, error))?;
                Arc::new(FitServers { library, fit })
            }
        };
        let clock = Arc::new(WallClock(self.clock.clone()));
        let builder = ClientConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&versions(&self.protocol))
            .map_err(|error| TlsError::Library(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let pair = contents.pair(own)?;
                pair.tell_if_ended(&own.cert, self.clock.wall_ms());
                let config = builder.with_client_auth_cert(pair.chain, pair.key);
                config.map_err(|error| unusable(own, &error))?
            }
        };
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        // Every connection is judged anew.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Where what is shown and trusted comes from.
enum Source {
    Followed(Arc<Reloaded<ClientConfig>>),
    Once(Arc<ClientConfig>),
}

/// Connects by TLS.
pub struct Dial {
    source: Source,
    /// The name that every certificate must be for, if that is not the one that was called.
    known_as: Option<String>,
    /// Why the last attempt came to nothing, by address.
    failed: Mutex<BTreeMap<String, String>>,
}

impl Dial {
    /// With files that are followed for as long as it is held.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn following(
        files: DialFiles,
        env: &Env,
        worker: &Arc<dyn Worker>,
    ) -> Result<Arc<Dial>, TlsError> {
        let known_as = files.known_as.clone();
        let source = Source::Followed(Reloaded::start(files, env, worker).await?);
        Ok(Arc::new(Dial { source, known_as, failed: Mutex::default() }))
    }

    /// With files that are read once, here and now.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn once(files: &DialFiles, env: &Env) -> Result<Arc<Dial>, TlsError> {
        let paths = files.files().into_iter().map(|file| file.path.clone()).collect();
        let made = files.make(&Contents::read(&*env.disk, &paths))?;
        let (source, known_as) = (Source::Once(Arc::new(made)), files.known_as.clone());
        Ok(Arc::new(Dial { source, known_as, failed: Mutex::default() }))
    }

    /// What a gRPC channel connects with.
    pub fn connector(
        self: &Arc<Dial>,
    ) -> impl Service<
        Uri,
        Response = TokioIo<Reached>,
        Error = io::Error,
        Future: Future<Output = io::Result<TokioIo<Reached>>> + Send,
    > + Send
    + use<> {
        let dial = self.clone();
        tower::service_fn(move |uri: Uri| {
            let dial = dial.clone();
            async move { dial.connect(&uri).await.map(TokioIo::new) }
        })
    }

    /// What was wrong with the last one who was reached at `url`, if something was.
    pub fn failure(&self, url: &str) -> Option<String> {
        let address = address_of(&url.parse().ok()?).ok()?;
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get(&address.2).cloned()
    }

    async fn connect(self: &Arc<Dial>, uri: &Uri) -> io::Result<Reached> {
        let (host, port, address) = address_of(uri)?;
        let connected = self.connect_to(&host, port).await;
        if let Some(why) = connected.as_ref().err().and_then(why::of_dialling) {
            self.turned_away(&address, why);
        }
        connected.map(|stream| Reached::new(stream, self.clone(), address))
    }

    /// Whoever is at `address` is the one that was meant, and lets in.
    pub(super) fn let_in(&self, address: &str) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }

    /// Whoever is at `address` is not the one that was meant, or turns away.
    pub(super) fn turned_away(&self, address: &str, why: String) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.get(address) != Some(&why) {
            tracing::warn!(remote = %address, %why, "cannot connect by TLS");
            failed.insert(address.to_owned(), why);
        }
    }

    async fn connect_to(&self, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let config = match &self.source {
            Source::Followed(followed) => followed.now(),
            Source::Once(made) => made.clone(),
        };
        let name = self.known_as.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    }
}

/// Host, port, and both together.
fn address_of(uri: &Uri) -> io::Result<(String, u16, String)> {
    let host =
        uri.host().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the URL has no host"))?;
    let port = uri.port_u16().unwrap_or(HTTPS_PORT);
    // An IPv6 address stands in brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((bare, port, format!("{host}:{port}")))
}
