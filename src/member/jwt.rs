//! Signed tokens as JWT (RFC 7519): the claims `username`, `revision` and `exp` under one way of signing, the member's own.
//!
//! A token says which revision of users and roles it was signed under, and is good for no other, so a change of users or
//! roles ends all of them. Nothing is remembered, and no member has to hear of a token. What a header says of the algorithm
//! is believed only when it is the one that was chosen; a token without an end is none.

mod ring;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode, encode,
};
use serde::{Deserialize, Serialize};

use crate::member::security::{Claims, SignedTokens};

/// What is in a token.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    username: String,
    revision: u64,
    exp: u64,
    #[serde(default, skip_serializing)]
    nbf: u64,
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
        let jwt = Jwt { algorithm, signs, checks, validation, ttl_secs: ttl.as_secs() };
        if jwt.signs.is_some() {
            let signed = jwt.sign("probe", 1, 0).ok_or_else(|| unusable("priv-key"))?;
            jwt.verify(&signed).ok_or(JwtError::Mismatch)?;
        }
        Ok(jwt)
    }
}

impl SignedTokens for Jwt {
    fn verify(&self, token: &str) -> Option<Claims> {
        let Body { username, revision, exp, nbf } =
            decode::<Body>(token, &self.checks, &self.validation).ok()?.claims;
        let claims =
            Claims { user: Arc::from(username), auth_revision: revision, begins_secs: nbf, ends_secs: exp };
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
