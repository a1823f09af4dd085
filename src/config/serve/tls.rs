//! The options of TLS, typed and checked against each other and against the schemes of the URLs.
//!
//! An option that protects is never dropped in silence: where nothing would ask for it the start is refused, but for the
//! cases in which the API's reference starts (certificates and authorities beside plain text, made certificates beside given
//! ones); those are warned about.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::error::ConfigError;
use crate::config::serve::{Reader, ServeConfig};
use crate::config::tls::{Allowed, KeyPairFiles, NamedFile, TlsConfig, TlsProtocol, TlsVersion, Transport};
use crate::config::url::{Scheme, Url};

/// The years that a made certificate may last: what its dates can express.
const SELF_SIGNED_YEARS_MAX: u32 = 1_000;
/// The longest host name (RFC 1035), in bytes.
const HOST_BYTES_MAX: usize = 253;
/// The longest part of one between dots.
const LABEL_BYTES_MAX: usize = 63;

impl Reader<'_> {
    pub(super) fn tls(&self) -> Result<TlsConfig, ConfigError> {
        let years: u32 = self.number("self-signed-cert-validity")?;
        if !(1..=SELF_SIGNED_YEARS_MAX).contains(&years) {
            let why = format!("want 1 to {SELF_SIGNED_YEARS_MAX} years");
            return self.refuse("self-signed-cert-validity", why);
        }
        Ok(TlsConfig {
            clients: Transport {
                own: self.pair("cert-file", "key-file")?,
                when_dialling: None,
                trusted_ca: self.file("trusted-ca-file"),
                cert_auth: self.switch("client-cert-auth")?,
                crl: self.file("client-crl-file"),
                allowed: self.allowed(None, "client-cert-allowed-hostname")?,
                auto: self.switch("auto-tls")?,
                any_address: true,
            },
            peers: Transport {
                own: self.pair("peer-cert-file", "peer-key-file")?,
                when_dialling: self.pair("peer-client-cert-file", "peer-client-key-file")?,
                trusted_ca: self.file("peer-trusted-ca-file"),
                cert_auth: self.switch("peer-client-cert-auth")?,
                crl: self.file("peer-crl-file"),
                allowed: self.allowed(Some("peer-cert-allowed-cn"), "peer-cert-allowed-hostname")?,
                auto: self.switch("peer-auto-tls")?,
                any_address: self.switch("peer-skip-client-san-verification")?,
            },
            protocol: self.tls_protocol()?,
            self_signed_years: years,
        })
    }

    fn file(&self, flag: &'static str) -> Option<NamedFile> {
        self.path(flag).map(|path: PathBuf| NamedFile { flag, path })
    }

    fn pair(&self, cert: &'static str, key: &'static str) -> Result<Option<KeyPairFiles>, ConfigError> {
        match (self.file(cert), self.file(key)) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(KeyPairFiles { cert, key })),
            _ => Err(ConfigError::Contradiction(format!("--{cert} and --{key} must be given together"))),
        }
    }

    fn allowed(
        &self,
        common_names: Option<&'static str>,
        host_names: &'static str,
    ) -> Result<Allowed, ConfigError> {
        let of_common_names = common_names.map(|flag| self.list(flag)).unwrap_or_default();
        let of_host_names = self.list(host_names);
        if let Some(host) = of_host_names.iter().find(|host| !is_host(host)) {
            return self.refuse(host_names, format!("{host:?} is neither a host name nor an address"));
        }
        match (of_common_names.is_empty(), of_host_names.is_empty()) {
            (true, true) => Ok(Allowed::Any),
            (false, true) => Ok(Allowed::CommonNames(of_common_names)),
            (true, false) => Ok(Allowed::HostNames(of_host_names)),
            (false, false) => Err(ConfigError::Contradiction(format!(
                "--{} and --{host_names} exclude each other",
                common_names.unwrap_or_default()
            ))),
        }
    }

    fn tls_protocol(&self) -> Result<TlsProtocol, ConfigError> {
        let (oldest, newest) = (("TLS1.2", TlsVersion::V1_2), ("TLS1.3", TlsVersion::V1_3));
        let lowest = self.choice("tls-min-version", &[oldest, newest])?;
        let highest = match self.0.value("tls-max-version") {
            "" => TlsVersion::V1_3,
            _ => self.choice("tls-max-version", &[oldest, newest])?,
        };
        if lowest > highest {
            return Err(ConfigError::Contradiction(
                "--tls-min-version is higher than --tls-max-version: no version is left".to_owned(),
            ));
        }
        let cipher_suites = self.list("cipher-suites");
        if lowest == TlsVersion::V1_3 && !cipher_suites.is_empty() {
            return Err(ConfigError::Contradiction(
                "--cipher-suites cannot be chosen when only TLS1.3 is spoken (--tls-min-version)".to_owned(),
            ));
        }
        Ok(TlsProtocol { lowest, highest, cipher_suites })
    }
}

/// The flags of one kind of connection, as errors name them.
struct Names {
    listen: &'static str,
    cert: &'static str,
    auto: &'static str,
    cert_auth: &'static str,
    trusted_ca: &'static str,
    crl: &'static str,
    allowed_cn: &'static str,
    allowed_hostname: &'static str,
}

