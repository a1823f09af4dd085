//! A flood of handshakes costs those who shake hands, and not the leader its place.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::KeyPair;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::authority::{Authority, Wanted};
use crate::member::{READY, ctl, options};
use crate::program::{PATIENCE, Program, free_ports};

/// A dear key: a signature takes milliseconds.
const KEY: &str = include_str!("rsa-4096-of-tests.pem");
/// Threads that flood.
const THREADS: usize = 4;
/// Handshakes that each of them has under way: all together fewer than are given up.
const EACH: usize = 100;
/// Signatures that are asked for: seconds of computing.
const SIGNATURES: usize = 2_000;
/// Signatures made while a client puts a key, the start of its program included: far fewer than are waited for, all of
/// which would come first if the member's own work stood in line with them.
const SIGNATURES_A_PUT_MAX: usize = 100;

/// What somebody says first who speaks TLS: it costs nothing to say it again and again.
fn first_words() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut said = Vec::new();
    connection.write_tls(&mut said).unwrap();
    said
}

/// Has signatures made until there were enough of them.
fn flood(port: u16, said: &[u8], signed: &AtomicUsize, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let asked: Vec<TcpStream> = (0..EACH)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(said).unwrap();
                stream
            })
            .collect();
        for mut stream in asked {
            let mut first = [0];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(first[0], 22, "a handshake is answered");
            if signed.fetch_add(1, Ordering::Relaxed) + 1 >= SIGNATURES {
                ended.store(true, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Starts one of three members, whose clients are served by TLS and in plain text.
fn member(dir: &Path, nth: usize, ports: &[u16], more: &[String]) -> Program {
    let (by_tls, plain) = (ports[nth], ports[3 + nth]);
    let peer = |nth: usize| format!("http://127.0.0.1:{}", ports[6 + nth]);
    let own = [
        format!("--name=m{nth}"),
        format!("--listen-client-urls=https://127.0.0.1:{by_tls},http://127.0.0.1:{plain}"),
        format!("--advertise-client-urls=http://127.0.0.1:{plain}"),
        format!("--listen-peer-urls={}", peer(nth)),
        format!("--initial-advertise-peer-urls={}", peer(nth)),
        format!("--initial-cluster=m0={},m1={},m2={}", peer(0), peer(1), peer(2)),
        // Three members, their clients and the flood share a host, which is no reason for an election.
        "--heartbeat-interval=500".to_owned(),
        "--election-timeout=5000".to_owned(),
    ];
    let all = options([&own[..], more]);
    Program::start(dir, &all.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_leader_keeps_its_place_in_a_flood_of_handshakes() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign_key("member", &Wanted::default(), &KeyPair::from_pem(KEY).unwrap());
    let own = own.options("cert-file", "key-file");
    let ports = free_ports(9);
    let mut members: Vec<Program> = (0..3).map(|nth| member(dir.path(), nth, &ports, &own)).collect();
    members.iter_mut().for_each(|member| _ = member.wait_for(READY));
    let became = |member: &Program| member.said().iter().any(|line| line.contains("became leader"));
    let leader = members.iter().position(became).unwrap();

    let (said, signed, ended) = (first_words(), AtomicUsize::new(0), AtomicBool::new(false));
    let mut puts = 0;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| flood(ports[leader], &said, &signed, &ended));
        }
        let plain = format!("127.0.0.1:{}", ports[3 + leader]);
        while !ended.load(Ordering::Relaxed) {
            assert_eq!(ctl(dir.path(), &plain, &["put", "k", "v"]).printed(), "OK");
            puts += 1;
        }
    });
    assert!(puts >= SIGNATURES / SIGNATURES_A_PUT_MAX, "{puts} puts beside {SIGNATURES} signatures");
    for (nth, member) in members.into_iter().enumerate() {
        member.signal("TERM");
        let said = member.end().stderr;
        let lost = said.iter().take_while(|line| !line.contains("received signal"));
        let lost: Vec<_> = lost.filter(|line| line.contains("lost leader")).collect();
        assert!(lost.is_empty(), "m{nth}: {lost:#?}");
    }
}
