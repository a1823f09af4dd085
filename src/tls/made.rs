//! Certificates that a member makes for itself, for `--auto-tls` and `--peer-auto-tls`: they keep what is said from
//! others' ears, and prove nothing of who says it.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::time::ASN1Time;

use crate::config::tls::Whom;
use crate::tls::names;

/// Seconds of a year, as certificates count them.
const YEAR_SECS: i64 = 365 * 24 * 60 * 60;

/// A certificate and its key, as text.
pub struct Made {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

/// Makes a certificate for `hosts`, valid from `now_secs` since 1970 for some years.
///
/// # Errors
/// A host is no name, or the years are too many for a date.
pub fn make(whom: Whom, hosts: Vec<String>, now_secs: i64, years: u32) -> Result<Made, String> {
    let time = |secs| ASN1Time::from_timestamp(secs).map_err(|error| error.to_string());
    let lasts = i64::from(years).saturating_mul(YEAR_SECS);
    let mut params = CertificateParams::new(hosts).map_err(|error| error.to_string())?;
    params.not_before = time(now_secs)?.to_datetime();
    params.not_after = time(now_secs.saturating_add(lasts))?.to_datetime();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "quorate");
    params.extended_key_usages = match whom {
        Whom::Clients => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Whom::Peers => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let cert = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(Made { cert: cert.pem(), key: key.serialize_pem() })
}

/// Whether the certificate in this text has ended by `now_secs`; one that cannot be read has not begun.
pub fn has_ended(cert: &[u8], now_secs: i64) -> bool {
    let read = CertificateDer::from_pem_slice(cert).map_err(|error| error.to_string());
    read.and_then(|cert| names::ends_secs(&cert)).map_or(true, |ends| ends <= now_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_SECS: i64 = 1_800_000_000;

    #[test]
    fn a_made_certificate_is_for_its_hosts_and_lasts_its_years() {
        let hosts = vec!["10.0.0.1".to_owned(), "localhost".to_owned()];
        let made = make(Whom::Clients, hosts, NOW_SECS, 2).unwrap();
        let cert = CertificateDer::from_pem_slice(made.cert.as_bytes()).unwrap();
        let names = names::names(&cert).unwrap();
        assert_eq!((names.common_name, names.hosts), (None, vec!["localhost".to_owned()]));
        assert_eq!(names.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
        assert!(!has_ended(made.cert.as_bytes(), NOW_SECS + 2 * YEAR_SECS - 1));
        assert!(has_ended(made.cert.as_bytes(), NOW_SECS + 2 * YEAR_SECS));
        assert!(has_ended(b"no certificate", NOW_SECS));
    }
}
