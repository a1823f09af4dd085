//! Authorities, each for as long as it lasts.
//!
//! The library takes an authority for a name and a key, and does not ask for its dates: so those whose time is over, or has
//! not begun, are kept from it, anew whenever one's time begins or ends.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::config::tls::NamedFile;
use crate::tls::material::Contents;
use crate::tls::{TlsError, names};

/// One authority.
#[derive(Clone)]
struct Authority {
    certificate: CertificateDer<'static>,
    subject: Vec<u8>,
    /// Its first second and its last, since 1970.
    lasts_secs: (i64, i64),
}

/// The authorities of a file.
#[derive(Clone)]
pub struct Authorities {
    file: NamedFile,
    all: Vec<Authority>,
}

impl Authorities {
    /// Reads them. Those that are not valid at `now_ms` since 1970 are told of.
    ///
    /// # Errors
    /// There is none, or one is no authority that can be used.
    pub fn read(contents: &Contents, file: &NamedFile, now_ms: u64) -> Result<Authorities, TlsError> {
        let now_secs = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
        let unusable = |why: String| TlsError::file(file, why);
        let mut all = Vec::new();
        for certificate in contents.certificates(file)? {
            let (subject, name) = names::subject(&certificate).map_err(unusable)?;
            let lasts_secs = names::lasts_secs(&certificate).map_err(unusable)?;
            if now_secs < lasts_secs.0 {
                tracing::warn!(%file, authority = name, "this authority is not valid yet");
            } else if now_secs > lasts_secs.1 {
                tracing::warn!(%file, authority = name, "this authority has expired");
            }
            all.push(Authority { certificate, subject, lasts_secs });
        }
        Ok(Authorities { file: file.clone(), all })
    }

    /// The file.
    pub fn file(&self) -> &NamedFile {
        &self.file
    }

    /// Whether one of them has this name, as bytes.
    pub fn has(&self, subject: &[u8]) -> bool {
        self.all.iter().any(|authority| authority.subject == subject)
    }

    fn store(all: impl Iterator<Item = Authority>) -> Result<Arc<RootCertStore>, String> {
        let mut roots = RootCertStore::empty();
        for authority in all {
            roots.add(authority.certificate).map_err(|error| error.to_string())?;
        }
        Ok(Arc::new(roots))
    }

    /// From when and until when, in seconds, the same ones are valid as at `now_secs`.
    fn alike(&self, now_secs: i64) -> (i64, i64) {
        let begins = self.all.iter().map(|authority| authority.lasts_secs.0);
        let ends = self.all.iter().map(|authority| authority.lasts_secs.1.saturating_add(1));
        let turns: Vec<i64> = begins.chain(ends).collect();
        let before = turns.iter().copied().filter(|turn| *turn <= now_secs).max();
        let after = turns.iter().copied().filter(|turn| *turn > now_secs).min();
        (before.unwrap_or(i64::MIN), after.unwrap_or(i64::MAX))
    }
}

/// How a verifier is made of authorities.
type Make<V> = Box<dyn Fn(Arc<RootCertStore>) -> Result<Arc<V>, String> + Send + Sync>;

/// What verifies certificates by the authorities that are valid at the time.
pub struct Timely<V: ?Sized> {
    authorities: Authorities,
    make: Make<V>,
    always: Arc<V>,
    latest: Mutex<Latest<V>>,
}

/// One that was made for a span of time, in seconds; the end is not in it. None where no authority is valid.
struct Latest<V: ?Sized> {
    from_secs: i64,
    until_secs: i64,
    verifier: Option<Arc<V>>,
}

impl<V: ?Sized> Timely<V> {
    /// By these authorities.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(
        authorities: Authorities,
        make: impl Fn(Arc<RootCertStore>) -> Result<Arc<V>, String> + Send + Sync + 'static,
    ) -> Result<Timely<V>, String> {
        let always = make(Authorities::store(authorities.all.iter().cloned())?)?;
        // A span without a second.
        let latest = Latest { from_secs: i64::MAX, until_secs: i64::MIN, verifier: None };
        Ok(Timely { authorities, make: Box::new(make), always, latest: Mutex::new(latest) })
    }

    /// What would trust all of them at any time: for what has nothing to do with them.
    pub fn always(&self) -> &Arc<V> {
        &self.always
    }

    /// What trusts those that are valid now; nothing when none is.
    pub fn at(&self, now: UnixTime) -> Option<Arc<V>> {
        let now_secs = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if now_secs < latest.from_secs || now_secs >= latest.until_secs {
            let (from_secs, until_secs) = self.authorities.alike(now_secs);
            let valid = |authority: &&Authority| {
                let (begins, ends) = authority.lasts_secs;
                (begins..=ends).contains(&now_secs)
            };
            let valid: Vec<Authority> = self.authorities.all.iter().filter(valid).cloned().collect();
            // All of them could be used, so can some; of none nothing is made.
            let verifier = match valid.is_empty() {
                true => None,
                false => Authorities::store(valid.into_iter()).and_then(&self.make).ok(),
            };
            *latest = Latest { from_secs, until_secs, verifier };
        }
        latest.verifier.clone()
    }
}

impl<V: ?Sized> fmt::Debug for Timely<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timely").field("file", &self.authorities.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;
    use crate::env::Env;

    fn authority(from_year: i32, until_year: i32) -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(from_year, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn at(year: i32) -> UnixTime {
        let secs = date_time_ymd(year, 6, 1).unix_timestamp();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs.try_into().unwrap()))
    }

    #[test]
    fn an_authority_counts_from_its_beginning_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = NamedFile { flag: "trusted-ca-file", path: dir.path().join("ca.pem") };
        std::fs::write(&file.path, authority(2020, 2030) + &authority(2025, 2040)).unwrap();
        let disk = Env::real().unwrap().disk;
        let contents = Contents::read(&*disk, &BTreeSet::from([file.path.clone()]));
        let authorities = Authorities::read(&contents, &file, 0).unwrap();
        let timely = Timely::new(authorities, Ok).unwrap();
        assert_eq!(timely.always().len(), 2);
        let years = [2_019, 2_022, 2_027, 2_035, 2_041, 2_027];
        let count = |year| timely.at(at(year)).map_or(0, |roots| roots.len());
        assert_eq!(years.map(count), [0, 1, 2, 1, 0, 2]);
        let kept = timely.at(at(2_027)).unwrap();
        assert!(Arc::ptr_eq(&kept, &timely.at(at(2_028)).unwrap()), "made anew only when one comes or goes");
    }
}
