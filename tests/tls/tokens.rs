//! Signed tokens: given by one member and good at another, for a while, and for one revision of users and roles.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use quorate::member::SignedTokens;
use quorate::member::jwt::{Jwt, Keys};
use quorate_jepsen::cluster::Cluster;
use quorate_jepsen::program::{self, Server};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use crate::calls::{Client, plain, refused};
use crate::member::{Alone, READY};
use crate::program::PATIENCE;

const OLD: &str = "revision of auth store is old";
const INVALID: &str = "invalid auth token";

/// Keys of a way of signing, as files, and the value of `--auth-token` that names them.
struct Signing {
    method: &'static str,
    private: std::path::PathBuf,
    public: Option<std::path::PathBuf>,
}

impl Signing {
    fn new(dir: &Path, method: &'static str) -> Signing {
        let private = dir.join(format!("{method}.key"));
        let public = dir.join(format!("{method}.pub"));
        let of_tests = |name: &str| {
            fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/member/jwt").join(name)).unwrap()
        };
        let (secret, shown) = match method {
            "HS256" => (b"a secret that both sides know".to_vec(), None),
            "ES256" | "EdDSA" => {
                let by = if method == "ES256" { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_ED25519 };
                let pair = KeyPair::generate_for(by).unwrap();
                (pair.serialize_pem().into_bytes(), Some(pair.public_key_pem().into_bytes()))
            }
            _ => (of_tests("rsa-of-tests.pem"), Some(of_tests("rsa-of-tests.pub.pem"))),
        };
        fs::write(&private, secret).unwrap();
        if let Some(shown) = &shown {
            fs::write(&public, shown).unwrap();
        }
        Signing { method, private, public: shown.map(|_| public) }
    }

    fn option(&self, more: &str) -> String {
        let public = self.public.as_ref().map(|path| format!(",pub-key={}", path.display()));
        let public = public.unwrap_or_default();
        format!(
            "--auth-token=jwt,sign-method={},priv-key={}{public}{more}",
            self.method,
            self.private.display()
        )
    }

    /// Tokens that a member with these keys would give.
    fn tokens(&self) -> Jwt {
        let keys = Keys { public: None, private: Some(fs::read(&self.private).unwrap()) };
        Jwt::new(self.method, &keys, Duration::from_secs(600)).unwrap()
    }
}

fn start(dir: &Path, option: String) -> Alone {
    let mut alone = Alone::start(dir, ("http", "http"), &[option, "--bcrypt-cost=4".to_owned()]);
    alone.program.wait_for(READY);
    alone
}

fn now_secs() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn every_kind_of_signature_lets_its_user_in() {
    for method in ["RS256", "PS384", "ES256", "EdDSA", "HS256"] {
        let dir = tempfile::tempdir().unwrap();
        let signing = Signing::new(dir.path(), method);
        let alone = start(dir.path(), signing.option(",ttl=10m"));
        let client = Client::new(plain(alone.client).await);
        client.guard().await;
        let token = client.sign_in("alice").await.unwrap();
        let claims = signing.tokens().verify(&token).unwrap();
        assert_eq!(&*claims.user, "alice", "{method}");
        let lasts = claims.ends_secs - now_secs();
        assert!(
            (1..=600).contains(&lasts) && lasts > 300,
            "ten minutes from a moment ago, {lasts} s are left"
        );
        let alice = client.showing(&token);
        assert_eq!(alice.put("g1").await, Ok(()), "{method}");
        assert_eq!(alice.get("g1", true).await, Ok(()));
        assert_eq!(alice.put("h1").await, refused("permission denied"));
        assert_eq!(client.put("g1").await, refused("user name is empty"));
        assert_eq!(client.showing("abcdefghijklmnop.9").put("g1").await, refused(INVALID));
        assert_eq!(client.showing(&format!("{token}x")).put("g1").await, refused(INVALID));
        let bob = signing.tokens().sign("bob", claims.auth_revision, now_secs()).unwrap();
        assert_eq!(client.showing(&bob).put("g1").await, refused("permission denied"), "no such user");

        // Whatever changes of users or roles ends every token.
        let root = client.showing(&client.sign_in("root").await.unwrap());
        root.user_add("bob").await.unwrap();
        for serializable in [true, false] {
            assert_eq!(alice.get("g1", serializable).await, refused(OLD), "{method}");
        }
        assert_eq!(alice.put("g1").await, refused(OLD));
        assert_eq!(root.user_add("carol").await, refused(OLD));
        let again = client.sign_in("alice").await.unwrap();
        assert_eq!(client.showing(&again).put("g1").await, Ok(()));
        let early = signing.tokens().sign("root", claims.auth_revision + 9, now_secs()).unwrap();
        assert_eq!(client.showing(&early).put("g1").await, refused(OLD), "a revision that has not come");
    }
}

