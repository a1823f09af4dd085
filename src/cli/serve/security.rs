//! From options to who may connect, and how others are connected to: files are read here for the first time, so that what
//! is wrong with one is the one line of a start that fails.
//!
//! Certificates that the member makes lie in its data directory, under `fixtures/`, and are used again for as long as they
//! last.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::serve::plan::{PlanError, address, prepare_data_dir};
use crate::config::auth_token::{AuthToken, JwtOptions};
use crate::config::tls::{KeyPairFiles, NamedFile, Transport, Whom};
use crate::config::{ConfigError, Scheme, ServeConfig, Url};
use crate::env::{Env, Worker};
use crate::member::jwt::{Jwt, Keys};
use crate::node::Security;
use crate::peer::Dialer;
use crate::peer::listen::Gate;
use crate::tls::TlsError;
use crate::tls::dial::{Dial, DialFiles, Trust};
use crate::tls::made;
use crate::tls::places::Places;
use crate::tls::server::Server;

/// What the options say of who may connect, made. Connections take `places`.
///
/// # Errors
/// See [`PlanError`].
pub async fn security(config: &ServeConfig, env: &Env, places: &Places) -> Result<Security, PlanError> {
    let worker = env.workers.start("tls");
    let clients = Side {
        whom: Whom::Clients,
        transport: &config.tls.clients,
        listen: ("listen-client-urls", &config.listen_client_urls),
        advertised: &config.advertise_client_urls,
    };
    let peers = Side {
        whom: Whom::Peers,
        transport: &config.tls.peers,
        listen: ("listen-peer-urls", &config.listen_peer_urls),
        advertised: &config.advertise_peer_urls,
    };
    let mut gates = clients.gates(config, env, (&worker, places)).await?;
    gates.extend(peers.gates(config, env, (&worker, places)).await?);
    Ok(Security {
        gates,
        plain: Gate { tls: None, places: places.clone() },
        dialer: peers.dialer(config, env, &worker).await?,
        certificates_name_users: config.tls.clients.cert_auth,
        signed_tokens: match &config.auth_token {
            AuthToken::Simple => None,
            AuthToken::Jwt(options) => Some(Arc::new(jwt(options)?)),
        },
    })
}

/// What signs tokens and checks them.
fn jwt(options: &JwtOptions) -> Result<Jwt, PlanError> {
    let refused =
        |why: String| PlanError::Config(ConfigError::Contradiction(format!("--auth-token=jwt,...: {why}")));
    let read = |name: &str, path: &Option<PathBuf>| {
        let read = |path: &PathBuf| {
            let why = |error| refused(format!("{name} {}: cannot be read: {error}", path.display()));
            fs::read(path).map_err(why)
        };
        path.as_ref().map(read).transpose()
    };
    let keys = Keys {
        public: read("pub-key", &options.public_key)?,
        private: read("priv-key", &options.private_key)?,
    };
    Jwt::new(options.sign_method, &keys, options.ttl).map_err(|error| refused(error.to_string()))
}

/// One of the two kinds of connections.
struct Side<'c> {
    whom: Whom,
    transport: &'c Transport,
    listen: (&'static str, &'c [Url]),
    advertised: &'c [Url],
}

impl Side<'_> {
    /// What whoever connects meets, by address.
    async fn gates(
        &self,
        config: &ServeConfig,
        env: &Env,
        (worker, places): (&Arc<dyn Worker>, &Places),
    ) -> Result<BTreeMap<std::net::SocketAddr, Gate>, PlanError> {
        let (flag, urls) = self.listen;
        let mut schemes = BTreeMap::new();
        for url in urls {
            let other = schemes.insert(address(flag, url)?, url.scheme());
            if other.is_some_and(|other| other != url.scheme()) {
                let why = format!("the address of {url} is listened on with TLS and without");
                return Err(PlanError::NotYet { flag, why });
            }
        }
        schemes.retain(|_, scheme| *scheme == Scheme::Https);
        if schemes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let own = match &self.transport.own {
            Some(own) => own.clone(),
            None => self.made(config, env)?,
        };
        let protocol = &config.tls.protocol;
        let server = Server::start(self.whom, self.transport, own, protocol, env, worker).await?;
        let gate = Gate { tls: Some(server), places: places.clone() };
        Ok(schemes.into_keys().map(|address| (address, gate.clone())).collect())
    }

    /// How others of this kind are connected to.
    async fn dialer(
        &self,
        config: &ServeConfig,
        env: &Env,
        worker: &Arc<dyn Worker>,
    ) -> Result<Dialer, PlanError> {
        let trust = match &self.transport.trusted_ca {
            Some(file) => Trust::Authorities(file.clone()),
            None if self.transport.makes_its_own() => Trust::Anybody,
            None => return Ok(Dialer::default()),
        };
        let own = match self.transport.when_dialling.as_ref().or(self.transport.own.as_ref()) {
            Some(own) => Some(own.clone()),
            None if self.transport.makes_its_own() => Some(self.made(config, env)?),
            None => None,
        };
        let files = DialFiles {
            trust,
            own,
            crl: self.transport.crl.clone(),
            allowed: self.transport.allowed.clone(),
            known_as: None,
            protocol: config.tls.protocol.clone(),
            clock: env.clock.clone(),
        };
        Ok(Dialer { tls: Some(Dial::following(files, env, worker).await?) })
    }

    /// The certificate that the member has made for itself, made now if there is none that still lasts.
    fn made(&self, config: &ServeConfig, env: &Env) -> Result<KeyPairFiles, PlanError> {
        // Who else may read it is said when the member starts.
        let _warning = prepare_data_dir(config)?;
        let (flag, folder) = match self.whom {
            Whom::Clients => ("auto-tls", "client"),
            Whom::Peers => ("peer-auto-tls", "peer"),
        };
        let dir = config.data_dir.join("fixtures").join(folder);
        let named = |name| NamedFile { flag, path: dir.join(name) };
        let files = KeyPairFiles { cert: named("cert.pem"), key: named("key.pem") };
        let now_secs = i64::try_from(env.clock.wall_ms() / 1_000).unwrap_or(i64::MAX);
        let lasts = fs::read(&files.cert.path).is_ok_and(|cert| !made::has_ended(&cert, now_secs));
        if lasts && files.key.path.exists() {
            return Ok(files);
        }
        let failed = |why: String| TlsError::File { file: files.cert.to_string(), why };
        let urls = self.listen.1.iter().chain(self.advertised);
        let mut hosts: Vec<String> = urls.map(|url| url.host().to_owned()).collect();
        hosts.push("localhost".to_owned());
        hosts.retain(|host| !host.is_empty());
        hosts.sort();
        hosts.dedup();
        let made = made::make(self.whom, hosts, now_secs, config.tls.self_signed_years).map_err(failed)?;
        keep(&dir, &files, &made).map_err(|error| failed(error.to_string()))?;
        tracing::info!(cert = %files.cert.path.display(), "made a certificate (--{flag})");
        Ok(files)
    }
}

/// Writes both files, the certificate last: one without its key is never found.
fn keep(dir: &Path, files: &KeyPairFiles, made: &made::Made) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    match fs::remove_file(&files.cert.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (file, text) in [(&files.key, &made.key), (&files.cert, &made.cert)] {
        let unfinished = file.path.with_extension("unfinished");
        let mut to = fs::OpenOptions::new();
        let mut to = to.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        to.write_all(text.as_bytes())?;
        to.sync_all()?;
        fs::rename(&unfinished, &file.path)?;
    }
    Ok(())
}
