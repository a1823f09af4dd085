//! Every way of signing, and every way of a token not to count.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SignatureAlgorithm,
};

use super::*;

const TTL: Duration = Duration::from_secs(300);
const SECRET: &[u8] = b"a secret that both sides know";

/// A private key of RSA, made for these tests.
const RSA_KEY: &[u8] = include_bytes!("rsa-of-tests.pem");
/// Its public half.
const RSA_PUBLIC: &[u8] = include_bytes!("rsa-of-tests.pub.pem");

fn made(by: &'static SignatureAlgorithm) -> Keys {
    let pair = KeyPair::generate_for(by).unwrap();
    let public = pem("PUBLIC KEY", &pair.subject_public_key_info());
    Keys { public: Some(public), private: Some(pair.serialize_pem().into_bytes()) }
}

fn pem(tag: &str, der: &[u8]) -> Vec<u8> {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {tag}-----\n{text}\n-----END {tag}-----\n").into_bytes()
}

fn rsa() -> Keys {
    Keys { public: Some(RSA_PUBLIC.to_vec()), private: Some(RSA_KEY.to_vec()) }
}

fn keys(method: &str) -> Keys {
    match method {
        "ES256" => made(&PKCS_ECDSA_P256_SHA256),
        "ES384" => made(&PKCS_ECDSA_P384_SHA384),
        "EdDSA" => made(&PKCS_ED25519),
        _ if method.starts_with("HS") => Keys { public: None, private: Some(SECRET.to_vec()) },
        _ => rsa(),
    }
}

