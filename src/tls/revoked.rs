//! Lists of certificates that count no more.
//!
//! Whoever may write the file is believed: a list's signature and its next update are not looked at. But a file is read
//! whole or refused: what would be passed over in it would be certificates that still count.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::der_parser::parse_der;
use x509_parser::extensions::X509Extension;
use x509_parser::parse_x509_crl;

use crate::config::tls::NamedFile;
use crate::tls::TlsError;
use crate::tls::authorities::Authorities;
use crate::tls::material::Contents;
use crate::tls::names::{Serial, number};

/// The extension of a list by which it may be for a part of the certificates, or for those of others (RFC 5280, 5.2.5).
const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
/// The extension of a list that holds only what has changed since another one (5.2.4).
const DELTA_INDICATOR: &str = "2.5.29.27";
/// The extension of an entry that is of another issuer than the list (5.3.3).
const CERTIFICATE_ISSUER: &str = "2.5.29.29";
/// The field that says that a list is for certificates of others.
const INDIRECT: u32 = 4;
/// How a section of PEM begins.
const SECTION: &str = "-BEGIN";

/// Certificates that count no more, by issuer and number.
pub type Revoked = BTreeSet<Serial>;

/// What is wrong with a file of lists.
type Why = String;

/// Reads the lists of a file, which are to be those of `authorities`: others are told of.
///
/// # Errors
/// The file holds no list, or something else, or a list of a kind that is not understood.
pub fn read(contents: &Contents, file: &NamedFile, authorities: &Authorities) -> Result<Revoked, TlsError> {
    let bytes = contents.of(file)?;
    let mut revoked = Revoked::new();
    let mut take = |der: &[u8]| -> Result<(), Why> {
        let (issuer, name) = add(der, &mut revoked)?;
        if !authorities.has(&issuer) {
            let of = authorities.file();
            tracing::warn!(%file, issuer = name, authorities = %of, "this list of revocations is by no trusted authority");
        }
        Ok(())
    };
    lists(bytes)
        .and_then(|lists| lists.iter().try_for_each(|list| take(list)))
        .map_err(|why| TlsError::file(file, why))?;
    Ok(revoked)
}

/// The lists of a file, one at least: PEM, of which there may be several, or one as it is.
fn lists(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Why> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if !text.contains(SECTION) {
        return Ok(vec![bytes.to_vec()]);
    }
    let lists: Vec<Vec<u8>> = CertificateRevocationListDer::pem_slice_iter(bytes)
        .map(|list| list.map(|list| list.as_ref().to_vec()))
        .collect::<Result<_, _>>()
        .map_err(no_list)?;
    let others = text.matches(SECTION).count().saturating_sub(lists.len());
    if lists.is_empty() {
        return Err("holds no list of revocations".to_owned());
    }
    if others > 0 {
        return Err(format!("holds something else beside lists of revocations ({others} of its sections)"));
    }
    Ok(lists)
}

fn no_list(error: impl std::fmt::Display) -> Why {
    format!("holds no list of revocations: {error}")
}

/// Adds what a list revokes; its issuer, as bytes and as text.
fn add(der: &[u8], revoked: &mut Revoked) -> Result<(Vec<u8>, String), Why> {
    let (rest, list) = parse_x509_crl(der).map_err(no_list)?;
    if !rest.is_empty() {
        return Err(format!(
            "holds {} bytes behind a list of revocations (several lists want PEM)",
            rest.len()
        ));
    }
    let bears = |extensions: &[X509Extension<'_>], id: &str| {
        extensions.iter().any(|extension| extension.oid.to_id_string() == id)
    };
    if list.extensions().iter().any(is_indirect) {
        return Err("holds a list of revocations for certificates of other issuers (indirect)".to_owned());
    }
    if bears(list.extensions(), DELTA_INDICATOR) {
        return Err("holds a list of the latest revocations alone (delta)".to_owned());
    }
    let issuer = list.issuer().as_raw().to_vec();
    for gone in list.iter_revoked_certificates() {
        if bears(gone.extensions(), CERTIFICATE_ISSUER) {
            return Err("holds a list that revokes a certificate of another issuer".to_owned());
        }
        revoked.insert((issuer.clone(), number(gone.raw_serial())));
    }
    Ok((issuer, list.issuer().to_string()))
}

/// Whether an extension says that a list is for certificates of others, or may say so.
fn is_indirect(extension: &X509Extension<'_>) -> bool {
    if extension.oid.to_id_string() != ISSUING_DISTRIBUTION_POINT {
        return false;
    }
    let Ok((_, point)) = parse_der(extension.value) else { return true };
    // The field is there only when it is true.
    point.as_sequence().map_or(true, |fields| fields.iter().any(|field| field.header.tag().0 == INDIRECT))
}

#[cfg(test)]
mod tests;
