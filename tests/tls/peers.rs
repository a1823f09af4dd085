//! Peers by TLS: three members that know each other by their certificates, and who is not let in among them.

use std::fs;
use std::path::Path;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

use crate::authority::{Authority, Files, Wanted};
use crate::knock::Visitor;
use crate::member::{Alone, READY, ctl, options};
use crate::program::{Program, free_ports};

/// Three members, whose peers speak TLS and whose clients do not.
struct Trio {
    members: Vec<Program>,
    clients: Vec<u16>,
    peers: Vec<u16>,
}

impl Trio {
    fn start(dir: &Path, more: impl Fn(usize) -> Vec<String>) -> Trio {
        let ports = free_ports(6);
        let (clients, peers) = (ports[..3].to_vec(), ports[3..].to_vec());
        let mut trio = Trio { members: Vec::new(), clients, peers };
        for nth in 0..3 {
            let member = trio.member(dir, nth, &more(nth));
            trio.members.push(member);
        }
        trio.members.iter_mut().for_each(|member| _ = member.wait_for(READY));
        trio
    }

    fn member(&self, dir: &Path, nth: usize, more: &[String]) -> Program {
        let peer = |nth: usize| format!("https://127.0.0.1:{}", self.peers[nth]);
        let client = format!("http://127.0.0.1:{}", self.clients[nth]);
        let own = [
            format!("--name=m{nth}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={}", peer(nth)),
            format!("--initial-advertise-peer-urls={}", peer(nth)),
            format!("--initial-cluster=m0={},m1={},m2={}", peer(0), peer(1), peer(2)),
        ];
        let args: Vec<&str> = own.iter().chain(more).map(String::as_str).collect();
        Program::start(dir, &args)
    }

    fn ctl(&self, dir: &Path, nth: usize, args: &[&str]) -> String {
        ctl(dir, &format!("127.0.0.1:{}", self.clients[nth]), args).printed()
    }

    /// Every member reads what the one before it has written.
    fn works(&self, dir: &Path) {
        for nth in 0..3 {
            let value = format!("by m{nth}");
            assert_eq!(self.ctl(dir, nth, &["put", "k", &value]), "OK");
            assert_eq!(self.ctl(dir, (nth + 1) % 3, &["get", "k", "--print-value-only"]), value);
        }
    }
}

#[test]
fn three_members_know_each_other_by_their_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let one =
        |name: &str, common_name, usages| ca.sign(name, &Wanted { common_name, usages, ..Wanted::default() });
    // What a member shows when it is called would not do when it calls.
    let called = one("called", "quorate", &[ServerAuth]).options("peer-cert-file", "peer-key-file");
    let calling =
        one("calling", "quorate", &[ClientAuth]).options("peer-client-cert-file", "peer-client-key-file");
    let more = [
        ca.option("peer-trusted-ca-file"),
        "--peer-client-cert-auth".to_owned(),
        "--peer-cert-allowed-cn=other,quorate".to_owned(),
    ];
    let all = options([&called[..], &calling, &more]);
    let mut trio = Trio::start(dir.path(), |_| all.clone());
    trio.works(dir.path());

    let (trusted, port) = (ca.file(), trio.peers[0]);
    let stranger = one("stranger", "stranger", &[ClientAuth]);
    for (shows, why) in [
        (None, "it shows no certificate"),
        (Some(&stranger), "its certificate bears the common name \\\"stranger\\\", which is not allowed"),
    ] {
        Visitor { shows, ..Visitor::who_trusts(&trusted) }.knock(port).unwrap_err();
        let line = trio.members[0].wait_for("rejected the connection of a peer");
        assert!(line.contains(why), "{line}");
    }
    let other = one("other", "other", &[ClientAuth]);
    Visitor::who_trusts(&trusted).showing(&other).knock(port).unwrap();

    // One that comes back is known again.
    drop(trio.members.pop());
    let again = trio.member(dir.path(), 2, &all);
    trio.members.push(again);
    trio.members[2].wait_for(READY);
    trio.works(dir.path());
}