#[test]
fn every_way_of_signing_signs_and_checks() {
    for method in crate::config::auth_token::SIGN_METHODS {
        let Keys { public, private } = keys(method);
        let both = Jwt::new(method, &Keys { public: public.clone(), private: private.clone() }, TTL).unwrap();
        let token = both.sign("alice", 7, 1_000).unwrap();
        let claims = Claims { user: Arc::from("alice"), auth_revision: 7, begins_secs: 0, ends_secs: 1_300 };
        assert_eq!(both.verify(&token), Some(claims.clone()), "{method}");
        let signs_alone = Jwt::new(method, &Keys { public: None, private }, TTL).unwrap();
        assert_eq!(signs_alone.verify(&token), Some(claims.clone()), "{method}");
        if public.is_some() {
            let checks_alone = Jwt::new(method, &Keys { public, private: None }, TTL).unwrap();
            assert_eq!(checks_alone.verify(&token), Some(claims), "{method}");
            assert_eq!(checks_alone.sign("alice", 7, 1_000), None, "{method}");
        }
        let other = Jwt::new(method, &Keys { private: Some(b"another".to_vec()), ..keys(method) }, TTL);
        if method.starts_with("HS") {
            assert_eq!(other.unwrap().verify(&token), None);
        }
        // Any byte of the signature counts.
        let (claimed, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        signature[5] ^= 1;
        assert_eq!(
            both.verify(&format!("{claimed}.{}", URL_SAFE_NO_PAD.encode(signature))),
            None,
            "{method}"
        );
    }
}

/// A token with this header and body, under the secret.
fn under_the_secret(header: &str, body: &str) -> String {
    let claimed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
    let key = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, SECRET);
    let signature = ::ring::hmac::sign(&key, claimed.as_bytes());
    format!("{claimed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_counts_only_as_it_was_agreed() {
    let jwt = Jwt::new("HS256", &keys("HS256"), TTL).unwrap();
    let whole = r#"{"username":"alice","revision":7,"exp":1300}"#;
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    assert!(jwt.verify(&under_the_secret(header, whole)).is_some());
    let early = jwt.verify(&under_the_secret(header, r#"{"username":"a","revision":7,"exp":9,"nbf":5}"#));
    assert_eq!(early.unwrap().begins_secs, 5);
    for (header, body) in [
        (r#"{"alg":"none"}"#, whole),
        (r#"{"alg":"HS512"}"#, whole),
        (r#"{"alg":"RS256"}"#, whole),
        ("{}", whole),
        ("", whole),
        (header, r#"{"username":"alice","revision":7}"#),
        (header, r#"{"username":"alice","exp":1300}"#),
        (header, r#"{"revision":7,"exp":1300}"#),
        (header, r#"{"username":"alice","revision":7,"exp":"never"}"#),
        (header, r#"{"username":"alice","revision":-7,"exp":1300}"#),
        (header, r#"{"username":"alice","revision":7,"exp":1300,"nbf":"soon"}"#),
        (header, "alice"),
    ] {
        assert_eq!(jwt.verify(&under_the_secret(header, body)), None, "{header} {body}");
    }
    for no_token in ["", ".", "..", "a.b", "a.b.c", "abcdefghijklmnop.17"] {
        assert_eq!(jwt.verify(no_token), None, "{no_token:?}");
    }
    // A public key is no secret: whoever takes it for one gets nowhere.
    let signed = Jwt::new("RS256", &rsa(), TTL).unwrap();
    let claimed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(whole));
    let key = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, RSA_PUBLIC);
    let signature = URL_SAFE_NO_PAD.encode(::ring::hmac::sign(&key, claimed.as_bytes()));
    assert_eq!(signed.verify(&format!("{claimed}.{signature}")), None);
}

#[test]
fn keys_are_tried_before_they_are_needed() {
    let (one, two) = (keys("ES256"), keys("ES256"));
    let mixed = Keys { public: one.public, private: two.private };
    assert_eq!(Jwt::new("ES256", &mixed, TTL).err(), Some(JwtError::Mismatch));
    for (method, keys, name) in [
        ("ES256", keys("ES384"), "pub-key"),
        ("ES256", Keys { public: None, ..keys("ES384") }, "priv-key"),
        ("ES384", Keys { private: None, ..keys("ES256") }, "pub-key"),
        ("RS256", keys("ES256"), "priv-key"),
        ("RS256", Keys { public: Some(SECRET.to_vec()), private: None }, "pub-key"),
        ("EdDSA", Keys { public: None, private: Some(RSA_KEY.to_vec()) }, "priv-key"),
        ("EdDSA", Keys::default(), "pub-key"),
    ] {
        let error = Jwt::new(method, &keys, TTL).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{name} is no key that {method} can use")), "{method}: {error}");
    }
}

/// A token of these claims under the shared secret.
fn of_claims(claims: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let said = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, SECRET);
    let signature = ::ring::hmac::sign(&key, said.as_bytes());
    format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

#[test]
fn times_may_have_a_fraction() {
    let jwt = Jwt::new("HS256", &keys("HS256"), TTL).unwrap();
    let times = |times: &str| {
        let token = of_claims(&format!(r#"{{"username":"alice","revision":7,{times}}}"#));
        jwt.verify(&token).map(|claims| (claims.begins_secs, claims.ends_secs))
    };
    assert_eq!(times(r#""exp":1700000300"#), Some((0, 1_700_000_300)));
    assert_eq!(times(r#""exp":1700000300.0,"nbf":1700000000.0"#), Some((1_700_000_000, 1_700_000_300)));
    assert_eq!(times(r#""exp":1700000300.9,"nbf":1700000000.1"#), Some((1_700_000_001, 1_700_000_300)));
    assert_eq!(times(r#""exp":1.7e9"#), Some((0, 1_700_000_000)));
    for none in [r#""exp":-1"#, r#""exp":-1.5"#, r#""exp":"1700000300""#, r#""exp":null"#, r#""exp":1e300"#] {
        assert_eq!(times(none), None, "{none}");
    }
}

#[test]
fn what_is_known_of_tokens_is_bounded_and_says_what_they_say() {
    let jwt = Jwt::new("HS256", &keys("HS256"), TTL).unwrap();
    let known = || jwt.known.lock().unwrap().len();
    let token = jwt.sign("alice", 7, 1_000).unwrap();
    let before = known();
    let first = jwt.verify(&token);
    assert!(first.is_some() && known() == before + 1);
    assert_eq!((jwt.verify(&token), known()), (first.clone(), before + 1), "known now");
    let (body, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{body}.{}", signature.chars().rev().collect::<String>());
    assert_eq!((jwt.verify(&forged), known()), (None, before + 1), "what does not hold is not kept");
    for now in 0..KNOWN_MAX {
        jwt.verify(&jwt.sign("bob", 7, now.try_into().unwrap()).unwrap()).unwrap();
        assert!(known() <= KNOWN_MAX);
    }
    assert_eq!(jwt.verify(&token), first, "whatever was forgotten is found out again");
}
