//! The primitives under signed tokens, by `ring`, as the token library asks for them.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature as traits;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// What the library is to use.
pub static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Signer::new(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Verifier::new(*algorithm, key)?)),
    // Sets of keys are not read here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// How one algorithm is done.
enum How {
    Hmac(hmac::Algorithm),
    Rsa(&'static dyn RsaEncoding, &'static dyn VerificationAlgorithm),
    Ec(&'static EcdsaSigningAlgorithm, &'static dyn VerificationAlgorithm),
    Ed,
}

fn how(algorithm: Algorithm) -> Option<How> {
    Some(match algorithm {
        Algorithm::HS256 => How::Hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => How::Hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => How::Hmac(hmac::HMAC_SHA512),
        Algorithm::RS256 => How::Rsa(&signature::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => How::Rsa(&signature::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => How::Rsa(&signature::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => How::Rsa(&signature::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => How::Rsa(&signature::RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => How::Rsa(&signature::RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => {
            How::Ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &signature::ECDSA_P256_SHA256_FIXED)
        }
        Algorithm::ES384 => {
            How::Ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &signature::ECDSA_P384_SHA384_FIXED)
        }
        Algorithm::EdDSA => How::Ed,
        _ => return None,
    })
}

fn ec_pair(algorithm: &'static EcdsaSigningAlgorithm, key: &EncodingKey) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(algorithm, key.as_bytes(), &SystemRandom::new()).ok()
}

/// What checks the signatures of `key`: the secret itself, or the public half.
pub fn public_of(algorithm: Algorithm, key: &EncodingKey) -> Option<DecodingKey> {
    Some(match how(algorithm)? {
        How::Hmac(_) => DecodingKey::from_secret(key.as_bytes()).ok()?,
        How::Rsa(..) => {
            DecodingKey::from_rsa_der(RsaKeyPair::from_der(key.as_bytes()).ok()?.public_key().as_ref())
        }
        How::Ec(by, _) => DecodingKey::from_ec_der(ec_pair(by, key)?.public_key().as_ref()),
        How::Ed => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes()).ok()?;
            DecodingKey::from_ed_der(pair.public_key().as_ref())
        }
    })
}

/// Whether a key that checks is as long as keys of its kind are; of RSA, whether it is one at all shows when it is used.
pub fn is_usable(algorithm: Algorithm, key: &DecodingKey) -> bool {
    let Ok(bytes) = key.try_get_as_bytes() else { return false };
    match algorithm {
        Algorithm::ES256 => bytes.len() == 65,
        Algorithm::ES384 => bytes.len() == 97,
        Algorithm::EdDSA => bytes.len() == 32,
        // A modulus of 2048 bits, and what stands around it.
        _ if algorithm.family() == AlgorithmFamily::Rsa => bytes.len() > 256,
        _ => !bytes.is_empty(),
    }
}

struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Signer> {
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Signer { algorithm, key: key.clone() })
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        Some(match how(self.algorithm)? {
            How::Hmac(by) => hmac::sign(&hmac::Key::new(by, self.key.as_bytes()), message).as_ref().to_vec(),
            How::Rsa(encoding, _) => {
                let pair = RsaKeyPair::from_der(self.key.as_bytes()).ok()?;
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).ok()?;
                signature
            }
            How::Ec(by, _) => ec_pair(by, &self.key)?.sign(&random, message).ok()?.as_ref().to_vec(),
            How::Ed => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(self.key.as_bytes()).ok()?;
                pair.sign(message).as_ref().to_vec()
            }
        })
    }
}

impl traits::Signer<Vec<u8>> for Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, traits::Error> {
        self.sign(message).ok_or_else(traits::Error::new)
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct Verifier {
    algorithm: Algorithm,
    key: Vec<u8>,
}

impl Verifier {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Verifier> {
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Verifier { algorithm, key: key.try_get_as_bytes()?.to_vec() })
    }

    fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature).is_ok()
        };
        match how(self.algorithm) {
            Some(How::Hmac(by)) => hmac::verify(&hmac::Key::new(by, &self.key), message, signature).is_ok(),
            Some(How::Rsa(_, algorithm) | How::Ec(_, algorithm)) => by(algorithm),
            Some(How::Ed) => by(&signature::ED25519),
            None => false,
        }
    }
}

impl traits::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), traits::Error> {
        if self.holds(message, signature) { Ok(()) } else { Err(traits::Error::new()) }
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