const CLIENTS: Names = Names {
    listen: "listen-client-urls",
    cert: "cert-file",
    auto: "auto-tls",
    cert_auth: "client-cert-auth",
    trusted_ca: "trusted-ca-file",
    crl: "client-crl-file",
    // There is none for clients.
    allowed_cn: "",
    allowed_hostname: "client-cert-allowed-hostname",
};

const PEERS: Names = Names {
    listen: "listen-peer-urls",
    cert: "peer-cert-file",
    auto: "peer-auto-tls",
    cert_auth: "peer-client-cert-auth",
    trusted_ca: "peer-trusted-ca-file",
    crl: "peer-crl-file",
    allowed_cn: "peer-cert-allowed-cn",
    allowed_hostname: "peer-cert-allowed-hostname",
};

impl ServeConfig {
    /// Checks what is said about TLS against itself and the URLs; what is as good as nothing is warned about.
    pub(super) fn check_tls(&self, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        check_transport(&self.tls.clients, &self.listen_client_urls, &CLIENTS, warnings)?;
        check_transport(&self.tls.peers, &self.listen_peer_urls, &PEERS, warnings)?;
        self.warn_of_shared_authorities(warnings);
        self.check_others_are_known()
    }

    /// Checks that the other first members can be told from whoever else is at their addresses.
    pub(super) fn check_others_are_known(&self) -> Result<(), ConfigError> {
        let others = self.initial_cluster.members().filter(|(name, _)| *name != self.name);
        let mut others = others.flat_map(|(_, urls)| urls);
        let peers = &self.tls.peers;
        match others.find(|url| url.scheme() == Scheme::Https) {
            Some(url) if peers.trusted_ca.is_none() && !peers.makes_its_own() => {
                let listed = match &self.discovery {
                    Some(srv) => format!("--discovery-srv={}", srv.domain),
                    None => "--initial-cluster".to_owned(),
                };
                Err(ConfigError::Contradiction(format!(
                    "{listed} has {url}, which cannot be known for who it is without --peer-trusted-ca-file \
                     (or --peer-auto-tls)"
                )))
            }
            _ => Ok(()),
        }
    }
}

impl ServeConfig {
    /// What the authorities of peers sign is let in among the members: where they sign for clients too, those are.
    fn warn_of_shared_authorities(&self, warnings: &mut Vec<String>) {
        let TlsConfig { clients, peers, .. } = &self.tls;
        let path = |transport: &Transport| transport.trusted_ca.as_ref().map(|file| file.path.clone());
        let listens = self.listen_peer_urls.iter().any(|url| url.scheme() == Scheme::Https);
        if listens
            && path(peers).is_some_and(|of_peers| path(clients) == Some(of_peers))
            && peers.allowed == Allowed::Any
        {
            warnings.push(
                "--peer-trusted-ca-file is --trusted-ca-file: any client's certificate is good for the peers' API, and so \
                 for all data; give peers an authority of their own, or --peer-cert-allowed-cn"
                    .to_owned(),
            );
        }
    }
}

fn check_transport(
    transport: &Transport,
    listen: &[Url],
    names: &Names,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let contradiction = |what: String| Err(ConfigError::Contradiction(what));
    let Names { listen: flag, cert, auto, cert_auth, trusted_ca, .. } = names;
    let by_tls = listen.iter().find(|url| url.scheme() == Scheme::Https);
    if let Some(url) = by_tls
        && transport.own.is_none()
        && !transport.auto
    {
        return contradiction(format!(
            "cannot listen on {url} (--{flag}) without --{cert} and its key, or --{auto}"
        ));
    }
    let allowed = match transport.allowed {
        Allowed::Any => None,
        Allowed::CommonNames(_) => Some(names.allowed_cn),
        Allowed::HostNames(_) => Some(names.allowed_hostname),
    };
    let turn_away: Vec<&str> = transport.crl.as_ref().map(|_| names.crl).into_iter().chain(allowed).collect();
    let asks = transport.cert_auth.then_some(*cert_auth);
    if transport.trusted_ca.is_none()
        && let Some(flag) = asks.iter().chain(&turn_away).next()
    {
        return contradiction(format!("--{flag} needs --{trusted_ca}: nobody is trusted otherwise"));
    }
    if by_tls.is_none()
        && let Some(protects) = turn_away.first()
    {
        return contradiction(format!("--{protects} has no effect: no URL of --{flag} is https"));
    }
    let asks = asks.or(transport.trusted_ca.as_ref().map(|_| *trusted_ca));
    for url in listen.iter().filter(|url| url.scheme() == Scheme::Http) {
        if transport.own.is_some() {
            warnings.push(format!("{url} (--{flag}) is plain text: --{cert} has no effect there"));
        }
        for protects in asks.iter().chain(&turn_away) {
            warnings.push(format!(
                "{url} (--{flag}) is plain text: --{protects} has no effect there, whoever connects is let in"
            ));
        }
    }
    if transport.auto && transport.own.is_some() {
        warnings.push(format!("--{auto} has no effect: --{cert} is given"));
    }
    Ok(())
}

/// Whether a certificate can be for `host`: a name of letters, digits, hyphens and underscores between dots, or an address.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.chars().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.parse::<IpAddr>().is_ok() || (host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label))
}