#[tokio::test]
async fn a_token_ends() {
    let dir = tempfile::tempdir().unwrap();
    let alone = start(dir.path(), Signing::new(dir.path(), "ES256").option(",ttl=2s"));
    let client = Client::new(plain(alone.client).await);
    client.guard().await;
    let alice = client.showing(&client.sign_in("alice").await.unwrap());
    assert_eq!(alice.put("g1").await, Ok(()));
    let begun = Instant::now();
    while alice.put("g1").await == Ok(()) {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(alice.put("g1").await, refused(INVALID));
    assert_eq!(alice.get("g1", true).await, refused(INVALID));
}

#[tokio::test]
async fn whoever_has_the_public_key_alone_lets_in_and_signs_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let signing = Signing::new(dir.path(), "RS256");
    let public = signing.public.as_ref().unwrap().display().to_string();
    let alone = start(dir.path(), format!("--auth-token=jwt,sign-method=RS256,pub-key={public}"));
    let client = Client::new(plain(alone.client).await);
    client.guard().await;
    let no_key = "etcdserver: token signing attempted with verify-only key".to_owned();
    assert_eq!(client.sign_in("alice").await, Err(no_key));
    let revision = client.auth_revision().await;
    let token = signing.tokens().sign("alice", revision, now_secs()).unwrap();
    assert_eq!(client.showing(&token).put("g1").await, Ok(()));
    let past = signing.tokens().sign("alice", revision, now_secs() - 601).unwrap();
    assert_eq!(client.showing(&past).put("g1").await, refused(INVALID));
    let shown = format!("--auth-jwt-token={token}");
    let endpoint = format!("127.0.0.1:{}", alone.client);
    assert_eq!(crate::member::ctl(dir.path(), &endpoint, &[&shown, "put", "g1", "w"]).printed(), "OK");
    let denied = crate::member::ctl(dir.path(), &endpoint, &[&shown, "put", "h1", "w"]);
    assert_eq!(denied.only_line(), "Error: etcdserver: permission denied");
}

#[test]
fn keys_that_cannot_be_used_are_one_line_and_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Signing::new(dir.path(), "ES256"), tempfile::tempdir().unwrap());
    let two = Signing::new(two.path(), "ES256");
    let key = one.private.display();
    for (option, want) in [
        ("--auth-token=jwt,sign-method=RS256,priv-key=absent".to_owned(), "priv-key absent: cannot be read"),
        (
            format!("--auth-token=jwt,sign-method=RS256,priv-key={key}"),
            "priv-key is no key that RS256 can use",
        ),
        (
            format!(
                "--auth-token=jwt,sign-method=ES256,priv-key={key},pub-key={}",
                two.public.as_ref().unwrap().display()
            ),
            "pub-key and priv-key do not belong together",
        ),
    ] {
        let ended = Alone::start(dir.path(), ("http", "http"), &[option]).program.end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.last_line().contains(want), "{}", ended.last_line());
    }
}

#[tokio::test]
async fn the_reference_s_own_client_signs_in_anywhere() {
    let Some(etcdctl) = program::etcdctl() else { return };
    let dir = tempfile::tempdir().unwrap();
    let option = Signing::new(dir.path(), "RS256").option("");
    let server = Server::from_env(env!("CARGO_BIN_EXE_quorate"));
    let cluster = Cluster::start(server.with(&[&option, "--bcrypt-cost=4"]), 3);
    let run = |endpoint: &str, args: &[&str]| {
        let mut command = std::process::Command::new(&etcdctl);
        command
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={endpoint}"))
            .arg("--command-timeout=60s")
            .args(args);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let error = error.lines().find(|line| line.starts_with("Error:")).unwrap_or_default().to_owned();
        (String::from_utf8(output.stdout).unwrap(), error)
    };
    let endpoints = cluster.endpoints();
    let root = "--user=root:secret of root";
    for args in [
        &["user", "add", "root:secret of root"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "alice:secret of alice"],
        &["role", "add", "g"],
        &["role", "grant-permission", "g", "readwrite", "g", "--prefix"],
        &["user", "grant-role", "alice", "g"],
        &["auth", "enable"],
    ] {
        assert_eq!(run(&endpoints[0], args).1, "", "{args:?}");
    }
    let alice = "--user=alice:secret of alice";
    for endpoint in &endpoints {
        assert_eq!(run(endpoint, &[alice, "put", "g1", "v"]), ("OK\n".to_owned(), String::new()));
        let denied = "Error: etcdserver: permission denied".to_owned();
        assert_eq!(run(endpoint, &[alice, "put", "h1", "v"]), (String::new(), denied));
        assert_eq!(run(endpoint, &["--user=alice:wrong", "get", "g1"]).0, "");
    }
    // Signed at one member, shown at the others.
    let port = |endpoint: &String| endpoint.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let token = Client::new(plain(port(&endpoints[0])).await).sign_in("alice").await.unwrap();
    for endpoint in &endpoints {
        let client = Client::new(plain(port(endpoint)).await).showing(&token);
        assert_eq!(client.put("g2").await, Ok(()));
    }
    assert_eq!(run(&endpoints[1], &[root, "user", "add", "bob:x"]).1, "");
    for endpoint in &endpoints {
        let client = Client::new(plain(port(endpoint)).await).showing(&token);
        assert_eq!(client.put("g2").await, refused(OLD));
    }
}
