//! Certificate authorities of a test, and what they sign.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

/// An authority, and the folder where it leaves what it signs.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// What a certificate is to be like.
#[derive(Clone)]
pub struct Wanted<'w> {
    pub common_name: &'w str,
    pub hosts: &'w [&'w str],
    pub serial: u64,
    pub from_year: i32,
    pub until_year: i32,
    pub usages: &'w [ExtendedKeyUsagePurpose],
}

/// For servers and clients alike.
pub const BOTH: &[ExtendedKeyUsagePurpose] =
    &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

impl Default for Wanted<'_> {
    fn default() -> Self {
        let hosts = &["127.0.0.1", "localhost"];
        Wanted { common_name: "member", hosts, serial: 1, from_year: 2020, until_year: 2120, usages: BOTH }
    }
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// The two files as the values of two options.
    pub fn options(&self, cert: &str, key: &str) -> [String; 2] {
        [format!("--{cert}={}", self.cert.display()), format!("--{key}={}", self.key.display())]
    }
}

impl Authority {
    /// An authority of this name, whose certificate lies in `dir`.
    pub fn new(dir: &Path, name: &str) -> Authority {
        Authority::lasting(dir, name, (2020, 2120))
    }

    /// The same from one year until another.
    pub fn lasting(dir: &Path, name: &str, (from_year, until_year): (i32, i32)) -> Authority {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(from_year, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(dir.join(format!("{name}.pem")), &pem).unwrap();
        Authority { dir: dir.join(name), issuer: Issuer::new(params, key), pem }
    }

    /// Where its own certificate is.
    pub fn file(&self) -> PathBuf {
        self.dir.with_extension("pem")
    }

    /// Its certificate as the value of an option.
    pub fn option(&self, flag: &str) -> String {
        format!("--{flag}={}", self.file().display())
    }

    /// Signs a certificate, which lies under `name` from now on.
    pub fn sign(&self, name: &str, wanted: &Wanted<'_>) -> Files {
        let files = self.files(name);
        self.sign_into(&files, wanted);
        files
    }

    /// Signs a certificate into files that may be there already.
    pub fn sign_into(&self, files: &Files, wanted: &Wanted<'_>) {
        self.sign_key_into(files, wanted, &KeyPair::generate().unwrap());
    }

    /// The same for this key.
    pub fn sign_key_into(&self, files: &Files, wanted: &Wanted<'_>, key: &KeyPair) {
        let hosts: Vec<String> = wanted.hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if !wanted.common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, wanted.common_name);
        }
        params.serial_number = Some(SerialNumber::from(wanted.serial));
        params.not_before = date_time_ymd(wanted.from_year, 1, 1);
        params.not_after = date_time_ymd(wanted.until_year, 1, 1);
        params.extended_key_usages = wanted.usages.to_vec();
        let cert = params.signed_by(key, &self.issuer).unwrap();
        fs::create_dir_all(&self.dir).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::write(&files.cert, cert.pem()).unwrap();
    }

    /// A list of the certificates of these numbers, which count no more, as PEM.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let list = self.list(serials);
        list.pem().unwrap()
    }

    /// The same in DER.
    pub fn revoke_der(&self, serials: &[u64]) -> Vec<u8> {
        self.list(serials).der().to_vec()
    }

    /// Where a certificate of this name and its key lie, or would.
    fn files(&self, name: &str) -> Files {
        Files { cert: self.dir.join(format!("{name}.pem")), key: self.dir.join(format!("{name}.key")) }
    }

    /// Signs a certificate for this key, as [`Authority::sign`].
    pub fn sign_key(&self, name: &str, wanted: &Wanted<'_>, key: &KeyPair) -> Files {
        let files = self.files(name);
        self.sign_key_into(&files, wanted, key);
        files
    }

    fn list(&self, serials: &[u64]) -> rcgen::CertificateRevocationList {
        let gone = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(gone).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap()
    }
}
