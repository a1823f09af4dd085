//! TLS of clients and peers, by `rustls` with `ring`; the simulated build is without it.
//!
//! Read first: [`server`] (what is shown to whoever connects, and what is asked of him), [`dial`] (the same from the other
//! side), [`reload`] (files that change), [`accept`] (connections on their way in).
//!
//! - `material`: files into certificates, keys, authorities, revocations.
//! - `fit`: what a certificate must be like beside signed by a trusted authority.
//! - `names`: what certificates say, read.
//! - `reached`: whether whoever was reached lets in.
//! - `address`: whether a peer's certificate is for the address that it connects from.
//! - `why`: what is said of a connection that came to nothing.
//! - [`made`]: the certificates of `--auto-tls`.
//!
//! Invariants: whoever is not let in has cost a place for a bounded time and one line of log; no session is resumed, so
//! that every connection is judged by the files as they are now; a file that breaks leaves what was read before in force.

/// A connection that writes to the `stream` in it and adds nothing.
macro_rules! writes_through {
    ($connection:ty) => {
        impl tokio::io::AsyncWrite for $connection {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write(context, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write_vectored(context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.stream.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(context)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_shutdown(context)
            }
        }
    };
}

pub mod accept;
mod address;
mod authorities;
pub mod dial;
mod fit;
mod hands;
pub mod made;
mod material;
mod names;
pub mod places;
mod reached;
pub mod reload;
mod revoked;
mod seldom;
pub mod server;
mod why;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::SupportedCipherSuite;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};

use crate::config::tls::{NamedFile, TlsProtocol, TlsVersion};
use crate::env::Clock;

/// The one protocol that is spoken inside, as both sides name it.
const ALPN_H2: &[u8] = b"h2";

/// Why a TLS side cannot be as it is told. One line, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{file}: {why}")]
    File {
        /// Which one.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two files do not belong together.
    #[error("{cert} and {key} do not belong together: the key is that of another certificate")]
    Mismatch {
        /// The certificate.
        cert: String,
        /// The key.
        key: String,
    },
    /// A cipher suite that is not offered.
    #[error("--cipher-suites: {0} is not offered; known are {known}", known = suite_names())]
    CipherSuite(String),
    /// The library refuses what it is told.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

impl TlsError {
    fn file(file: &NamedFile, why: impl fmt::Display) -> TlsError {
        TlsError::File { file: file.to_string(), why: why.to_string() }
    }
}

/// The host's clock, by which certificates are valid or not.
struct WallClock(Arc<dyn Clock>);

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.wall_ms())))
    }
}

/// The name that operators know a suite by: those of TLS 1.3 are without the version.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn suite_names() -> String {
    let all = rustls::crypto::ring::default_provider().cipher_suites;
    all.iter().map(suite_name).collect::<Vec<_>>().join(", ")
}

/// The primitives, with the cipher suites that are wanted. Which of TLS 1.3 are used cannot be chosen; naming them does
/// no harm.
fn provider(protocol: &TlsProtocol) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    let wanted = &protocol.cipher_suites;
    if wanted.is_empty() {
        return Ok(Arc::new(provider));
    }
    let known: Vec<String> = provider.cipher_suites.iter().map(suite_name).collect();
    // Those with ChaCha20 had a shorter name once.
    let short = |name: &str| name.strip_suffix("_POLY1305_SHA256").map(|start| format!("{start}_POLY1305"));
    let same = |wanted: &str, name: &str| wanted == name || short(name).as_deref() == Some(wanted);
    if let Some(unknown) = wanted.iter().find(|wanted| !known.iter().any(|name| same(wanted, name))) {
        return Err(TlsError::CipherSuite(unknown.clone()));
    }
    provider.cipher_suites.retain(|suite| {
        let name = suite_name(suite);
        suite.tls13().is_some() || wanted.iter().any(|wanted| same(wanted, &name))
    });
    Ok(Arc::new(provider))
}

/// The versions that are spoken.
fn versions(protocol: &TlsProtocol) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)];
    let spoken = all.iter().filter(|(version, _)| (protocol.lowest..=protocol.highest).contains(version));
    spoken.map(|(_, known)| *known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(suites: &[&str]) -> TlsProtocol {
        let cipher_suites = suites.iter().map(|suite| (*suite).to_owned()).collect();
        TlsProtocol { cipher_suites, ..TlsProtocol::default() }
    }

    #[test]
    fn suites_are_chosen_by_the_names_that_operators_know() {
        let chosen = provider(&named(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])).unwrap();
        let of_1_2: Vec<String> =
            chosen.cipher_suites.iter().filter(|suite| suite.tls13().is_none()).map(suite_name).collect();
        assert_eq!(of_1_2, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
        assert_eq!(chosen.cipher_suites.len(), 4, "TLS 1.3 has its own three");
        let short = provider(&named(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"])).unwrap();
        assert_eq!(short.cipher_suites.len(), 4);
        let error = provider(&named(&["TLS_RSA_WITH_AES_128_CBC_SHA"])).unwrap_err().to_string();
        assert!(error.starts_with("--cipher-suites: TLS_RSA_WITH_AES_128_CBC_SHA is not offered"), "{error}");
    }

    #[test]
    fn versions_are_a_range() {
        let only =
            |lowest, highest| versions(&TlsProtocol { lowest, highest, ..TlsProtocol::default() }).len();
        assert_eq!(only(TlsVersion::V1_2, TlsVersion::V1_3), 2);
        assert_eq!(only(TlsVersion::V1_3, TlsVersion::V1_3), 1);
        assert_eq!(only(TlsVersion::V1_2, TlsVersion::V1_2), 1);
    }
}
