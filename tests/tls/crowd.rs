//! Connections that say nothing, or no TLS: they cost a place for a while, and nobody else anything.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::authority::{Authority, Wanted};
use crate::member::Alone;
use crate::program::PATIENCE;

/// Connections that say nothing.
pub fn silent(port: u16, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect()
}

/// Waits until the other side closes.
pub fn is_closed(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).unwrap_or(0), 0, "a server has nothing to say to who says nothing");
}

#[test]
fn whoever_says_nothing_holds_nobody_up_and_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let mut alone = Alone::behind_tls(dir.path(), &own);
    let trust = ca.option("cacert");
    let crowd = silent(alone.client, 256);
    for round in ["first", "second", "third"] {
        assert_eq!(alone.ctl(dir.path(), &[&trust, "put", "k", round]).printed(), "OK");
    }
    alone.turned_away("client", "it has not shaken hands within 10 s");
    crowd.iter().for_each(is_closed);
    assert_eq!(alone.ctl(dir.path(), &[&trust, "get", "k", "--print-value-only"]).printed(), "third");
}

#[test]
fn a_crowd_that_is_too_large_loses_its_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let mut alone = Alone::behind_tls(dir.path(), &own);
    // More than there are places for.
    let crowd = silent(alone.client, 600);
    is_closed(&crowd[0]);
    let crowded = "too many handshakes at once: the oldest are given up";
    alone.program.wait_for(crowded);
    assert_eq!(alone.ctl(dir.path(), &[&ca.option("cacert"), "put", "k", "v"]).printed(), "OK");
    alone.program.signal("TERM");
    let said = alone.program.end().stderr;
    assert_eq!(said.iter().filter(|line| line.contains(crowded)).count(), 1, "a crowd is told of once");
}

#[test]
fn whoever_speaks_no_tls_is_told_of_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let mut alone = Alone::behind_tls(dir.path(), &own);
    let mut plain = TcpStream::connect(("127.0.0.1", alone.client)).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    alone.turned_away("client", "it does not speak TLS");
}
