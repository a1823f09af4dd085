//! `--auth-token`: what the tokens are that signed-in users show. `simple`, or `jwt` with its options:
//! `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::duration;

/// Default: how long a signed token is good.
const TTL: Duration = Duration::from_secs(300);

/// How a token can be signed.
pub const SIGN_METHODS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
];

/// What tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthToken {
    /// Names of sessions that every member knows.
    Simple,
    /// Claims under a signature.
    Jwt(JwtOptions),
}

/// How tokens are signed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// One of [`SIGN_METHODS`].
    pub sign_method: &'static str,
    /// The key that checks; without it, the other one tells.
    pub public_key: Option<PathBuf>,
    /// The key that signs, or the shared secret; without it, tokens are checked and none is given.
    pub private_key: Option<PathBuf>,
    /// How long a token is good.
    pub ttl: Duration,
}

impl AuthToken {
    /// Reads the option.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<AuthToken, String> {
        let mut parts = text.split(',');
        match parts.next().unwrap_or_default() {
            "simple" if parts.next().is_none() => Ok(AuthToken::Simple),
            "simple" => Err("simple tokens have no options here (see --auth-token-ttl)".to_owned()),
            "jwt" => jwt(parts).map(AuthToken::Jwt),
            other => Err(format!("want simple or jwt, found {other:?}")),
        }
    }
}

fn jwt<'t>(parts: impl Iterator<Item = &'t str>) -> Result<JwtOptions, String> {
    let (mut sign_method, mut public_key, mut private_key, mut ttl) = (None, None, None, None);
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("want name=value, found {part:?}"))?;
        let before = match name {
            "sign-method" => sign_method.replace(value),
            "pub-key" => public_key.replace(value),
            "priv-key" => private_key.replace(value),
            "ttl" => ttl.replace(value),
            _ => return Err(format!("there is no option {name:?}")),
        };
        if before.is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    let found =
        sign_method.ok_or_else(|| format!("sign-method is missing, one of {}", SIGN_METHODS.join(", ")))?;
    let sign_method = SIGN_METHODS.iter().copied().find(|known| *known == found);
    let sign_method = sign_method
        .ok_or_else(|| format!("sign-method: want one of {}, found {found:?}", SIGN_METHODS.join(", ")))?;
    let is_secret = sign_method.starts_with("HS");
    match (public_key, private_key) {
        (None, None) => return Err("pub-key or priv-key is missing".to_owned()),
        (_, None) if is_secret => {
            return Err(format!("{sign_method} has one key for both: it is named by priv-key"));
        }
        (Some(_), Some(_)) if is_secret => {
            return Err(format!("{sign_method} has one key for both: pub-key would not be looked at"));
        }
        _ => {}
    }
    let ttl = ttl.map(duration::parse).transpose().map_err(|why| format!("ttl: {why}"))?.unwrap_or(TTL);
    if ttl < Duration::from_secs(1) {
        return Err("ttl: want at least 1s".to_owned());
    }
    let path = |text: Option<&str>| text.map(PathBuf::from);
    Ok(JwtOptions { sign_method, public_key: path(public_key), private_key: path(private_key), ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_simple_or_signed() {
        assert_eq!(AuthToken::parse("simple"), Ok(AuthToken::Simple));
        let signed = |sign_method, public: Option<&str>, private: Option<&str>, secs| {
            Ok(AuthToken::Jwt(JwtOptions {
                sign_method,
                public_key: public.map(PathBuf::from),
                private_key: private.map(PathBuf::from),
                ttl: Duration::from_secs(secs),
            }))
        };
        assert_eq!(
            AuthToken::parse("jwt,pub-key=p.pem,priv-key=k.pem,sign-method=RS256,ttl=10m"),
            signed("RS256", Some("p.pem"), Some("k.pem"), 600)
        );
        assert_eq!(
            AuthToken::parse("jwt,pub-key=p,sign-method=EdDSA"),
            signed("EdDSA", Some("p"), None, 300)
        );
        assert_eq!(
            AuthToken::parse("jwt,priv-key=s,sign-method=HS512"),
            signed("HS512", None, Some("s"), 300)
        );
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (text, want) in [
            ("", "want simple or jwt"),
            ("Simple", "want simple or jwt"),
            ("simple,x=y", "simple tokens have no options here"),
            ("jwt", "sign-method is missing, one of RS256"),
            ("jwt,sign-method=none,pub-key=p", "sign-method: want one of RS256"),
            ("jwt,sign-method=ES512,pub-key=p", "sign-method: want one of RS256"),
            ("jwt,sign-method=RS256", "pub-key or priv-key is missing"),
            ("jwt,sign-method=HS256,pub-key=p", "it is named by priv-key"),
            ("jwt,sign-method=HS256,pub-key=p,priv-key=q", "pub-key would not be looked at"),
            ("jwt,sign-method=RS256,pub-key=p,pub-key=q", "pub-key is given twice"),
            ("jwt,sign-method=RS256,pub-key=p,key=q", "there is no option \"key\""),
            ("jwt,sign-method=RS256,pub-key", "want name=value, found \"pub-key\""),
            ("jwt,sign-method=RS256,pub-key=p,ttl=5", "ttl: "),
            ("jwt,sign-method=RS256,pub-key=p,ttl=5ms", "ttl: want at least 1s"),
        ] {
            let error = AuthToken::parse(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