#[test]
fn a_member_is_called_by_its_name_and_by_those_it_allows() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (Authority::new(dir.path(), "ca"), Authority::new(dir.path(), "other"));
    let own = ca.sign("own", &Wanted::default()).options("peer-cert-file", "peer-key-file");
    let trusts = ca.option("peer-trusted-ca-file");
    let alone = Alone::behind_peer_tls(dir.path(), &options([&own[..], std::slice::from_ref(&trusts)]));
    // Whom it calls is judged as who calls it, which it has to be by TLS.
    let listens = ("http", "https");
    let url = format!("https://127.0.0.1:{}", alone.peer);
    let away = ca.sign("away", &Wanted { hosts: &["10.9.9.9"], ..Wanted::default() });
    let gone = dir.path().join("gone.pem");
    fs::write(&gone, ca.revoke(&[1])).unwrap();
    for (name, more, why) in [
        (
            "stranger",
            vec![other.option("peer-trusted-ca-file")],
            "signed by no authority of the trusted CA file",
        ),
        (
            "choosy",
            vec![trusts.clone(), "--peer-cert-allowed-cn=somebody".to_owned()],
            "its certificate bears the common name \\\"member\\\", which is not allowed",
        ),
        (
            "wary",
            vec![trusts.clone(), format!("--peer-crl-file={}", gone.display())],
            "its certificate is revoked",
        ),
    ] {
        let home = dir.path().join(name);
        fs::create_dir(&home).unwrap();
        let joins = [
            "--name=joiner".to_owned(),
            "--initial-cluster-state=existing".to_owned(),
            format!("--initial-cluster=default={url},joiner=http://127.0.0.1:1"),
            "--initial-advertise-peer-urls=http://127.0.0.1:1".to_owned(),
        ];
        let ended = Alone::start(&home, listens, &options([&own[..], &more, &joins])).program.end();
        assert_eq!(ended.status.code(), Some(1));
        let line = ended.last_line();
        assert!(
            line.contains("cannot join: no member of the cluster answers") && line.contains(why),
            "{line}"
        );
    }
    // Called by a name that its certificate does not bear, it is not taken for who it is.
    let elsewhere = Alone::behind_peer_tls(
        &{
            let home = dir.path().join("elsewhere");
            fs::create_dir(&home).unwrap();
            home
        },
        &options([&away.options("peer-cert-file", "peer-key-file")[..], std::slice::from_ref(&trusts)]),
    );
    let joins = [
        "--name=joiner".to_owned(),
        "--initial-cluster-state=existing".to_owned(),
        format!("--initial-cluster=default=https://127.0.0.1:{},joiner=http://127.0.0.1:1", elsewhere.peer),
        "--initial-advertise-peer-urls=http://127.0.0.1:1".to_owned(),
        trusts,
    ];
    let ended = Alone::start(&dir.path().join("wary"), ("http", "http"), &joins).program.end();
    assert!(
        ended.last_line().contains("its certificate is not for 127.0.0.1 but for"),
        "{}",
        ended.last_line()
    );
}

#[test]
fn who_is_not_let_in_among_peers() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("own", &Wanted::default()).options("peer-cert-file", "peer-key-file");
    let one = |name: &str, serial, hosts| ca.sign(name, &Wanted { serial, hosts, ..Wanted::default() });
    let here = one("here", 2, &["127.0.0.1"]);
    let named = one("named", 3, &["localhost", "no-such-host.invalid"]);
    let for_all = one("for-all", 4, &[]);
    let away = one("away", 5, &["10.9.9.9"]);
    let revoked = one("revoked", 6, &["127.0.0.1"]);
    let member = one("member", 7, &["127.0.0.1", "m1.example"]);
    let list = dir.path().join("gone.pem");
    fs::write(&list, ca.revoke(&[6])).unwrap();
    let trusts = ca.option("peer-trusted-ca-file");
    let is_away = "its certificate is not for 127.0.0.1 but for 10.9.9.9";
    type Knocks<'k> = Vec<(&'k Files, Result<(), &'k str>)>;
    let cases: [(&str, Vec<String>, Knocks<'_>); 4] = [
        (
            "by-address",
            vec![],
            vec![
                (&here, Ok(())),
                (&named, Ok(())),
                (&for_all, Ok(())),
                (&revoked, Ok(())),
                (&away, Err(is_away)),
            ],
        ),
        ("anywhere", vec!["--peer-skip-client-san-verification".to_owned()], vec![(&away, Ok(()))]),
        (
            "revoked",
            vec![format!("--peer-crl-file={}", list.display())],
            vec![(&here, Ok(())), (&revoked, Err("its certificate is revoked"))],
        ),
        (
            "by-host",
            vec!["--peer-cert-allowed-hostname=m1.example".to_owned()],
            vec![(&member, Ok(())), (&here, Err("none of which is allowed"))],
        ),
    ];
    for (name, more, knocks) in cases {
        let home = dir.path().join(name);
        fs::create_dir(&home).unwrap();
        let all = options([&own[..], std::slice::from_ref(&trusts), &more]);
        let mut alone = Alone::behind_peer_tls(&home, &all);
        let trusted = ca.file();
        for (files, want) in knocks {
            let knocked = Visitor::who_trusts(&trusted).showing(files).knock(alone.peer);
            assert_eq!(knocked.is_ok(), want.is_ok(), "{name}: {files:?}: {knocked:?}");
            if let Err(why) = want {
                alone.turned_away("peer", why);
            }
        }
        Visitor::who_trusts(&trusted).knock(alone.peer).unwrap_err();
        alone.turned_away("peer", "it shows no certificate");
    }
}

#[test]
fn three_members_with_certificates_of_their_own_making() {
    let dir = tempfile::tempdir().unwrap();
    let trio = Trio::start(dir.path(), |_| vec!["--peer-auto-tls".to_owned()]);
    trio.works(dir.path());
    for nth in 0..3 {
        let made = dir.path().join(format!("m{nth}.etcd/fixtures/peer/cert.pem"));
        Visitor::who_trusts(&made).knock(trio.peers[nth]).unwrap();
    }
}
