//! Files that change under a running member: what comes is judged by the new ones, what is there goes on.

use std::fs;

use crate::authority::{Authority, Files, Wanted};
use crate::knock::{Visitor, certificates};
use crate::member::{Alone, options};
use crate::program::Program;

const ANEW: &str = "certificates and keys were read anew";
const BROKEN: &str = "certificates and keys that changed cannot be used; those from before stay in force";

/// A watch of `k` that stands: it has seen the key.
fn watch(dir: &std::path::Path, alone: &Alone, shown: &[&str]) -> Program {
    let endpoint = format!("--endpoints=https://127.0.0.1:{}", alone.client);
    let mut watch = Program::start(dir, &[&["ctl", &endpoint], shown, &["watch", "k", "--rev=1"]].concat());
    watch.wait_for_output("first");
    watch
}

#[test]
fn a_certificate_is_replaced_under_live_connections() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let files = ca.sign("member", &Wanted::default());
    let mut alone = Alone::behind_tls(dir.path(), &files.options("cert-file", "key-file"));
    let (trust, trusted) = (ca.option("cacert"), ca.file());
    let shown = || Visitor::who_trusts(&trusted).knock(alone.client).unwrap().certificate;
    let before = certificates(&files.cert)[0].to_vec();
    assert_eq!(shown(), before);
    alone.ctl(dir.path(), &[&trust, "put", "k", "first"]).printed();
    let mut watch = watch(dir.path(), &alone, &[&trust]);

    let whole = fs::read(&files.cert).unwrap();
    fs::write(&files.cert, &whole[..whole.len() / 2]).unwrap();
    let line = alone.program.wait_for(BROKEN);
    assert!(line.contains("member.pem (--cert-file)"), "{line}");
    assert_eq!(shown(), before, "what was read before stays in force");

    ca.sign_into(&files, &Wanted { serial: 2, ..Wanted::default() });
    alone.program.wait_for(ANEW);
    let after = certificates(&files.cert)[0].to_vec();
    assert!(after != before && shown() == after);
    assert_eq!(alone.ctl(dir.path(), &[&trust, "put", "k", "second"]).printed(), "OK");
    watch.wait_for_output("second");
}

#[test]
fn authorities_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(dir.path(), "old"), Authority::new(dir.path(), "new"));
    let own = old.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let of = |authority: &Authority| authority.sign("alice", &Wanted { hosts: &[], ..Wanted::default() });
    let (of_old, of_new) = (of(&old), of(&new));
    let bundle = dir.path().join("bundle.pem");
    fs::write(&bundle, &old.pem).unwrap();
    let more = [format!("--trusted-ca-file={}", bundle.display()), "--client-cert-auth".to_owned()];
    let mut alone = Alone::behind_tls(dir.path(), &options([&own[..], &more]));
    let trusted = old.file();
    let port = alone.client;
    let knock = |files: &Files| Visitor::who_trusts(&trusted).showing(files).knock(port);
    knock(&of_old).unwrap();
    knock(&of_new).unwrap_err();
    alone.turned_away("client", "its certificate is signed by no authority of --trusted-ca-file");
    let ([cert, key], trust) = (of_old.options("cert", "key"), old.option("cacert"));
    alone.ctl(dir.path(), &[&trust, &cert, &key, "put", "k", "first"]).printed();
    let mut watch = watch(dir.path(), &alone, &[&trust, &cert, &key]);

    fs::write(&bundle, format!("{}{}", old.pem, new.pem)).unwrap();
    alone.program.wait_for(ANEW);
    knock(&of_old).unwrap();
    knock(&of_new).unwrap();

    fs::write(&bundle, &new.pem).unwrap();
    alone.program.wait_for(ANEW);
    knock(&of_old).unwrap_err();
    let [cert, key] = of_new.options("cert", "key");
    assert_eq!(alone.ctl(dir.path(), &[&trust, &cert, &key, "put", "k", "second"]).printed(), "OK");
    watch.wait_for_output("second");
}

#[test]
fn a_certificate_is_revoked_while_the_member_runs() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let alice = ca.sign("alice", &Wanted { serial: 7, hosts: &[], ..Wanted::default() });
    let list = dir.path().join("revoked.pem");
    fs::write(&list, ca.revoke(&[])).unwrap();
    let more = [ca.option("trusted-ca-file"), format!("--client-crl-file={}", list.display())];
    let mut alone = Alone::behind_tls(dir.path(), &options([&own[..], &more]));
    let trusted = ca.file();
    let port = alone.client;
    let knock = || Visitor::who_trusts(&trusted).showing(&alice).knock(port);
    knock().unwrap();
    fs::write(&list, ca.revoke(&[7])).unwrap();
    alone.program.wait_for(ANEW);
    knock().unwrap_err();
    fs::remove_file(&list).unwrap();
    let line = alone.program.wait_for(BROKEN);
    assert!(line.contains("revoked.pem (--client-crl-file): cannot be read"), "{line}");
    knock().unwrap_err();
    fs::write(&list, ca.revoke(&[])).unwrap();
    alone.program.wait_for(ANEW);
    knock().unwrap();
}
