//! Starts: those that cannot be, in one clear line, and those with certificates that the member makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use x509_parser::parse_x509_certificate;

use crate::authority::{Authority, Wanted};
use crate::knock::{Visitor, certificates};
use crate::member::{Alone, options};

#[test]
fn files_that_cannot_be_used_are_one_line_and_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let (one, two) = (ca.sign("one", &Wanted::default()), ca.sign("two", &Wanted::default()));
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::write(at("text"), "no certificate at all").unwrap();
    let (cert, key, text) = (one.cert.display(), one.key.display(), at("text"));
    let other = two.key.display();
    let trust = ca.option("trusted-ca-file");
    for (more, want) in [
        (
            vec![format!("--cert-file={}", at("absent")), format!("--key-file={key}")],
            "absent (--cert-file): cannot be read",
        ),
        (
            vec![format!("--cert-file={cert}"), format!("--key-file={}", at("absent"))],
            "absent (--key-file): cannot be read",
        ),
        (
            vec![format!("--cert-file={text}"), format!("--key-file={key}")],
            "text (--cert-file): holds no certificate",
        ),
        (
            vec![format!("--cert-file={cert}"), format!("--key-file={text}")],
            "text (--key-file): holds no private key",
        ),
        (
            vec![format!("--cert-file={cert}"), format!("--key-file={other}")],
            "do not belong together: the key is that of another certificate",
        ),
        (
            vec![
                format!("--cert-file={cert}"),
                format!("--key-file={key}"),
                format!("--trusted-ca-file={text}"),
            ],
            "text (--trusted-ca-file): holds no certificate",
        ),
        (
            vec![
                format!("--cert-file={cert}"),
                format!("--key-file={key}"),
                trust,
                format!("--client-crl-file={text}"),
            ],
            "text (--client-crl-file): holds no list of revocations",
        ),
        (
            vec![
                format!("--cert-file={cert}"),
                format!("--key-file={key}"),
                "--cipher-suites=TLS_RSA_WITH_RC4_128_SHA".to_owned(),
            ],
            "--cipher-suites: TLS_RSA_WITH_RC4_128_SHA is not offered",
        ),
        (vec![], "without --cert-file and its key, or --auto-tls"),
    ] {
        let ended = Alone::start(dir.path(), ("https", "http"), &more).program.end();
        assert_eq!(ended.status.code(), Some(1), "{more:?}: {:#?}", ended.stderr);
        let last = ended.last_line();
        let said =
            serde_json::from_str::<Value>(last).ok().and_then(|line| line["msg"].as_str().map(str::to_owned));
        let said = said.unwrap_or_else(|| last.to_owned());
        assert!(said.contains(want) && !said.contains('\n'), "{more:?}: {said}");
    }
}

fn years_of(file: &Path) -> i64 {
    let found = certificates(file);
    let (_, certificate) = parse_x509_certificate(&found[0]).unwrap();
    let validity = certificate.validity();
    (validity.not_after.timestamp() - validity.not_before.timestamp()) / (365 * 24 * 60 * 60)
}

#[test]
fn a_member_makes_its_own_certificate_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("default.etcd/fixtures/client");
    let (cert, key) = (made.join("cert.pem"), made.join("key.pem"));
    let mut before = Vec::new();
    for (more, years) in [("--auto-tls=true", 3), ("--auto-tls", 3)] {
        let more = [more.to_owned(), format!("--self-signed-cert-validity={years}")];
        let alone = Alone::behind_tls(dir.path(), &more);
        let trust = format!("--cacert={}", cert.display());
        assert_eq!(alone.ctl(dir.path(), &[&trust, "put", "k", "v"]).printed(), "OK");
        assert_eq!(years_of(&cert), years);
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let seen = Visitor::who_trusts(&cert).knock_for(alone.client, "localhost").unwrap().certificate;
        assert!(before.is_empty() || before == seen, "a certificate that lasts is used again");
        before = seen;
        alone.program.signal("TERM");
        assert_eq!(alone.program.end().status.code(), Some(0));
    }
    // Half of a pair is none.
    fs::remove_file(&key).unwrap();
    let alone = Alone::behind_tls(dir.path(), &["--auto-tls".to_owned()]);
    let seen = Visitor::who_trusts(&cert).knock(alone.client).unwrap().certificate;
    assert_ne!(seen, before);
    assert_eq!(years_of(&cert), 1, "one year, where nothing is said");
}

#[test]
fn certificates_beside_plain_text_are_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let more = [ca.option("trusted-ca-file"), "--client-cert-auth".to_owned()];
    let mut alone = Alone::start(dir.path(), ("http", "http"), &options([&own[..], &more]));
    alone.program.wait_for("is plain text: --cert-file has no effect there");
    alone
        .program
        .wait_for("is plain text: --client-cert-auth has no effect there, whoever connects is let in");
}
