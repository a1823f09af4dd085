//! Connections take files, of which a process has only so many: the disk keeps its own, and so do peers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use crate::authority::{Authority, Wanted};
use crate::crowd::{is_closed, silent};
use crate::member::{Alone, READY, ctl, options};
use crate::program::{PATIENCE, Program, QUORATE, free_ports};

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// A member in plain text, which may have so many files open as a shell's `ulimit` says.
fn limited(dir: &Path, ulimit: &str, more: &[String]) -> Alone {
    let ports = free_ports(2);
    let (client, peer) = (ports[0], ports[1]);
    let own = [
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
    ];
    let script = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
    let all = options([&["-c".to_owned(), script, QUORATE.to_owned()][..], &own, more]);
    let args: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut alone = Alone { program: Program::start_as(Path::new("sh"), dir, &args, &[]), client, peer };
    alone.program.wait_for(READY);
    alone
}

/// A connection that is served: it has heard the server's settings; nothing if it is closed.
fn served(port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // One that is closed may show it at either step.
    stream.write_all(PREFACE).ok()?;
    let mut first = [0; 9];
    stream.read_exact(&mut first).ok()?;
    assert_eq!(first[3], 4, "an HTTP/2 server begins with its settings: {first:?}");
    Some(stream)
}

#[test]
fn clients_leave_files_to_the_disk_and_to_peers() {
    let dir = tempfile::tempdir().unwrap();
    // 200 for the disk, 50 for peers, 150 for clients.
    let mut alone = limited(dir.path(), "-n 400", &[]);
    let mut crowd: Vec<TcpStream> = (0..450).filter_map(|_| served(alone.client)).collect();
    assert_eq!(crowd.len(), 150);
    let line = alone.program.wait_for("too many connections: a new one is closed");
    assert!(line.contains("\"whom\":\"client\"") && line.contains("\"places\":150"), "{line}");
    let peers: Vec<TcpStream> = (0..80).filter_map(|_| served(alone.peer)).collect();
    assert_eq!(peers.len(), 50, "peers are let in all the same, and are not without number either");
    crowd.truncate(140);
    let endpoint = format!("127.0.0.1:{}", alone.client);
    assert_eq!(ctl(dir.path(), &endpoint, &["put", "k", "v"]).printed(), "OK");
    ctl(dir.path(), &endpoint, &["defrag"]).printed();
    ctl(dir.path(), &endpoint, &["snapshot", "save", "image"]).printed();
    assert_eq!(ctl(dir.path(), &endpoint, &["get", "k", "--print-value-only"]).printed(), "v");
    alone.program.signal("TERM");
    assert_eq!(alone.program.end().status.code(), Some(0));
}

#[test]
fn a_member_takes_all_files_that_the_host_lets_it_have() {
    let dir = tempfile::tempdir().unwrap();
    let alone = limited(dir.path(), "-S -n 100", &[]);
    let crowd: Vec<TcpStream> = (0..300).filter_map(|_| served(alone.client)).collect();
    assert_eq!(crowd.len(), 300);
}

#[test]
fn whoever_says_nothing_in_plain_text_makes_room_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = limited(dir.path(), "-n 400", &[]);
    for (port, whom) in [(alone.client, "client"), (alone.peer, "peer")] {
        let crowd = silent(port, 140);
        is_closed(&crowd[0]);
        alone.turned_away(whom, "it has not said anything within 10 s");
        crowd.iter().for_each(is_closed);
        served(port).unwrap();
    }
}

#[test]
fn strangers_do_not_fill_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = ca.sign("member", &Wanted::default()).options("cert-file", "key-file");
    let alone = Alone::behind_tls(dir.path(), &own);
    let begun = Instant::now();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", alone.client)).unwrap();
        stream.write_all(PREFACE).unwrap();
        // An alert may come first.
        _ = stream.read_to_end(&mut Vec::new());
    }
    let intervals = begun.elapsed().as_secs() / 10;
    alone.program.signal("TERM");
    let said = alone.program.end().stderr;
    let lines = said.iter().filter(|line| line.contains("rejected the connection of a client")).count();
    assert!(lines >= 1 && u64::try_from(lines).unwrap() <= 1 + intervals, "{lines} in {intervals}");
}
