//! Every way of a file of lists not to be one.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList, CertificateRevocationListParams,
    CrlDistributionPoint, CrlIssuingDistributionPoint, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;
use crate::env::{Env, OpenMode};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

impl Authority {
    fn list(&self, serial: u64) -> CertificateRevocationList {
        self.list_for(serial, None)
    }

    fn list_for(
        &self,
        serial: u64,
        issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
    ) -> CertificateRevocationList {
        let gone = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from_slice(&[1, 2, 3]),
            issuing_distribution_point,
            revoked_certs: vec![gone],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap()
    }
}

fn ask(dir: &Path, trusted: &Authority, list: &[u8]) -> Result<usize, String> {
    let named = |flag, name: &str| NamedFile { flag, path: dir.join(name) };
    let (ca, crl) = (named("trusted-ca-file", "ca.pem"), named("client-crl-file", "crl"));
    let disk = Env::real().unwrap().disk;
    for (file, bytes) in [(&ca, trusted.pem.as_bytes()), (&crl, list)] {
        let file = disk.open(&file.path, OpenMode::Create).unwrap();
        file.set_len(0).and_then(|()| file.write_at(0, bytes)).unwrap();
    }
    let paths: BTreeSet<PathBuf> = [&ca, &crl].map(|file| file.path.clone()).into();
    let contents = Contents::read(&*disk, &paths);
    let authorities = Authorities::read(&contents, &ca, 0).unwrap();
    read(&contents, &crl, &authorities).map(|revoked| revoked.len()).map_err(|error| error.to_string())
}

#[test]
fn a_file_is_read_whole_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (authority("one"), authority("two"));
    let (pem, der) = (|of: &Authority, nth| of.list(nth).pem().unwrap(), one.list(1).der().to_vec());
    let text = |parts: &[&str]| parts.concat().into_bytes();
    let second = pem(&two, 2);
    let indented = second.replace("-----BEGIN", "  -----BEGIN");
    let unknown = second.replace("X509 CRL", "X509 LIST");
    let beside = "holds something else beside lists of revocations (1 of its sections)";
    for (list, want) in [
        (der.clone(), Ok(1)),
        (text(&[&pem(&one, 1)]), Ok(1)),
        (text(&["of one\n", &pem(&one, 1), "of two\n", &second]), Ok(2)),
        ([der.clone(), two.list(2).der().to_vec()].concat(), Err("behind a list of revocations")),
        ([der.clone(), second.clone().into_bytes()].concat(), Err("behind a list of revocations")),
        ([der.clone(), vec![b'\n']].concat(), Err("holds 1 bytes behind a list of revocations")),
        (text(&[&pem(&one, 1), &indented]), Err(beside)),
        (text(&[&pem(&one, 1), &unknown]), Err(beside)),
        (text(&[&pem(&one, 1), &one.pem]), Err(beside)),
        (text(&[&one.pem]), Err("holds no list of revocations")),
        (Vec::new(), Err("holds no list of revocations")),
    ] {
        match (ask(dir.path(), &one, &list), want) {
            (Ok(count), Ok(want)) => assert_eq!(count, want),
            (Err(why), Err(want)) => {
                assert!(why.contains(want) && why.contains("crl (--client-crl-file)"), "{why}")
            }
            (got, want) => panic!("{got:?} is not {want:?}: {}", String::from_utf8_lossy(&list)),
        }
    }
}

/// The last byte of the names of extensions: the number of a list, and why a certificate was revoked.
const NUMBER: u8 = 0x14;
const REASON: u8 = 0x15;

/// A list in which the extension `from` is another one: the signature is not looked at.
fn with_extension(list: &CertificateRevocationList, from: u8, to: u8, value: &[u8]) -> Vec<u8> {
    let mut der = list.der().to_vec();
    let at = der.windows(5).position(|window| window == [0x06, 0x03, 0x55, 0x1d, from]).unwrap();
    der[at + 4] = to;
    // Behind the name comes a string with the value in it.
    assert_eq!((der[at + 5], usize::from(der[at + 6])), (0x04, value.len()));
    der[at + 7..at + 7 + value.len()].copy_from_slice(value);
    der
}

#[test]
fn lists_that_are_not_of_their_issuer_s_own_certificates_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let one = authority("one");
    let point = CrlDistributionPoint { uris: vec!["http://example.com/1".to_owned()] };
    let of_users = CrlIssuingDistributionPoint {
        distribution_point: point,
        scope: Some(rcgen::CrlScope::UserCertsOnly),
    };
    let part = one.list_for(1, Some(of_users));
    assert_eq!(ask(dir.path(), &one, part.der()), Ok(1), "whatever a part revokes counts");
    let plain = one.list(1);
    let indirect = "for certificates of other issuers (indirect)";
    for (from, to, value, want) in [
        (NUMBER, 28, &[0x30, 0x03, 0x84, 0x01, 0xff][..], indirect),
        (NUMBER, 28, &[0x02, 0x03, 0x84, 0x01, 0xff], indirect),
        (NUMBER, 27, &[0x02, 0x03, 0x01, 0x01, 0x01], "the latest revocations alone (delta)"),
        (REASON, 29, &[0x0a, 0x01, 0x01], "revokes a certificate of another issuer"),
    ] {
        let why = ask(dir.path(), &one, &with_extension(&plain, from, to, value)).unwrap_err();
        assert!(why.contains(want), "{why}");
    }
}
