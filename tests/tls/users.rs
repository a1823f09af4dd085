//! The name on a client's certificate as its user.

use quorate_jepsen::program;

use crate::authority::{Authority, Files, Wanted};
use crate::calls::{Client, refused, secured};
use crate::member::{Alone, options};

const DENIED: &str = "permission denied";
const EMPTY: &str = "user name is empty";

struct Place {
    dir: tempfile::TempDir,
    ca: Authority,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::new(dir.path(), "ca");
        Place { dir, ca }
    }

    fn start(&self, more: &[&str]) -> Alone {
        let own = self.ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
        let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        let trusted = self.ca.option("trusted-ca-file");
        Alone::behind_tls(self.dir.path(), &options([&own[..], std::slice::from_ref(&trusted), &more]))
    }

    fn bears(&self, common_name: &str) -> Files {
        let name = if common_name.is_empty() { "nameless" } else { common_name };
        self.ca.sign(name, &Wanted { common_name, hosts: &["app.example"], ..Wanted::default() })
    }

    async fn as_(&self, alone: &Alone, common_name: &str) -> Client {
        Client::new(secured(alone.client, &self.ca.file(), &self.bears(common_name)).await)
    }
}

#[tokio::test]
async fn a_certificate_names_its_user() {
    let place = Place::new();
    let alone = place.start(&["--client-cert-auth"]);
    let nobody = place.as_(&alone, "nobody").await;
    assert_eq!(nobody.put("before").await, Ok(()), "as long as nobody is asked");
    nobody.guard().await;

    let alice = place.as_(&alone, "alice").await;
    assert_eq!(alice.put("g1").await, Ok(()));
    assert_eq!(alice.get("g1", false).await, Ok(()));
    assert_eq!(alice.get("g1", true).await, Ok(()));
    assert_eq!(alice.put("h1").await, refused(DENIED));
    assert_eq!(alice.get("h1", false).await, refused(DENIED));
    assert_eq!(alice.get("h1", true).await, refused(DENIED));
    assert_eq!(alice.user_add("bob").await, refused(DENIED));
    assert_eq!(nobody.put("g1").await, refused(DENIED), "there is no such user");
    assert_eq!(place.as_(&alone, "").await.put("g1").await, refused(EMPTY));
    let root = place.as_(&alone, "root").await;
    assert_eq!(root.put("h1").await, Ok(()));

    // A token says it better, also a bad one.
    let token = alice.sign_in("root").await.unwrap();
    assert_eq!(alice.showing(&token).put("h1").await, Ok(()));
    assert_eq!(root.showing("no.token").put("h1").await, refused("invalid auth token"));

    // Users come and go under a live connection.
    root.user_add("nobody").await.unwrap();
    assert_eq!(nobody.get("g1", false).await, refused(DENIED), "known, and without a role");
    root.user_delete("alice").await.unwrap();
    assert_eq!(alice.put("g1").await, refused(DENIED));
}

#[tokio::test]
async fn a_certificate_that_was_not_asked_for_its_user_names_none() {
    let place = Place::new();
    let alone = place.start(&[]);
    place.as_(&alone, "root").await.guard().await;
    for name in ["root", "alice"] {
        let client = place.as_(&alone, name).await;
        assert_eq!(client.put("g1").await, refused(EMPTY));
        assert_eq!(client.get("g1", true).await, refused(EMPTY));
        let token = client.sign_in(name).await.unwrap();
        assert_eq!(client.showing(&token).put("g1").await, Ok(()));
    }
}

#[tokio::test]
async fn the_reference_s_own_client_needs_no_password() {
    let Some(etcdctl) = program::etcdctl() else { return };
    let place = Place::new();
    let alone = place.start(&["--client-cert-auth"]);
    place.as_(&alone, "root").await.guard().await;
    let run = |common_name: &str, args: &[&str]| {
        let [cert, key] = place.bears(common_name).options("cert", "key");
        let endpoint = format!("--endpoints=https://127.0.0.1:{}", alone.client);
        let mut command = std::process::Command::new(&etcdctl);
        command.env("ETCDCTL_API", "3").arg(endpoint).args([cert, key, place.ca.option("cacert")]);
        let output =
            command.args(["--command-timeout=60s", "--dial-timeout=30s"]).args(args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let error = error.lines().find(|line| line.starts_with("Error:")).unwrap_or_default().to_owned();
        (String::from_utf8(output.stdout).unwrap(), error)
    };
    let denied = "Error: etcdserver: permission denied".to_owned();
    assert_eq!(run("alice", &["put", "g1", "v"]), ("OK\n".to_owned(), String::new()));
    assert_eq!(run("alice", &["get", "g1"]), ("g1\nv\n".to_owned(), String::new()));
    assert_eq!(run("alice", &["put", "h1", "v"]), (String::new(), denied.clone()));
    assert_eq!(run("alice", &["user", "get", "alice"]).0, "User: alice\nRoles: g\n");
    assert_eq!(run("alice", &["user", "list"]), (String::new(), denied.clone()));
    assert_eq!(run("root", &["user", "list"]).0, "alice\nroot\n");
    assert_eq!(run("mallory", &["get", "g1"]), (String::new(), denied));
    let as_root = ["--user=root:secret of root", "put", "h1", "v"];
    assert_eq!(run("alice", &as_root), ("OK\n".to_owned(), String::new()));
}
