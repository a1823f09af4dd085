//! Why a connection came to nothing, in words for the operator of the side that says so.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What is said of somebody who connected.
pub fn of_accepting(error: &io::Error) -> String {
    library(error).map_or_else(|| error.to_string(), |error| words(error, "--trusted-ca-file"))
}

/// What is said of somebody who was connected to; nothing when he was not even reached.
pub fn of_dialling(error: &io::Error) -> Option<String> {
    library(error).map(|error| words(error, "the trusted CA file"))
}

/// What is wrong with a certificate of one's own.
pub fn of_own(why: &CertificateError) -> String {
    let of_another = of_certificate(why, "");
    of_another
        .strip_prefix("its certificate ")
        .map_or(of_another.clone(), |what| format!("the certificate {what}"))
}

/// Whether the other side went away without having said anything wrong, as probes of a port do.
pub fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

fn library(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

fn words(error: &Error, authorities: &str) -> String {
    match error {
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::InvalidCertificate(why) => of_certificate(why, authorities),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(why) => format!("it speaks no TLS that is spoken here: {why:?}"),
        Error::InvalidMessage(why) => format!("it does not speak TLS: {why:?}"),
        other => other.to_string(),
    }
}

fn of_certificate(why: &CertificateError, authorities: &str) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            format!("its certificate is signed by no authority of {authorities}")
        }
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        CertificateError::NotValidForName => "its certificate is for another host".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is not for {} but for {}", expected.to_str(), presented.join(", "))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose (extended key usage)".to_owned()
        }
        // The library says this by its name alone.
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "its certificate is of another version of X.509 than 3".to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => format!("its certificate cannot be used: {other:?}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let what = match alert {
        AlertDescription::UnknownCA => "it trusts no authority that signed this member's certificate",
        AlertDescription::CertificateExpired => "it finds this side's certificate expired",
        AlertDescription::CertificateRevoked => "it finds this side's certificate revoked",
        AlertDescription::CertificateRequired => "it asks for a certificate, and none is shown",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that is spoken here",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it does not accept this side's certificate",
        other => return format!("it broke off: {other:?}"),
    };
    what.to_owned()
}
