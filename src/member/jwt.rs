//! Signed tokens as JWT (RFC 7519): the claims `username`, `revision` and `exp` under one way of signing, the member's own.
//!
//! A token says which revision of users and roles it was signed under, and is good for no other, so a change of users or
//! roles ends all of them. That a signature holds is remembered for a while, because it is dear to find out; nothing else is,
//! and no member has to hear of a token. What a header says of the algorithm
//! is believed only when it is the one that was chosen; a token without an end is none.

mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode, encode,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::member::security::{Claims, SignedTokens};

/// Tokens whose signature is known to hold; beyond it all are forgotten, and checked again.
const KNOWN_MAX: usize = 10_000;

/// What is in a token.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    username: String,
    revision: u64,
    #[serde(deserialize_with = "end")]
    exp: u64,
    #[serde(default, skip_serializing, deserialize_with = "beginning")]
    nbf: u64,
}

/// The last whole second before an end: times may have a fraction (RFC 7519, NumericDate).
fn end<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
    secs(from, f64::floor)
}

/// The first whole second after a beginning.
fn beginning<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
    secs(from, f64::ceil)
}

fn secs<'d, D: Deserializer<'d>>(from: D, whole: fn(f64) -> f64) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    let fraction = || Duration::try_from_secs_f64(whole(number.as_f64()?)).ok().map(|time| time.as_secs());
    number.as_u64().or_else(fraction).ok_or_else(|| D::Error::custom("no time since 1970"))
}

/// Why tokens cannot be signed or checked as asked. One line, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// No such way of signing.
    #[error("sign-method {0} is not known")]
    Method(String),
    /// A key that is none, or one of another kind.
    #[error(
        "{name} is no key that {method} can use; want PEM (a private one as PKCS#8), of 2048 bits or more for RSA"
    )]
    Key {
        /// `pub-key` or `priv-key`.
        name: &'static str,
        /// The way of signing.
        method: String,
    },
    /// What the one key signs, the other does not accept.
    #[error("pub-key and priv-key do not belong together")]
    Mismatch,
}

/// The keys, as the bytes of their files.
#[derive(Default)]
pub struct Keys {
    /// The key that checks.
    pub public: Option<Vec<u8>>,
    /// The key that signs, or the shared secret.
    pub private: Option<Vec<u8>>,
}

/// Signs and checks.
pub struct Jwt {
    algorithm: Algorithm,
    signs: Option<EncodingKey>,
    checks: DecodingKey,
    validation: Validation,
    ttl_secs: u64,
    /// What tokens claim whose signature holds, by their SHA-256: a client shows the same one at every call.
    known: Mutex<BTreeMap<[u8; 32], Claims>>,
}

impl Jwt {
    /// With one way of signing, and one key at least. Tokens are good for `ttl`.
    ///
    /// # Errors
    /// See [`JwtError`]; keys are tried before they are needed.
    pub fn new(method: &str, keys: &Keys, ttl: Duration) -> Result<Jwt, JwtError> {
        // Only the first one counts, and all are the same.
        let _same = ring::PROVIDER.install_default();
        let algorithm: Algorithm = method.parse().map_err(|_| JwtError::Method(method.to_owned()))?;
        let unusable = |name| JwtError::Key { name, method: method.to_owned() };
        let signs = keys.private.as_deref().map(|key| private(algorithm, key)).transpose();
        let signs = signs.map_err(|_| unusable("priv-key"))?;
        let checks = match (&keys.public, &signs) {
            (Some(key), _) => public(algorithm, key).map_err(|_| unusable("pub-key"))?,
            (None, Some(signs)) => ring::public_of(algorithm, signs).ok_or_else(|| unusable("priv-key"))?,
            (None, None) => return Err(unusable("pub-key")),
        };
        if !ring::is_usable(algorithm, &checks) {
            return Err(unusable("pub-key"));
        }
        let mut validation = Validation::new(algorithm);
        // The member's clock decides, whenever a token is shown; an audience says nothing here.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let jwt =
            Jwt { algorithm, signs, checks, validation, ttl_secs: ttl.as_secs(), known: Mutex::default() };
        if jwt.signs.is_some() {
            let signed = jwt.sign("probe", 1, 0).ok_or_else(|| unusable("priv-key"))?;
            jwt.verify(&signed).ok_or(JwtError::Mismatch)?;
        }
        Ok(jwt)
    }
}

impl SignedTokens for Jwt {
    fn verify(&self, token: &str) -> Option<Claims> {
        let name: [u8; 32] = Sha256::digest(token).into();
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = known().get(&name) {
            return Some(claims.clone());
        }
        let Body { username, revision, exp, nbf } =
            decode::<Body>(token, &self.checks, &self.validation).ok()?.claims;
        let claims =
            Claims { user: Arc::from(username), auth_revision: revision, begins_secs: nbf, ends_secs: exp };
        let mut known = known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name, claims.clone());
        Some(claims)
    }

    fn sign(&self, user: &str, auth_revision: u64, now_secs: u64) -> Option<String> {
        let exp = now_secs.saturating_add(self.ttl_secs);
        let body = Body { username: user.to_owned(), revision: auth_revision, exp, nbf: 0 };
        encode(&Header::new(self.algorithm), &body, self.signs.as_ref()?).ok()
    }
}

fn private(algorithm: Algorithm, key: &[u8]) -> jsonwebtoken::errors::Result<EncodingKey> {
    match algorithm.family() {
        AlgorithmFamily::Hmac => EncodingKey::from_secret(key),
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(key),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(key),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(key),
    }
}

fn public(algorithm: Algorithm, key: &[u8]) -> jsonwebtoken::errors::Result<DecodingKey> {
    match algorithm.family() {
        AlgorithmFamily::Hmac => DecodingKey::from_secret(key),
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(key),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(key),
        AlgorithmFamily::Ed => DecodingKey::from_ed_pem(key),
    }
}

#[cfg(test)]
mod tests;
