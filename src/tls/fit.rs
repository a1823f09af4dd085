//! What a certificate must be like beside signed by a trusted authority: not revoked, and bearing an allowed name. The
//! same is asked of whoever connects and of whoever is connected to.
//!
//! The library verifies first; what is asked here only ever refuses.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use crate::config::tls::Allowed;
use crate::tls::authorities::Timely;
use crate::tls::names;
use crate::tls::revoked::Revoked;

/// Why a certificate does not do that is otherwise in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It bears no common name that is allowed.
    #[error("its certificate bears the common name {0:?}, which is not allowed")]
    CommonName(String),
    /// It is for no host name that is allowed.
    #[error("its certificate is for {0:?}, none of which is allowed")]
    HostName(Vec<String>),
    /// It is signed by an authority whose own time is over, or has not begun.
    #[error("its certificate is signed by an authority that has expired or is not valid yet")]
    Authority,
}

/// What is asked of certificates.
#[derive(Clone, Default)]
pub struct Fit {
    /// The names that are allowed.
    pub allowed: Allowed,
    /// Certificates that count no more.
    pub revoked: Revoked,
}

impl fmt::Debug for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit").field("allowed", &self.allowed).field("revoked", &self.revoked.len()).finish()
    }
}

impl Fit {
    fn check(&self, own: &CertificateDer<'_>, behind: &[CertificateDer<'_>]) -> Result<(), Error> {
        let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        if !self.revoked.is_empty() {
            for certificate in std::iter::once(own).chain(behind) {
                if self.revoked.contains(&names::serial(certificate).map_err(unreadable)?) {
                    return Err(Error::InvalidCertificate(CertificateError::Revoked));
                }
            }
        }
        if self.allowed == Allowed::Any {
            return Ok(());
        }
        let shown = names::names(own).map_err(unreadable)?;
        match &self.allowed {
            Allowed::CommonNames(allowed)
                if !shown.common_name.as_ref().is_some_and(|name| allowed.contains(name)) =>
            {
                Err(unfit(Unfit::CommonName(shown.common_name.unwrap_or_default())))
            }
            Allowed::HostNames(allowed) if !allowed.iter().any(|name| is_for(own, name)) => {
                let mut hosts = shown.hosts;
                hosts.extend(shown.addresses.iter().map(ToString::to_string));
                Err(unfit(Unfit::HostName(hosts)))
            }
            _ => Ok(()),
        }
    }
}

/// What a verifier has answered, or what there is to say where no authority is good now or where it is `overdue`: one that
/// would trust authorities at any time has no objection.
fn in_time<V>(
    answered: Option<Result<V, Error>>,
    overdue: impl FnOnce() -> Result<V, Error>,
) -> Result<V, Error> {
    match answered {
        Some(Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))) | None => {
            overdue().and(Err(unfit(Unfit::Authority)))
        }
        Some(answered) => answered,
    }
}

fn unfit(why: Unfit) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// Whether a certificate is for a host of this name or address, wildcards included.
fn is_for(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let (Ok(parsed), Ok(name)) =
        (rustls::server::ParsedCertificate::try_from(certificate), ServerName::try_from(host))
    else {
        return false;
    };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}

/// Verifies whoever connects.
#[derive(Debug)]
pub struct FitClients {
    /// What the library asks.
    pub library: Timely<dyn ClientCertVerifier>,
    /// What is asked beside.
    pub fit: Fit,
}

impl ClientCertVerifier for FitClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.library.always().root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let ask = |library: &Arc<dyn ClientCertVerifier>| library.verify_client_cert(own, behind, now);
        let verified = in_time(self.library.at(now).as_ref().map(ask), || ask(self.library.always()))?;
        self.fit.check(own, behind)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.always().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.always().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.always().supported_verify_schemes()
    }
}

/// Verifies whoever is connected to.
#[derive(Debug)]
pub struct FitServers {
    /// What the library asks.
    pub library: Timely<dyn ServerCertVerifier>,
    /// What is asked beside.
    pub fit: Fit,
}

impl ServerCertVerifier for FitServers {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ask =
            |library: &Arc<dyn ServerCertVerifier>| library.verify_server_cert(own, behind, name, ocsp, now);
        let verified = in_time(self.library.at(now).as_ref().map(ask), || ask(self.library.always()))?;
        self.fit.check(own, behind)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.always().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.always().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.always().supported_verify_schemes()
    }
}

/// Takes whoever is connected to for who it says it is; that it holds the key of the certificate it shows is proven all
/// the same. For `--insecure-skip-tls-verify`, and for peers with made certificates.
#[derive(Debug)]
pub struct AnyServer {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyServer {
    /// With what `provider` can check.
    pub fn new(provider: &CryptoProvider) -> AnyServer {
        AnyServer { algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
