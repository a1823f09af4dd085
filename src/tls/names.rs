//! What a certificate says of its holder, read from its bytes: names, addresses, its number.
//!
//! Nothing here believes a certificate: who calls has had it verified, or asks only what to say of it.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::{GeneralName, X509Certificate};

/// What one certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The last common name of its subject, if there is one.
    pub common_name: Option<String>,
    /// The host names it is for.
    pub hosts: Vec<String>,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
}

/// A certificate's issuer and number, which are one of a kind.
pub type Serial = (Vec<u8>, Vec<u8>);

/// The number as it is compared: leading zeros say nothing.
pub fn number(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// Reads a certificate's names.
///
/// # Errors
/// It is no certificate, or its names are no names.
pub fn names(certificate: &CertificateDer<'_>) -> Result<Names, String> {
    let certificate = parse(certificate)?;
    let common_names = certificate.subject().iter_common_name();
    let common_name = common_names.last().and_then(|name| name.as_str().ok());
    let mut names = Names {
        common_name: common_name.filter(|name| !name.is_empty()).map(str::to_owned),
        ..Names::default()
    };
    let alternatives = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternatives.into_iter().flat_map(|found| &found.value.general_names) {
        match name {
            GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
            GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Ok(names)
}

/// Reads a certificate's issuer and number.
///
/// # Errors
/// It is no certificate.
pub fn serial(certificate: &CertificateDer<'_>) -> Result<Serial, String> {
    let certificate = parse(certificate)?;
    Ok((certificate.issuer().as_raw().to_vec(), number(certificate.raw_serial())))
}

/// The second at which a certificate ends, since 1970.
///
/// # Errors
/// It is no certificate.
pub fn ends_secs(certificate: &CertificateDer<'_>) -> Result<i64, String> {
    lasts_secs(certificate).map(|(_, ends)| ends)
}

/// The first second and the last of a certificate, since 1970.
///
/// # Errors
/// It is no certificate.
pub fn lasts_secs(certificate: &CertificateDer<'_>) -> Result<(i64, i64), String> {
    let certificate = parse(certificate)?;
    let validity = certificate.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// Reads who a certificate is for, as bytes and as text.
///
/// # Errors
/// It is no certificate.
pub fn subject(certificate: &CertificateDer<'_>) -> Result<(Vec<u8>, String), String> {
    let certificate = parse(certificate)?;
    Ok((certificate.subject().as_raw().to_vec(), certificate.subject().to_string()))
}

fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, String> {
    let parsed = parse_x509_certificate(certificate.as_ref());
    parsed.map(|(_, certificate)| certificate).map_err(|error| format!("no certificate: {error}"))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
