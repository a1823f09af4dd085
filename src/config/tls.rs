//! What is said about TLS: files, and what a certificate must be like, for clients and for peers.
//!
//! Plain values with the flag that each file was named by, so that an error about a file says which option to look at.
//! Nothing here reads a file or knows a TLS library.

use std::fmt;
use std::path::PathBuf;

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Clients.
    Clients,
    /// Peers.
    Peers,
}

impl fmt::Display for Whom {
    /// One of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Whom::Clients => "client",
            Whom::Peers => "peer",
        })
    }
}

/// A file that an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The option, without dashes.
    pub flag: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--{})", self.path.display(), self.flag)
    }
}

/// A certificate, with those between it and its authority, and the key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The certificates.
    pub cert: NamedFile,
    /// The key.
    pub key: NamedFile,
}

/// What a certificate must bear beside the signature of a trusted authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing.
    #[default]
    Any,
    /// One of these common names.
    CommonNames(Vec<String>),
    /// One of these host names.
    HostNames(Vec<String>),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}

/// What of TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProtocol {
    /// The lowest version.
    pub lowest: TlsVersion,
    /// The highest.
    pub highest: TlsVersion,
    /// The cipher suites, by name; empty is all.
    pub cipher_suites: Vec<String>,
}

impl Default for TlsProtocol {
    fn default() -> TlsProtocol {
        TlsProtocol { lowest: TlsVersion::V1_2, highest: TlsVersion::V1_3, cipher_suites: Vec::new() }
    }
}

/// What is said about the connections of one kind: those of clients, or those of peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// What the member shows of itself to whoever connects.
    pub own: Option<KeyPairFiles>,
    /// What it shows when it connects to others, if that is something else.
    pub when_dialling: Option<KeyPairFiles>,
    /// The authorities whose certificates count. With them, whoever connects has to show a certificate.
    pub trusted_ca: Option<NamedFile>,
    /// Whether certificates are asked for in so many words: then a client's says which user it is.
    pub cert_auth: bool,
    /// Certificates that count no more.
    pub crl: Option<NamedFile>,
    /// What a certificate must bear.
    pub allowed: Allowed,
    /// Whether the member makes its own certificate, if none is given.
    pub auto: bool,
    /// Whether a certificate may be for another address than the one that its holder connects from.
    pub any_address: bool,
}

impl Transport {
    /// Whether the member makes what it shows.
    pub fn makes_its_own(&self) -> bool {
        self.auto && self.own.is_none()
    }
}

/// Everything that is said about TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Of clients.
    pub clients: Transport,
    /// Of peers.
    pub peers: Transport,
    /// What of TLS is spoken, to both.
    pub protocol: TlsProtocol,
    /// How long certificates last that the member makes, in years.
    pub self_signed_years: u32,
}
