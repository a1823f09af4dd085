//! Which TLS is spoken: versions and cipher suites, to clients and to peers.

use std::fs;

use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};

use crate::authority::{Authority, Wanted};
use crate::knock::Visitor;
use crate::member::{Alone, options};

/// TLS 1.2 alone.
const OLD: &[&SupportedProtocolVersion] = &[&TLS12];
/// TLS 1.3 alone.
const NEW: &[&SupportedProtocolVersion] = &[&TLS13];

#[test]
fn versions_and_cipher_suites_are_those_that_were_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let files = ca.sign("member", &Wanted::default());
    let own = files.options("cert-file", "key-file");
    let peer = files.options("peer-cert-file", "peer-key-file");
    let trusted = ca.file();
    let suite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let chosen =
        "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    for (name, more, of_1_2, of_1_3) in [
        ("all", vec![], true, true),
        ("new", vec!["--tls-min-version=TLS1.3"], false, true),
        ("old", vec!["--tls-max-version=TLS1.2"], true, false),
        ("suites", vec![chosen], true, true),
    ] {
        let home = dir.path().join(name);
        fs::create_dir(&home).unwrap();
        let more: Vec<String> = more.into_iter().map(str::to_owned).collect();
        let mut alone = Alone::start(&home, ("https", "https"), &options([&own[..], &peer, &more]));
        alone.program.wait_for(crate::member::READY);
        for port in [alone.client, alone.peer] {
            let visitor = |versions| Visitor { versions, ..Visitor::who_trusts(&trusted) };
            let old = visitor(OLD).knock(port);
            let new = visitor(NEW).knock(port);
            assert_eq!((old.is_ok(), new.is_ok()), (of_1_2, of_1_3), "{name}: {old:?} {new:?}");
            if name == "suites" {
                assert_eq!(old.unwrap().suite, suite);
                let mut other = visitor(OLD);
                other.suites.retain(|known| known.suite() != suite);
                other.knock(port).unwrap_err();
            } else if of_1_2 {
                assert_ne!(old.unwrap().suite, suite, "it is not the first choice");
            }
        }
        if !of_1_2 {
            alone.turned_away("client", "it speaks no TLS that is spoken here");
        }
    }
}
