//! Files into what TLS is made of: their bytes, certificates, and keys.
//!
//! Every error names the file, and the option that named it. Files are bounded; private keys are kept in memory as long
//! as they are in force.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::tls::{KeyPairFiles, NamedFile};
use crate::env::{Disk, OpenMode};
use crate::tls::TlsError;
use crate::tls::names;

/// The largest file that is read, bytes: lists of revoked certificates grow.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The bytes of files, by path. What cannot be read says why.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

impl Contents {
    /// Reads all of them.
    pub fn read(disk: &dyn Disk, paths: &BTreeSet<PathBuf>) -> Contents {
        let read = |path: &PathBuf| {
            let bytes = read_file(disk, path).map_err(|error| format!("cannot be read: {error}"));
            (path.clone(), bytes)
        };
        Contents(paths.iter().map(read).collect())
    }

    /// The bytes of one file.
    ///
    /// # Errors
    /// It could not be read.
    pub fn of(&self, file: &NamedFile) -> Result<&[u8], TlsError> {
        match self.0.get(&file.path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(why)) => Err(TlsError::file(file, why)),
            None => Err(TlsError::file(file, "was not read")),
        }
    }

    /// A certificate with those behind it, and its key.
    ///
    /// # Errors
    /// They are not there, or are something else.
    pub fn pair(&self, files: &KeyPairFiles) -> Result<Pair, TlsError> {
        let chain = self.certificates(&files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(self.of(&files.key)?)
            .map_err(|error| TlsError::file(&files.key, format!("holds no private key: {error}")))?;
        Ok(Pair { chain, key })
    }

    /// All certificates of a file, one at least.
    ///
    /// # Errors
    /// There is none, or something else.
    pub fn certificates(&self, file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.of(file)?).collect();
        match found {
            Ok(found) if found.is_empty() => Err(TlsError::file(file, "holds no certificate")),
            Ok(found) => Ok(found),
            Err(error) => Err(TlsError::file(file, format!("cannot be understood: {error}"))),
        }
    }
}

/// A certificate with those behind it, and its key.
pub struct Pair {
    /// The certificates, the own one first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

impl Pair {
    /// Says so when the own certificate, of this file, has ended by `now_ms` since 1970: it is shown all the same, and
    /// turned away by whoever looks at it.
    pub fn tell_if_ended(&self, file: &NamedFile, now_ms: u64) {
        let ends_secs = self.chain.first().and_then(|own| names::ends_secs(own).ok());
        let now_secs = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
        if ends_secs.is_some_and(|ends| ends <= now_secs) {
            tracing::warn!(%file, "this certificate has expired");
        }
    }
}

fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("has more than {FILE_BYTES_MAX} bytes"),
        ));
    }
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}
